"""Expressions over columns: each evaluated once per distinct projection of the members that it reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runtime.documents import codes_of, decode

Member = Callable[[Sequence[str]], pl.Series]
"""Returns the text of the member at a path per row, null where there is none."""


class Evaluable(Protocol):
    """What has a value over the members it names: an expression, or a template of several."""

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]: ...

    def evaluate(self, bindings: Mapping[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Values:
    """The values of an expression: the distinct ones, which of them each row has, and why one has none.

    Attributes:
        faults: by place among the distinct values.
    """

    distinct: list[Any]
    codes: NDArray[np.int64]
    faults: Mapping[int, str]

    def are(self, value: Any) -> NDArray[np.bool_]:
        """Return which rows have exactly this value."""
        return np.array([found is value for found in self.distinct], dtype=bool)[self.codes]

    def faulty(self) -> dict[int, str]:
        """Return why there is no value, by row."""
        if not self.faults:
            return {}
        is_faulty = np.isin(self.codes, list(self.faults))
        return {row: self.faults[int(self.codes[row])] for row in is_faulty.nonzero()[0].tolist()}


def evaluate(expression: Evaluable, rows: int, member: Member) -> Values:
    """Return the values of `expression` over `rows` rows whose members `member` finds."""
    paths = expression.paths
    if not paths or not rows:
        columns: list[pl.Series] = []
        firsts, codes = [0] if rows else [], np.zeros(rows, dtype=np.int64)
    else:
        columns = [member(path) for path in paths]
        places, spread = codes_of(columns)
        firsts, codes = places.to_list(), spread.to_numpy().astype(np.int64)
    distinct: list[Any] = []
    faults: dict[int, str] = {}
    for place, row in enumerate(firsts):
        bindings: dict[str, Any] = {}
        for path, column in zip(paths, columns, strict=True):
            _nest(bindings, path, column[row])
        try:
            distinct.append(expression.evaluate(bindings))
        except ValueError as fault:  # no value, or one that JSON has no word for
            distinct.append(None)
            faults[place] = str(fault)
    return Values(distinct, codes, faults)


def _nest(bindings: dict[str, Any], path: Sequence[str], text: str | None) -> None:
    """Put a member's value at `path`; of an absent member only the way to it is made."""
    target = bindings
    for name in path[:-1]:
        target = target.setdefault(name, {})
    if text is not None:
        target[path[-1]] = decode(text)
