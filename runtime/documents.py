"""JSON columns: text is the truth, and of a text only the members that somebody names are taken out, as texts.

A member is taken out of a whole column at once. A text stays what it was, so numbers keep their digits, and an absent
member (no text) is told from one that is null (the text `null`).
"""

import json
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, overload

import msgspec
import polars as pl

_DECODE = json.JSONDecoder(parse_float=Decimal).decode
_OBJECT = msgspec.defstruct("_Object", [], gc=False)
_MEMBER = "member"
_RENAME_REFUSES = frozenset('"\\') | {chr(code) for code in range(32)}


class Documents:
    """A column of JSON texts, each valid or null."""

    def __init__(self, texts: pl.Series) -> None:
        self.texts = texts
        self._members: dict[str, Documents] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def member(self, path: Sequence[str]) -> pl.Series:
        """Return the text of the member at `path` per row, null where there is none; the whole text for no path."""
        documents = self
        for name in path:
            if name not in documents._members:
                documents._members[name] = Documents(_member(documents.texts, name))
            documents = documents._members[name]
        return documents.texts

    def knows(self, path: Sequence[str]) -> bool:
        """Tell whether the member was taken out already."""
        return not path or (path[0] in self._members and self._members[path[0]].knows(path[1:]))


class Column(Sequence[Any]):
    """One value per row, as JSON texts and decoded only where somebody looks: numbers as int or Decimal, exact.

    Attributes:
        texts: the JSON text of each value; null, and None among the values, where there is none.
    """

    def __init__(self, texts: pl.Series, *, constant: bool = False) -> None:
        self.texts = texts
        self.is_constant = constant
        self._values: list[Any] | None = None

    @classmethod
    def repeat(cls, value: Any, rows: int) -> "Column":
        """Return a column that holds `value` in each row."""
        return cls(pl.repeat(encode(value), rows, eager=True, dtype=pl.String), constant=True)

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Column":
        """Return a column of decoded values."""
        return cls(pl.Series([encode(value) for value in values], dtype=pl.String))

    @property
    def values(self) -> list[Any]:
        if self._values is None:
            self._values = (
                [decode(self.texts[0])] * len(self.texts)
                if self.is_constant and len(self.texts)
                else decode_all(self.texts)
            )
        return self._values

    def distinct(self) -> tuple[list[Any], pl.Series]:
        """Return the distinct values, by their texts, and which of them each row has."""
        if self.is_constant and len(self.texts):
            return [decode(self.texts[0])], pl.repeat(0, len(self.texts), eager=True, dtype=pl.UInt32)
        texts, codes = codes_of([self.texts])
        return decode_all(self.texts.gather(texts)), codes

    def take(self, rows: Any) -> "Column":
        """Return the rows at these positions."""
        return Column(self.texts.gather(rows), constant=self.is_constant)

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.values[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.values == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Column({self.values!r})"


def codes_of(columns: Sequence[pl.Series]) -> tuple[pl.Series, pl.Series]:
    """Return where each distinct row of `columns` stands first, and per row which of them it is."""
    frame = pl.DataFrame([column.alias(str(place)) for place, column in enumerate(columns)])
    groups = frame.with_row_index("row").group_by(frame.columns, maintain_order=True).agg("row")["row"]
    sizes = groups.list.len()
    codes = pl.int_range(len(groups), eager=True, dtype=pl.UInt32)
    spread = pl.DataFrame({"row": groups.explode(), "code": codes.gather(_repeated(sizes))}).sort("row")["code"]
    return groups.list.first(), spread


def _repeated(sizes: pl.Series) -> pl.Series:
    return pl.int_range(len(sizes), eager=True, dtype=pl.UInt32).repeat_by(sizes).explode().drop_nulls()


def are_objects(texts: pl.Series) -> pl.Series:
    """Return which texts are JSON objects."""
    starts = texts.str.strip_chars_start().str.starts_with("{").fill_null(value=False)
    ends = texts.str.strip_chars_end().str.ends_with("}").fill_null(value=False)
    may_be = starts & ends
    if _lines(texts.filter(may_be), _OBJECT) is not None:
        return may_be
    decoder = msgspec.json.Decoder(_OBJECT)
    return pl.Series([is_one and _decodes(decoder, text) for is_one, text in zip(may_be, texts, strict=True)])


def decode(text: str) -> Any:
    """Return the value of a JSON text, numbers exact."""
    return _DECODE(text)


def decode_all(texts: pl.Series) -> list[Any]:
    """Return the values of JSON texts, numbers exact, None where there is no text."""
    joined = texts.fill_null("null").str.join(",").item()
    return _DECODE(f"[{joined}]")


def encode(value: Any) -> str:
    """Return the JSON text of a decoded value, numbers with the digits they have.

    Raises:
        ValueError: a number that JSON has no word for, such as an infinite one.
    """
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise ValueError(f"JSON has no word for {value}")
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{encode(item)}" for key, item in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(encode, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _member(texts: pl.Series, name: str) -> pl.Series:
    """Return the text of a member of each text that is an object and has it."""
    is_object = texts.str.strip_chars_start().str.starts_with("{").fill_null(value=False)
    objects = texts.filter(is_object)
    if objects.is_empty():
        return pl.repeat(None, len(texts), eager=True, dtype=pl.String)
    found = None if _RENAME_REFUSES.intersection(name) else _lines(objects, _with_member(name))
    if found is None:
        members = [_alone(text, name) for text in objects]
    else:
        absent = msgspec.UNSET
        members = [None if item.member is absent else bytes(item.member) for item in found]
    taken = pl.Series(members, dtype=pl.Binary).cast(pl.String)
    if len(objects) == len(texts):
        return taken
    places = is_object.arg_true()
    return pl.repeat(None, len(texts), eager=True, dtype=pl.String).scatter(places, taken)


def _lines(texts: pl.Series, kind: type[Any]) -> list[Any] | None:
    """Return each of `texts` decoded, in one go; None if one of them is no JSON, or more than one object.

    A text that begins with a brace cannot go on where another one ended, so as many objects as texts are one in each.
    """
    try:
        # Joined by the column: texts that became Python's one by one would cost more than reading them.
        found = msgspec.json.Decoder(kind).decode_lines(texts.str.join("\n").item())
    except msgspec.DecodeError:
        return None
    return found if len(found) == len(texts) else None


def _alone(text: str, name: str) -> bytes | None:
    members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return bytes(members[name]) if name in members else None


def _decodes(decoder: msgspec.json.Decoder[Any], text: str) -> bool:
    try:
        decoder.decode(text)
    except msgspec.DecodeError:
        return False
    return True


@lru_cache(maxsize=1024)
def _with_member(name: str) -> type[Any]:
    kind = msgspec.Raw | msgspec.UnsetType
    return msgspec.defstruct("_With", [(_MEMBER, kind, msgspec.UNSET)], rename={_MEMBER: name}, gc=False)
