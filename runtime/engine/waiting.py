"""Waiting: for an event, for the end of a child's episode, for a person's word on an effect.

A wait that is over by now is resolved at once, at its own time; any other keeps its episode open, which then holds no
process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
import polars as pl

from guard.canonical import canonical, digest_text
from registry.expressions import compile_template
from registry.plans import PlannedStep
from registry.steps import Await
from runtime.documents import decode
from runtime.engine.evaluation import Member, evaluate
from runtime.engine.history import Rows
from runtime.protocol import EFFECT_RESOLVED

MAX_KEY = 512
"""Characters of an await's key that the registry keeps."""

CHILD_CLOSED = "episode.closed"
"""What a parent waits for; not of the event bus, since the closed episode itself says it."""

NEVER_US = 253_370_764_800_000_000
"""The deadline of a wait that has none: the year 9999."""

AWAITED = pl.Schema({"key": pl.String(), "at": pl.Datetime("us", "UTC"), "payload": pl.String()})
"""Columns of awaited events: the value they correlate by, their time and payload."""

FindAwaited = Callable[[Await, Sequence[str], pl.Series], pl.DataFrame]
"""Returns the events (`AWAITED`) of an await's topic whose correlating members have the values of one of the keys; a
key is `await_key` of these values in the await's order. The third argument is the episode that waits for each key."""

_NAMED_BY = {CHILD_CLOSED: "episode_id", EFFECT_RESOLVED: "key"}
"""What the engine waits for on its own account -> the member that names it."""

_PLAIN_TEXT = r'^"[^"\\]*"$'


class Cause(StrEnum):
    """What a branch waits for."""

    EVENT = "event"
    CHILD = "child"
    EFFECT = "effect"


@dataclass(frozen=True)
class Wait:
    """A wait of one branch.

    Attributes:
        key: what the awaited event answers to.
        since_us: when it began; `due_us` when it ends at the latest.
        given: the step's parameters as JSON text.
        result: what the step's skill returned, as a row of `RESULT`.
        woken: the payload of the event that ended it, and whether it is over for lack of one; None while it lasts.
    """

    cause: Cause
    step_id: str
    topic: str
    key: str
    since_us: int
    due_us: int
    given: str | None
    result: tuple[Any, ...]
    woken: tuple[str | None, int] | None = None


def internal_await(topic: str) -> Await:
    """Return the await of a topic that the engine waits for on its own account."""
    return Await(topic, {_NAMED_BY[topic]: compile_template("")}, 1, ())


def await_key(values: Sequence[Any]) -> str:
    """Return the text under which an awaited event and the episode that waits for it find each other.

    It is canonical, so that 1 and 1.0 are one key; what is too long to be kept is named by its hash.

    Raises:
        ValueError: JSON has no word for a value.
    """
    return _bounded(canonical(list(values)))


def await_keys(members: Sequence[pl.Series]) -> pl.Series:
    """Return the `await_key` per row of members' JSON texts, null where one is missing."""
    joined = pl.select(pl.concat_str(pl.lit("["), pl.concat_str(members, separator=","), pl.lit("]")).alias(""))
    keys = joined.to_series()
    is_canonical = (keys.str.len_chars() <= MAX_KEY).fill_null(value=True)
    for texts in members:
        is_canonical &= texts.str.contains(_PLAIN_TEXT).fill_null(value=True)
    odd = (~is_canonical).arg_true()
    if len(odd):
        keys = keys.clone().scatter(odd, [await_key(decode(text)) for text in keys.gather(odd)])
    return keys


def _bounded(key: str) -> str:
    return key if len(key) <= MAX_KEY else digest_text(key)


def correlated(wait: Await, rows: int, member: Member) -> tuple[pl.Series, dict[int, str]]:
    """Return the key that each row waits for, and by row why there is none."""
    faults: dict[int, str] = {}
    columns = []
    for template in wait.correlate.values():
        pieces = template.spliced()
        if pieces is not None and len(pieces) == 1 and not isinstance(pieces[0], str):
            texts = member(pieces[0])
            if not texts.null_count():
                columns.append(texts)
                continue
        values = evaluate(template, rows, member)
        for row, fault in values.faulty().items():
            faults.setdefault(row, fault)
        texts_of: list[str | None] = []
        for place, value in enumerate(values.distinct):
            try:
                texts_of.append(None if place in values.faults else canonical(value))
            except ValueError as fault:
                texts_of.append(None)
                for row in (values.codes == place).nonzero()[0].tolist():
                    faults.setdefault(row, str(fault))
        columns.append(pl.Series(texts_of, dtype=pl.String).gather(pl.Series(values.codes)))
    return await_keys(columns), faults


def deadline(step: PlannedStep, since: Rows) -> Rows:
    """Return when waits of a step that began `since` are over."""
    assert step.logic.awaits is not None
    return since + int(Decimal(step.logic.awaits.timeout_h) * 3_600_000_000)


def first_events(events: pl.DataFrame, keys: pl.Series, started: Rows, due: Rows) -> pl.DataFrame:
    """Return per key the first event (at, payload) between the start of its episode and its deadline, else null.

    An event that came before the wait began counts: who decides can be faster than the books. One from before the
    episode was about something else.
    """
    windows = pl.DataFrame({"key": keys, "started": started, "due": due}).with_row_index()
    at = pl.col("at").dt.epoch("us")
    first = (
        windows.join(events, on="key", how="inner")
        .filter(at.is_between("started", "due"))
        .sort("index", "at", "payload")
        .unique("index", keep="first")
        .select("index", "at", "payload")
    )
    return windows.select("index").join(first, on="index", how="left", maintain_order="left")


def merged(outputs: pl.Series, payloads: pl.Series) -> pl.Series:
    """Return the steps' outputs with the members of the awaited events' payloads over them."""
    texts = [_merged(own or "{}", payload) for own, payload in zip(outputs, payloads, strict=True)]
    return pl.Series(texts, dtype=pl.String)


def _merged(own: str, payload: str) -> str:
    members = _members(own) | _members(payload)
    return msgspec.json.encode(members).decode()


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
