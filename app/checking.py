"""Checking a workflow's file before it is submitted, as `rwcm workflow check` does."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from lake.home import Home
from lake.tables import ROLE, SCHEMA_REGISTRY, SKILL_NODE
from registry.consistency import inconsistencies
from registry.database import Registry, engine_of
from registry.documents import DocumentRefused, Fault, Workflow, read_document
from registry.expressions import compile_template
from registry.loader import PACK, load_pack
from registry.objects import rows_of
from registry.packs import read_file
from registry.steps import parse_logic


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what is wrong with it.

    Attributes:
        title: id and version of the workflow, the file's name where it could not be read.
        counts: what it holds: steps, triggers, expressions.
        known: what it was held against: skills, roles, event schemas.
        against: the registry, or the shipped pack where the home has none.
    """

    title: str
    counts: dict[str, int]
    known: dict[str, int]
    against: str
    faults: tuple[Fault, ...]


def check_file(home: Home, path: Path) -> Checked:
    """Return what is wrong with the workflow in `path`, held against the registry of the home; nothing is written."""
    name = path.name
    with _registry(home) as (registry, against):
        known = {
            "skills": registry.frame(SKILL_NODE).height,
            "roles": registry.frame(ROLE).height,
            "event schemas": registry.frame(SCHEMA_REGISTRY)["subject"].n_unique(),
        }
        try:
            received = read_document(Workflow, read_file(path), name=name)
        except DocumentRefused as refused:
            return Checked(name, {}, known, against, tuple(refused.faults))
        rows = [(name, where, spec, row) for spec, where, row in rows_of(received, actor="", now=datetime.now(UTC))]
        with registry.read() as connection:
            faults = tuple(dict.fromkeys(inconsistencies(connection, [received], rows)))
    workflow = received.body
    counts = {"steps": len(workflow.steps), "triggers": len(workflow.triggers)}
    if not faults:
        counts["expressions"] = _expressions(workflow)
    return Checked(f"{workflow.workflow_id} {workflow.version}", counts, known, against, faults)


def _expressions(workflow: Workflow) -> int:
    logics = [list(parse_logic(step.next_step_logic).expressions()) for step in workflow.steps]
    parameters = [compile_template(step.parameters).expressions for step in workflow.steps]
    conditions = [trigger for trigger in workflow.triggers if trigger.selector.condition]
    return sum(map(len, logics)) + sum(map(len, parameters)) + len(conditions)


@contextmanager
def _registry(home: Home) -> Iterator[tuple[Registry, str]]:
    """Open the home's registry, or one that holds the shipped pack if the home has none yet."""
    if home.has_registry:
        with closing(Registry.open(home.registry)) as registry:
            yield registry, engine_of(home.registry).url.render_as_string(hide_password=True)
        return
    with TemporaryDirectory() as folder, closing(Registry.open(Path(folder) / "registry.db")) as registry:
        load_pack(registry, PACK, actor="check", now=datetime.now(UTC))
        yield registry, "the shipped pack"
