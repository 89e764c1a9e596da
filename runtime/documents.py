"""JSON columns: text is the truth, and a step decodes only the texts whose members it names."""

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

_DECODE = json.JSONDecoder(parse_float=Decimal).decode


class Documents:
    """A column of JSON objects, each decoded at the first look into it.

    Numbers stay exact: integers of any size, other numbers as Decimal.
    """

    def __init__(self, texts: Sequence[str | None]) -> None:
        self._texts = list(texts)
        self._decoded: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, row: int) -> str | None:
        return self._texts[row]

    def put(self, row: int, text: str | None) -> None:
        self._texts[row] = text
        self._decoded.pop(row, None)

    def value(self, row: int) -> Any:
        """Return the whole object, or None where there is none."""
        if row not in self._decoded:
            text = self._texts[row]
            self._decoded[row] = None if text is None else _DECODE(text)
        return self._decoded[row]

    def member(self, row: int, path: Sequence[str]) -> tuple[bool, Any]:
        """Return whether the object has a member at `path`, and its value."""
        value = self.value(row)
        for name in path:
            if not isinstance(value, dict) or name not in value:
                return False, None
            value = value[name]
        return True, value


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
