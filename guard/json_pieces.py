"""JSON read piece by piece: each value with the text it stands in, and arrays larger than memory should hold at once.

The pieces are what `guard.canonical.parse` takes, and refused by the same rules.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from guard.canonical import no_json, parse_at, stands_twice

_SPACE = re.compile(r"[ \t\n\r]*")


class Elements(Iterator[tuple[Any, str]]):
    """The elements of the array that begins at `start`: each with its own text, one at a time.

    Raises:
        JsonFault: while iterating, where the array, or an element, is none.

    Attributes:
        end: where the array ends; known once all elements were taken.
    """

    def __init__(self, text: str, start: int = 0) -> None:
        self.end = 0
        self._text = text
        self._at = _expect(text, start, "[")
        self._is_first = True

    def __next__(self) -> tuple[Any, str]:
        if self.end:
            raise StopIteration
        if self._text[self._at : self._at + 1] == "]":
            self.end = self._at + 1
            raise StopIteration
        if not self._is_first:
            self._at = _expect(self._text, self._at, ",")
        self._is_first = False
        value, end = parse_at(self._text, self._at)
        text = self._text[self._at : end]
        self._at = _after(self._text, end)
        return value, text


def elements(text: str) -> Iterator[tuple[Any, str]]:
    """Yield the elements of the array that `text` is, each with its own text."""
    found = Elements(text)
    yield from found
    _expect_end(text, found.end)


def members(text: str, *, arrays: Collection[str] = ()) -> Iterator[tuple[str, Any, str]]:
    """Yield (key, value, its own text) of each member of the object that `text` is.

    A member's text is all that stands between the colon and the comma, white space included: what was put there
    verbatim comes back verbatim.

    Args:
        arrays: keys whose values come as `Elements`, to be taken before the next member, and without their text.

    Raises:
        JsonFault: while iterating, where the object, or a member, is none; a key that stands twice.
    """
    at = _expect(text, 0, "{")
    seen: set[str] = set()
    while text[at : at + 1] != "}":
        if seen:
            at = _expect(text, at, ",")
        key, end = parse_at(text, at)
        if not isinstance(key, str):
            raise no_json("Expecting property name enclosed in double quotes", at)
        if key in seen:
            raise stands_twice(key)
        seen.add(key)
        at = _expect(text, end, ":")
        if key in arrays:
            found = Elements(text, at)
            yield key, found, ""
            for _ in found:
                pass
            at = _after(text, found.end)
        else:
            start = text.index(":", end) + 1
            value, end = parse_at(text, at)
            at = _after(text, end)
            yield key, value, text[start:at]
    _expect_end(text, at + 1)


def _after(text: str, at: int) -> int:
    """Return where the white space that begins at `at` ends."""
    if text[at : at + 1] > " ":
        return at
    match = _SPACE.match(text, at)
    assert match is not None, "it matches nothing, too"
    return match.end()


def _expect(text: str, at: int, mark: str) -> int:
    """Return where what follows `mark` begins."""
    at = _after(text, at)
    if text[at : at + 1] != mark:
        raise no_json(f"Expecting {mark!r}", at)
    return _after(text, at + 1)


def _expect_end(text: str, at: int) -> None:
    at = _after(text, at)
    if at != len(text):
        raise no_json("Extra data", at)
