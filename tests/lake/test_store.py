"""The Delta store: rows are written once, by whomever and however often; what is refused says no value."""

import json
import multiprocessing
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from lake import store
from lake.spec import Column, Kind, SchemaMismatch, TableSpec, bigint, day, identifier, json_text, text, timestamp
from lake.store import COMMIT_RETRIES, Lake, LakeBusy, LakeFault, MonthStats
from lake.tables import LOGS, MIRRORED, REFLECTION_LOG
from registry.database import Registry
from registry.loader import PACK, load_pack

MARCH, APRIL, MAY = date(2025, 3, 1), date(2025, 4, 1), date(2025, 5, 1)
SECRET = "jane.doe@example.com"

READING = TableSpec(
    name="reading",
    description="Readings.",
    grain="one row per reading",
    key=("reading_id",),
    time_column="read_at",
    columns=(
        identifier("reading_id", "Id."),
        timestamp("read_at", "When."),
        day("about_month", "Month it is about.", nullable=True),
        json_text("body", "Body."),
        timestamp("recorded_at", "When it was recorded.", nullable=True),
    ),
)
COLOUR = TableSpec(
    name="colour",
    description="Colours.",
    grain="one row per colour",
    key=("name",),
    columns=(
        text("name", "Name."),
        bigint("value", "Value.", nullable=True),
        Column(name="share", kind=Kind.DOUBLE, description="Share.", nullable=True),
    ),
)


def readings(*days: tuple[str, date], about: date | None = None, body: str = "{}") -> pl.DataFrame:
    """Return one reading per (id, day), at noon."""
    rows = [(name, datetime(on.year, on.month, on.day, 12, tzinfo=UTC), about, body, None) for name, on in days]
    schema = READING.polars_schema()
    return pl.DataFrame(rows, schema={name: schema[name] for name in READING.names[:-1]}, orient="row")


def many(prefix: str, count: int, first: date = MARCH) -> pl.DataFrame:
    return readings(*((f"{prefix}-{number}", first) for number in range(count)))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def ids(lake: Lake, spec: TableSpec = READING, **options: Any) -> list[str]:
    return sorted(lake.scan(spec, **options).collect()[spec.key[0]].to_list())


def log_actions(lake: Lake, spec: TableSpec = READING) -> list[dict[str, Any]]:
    """Return every action of the table's Delta log, as the protocol writes it."""
    files = sorted((lake.path(spec) / "_delta_log").glob("*.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def in_processes(target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
    """Run `target` in one new process per tuple of arguments, all started together."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(len(arguments))
    processes = [context.Process(target=target, args=(gate, *given)) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def append_thrice(gate: Any, root: Path) -> None:
    gate.wait(60)
    appended = [Lake(root).append(READING, many("R", 200), batch_id="B-1").rows for _ in range(3)]
    (root / f"{multiprocessing.current_process().pid}.json").write_text(json.dumps(appended))


def append_month(gate: Any, root: Path, number: int) -> None:
    gate.wait(60)
    for part in range(4):
        rows = many(f"M{number}-{part}", 50, date(2024, number, 1))
        Lake(root).append(READING, rows, batch_id=f"B-{number}")


def append_and_compact(gate: Any, root: Path, number: int) -> None:
    lake = Lake(root)
    gate.wait(60)
    for part in range(3):
        lake.append(READING, many(f"C{number}-{part}", 20), batch_id="B")
        lake.compact(READING)


def test_processes_that_append_the_same_rows_write_them_once(tmp_path: Path) -> None:
    """A retry beside the run that it replaces would double its rows."""
    lake = Lake(tmp_path)
    in_processes(append_thrice, [(tmp_path,)] * 3)
    assert ids(lake) == sorted(f"R-{number}" for number in range(200))
    told = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert sum(sum(appended) for appended in told) == 200
    assert sum("add" in action for action in log_actions(lake)) == 1


def test_processes_append_to_different_months_side_by_side(tmp_path: Path) -> None:
    """A commit lost to a conflict would be a month's rows lost."""
    in_processes(append_month, [(tmp_path, number) for number in (1, 2, 3)])
    lake = Lake(tmp_path)
    assert {month: stats.rows for month, stats in lake.stats(READING).items()} == {
        date(2024, 1, 1): 200,
        date(2024, 2, 1): 200,
        date(2024, 3, 1): 200,
    }
    assert len(set(ids(lake))) == 600


def test_compactions_and_appends_of_several_processes_neither_lose_nor_double_a_row(tmp_path: Path) -> None:
    """Two concurrent compactions of a delta-rs table both commit, and every row is there twice."""
    in_processes(append_and_compact, [(tmp_path, number) for number in range(3)])
    expected = sorted(f"C{number}-{part}-{row}" for number in range(3) for part in range(3) for row in range(20))
    assert ids(Lake(tmp_path)) == expected


def test_known_rows_add_neither_rows_nor_a_version(lake: Lake) -> None:
    """A second run that changes nothing must be seen to change nothing."""
    first = lake.append(READING, readings(("a", MARCH), ("b", APRIL)), batch_id="B-1")
    version = lake.version(READING)
    again = lake.append(READING, readings(("b", APRIL), ("a", MARCH)), batch_id="B-2")
    assert (first.rows, first.known, first.months) == (2, 0, [MARCH, APRIL])
    assert (again.rows, again.known, again.months) == (0, 2, [])
    assert lake.version(READING) == version
    more = lake.append(READING, readings(("a", MARCH), ("c", MARCH)), batch_id="B-2")
    assert (more.rows_by_month, more.known) == ({MARCH: 1}, 1)
    assert ids(lake) == ["a", "b", "c"]


def test_a_key_twice_in_one_frame_is_written_once(lake: Lake) -> None:
    """The first one holds, as it would over two frames."""
    rows = pl.concat([readings(("a", MARCH), body='{"n":1}'), readings(("a", MARCH), body='{"n":2}')])
    appended = lake.append(READING, rows, batch_id="B-1")
    assert (appended.rows, appended.known) == (1, 1)
    assert lake.scan(READING).collect()["body"].to_list() == ['{"n":1}']


def test_nothing_to_append_makes_no_version(lake: Lake) -> None:
    """A chunk without a refused record would add a commit of no rows to every batch."""
    lake.ensure([READING])
    version = lake.version(READING)
    assert lake.append(READING, READING.empty(), batch_id="B-1").rows == 0
    assert lake.version(READING) == version


def test_a_commit_names_its_batch(lake: Lake) -> None:
    """Whoever asks where rows came from finds the batch in the Delta log."""
    lake.append(READING, readings(("a", MARCH)), batch_id="B-7")
    assert DeltaTable(str(lake.path(READING))).history(1)[0]["batch_id"] == "B-7"


def test_a_table_that_is_not_there_is_empty(lake: Lake) -> None:
    """Every reader would have to ask first."""
    assert lake.scan(READING).collect().schema == READING.polars_schema()
    assert lake.scan(READING, months=[MARCH], columns=["body"]).collect().columns == ["body"]
    assert lake.version(READING) is None
    assert lake.stats(READING) == {}
    assert lake.fingerprints(READING) == {}
    assert lake.compact(READING) == 0
    lake.ensure([READING])
    assert lake.stats(READING) == {}
    assert lake.fingerprints(READING, by="about_month") == {}
    assert lake.scan(READING).collect().is_empty()


def test_rows_come_back_as_they_went_in(lake: Lake) -> None:
    """Microseconds, JSON text and odd ids are the record; storage must not touch them."""
    body = '{"n":9007199254740993,"d":0.1234567890123456789012345,"s":"\\u00fc ü 🙂"}'
    at = datetime(2025, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    rows = pl.DataFrame(
        {"reading_id": ["NA", "007", "é", ""], "read_at": [at] * 4, "body": [body, "{}", "null", '"NA"']}
    )
    lake.append(READING, rows, batch_id="B-1")
    kept = lake.scan(READING, columns=["reading_id", "read_at", "body"]).collect()
    assert kept.sort("reading_id").equals(rows.sort("reading_id"))


def test_months_are_partitions_of_utc_from_any_century(lake: Lake) -> None:
    """The constraint that holds the month must agree with ours on the last microsecond and before 1970."""
    days = {
        datetime(2025, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC): MARCH,
        datetime(2025, 4, 1, tzinfo=UTC): APRIL,
        datetime(1948, 5, 9, 13, tzinfo=UTC): date(1948, 5, 1),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC): date(1969, 12, 1),
        datetime(1900, 2, 28, tzinfo=UTC): date(1900, 2, 1),
        datetime(1, 1, 1, tzinfo=UTC): date(1, 1, 1),
        datetime(9999, 12, 31, tzinfo=UTC): date(9999, 12, 1),
    }
    rows = pl.DataFrame(
        {"reading_id": [str(number) for number in range(len(days))], "read_at": list(days), "body": ["{}"] * len(days)}
    )
    lake.append(READING, rows, batch_id="B-1")
    kept = lake.scan(READING).sort("read_at").collect()
    assert dict(zip(kept["read_at"], kept["month"], strict=True)) == days
    folders = {path.name for path in lake.path(READING).glob("month=*")}
    assert folders == {f"month={month.isoformat()}" for month in days.values()}


def test_a_row_in_another_month_than_its_time_is_refused_by_the_table_itself(lake: Lake) -> None:
    """The constraint is the last door: it holds for whoever writes, and its message must not quote the row."""
    lake.ensure([READING])
    by_recording = TableSpec(
        name="reading",
        description="",
        grain="",
        key=READING.key,
        columns=READING.columns,
        time_column="recorded_at",
    )
    row = readings((SECRET, MARCH), body=f'{{"mail":"{SECRET}"}}').with_columns(
        recorded_at=pl.lit(datetime(2025, 5, 1, tzinfo=UTC))
    )
    with pytest.raises(LakeFault) as caught:
        lake.append(by_recording, row, batch_id="B-1")
    assert "reading refused 1 rows" in str(caught.value)
    assert "jane" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert lake.scan(READING).collect().is_empty()


def test_a_null_is_refused_before_and_by_the_table(lake: Lake) -> None:
    """A row without its body is half a row, whoever wrote it."""
    lake.ensure([READING])
    with pytest.raises(SchemaMismatch, match=r"null in \['body'\]") as caught:
        lake.append(READING, readings((SECRET, MARCH), ("b", MARCH)).with_columns(body=None), batch_id="B-1")
    assert "jane" not in str(caught.value)
    around = READING.conform(readings(("a", MARCH))).with_columns(body=pl.lit(None, pl.String)).to_arrow()
    nullable = pa.schema([field.with_nullable(True) for field in around.schema])
    with pytest.raises(DeltaError, match="validation"):
        write_deltalake(str(lake.path(READING)), around.cast(nullable), mode="append")
    assert lake.scan(READING).collect().is_empty()


def test_a_table_is_created_whole_or_not_at_all(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies before the constraint is added would leave a table that takes any month for ever."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store.DeltaTable, "alter", property(_interrupt))
        lake.ensure([READING])
    assert not lake.exists(READING)
    lake.ensure([READING])
    configuration = DeltaTable(str(lake.path(READING))).metadata().configuration
    assert "delta.constraints.month_is_of_its_time" in configuration
    lake.append(READING, readings(("a", MARCH)), batch_id="B-1")
    assert ids(lake) == ["a"]


def _interrupt(table: DeltaTable) -> None:
    raise KeyboardInterrupt


def test_a_conflict_is_tried_again_and_then_given_up_without_a_value(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delete on another month makes delta-rs refuse an append that it does not touch."""
    refusals = iter(["conflict"] * 2)

    def refuse(*args: Any, **options: Any) -> None:
        if next(refusals, None):
            raise CommitFailedError(SECRET)
        write_deltalake(*args, **options)

    monkeypatch.setattr(store, "write_deltalake", refuse)
    monkeypatch.setattr(store.time, "sleep", lambda seconds: None)
    lake.append(READING, readings(("a", MARCH)), batch_id="B-1")
    assert ids(lake) == ["a"]
    refusals = iter(["conflict"] * COMMIT_RETRIES)
    with pytest.raises(LakeFault, match="could not commit") as caught:
        lake.append(READING, readings(("b", MARCH)), batch_id="B-1")
    assert "jane" not in str(caught.value)


def test_a_table_that_stays_locked_is_busy_and_nothing_is_written(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for ever behind a stuck process would look like work."""
    lake.ensure([READING])
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); "
            "print('held', flush=True); time.sleep(60)",
            str(lake.root / ".reading.lock"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0.1)
        with pytest.raises(LakeBusy, match="try again"):
            lake.append(READING, readings(("a", MARCH)), batch_id="B-1")
    finally:
        holder.kill()
        holder.wait()
    monkeypatch.undo()
    lake.append(READING, readings(("a", MARCH)), batch_id="B-1")
    assert ids(lake) == ["a"]


def test_a_scan_of_one_month_opens_the_files_of_that_month_only(lake: Lake) -> None:
    """Over years of history a look at one month would read everything."""
    lake.append(READING, readings(("a", MARCH), ("b", APRIL), ("c", MAY)), batch_id="B-1")
    plan = lake.scan(READING, months=[APRIL]).explain()
    assert "month=2025-04-01" in plan
    assert "month=2025-03-01" not in plan
    assert "month=2025-05-01" not in plan
    for month in (MARCH, MAY):
        for file in (lake.path(READING) / f"month={month.isoformat()}").iterdir():
            file.unlink()
    assert ids(lake, months=[APRIL]) == ["b"]
    assert ids(lake, months=[APRIL, date(2030, 1, 1)]) == ["b"]
    assert ids(lake, months=[]) == []


def test_a_scan_returns_the_columns_it_is_asked_for_in_their_order(lake: Lake) -> None:
    """Rows are unpacked by position."""
    lake.append(READING, readings(("a", MARCH)), batch_id="B-1")
    assert lake.scan(READING, columns=["month", "reading_id"]).collect().rows() == [(MARCH, "a")]
    assert lake.scan(READING).collect().columns == READING.names


def test_fingerprints_change_for_the_months_that_were_touched_and_no_other(lake: Lake) -> None:
    """Marts rebuild what changed: a month missed stays wrong, a month too many costs an hour."""
    lake.append(READING, readings(("a", MARCH), ("b", APRIL)), batch_id="B-1")
    before = lake.fingerprints(READING)
    assert lake.fingerprints(READING) == before
    lake.append(READING, readings(("a", MARCH)), batch_id="B-2")
    assert lake.fingerprints(READING) == before
    lake.append(READING, readings(("c", APRIL), ("d", MAY)), batch_id="B-2")
    after = lake.fingerprints(READING)
    assert before.keys() == {MARCH, APRIL}
    assert after.keys() == {MARCH, APRIL, MAY}
    assert after[MARCH] == before[MARCH]
    assert after[APRIL] != before[APRIL]
    assert len(set(after.values())) == 3


def test_fingerprints_by_another_month_follow_that_month(lake: Lake) -> None:
    """A step that comes late rebuilds the month its episode started in, not the month it ran in."""
    lake.append(READING, readings(("a", MARCH), about=MARCH), batch_id="B-1")
    lake.append(READING, readings(("b", APRIL), about=APRIL), batch_id="B-1")
    before = lake.fingerprints(READING, by="about_month")
    lake.append(READING, readings(("c", MAY), about=MARCH), batch_id="B-2")
    after = lake.fingerprints(READING, by="about_month")
    assert before.keys() == after.keys() == {MARCH, APRIL}
    assert after[MARCH] != before[MARCH]
    assert after[APRIL] == before[APRIL]
    both = pl.concat([readings(("d", MAY), about=MARCH), readings(("e", MAY), about=MAY)])
    lake.append(READING, both, batch_id="B-3")
    spanning = lake.fingerprints(READING, by="about_month")
    assert spanning.keys() == {MARCH, APRIL, MAY}
    assert spanning[MARCH] != after[MARCH]


def test_a_date_that_no_row_has_is_no_fault(lake: Lake) -> None:
    """Reflections about more than one month have none; counting their table failed."""
    lake.append(READING, readings(("a", MARCH)), batch_id="B-1")
    assert lake.stats(READING)[MARCH].rows == 1
    assert lake.fingerprints(READING).keys() == {MARCH}
    assert lake.fingerprints(READING, by="about_month") == {}
    lake.append(READING, readings(("b", MARCH), about=APRIL), batch_id="B-1")
    assert lake.fingerprints(READING, by="about_month").keys() == {APRIL}
    assert lake.stats(READING)[MARCH].rows == 2


def test_statistics_count_rows_bytes_and_files_per_month(lake: Lake) -> None:
    """The dashboard shows them, and compaction is decided by them."""
    lake.append(READING, many("a", 10), batch_id="B-1")
    lake.append(READING, many("b", 5), batch_id="B-2")
    lake.append(READING, many("c", 1, MAY), batch_id="B-3")
    sizes = {
        month: sum(file.stat().st_size for file in lake.path(READING).glob(f"month={month.isoformat()}/*.parquet"))
        for month in (MARCH, MAY)
    }
    assert lake.stats(READING) == {MARCH: MonthStats(15, sizes[MARCH], 2), MAY: MonthStats(1, sizes[MAY], 1)}


def test_compaction_keeps_every_row_and_leaves_other_months_alone(lake: Lake) -> None:
    """It runs unattended over everything that there is."""
    for part in range(4):
        lake.append(READING, many(f"m{part}", 10), batch_id="B-1")
        lake.append(READING, many(f"a{part}", 10, APRIL), batch_id="B-1")
    rows = lake.scan(READING).sort("reading_id").collect()
    april = lake.fingerprints(READING)[APRIL]
    assert lake.compact(READING, [MARCH]) == 4
    assert lake.scan(READING).sort("reading_id").collect().equals(rows)
    assert {month: stats.files for month, stats in lake.stats(READING).items()} == {MARCH: 1, APRIL: 4}
    assert lake.fingerprints(READING)[APRIL] == april
    assert lake.compact(READING, []) == 0
    assert lake.stats(READING)[APRIL].files == 4
    assert lake.compact(READING) == 4
    assert lake.scan(READING).sort("reading_id").collect().equals(rows)
    version = lake.version(READING)
    assert lake.compact(READING) == 0
    assert lake.version(READING) == version
    assert lake.append(READING, many("m0", 10), batch_id="B-2").known == 10


def test_a_compaction_that_changed_the_number_of_rows_is_taken_back(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Doubled rows would be noticed in the numbers of a month's end."""
    for part in range(2):
        lake.append(READING, many(f"m{part}", 10), batch_id="B-1")
    counts = Counter[str]()

    def count(table: DeltaTable) -> int:
        counts["calls"] += 1
        return 20 * counts["calls"]

    monkeypatch.setattr(store.DeltaTable, "count", count)
    with pytest.raises(LakeFault, match="was restored"):
        lake.compact(READING)
    monkeypatch.undo()
    assert lake.stats(READING)[MARCH].files == 2
    assert len(ids(lake)) == 20


def test_a_mirror_holds_exactly_the_rows_it_was_given(lake: Lake) -> None:
    """A row deleted in the registry would live on in the marts."""
    colours = pl.DataFrame({"name": ["red", "blue"], "value": [1, None], "share": [0.1, float("nan")]})
    assert lake.mirror(COLOUR, colours)
    version = lake.version(COLOUR)
    assert not lake.mirror(COLOUR, colours.reverse())
    assert lake.version(COLOUR) == version
    assert lake.mirror(COLOUR, colours.with_columns(value=pl.lit(2)))
    assert lake.mirror(COLOUR, colours.head(1))
    assert ids(lake, COLOUR) == ["red"]
    assert lake.stats(COLOUR)[None].rows == 1
    assert lake.mirror(COLOUR, COLOUR.empty())
    assert ids(lake, COLOUR) == []
    assert not lake.mirror(COLOUR, COLOUR.empty())


def test_a_mirror_that_an_earlier_release_made_takes_the_columns_of_this_one(lake: Lake) -> None:
    """A home that was upgraded could not mirror its registry any more."""
    earlier = replace(COLOUR, columns=COLOUR.columns[:-1])
    colours = pl.DataFrame({"name": ["red", "blue"], "value": [1, None], "share": [0.1, 0.2]})
    assert lake.mirror(earlier, colours.select(column.name for column in earlier.columns))
    assert lake.mirror(COLOUR, colours)
    assert lake.scan(COLOUR).collect().equals(COLOUR.conform(colours).sort("name"))
    assert DeltaTable(str(lake.path(COLOUR))).to_pyarrow_table().column_names == COLOUR.names
    assert not lake.mirror(COLOUR, colours)
    empty = lake.mirror(earlier, earlier.empty()), lake.mirror(COLOUR, COLOUR.empty())
    assert empty == (True, True)


def test_an_empty_mirror_is_a_table(lake: Lake) -> None:
    """A source that is not there fails the build of every mart on it."""
    assert not lake.mirror(COLOUR, COLOUR.empty())
    assert lake.exists(COLOUR)


def test_every_mirrored_table_of_the_registry_is_the_same_the_second_time(lake: Lake, tmp_path: Path) -> None:
    """A new version at each run would rebuild everything that reads it."""
    registry = Registry.open(tmp_path / "registry.db")
    load_pack(registry, PACK, actor="bootstrap", now=datetime(2025, 1, 1, tzinfo=UTC))
    for spec in MIRRORED:
        rows = registry.frame(spec)
        lake.mirror(spec, rows)
        version = lake.version(spec)
        assert not lake.mirror(spec, registry.frame(spec)), spec.name
        assert lake.version(spec) == version
        assert lake.scan(spec).collect().sort(spec.key).equals(rows.sort(spec.key))
    registry.close()


def texts(lake: Lake, spec: TableSpec) -> str:
    """Return all that a table's Delta log says, checkpoints unpacked."""
    folder = lake.path(spec) / "_delta_log"
    said = [path.read_text() for path in folder.glob("*.json")]
    said += [str(pl.read_parquet(path).rows()) for path in folder.glob("*.parquet")]
    return "\n".join(said)


def test_the_delta_log_holds_no_value_of_a_payload(lake: Lake) -> None:
    """The log outlives the data: minima and maxima of payloads in it would survive a purge."""
    for part in range(25):  # beyond one checkpoint
        lake.append(READING, readings((f"R-{part}", MARCH), body=f'{{"mail":"{SECRET}"}}'), batch_id="B-1")
    lake.compact(READING)
    assert list((lake.path(READING) / "_delta_log").glob("*.checkpoint*.parquet"))
    said = texts(lake, READING)
    assert "R-7" in said  # keys are kept, to find a row by
    assert "jane" not in said
    assert "body" in said  # as a column's name only


@pytest.mark.parametrize("spec", LOGS, ids=lambda spec: spec.name)
def test_statistics_of_every_log_are_of_keys_times_and_dates_only(lake: Lake, spec: TableSpec) -> None:
    """A column of text added to the statistics by a default would leak with the next append."""
    lake.ensure([spec])
    configuration = DeltaTable(str(lake.path(spec))).metadata().configuration
    indexed = set(configuration["delta.dataSkippingStatsColumns"].split(","))
    plain = {column.name for column in spec.columns if column.kind in (Kind.TIMESTAMP, Kind.DATE)}
    assert indexed == set(spec.key) | plain


def test_reflections_about_no_month_in_particular_can_be_counted(lake: Lake) -> None:
    """`rwcm status` asks every log for its size."""
    at = datetime(2025, 3, 5, tzinfo=UTC)
    row = {
        "reflection_id": "RF-1",
        "revision": 1,
        "source_type": "workflow",
        "source_id": "WF-1",
        "insight_type": "summary",
        "insight": "{}",
        "learning_signal": "{}",
        "proposed_actions": "[]",
        "status": "recorded",
        "content_hash": "0" * 64,
        "batch_id": "B-1",
        "created_at": at,
        "created_by": "test",
    }
    lake.append(REFLECTION_LOG, pl.DataFrame([row]), batch_id="B-1")
    assert lake.stats(REFLECTION_LOG)[MARCH].rows == 1
    assert lake.fingerprints(REFLECTION_LOG).keys() == {MARCH}


def test_a_file_is_sorted_by_time_and_packed_with_zstd(lake: Lake) -> None:
    """Sorted rows are what makes statistics prune, and 40 % smaller."""
    import pyarrow.parquet as pq

    start = datetime(2025, 3, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "reading_id": [str(number) for number in range(100)],
            "read_at": [start + timedelta(minutes=number * 37 % 100) for number in range(100)],
            "body": ["{}"] * 100,
        }
    )
    lake.append(READING, rows, batch_id="B-1")
    (file,) = lake.path(READING).glob("month=*/*.parquet")
    read = pq.ParquetFile(file)
    times = read.read(columns=["read_at"])["read_at"].to_pylist()
    assert times == sorted(times)
    assert {read.metadata.row_group(0).column(n).compression for n in range(read.metadata.num_columns)} == {"ZSTD"}
