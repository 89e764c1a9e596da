"""The end of raw files that the landing zone kept for dead letters nobody settled: the time of personal data is over.

`dead-letters repair` ends with them; the dead letter stays and says so.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime

import sqlalchemy as sa

from ingest.landing import Landing, content_hash
from lake.erasure import DataFile, end_of
from lake.months import month_of
from lake.retention import LANDING, Candidate
from lake.spec import Retention
from lake.tables import LANDING_FILE
from registry.database import TABLES, Registry, fetch

KEY = (LANDING, Retention.PII.value)
_PURGER = "purge"


class RawFiles:
    """The raw files of settled batches, as a store that a purge takes from (`registry.purging.Store`)."""

    def __init__(self, landing: Landing, registry: Registry, *, now: datetime) -> None:
        self._landing = landing
        self._registry = registry
        self._now = now

    def files(self, candidate: Candidate) -> list[DataFile]:
        """Return the files that landed in the candidate's days; those that somebody deleted are no more."""
        found = []
        for batch_id, name in self._kept(candidate):
            path = self._landing.claimed / batch_id / name
            if path.exists():
                found.append(DataFile(f"{batch_id}/{name}", path.stat().st_size, content_hash(path)))
        return found

    def lock(self) -> AbstractContextManager[None]:
        return self._landing.lock()

    def remove(self, candidate: Candidate, reasons: Mapping[str, str]) -> None:
        table = TABLES[LANDING_FILE.name]
        for batch_id, name in self._kept(candidate):
            folder = self._landing.claimed / batch_id
            (folder / name).unlink(missing_ok=True)
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()
            with self._registry.transaction() as connection:
                connection.execute(
                    sa.update(table)
                    .where(table.c.batch_id == batch_id, table.c.file_name == name)
                    .values(state="deleted", updated_at=self._now, updated_by=_PURGER)
                )

    def settle(self) -> None:
        """Nothing is left to do: a file that is unlinked is gone."""

    def _kept(self, candidate: Candidate) -> list[tuple[str, str]]:
        table = TABLES[LANDING_FILE.name]
        query = sa.select(table.c.batch_id, table.c.file_name, table.c.received_at).where(
            table.c.state == "kept", table.c.received_at < end_of(candidate.through_on)
        )
        with self._registry.read() as connection:
            rows = fetch(connection, query)
        return sorted((batch, name) for batch, name, received in rows if month_of(received) == candidate.month)
