"""Workflows for tests of their pictures: one's own, the hardest, and random ones."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from registry.documents import Workflow, read_document

ACTIONS = ("data_extraction", "logic_check", "tool_call", "branch", "handoff", "notify", "generate", "record")


def workflow(*steps: Mapping[str, Any], triggers: int = 1) -> Workflow:
    """Return a workflow of `steps`: id and next_step_logic, and what else is to be theirs."""
    numbered = [
        {"sequence": number, "action_type": "tool_call", "skill_id": "SK-TEST-001", "parameters": {}, **step}
        for number, step in enumerate(steps, 1)
    ]
    document = {
        "workflow_id": "WF-TEST-001",
        "workflow_name": "Test",
        "objective": "Be drawn",
        "responsible_role_id": "IT-M-001",
        "version": "1.0.0",
        "steps": numbered,
        "triggers": [
            {"trigger_id": f"TR-{number}", "trigger_type": "event", "selector": {"topic": f"topic.{number}"}}
            for number in range(triggers)
        ],
    }
    return read_document(Workflow, json.dumps(document), name="test").body


@st.composite
def workflows(draw: st.DrawFn, *, most: int = 9, text: st.SearchStrategy[str] | None = None) -> Workflow:
    """Return any workflow that the step language can say: loops, joins, waits and unreachable steps included."""
    separators = draw(st.lists(st.sampled_from("-._/:"), min_size=1, max_size=most))
    ids = [f"S{separator}{number}" for number, separator in enumerate(separators)]
    targets = st.one_of(
        st.just("END"), st.sampled_from(ids), st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True)
    )
    conditions = st.sampled_from(("pass == true", 'event.decision == "approved"', "amount > 100.0 && !urgent"))
    wait = {"event": "handoff.decided", "correlate": {"subject_id": "${episode.trigger_event_id}"}}

    def steps_of(step_id: str) -> Mapping[str, Any]:
        logic: dict[str, Any] = {}
        if draw(st.booleans()):
            branches = draw(st.lists(st.tuples(conditions, targets), min_size=1, max_size=3))
            logic["if"] = [{"expr": condition, "goto": target} for condition, target in branches]
            if draw(st.booleans()):
                logic["else"] = draw(targets)
        else:
            logic["goto"] = draw(targets)
        if draw(st.booleans()):
            logic["on_error"] = draw(targets)
        if draw(st.integers(0, 3)) == 0:
            logic["await"] = {**wait, "timeout_h": draw(st.integers(1, 99)), "on_timeout": draw(targets)}
        if draw(st.integers(0, 3)) == 0:
            logic["join"] = draw(st.sampled_from(("all", "any")))
        if draw(st.integers(0, 3)) == 0:
            logic["loop"] = {"max_visits": draw(st.integers(1, 9)), "on_exhausted": draw(targets)}
        if draw(st.integers(0, 3)) == 0:
            logic["compensate"] = draw(st.sampled_from(ids))
        parameters = {"text": draw(text)} if text is not None else {"check": "po_match"}
        action = draw(st.sampled_from(ACTIONS))
        return {"step_id": step_id, "action_type": action, "parameters": parameters, "next_step_logic": logic}

    return workflow(*map(steps_of, ids), triggers=draw(st.integers(0, 3)))


_WAIT = {
    "event": "handoff.decided",
    "correlate": {"subject_id": "${episode.trigger_event_id}"},
    "timeout_h": 72,
    "on_timeout": "END",
}
HARD = workflow(
    {
        "step_id": "A-01",
        "action_type": "data_extraction",
        "parameters": {"fields": ["vendor_id", "amount", "po_id", "currency"]},
        "next_step_logic": {"goto": "A-02", "on_error": "A-09"},
    },
    {
        "step_id": "A-02",
        "action_type": "logic_check",
        "parameters": {"check": "credit_limit"},
        "next_step_logic": {
            "if": [
                {"expr": "amount > 10000.0 && !trigger.urgent", "goto": "A-03"},
                {"expr": "amount > 100.0", "goto": ["A-04", "A-05", "A-06"]},
            ],
            "else": "A-07",
            "on_error": "A-09",
        },
    },
    {
        "step_id": "A-03",
        "action_type": "handoff",
        "parameters": {"reason": "needs approval"},
        "next_step_logic": {
            "await": {**_WAIT, "on_timeout": "A-09"},
            "if": [
                {"expr": 'event.decision == "approved"', "goto": ["A-04", "A-06"]},
                {"expr": 'event.decision == "again"', "goto": "A-01"},
            ],
            "else": "END",
        },
    },
    {
        "step_id": "A-04",
        "parameters": {"system": "SAP", "action": "Reserve_Budget"},
        "next_step_logic": {"goto": "A-07", "compensate": "A-10", "on_error": "A-09"},
    },
    {"step_id": "A-05", "parameters": {"system": "CRM"}, "next_step_logic": {"goto": "A-07"}},
    {
        "step_id": "A-06",
        "action_type": "generate",
        "parameters": {"template": "contract_draft"},
        "next_step_logic": {
            "if": [{"expr": "score < 0.8", "goto": "A-06"}],
            "loop": {"max_visits": 3, "on_exhausted": "A-09"},
            "else": "A-07",
            "compensate": "A-11",
        },
    },
    {"step_id": "A-07", "action_type": "record", "next_step_logic": {"join": "all", "goto": "A-08"}},
    {
        "step_id": "A-08",
        "action_type": "notify",
        "parameters": {"channel": "email", "recipient": "vendor"},
        "next_step_logic": {"await": {**_WAIT, "timeout_h": 2, "on_timeout": "A-02"}, "goto": "END"},
    },
    {"step_id": "A-09", "action_type": "handoff", "parameters": {"owner": "FA-M-001"}, "next_step_logic": "END"},
    {"step_id": "A-10", "parameters": {"action": "Release_Budget"}, "next_step_logic": {"goto": "A-12"}},
    {"step_id": "A-11", "parameters": {"action": "Discard_Draft"}, "next_step_logic": "END"},
    {"step_id": "A-12", "action_type": "notify", "parameters": {"channel": "budget_owner"}, "next_step_logic": "END"},
    triggers=2,
)
"""Nested branches, parallel ways that meet, loops, waits with ways back, errors, and what undoes."""
