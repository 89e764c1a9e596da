"""Updates: proposals that say what to change of a workflow, one parameter of a step or its end, not all of it anew."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from guard.canonical import canonical, parse
from registry.comparison.model import is_same
from registry.documents import Received, Workflow, read_document
from registry.proposals import ProposalClosed, Queued
from registry.versions import Current, current

UPDATE, RETIREMENT = "update_param", "retirement"
_ABSENT = object()
_Closed = Callable[[str, str, str], ProposalClosed]


def is_update(body: Mapping[str, Any]) -> bool:
    """Tell whether the body of a proposal says what to change, instead of stating a document."""
    return body.get("type") in (UPDATE, RETIREMENT)


def retirement(workflow_id: str, version: str) -> dict[str, Any]:
    """Return the body of a proposal that ends a workflow, as far as it is still in `version`."""
    return {"type": RETIREMENT, "workflow_id": workflow_id, "workflow_version": version}


def retired(holds: Current[Workflow], *, name: str) -> Received[Workflow]:
    """Return a workflow as it is once nothing starts it any more; its versions, steps and runs stay."""
    return _read({**_without_version(holds), "status": "retired"}, holds.version, name=name)


def updated(connection: sa.Connection, proposal: Queued) -> Received[Workflow]:
    """Return the current workflow with what the proposal says changed.

    The document states no version, so that it is given the next one. Every body has a `type`, `workflow_id` and
    `workflow_version`; that of an `update_param` also `target` (such as `F-02.parameters.tolerance`), `value`, and
    mostly `from`.

    Raises:
        NotRegistered: there is no such workflow.
        ProposalClosed: the workflow has moved on from that version, or the target is not what the body says.
    """
    body = proposal.body

    def closed(rule: str, problem: str, fix: str) -> ProposalClosed:
        return ProposalClosed(proposal.publication_id, rule, problem, fix)

    change, needed = _CHANGES[body["type"]]
    if missing := [name for name in ("workflow_id", "workflow_version", *needed) if name not in body]:
        raise closed("form", f"its body lacks {', '.join(missing)}", "state what is to be changed, in which version")
    holds = current(connection, Workflow, body["workflow_id"])
    if holds.version != body["workflow_version"]:
        problem = f"it was made for {body['workflow_id']} {body['workflow_version']}; now there is {holds.version}"
        raise closed("base", problem, "have it proposed against what is current")
    return change(holds, body, closed, name=f"proposal {proposal.publication_id}")


def _retired(holds: Current[Workflow], body: Mapping[str, Any], closed: _Closed, *, name: str) -> Received[Workflow]:
    return retired(holds, name=name)


def _with_parameter(
    holds: Current[Workflow], body: Mapping[str, Any], closed: _Closed, *, name: str
) -> Received[Workflow]:
    value = _without_version(holds)
    steps = {step["step_id"]: step for step in value["steps"]}
    step_id = max((name for name in steps if body["target"].startswith(f"{name}.")), key=len, default=None)
    if step_id is None:
        raise closed("form", f"{body['target']} names no step", f"name one of {', '.join(steps)}")
    head, *path = body["target"].removeprefix(f"{step_id}.").split(".")
    if head != "parameters" or not path:
        raise closed("form", f"{body['target']} is no parameter", f"write such as {step_id}.parameters.NAME")
    at: Any = steps[step_id].setdefault("parameters", {})
    for member in path[:-1]:
        at = at.get(member) if isinstance(at, dict) else None
    if not isinstance(at, dict):
        raise closed("form", f"there is no {body['target']} to set", "name a member that can be set")
    was = at.get(path[-1], _ABSENT)
    if "from" in body and (was is _ABSENT or not is_same(was, body["from"])):
        stated = "nothing" if was is _ABSENT else canonical(was)
        raise closed(
            "base", f"{body['target']} is {stated}, not {canonical(body['from'])}", "look at the current value"
        )
    at[path[-1]] = body["value"]
    return _read(value, holds.version, name=name)


_CHANGES: Mapping[str, tuple[Callable[..., Received[Workflow]], tuple[str, ...]]] = {
    UPDATE: (_with_parameter, ("target", "value")),
    RETIREMENT: (_retired, ()),
}
"""How a body changes the workflow, and the members that it needs for that, by its `type`."""


def _without_version(holds: Current[Workflow]) -> dict[str, Any]:
    value: dict[str, Any] = parse(holds.received.text)
    del value["version"]
    return value


def _read(value: dict[str, Any], version: str, *, name: str) -> Received[Workflow]:
    received = read_document(Workflow, canonical({**value, "version": version}), name=name)
    return Received(name, received.text, value, received.body)
