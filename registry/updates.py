"""Updates: proposals that change one parameter of a step instead of stating the whole document."""

from typing import Any

import sqlalchemy as sa

from guard.canonical import canonical, parse
from registry.comparison.model import is_same
from registry.documents import Received, Workflow, read_document
from registry.proposals import ProposalClosed, Queued
from registry.versions import current

UPDATE = "update_param"
_ABSENT = object()


def updated(connection: sa.Connection, proposal: Queued) -> Received[Workflow]:
    """Return the current workflow with the parameter that an `update_param` names set to its new value.

    The body is `{"type": "update_param", "workflow_id", "workflow_version", "target": "F-02.parameters.tolerance",
    "from", "value"}`. The document states no version, so that it is given the next one.

    Raises:
        NotRegistered: there is no such workflow.
        ProposalClosed: the workflow has moved on from that version, or the target is not what the body says.
    """
    body = proposal.body

    def closed(rule: str, problem: str, fix: str) -> ProposalClosed:
        return ProposalClosed(proposal.publication_id, rule, problem, fix)

    if missing := [name for name in ("workflow_id", "workflow_version", "target", "value") if name not in body]:
        raise closed("form", f"its body lacks {', '.join(missing)}", "state what is to be changed, in which version")
    holds = current(connection, Workflow, body["workflow_id"])
    if holds.version != body["workflow_version"]:
        problem = f"it was made for {body['workflow_id']} {body['workflow_version']}; now there is {holds.version}"
        raise closed("base", problem, "have it proposed against what is current")
    value = parse(holds.received.text)
    del value["version"]
    steps = {step["step_id"]: step for step in value["steps"]}
    step_id = max((name for name in steps if body["target"].startswith(f"{name}.")), key=len, default=None)
    if step_id is None:
        raise closed("form", f"{body['target']} names no step", f"name one of {', '.join(steps)}")
    head, *path = body["target"].removeprefix(f"{step_id}.").split(".")
    if head != "parameters" or not path:
        raise closed("form", f"{body['target']} is no parameter", f"write such as {step_id}.parameters.NAME")
    at: Any = steps[step_id].setdefault("parameters", {})
    for name in path[:-1]:
        at = at.get(name) if isinstance(at, dict) else None
    if not isinstance(at, dict):
        raise closed("form", f"there is no {body['target']} to set", "name a member that can be set")
    was = at.get(path[-1], _ABSENT)
    if "from" in body and (was is _ABSENT or not is_same(was, body["from"])):
        stated = "nothing" if was is _ABSENT else canonical(was)
        raise closed(
            "base", f"{body['target']} is {stated}, not {canonical(body['from'])}", "look at the current value"
        )
    at[path[-1]] = body["value"]
    return _read(value, holds.version, name=f"proposal {proposal.publication_id}")


def _read(value: dict[str, Any], version: str, *, name: str) -> Received[Workflow]:
    received = read_document(Workflow, canonical({**value, "version": version}), name=name)
    return Received(name, received.text, value, received.body)
