"""The telemetry lake: the step runs of the small world, and rows made by hand, as files by day."""

import gzip
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import jsonschema_rs
import polars as pl
import pytest

from lake.home import Home
from lake.retention import ERASED
from lake.store import Lake
from lake.tables import STEP_RUN
from registry.database import Registry
from registry.loader import PACK, load_pack
from runtime.telemetry import FILE, SUBJECT, export_telemetry

NOW = datetime(2025, 6, 1, tzinfo=UTC)
MIDNIGHT = datetime(2025, 3, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


class Store:
    """A lake and a registry of one's own."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake(root / "lake")
        self.registry = Registry.open(root / "registry.db")
        self.folder = root / "telemetry"

    def append(self, *rows: tuple[str, datetime, str]) -> None:
        """Append step runs: id, start and telemetry."""
        filled: dict[str, Any] = {
            c.name: None if c.nullable else (c.enum[0] if c.enum else c.default or "x") for c in STEP_RUN.columns
        }
        filled |= {"seq": 0, "attempt": 1, "episode_month": MIDNIGHT.date(), "created_at": NOW}
        frame = pl.DataFrame(
            [filled | {"step_run_id": name, "started_at": at, "telemetry": text} for name, at, text in rows],
            schema={name: kind for name, kind in STEP_RUN.polars_schema().items() if name != "month"},
        )
        self.lake.append(STEP_RUN, frame, batch_id="B-1")

    def export(self, **options: Any) -> dict[str, list[str]]:
        export_telemetry(self.lake, self.registry, self.folder, now=NOW, **options)
        return self.days()

    def days(self) -> dict[str, list[str]]:
        """Return the lines of every day."""
        return {
            str(path.parent.relative_to(self.folder)): gzip.decompress(path.read_bytes()).decode().splitlines()
            for path in sorted(self.folder.rglob(FILE))
        }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_day_is_a_half_open_day_of_utc(store: Store) -> None:
    """A row at midnight would be in two days, or in none."""
    store.append(("a", MIDNIGHT - INSTANT, "{}"), ("b", MIDNIGHT, "{}"), ("c", MIDNIGHT + timedelta(days=1), "{}"))
    found = {day: [json.loads(line)["step_run_id"] for line in lines] for day, lines in store.export().items()}
    assert found == {
        "yyyy=2025/mm=02/dd=28": ["a"],
        "yyyy=2025/mm=03/dd=01": ["b"],
        "yyyy=2025/mm=03/dd=02": ["c"],
    }


def test_what_was_measured_is_kept_to_the_digit(store: Store) -> None:
    """A parser on the way would round counters beyond 2^53 and costs of thirty digits."""
    telemetry = '{"tokens":9007199254740993,"cost":0.123456789012345678901234567891,"text":"ü \\"}{","empty":{}}'
    store.append(("a", MIDNIGHT, telemetry))
    (line,) = store.export()["yyyy=2025/mm=03/dd=01"]
    assert line.endswith(f',"telemetry":{telemetry}}}')
    assert json.loads(line, parse_float=Decimal)["telemetry"]["cost"] == Decimal("0.123456789012345678901234567891")


def test_what_did_not_change_is_not_written_again(store: Store) -> None:
    """Every night would rewrite all of history."""
    store.append(("a", MIDNIGHT, "{}"), ("b", MIDNIGHT - INSTANT, "{}"))
    store.export()
    written = {path: path.stat().st_mtime_ns for path in store.folder.rglob(FILE)}
    store.append(("c", MIDNIGHT + INSTANT, "{}"))
    store.export()
    changed = {str(p.relative_to(store.folder)) for p, at in written.items() if p.stat().st_mtime_ns != at}
    assert changed == {f"yyyy=2025/mm=03/dd=01/{FILE}"}


def test_the_same_rows_give_the_same_bytes(store: Store, tmp_path: Path) -> None:
    """A copy of the lake elsewhere could not be compared, and object stores would upload everything again."""
    store.append(("b", MIDNIGHT, "{}"), ("a", MIDNIGHT + INSTANT, "{}"))
    store.export()
    first = {path: path.read_bytes() for path in store.folder.rglob(FILE)}
    for path in first:
        path.unlink()
    store.export(months=[MIDNIGHT.date()])
    assert first == {path: path.read_bytes() for path in store.folder.rglob(FILE)}


def test_a_day_that_lost_its_rows_goes(store: Store) -> None:
    """What a purge deleted from the lake would live on in the files."""
    from deltalake import DeltaTable

    store.append(("a", MIDNIGHT, "{}"), ("b", MIDNIGHT + timedelta(days=1), "{}"))
    store.export()
    DeltaTable(str(store.lake.path(STEP_RUN))).delete("step_run_id = 'a'")
    assert list(store.export()) == ["yyyy=2025/mm=03/dd=02"]
    DeltaTable(str(store.lake.path(STEP_RUN))).delete("step_run_id = 'b'")
    assert store.export() == {}


def test_a_row_whose_telemetry_was_purged_is_in_no_file(store: Store) -> None:
    """The files would say for ever that there was something, or keep a day that a purge emptied."""
    store.append(("a", MIDNIGHT, ERASED), ("b", MIDNIGHT + INSTANT, "{}"), ("c", MIDNIGHT + timedelta(days=1), ERASED))
    ((day, lines),) = store.export().items()
    assert (day, [json.loads(line)["step_run_id"] for line in lines]) == ("yyyy=2025/mm=03/dd=01", ["b"])


def test_the_files_of_the_small_world_hold_every_step_run_in_its_registered_shape(world: Home, tmp_path: Path) -> None:
    """A consumer that trusts the schema would meet lines it does not describe, or miss step runs."""
    lake = Lake(world.lake)
    registry = Registry.open(tmp_path / "registry.db")
    load_pack(registry, PACK, actor="bootstrap", now=NOW)
    export_telemetry(lake, registry, tmp_path / "telemetry", now=NOW)
    schema = json.loads((PACK / f"event_schemas/{SUBJECT}.json").read_text())["schema"]
    is_valid = jsonschema_rs.validator_for(schema, validate_formats=True).is_valid
    lines = [
        json.loads(line)
        for path in (tmp_path / "telemetry").rglob(FILE)
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]
    assert all(map(is_valid, lines))
    held = lake.scan(STEP_RUN, columns=["step_run_id"]).collect()["step_run_id"]
    assert Counter(line["step_run_id"] for line in lines) == Counter(held)


def test_another_tool_prunes_by_day(store: Store, tmp_path: Path) -> None:
    """Table federation for ad-hoc analytics: DuckDB reads the folders as columns and the files as rows."""
    store.append(("a", MIDNIGHT, '{"latency_ms":7}'), ("b", MIDNIGHT + timedelta(days=40), '{"latency_ms":11}'))
    store.export()
    found = duckdb.sql(
        f"select dd, telemetry.latency_ms from read_json('{tmp_path}/telemetry/*/*/*/{FILE}', hive_partitioning = true)"
        " where yyyy = 2025 and mm = '03'"
    ).fetchall()
    assert [(str(day).zfill(2), latency) for day, latency in found] == [("01", 7)]
