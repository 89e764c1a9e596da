"""The suite on `event_bus`: each promise is judged, on the months that changed, and reported by keys alone."""

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

import dagster_project.checks
from dagster_project.checks import ROWS_TOGETHER, event_bus_suite, promises, replay_is_exact
from dagster_project.definitions import build_definitions
from dagster_project.platform import Platform
from lake.home import Home
from lake.spec import MONTH
from lake.store import Lake
from lake.tables import EVENT_BUS, RUN_EPISODE
from registry.loader import PACK, load_pack
from tests.builders import event

NINE = datetime(2025, 3, 3, 9, tzinfo=UTC)
SECRET = "DE89370400440532013000"
"""A value of the rows that are judged; it must be in no result."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home whose events keep every promise, in three months."""
    made = Home(tmp_path / "home").prepare()
    platform = Platform(made)
    load_pack(platform.registry, PACK, actor="test", now=NINE)
    platform.close()
    arrive(made, *(good(f"EV-{n}", NINE + timedelta(days=20 * n)) for n in range(5)))
    return made


def good(event_id: str, at: datetime = NINE) -> dict[str, Any]:
    return event(event_id, "ap.invoice.received", {"iban": SECRET}, at)


def arrive(home: Home, *events: dict[str, Any]) -> None:
    Lake(home.lake).append(EVENT_BUS, pl.DataFrame(list(events)), batch_id="B-1")


def corrupt(home: Home, *rows: dict[str, Any]) -> None:
    """Append rows around the door and around the table's own constraints, as a foreign writer could."""
    lake = Lake(home.lake)
    held = lake.scan(EVENT_BUS).collect()
    added = pl.DataFrame([{MONTH: row["produced_at"].date().replace(day=1)} | row for row in rows])
    together = pl.concat([held, added.select(held.columns).cast(dict(held.schema))])  # type: ignore[arg-type]
    shutil.rmtree(lake.path(EVENT_BUS))
    write_deltalake(str(lake.path(EVENT_BUS)), together, partition_by=[MONTH])


def judge(home: Home, *names: str) -> dict[str, dg.AssetCheckEvaluation]:
    """Run the suite, or the checks of these names, and return what each found."""
    wanted = [dg.AssetCheckKey(dg.AssetKey("event_bus"), name) for name in names]
    selection = dg.AssetSelection.checks(*wanted) if wanted else dg.AssetSelection.checks_for_assets("event_bus")
    definitions = dg.Definitions.merge(
        build_definitions(), dg.Definitions(jobs=[dg.define_asset_job("checks", selection)])
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("checks").execute_in_process(
            instance=instance,
            run_config={
                "resources": {"platform": {"config": {"home": str(home.root)}}},
                "loggers": {"progress": {}},
            },
            raise_on_error=False,
        )
        assert not any(SECRET in str(entry) for entry in instance.all_logs(result.run_id))
        return {found.check_name: found for found in result.get_asset_check_evaluations()}


def told(found: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in found.metadata.items()}


def months_judged(home: Home) -> list[str]:
    (months,) = {json.dumps(told(found)["months_judged"]) for found in judge(home).values()}
    return json.loads(months)


def test_events_that_came_through_the_door_keep_every_promise(home: Home) -> None:
    """The loop would stop on good data, and the checks be switched off."""
    found = judge(home)
    assert found.keys() == promises([]).keys()
    for evaluation in found.values():
        assert evaluation.passed
        assert told(evaluation) == {
            "rows_judged": 5,
            "months_judged": ["2025-03", "2025-04", "2025-05"],
            "rows_failing": 0,
            "keys_failing": [],
        }


def test_each_promise_is_broken_by_its_own_row_and_reported_by_key(home: Home) -> None:
    """A promise that nothing can break is none, and Dagster's database would hold what an invoice says."""
    corrupt(
        home,
        good("id") | {"event_id": None},
        good("twice"),
        good("twice") | {"file_offset": 7},
        good("topic") | {"topic": f"unknown-{SECRET}"},
        good("payload") | {"payload": json.dumps([SECRET])},
        good("month") | {MONTH: date(2025, 4, 1)},
        good("hash") | {"content_hash": SECRET},
        good("time") | {"created_at": NINE - timedelta(days=2)},
        good("old", datetime(1999, 12, 31, 23, 59, tzinfo=UTC)),
    )

    found = judge(home)

    broken = {name: told(evaluation)["keys_failing"] for name, evaluation in found.items()}
    assert broken == {
        "event_id_is_given": ["(none)"],
        "event_id_is_unique": ["twice", "twice"],
        "topic_is_registered": ["topic"],
        "payload_is_an_object": ["payload"],
        "month_is_of_its_time": ["month"],
        "content_hash_is_sha256": ["hash"],
        "time_is_sane": ["time"],
        "month_is_kept": ["old"],
    }
    assert not any(evaluation.passed for evaluation in found.values())
    assert told(found["event_id_is_unique"])["rows_failing"] == 2
    assert SECRET not in str(found)


def test_every_promise_stops_what_comes_after_it() -> None:
    """A broken table would be executed, reflected on and shown, with a red dot beside it."""
    assert all(spec.blocking and spec.description for spec in event_bus_suite.check_specs)
    assert {spec.name for spec in event_bus_suite.check_specs} == promises([]).keys()


def test_a_broken_table_reports_some_keys_and_counts_all(home: Home) -> None:
    """A million keys would go into the run's log."""
    corrupt(home, *(good(f"bad-{n}") | {"content_hash": "x"} for n in range(9)))
    found = told(judge(home)["content_hash_is_sha256"])
    assert (found["rows_failing"], len(found["keys_failing"])) == (9, 5)


def test_months_that_did_not_change_are_not_judged_again(home: Home) -> None:
    """Every run would read the whole history, or a late event would never be judged."""
    assert months_judged(home) == ["2025-03", "2025-04", "2025-05"]
    assert months_judged(home) == []
    arrive(home, good("late", datetime(2025, 4, 2, tzinfo=UTC)))
    assert months_judged(home) == ["2025-04"]
    assert months_judged(home) == []


def test_a_month_that_failed_is_judged_until_it_is_mended(home: Home) -> None:
    """A rerun would pass over the broken month and let everything through."""
    judge(home)
    corrupt(home, good("bad") | {"content_hash": "x"})
    assert not judge(home)["content_hash_is_sha256"].passed
    again = judge(home)["content_hash_is_sha256"]
    assert (again.passed, told(again)["keys_failing"]) == (False, ["bad"])


def test_a_check_run_alone_does_not_vouch_for_the_others(home: Home) -> None:
    """Who reruns one check in the UI would switch the others off for these months."""
    corrupt(home, good("bad") | {"content_hash": "x"})
    alone = judge(home, "time_is_sane")
    assert [(name, found.passed) for name, found in alone.items()] == [("time_is_sane", True)]
    assert not judge(home)["content_hash_is_sha256"].passed


def test_a_promise_that_cannot_be_judged_is_not_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that is gone would count as a promise kept."""
    frame = dagster_project.checks._frame
    monkeypatch.setattr(
        dagster_project.checks, "_frame", lambda platform, months: frame(platform, months).drop("content_hash")
    )
    found = judge(home)
    assert not found["content_hash_is_sha256"].passed
    assert told(found["content_hash_is_sha256"])["keys_failing"] == ["(not evaluated)"]
    assert months_of_the_next(home, monkeypatch) == ["2025-03", "2025-04", "2025-05"]


def months_of_the_next(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.undo()
    return months_judged(home)


def test_an_empty_table_keeps_every_promise(tmp_path: Path) -> None:
    """A new installation's first loop would stop before anything arrived."""
    made = Home(tmp_path / "empty").prepare()
    load_pack(Platform(made).registry, PACK, actor="test", now=NINE)
    found = judge(made)
    assert all(evaluation.passed for evaluation in found.values())
    assert found.keys() == promises([]).keys()


@pytest.mark.parametrize(
    ("rows", "groups"),
    [
        ([1, 1, 1], [[0, 1, 2]]),
        ([ROWS_TOGETHER, 1], [[0], [1]]),
        ([1, ROWS_TOGETHER - 1, 1], [[0, 1], [2]]),
        ([ROWS_TOGETHER * 3, 1], [[0], [1]]),
        ([], []),
    ],
)
def test_months_are_judged_together_up_to_a_bound(rows: Sequence[int], groups: list[list[int]]) -> None:
    """A validation per month costs seconds, and one over everything all the memory."""
    months = [date(2025, 1 + n, 1) for n in range(len(rows))]
    found = dagster_project.checks._bounded(months, dict(zip(months, rows, strict=True)))
    assert [[months.index(month) for month in group] for group in found] == groups


def test_small_groups_find_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found would depend on how much arrived at once."""
    corrupt(home, good("bad") | {"content_hash": "x"}, good("worse", NINE + timedelta(days=40)) | {"topic": "other"})
    together = {name: told(found) for name, found in judge(home).items()}
    monkeypatch.setattr(dagster_project.checks, "ROWS_TOGETHER", 1)
    assert {name: told(found) for name, found in judge(home).items()} == together


def test_a_changed_record_fails_the_replay_until_it_is_mended(copied_world: Home) -> None:
    """The check would pass whatever the records say, or forget what it found once it has told it."""
    platform = Platform(copied_world)

    def replayed() -> dg.AssetCheckResult:
        result = replay_is_exact(platform=platform)
        assert isinstance(result, dg.AssetCheckResult)
        return result

    def rewrite(other: str) -> None:
        table = DeltaTable(str(platform.lake.path(RUN_EPISODE)))
        table.update(predicate=f"episode_id = '{victim}'", updates={"outcome": f"'{other}'"})

    assert replayed().passed
    episodes = platform.lake.scan(RUN_EPISODE).filter(outcome="success", origin="live").collect()
    victim = episodes["episode_id"][0]
    rewrite("failed")
    for _ in range(2):
        found = replayed()
        assert not found.passed
        assert found.metadata["episodes_divergent"].value == 1
        assert found.metadata["keys_divergent"].value == [victim]
        assert len(found.metadata["months_judged"].value) == 1
    rewrite("success")
    assert replayed().passed
    assert replayed().metadata["episodes_replayed"].value == 0
    platform.close()
