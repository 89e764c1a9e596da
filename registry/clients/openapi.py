"""The topics as one OpenAPI 3.1 document: a webhook per topic with its latest schema; documents as components."""

from collections.abc import Mapping, Sequence
from typing import Any

from registry.compatibility.document import SchemaDocument
from registry.schemas import SchemaVersion

_DOCUMENTS = "api."
"""Subjects of the documents that are posted, not sent as events: components alone."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def openapi(topics: Mapping[str, Sequence[SchemaVersion]], *, version: str) -> dict[str, Any]:
    """Return the document; every version of a schema is a component, the latest is what the webhook carries.

    A schema's definitions move into its component under `$defs`, and its references follow them there.
    """
    components: dict[str, Any] = {}
    webhooks: dict[str, Any] = {}
    for subject, versions in topics.items():
        described = [each for each in versions if each.format == "json"]
        for each in described:
            components[component(each)] = _placed(each.schema, f"#/components/schemas/{component(each)}")
        if described and not subject.startswith(_DOCUMENTS):
            webhooks[subject] = _webhook(described[-1])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Events", "version": version, "summary": "Payloads of the topics of this registry."},
        "jsonSchemaDialect": _DIALECT,
        "webhooks": webhooks,
        "components": {"schemas": components},
    }


def component(version: SchemaVersion) -> str:
    """Return what a version of a topic's schema is called among the components."""
    return f"{version.subject}.v{version.version}"


def _webhook(version: SchemaVersion) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{component(version)}"}
    return {
        "post": {
            "operationId": version.subject.replace(".", "_").replace("-", "_"),
            "summary": f"An event of {version.subject}, version {version.version}",
            "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
            "responses": {"2XX": {"description": "Taken."}},
        }
    }


def _placed(schema: Any, place: str) -> Any:
    """Return a schema for its place in the document: references within it start there."""
    SchemaDocument(schema)  # refuses references that lead out of it

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: place + item[1:]
                if name == "$ref" and isinstance(item, str) and item.startswith("#/")
                else place
                if name == "$ref" and item == "#"
                else moved(item)
                for name, item in value.items()
                if name not in ("$schema", "$id")
            }
        return [moved(item) for item in value] if isinstance(value, list) else value

    return moved(schema)
