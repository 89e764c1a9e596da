"""The journal of effects: what is meant is written before, what came of it after.

An effect has a key, which names it for ever. Keys go through in groups, and one transaction carries the results of the
last group and the intents of the next, so that a call costs a share of a transaction. A process that is killed leaves
intents without results; whoever performs the same keys again settles them:

1. A skill that can look up is asked which of them happened.
2. One that declares itself idempotent is sent the same key again; the other side does it once.
3. Any other effect is unknown. It is parked until a person says what became of it (`runtime.effects.resolution`).

The same rule holds for an effect that was sent and not answered. Two processes do not perform one key at a time:
an episode is executed by one.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from registry.database import Registry
from runtime.documents import Column
from runtime.effects.records import Entry, Known, Result, State, read_entries, write_entries
from runtime.protocol import NOT_DONE, RESULT_SCHEMA, UNCERTAIN, Call, ErrorCode, LooksUp, Skill, is_idempotent

log = logging.getLogger("rwcm.runtime")

GROUP = 512
"""Effects whose intents are written at once, where a crash can be settled without a person; two groups overlap, so
that the calls under way do not wait for a commit."""

UNSETTLED_GROUP = 16
"""The same where it cannot: as many effects at most does a crash leave to a person."""

_PLACE = {name: index for index, name in enumerate(RESULT_SCHEMA.names())}
_encode_request = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


def failure(code: ErrorCode, message: str) -> Result:
    """Return the result of one row that is a failure before anything took time."""
    values = {"error_code": code.value, "error_message": message, "latency_ms": 0}
    return tuple(values.get(name) for name in RESULT_SCHEMA)


class Effects:
    """Performs effects through the journal of a registry.

    Args:
        batch_id: the execution's batch, which the journal names for people.
        clock: tells the moment that is written; nothing follows from it.
    """

    def __init__(
        self, registry: Registry, *, batch_id: str = "", clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._registry = registry
        self._batch_id = batch_id
        self._clock = clock

    def perform(self, skill: Skill, call: Call, keys: Sequence[str], *, timeout_ms: int | None) -> pl.DataFrame:
        """Return one row of `RESULT_SCHEMA` per row of the call, in order; each key's effect happens once.

        A key that was done or resolved comes back as recorded, one that was meant with another request is an error, and
        what nobody knows of is `EFFECT_UNKNOWN`. The skill may be called for two groups at a time, by two threads.

        Raises:
            ValueError: there is not one key per row.
        """
        if len(keys) != call.rows:
            raise ValueError(f"{len(keys)} keys were given for {call.rows} effects; each needs its own")
        return _Performance(self, skill, replace(call, keys=keys, timeout_ms=timeout_ms)).run()

    def read(self, keys: Sequence[str]) -> dict[str, Known]:
        with self._registry.read() as connection:
            return read_entries(connection, keys)

    def write(self, entries: Iterable[Entry]) -> None:
        """Write entries in one transaction; when it returns they outlive a crash."""
        if rows := list(entries):
            with self._registry.transaction() as connection:
                write_entries(connection, rows, batch_id=self._batch_id, now=self._clock())


class _Performance:
    """One call of `Effects.perform`."""

    def __init__(self, effects: Effects, skill: Skill, call: Call) -> None:
        # Groups are parts of the call; a member is looked up for all rows once.
        self.call = replace(call, known=cache(call.known))
        self.effects = effects
        self.skill = skill
        self.looks_up = skill if isinstance(skill, LooksUp) else None
        self.can_settle = is_idempotent(skill) or self.looks_up is not None
        self.digests = _digests(call)
        self.results: list[Result | None] = [None] * call.rows
        self.settled: list[Entry] = []
        """Entries that the next transaction carries."""

    def run(self) -> pl.DataFrame:
        first: dict[str, int] = {}
        for row, key in enumerate(self.call.keys):
            first.setdefault(key, row)
        self._do(self._open(first))
        for row, key in enumerate(self.call.keys):
            if first[key] != row:
                same = self.digests[row] == self.digests[first[key]]
                self.results[row] = self.results[first[key]] if same else _conflict(key)
        return pl.DataFrame(self.results, schema=RESULT_SCHEMA, orient="row")

    def _open(self, first: Mapping[str, int]) -> list[int]:
        """Return the rows whose effects are to be done now; what is known of the others is their result."""
        known = self.effects.read(list(first))
        if not known:
            return list(first.values())
        wanted, unsettled = [], []
        for key, row in first.items():
            match known.get(key):
                case None:
                    wanted.append(row)
                case Known(request_digest=request_digest) if request_digest != self.digests[row]:
                    self.results[row] = _conflict(key)
                case Known(state=State.DONE | State.RESOLVED, result=result) if result is not None:
                    self.results[row] = result
                case Known(state=State.NOT_DONE):
                    wanted.append(row)
                case _:
                    unsettled.append(row)
        return sorted(wanted + self._settle(unsettled))

    def _settle(self, rows: list[int]) -> list[int]:
        """Settle effects that were meant and of which nothing is known; return the rows that may be done (again)."""
        if not rows:
            return []
        if self.looks_up is None:
            if is_idempotent(self.skill):
                return rows
            for row in rows:
                self._take(row, failure(ErrorCode.EFFECT_UNKNOWN, "it was meant, and what came of it was not recorded"))
            return []
        try:
            happened = self.looks_up.look_up([self.call.keys[row] for row in rows], self.call.binding)
        except Exception as fault:  # noqa: BLE001 - whoever cannot ask concludes nothing
            message = f"whether it happened could not be looked up: {type(fault).__name__}"
            for row in rows:
                self.results[row] = failure(ErrorCode.CONNECTIVITY, message)
            return []
        again = []
        for row in rows:
            output = happened.get(self.call.keys[row])
            if output is None:
                again.append(row)
            else:
                values = {"output": output, "latency_ms": 0, "system": self.call.binding.system}
                self._take(row, tuple(values.get(name) for name in RESULT_SCHEMA))
        return again

    def _do(self, rows: list[int]) -> None:
        """Do the effects of `rows` in groups: intents before each, results after it, in the next one's transaction."""
        size, at_once = (GROUP, 2) if self.can_settle else (UNSETTLED_GROUP, 1)
        groups = iter([rows[start : start + size] for start in range(0, len(rows), size)])
        running: dict[Future[list[Result]], list[int]] = {}
        with ThreadPoolExecutor(at_once, thread_name_prefix="rwcm-effects") as pool:
            try:
                while True:
                    starting = list(islice(groups, at_once - len(running)))
                    self._write([row for group in starting for row in group])
                    running |= {pool.submit(self._run, group): group for group in starting}
                    if not running:
                        return
                    for ended in wait(running, return_when=FIRST_COMPLETED).done:
                        self._take_all(running.pop(ended), ended.result())
            except BaseException:
                # What is under way happens whether or not somebody listens: its results are kept.
                for ended in wait(running).done:
                    self._take_all(running[ended], ended.result())
                self._write([])
                raise

    def _write(self, meant: Sequence[int]) -> None:
        settled, self.settled = self.settled, []
        self.effects.write([*settled, *(self._entry(row, State.INTENDED) for row in meant)])

    def _run(self, rows: list[int]) -> list[Result]:
        """Return what the skill did for some rows; a fault of it leaves unknown what it did."""
        skill_id = self.call.skill_id or type(self.skill).__name__
        try:
            result = self.skill.run(_part(self.call, rows))
        except Exception as fault:  # noqa: BLE001 - an adapter's fault is a row, not the end of the batch
            return [failure(ErrorCode.SKILL_FAULT, f"{skill_id} raised {type(fault).__name__}")] * len(rows)
        if not isinstance(result, pl.DataFrame) or result.schema != RESULT_SCHEMA or result.height != len(rows):
            return [failure(ErrorCode.SKILL_FAULT, f"{skill_id} did not return what it promises")] * len(rows)
        return result.rows()

    def _take_all(self, rows: Sequence[int], results: Sequence[Result]) -> None:
        for row, result in zip(rows, results, strict=True):
            self._take(row, result)

    def _take(self, row: int, result: Result) -> None:
        """Keep the result of a row, for the caller and for the next transaction."""
        code = result[_PLACE["error_code"]]
        if code in UNCERTAIN and not self.can_settle:
            unknown = (
                f"{result[_PLACE['error_message']]}; whether it happened is not known: rwcm effects resolve says so"
            )
            result = _with(result, error_code=ErrorCode.EFFECT_UNKNOWN.value, error_message=unknown)
        self.results[row] = result
        state = State.UNKNOWN if code in UNCERTAIN else State.NOT_DONE if code in NOT_DONE else State.DONE
        self.settled.append(self._entry(row, state, result))

    def _entry(self, row: int, state: State, result: Result | None = None) -> Entry:
        call = self.call
        return Entry(
            call.keys[row],
            call.skill_id,
            call.episode_ids[row] if len(call.episode_ids) else "",
            call.step_id,
            state,
            self.digests[row],
            None if result is None else result[_PLACE["error_code"]],
            result,
        )


def _part(call: Call, rows: Sequence[int]) -> Call:
    """Return the call for some of its rows, in the order of `rows`."""

    def known(*path: str) -> Column:
        return call.known(*path).take(rows)

    return replace(
        call,
        arguments={name: values.take(rows) for name, values in call.arguments.items()},
        seeds=call.seeds[list(rows)],
        known=known,
        episode_ids=[call.episode_ids[row] for row in rows] if len(call.episode_ids) else (),
        visits=call.visits[list(rows)] if len(call.visits) else call.visits,
        keys=[call.keys[row] for row in rows],
    )


def _digests(call: Call) -> list[str]:
    """Return per row what names the request: the skill and its arguments."""
    names = sorted(call.arguments)
    columns = [list(call.arguments[name]) for name in names]
    head = _encode_request([call.skill_id, names])
    if not columns:
        return [sha256(head).hexdigest()] * call.rows
    return [sha256(head + _encode_request(values)).hexdigest() for values in zip(*columns, strict=True)]


def _conflict(key: str) -> Result:
    message = f"the key {key} was used for another request; give the step another idempotency_key"
    return failure(ErrorCode.IDEMPOTENCY_CONFLICT, message)


def _with(result: Result, **values: Any) -> Result:
    return tuple(values.get(name, result[place]) for name, place in _PLACE.items())
