"""Where a key may lie: an index over the keys of a table whose keys may come again in any month.

Looking for a hundred thousand keys in all of history would read the keys of all of history. The index holds 64 bits per
key instead: the upper part of the key's hash, below it the number of the data file that holds the key. It names the
files that may hold a key; those are read, so a hash that two keys share costs time and changes no answer.

It is derived. Data files never change, so what it knows of one stays right; it lists the files it covers, takes in
those that are new when it is asked, and is made anew when most of what it covers is gone, when it was deleted, or when
another version of Polars hashes otherwise.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes: TypeAlias = npt.NDArray[np.uint64]

_FILE = np.uint64((1 << 20) - 1)
"""The bits of an entry that number a file."""

_LARGEST_RUN = 1 << 20
"""Entries beyond which runs are not merged: merging takes three times their 8 bytes in memory."""

_READ_FILES = 64
"""Files whose keys are taken in at once."""

_GROWTH = 3
_CANARY = "which hash is this?"


@dataclass
class _Stamp:
    """What the index covers: files by their number, and the runs of sorted entries with their lengths."""

    canary: int
    files: list[str] = field(default_factory=list)
    runs: list[tuple[str, int]] = field(default_factory=list)


class KeyIndex:
    """The index of one table, in a folder of its own; whoever uses it holds the table's lock.

    Args:
        folder: may be deleted at any time.
        read: returns the keys that each of some data files holds, as (file, key) in any order.
    """

    def __init__(self, folder: Path, read: Callable[[Sequence[str]], pl.DataFrame]) -> None:
        self._folder = folder
        self._read = read

    def files(self, keys: pl.Series, *, among: Sequence[str]) -> list[str]:
        """Return the files of `among`, which are all of the table, that may hold one of `keys`."""
        stamp = self._covering(among)
        wanted = np.unique(_hashes(keys) & ~_FILE)
        numbers: set[int] = set()
        for name, _ in stamp.runs:
            run = np.load(self._folder / name, mmap_mode="r")
            first = np.searchsorted(run, wanted)
            inside = first < len(run)
            is_hit = (run[first[inside]] & ~_FILE) == wanted[inside]
            first, hit = first[inside][is_hit], wanted[inside][is_hit]
            counts = np.searchsorted(run, hit | _FILE, side="right") - first
            places = np.repeat(first - np.concatenate(([0], np.cumsum(counts)[:-1])), counts) + np.arange(counts.sum())
            numbers.update(np.unique(run[places] & _FILE).tolist())
        is_there = set(among)
        return [stamp.files[number] for number in sorted(numbers) if stamp.files[number] in is_there]

    def _covering(self, files: Sequence[str]) -> _Stamp:
        """Return the stamp of an index that covers `files`."""
        stamp = self._stamp()
        covered = set(stamp.files)
        if len(covered.intersection(files)) * 2 < len(covered) or len(covered) + len(files) > int(_FILE):
            stamp, covered = self._empty(), set()
        new = [file for file in files if file not in covered]
        for start in range(0, len(new), _READ_FILES):
            self._take_in(stamp, new[start : start + _READ_FILES])
        if new:
            self._write(stamp)
        return stamp

    def _stamp(self) -> _Stamp:
        try:
            stored = json.loads((self._folder / "stamp.json").read_text())
            stamp = _Stamp(stored["canary"], stored["files"], [(name, length) for name, length in stored["runs"]])
        except (OSError, ValueError, KeyError, TypeError):
            return self._empty()
        is_whole = all((self._folder / name).exists() for name, _ in stamp.runs)
        return stamp if is_whole and stamp.canary == _canary() else self._empty()

    def _empty(self) -> _Stamp:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return _Stamp(_canary())

    def _take_in(self, stamp: _Stamp, files: Sequence[str]) -> None:
        """Add a run of the keys of `files` and merge it with those before it that are not much longer."""
        held = self._read(files)
        numbers = pl.DataFrame({"file": files, "number": range(len(stamp.files), len(stamp.files) + len(files))})
        held = held.join(numbers, on="file", how="left", maintain_order="left")
        run = np.sort((_hashes(held["key"]) & ~_FILE) | held["number"].to_numpy().astype(np.uint64))
        stamp.files.extend(files)
        while stamp.runs and stamp.runs[-1][1] < _GROWTH * len(run) and stamp.runs[-1][1] + len(run) <= _LARGEST_RUN:
            name, _ = stamp.runs.pop()
            # Two sorted runs behind each other are what a merge sort merges in one pass.
            run = np.sort(np.concatenate((np.load(self._folder / name), run)), kind="stable")
        name = f"{len(stamp.files):07d}-{len(run)}.npy"
        np.save(self._folder / name, run)
        stamp.runs.append((name, len(run)))

    def _write(self, stamp: _Stamp) -> None:
        partial = self._folder / "stamp.partial"
        partial.write_text(json.dumps({"canary": stamp.canary, "files": stamp.files, "runs": stamp.runs}))
        partial.replace(self._folder / "stamp.json")
        named = {name for name, _ in stamp.runs}
        for path in self._folder.glob("*.npy"):
            if path.name not in named:
                path.unlink()


def _hashes(keys: pl.Series) -> Hashes:
    hashes: Hashes = keys.cast(pl.String).hash(seed=0).to_numpy()
    return hashes


def _canary() -> int:
    return int(_hashes(pl.Series([_CANARY]))[0])
