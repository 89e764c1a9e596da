"""The landing zone: the single way in for events, and the only place where raw records lie.

A writer puts a file into `inbox/` under a name that starts with a dot and renames it when it is complete. A batch
claims files by moving them into `claimed/<batch>/`; there a file stays until its batch is recorded, and longer only
while dead letters point into it.
"""

import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock

BATCH_FILES = 1_000
"""The most files of one batch."""

BATCH_BYTES = 256 << 20
"""The most bytes of one batch, unless a single file has more. Between batches the judges have nothing to do, so they
are large; what is in memory at once is bounded by the commit and not by the batch."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


log = logging.getLogger("rwcm.ingest")


@dataclass(frozen=True)
class LandedFile:
    """A file that waits: its name, content hash, size and the time it landed."""

    path: Path
    name: str
    file_id: str
    size_bytes: int
    received_at: datetime


@dataclass(frozen=True)
class Backlog:
    """What waits in the inbox, seen without opening a file.

    Attributes:
        oldest_at: when the file landed that waits longest; None where none waits.
        key: names exactly these files, so that the same backlog is asked for once.
    """

    files: int
    size_bytes: int
    oldest_at: datetime | None
    key: str


class Landing:
    """The landing zone of one home; its folders are private to their owner."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inbox = root / "inbox"
        self.claimed = root / "claimed"
        for folder in (self.inbox, self.claimed):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the landing zone, so that two ingesters never claim the same file."""
        with FileLock(self.root / ".landing.lock"):
            yield

    def put(self, name: str, content: bytes, *, received_at: datetime | None = None) -> Path:
        """Land `content` whole under `name`; a reader sees all of it or nothing.

        Raises:
            ValueError: the name is none, or another content waits under it, which is never overwritten.
        """
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} cannot be the name of a landed file: give a plain name with no folder")
        place, partial = self.inbox / name, self.inbox / f".{secrets.token_hex(8)}.partial"
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if received_at is not None:
            since_epoch = (received_at - _EPOCH) // _MICROSECOND * 1_000
            os.utime(partial, ns=(since_epoch, since_epoch))
        try:
            os.link(partial, place)
        except FileExistsError:
            if place.read_bytes() != content:
                raise ValueError(f"another content waits as {name!r}; give it another name") from None
        finally:
            partial.unlink()
        return place

    def waiting(self) -> list[LandedFile]:
        """Return the files of the next batch in order of landing, bounded in number and bytes."""
        entries = []
        for entry in list(os.scandir(self.inbox)):
            if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                continue
            if path := _recordable(Path(entry.path)):
                status = path.stat()
                entries.append((_EPOCH + status.st_mtime_ns // 1_000 * _MICROSECOND, path.name, status.st_size))
        files: list[LandedFile] = []
        total = 0
        for received_at, name, size in sorted(entries):
            total += size
            if files and (len(files) == BATCH_FILES or total > BATCH_BYTES):
                break
            path = self.inbox / name
            try:
                files.append(LandedFile(path, name, content_hash(path), size, received_at))
            except OSError as error:
                # It stays where it is; the files beside it are not held up.
                log.warning("%s waits: it cannot be read (%s); let this user read it", name, error.strerror)
        return files

    def backlog(self) -> Backlog:
        """Return what waits; for whoever decides when to ingest."""
        found = []
        for entry in os.scandir(self.inbox):
            if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # taken by a batch meanwhile
                    status = entry.stat(follow_symlinks=False)
                    found.append((os.fsencode(entry.name), status.st_size, status.st_mtime_ns))
        named = hashlib.sha256(repr(sorted(found)).encode()).hexdigest()
        oldest = min((changed for _, _, changed in found), default=None)
        oldest_at = None if oldest is None else _EPOCH + oldest // 1_000 * _MICROSECOND
        return Backlog(len(found), sum(size for _, size, _ in found), oldest_at, named)

    def claim(self, batch_id: str, names: list[str]) -> dict[str, Path]:
        """Move the named files to their batch and return where each one is; files moved before are found there.

        A file that somebody took out of the inbox meanwhile is at neither place; whoever reads it says so.
        """
        folder = self.claimed / batch_id
        folder.mkdir(exist_ok=True, mode=0o700)
        places = {name: folder / name for name in names}
        for name, place in places.items():
            if not place.exists():
                with suppress(FileNotFoundError):
                    (self.inbox / name).rename(place)
        return places

    def put_back(self, batch_id: str, file: LandedFile) -> bool:
        """Return whether a claimed file grew after it was named; it waits in the inbox again then.

        Somebody still writes to it under its final name. What was read of it is a duplicate the next time, what came
        behind is not lost.
        """
        place = self.claimed / batch_id / file.name
        if not place.exists() or place.stat().st_size <= file.size_bytes or (self.inbox / file.name).exists():
            return False
        place.rename(self.inbox / file.name)
        return True

    def release(self, batch_id: str, *, keep: set[str]) -> None:
        """Delete the batch's raw files but those in `keep`."""
        folder = self.claimed / batch_id
        if not folder.exists():
            return
        for path in folder.iterdir():
            if path.name not in keep:
                path.unlink()
        if not keep:
            shutil.rmtree(folder)


def _recordable(path: Path) -> Path | None:
    """Return the file, renamed where its name is no UTF-8 and could not be recorded; None while that name is taken."""
    name = path.name.encode("utf-8", "replace").decode()
    if name == path.name:
        return path
    place = path.with_name(name)
    return None if place.exists() else path.rename(place)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
