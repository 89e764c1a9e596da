"""One JSON document: an array of records, such as a batch of CloudEvents, or one record written over several lines."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from ingest.records import MAX_RECORD_BYTES, Fault, Limits, Part, Record

MAX_BYTES = 64 << 20
"""An array is read whole; beyond this it is lines that are wanted."""

_BEFORE = b"\xef\xbb\xbf \t\r\n"
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_whole = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass(frozen=True, slots=True)
class Texts:
    """Records with the bytes at which they start."""

    texts: tuple[tuple[int, bytes], ...]

    def __iter__(self) -> Iterator[Record]:
        for offset, text in self.texts:
            is_too_large = len(text) > MAX_RECORD_BYTES
            yield Record(offset, b"" if is_too_large else text, "too_large" if is_too_large else None)


def may_begin(head: bytes) -> bool:
    """Return whether a file that begins like this may be one document, and not lines."""
    first, _, rest = head.lstrip(_BEFORE).partition(b"\n")
    if not first.startswith((b"[", b"{")):
        return False
    try:
        _whole(first)
    except (msgspec.MsgspecError, RecursionError):
        return True
    return first.startswith(b"[") and not rest.strip(_BEFORE)


def parts(content: bytes, limits: Limits) -> Iterator[Part] | None:
    """Return the parts of a whole document, or None if it is none and must be taken for lines."""
    start = len(content) - len(content.lstrip(_BEFORE))
    try:
        if content[start : start + 1] == b"[":
            return _array(content, start, [bytes(item) for item in _items(content[start:])], limits)
        text = content[start:].rstrip(b" \t\r\n")
        _whole(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return iter([Texts(((start, text),))])


def _array(content: bytes, start: int, items: list[bytes], limits: Limits) -> Iterator[Part]:
    if not items:
        yield Fault(0, "empty_file")
    held: list[tuple[int, bytes]] = []
    size = 0
    for item in items:
        # Between two items there are only blanks and a comma, so the first place that fits is the item's own.
        start = content.index(item, start)
        held.append((start, item))
        start, size = start + len(item), size + len(item)
        if len(held) == limits.records or size >= limits.bytes:
            yield Texts(tuple(held))
            held, size = [], 0
    if held:
        yield Texts(tuple(held))
