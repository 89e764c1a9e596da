"""Static validity: what would go wrong in a run, found when a document is loaded or published.

`workflow` goes through a workflow and names every fault; `known` is what it may refer to, `scopes` what its expressions
can read, `shapes` what schemas say about that, `schemas` and `samples` how they are taken apart and filled, and
`expressions`, `graph` and `triggers` what can be wrong.
"""

from registry.checks.known import Known
from registry.checks.workflow import check_workflow

__all__ = ["Known", "check_workflow"]
