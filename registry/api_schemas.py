"""The JSON Schemas of the documents that the API takes, derived from `registry.documents`.

They are subjects `api.*` of the schema registry. `python -m registry.api_schemas` writes them into the shipped pack; a
test compares them with the models, so that what is published is what is checked.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from registry import pack
from registry.documents import (
    Agent,
    ConsumerSubscription,
    Document,
    EventSchema,
    OntologyNode,
    Policy,
    Reflection,
    Role,
    RoleSkill,
    SkillNode,
    StepAction,
    Trigger,
    Workflow,
)

KINDS: Mapping[str, type[Document]] = {
    "role": Role,
    "skill": SkillNode,
    "role_skill": RoleSkill,
    "workflow": Workflow,
    "step": StepAction,
    "trigger": Trigger,
    "agent": Agent,
    "policy": Policy,
    "term": OntologyNode,
    "event_schema": EventSchema,
    "consumer": ConsumerSubscription,
    "reflection": Reflection,
}
"""What a document is called in the API -> its model."""

UNSAID: Mapping[str, tuple[str, ...]] = {
    "skill": (
        "the names and aliases of a signature's arguments are unique",
        "the types within array<...> and map<string,...> are types themselves",
    ),
    "policy": ("the times lie within the years 1 to 9999 in UTC",),
}
"""What a document must also be and JSON Schema has no words for.

Of every document: no key stands twice in an object, no text holds U+0000, it is nested at most 200 levels deep and has
at most 8 MiB. References, the step language and expressions are looked at with the registry at hand.
"""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Untitled(GenerateJsonSchema):
    """Titles that repeat the names of members say nothing."""

    schema_dialect = _DIALECT

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def api_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a kind of `KINDS`."""
    schema = KINDS[name].model_json_schema(schema_generator=_Untitled)
    unsaid = {"$comment": f"Not said here: {'; '.join(UNSAID[name])}."} if name in UNSAID else {}
    return {"$schema": _DIALECT, "$id": f"urn:rwcm:api:{name}", **unsaid, **schema}


def registered(name: str) -> dict[str, Any]:
    """Return the document by which the schema of a kind is registered."""
    return {
        "subject": f"api.{name}",
        "version": 1,
        "semver": "1.0.0",
        "format": "json",
        "schema": api_schema(name),
        "compatibility": "backward",
    }


def path_of(name: str, folder: Path = pack.FOLDER) -> Path:
    """Return the file of the pack that registers the schema of a kind."""
    return folder / "event_schemas" / f"api.{name}.json"


if __name__ == "__main__":
    for kind in KINDS:
        path_of(kind).write_text(json.dumps(registered(kind), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
