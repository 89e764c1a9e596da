"""The landing zone: the single way in for events, and the only place where raw records lie.

A writer puts a file into `inbox/` under a name that starts with a dot and renames it when it is complete. A batch
claims files by moving them into `claimed/<batch>/`; there a file stays until its batch is recorded, and longer only
while dead letters point into it.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

BATCH_FILES = 1_000
BATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class LandedFile:
    """A file that waits: its name, content hash, size and the time it landed."""

    path: Path
    name: str
    file_id: str
    size_bytes: int
    received_at: datetime


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
        """Land `content` whole under `name`; a reader sees all of it or nothing."""
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} cannot be the name of a landed file: give a plain name with no folder")
        partial = self.inbox / f".{name}.partial"
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if received_at is not None:
            os.utime(partial, (received_at.timestamp(), received_at.timestamp()))
        return partial.rename(self.inbox / name)

    def waiting(self) -> list[LandedFile]:
        """Return the files of the next batch in order of landing, bounded in number and bytes."""
        entries = [
            (entry.stat(follow_symlinks=False), Path(entry.path))
            for entry in os.scandir(self.inbox)
            if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)
        ]
        files: list[LandedFile] = []
        total = 0
        for status, path in sorted(entries, key=lambda item: (item[0].st_mtime_ns, item[1].name)):
            total += status.st_size
            if files and (len(files) == BATCH_FILES or total > BATCH_BYTES):
                break
            received_at = datetime.fromtimestamp(status.st_mtime, tz=UTC)
            files.append(LandedFile(path, path.name, content_hash(path), status.st_size, received_at))
        return files

    def claim(self, batch_id: str, names: list[str]) -> dict[str, Path]:
        """Move the named files to their batch and return where each one is; files moved before are found there."""
        folder = self.claimed / batch_id
        folder.mkdir(exist_ok=True, mode=0o700)
        places = {name: folder / name for name in names}
        for name, place in places.items():
            if not place.exists():
                (self.inbox / name).rename(place)
        return places

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


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
