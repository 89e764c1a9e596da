"""Imported logs: every case once, its events in the order of the log, whatever file or run they come from."""

import csv
import gzip
import json
import multiprocessing
import os
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.platform import Platform
from guard.identity import name_uuid
from ingest.commit import Accounting
from ingest.history import Import, import_log, log_workflow_id
from ingest.logs import ColumnMapping, UnreadableLog
from lake.home import PROJECT_ROOT, Home
from lake.store import Appended, Lake
from lake.tables import BATCH, EVENT_DEAD_LETTER, LOGS, RUN_EPISODE, STEP_ACTION, STEP_RUN, WORKFLOW
from tests.senders import NOW, open_platform

REAL = PROJECT_ROOT.parent / "shared" / "data" / "logs"
needs_real_logs = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real logs are not in {REAL}")
Traces = dict[str, list[tuple[str, datetime | None]]]


def load(platform: Platform, path: Path, **options: Any) -> Import:
    return import_log(path, **{"lake": platform.lake, "registry": platform.registry, "now": NOW} | options)


def table(path: Path, *rows: str, header: str = "case,activity,time") -> Path:
    """Write a CSV log of `rows`."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8", newline="")
    return path


def episodes(platform: Platform) -> pl.DataFrame:
    return platform.lake.scan(RUN_EPISODE).sort("case_id", "episode_id").collect()


def steps(platform: Platform) -> pl.DataFrame:
    return platform.lake.scan(STEP_RUN).sort("episode_id", "seq").collect()


def letters(platform: Platform) -> pl.DataFrame:
    return platform.lake.scan(EVENT_DEAD_LETTER).sort("file_name", "file_offset").collect()


def versions(platform: Platform) -> list[int | None]:
    return [platform.lake.version(spec) for spec in LOGS]


def traces(platform: Platform) -> Traces:
    """Return what the lake holds of each case: its activities and times in order."""
    joined = steps(platform).join(episodes(platform).select("episode_id", "case_id"), on="episode_id")
    held: Traces = defaultdict(list)
    for case_id, activity, at, seq in joined.select("case_id", "activity", "started_at", "seq").iter_rows():
        assert seq == len(held[case_id])
        held[case_id].append((activity, at))
    return held


def assert_closed(platform: Platform) -> None:
    """Check that each batch's accounting closes, is that of its rows, and that steps and episodes belong together."""
    rows = {
        spec.name: Counter(
            (batch_id, f"{month:%Y-%m}")
            for batch_id, month in platform.lake.scan(spec, columns=["batch_id", "month"]).collect().iter_rows()
        )
        for spec in (RUN_EPISODE, STEP_RUN, EVENT_DEAD_LETTER)
    }
    for batch in platform.registry.frame(BATCH).iter_rows(named=True):
        read, accepted, rejected, known = (
            batch[f"records_{count}"] for count in ("read", "accepted", "rejected", "duplicate")
        )
        assert batch["state"] == "done"
        assert read == accepted + rejected + known
        for name, counted in json.loads(batch["months"]).items():
            assert counted == {month: n for (of, month), n in rows[name].items() if of == batch["batch_id"]}
        assert accepted == sum(n for (of, _), n in rows[STEP_RUN.name].items() if of == batch["batch_id"])
        assert rejected == sum(n for (of, _), n in rows[EVENT_DEAD_LETTER.name].items() if of == batch["batch_id"])
    runs, cases = steps(platform), episodes(platform)
    assert runs["step_run_id"].is_unique().all()
    assert cases["episode_id"].is_unique().all()
    per_case = runs.group_by("episode_id").agg(steps=pl.len().cast(pl.Int32), month=pl.col("episode_month").unique())
    both = cases.select("episode_id", "steps", "month").join(per_case, on=["episode_id", "steps"], how="full")
    assert both.null_count().sum_horizontal().item() == 0
    assert both.select((pl.col("month_right") == pl.concat_list("month")).all()).item()


# Independent readers


def read_xes(path: Path) -> Traces:
    """Return the cases of an XES file by the standard library's XML reader."""
    found: Traces = {}
    with gzip.open(path) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag.rpartition("}")[2] == "trace":
                names = [child.get("value") for child in element if child.get("key") == "concept:name"]
                found[str(names[0])] = [
                    (said["concept:name"], datetime.fromisoformat(said["time:timestamp"]))
                    for event in element
                    if event.tag.rpartition("}")[2] == "event"
                    for said in [{child.get("key"): child.get("value") for child in event}]
                ]
                element.clear()
    return found


def read_csv(path: Path) -> Traces:
    """Return the cases of a CSV file by the standard library's reader."""
    found: Traces = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["time:timestamp"])
            found[row["case:concept:name"]].append((row["concept:name"], at))
    return found


def variants(held: Traces) -> set[tuple[str, ...]]:
    return {tuple(activity for activity, _ in trace) for trace in held.values()}


# Real logs


@needs_real_logs
def test_a_real_log_in_two_formats_is_the_same_history_whichever_comes_first(tmp_path: Path) -> None:
    """A department exports XES once and CSV the next time; its cases would be there twice."""
    xes, table_file = REAL / "receipt.xes.gz", REAL / "receipt.csv"
    held = []
    for number, (first, second) in enumerate([(xes, table_file), (table_file, xes)]):
        platform = open_platform(tmp_path / str(number))
        done = load(platform, first)
        assert done.workflow_id == "WF-LOG-receipt"
        assert (done.records, done.cases, done.new_cases) == (Accounting(accepted=8_577), 1_434, 1_434)
        before = versions(platform)
        again = load(platform, second)
        assert (again.records, again.cases, again.new_cases) == (Accounting(duplicates=8_577), 1_434, 0)
        assert versions(platform) == before
        assert_closed(platform)
        held.append(platform)
    assert traces(held[0]) == traces(held[1]) == read_xes(xes) == read_csv(table_file)
    assert len(variants(traces(held[0]))) == 116
    assert len({activity for trace in traces(held[0]).values() for activity, _ in trace}) == 27
    same = ["episode_id", "case_id", "started_at", "ended_at", "context_hash", "steps", "latency_ms", "month"]
    assert episodes(held[0]).select(same).equals(episodes(held[1]).select(same))
    same = ["step_run_id", "episode_id", "episode_month", "activity", "seq", "started_at", "resource", "lifecycle"]
    assert steps(held[0]).select(same).equals(steps(held[1]).select(same))
    for platform in held:
        platform.close()


@needs_real_logs
def test_the_loan_applications_of_2012_are_all_there_in_their_order(platform: Platform) -> None:
    """262,200 events with 13,995 tied times: an order by time alone gives other variants."""
    done = load(platform, REAL / "bpic2012.xes.gz")
    assert (done.records, done.cases) == (Accounting(accepted=262_200), 13_087)
    held = traces(platform)
    assert len(held) == 13_087
    assert len(variants(held)) == 4_366
    assert held == read_xes(REAL / "bpic2012.xes.gz")
    assert platform.registry.frame(STEP_ACTION).filter(pl.col("workflow_id") == "WF-LOG-bpic2012").height == 24
    assert set(steps(platform)["lifecycle"].unique()) == {"SCHEDULE", "START", "COMPLETE"}
    assert_closed(platform)


@needs_real_logs
def test_the_purchases_are_all_there(platform: Platform) -> None:
    """Pairs of start and complete are two events each."""
    done = load(platform, REAL / "procure_to_pay.xes.gz")
    assert (done.records, done.cases) == (Accounting(accepted=18_238), 608)
    assert traces(platform) == read_xes(REAL / "procure_to_pay.xes.gz")


# Order, times and identity


def test_events_keep_the_order_of_the_log_with_its_ties_and_backward_steps(platform: Platform, tmp_path: Path) -> None:
    """The order is what happened; a sort by time would invent another process."""
    log = table(
        tmp_path / "order.csv",
        "1,b,2025-03-01T10:00:00Z",
        "2,x,2025-03-01T10:00:00Z",
        "1,a,2025-03-01T10:00:00Z",
        "1,b,2025-03-01T10:00:00Z",
        "2,w,2025-03-01T09:00:00Z",
        "1,a,2025-03-01T09:59:59.999Z",
        "1,c,2025-03-01T10:00:01.500Z",
    )
    load(platform, log)
    assert {case: [activity for activity, _ in trace] for case, trace in traces(platform).items()} == {
        "1": ["b", "a", "b", "a", "c"],
        "2": ["x", "w"],
    }
    one = steps(platform).filter(pl.col("episode_id") == name_uuid("WF-LOG-order", "1"))
    assert one["latency_ms"].to_list() == [None, 0, 0, None, 1_501]
    assert one["step_id"].to_list() == [f"WF-LOG-order/{n}" for n in (1, 3, 1, 3, 5)]
    assert_closed(platform)


def test_an_episode_tells_its_case(platform: Platform, tmp_path: Path) -> None:
    """Every figure on history is computed from these columns."""
    log = table(tmp_path / "one.csv", "NA,a,2025-02-28T23:59:59.999Z", "NA,b,2025-03-01T00:00:01Z")
    load(platform, log)
    (episode,) = episodes(platform).iter_rows(named=True)
    assert json.loads(episode.pop("metrics")) == {"latency_ms": 1_001, "error_rate": 0.0}
    assert len(episode.pop("context_hash")) == 64
    assert episode.pop("batch_id") == platform.registry.frame(BATCH)["batch_id"][0]
    start = datetime(2025, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC)
    assert {name: value for name, value in episode.items() if value is not None} == {
        "episode_id": name_uuid("WF-LOG-one", "NA"),
        "workflow_id": "WF-LOG-one",
        "workflow_version": "0.1.0",
        "origin": "import",
        "case_id": "NA",
        "started_at": start,
        "ended_at": datetime(2025, 3, 1, 0, 0, 1, tzinfo=UTC),
        "outcome": "success",
        "steps": 2,
        "latency_ms": 1_001,
        "time_source": "log",
        "created_at": NOW,
        "created_by": "import",
        "month": date(2025, 2, 1),
    }
    runs = steps(platform)
    assert runs["month"].to_list() == [date(2025, 2, 1), date(2025, 3, 1)]
    assert runs["episode_month"].to_list() == [date(2025, 2, 1)] * 2
    assert runs["step_run_id"].to_list() == [name_uuid(name_uuid("WF-LOG-one", "NA"), str(n)) for n in (0, 1)]
    assert [json.loads(said) for said in runs["input"]] == [
        {"activity": "a", "time": "2025-02-28T23:59:59.999Z"},
        {"activity": "b", "time": "2025-03-01T00:00:01Z"},
    ]


@pytest.mark.parametrize("case_id", ["NA", "null", "None", "nan", "007", "7", "1e5", "é🙂", " x ", "a\tb", "x" * 3_000])
def test_a_case_is_named_by_its_text(platform: Platform, tmp_path: Path, case_id: str) -> None:
    """`NA` is a case of a real log; libraries that guess types drop it, and make 007 and 7 one."""
    log = table(tmp_path / "names.csv", f"{case_id},a,2025-03-01T10:00:00Z", "other,a,2025-03-01T10:00:00Z")
    assert load(platform, log).cases == 2
    assert set(episodes(platform)["case_id"]) == {case_id, "other"}
    assert load(platform, log).records == Accounting(duplicates=2)


def test_a_log_without_times_is_ordered_and_says_so(platform: Platform, tmp_path: Path) -> None:
    """A made-up duration must never enter a figure."""
    log = table(tmp_path / "ordinal.csv", "1,a", "2,a", "1,b", "1,a", header="case,activity")
    assert load(platform, log).records == Accounting(accepted=4)
    assert {case: [activity for activity, _ in trace] for case, trace in traces(platform).items()} == {
        "1": ["a", "b", "a"],
        "2": ["a"],
    }
    for frame in (episodes(platform), steps(platform)):
        assert set(frame["time_source"]) == {"ordinal"}
        assert frame["latency_ms"].null_count() == frame["ended_at"].null_count() == frame.height
        assert set(frame["month"]) == {date(1970, 1, 1)}
    assert load(platform, log).records == Accounting(duplicates=4)
    assert_closed(platform)


def test_an_event_without_a_time_stands_with_the_one_before_it(platform: Platform, tmp_path: Path) -> None:
    """Between two known times there is no better guess, and the latency around it is not known."""
    log = table(
        tmp_path / "gaps.csv",
        "1,a,",
        "1,b,2025-03-01T10:00:00Z",
        "1,c,",
        "1,d,2025-03-01T10:00:05Z",
        "2,a,",
        "2,b,",
    )
    load(platform, log)
    ten = datetime(2025, 3, 1, 10, tzinfo=UTC)
    assert traces(platform)["1"] == [("a", ten), ("b", ten), ("c", ten), ("d", ten + timedelta(seconds=5))]
    assert dict(episodes(platform).select("case_id", "time_source").iter_rows()) == {"1": "log", "2": "ordinal"}
    one = steps(platform).filter(pl.col("time_source") == "log")
    assert one["latency_ms"].to_list() == [None] * 4


@pytest.mark.parametrize(
    ("time", "month"),
    [
        ("1948-05-09T13:00:00Z", date(1948, 5, 1)),
        ("1900-01-01T00:00:00+02:00", date(1899, 12, 1)),
        ("0001-01-01T00:00:00Z", date(1, 1, 1)),
        ("9999-11-30T23:59:59.999999Z", date(9999, 11, 1)),
    ],
)
def test_history_of_any_age_is_kept(platform: Platform, tmp_path: Path, time: str, month: date) -> None:
    """Dagster's partitions begin in 2000; a log of 1948 has none, and is kept all the same."""
    log = table(tmp_path / "old.csv", f"1,a,{time}", "2,a,2025-03-01T10:00:00Z")
    done = load(platform, log)
    assert done.records == Accounting(accepted=2)
    assert done.rows[STEP_RUN.name] == done.rows[RUN_EPISODE.name] == {month: 1, date(2025, 3, 1): 1}
    assert platform.lake.stats(RUN_EPISODE)[month].rows == 1
    assert load(platform, log).records == Accounting(duplicates=2)
    assert_closed(platform)


def test_a_time_that_stands_for_never_is_refused(platform: Platform, tmp_path: Path) -> None:
    """Systems write the last day of 9999 for none; as a time it opens a month that has no end."""
    log = table(tmp_path / "never.csv", "1,a,2025-03-01T10:00:00Z", "1,b,9999-12-31T23:59:59Z")
    assert load(platform, log).rules == {"bad_time": 1}
    assert [activity for activity, _ in traces(platform)["1"]] == ["a"]
    assert_closed(platform)


def test_a_time_without_offset_is_of_the_zone_that_is_named(platform: Platform, tmp_path: Path) -> None:
    """An office in Amsterdam writes its own time."""
    log = table(tmp_path / "local.csv", "1,a,2025-04-01T00:30:00")
    load(platform, log, time_zone="Europe/Amsterdam")
    assert episodes(platform).select("started_at", "month").rows() == [
        (datetime(2025, 3, 31, 22, 30, tzinfo=UTC), date(2025, 3, 1))
    ]


def test_columns_are_taken_from_a_mapping(platform: Platform, tmp_path: Path) -> None:
    """The headings of other systems are not known."""
    log = table(tmp_path / "mapped.csv", "A;1;01.03.2025", header="Vorgang;Akte;Tag")
    mapping = ColumnMapping("Akte", "Vorgang", occurred_at="Tag", time_format="%d.%m.%Y")
    assert load(platform, log, mapping=mapping).records == Accounting(accepted=1)
    assert traces(platform) == {"1": [("A", datetime(2025, 3, 1, tzinfo=UTC))]}


def test_attributes_of_cases_and_events_are_kept(platform: Platform, tmp_path: Path) -> None:
    """What a log says beyond activity and time is what explains a variant."""
    log = tmp_path / "said.xes"
    log.write_text(
        '<log><trace><string key="concept:name" value="NA"/><int key="amount" value="9007199254740993"/>'
        '<event><string key="concept:name" value="a"/><date key="time:timestamp" value="2025-03-01T10:00:00Z"/>'
        '<string key="org:resource" value="R 1"/><string key="lifecycle:transition" value="start"/>'
        '<float key="sum" value="0.1000000000000000055"/></event></trace></log>'
    )
    load(platform, log)
    (episode,) = episodes(platform).iter_rows(named=True)
    assert '"amount":9007199254740993' in episode["case_attributes"]
    (run,) = steps(platform).iter_rows(named=True)
    assert (run["resource"], run["lifecycle"]) == ("R 1", "start")
    assert '"sum":0.1000000000000000055' in run["input"]


# The workflow of a log


@pytest.mark.parametrize(
    ("name", "workflow_id"),
    [
        ("receipt.xes.gz", "WF-LOG-receipt"),
        ("receipt.csv", "WF-LOG-receipt"),
        ("Purchases 2024 (final).CSV", "WF-LOG-Purchases-2024-final"),
        ("a.b.xes", "WF-LOG-a-b"),
    ],
)
def test_a_log_is_named_by_its_file_without_the_format(name: str, workflow_id: str) -> None:
    """XES and CSV of one log are one workflow."""
    assert log_workflow_id(name) == workflow_id


def test_logs_of_different_names_are_different_workflows() -> None:
    """Two processes mixed into one give motifs that nobody ever lived."""
    names = ["日本.xes", "中国.xes", "日本a.csv", "中国a.csv", "größe.csv", "gr-e.csv", "x" * 90 + "1", "x" * 90 + "2"]
    named = [log_workflow_id(name) for name in names]
    assert len(set(named)) == len(names)
    assert all(name.isascii() and len(name) <= 64 for name in named)


def test_a_log_with_the_longest_name_and_many_activities_is_imported(platform: Platform, tmp_path: Path) -> None:
    """A step is named by its workflow and a number, and that must fit as well."""
    log = table(tmp_path / "many.csv", *(f"1,activity {n},2025-03-01T10:00:00Z" for n in range(1_200)))
    done = load(platform, log, name="n" * 200 + ".csv")
    assert done.records == Accounting(accepted=1_200)
    assert steps(platform)["step_id"].str.len_chars().max() <= 64  # type: ignore[operator]


def test_a_later_import_adds_what_is_new_and_changes_no_step(platform: Platform, tmp_path: Path) -> None:
    """A monthly export holds the months before as well."""
    load(platform, table(tmp_path / "log.csv", "1,a,2025-03-01T10:00:00Z", "1,b,2025-03-01T11:00:00Z"))
    before = episodes(platform), steps(platform)
    later = table(
        tmp_path / "log.csv",
        "2,c,2025-04-01T10:00:00Z",
        "1,a,2025-03-01T10:00:00Z",
        "1,b,2025-03-01T11:00:00Z",
        "2,a,2025-04-01T11:00:00Z",
    )
    done = load(platform, later)
    assert (done.records, done.cases, done.new_cases) == (Accounting(accepted=2, duplicates=2), 2, 1)
    kept = episodes(platform).filter(pl.col("case_id") == "1")
    assert kept.equals(before[0])
    assert steps(platform).join(kept.select("episode_id"), on="episode_id", how="semi").equals(before[1])
    new = steps(platform).join(kept.select("episode_id"), on="episode_id", how="anti")
    assert new.select("step_id", "workflow_version").rows() == [
        ("WF-LOG-log/3", "0.2.0"),
        ("WF-LOG-log/1", "0.2.0"),
    ]
    assert platform.registry.frame(WORKFLOW).filter(workflow_id="WF-LOG-log")["status"].to_list() == ["draft"]
    assert_closed(platform)


# Refusals, repetition, interruption


def test_the_same_import_again_and_again_changes_nothing(platform: Platform, tmp_path: Path) -> None:
    """`make run LOG=...` is typed twice; and a demonstration's clock stands still."""
    log = table(tmp_path / "log.csv", "1,a,2025-03-01T10:00:00Z", ",b,2025-03-01T10:00:00Z", "1,b,tomorrow")
    assert load(platform, log).records == Accounting(accepted=1, rejected=2)
    before = versions(platform), episodes(platform), steps(platform), letters(platform)
    for _ in range(3):
        done = load(platform, log)
        assert (done.records, done.rules) == (Accounting(duplicates=3), Counter())
    assert versions(platform) == before[0]
    assert platform.registry.frame(BATCH).height == 4
    assert_closed(platform)


def test_an_event_that_cannot_be_read_is_a_dead_letter_and_the_rest_comes_in(
    platform: Platform, tmp_path: Path
) -> None:
    """One bad row of a million must not cost the others, nor vanish."""
    log = table(
        tmp_path / "log.csv",
        "1,a,2025-03-01T10:00:00Z",
        ",a,2025-03-01T10:00:00Z",
        "1,,2025-03-01T10:00:00Z",
        "1,b,2025-02-30T10:00:00Z",
        "1,b,2025-03-01T11:00:00Z,more",
        "1,c,2025-03-01T12:00:00Z",
    )
    done = load(platform, log)
    assert done.records == Accounting(accepted=2, rejected=4)
    assert traces(platform)["1"][1][0] == "c"
    assert letters(platform).select("file_name", "file_offset", "rule", "path").rows() == [
        ("log.csv", 2, "no_case_id", 'row 2, column "case"'),
        ("log.csv", 3, "no_activity", 'row 3, column "activity"'),
        ("log.csv", 4, "bad_time", 'row 4, column "time"'),
        ("log.csv", 5, "bad_row", "row 5"),
    ]
    assert set(letters(platform)["received_at"]) == {NOW}
    assert_closed(platform)


def test_a_log_that_is_cut_says_so_and_keeps_what_came_before(platform: Platform, tmp_path: Path) -> None:
    """Half a case looks like a case that ended early."""
    packed = gzip.compress(("case,activity,time\n" + "1,a,2025-03-01T10:00:00Z\n" * 5_000).encode())
    log = tmp_path / "cut.csv.gz"
    log.write_bytes(packed[:-100])
    done = load(platform, log)
    assert done.rules == {"truncated": 1}
    assert 0 < done.records.accepted < 5_000
    assert_closed(platform)


SECRET = "jane.doe@example.com"


def test_a_case_that_says_something_else_now_is_refused_and_nothing_else_changes(
    platform: Platform, tmp_path: Path
) -> None:
    """What is recorded is not changed: an auditor could not tell what was known when."""
    load(platform, table(tmp_path / "log.csv", f"{SECRET},a,2025-03-01T10:00:00Z", "2,a,2025-03-01T10:00:00Z"))
    held = episodes(platform), steps(platform)
    log = table(
        tmp_path / "log.csv",
        "2,a,2025-03-01T10:00:00Z",
        f"{SECRET},a,2025-03-01T10:00:00Z",
        "3,a,2025-03-01T10:00:00Z",
        f"{SECRET},b,2025-03-01T11:00:00Z",
    )
    done = load(platform, log)
    assert done.records == Accounting(accepted=1, rejected=2, duplicates=1)
    assert done.rules == {"id_conflict": 2}
    known = pl.col("case_id") != "3"
    assert episodes(platform).filter(known).equals(held[0])
    assert steps(platform).join(held[0].select("episode_id"), on="episode_id", how="semi").equals(held[1])
    assert letters(platform).select("rule", "file_offset").rows() == [("id_conflict", 1), ("id_conflict", 3)]
    assert "jane" not in str(letters(platform).rows())
    before = versions(platform)
    assert load(platform, log).records == Accounting(duplicates=4)
    assert versions(platform) == before
    assert_closed(platform)


def test_the_same_log_under_another_name_is_another_process(platform: Platform, tmp_path: Path) -> None:
    """Case 1 of two departments are two cases."""
    log = table(tmp_path / "log.csv", "1,a,2025-03-01T10:00:00Z")
    assert load(platform, log).records == load(platform, log, name="other").records == Accounting(accepted=1)
    assert sorted(episodes(platform)["workflow_id"]) == ["WF-LOG-log", "WF-LOG-other"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.xes", b""),
        ("no.xes.gz", b"<log/>"),
        ("no.xml", b"<html></html>"),
        ("no.csv", b"a,b\n1,2\n"),
        ("missing.csv", None),
        ("nothing.xes", b"<log></log>"),
    ],
)
def test_a_file_that_is_no_log_leaves_nothing_behind(
    platform: Platform, tmp_path: Path, name: str, content: bytes | None
) -> None:
    """An open batch of a file that can never be read would be done again for ever."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableLog):
        load(platform, tmp_path / name)
    assert platform.registry.frame(BATCH).is_empty()
    assert episodes(platform).is_empty()


def test_a_log_of_cases_without_events_is_no_fault(platform: Platform, tmp_path: Path) -> None:
    """Nothing was read, and the accounting says so."""
    log = tmp_path / "cases.xes"
    log.write_text('<log><trace><string key="concept:name" value="1"/></trace></log>')
    assert load(platform, log).records == Accounting()
    assert_closed(platform)


def test_an_activity_with_a_null_character_stops_nothing(platform: Platform, tmp_path: Path) -> None:
    """It cannot be the name of a step in every database; the other events come in."""
    log = table(tmp_path / "log.csv", "1,a\x00b,2025-03-01T10:00:00Z", "1,c,2025-03-01T11:00:00Z")
    done = load(platform, log)
    assert done.records.read == 2
    assert [activity for activity, _ in traces(platform)["1"]] == ["a\ufffdb", "c"]
    assert json.loads(steps(platform)["input"][0])["activity"] == "a\x00b"
    assert_closed(platform)


def test_a_log_of_any_file_name_and_activity_is_imported(platform: Platform, tmp_path: Path) -> None:
    """A name that is not UTF-8 cannot be recorded as it is, and the import would fail after it was read."""
    activities = ["x" * 5_000, "é🙂", '"quoted"', "a'b;--", "${x}", "{{ y }}", "END"]
    log = tmp_path / os.fsdecode(b"caf\xe9.csv")
    rows = ("1," + '"' + activity.replace('"', '""') + '",2025-03-01T10:00:00Z' for activity in activities)
    assert load(platform, table(log, *rows, ",a,")).records == Accounting(accepted=7, rejected=1)
    assert [activity for activity, _ in traces(platform)["1"]] == activities
    assert (
        letters(platform)["file_name"].to_list() == platform.registry.frame(BATCH)["source"].to_list() == ["caf?.csv"]
    )


class Interrupted(Exception):
    """Stands for a process that ends."""


class FragileLake(Lake):
    """A lake whose process ends before or after the `nth` append."""

    def __init__(self, root: Path, nth: int, *, is_after: bool) -> None:
        super().__init__(root)
        self.left = nth
        self.is_after = is_after

    def append(self, spec: Any, frame: pl.DataFrame, *, batch_id: str) -> Appended:
        self.left -= 1
        if self.left == 0 and not self.is_after:
            raise Interrupted
        appended = super().append(spec, frame, batch_id=batch_id)
        if self.left == 0:
            raise Interrupted
        return appended


def long_log(path: Path) -> Path:
    """Write a log of 40 cases in three parts, with two rows that are refused."""
    rows = [
        f"{case},{activity},2025-0{1 + case % 4}-0{1 + number}T10:00:00Z"
        for case in range(40)
        for number, activity in enumerate("abcde")
    ]
    return table(path, *rows[:50], ",a,2025-01-01T00:00:00Z", *rows[50:], "1,,2025-01-01T00:00:00Z")


@pytest.mark.parametrize(("nth", "is_after"), [(1, False), (1, True), (2, True), (3, True), (6, True), (7, True)])
def test_an_interrupted_import_done_again_is_as_if_nothing_had_happened(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int, is_after: bool
) -> None:
    """Steps without their episode, or a case counted twice, would stay for ever."""
    monkeypatch.setattr("ingest.history.COMMIT_EVENTS", 80)
    log = long_log(tmp_path / "log.csv")
    undisturbed = open_platform(tmp_path / "undisturbed")
    done = load(undisturbed, log)
    assert done.records == Accounting(accepted=200, rejected=2)
    with pytest.raises(Interrupted):
        load(platform, log, lake=FragileLake(platform.home.lake, nth, is_after=is_after))
    assert load(platform, log) == done
    for read in (episodes, steps, letters):
        assert read(platform).equals(read(undisturbed))
    assert platform.registry.frame(BATCH).equals(undisturbed.registry.frame(BATCH))
    assert_closed(platform)
    undisturbed.close()


def test_an_interrupted_import_done_again_in_another_zone_keeps_no_step_of_before(
    platform: Platform, tmp_path: Path
) -> None:
    """Whoever stops an import because the zone was wrong must not keep half of its steps under the wrong time."""
    log = table(tmp_path / "log.csv", *(f"{case},{act},2025-03-01T00:30:00" for case in range(5) for act in "ab"))
    undisturbed = open_platform(tmp_path / "undisturbed")
    load(undisturbed, log, time_zone="Europe/Amsterdam")
    with pytest.raises(Interrupted):
        load(platform, log, lake=FragileLake(platform.home.lake, 1, is_after=True))
    assert load(platform, log, time_zone="Europe/Amsterdam").records == Accounting(accepted=10)
    for read in (episodes, steps):
        assert read(platform).equals(read(undisturbed))
    assert_closed(platform)
    undisturbed.close()


def test_episodes_recorded_by_an_interrupted_import_are_not_changed_by_another_zone(
    platform: Platform, tmp_path: Path
) -> None:
    """What is recorded holds; counting the new times as accepted would say of the lake what it does not hold."""
    log = table(tmp_path / "log.csv", *(f"{case},{act},2025-03-01T00:30:00" for case in range(5) for act in "ab"))
    with pytest.raises(Interrupted):
        load(platform, log, lake=FragileLake(platform.home.lake, 2, is_after=True))
    held = episodes(platform), steps(platform)
    assert load(platform, log, time_zone="Europe/Amsterdam").rules == {"id_conflict": 10}
    assert episodes(platform).equals(held[0])
    assert steps(platform).equals(held[1])


def import_in_process(gate: Any, root: Path, path: Path) -> None:
    """Import a log into the home at `root`, together with others."""
    platform = Platform(Home(root))
    gate.wait(60)
    load(platform, path)
    platform.close()


def test_two_imports_at_once_record_every_case_once(platform: Platform, tmp_path: Path) -> None:
    """The UI and the command line import the two formats of a log at the same time; both would count its cases."""
    rows = [f"{case},{activity},2025-03-01T10:00:00Z" for case in range(300) for activity in "abcde"]
    first = table(tmp_path / "log.csv", *rows)
    second = tmp_path / "log.csv.gz"
    second.write_bytes(gzip.compress(first.read_bytes()))
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(2)
    processes = [
        context.Process(target=import_in_process, args=(gate, platform.home.root, path)) for path in (first, second)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    counted = platform.registry.frame(BATCH).select("records_accepted", "records_duplicate").rows()
    assert sorted(counted) == [(0, 1_500), (1_500, 0)]
    assert_closed(platform)
