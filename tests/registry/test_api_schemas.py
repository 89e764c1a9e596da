"""The published JSON Schemas say of a document what the models say of it."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from guard.canonical import canonical, parse
from lake.tables import SCHEMA_REGISTRY
from registry.api_schemas import KINDS, UNSAID, api_schema, path_of, registered
from registry.database import Registry
from registry.documents import read_document
from registry.steps import parse_logic
from tests.generated import VALUES, document

BLUEPRINT = Path(__file__).parent / "blueprint"
SHARED = Path(__file__).parents[2].parent / "shared/seed/blueprint.md"
UNSAID_PROBLEMS = ("twice among arguments", "must be any, string,", "outside the years")
"""How the models put what `UNSAID` says."""

VALIDATORS = {kind: jsonschema_rs.validator_for(canonical(api_schema(kind)), validate_formats=True) for kind in KINDS}


def verdicts(kind: str, value: Any) -> tuple[bool, bool]:
    """Return what the schema and what the model says of a parsed document; both may err where neither could speak."""
    try:
        KINDS[kind].model_validate(value)
    except ValidationError as error:
        problems = [detail["msg"] for detail in error.errors()]
        if all(any(unsaid in problem for unsaid in UNSAID_PROBLEMS) for problem in problems):
            return False, False
        return VALIDATORS[kind].is_valid(value), False
    return VALIDATORS[kind].is_valid(value), True


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_schema_and_model_agree_on_valid_documents(kind: str, data: st.DataObject) -> None:
    """A client that checks before it posts would otherwise be stopped by its own schema."""
    assert verdicts(kind, parse(canonical(data.draw(document(kind))))) == (True, True)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_schema_and_model_agree_on_changed_documents(kind: str, data: st.DataObject) -> None:
    """What the schema lets pass and the model refuses is found in production, the other way round never."""
    value = changed(parse(canonical(data.draw(document(kind)))), data)
    by_schema, by_model = verdicts(kind, value)
    assert by_schema == by_model, canonical(value)


EDGES = st.sampled_from(
    [
        *("", "x" * 65, "x" * 129, "-x", "a b", "a\n", "1.0", "01.0.0", "role/x", "role/", "spiffe://\n"),
        *(
            "2026-02-30T00:00:00Z",
            "2026-01-31",
            "0001-01-01T00:00:00+00:00",
            "0001-01-01T00:00:00+01:00",
            "2026-01-31T24:00:00Z",
        ),
        *(0, -1, 101, 2**31, Decimal("1.0"), Decimal("1.5"), Decimal("1E+2"), True, None, [], {}, [[]]),
    ]
)


def changed(value: Any, data: st.DataObject) -> Any:
    """Return a document with one thing changed, somewhere."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: changed(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], changed(value[place], data), *value[place + 1 :]]
    if isinstance(value, dict):
        return data.draw(
            st.sampled_from([{**value, "unknown": 1}, *({k: v for k, v in value.items() if k != key} for key in value)])
            | EDGES
        )
    return data.draw(EDGES | VALUES)


def test_the_shipped_schemas_are_those_of_the_models() -> None:
    """What is published must be what is checked; `python -m registry.api_schemas` writes them again."""
    for kind in KINDS:
        assert json.loads(path_of(kind).read_text()) == registered(kind), kind
    shipped = {path.name for path in path_of("role").parent.glob("api.*.json")}
    assert shipped == {path_of(kind).name for kind in KINDS}


def test_the_pack_registers_them(loaded: Registry) -> None:
    """Clients ask the schema registry, not the source."""
    found = dict(loaded.frame(SCHEMA_REGISTRY).select("subject", "schema").iter_rows())
    assert parse(found["api.skill"]) == api_schema("skill")
    assert {subject for subject in found if subject.startswith("api.")} == {f"api.{kind}" for kind in KINDS}


def test_what_a_schema_cannot_say_is_said_in_it() -> None:
    """Whoever trusts the schema alone should read what else there is."""
    assert all(sentence in api_schema(kind)["$comment"] for kind, said in UNSAID.items() for sentence in said)


@pytest.mark.parametrize(
    ("section", "kind"),
    [("3.1", "skill"), ("3.2", "workflow"), ("3.3", "step"), ("3.4", "reflection"), ("5.2", "policy")],
)
def test_the_blueprints_documents_are_valid_as_they_stand(section: str, kind: str) -> None:
    """They are what users were shown; not a character of them may need a change."""
    text = (BLUEPRINT / f"{section}.json").read_text()
    received = read_document(KINDS[kind], text, name=section)
    assert VALIDATORS[kind].is_valid(received.value)
    assert received.text == text


def test_the_blueprints_binding_is_valid_within_its_skill() -> None:
    """Section 19.1: a secret by reference, egress, retries."""
    skill = parse((BLUEPRINT / "3.1.json").read_text())
    skill["runtime_binding"] = parse((BLUEPRINT / "19.1.json").read_text())
    body = read_document(KINDS["skill"], canonical(skill), name="19.1").body
    assert (body.runtime_binding.retries, body.runtime_binding.network) == (3, {"egress": "privatelink:sap-prod"})  # type: ignore[attr-defined]
    assert VALIDATORS["skill"].is_valid(skill)


def test_the_blueprints_step_language_is_valid_within_its_step() -> None:
    """Section 12.2."""
    step = parse((BLUEPRINT / "3.3.json").read_text())
    step["next_step_logic"] = parse((BLUEPRINT / "12.2.json").read_text())
    assert VALIDATORS["step"].is_valid(step)
    received = read_document(KINDS["step"], canonical(step), name="12.2")
    assert [branch.goto for branch in parse_logic(received.value["next_step_logic"]).branches] == [("F-04",), ("F-03",)]


SECTION_9 = [
    ("F-01", 1, "data_extraction", "SK-OCR-001", {"entities": ["vendor_id", "amount", "po_id"]}, "→ F-02"),
    ("F-02", 2, "logic_check", "SK-LOGIC-003", {"check": "po_match", "tolerance": 0.05}, "pass→F-04; fail→F-03"),
    ("F-04", 4, "tool_call", "SK-ERP-002", {"system": "SAP", "action": "Book_Invoice"}, "→ F-05"),
    ("F-05", 5, "notify", "SK-COMM-005", {"channel": "email", "recipient": "vendor"}, "END"),
]


@pytest.mark.parametrize("row", SECTION_9, ids=lambda row: row[0])
def test_the_blueprints_steps_are_valid_as_its_table_writes_them(row: tuple[Any, ...]) -> None:
    """Section 9 writes what comes next in words; they are one of the two spellings of the step language."""
    names = ("step_id", "sequence", "action_type", "skill_id", "parameters", "next_step_logic")
    received = read_document(KINDS["step"], canonical(dict(zip(names, row, strict=True))), name=row[0])
    assert VALIDATORS["step"].is_valid(received.value)
    assert parse_logic(received.value["next_step_logic"])


def test_the_blueprints_documents_are_copied_to_the_letter() -> None:
    """The cases would prove nothing about the blueprint if they were edited."""
    if not SHARED.exists():
        pytest.skip("the blueprint is not beside this checkout")
    blueprint = SHARED.read_text()
    for file in BLUEPRINT.glob("*.json"):
        assert f"```json\n{file.read_text()}```" in blueprint, file.name
