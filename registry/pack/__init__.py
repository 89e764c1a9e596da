"""The shipped content: the blueprint's roles, skills, policies, event schemas and workflows, as files.

What belongs here is JSON that `registry.loader.load_pack` takes; `templates/` holds workflows with holes, which
learning fills. No code.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
TEMPLATES = FOLDER / "templates"
