"""What a topic says of its payloads beside their form, in words of its schema or its term in the ontology."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

CONTRACT = "x-contract"
"""Member of a schema's root: what becomes of a payload with members that the schema does not know."""

TAGS = "policy_tags"
"""Member of a term's attributes: the policies that apply to what the term names."""

SCHEMA_TAGS = "x-policy-tags"
"""Member of a schema's root: the policies that apply to payloads of the topic."""

_PERSONAL = "pii"
_CLOSING = ("additionalProperties", "unevaluatedProperties")


class Contract(StrEnum):
    """What becomes of a payload with members that its schema does not know."""

    FREEZE = "freeze"
    """It is refused."""
    DISCARD_VALUE = "discard_value"
    """The members are dropped and counted."""
    EVOLVE = "evolve"
    """The members are kept, redacted, and proposed for the schema."""


def contract_of(schema: Any) -> Contract:
    """Return the contract that a schema states; one that states none, or nothing that is one, freezes its members."""
    stated = schema.get(CONTRACT) if isinstance(schema, Mapping) else None
    return Contract(stated) if stated in list(Contract) else Contract.FREEZE


def policy_tags(schema: Any) -> list[str]:
    """Return the policy tags that a schema states."""
    return _tags(schema, SCHEMA_TAGS)


def term_tags(attributes: Any) -> list[str]:
    """Return the policy tags that the attributes of a term state."""
    return _tags(attributes, TAGS)


def is_personal(tags: Iterable[str]) -> bool:
    """Return whether policy tags make a payload personal as a whole: `pii` or `pii_*` is among them."""
    return any(tag == _PERSONAL or tag.startswith(f"{_PERSONAL}_") for tag in tags)


def schema_faults(schema: Any, compatibility: str, *, is_avro: bool = False) -> Iterator[tuple[str, str, str]]:
    """Find what is wrong with the words of a schema's root, as (path, problem, fix).

    Args:
        compatibility: what the version after it must be.
        is_avro: whether it is written in Avro, whose records are closed always and which no proposal adds to.
    """
    if not isinstance(schema, Mapping):
        return
    if not _are_tags(schema.get(SCHEMA_TAGS, [])):
        yield f"/{SCHEMA_TAGS}", "is no list of policy tags", 'write it as ["pii_contact"]'
    contract = schema.get(CONTRACT, Contract.FREEZE)
    if contract not in list(Contract):
        yield f"/{CONTRACT}", "is no contract", f"write one of {', '.join(Contract)}"
    elif is_avro:
        if contract == Contract.EVOLVE:
            problem = "is evolve, but members are proposed for schemas in JSON Schema only"
            yield f"/{CONTRACT}", problem, "make it freeze or discard_value"
    elif contract != Contract.FREEZE and all(schema.get(word) is not False for word in _CLOSING):
        problem = f"is {contract}, but to an open schema no member is unknown"
        yield f"/{CONTRACT}", problem, 'add "additionalProperties": false'
    elif contract == Contract.EVOLVE and compatibility.startswith(("forward", "full")):
        problem = f"is evolve, but no member may join a schema whose next version must be {compatibility} compatible"
        yield f"/{CONTRACT}", problem, "make the compatibility backward, or the contract freeze or discard_value"


def term_faults(attributes: Any) -> Iterator[tuple[str, str, str]]:
    """Find what is wrong with the policy tags of a term, as (path, problem, fix)."""
    if isinstance(attributes, Mapping) and not _are_tags(attributes.get(TAGS, [])):
        yield f"/{TAGS}", "is no list of policy tags", 'write it as ["pii_contact"]'


def _tags(stated: Any, member: str) -> list[str]:
    tags = stated.get(member, []) if isinstance(stated, Mapping) else []
    return tags if _are_tags(tags) else []


def _are_tags(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(tag, str) for tag in value)
