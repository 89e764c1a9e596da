"""What a topic says of its payloads beside their form, in words of its schema or its term in the ontology."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

TAGS = "policy_tags"
"""Member of a term's attributes: the policies that apply to what the term names."""

SCHEMA_TAGS = "x-policy-tags"
"""Member of a schema's root: the policies that apply to payloads of the topic."""

_PERSONAL = "pii"


def policy_tags(schema: Any) -> list[str]:
    """Return the policy tags that a schema states."""
    return _tags(schema, SCHEMA_TAGS)


def term_tags(attributes: Any) -> list[str]:
    """Return the policy tags that the attributes of a term state."""
    return _tags(attributes, TAGS)


def is_personal(tags: Iterable[str]) -> bool:
    """Return whether policy tags make a payload personal as a whole: `pii` or `pii_*` is among them."""
    return any(tag == _PERSONAL or tag.startswith(f"{_PERSONAL}_") for tag in tags)


def schema_faults(schema: Any) -> Iterator[tuple[str, str, str]]:
    """Find what is wrong with the words of a schema's root, as (path, problem, fix)."""
    if isinstance(schema, Mapping) and not _are_tags(schema.get(SCHEMA_TAGS, [])):
        yield f"/{SCHEMA_TAGS}", "is no list of policy tags", 'write it as ["pii_contact"]'


def term_faults(attributes: Any) -> Iterator[tuple[str, str, str]]:
    """Find what is wrong with the policy tags of a term, as (path, problem, fix)."""
    if isinstance(attributes, Mapping) and not _are_tags(attributes.get(TAGS, [])):
        yield f"/{TAGS}", "is no list of policy tags", 'write it as ["pii_contact"]'


def _tags(stated: Any, member: str) -> list[str]:
    tags = stated.get(member, []) if isinstance(stated, Mapping) else []
    return tags if _are_tags(tags) else []


def _are_tags(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(tag, str) for tag in value)
