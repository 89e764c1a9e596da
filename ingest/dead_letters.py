"""Dead letters are worked, not buried: a refused record is repaired or sent again under its own event id, or let go.

A dead letter never changes. What was done about it is a row of `dead_letter_resolution`; one without a row is open. The
raw record lies in the landing zone for as long as a letter of its file is open, and no longer.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from guard.canonical import JsonFault, canonical, parse
from ingest.landing import Landing
from ingest.outbox import requeue
from ingest.reading import read_parts
from ingest.records import Limits, Record
from ingest.validation import Door, Refused, conflict
from lake.months import Month
from lake.store import Lake
from lake.tables import BATCH, DEAD_LETTER_RESOLUTION, EVENT_DEAD_LETTER, LANDING_FILE, OUTBOX
from registry.database import TABLES, Registry, fetch, insert_missing

OPEN = "open"
STATES = (OPEN, *DEAD_LETTER_RESOLUTION.column("action").enum)
ID_CONFLICT = "id_conflict"
OTHER_ID_RULES = frozenset({ID_CONFLICT, "no_event_id"})
"""Rules that only another event id mends; every other record keeps its own."""

_SHOWN_ID = 8
_READ_TOGETHER = Limits(records=10_000, bytes=16 << 20)


class DeadLetterFault(ValueError):
    """Something that cannot be done with a dead letter; the message says what can."""


@dataclass(frozen=True)
class DeadLetter:
    """A refused record: its row, and where it stands."""

    dead_letter_id: str
    rule: str
    path: str
    message: str
    topic: str | None
    event_id: str | None
    producer_id: str | None
    schema_version: int | None
    evidence: str | None
    file_name: str
    file_id: str
    file_offset: int
    received_at: datetime
    batch_id: str
    month: Month
    state: str


_COLUMNS = [name for name in DeadLetter.__dataclass_fields__ if name != "state"]


def dead_letters(
    lake: Lake,
    registry: Registry,
    *,
    state: str | None = OPEN,
    rule: str | None = None,
    topic: str | None = None,
    producer_id: str | None = None,
    limit: int | None = None,
) -> list[DeadLetter]:
    """Return dead letters, the latest first.

    Args:
        state: one of `STATES`; None for all.
        limit: how many at the most.
    """
    rows = lake.scan(EVENT_DEAD_LETTER, columns=_COLUMNS)
    for name, wanted in (("rule", rule), ("topic", topic), ("producer_id", producer_id)):
        if wanted is not None:
            rows = rows.filter(pl.col(name) == wanted)
    rows = rows.join(_resolved(registry).lazy(), on="dead_letter_id", how="left").with_columns(
        pl.col("state").fill_null(OPEN)
    )
    if state is not None:
        rows = rows.filter(pl.col("state") == state)
    rows = rows.sort("received_at", "file_name", "file_offset", descending=[True, False, False])
    return [DeadLetter(*row) for row in (rows if limit is None else rows.head(limit)).collect().iter_rows()]


def find(lake: Lake, registry: Registry, dead_letter_id: str) -> DeadLetter:
    """Return the dead letter of an id, or of the first characters of one.

    Raises:
        DeadLetterFault: none has it, or several start so.
    """
    if len(dead_letter_id) < _SHOWN_ID:
        raise DeadLetterFault(f"{dead_letter_id!r} is too short; give at least {_SHOWN_ID} characters of the id")
    rows = lake.scan(EVENT_DEAD_LETTER, columns=_COLUMNS).filter(
        pl.col("dead_letter_id").str.starts_with(dead_letter_id)
    )
    found = rows.join(_resolved(registry).lazy(), on="dead_letter_id", how="left").head(2).collect()
    if found.height != 1:
        how_many = "several dead letters start" if found.height else "no dead letter starts"
        raise DeadLetterFault(f"{how_many} with {dead_letter_id}; see rwcm dead-letters list")
    return DeadLetter(*found.with_columns(pl.col("state").fill_null(OPEN)).row(0))


def _resolved(registry: Registry) -> pl.DataFrame:
    table = TABLES[DEAD_LETTER_RESOLUTION.name]
    with registry.read() as connection:
        rows = fetch(connection, sa.select(table.c.dead_letter_id, table.c.action))
    return pl.DataFrame(rows, schema={"dead_letter_id": pl.String, "state": pl.String}, orient="row")


@dataclass(frozen=True)
class RefusalRate:
    """How many records of the batches that closed in a while were refused."""

    batches: int
    records_read: int
    records_rejected: int
    worst_batch_id: str | None

    @property
    def rate(self) -> float:
        """The share of refused records, 0..1; 0 where nothing was read."""
        return self.records_rejected / self.records_read if self.records_read else 0.0


def refusal_rate(registry: Registry, *, since: datetime) -> RefusalRate:
    """Return the rate over the ingested batches that closed at `since` or later."""
    table = TABLES[BATCH.name]
    query = sa.select(table.c.batch_id, table.c.records_read, table.c.records_rejected).where(
        table.c.kind == "ingest", table.c.state == "done", table.c.closed_at >= since
    )
    with registry.read() as connection:
        batches = fetch(connection, query)
    worst = max(((rejected / read, batch_id) for batch_id, read, rejected in batches if rejected), default=(0.0, None))
    return RefusalRate(len(batches), sum(b[1] for b in batches), sum(b[2] for b in batches), worst[1])


def raw_records(letters: Sequence[DeadLetter], landing: Landing) -> dict[str, bytes]:
    """Return the raw record of each letter, by its id; a file is read once, in bounded memory.

    Raises:
        DeadLetterFault: a file is gone, or the letter is about the file as a whole.
    """
    by_file: dict[Path, dict[int, DeadLetter]] = {}
    for letter in letters:
        by_file.setdefault(landing.claimed / letter.batch_id / letter.file_name, {})[letter.file_offset] = letter
    found: dict[str, bytes] = {}
    for path, wanted in by_file.items():
        if not path.exists():
            letter = next(iter(wanted.values()))
            raise DeadLetterFault(
                f"the raw record of {letter.dead_letter_id[:_SHOWN_ID]} is gone with its file {letter.file_name}; "
                "ask its producer to send it again, then dismiss the dead letter"
            )
        for record in _records_at(path, wanted):
            letter = wanted[record.offset]
            if record.fault or not record.raw:
                raise DeadLetterFault(
                    f"{letter.dead_letter_id[:_SHOWN_ID]} is about the file {letter.file_name}, not about a record of "
                    f"it ({letter.rule}); have the file sent again, then dismiss the dead letter"
                )
            found[letter.dead_letter_id] = record.raw
    return found


def _records_at(path: Path, offsets: Mapping[int, DeadLetter]) -> Iterator[Record]:
    left = len(offsets)
    for record in chain.from_iterable(read_parts(path, _READ_TOGETHER)):
        if record.offset in offsets:
            yield record
            left -= 1
            if not left:
                return


@dataclass(frozen=True)
class Replayed:
    """What a replay did.

    Attributes:
        landed: letters whose records landed, or wait in the outbox, again.
        refused: letters that stay open, with what their records would be refused for now.
        file_name: the name under which the records landed; None if none did.
    """

    landed: tuple[DeadLetter, ...]
    refused: tuple[tuple[DeadLetter, Refused], ...]
    file_name: str | None


def replay(
    letters: Sequence[DeadLetter],
    *,
    door: Door,
    inner_door: Door,
    landing: Landing,
    lake: Lake,
    registry: Registry,
    actor: str,
    now: datetime,
) -> Replayed:
    """Land the raw records of open letters again, as they came; for when the schema or the sender's clock was wrong.

    What would be refused again is not landed and stays open. What the registry itself announced waits in the outbox
    again instead.

    Args:
        door: judges what came from outside.
        inner_door: judges what the registry announced.

    Raises:
        DeadLetterFault: a raw record is gone, or there is none.
    """
    letters = [letter for letter in letters if letter.state == OPEN]
    announced = [letter for letter in letters if letter.file_name == OUTBOX.name]
    still = requeue(registry, [letter.event_id for letter in announced if letter.event_id], inner_door)
    refused = [(letter, still[letter.event_id]) for letter in announced if letter.event_id in still]
    waiting = [letter for letter in announced if letter.event_id not in still]
    _resolve(registry, waiting, "replayed", file_name=None, reason=None, actor=actor, now=now)
    raw = raw_records([letter for letter in letters if letter.file_name != OUTBOX.name], landing)
    landed = []
    for letter in letters:
        if letter.dead_letter_id not in raw:
            continue
        verdict = door.check(Record(0, raw[letter.dead_letter_id]), received_at=now)
        if isinstance(verdict, Refused):
            refused.append((letter, verdict))
        elif letter.rule == ID_CONFLICT:
            refused.append((letter, conflict(verdict)))
        else:
            landed.append(letter)
    if not landed:
        return Replayed(tuple(waiting), tuple(refused), None)
    name = f"replayed-{secrets.token_hex(8)}.ndjson"
    landing.put(name, b"".join(raw[letter.dead_letter_id] + b"\n" for letter in landed), received_at=now)
    _resolve(registry, landed, "replayed", file_name=name, reason=None, actor=actor, now=now)
    settle(landed, landing=landing, lake=lake, registry=registry)
    return Replayed((*waiting, *landed), tuple(refused), name)


def repaired_record(letter: DeadLetter, raw: bytes, changes: Mapping[str, Any], removed: Iterable[str] = ()) -> bytes:
    """Return a record with members set or removed, by JSON pointer; everything else as it came, to the digit.

    Raises:
        DeadLetterFault: the record is no JSON object, or a pointer leads nowhere.
    """
    try:
        document = parse(raw)
    except JsonFault as fault:
        raise DeadLetterFault(f"the record cannot be changed by member ({fault}); give it whole with --file") from None
    if not isinstance(document, dict):
        raise DeadLetterFault("the record is no JSON object; give it whole with --file")
    for pointer_, value in changes.items():
        parent, name = _place(document, pointer_)
        if isinstance(parent, dict):
            parent[name] = value
        else:
            parent[_index(parent, name, pointer_)] = value
    for pointer_ in removed:
        parent, name = _place(document, pointer_)
        if isinstance(parent, dict):
            if name not in parent:
                raise DeadLetterFault(f"the record has no member {pointer_}")
            del parent[name]
        else:
            del parent[_index(parent, name, pointer_)]
    return canonical(document).encode()


def _place(document: Any, pointer_: str) -> tuple[Any, str]:
    """Return the object or list that holds what a pointer names, and the name within it."""
    if not pointer_.startswith("/"):
        raise DeadLetterFault(f"{pointer_!r} is no JSON pointer; write it as /payload/amount")
    *way, name = [part.replace("~1", "/").replace("~0", "~") for part in pointer_.split("/")[1:]]
    for part in way:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(document, part, pointer_)]
        else:
            raise DeadLetterFault(f"the record has nothing at {pointer_}; set its parent first")
    if not isinstance(document, dict | list):
        raise DeadLetterFault(f"what {pointer_} stands in is no object and no list")
    return document, name


def _index(items: list[Any], name: str, pointer_: str) -> int:
    if not (name.isascii() and name.isdigit() and int(name) < len(items)):
        raise DeadLetterFault(f"{pointer_} names no item of the list, which has {len(items)}")
    return int(name)


def repair(
    letter: DeadLetter,
    content: bytes,
    *,
    what: str,
    door: Door,
    landing: Landing,
    lake: Lake,
    registry: Registry,
    actor: str,
    now: datetime,
) -> str:
    """Land a corrected record in the place of a refused one, under the same event id; return the name it landed under.

    Args:
        content: the corrected record, one JSON object.
        what: which members were changed; kept with the letter, so it names fields and no values.

    Raises:
        DeadLetterFault: it was worked on before, the record still breaks a rule, or it has another event id.
    """
    _refuse_settled(letter)
    content = content.strip()
    if b"\n" in content:
        content = canonical(_parsed(content)).encode()
    verdict = door.check(Record(0, content), received_at=now)
    if isinstance(verdict, Refused):
        raise DeadLetterFault(f"the record would be refused again: {verdict.rule} {verdict.path}: {verdict.message}")
    if letter.event_id not in (None, verdict.event_id) and letter.rule not in OTHER_ID_RULES:
        raise DeadLetterFault(
            f"the corrected record has the event id {verdict.event_id!r}; it keeps the id {letter.event_id!r}"
        )
    name = f"repaired-{letter.dead_letter_id}.ndjson"
    landing.put(name, content + b"\n", received_at=now)
    _resolve(registry, [letter], "repaired", file_name=name, reason=what, actor=actor, now=now)
    settle([letter], landing=landing, lake=lake, registry=registry)
    return name


def _parsed(content: bytes) -> Any:
    try:
        return parse(content)
    except JsonFault as fault:
        raise DeadLetterFault(f"the corrected record is no JSON: {fault}") from None


def dismiss(
    letters: Sequence[DeadLetter],
    *,
    reason: str,
    landing: Landing,
    lake: Lake,
    registry: Registry,
    actor: str,
    now: datetime,
) -> int:
    """Let open letters go, with a reason; their raw records are deleted with their file. Return how many that were."""
    letters = [letter for letter in letters if letter.state == OPEN]
    _resolve(registry, letters, "dismissed", file_name=None, reason=reason, actor=actor, now=now)
    settle(letters, landing=landing, lake=lake, registry=registry)
    return len(letters)


def _refuse_settled(letter: DeadLetter) -> None:
    if letter.state != OPEN:
        raise DeadLetterFault(f"{letter.dead_letter_id[:_SHOWN_ID]} was {letter.state} before; nothing is left to do")


def _resolve(
    registry: Registry,
    letters: Sequence[DeadLetter],
    action: str,
    *,
    file_name: str | None,
    reason: str | None,
    actor: str,
    now: datetime,
) -> None:
    audit = {"created_at": now, "created_by": actor, "updated_at": now, "updated_by": actor}
    done = {"action": action, "file_name": file_name, "reason": reason, **audit}
    rows = [{"dead_letter_id": letter.dead_letter_id, **done} for letter in letters]
    with registry.transaction() as connection:
        insert_missing(connection, DEAD_LETTER_RESOLUTION, rows)


def settle(letters: Iterable[DeadLetter], *, landing: Landing, lake: Lake, registry: Registry) -> None:
    """Delete the raw files of `letters` that no open letter points into any more."""
    table = TABLES[LANDING_FILE.name]
    for batch_id, file_name in sorted({(letter.batch_id, letter.file_name) for letter in letters}):
        of_file = lake.scan(EVENT_DEAD_LETTER, columns=["dead_letter_id", "batch_id", "file_name"]).filter(
            batch_id=batch_id, file_name=file_name
        )
        left = of_file.join(_resolved(registry).lazy(), on="dead_letter_id", how="anti").head(1).collect()
        if left.height:
            continue
        with registry.transaction() as connection:
            # A file of a batch that is not recorded yet is read again; only what was kept may go.
            of_letter = sa.update(table).filter_by(batch_id=batch_id, file_name=file_name, state="kept")
            connection.execute(of_letter.values(state="deleted"))
            needed = sa.select(table.c.file_name).filter_by(batch_id=batch_id).where(table.c.state != "deleted")
            keep = {name for (name,) in fetch(connection, needed)}
        landing.release(batch_id, keep=keep)


def read_value(text: str) -> Any:
    """Return what a person wrote for a value: JSON where it is JSON, else the text itself."""
    try:
        return parse(text)
    except JsonFault:
        return text


def described(changes: Mapping[str, Any], removed: Iterable[str]) -> str:
    """Return which members a repair changed."""
    return json.dumps({"set": sorted(changes), "removed": sorted(removed)})
