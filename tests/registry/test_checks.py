"""Static checks of a workflow: each fault is planted into a sound one, found, and located."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.checks import Known, check_workflow
from registry.documents import Signature, Workflow

SIGNATURES = {
    "SK-CHECK": {
        "name": "check",
        "args": [
            {"name": "subject", "type": "string", "required": True},
            {"name": "tolerance", "type": "number", "default": 0, "aliases": ["tol"]},
        ],
    },
    "SK-ASK": {
        "name": "ask",
        "args": [{"name": "owner_id", "type": "string", "aliases": ["owner"], "references": "role"}],
    },
}
SCHEMAS: dict[str, Any] = {
    "order.placed": {
        "properties": {"order_id": {"type": "string"}},
        "required": ["order_id"],
        "additionalProperties": False,
    },
    "order.decided": {
        "properties": {
            "order_id": {"type": "string"},
            "decision": {"enum": ["yes", "no"]},
            "note": {"enum": ["a", "b"]},
        },
        "required": ["order_id", "decision"],
        "additionalProperties": False,
    },
}
KNOWN = Known(
    skills={name: Signature.model_validate(signature) for name, signature in SIGNATURES.items()},
    roles={"R-1", "R-2"},
    schemas=SCHEMAS,
)


CHILD = {
    "name": "call",
    "args": [{"name": "target_workflow_id", "type": "string", "required": True, "references": "workflow"}],
}


def step(step_id: str, sequence: int, logic: Any, **changes: Any) -> dict[str, Any]:
    document = {
        "step_id": step_id,
        "sequence": sequence,
        "action_type": "logic_check",
        "skill_id": "SK-CHECK",
        "parameters": {"subject": "${trigger.order_id}"},
        "next_step_logic": logic,
    }
    return document | changes


def awaiting(**changes: Any) -> dict[str, Any]:
    awaits = {
        "event": "order.decided",
        "correlate": {"order_id": "${trigger.order_id}"},
        "timeout_h": 24,
        "on_timeout": "END",
    }
    return awaits | changes


TOTAL = [{"expr": "pass==true", "goto": "S-3"}, {"expr": "pass==false", "goto": "S-2"}]
DECIDED = [{"expr": "event.decision=='yes'", "goto": "S-3"}, {"expr": "event.decision=='no'", "goto": "END"}]


def workflow(*steps: dict[str, Any], **changes: Any) -> Workflow:
    document = {
        "workflow_id": "WF-1",
        "workflow_name": "Orders",
        "objective": "o",
        "responsible_role_id": "R-1",
        "status": "active",
        "version": "1.0.0",
        "steps": list(steps)
        or [
            step("S-1", 1, {"if": TOTAL, "on_error": "S-2"}),
            step("S-2", 2, {"await": awaiting(), "if": DECIDED}, skill_id="SK-ASK", parameters={"owner": "R-2"}),
            step("S-3", 3, {"goto": "END"}),
        ],
        "triggers": [{"trigger_id": "T-1", "trigger_type": "event", "selector": {"topic": "order.placed"}}],
    }
    return Workflow.model_validate(document | changes)


def faults(checked: Workflow) -> dict[str, str]:
    found = check_workflow(checked, KNOWN, document="w.json")
    assert all(fault.document == "w.json" and fault.fix for fault in found)
    return {fault.path: fault.problem for fault in found}


def test_a_sound_workflow_has_no_faults() -> None:
    """A check that cries wolf gets switched off."""
    assert faults(workflow()) == {}


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        # what it refers to
        (step("S-1", 1, "END", skill_id="SK-NONE"), "/steps/0/skill_id"),
        (step("S-1", 1, {"goto": "S-9"}), "/steps/0/next_step_logic/goto"),
        (step("S-1", 1, {"goto": "END", "on_error": "S-9"}), "/steps/0/next_step_logic/on_error"),
        (step("S-1", 1, {"goto": "END", "compensate": "S-9"}), "/steps/0/next_step_logic/compensate"),
        (step("S-1", 1, "END", skill_id="SK-ASK", parameters={"owner": "R-9"}), "/steps/0/parameters/owner"),
        (step("S-1", 1, "END", workflow_id="WF-2"), "/steps/0/workflow_id"),
        # arguments
        (step("S-1", 1, "END", parameters={}), "/steps/0/parameters/subject"),
        (step("S-1", 1, "END", parameters={"subject": "a", "limit": 1}), "/steps/0/parameters/limit"),
        (step("S-1", 1, "END", parameters={"subject": 1}), "/steps/0/parameters/subject"),
        (step("S-1", 1, "END", parameters={"subject": "a", "tol": "x"}), "/steps/0/parameters/tol"),
        (step("S-1", 1, "END", parameters={"subject": "a", "tol": 1, "tolerance": 1}), "/steps/0/parameters/tolerance"),
        (step("S-1", 1, "END", parameters={"subject": "${trigger."}), "/steps/0/parameters/subject"),
        (step("S-1", 1, "END", parameters={"subject": "${trigger.order}"}), "/steps/0/parameters/subject"),
        (step("S-1", 1, "END", parameters={"subject": "${event.order_id}"}), "/steps/0/parameters/subject"),
        # logic
        (step("S-1", 1, {"if": TOTAL[:1]}), "/steps/0/next_step_logic/if"),
        (step("S-1", 1, {"if": [{"expr": "amount > 1", "goto": "END"}]}), "/steps/0/next_step_logic/if"),
        (step("S-1", 1, {"if": [{"expr": "a ==", "goto": "END"}]}), "/steps/0/next_step_logic/if/0/expr"),
        (step("S-1", 1, {"if": DECIDED, "else": "END"}), "/steps/0/next_step_logic/if/0/expr"),
        (step("S-1", 1, {"await": awaiting(event="x"), "goto": "END"}), "/steps/0/next_step_logic/await/event"),
        (
            step("S-1", 1, {"await": {"event": "order.decided", "correlate": {"order_id": "x"}}, "goto": "END"}),
            "/steps/0/next_step_logic/await/timeout_h",
        ),
        (
            step("S-1", 1, {"await": awaiting(correlate={"id": "${trigger.order_id}"}), "goto": "END"}),
            "/steps/0/next_step_logic/await/correlate/id",
        ),
        (step("S-1", 1, {"await": awaiting(), "if": DECIDED[:1]}), "/steps/0/next_step_logic/if"),
        (
            step(
                "S-1", 1, {"await": awaiting(), "if": [{"expr": "event.decison=='yes'", "goto": "END"}], "else": "END"}
            ),
            "/steps/0/next_step_logic/if/0/expr",
        ),
        (step("S-1", 1, {"goto": "S-1"}), "/steps/0/next_step_logic"),
    ],
)
def test_a_planted_fault_is_found_in_its_place(changed: dict[str, Any], path: str) -> None:
    """Each of these fails in every run, or in the one run where it hurts."""
    assert path in faults(workflow(changed))


def test_members_that_may_be_absent_prove_nothing() -> None:
    """`note` has an enum but is optional: comparing it with every value still leaves the event without it."""
    optional = [{"expr": "event.note=='a'", "goto": "END"}, {"expr": "event.note=='b'", "goto": "END"}]
    assert "/steps/0/next_step_logic/if" in faults(workflow(step("S-1", 1, {"await": awaiting(), "if": optional})))


def test_two_members_compared_with_one_value_each_prove_nothing() -> None:
    """`a == true` or `b == false` leaves a false and b true."""
    mixed = [{"expr": "a==true", "goto": "END"}, {"expr": "b==false", "goto": "END"}]
    assert "/steps/0/next_step_logic/if" in faults(workflow(step("S-1", 1, {"if": mixed})))


def test_else_makes_any_condition_total() -> None:
    """Conditions on numbers are never provably total."""
    logic = {"if": [{"expr": "amount > 100", "goto": "END"}], "else": "END"}
    assert faults(workflow(step("S-1", 1, logic))) == {}


def test_the_short_form_of_pass_and_fail_is_total() -> None:
    """The blueprint's table says no more."""
    steps = [step("S-1", 1, "pass→S-2; fail→S-3"), step("S-2", 2, "→ S-3"), step("S-3", 3, "END")]
    assert faults(workflow(*steps)) == {}


def test_a_step_that_nothing_leads_to_is_found() -> None:
    """It would never run, and nobody would notice. A compensation is led to by what it undoes."""
    steps = [
        step("S-1", 1, {"goto": "S-3", "compensate": "S-2"}),
        step("S-2", 2, "END"),
        step("S-3", 3, "END"),
        step("S-4", 4, "→ S-3"),
    ]
    assert list(faults(workflow(*steps))) == ["/steps/3"]


def test_the_entry_is_the_lowest_sequence_not_the_first_in_the_list() -> None:
    """Documents list steps in any order."""
    assert faults(workflow(step("S-2", 2, "END"), step("S-1", 1, "→ S-2"))) == {}


def test_a_loop_is_found_at_each_of_its_steps() -> None:
    """Nothing bounds a loop, so its episodes would never end."""
    steps = [
        step("S-1", 1, "→ S-2"),
        step("S-2", 2, {"goto": "S-3"}),
        step("S-3", 3, {"goto": "END", "on_error": "S-2"}),
    ]
    assert list(faults(workflow(*steps))) == ["/steps/1/next_step_logic", "/steps/2/next_step_logic"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"responsible_role_id": "R-9"}, "/responsible_role_id"),
        ({"steps": []}, "/steps"),
        ({"steps": [step("S-1", 1, "END"), step("S-1", 2, "END")]}, "/steps"),
        ({"steps": [step("S-1", 1, "→ S-2"), step("S-2", 1, "END")]}, "/steps"),
        ({"triggers": [{"trigger_id": "T", "trigger_type": "event", "selector": {}}]}, "/triggers/0/selector/topic"),
        ({"triggers": [{"trigger_id": "T", "trigger_type": "schedule", "selector": {}}]}, "/triggers/0/selector/cron"),
        (
            {"triggers": [{"trigger_id": "T", "trigger_type": "event", "selector": {"topic": "order.lost"}}]},
            "/triggers/0/selector/topic",
        ),
        (
            {
                "triggers": [
                    {
                        "trigger_id": "T",
                        "trigger_type": "event",
                        "selector": {"topic": "order.placed", "condition": "vendor == 'a'"},
                    }
                ]
            },
            "/triggers/0/selector/condition",
        ),
        (
            {
                "triggers": [
                    {
                        "trigger_id": "T",
                        "trigger_type": "event",
                        "selector": {"topic": "order.placed", "condition": "order_id ="},
                    }
                ]
            },
            "/triggers/0/selector/condition",
        ),
    ],
)
def test_faults_of_the_workflow_itself_are_found(changes: dict[str, Any], path: str) -> None:
    """A trigger that never fires is as silent as a step that is never reached."""
    assert path in faults(workflow(**changes))


def test_a_draft_may_have_no_steps_yet() -> None:
    """The blueprint posts the workflow first and its steps afterwards."""
    assert faults(workflow(steps=[], status="draft")) == {}


RICH = Known(
    skills={
        "SK-CHECK": Signature.model_validate(
            {**SIGNATURES["SK-CHECK"], "returns": {"properties": {"pass": "boolean", "score": "number"}}}
        ),
        "SK-ASK": Signature.model_validate({**SIGNATURES["SK-ASK"], "returns": {"properties": {"task": "string"}}}),
        "SK-WRITE": Signature.model_validate({"name": "write", "args": [{"name": "action", "type": "string"}]}),
        "SK-CALL": Signature.model_validate(CHILD),
    },
    roles={"R-1", "R-2"},
    schemas={
        "order.placed": {
            "type": "object",
            "properties": {
                "order_id": {"type": "string"},
                "total": {"type": "number"},
                "note": {"type": "string"},
                "team": {"enum": ["R-1", "R-2"]},
                "desk": {"enum": ["R-1", "R-8"]},
            },
            "required": ["order_id", "total", "team", "desk"],
            "additionalProperties": False,
        },
        "order.decided": SCHEMAS["order.decided"] | {"type": "object"},
    },
    effects={"SK-WRITE": {"book": "ledger.write"}},
    calls={"WF-2": ["WF-3"], "WF-3": [], "WF-4": ["WF-2", "WF-1-Orders"]},
)


def rich(*steps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a sound workflow that uses the whole language, as a document that may be spoiled."""
    document = {
        "workflow_id": "WF-1",
        "workflow_name": "Orders",
        "objective": "o",
        "responsible_role_id": "R-1",
        "status": "active",
        "version": "1.0.0",
        "steps": list(steps)
        or [
            step(
                "S-1", 1, {"if": [{"expr": "pass", "goto": "S-3"}, {"expr": "!pass", "goto": "S-2"}], "on_error": "S-2"}
            ),
            step(
                "S-2",
                2,
                {
                    "await": awaiting(),
                    "if": [{"expr": "event.decision=='yes'", "goto": "S-1"}, {"expr": "decision=='no'", "goto": "END"}],
                    "loop": {"max_visits": 3, "on_exhausted": "END"},
                },
                skill_id="SK-ASK",
                parameters={"owner": "${trigger.team}"},
            ),
            step(
                "S-3",
                3,
                {"goto": ["S-4", "S-5"]},
                parameters={"subject": "score ${output.score}", "tol": "${trigger.total}"},
            ),
            step("S-4", 4, {"goto": "S-6", "compensate": "S-7"}, skill_id="SK-WRITE", parameters={"action": "book"}),
            step("S-5", 5, "→ S-6", skill_id="SK-CALL", parameters={"target_workflow_id": "WF-2-Ship"}),
            step("S-6", 6, {"goto": "END", "join": "all"}),
            step("S-7", 7, "END", skill_id="SK-WRITE", parameters={"action": "book"}),
        ],
        "triggers": [
            {
                "trigger_id": "T-1",
                "trigger_type": "event",
                "selector": {"topic": "order.placed", "condition": "total > 100 && has(trigger.note) && note != ''"},
            }
        ],
    }
    return document | changes


def rich_faults(document: dict[str, Any]) -> dict[str, str]:
    found = check_workflow(Workflow.model_validate(document), RICH, document="w.json")
    assert all(fault.document == "w.json" and fault.problem and fault.fix for fault in found)
    return {fault.path: fault.problem for fault in found}


def test_a_workflow_that_uses_the_whole_language_has_no_faults() -> None:
    """Loops, forks, joins, waits, children and compensation are there to be used."""
    assert rich_faults(rich()) == {}


MUTATIONS: dict[str, tuple[str, Any]] = {
    # path to change -> (path that must be named, new value)
    "steps/0/next_step_logic/if/0/expr": ("/steps/0/next_step_logic/if/0/expr", "pass == 'x'"),
    "steps/0/next_step_logic/if/1/expr": ("/steps/0/next_step_logic/if", "!pass && score > 1"),
    "steps/0/parameters/subject": ("/steps/0/parameters/subject", "${trigger.total}"),
    "steps/1/parameters/owner": ("/steps/1/parameters/owner", "${trigger.desk}"),
    "steps/1/next_step_logic/await/correlate/order_id": (
        "/steps/1/next_step_logic/await/correlate/order_id",
        "${trigger.total}",
    ),
    "steps/1/next_step_logic/if/1/expr": ("/steps/1/next_step_logic/if/1/expr", "event.decision=='nö'"),
    "steps/2/parameters/tol": ("/steps/2/parameters/tol", "${trigger.order_id}"),
    "steps/2/parameters/subject": ("/steps/2/parameters/subject", "${output.task}"),
    "steps/3/next_step_logic/compensate": ("/steps/3/next_step_logic/compensate", "S-9"),
    "steps/4/parameters/target_workflow_id": ("/steps/4/parameters/target_workflow_id", "WF-9"),
    "steps/5/skill_id": ("/steps/5/skill_id", "SK-NONE"),
    "responsible_role_id": ("/responsible_role_id", "R-9"),
    "triggers/0/selector/condition": ("/triggers/0/selector/condition", "total > 100 && note != ''"),
    "triggers/0/selector/cron": ("/triggers/0/selector/cron", "* * *"),
    "triggers/0/selector/timezone": ("/triggers/0/selector/timezone", "Mars/Olympus"),
}


def spoil(document: Any, path: str, value: Any) -> None:
    *way, last = path.split("/")
    for part in way:
        document = document[int(part) if part.isdigit() else part]
    document[int(last) if last.isdigit() else last] = value


@given(st.sets(st.sampled_from(sorted(MUTATIONS)), min_size=1))
def test_every_change_for_the_worse_is_named_where_it_was_made(paths: set[str]) -> None:
    """However many there are: an author who learns one fault per attempt gives up before the last."""
    document = rich()
    for path in paths:
        spoil(document, path, MUTATIONS[path][1])
    assert {MUTATIONS[path][0] for path in paths} <= rich_faults(document).keys()


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("steps/5/next_step_logic", {"goto": "END"}, "/steps/2/next_step_logic/goto"),
        ("steps/2/next_step_logic", {"goto": "S-4"}, "/steps/5/next_step_logic/join"),
        (
            "steps/1/next_step_logic/loop",
            {"max_visits": 2, "on_exhausted": "S-1"},
            "/steps/1/next_step_logic/loop/on_exhausted",
        ),
        ("steps/1/next_step_logic/await/event", "order.lost", "/steps/1/next_step_logic/await/event"),
        ("steps/1/next_step_logic/loop/max_visits", 0, "/steps/1/next_step_logic/loop/max_visits"),
        ("steps/3/next_step_logic/compensate", "S-4", "/steps/3/next_step_logic/compensate"),
        ("steps/4/parameters/target_workflow_id", "WF-1", "/steps/4/parameters/target_workflow_id"),
        ("steps/4/parameters/target_workflow_id", "WF-4", "/steps/4/parameters/target_workflow_id"),
        ("steps/0/parameters/subject", "${output.score}", "/steps/0/parameters/subject"),
        ("steps/0/parameters/subject", "${trigger.note}", "/steps/0/parameters/subject"),
    ],
)
def test_a_change_of_the_ways_is_named_where_it_hurts(path: str, value: Any, named: str) -> None:
    """Each changes what is reached, joined, undone or called, and so may have faults in several places."""
    document = rich()
    spoil(document, path, value)
    assert named in rich_faults(document)


def test_an_undoing_step_that_runs_by_itself_must_be_undone_too() -> None:
    """Undoing by a step of the normal way books a second time, and nothing takes that back."""
    document = rich()
    spoil(document, "steps/6/next_step_logic", "→ S-6")
    spoil(document, "steps/4/next_step_logic", "→ S-7")
    assert "/steps/3/next_step_logic/compensate" in rich_faults(document)


def test_the_output_before_a_step_is_that_of_whatever_led_there() -> None:
    """After an error the step before returned nothing, so what it would have returned may be absent."""
    ok = step("S-2", 2, "END", parameters={"subject": "${output.?score.orValue(0) > 1 ? 'high' : 'low'}"})
    fails = step("S-2", 2, "END", parameters={"subject": "${output.score > 1 ? 'high' : 'low'}"})
    safe, risky = {"goto": "S-2"}, {"goto": "S-2", "on_error": "S-2"}
    assert rich_faults(rich(step("S-1", 1, safe), fails)) == {}
    assert list(rich_faults(rich(step("S-1", 1, risky), fails))) == ["/steps/1/parameters/subject"]
    assert rich_faults(rich(step("S-1", 1, risky), ok)) == {}


def test_a_workflow_with_several_topics_reads_what_all_of_them_have() -> None:
    """A member of one topic is absent for the other."""
    triggers = [
        {"trigger_id": f"T-{topic}", "trigger_type": "event", "selector": {"topic": topic}}
        for topic in ("order.placed", "order.decided")
    ]
    both = step("S-1", 1, "END", parameters={"subject": "${trigger.order_id}"})
    one = step("S-1", 1, "END", parameters={"subject": "${trigger.decision}"})
    guarded = step("S-1", 1, "END", parameters={"subject": "${trigger.?decision.orValue('none')}"})
    assert rich_faults(rich(both, triggers=triggers)) == {}
    assert list(rich_faults(rich(one, triggers=triggers))) == ["/steps/0/parameters/subject"]
    assert rich_faults(rich(guarded, triggers=triggers)) == {}


def test_all_faults_are_found_at_once() -> None:
    """The author corrects a workflow once."""
    broken = workflow(
        step("S-1", 1, {"goto": "S-9"}, parameters={}),
        step("S-2", 2, {"if": TOTAL[:1]}, skill_id="SK-NONE"),
        responsible_role_id="R-9",
    )
    assert {
        "/responsible_role_id",
        "/steps/0/parameters/subject",
        "/steps/0/next_step_logic/goto",
        "/steps/1/skill_id",
        "/steps/1/next_step_logic/if",
        "/steps/1",
    } <= set(faults(broken))
