"""What episodes know: the texts that their steps were given and returned, kept once each and referred to by number.

A branch knows a chain of outputs: the newest one, and from each the one before it. Branches of a fork share what was
before the fork, so forking copies nothing.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from runtime.documents import Documents

Rows = NDArray[np.int64]
NOTHING = -1
"""Refers to no text."""


class Texts:
    """Texts that are only ever added, in chunks of one step each."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._chunks: list[Documents] = []
        self._steps: list[str | list[str]] = []
        self._previous: list[Rows] = []
        self._end = 0

    def add(self, texts: pl.Series, steps: str | list[str] = "", previous: Rows | None = None) -> Rows:
        """Keep texts; return what refers to each.

        Args:
            steps: the step that they are of, or one each.
            previous: what each text comes after.
        """
        count = len(texts)
        start, self._end = self._end, self._end + count
        if count:
            self._starts.append(start)
            self._chunks.append(Documents(texts))
            self._steps.append(steps)
            self._previous.append(np.full(count, NOTHING, dtype=np.int64) if previous is None else previous)
        return np.arange(start, self._end, dtype=np.int64)

    def member(self, refs: Rows, path: Sequence[str]) -> pl.Series:
        """Return the text of a member of each text that is referred to, null where there is none."""
        parts, places = [], []
        for chunk, where, within in self._by_chunk(refs):
            documents = self._chunks[chunk]
            if documents.knows(path) or 2 * len(within) > len(documents):
                parts.append(documents.member(path).gather(within))
            else:
                parts.append(Documents(documents.texts.gather(within)).member(path))
            places.append(where)
        if len(parts) == 1 and len(places[0]) == len(refs):
            return parts[0]
        found = pl.repeat(None, len(refs), eager=True, dtype=pl.String)
        for part, where in zip(parts, places, strict=True):
            found = found.scatter(where, part)
        return found

    def previous(self, refs: Rows) -> Rows:
        """Return what each text comes after."""
        before = np.full(len(refs), NOTHING, dtype=np.int64)
        for chunk, where, within in self._by_chunk(refs):
            before[where] = self._previous[chunk][within]
        return before

    def refs(self, ref: int) -> list[int]:
        """Return an output and all before it, the oldest first."""
        found = []
        while ref != NOTHING:
            found.append(ref)
            chunk = bisect_right(self._starts, ref) - 1
            ref = int(self._previous[chunk][ref - self._starts[chunk]])
        return found[::-1]

    def step_of(self, ref: int) -> str:
        """Return the step that a text is of."""
        chunk = bisect_right(self._starts, ref) - 1
        steps = self._steps[chunk]
        return steps if isinstance(steps, str) else steps[ref - self._starts[chunk]]

    def text(self, ref: int) -> str | None:
        """Return a text, None where `ref` refers to none."""
        if ref == NOTHING:
            return None
        chunk = bisect_right(self._starts, ref) - 1
        return self._chunks[chunk].texts[ref - self._starts[chunk]]

    def chain(self, ref: int) -> list[list[str]]:
        """Return [step, text] of an output and of all before it, the oldest first."""
        return [[self.step_of(each), str(self.text(each))] for each in self.refs(ref)]

    def restore(self, chain: Sequence[Sequence[str]]) -> int:
        """Keep a chain again; return what refers to the newest output."""
        last = NOTHING
        for step_id, text in chain:
            (ref,) = self.add(pl.Series([text]), step_id, np.array([last], dtype=np.int64))
            last = int(ref)
        return last

    def _by_chunk(self, refs: Rows) -> Iterator[tuple[int, Rows, Rows]]:
        """Yield each chunk that is referred to: its number, by which rows, and where within it."""
        if not len(refs) or not self._starts:
            return
        chunks = np.searchsorted(self._starts, refs, side="right") - 1
        for chunk in np.unique(chunks).tolist():
            if chunk >= 0:
                where = np.flatnonzero(chunks == chunk)
                yield chunk, where, refs[where] - self._starts[chunk]
