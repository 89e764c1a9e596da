"""The journal of effects: what is meant is written before, what came of it after.

An effect has a key, which names it for ever. Keys go through in groups, and one transaction carries the results of the
last group and the intents of the next, so that a call costs a share of a transaction. A process that is killed leaves
groups without results; whoever performs their keys again settles them:

1. A skill that can look up is asked which of them happened.
2. One that declares itself idempotent is sent the same key again; the other side does it once.
3. Any other effect is unknown. It is parked until a person says what became of it (`runtime.effects.resolution`).

The same rule holds for an effect that was sent and not answered. Two processes do not perform one key at a time:
an episode is executed by one.
"""

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from itertools import islice
from typing import Any, cast

import msgspec
import polars as pl

from registry.database import Registry
from runtime.documents import Column
from runtime.effects.records import (
    Group,
    Known,
    Origin,
    Outcome,
    Result,
    Settled,
    State,
    open_groups,
    read_effects,
    spread,
    write_group,
    write_outcome,
)
from runtime.protocol import NOT_DONE, RESULT_SCHEMA, UNCERTAIN, Call, ErrorCode, LooksUp, Skill, is_idempotent

log = logging.getLogger("rwcm.runtime")

GROUP = 1024
"""Effects whose intents are written at once, where a crash can be settled without a person; two groups overlap, so
that the calls under way do not wait for a commit. The first has half as many: the two would end together otherwise.
Smaller groups hand over more often between threads that want Python's lock; larger ones end with a longer write."""

UNSETTLED_GROUP = 16
"""The same where it cannot: as many effects at most does a crash leave to a person."""

_PLACE = {name: index for index, name in enumerate(RESULT_SCHEMA.names())}
_CODE = _PLACE["error_code"]
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
        """Return what the journal holds of those of `keys` that it knows; of a crash's groups each gets its row."""
        with self._registry.read() as connection:
            groups, known = open_groups(connection), read_effects(connection, keys)
        wanted = set(keys) if groups else set()
        if left := [group for group in groups if not wanted.isdisjoint(group.keys)]:
            with self._registry.transaction() as connection:
                spread(connection, left)
                known = read_effects(connection, keys)
        return known

    def write(self, meant: Sequence[Group], outcomes: Sequence[Outcome]) -> None:
        """Write what is meant and what came of it in one transaction; when it returns they outlive a crash."""
        if meant or outcomes:
            with self._registry.transaction() as connection:
                for outcome in outcomes:
                    write_outcome(connection, outcome, now=self.now())
                for group in meant:
                    write_group(connection, group)

    def origin(self, call: Call) -> Origin:
        return Origin(call.skill_id, call.step_id, self._batch_id)

    def now(self) -> datetime:
        return self._clock()


@dataclass(frozen=True)
class _Part:
    """A group, and the call for its rows."""

    rows: Sequence[int]
    call: Call
    group: Group


class _Performance:
    """One call of `Effects.perform`."""

    def __init__(self, effects: Effects, skill: Skill, call: Call) -> None:
        # Groups are parts of the call; a member is looked up for all rows once.
        self.call = replace(call, known=cache(call.known))
        self.effects = effects
        self.skill = skill
        self.origin = effects.origin(call)
        self.looks_up = skill if isinstance(skill, LooksUp) else None
        self.can_settle = is_idempotent(skill) or self.looks_up is not None
        self.results: list[Result | None] = [None] * call.rows
        self.outcomes: list[Outcome] = []
        """What the next transaction carries."""

    def run(self) -> pl.DataFrame:
        first: dict[str, int] = {}
        again = []
        for row, key in enumerate(self.call.keys):
            if first.setdefault(key, row) != row:
                again.append(row)
        self._do(self._open(first))
        if again:
            same_keys = sorted({*again, *(first[self.call.keys[row]] for row in again)})
            digests = self._digests(same_keys)
            for row in again:
                key = self.call.keys[row]
                same = digests[row] == digests[first[key]]
                self.results[row] = self.results[first[key]] if same else _conflict(key)
        if not self.results:
            return RESULT_SCHEMA.to_frame()
        columns = zip(RESULT_SCHEMA.items(), zip(*cast("list[Result]", self.results), strict=True), strict=True)
        return pl.DataFrame([pl.Series(name, values, kind) for (name, kind), values in columns], schema=RESULT_SCHEMA)

    def _open(self, first: Mapping[str, int]) -> list[int]:
        """Return the rows whose effects are to be done now; what is known of the others is their result."""
        known = self.effects.read(list(first))
        if not known:
            return list(first.values())
        digests = self._digests([row for key, row in first.items() if key in known])
        wanted, unsettled = [], []
        for key, row in first.items():
            match known.get(key):
                case None:
                    wanted.append(row)
                case Known(request_digest=request_digest) if request_digest != digests[row]:
                    self.results[row] = _conflict(key)
                case Known(state=State.DONE | State.RESOLVED, result=result) if result is not None:
                    self.results[row] = result
                case Known(state=State.NOT_DONE):
                    wanted.append(row)
                case _:
                    unsettled.append(row)
        return sorted(wanted + self._settle(unsettled, digests))

    def _settle(self, rows: list[int], digests: Mapping[int, str]) -> list[int]:
        """Settle effects that were meant and of which nothing is known; return the rows that may be done (again)."""
        if not rows:
            return []
        if self.looks_up is None:
            if is_idempotent(self.skill):
                return rows
            nobody = failure(ErrorCode.EFFECT_UNKNOWN, "it was meant, and what came of it was not recorded")
            self._take(rows, [nobody] * len(rows), [digests[row] for row in rows])
            return []
        try:
            happened = self.looks_up.look_up([self.call.keys[row] for row in rows], self.call.binding)
        except Exception as fault:  # noqa: BLE001 - whoever cannot ask concludes nothing
            message = f"whether it happened could not be looked up: {type(fault).__name__}"
            for row in rows:
                self.results[row] = failure(ErrorCode.CONNECTIVITY, message)
            return []
        found, again, results = [], [], []
        for row in rows:
            output = happened.get(self.call.keys[row])
            if output is None:
                again.append(row)
            else:
                values = {"output": output, "latency_ms": 0, "system": self.call.binding.system}
                found.append(row)
                results.append(tuple(values.get(name) for name in RESULT_SCHEMA))
        if found:
            self._take(found, results, [digests[row] for row in found])
        return again

    def _do(self, rows: list[int]) -> None:
        """Do the effects of `rows` in groups: intents before each, results after it, in the next one's transaction."""
        size, at_once = (GROUP, 2) if self.can_settle else (UNSETTLED_GROUP, 1)
        groups = _groups(rows, size, first=size // at_once)
        running: dict[Future[list[Result]], _Part] = {}
        with ThreadPoolExecutor(at_once, thread_name_prefix="rwcm-effects") as pool:
            try:
                while True:
                    starting = [self._meant(group) for group in islice(groups, at_once - len(running))]
                    self._write([part.group for part in starting])
                    running |= {pool.submit(self._run, part): part for part in starting}
                    if not running:
                        return
                    for ended in wait(running, return_when=FIRST_COMPLETED).done:
                        self._end(running.pop(ended), ended.result())
            except BaseException:
                # What is under way happens whether or not somebody listens: its results are kept.
                for ended in wait(running).done:
                    self._end(running[ended], ended.result())
                self._write([])
                raise

    def _meant(self, rows: Sequence[int]) -> _Part:
        call = _part(self.call, rows)
        group = Group(
            str(uuid.uuid4()), self.origin, call.keys, self._episode_ids(rows), _digests(call), self.effects.now()
        )
        return _Part(rows, call, group)

    def _write(self, meant: Sequence[Group]) -> None:
        self.effects.write(meant, self.outcomes)
        self.outcomes = []

    def _run(self, part: _Part) -> list[Result]:
        """Return what the skill did for some rows; a fault of it leaves unknown what it did."""
        skill_id = self.call.skill_id or type(self.skill).__name__
        rows = len(part.rows)
        try:
            result = self.skill.run(part.call)
        except Exception as fault:  # noqa: BLE001 - an adapter's fault is a row, not the end of the batch
            return [failure(ErrorCode.SKILL_FAULT, f"{skill_id} raised {type(fault).__name__}")] * rows
        if not isinstance(result, pl.DataFrame) or result.schema != RESULT_SCHEMA or result.height != rows:
            return [failure(ErrorCode.SKILL_FAULT, f"{skill_id} did not return what it promises")] * rows
        return result.rows()

    def _end(self, part: _Part, results: Sequence[Result]) -> None:
        self._take(part.rows, results, part.group.digests, part.group)

    def _take(
        self, rows: Sequence[int], results: Sequence[Result], digests: Sequence[str], group: Group | None = None
    ) -> None:
        """Keep the results of rows, for the caller and for the next transaction."""
        settled = []
        keys, done = self.call.keys, State.DONE
        for row, episode_id, digest, result in zip(rows, self._episode_ids(rows), digests, results, strict=True):
            state, kept = (done, result) if result[_CODE] is None else self._judged(result)
            self.results[row] = kept
            settled.append(Settled(keys[row], episode_id, state, digest, kept[_CODE], kept))
        self.outcomes.append(Outcome(self.origin, settled, group))

    def _judged(self, result: Result) -> tuple[State, Result]:
        """Return where an effect stands after a failure, and what is kept of that."""
        code = result[_CODE]
        if code not in UNCERTAIN:
            return State.NOT_DONE if code in NOT_DONE else State.DONE, result
        if not self.can_settle:
            unknown = (
                f"{result[_PLACE['error_message']]}; whether it happened is not known: rwcm effects resolve says so"
            )
            result = _with(result, error_code=ErrorCode.EFFECT_UNKNOWN.value, error_message=unknown)
        return State.UNKNOWN, result

    def _episode_ids(self, rows: Sequence[int]) -> list[str]:
        ids = self.call.episode_ids
        return [ids[row] for row in rows] if len(ids) else [""] * len(rows)

    def _digests(self, rows: list[int]) -> dict[int, str]:
        return dict(zip(rows, _digests(_part(self.call, rows)), strict=True))


def _groups(rows: Sequence[int], size: int, *, first: int) -> Iterator[Sequence[int]]:
    """Give `rows` in groups, the first of `first` rows and all others of `size`."""
    start, end = 0, first
    while start < len(rows):
        yield rows[start:end]
        start, end = end, end + size


def _part(call: Call, rows: Sequence[int]) -> Call:
    """Return the call for some of its rows, which are in ascending order."""
    is_run = rows[-1] - rows[0] == len(rows) - 1
    places = pl.Series(rows, dtype=pl.UInt32)

    def take(values: pl.Series) -> pl.Series:
        return values.slice(rows[0], len(rows)) if is_run else values.gather(places)

    def taken(column: Column) -> Column:
        return Column(take(column.texts), constant=column.is_constant)

    return replace(
        call,
        arguments={name: taken(values) for name, values in call.arguments.items()},
        seeds=take(call.seeds),
        known=lambda *path: taken(call.known(*path)),
        episode_ids=[call.episode_ids[row] for row in rows] if len(call.episode_ids) else (),
        visits=take(call.visits) if len(call.visits) else call.visits,
        keys=[call.keys[row] for row in rows],
    )


def _digests(call: Call) -> list[str]:
    """Return per row what names the request: the skill and its arguments."""
    names = sorted(call.arguments)
    columns = [call.arguments[name].values for name in names]
    head = _encode_request([call.skill_id, names])
    if not columns:
        return [sha256(head).hexdigest()] * call.rows
    return [sha256(head + _encode_request(values)).hexdigest() for values in zip(*columns, strict=True)]


def _conflict(key: str) -> Result:
    message = f"the key {key} was used for another request; give the step another idempotency_key"
    return failure(ErrorCode.IDEMPOTENCY_CONFLICT, message)


def _with(result: Result, **values: Any) -> Result:
    return tuple(values.get(name, result[place]) for name, place in _PLACE.items())
