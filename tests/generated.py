"""Documents of every kind, generated: what hypothesis puts into a registry to see whether it comes out again."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from registry.api_schemas import KINDS
from registry.documents import Received, read_document

NASTY = (
    *("", " ", " a ", "'", "''", "'\"", '\'"a"', "=1+1", "+1", "-1", "@SUM(A1)", "\ta", "\ra", "\r\n", "a\rb", "a\n"),
    *(
        "\x01",
        "\x1f\x7f\x85",
        "\u2028",
        "\ufeff",
        "\ufffe\uffff",
        "_x0001_",
        "_x0041_x0042_",
        "_x005F_x0001_",
        "x005F_",
    ),
    *("\\u0041", '"', '""', "a,b;c", "null", "true", "007", "1.0", "1e5", "😀", "a😀\U0010ffff"),
    *("-- ;", "';--", "/* */", "$1", "\\x41", "\\"),
)
"""Texts that one form or another is known to change."""

TEXT = st.sampled_from(NASTY) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20
)
NUMBERS = (
    st.integers(-(10**40), 10**40)
    | st.sampled_from([2**53 + 1, -(2**63), 10**30])
    | st.decimals(allow_nan=False, allow_infinity=False, places=30, min_value=-(10**12), max_value=10**12)
    | st.sampled_from([Decimal("0.40"), Decimal("1E+5"), Decimal("-0.0"), Decimal("123456789012345678901234567890.5")])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=3)
VERSIONS = st.sampled_from(["1.0.0", "0.1.0", "10.20.30", "1.0.0-rc.1", "2.0.0+build.7"])
MOMENTS = st.sampled_from(["2026-01-31T00:00:00Z", "1999-12-31T23:59:59.999999-05:30", "2026-02-28T12:00:00.5+14:00"])
TITLES = TEXT.filter(lambda text: len(text) <= 64)
TYPES = st.sampled_from(["string", "number", "any", "array<string>", "map<string,any>", "array<map<string, integer>>"])

ARGUMENT = st.fixed_dictionaries(
    {"name": TEXT, "type": TYPES},
    optional={"required": st.booleans(), "default": VALUES, "references": st.just("role")},
)
SIGNATURE = st.fixed_dictionaries(
    {"name": TEXT},
    optional={
        "args": st.lists(ARGUMENT, max_size=3, unique_by=lambda argument: argument["name"]),
        "returns": OBJECTS,
        "errors": st.lists(TEXT, max_size=2),
    },
)
BINDING = st.fixed_dictionaries(
    {"adapter": TEXT},
    optional={
        "system": st.none() | TEXT,
        "auth": st.sampled_from([None, "role/iam/x", {"secret_ref": "vault:kv/prod/sap#token"}]),
        "network": st.none() | OBJECTS,
        "effects": st.dictionaries(TEXT, st.just("payments.write"), max_size=2),
        "timeouts_ms": st.integers(1, 2**31 - 1),
        "retries": st.integers(0, 100),
    },
)
LOGIC = st.just("→ F-02") | st.just({"goto": "END"}) | OBJECTS


def document(kind: str, given: Mapping[str, Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Return valid documents of a kind of the API; members in `given` are as they are there."""
    required, optional = _MEMBERS[kind]
    fixed = {name: st.just(value) for name, value in (given or {}).items()}
    return st.fixed_dictionaries(
        {**required, **fixed}, optional={name: values for name, values in optional.items() if name not in fixed}
    )


_MEMBERS: Mapping[str, tuple[dict[str, st.SearchStrategy[Any]], dict[str, st.SearchStrategy[Any]]]] = {
    "role": (
        {
            "role_id": st.just("R-1"),
            "role_title": TITLES,
            "department": TITLES,
            "hierarchy_level": st.sampled_from(["I", "V"]),
        },
        {"supervises_role_id": st.sampled_from([None, "R-1"]), "role_type": st.sampled_from(["human", "hybrid"])},
    ),
    "skill": (
        {
            "skill_id": st.just("SK-1"),
            "skill_name": TITLES,
            "category": st.sampled_from(["tool", "generator"]),
            "signature": SIGNATURE,
            "runtime_binding": BINDING,
            "version": VERSIONS,
            "owner_role_id": st.just("R-1"),
        },
        {"description": TEXT, "stability_tier": st.sampled_from(["exp", "restricted"]), "is_generator": st.booleans()},
    ),
    "role_skill": (
        {"role_id": st.just("R-1"), "skill_id": st.just("SK-1")},
        {"permission": st.sampled_from(["use", "publish"])},
    ),
    "step": (
        {
            "step_id": st.just("F-1"),
            "sequence": st.integers(1, 2**31 - 1),
            "action_type": st.sampled_from(["tool_call", "record"]),
            "skill_id": st.just("SK-1"),
            "next_step_logic": LOGIC,
        },
        {
            "parameters": OBJECTS,
            "timeout_ms": st.integers(1, 2**31 - 1),
            "retries": st.integers(0, 100),
            "idempotency_key": st.none() | TITLES,
        },
    ),
    "trigger": (
        {
            "trigger_id": st.just("T-1"),
            "trigger_type": st.sampled_from(["event", "schedule", "condition", "webhook"]),
            "selector": st.fixed_dictionaries(
                {}, optional={"topic": TEXT, "condition": TEXT, "cron": st.none() | TEXT}
            ),
        },
        {},
    ),
    "workflow": (
        {
            "workflow_id": st.just("WF-1"),
            "workflow_name": TITLES,
            "objective": TEXT,
            "responsible_role_id": st.just("R-1"),
            "version": VERSIONS,
        },
        {
            "constraints": st.fixed_dictionaries(
                {"x": VALUES},
                optional={
                    "latency_ms": st.integers(1, 2**63 - 1),
                    "max_error_rate": st.sampled_from([0, 1, Decimal("0.005")]),
                    "policy_tags": st.lists(TEXT, max_size=2),
                },
            ),
            "genome": OBJECTS,
            "status": st.sampled_from(["draft", "active"]),
            "lineage": OBJECTS,
        },
    ),
    "agent": (
        {
            "agent_id": st.just("AG-1"),
            "agent_name": TITLES,
            "agent_type": st.sampled_from(["skill_agent", "evaluator"]),
            "role_id": st.just("R-1"),
        },
        {
            "policy_profile": st.fixed_dictionaries(
                {"x": VALUES},
                optional={
                    "skills": st.lists(TEXT, max_size=2),
                    "actions": st.lists(st.sampled_from(["run", "decide"]), max_size=2),
                    "deny": st.dictionaries(st.sampled_from(["run", "publish"]), st.lists(TEXT, max_size=2)),
                },
            ),
            "organisation": TITLES,
        },
    ),
    "policy": (
        {"policy_id": st.just("POL-1"), "scope": st.sampled_from(["data", "publishing"]), "spec": OBJECTS},
        {
            "policy_name": TITLES,
            "owner_role_id": st.just("R-1"),
            "precedence": st.sampled_from(["statutory", "workflow-local"]),
            "effective_from": st.none() | MOMENTS,
            "effective_to": MOMENTS,
        },
    ),
    "term": (
        {"node_id": st.just("ON-1"), "node_type": st.sampled_from(["entity", "policy_tag"]), "label": TITLES},
        {"attributes": OBJECTS, "parent_id": st.sampled_from([None, "ON-1"])},
    ),
    "event_schema": (
        {
            "subject": TITLES,
            "version": st.integers(1, 2**31 - 1),
            "semver": VERSIONS,
            "format": st.sampled_from(["json", "avro"]),
            "schema": OBJECTS,
        },
        {"compatibility": st.sampled_from(["none", "full"])},
    ),
    "consumer": (
        {
            "consumer_id": st.just("WF-1"),
            "subject": TITLES,
            "versions": st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=3),
        },
        {},
    ),
    "reflection": (
        {
            "source_type": st.sampled_from(["step_run", "publication"]),
            "source_id": st.just("8b8f..."),
            "insight_type": st.sampled_from(["variance", "summary"]),
            "insight": OBJECTS,
        },
        {
            "reflection_id": st.sampled_from([None, "RF-1"]),
            "workflow_id": st.just("WF-1"),
            "learning_signal": OBJECTS,
            "proposed_actions": st.lists(OBJECTS.map(lambda value: {**value, "type": "update_param"}), max_size=2),
            "reviewer_role_id": st.just("R-1"),
        },
    ),
}


@st.composite
def worlds(draw: st.DrawFn) -> list[Received[Any]]:
    """Return one document of each kind that is versioned, each in a spelling of its own."""
    owner = {"owner_role_id": "R-1"}
    steps = [draw(document("step", {"step_id": f"F-{number}"})) for number in range(draw(st.integers(0, 3)))]
    triggers = [draw(document("trigger"))] if draw(st.booleans()) else []
    parts = {name: value for name, value in (("steps", steps), ("triggers", triggers)) if value or draw(st.booleans())}
    kinds = ("role", "skill", "role_skill", "agent", "term", "event_schema", "consumer")
    values = {kind: draw(document(kind)) for kind in kinds}
    values["policy"] = draw(document("policy", owner))
    values["workflow"] = {**draw(document("workflow")), **parts}
    return [
        read_document(
            KINDS[kind], draw(st.sampled_from(["", " \r\n"])) + spelled(value, draw(st.booleans())), name=kind
        )
        for kind, value in values.items()
    ]


def spelled(value: Any, is_wide: bool = False) -> str:
    """Return JSON text with numbers as they are spelled, perhaps with more white space than needed."""
    gap = "\r\n  " if is_wide else ""
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(key, ensure_ascii=is_wide)}:{gap}{spelled(item, is_wide)}" for key, item in value.items()
        ]
        return "{" + gap + f",{gap}".join(parts) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + f",{gap}".join(spelled(item, is_wide) for item in value) + gap + "]"
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=is_wide)
