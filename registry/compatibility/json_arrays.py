"""Arrays: lists, whose items are alike, and tuples, whose items have positions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from registry.compatibility.document import Schema
from registry.compatibility.old_schema import Conjunct, Old
from registry.compatibility.reasons import Kind, Reason

if TYPE_CHECKING:
    from registry.compatibility.json_schema import Comparison

_OPEN: tuple[Schema, ...] = (True, {})


def array_forms(new: list[Conjunct], old: Old) -> Iterator[Reason]:
    """Find that a list became a tuple or free, or a tuple grew: readers see another type though the values may fit."""
    now, before = _form(new), _form(old.parts)
    if "tuple" in (now, before) and now != before:
        message = f"a {before} became a {now}"
        yield Reason(Kind.ARRAY_FORM_CHANGED, "", before, now, message, is_shape=True)
    elif before == "list" and now == "array of anything":
        message = "the items had a schema and no longer have one"
        yield Reason(Kind.ITEMS_DROPPED, "/items", old.item_schema(None), None, message, is_shape=True)
    elif now == before == "tuple":
        count = max(len(part.get("prefixItems", ())) for part in new)
        for index in range(old.item_count, count):
            message = f"the tuple has a position {index} now, which it did not have before"
            yield Reason(Kind.ITEM_ADDED, f"/prefixItems/{index}", old.item_schema(index), None, message, is_shape=True)


def _form(parts: list[Conjunct]) -> str:
    if any(part.get("prefixItems") for part in parts):
        return "tuple"
    return "list" if any(part.get("items", True) not in _OPEN for part in parts) else "array of anything"


def compare_arrays(comparison: "Comparison", new: Conjunct, old: Old) -> Iterator[Reason]:
    """Find what one conjunct says of items that did not hold of every old array."""
    prefix, rest = new.get("prefixItems", []), new.get("items", True)
    for index in range(max(len(prefix), old.item_count)):
        now, before = prefix[index] if index < len(prefix) else rest, old.item_schema(index)
        if now in _OPEN or before is False:
            continue
        path = f"/prefixItems/{index}" if index < len(prefix) else "/items"
        holds = comparison.follows({"prefixItems": [*[True] * index, now]}, old)
        found = comparison.nested(now, before, path, is_proven=holds)
        if found and not holds and index >= old.item_count:
            message = f"the item at {index} could be anything before that additional items may be; now it cannot"
            yield Reason(Kind.ITEM_ADDED, path, before, now, message)
        elif found and not holds and index >= len(prefix):
            message = f"the item at {index} has no position of its own any more, and additional items do not cover it"
            yield Reason(Kind.ITEM_REMOVED, path, before, now, message)
        yield from found
    before = old.item_schema(None)
    if rest in _OPEN or before is False:
        return
    holds = comparison.follows({"prefixItems": [True] * len(prefix), "items": rest}, old)
    found = comparison.nested(rest, before, "/items", is_proven=holds)
    if found and not holds:
        if rest is False:
            message = "further items were allowed before and no longer are"
            yield Reason(Kind.ADDITIONAL_ITEMS_REMOVED, "/items", before, False, message)
            return
        if prefix:
            message = "further items could be values before that they cannot be now"
            yield Reason(Kind.ADDITIONAL_ITEMS_NARROWED, "/items", before, rest, message)
    yield from found
