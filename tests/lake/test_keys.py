"""The index of keys: it never misses a file that holds a key, whatever became of the table or of the index."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import keys as keys_module
from lake.keys import KeyIndex
from lake.store import Lake
from lake.tables import EVENT_BUS
from tests.builders import event

MARCH = datetime(2025, 3, 3, 9, tzinfo=UTC)


class Files:
    """Data files that hold keys, and a count of how often each was read."""

    def __init__(self, held: dict[str, list[str]]) -> None:
        self.held = held
        self.read: list[str] = []

    def __call__(self, files: Sequence[str]) -> pl.DataFrame:
        self.read += files
        rows = [(file, key) for file in files for key in self.held[file]]
        return pl.DataFrame(rows, schema={"file": pl.String, "key": pl.String}, orient="row")

    def holding(self, wanted: Sequence[str]) -> list[str]:
        return [file for file, keys in self.held.items() if set(keys) & set(wanted)]


def look(folder: Path, files: Files, wanted: Sequence[str]) -> list[str]:
    return KeyIndex(folder, files).files(pl.Series(wanted, dtype=pl.String), among=list(files.held))


@settings(max_examples=40, deadline=None)
@given(
    contents=st.lists(st.lists(st.integers(0, 40).map(str), max_size=8), min_size=1, max_size=12),
    wanted=st.lists(st.integers(0, 60).map(str), max_size=6),
    steps=st.integers(1, 4),
)
def test_the_files_that_hold_a_key_are_found_however_they_came(
    tmp_path_factory: pytest.TempPathFactory, contents: list[list[str]], wanted: list[str], steps: int
) -> None:
    """A file that is missed is a duplicate that is accepted."""
    folder = tmp_path_factory.mktemp("keys") / "index"
    files = Files({})
    for number, keys in enumerate(contents):
        files.held[f"{number}.parquet"] = keys
        if number % steps == 0:
            assert look(folder, files, wanted) == files.holding(wanted)
    assert look(folder, files, wanted) == files.holding(wanted)
    assert len(files.read) == len(set(files.read))


def test_many_keys_are_merged_into_few_runs_and_all_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run per commit would make each look as long as history."""
    monkeypatch.setattr(keys_module, "_LARGEST_RUN", 2_000)
    files = Files({})
    for number in range(60):
        files.held[f"{number}"] = [f"key {number}/{each}" for each in range(100)]
        assert look(tmp_path / "index", files, [f"key {number // 2}/7", "none"]) == [f"{number // 2}"]
    assert len(list((tmp_path / "index").glob("*.npy"))) < 12
    everything = [key for keys in files.held.values() for key in keys]
    assert sorted(look(tmp_path / "index", files, everything)) == sorted(files.held)


def test_a_hash_that_two_keys_share_costs_a_look_and_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty-four bits are not enough to be sure: whoever asks reads the file."""
    monkeypatch.setattr(keys_module, "_hashes", lambda keys: np.full(len(keys), 7 << 20, dtype=np.uint64))
    lake = Lake(tmp_path)
    lake.append(EVENT_BUS, pl.DataFrame([event("A", "t", {}, MARCH)]), batch_id="1")
    assert lake.find(EVENT_BUS, pl.Series(["B"]), columns=["event_id"]).is_empty()
    assert lake.append(EVENT_BUS, pl.DataFrame([event("B", "t", {}, MARCH)]), batch_id="2").rows == 1


@pytest.mark.parametrize("harm", ["deleted", "no stamp", "half a stamp", "a run is gone", "another hash"])
def test_an_index_that_is_gone_or_harmed_is_made_anew(tmp_path: Path, harm: str) -> None:
    """It is derived: whatever happens to it, the table is the truth."""
    files = Files({f"{number}": [f"key {number}"] for number in range(5)})
    folder = tmp_path / "index"
    assert look(folder, files, ["key 3"]) == ["3"]
    stamp = folder / "stamp.json"
    if harm == "deleted":
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    elif harm == "no stamp":
        stamp.unlink()
    elif harm == "half a stamp":
        stamp.write_text(stamp.read_text()[:20])
    elif harm == "a run is gone":
        next(folder.glob("*.npy")).unlink()
    else:
        stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"canary": 1}))
    assert look(folder, files, ["key 3"]) == ["3"]
    assert len(files.read) == 10


def test_files_that_are_gone_are_not_named_and_in_the_end_forgotten(tmp_path: Path) -> None:
    """Compaction and purges replace files; an index of what is gone would grow for ever."""
    files = Files({f"{number}": [f"key {number}"] for number in range(8)})
    assert look(tmp_path / "index", files, ["key 3"]) == ["3"]
    del files.held["3"]
    assert look(tmp_path / "index", files, ["key 3"]) == []
    files.held = {"8": [f"key {number}" for number in range(9)]}
    assert look(tmp_path / "index", files, ["key 3"]) == ["8"]
    assert json.loads((tmp_path / "index/stamp.json").read_text())["files"] == ["8"]


def test_a_key_is_found_in_every_month_after_appends_compaction_and_deletion(tmp_path: Path) -> None:
    """Against a plain look into all of the table, through everything that happens to one."""
    rng = random.Random(3)
    lake = Lake(tmp_path)
    names = [f"E-{number}" for number in range(60)]
    held: set[str] = set()
    for turn in range(8):
        batch = rng.sample(names, 12)
        rows = [event(name, "t", {}, MARCH + timedelta(days=rng.randrange(200))) for name in batch]
        appended = lake.append(EVENT_BUS, pl.DataFrame(rows), batch_id="B")
        assert appended.rows == len(set(batch) - held)
        held |= set(batch)
        if turn == 4:
            assert lake.compact(EVENT_BUS) > 0
        found = lake.find(EVENT_BUS, pl.Series(names), columns=["event_id", "month"])
        assert set(found["event_id"]) == held
        assert found.sort("event_id").equals(
            lake.scan(EVENT_BUS, columns=["event_id", "month"]).sort("event_id").collect()
        )
