"""Committing what was judged: each event once, each refusal once, every record counted.

An id is looked for within what is at hand and in every month that the lake holds, and the look and the commit stand
under one lock. What a batch committed before it was interrupted stands as it is: its records are counted from their
rows and not judged again, since the schema or the redaction key may have changed meanwhile.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import polars as pl

from guard.identity import name_uuid
from ingest.contracts import Unknown
from ingest.judging import Judged
from ingest.landing import LandedFile
from ingest.unknown import UnknownMembers
from ingest.validation import Accepted, Refused, conflict
from lake.months import Month
from lake.spec import MONTH, TableSpec
from lake.store import Lake
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER

INGESTER = "ingest"
_PLACE = ["file_id", "file_offset"]
_OF_BATCH = frozenset({"batch_id", "created_by", MONTH})


@dataclass
class Accounting:
    """What became of the records of a file or batch."""

    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0

    @property
    def read(self) -> int:
        return self.accepted + self.rejected + self.duplicates

    def add(self, other: "Accounting") -> None:
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.duplicates += other.duplicates


@dataclass(frozen=True)
class Source:
    """A file of a batch; a copy has the content of one before it, so that each of its records is a duplicate."""

    file: LandedFile
    is_copy: bool


@dataclass(frozen=True)
class _Letter:
    """A refusal and the record that it is of."""

    file: LandedFile
    offset: int
    refused: Refused

    @property
    def dead_letter_id(self) -> str:
        return name_uuid("dead_letter", self.file.file_id, str(self.offset))


class Committer:
    """Commits the parts of one batch and keeps its accounts.

    Attributes:
        read: records that were read, counted where they were read.
        accounts: accounting by file name.
        rows: rows of this batch per table and month, whether committed now or before an interruption.
        rules: refusals by the rule that was broken.
        unknown: members that the schemas do not know, of the events of this batch.
    """

    def __init__(self, lake: Lake, batch_id: str, sources: Sequence[Source], *, is_again: bool) -> None:
        self.read = 0
        self.accounts = {source.file.name: Accounting() for source in sources}
        self.rows: dict[str, Counter[Month]] = {EVENT_BUS.name: Counter(), EVENT_DEAD_LETTER.name: Counter()}
        self.rules: Counter[str] = Counter()
        self.unknown = UnknownMembers()
        self._lake = lake
        self._batch_id = batch_id
        self._files = {source.file.name: source.file for source in sources}
        self._settled: dict[tuple[str, int], str | None] = {}
        self._renewed_hashes: dict[str, str] = {}
        if is_again:
            self._settle({source.file.file_id: source.file.name for source in sources if not source.is_copy})

    def _settle(self, names: Mapping[str, str]) -> None:
        """Count what the batch committed before it was interrupted."""
        for spec in (EVENT_BUS, EVENT_DEAD_LETTER):
            rows = self._lake.scan(spec).filter(batch_id=self._batch_id).collect()
            self.read += rows.height
            self.rows[spec.name].update(dict(rows.group_by(MONTH).len().iter_rows()))
            for file_id, count in rows.group_by("file_id").len().iter_rows():
                account = self.accounts[names[file_id]]
                if spec is EVENT_BUS:
                    account.accepted += count
                else:
                    account.rejected += count
            places = rows.select(_PLACE).iter_rows()
            if spec is EVENT_BUS:
                self._settled.update(zip(places, rows["content_hash"], strict=True))
            else:
                self._settled.update(dict.fromkeys(places))
                self.rules.update(rows["rule"])

    def commit(self, parts: Iterable[tuple[Source, Judged]]) -> None:
        """Commit what is new of `parts`: events, then refusals, each in one commit; count every record once."""
        frames: list[pl.DataFrame] = []
        letters: list[_Letter] = []
        unknown: dict[tuple[str, int], tuple[Unknown, ...]] = {}
        for source, judged in parts:
            if source.is_copy:
                self.read += judged.read
                self.accounts[source.file.name].duplicates += judged.read
                continue
            events = _of_file(judged, source.file)
            refused = [_Letter(source.file, offset, fault) for offset, fault in judged.refused]
            if self._settled:
                events = self._unsettled(events)
                refused = [letter for letter in refused if (letter.file.file_id, letter.offset) not in self._settled]
            unknown |= {(source.file.file_id, offset): members for offset, members in judged.unknown.items()}
            self.read += events.height + len(refused)
            frames.append(events)
            letters += refused
        conflicts: list[_Letter] = []
        if frames:
            # The look for known ids and the commit stand under one lock: two ingesters with one event write it once.
            with self._lake.lock(EVENT_BUS):
                fresh, conflicts = self._split_events(pl.concat(frames))
                self._append(EVENT_BUS, fresh)
            if unknown:
                # Once per event: neither of a duplicate, nor of a conflict; but of what was committed before as well.
                places = set(fresh.select(_PLACE).iter_rows())
                for place, members in unknown.items():
                    if place in places or self._settled.get(place):
                        self.unknown.add(members)
        with self._lake.lock(EVENT_DEAD_LETTER):
            self._append(EVENT_DEAD_LETTER, _letter_rows(self._fresh_letters(letters + conflicts)))

    def _append(self, spec: TableSpec, rows: pl.DataFrame) -> None:
        """Append rows whose keys were looked for under the lock that is still held."""
        rows = rows.with_columns(batch_id=pl.lit(self._batch_id), created_by=pl.lit(INGESTER))
        rows = rows.select(column.name for column in spec.columns)
        appended = self._lake.append(spec, rows, batch_id=self._batch_id, is_new=True)
        self.rows[spec.name].update(appended.rows_by_month)

    def _unsettled(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the events that this batch did not commit before.

        One that it did may have another hash now; what comes behind it is compared with that one too.
        """
        is_settled = pl.Series(
            [place in self._settled for place in events.select(_PLACE).iter_rows()], dtype=pl.Boolean
        )
        settled = events.filter(is_settled).select(*_PLACE, "event_id", "content_hash")
        for file_id, offset, event_id, content_hash in settled.iter_rows():
            if self._settled[file_id, offset] not in (None, content_hash):
                self._renewed_hashes[event_id] = content_hash
        return events.filter(~is_settled)

    def _split_events(self, events: pl.DataFrame) -> tuple[pl.DataFrame, list[_Letter]]:
        """Return the events to accept and refusals of those whose id another content holds; count what is not refused.

        The same id with the same content is a duplicate, in this chunk and against every month kept.
        """
        held = self._lake.find(EVENT_BUS, events["event_id"], columns=["event_id", "content_hash"])
        known = {event_id: {content_hash} for event_id, content_hash in held.iter_rows()}
        for event_id in known.keys() & self._renewed_hashes.keys():
            known[event_id].add(self._renewed_hashes[event_id])
        is_open = events["event_id"].is_duplicated() | events["event_id"].is_in(list(known))
        is_fresh = ~is_open
        conflicts = []
        for row in is_open.arg_true():
            event = events.row(row, named=True)
            hashes = known.setdefault(event["event_id"], set())
            if not hashes:
                hashes.add(event["content_hash"])
                is_fresh[row] = True
            elif event["content_hash"] in hashes:
                self.accounts[event["file_name"]].duplicates += 1
            else:
                refused = conflict(Accepted(*(event[member] for member in Accepted.__struct_fields__)))
                conflicts.append(_Letter(self._files[event["file_name"]], event["file_offset"], refused))
        fresh = events.filter(is_fresh)
        for name, count in fresh.group_by("file_name").len().iter_rows():
            self.accounts[name].accepted += count
        return fresh, conflicts

    def _fresh_letters(self, letters: list[_Letter]) -> list[_Letter]:
        """Return the refusals to record; the same record of the same file content refused before is a duplicate."""
        ids = pl.Series([letter.dead_letter_id for letter in letters], dtype=pl.String)
        known = set(self._lake.find(EVENT_DEAD_LETTER, ids, columns=["dead_letter_id"])["dead_letter_id"])
        fresh = []
        for letter, letter_id in zip(letters, ids, strict=True):
            if letter_id in known:
                self.accounts[letter.file.name].duplicates += 1
            else:
                known.add(letter_id)
                self.accounts[letter.file.name].rejected += 1
                self.rules[letter.refused.rule] += 1
                fresh.append(letter)
        return fresh


def _of_file(judged: Judged, file: LandedFile) -> pl.DataFrame:
    """Return the accepted events of a part with what their file says of all of them.

    An event did not arrive before it was produced, so a file whose own time lies years back does not date it.
    """
    events = pl.DataFrame(pl.from_arrow(judged.events))
    arrived_at = pl.lit(file.received_at, events.schema["produced_at"])
    return events.with_columns(
        file_id=pl.lit(file.file_id),
        file_name=pl.lit(file.name),
        created_at=pl.max_horizontal(arrived_at, "produced_at"),
    )


def _letter_rows(letters: list[_Letter]) -> pl.DataFrame:
    rows = [
        {
            "dead_letter_id": letter.dead_letter_id,
            **asdict(letter.refused),
            "file_name": letter.file.name,
            "file_id": letter.file.file_id,
            "file_offset": letter.offset,
            "received_at": letter.file.received_at,
            "created_at": letter.file.received_at,
        }
        for letter in letters
    ]
    schema = EVENT_DEAD_LETTER.polars_schema()
    return pl.DataFrame(rows, schema={name: schema[name] for name in schema.names() if name not in _OF_BATCH})
