"""What goes leaves one receipt, whatever is interrupted where; a hold that comes in time wins."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable

from guard.canonical import parse
from lake.erasure import DataFile
from lake.retention import ERASED, Candidate, Decision
from lake.spec import Kind, TableSpec
from lake.store import Lake
from lake.tables import (
    EFFECT,
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    HOT_WINDOW,
    LEGAL_HOLD,
    OPEN_PURGE,
    OUTBOX,
    POLICY,
    PURGE_RECEIPT,
    RETAINED_DATA,
    RUN_EPISODE,
    STEP_RUN,
)
from registry import purging
from registry.access import Denied, Principal
from registry.database import TABLES, Registry, insert
from registry.hot_window import refresh
from registry.purging import Outcome, StalePlan, lake_stores, plan_now, purge, purged_months, retained_frame
from registry.retention import HoldRefused, list_holds, release_hold, set_hold

NOW = datetime(2025, 12, 31, 9, tzinfo=UTC)
OLD, NEW = datetime(2024, 3, 5, tzinfo=UTC), datetime(2025, 12, 5, tzinfo=UTC)
MARCH = date(2024, 3, 1)
MARK = "jane.doe@example.com"
LAWYER = Principal("u-law", "person", "LGL-M-001")
SECURITY = Principal("u-sec", "person", "SEC-M-001")
CLERK = Principal("u-9", "person", "FA-M-001")


def row(spec: TableSpec, **given: Any) -> dict[str, Any]:
    filler = {Kind.TEXT: "x", Kind.JSON: "{}", Kind.INT: 1, Kind.BIGINT: 1, Kind.DOUBLE: 0.5, Kind.RATIO: 0.5}
    made = {c.name: c.enum[0] if c.enum else filler.get(c.kind) for c in spec.columns if not c.nullable}
    return made | {"batch_id": "B-1"} | given


def put(lake: Lake, spec: TableSpec, *rows: dict[str, Any]) -> None:
    schema = {name: kind for name, kind in spec.polars_schema().items() if name in rows[0]}
    lake.append(spec, pl.DataFrame(list(rows), schema=schema), batch_id="B-1")


def step(name: str, at: datetime, **given: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"step_run_id": name, "episode_id": f"E-{name}", "started_at": at, "created_at": at}
    texts = {"input": f'{{"a":"{MARK}"}}', "telemetry": f'{{"b":"{MARK}"}}', "output": f'{{"c":"{MARK}"}}'}
    month = {"episode_month": at.date().replace(day=1), "agent_id": "AG-EXTERNAL", "step_id": "F-01"}
    known["workflow_id"] = "WF-FIN-001"
    return row(STEP_RUN, **(known | texts | month | {"error": None, "resource": None, "time_source": "event"} | given))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Events, dead letters and steps of a month that is past and of one that is not, two files each."""
    made = Lake(tmp_path / "lake")
    made.ensure([EVENT_BUS, EVENT_DEAD_LETTER, RUN_EPISODE, STEP_RUN, PURGE_RECEIPT, RETAINED_DATA])
    for number in range(2):
        for name, at in (("old", OLD), ("new", NEW)):
            key = f"{name}-{number}"
            payload = f'{{"mail":"{MARK}"}}'
            put(made, EVENT_BUS, row(EVENT_BUS, event_id=key, produced_at=at, created_at=at, payload=payload))
            letter = {"dead_letter_id": key, "received_at": at, "created_at": at, "file_name": "a.ndjson"}
            put(made, EVENT_DEAD_LETTER, row(EVENT_DEAD_LETTER, **letter))
            put(made, STEP_RUN, step(key, at))
            episode = {"episode_id": f"E-{key}", "started_at": at, "created_at": at, "workflow_id": "WF-FIN-001"}
            put(made, RUN_EPISODE, row(RUN_EPISODE, **episode))
    return made


def plan(lake: Lake, registry: Registry) -> list[Candidate]:
    return plan_now(lake, registry, today=NOW.date())


def apply(
    lake: Lake, registry: Registry, candidates: list[Candidate], table: str, *, is_dry: bool = False, **options: Any
) -> list[Outcome]:
    known: dict[str, Any] = {"stores": lake_stores(lake, registry), "actor": "u-sec", "now": NOW} | options
    return purge(candidates, table_name=table, lake=lake, registry=registry, is_dry=is_dry, **known)


def receipts(lake: Lake) -> list[dict[str, Any]]:
    return lake.scan(PURGE_RECEIPT).collect().to_dicts()


def told(registry: Registry, topic: str) -> list[dict[str, Any]]:
    rows = registry.frame(OUTBOX).filter(pl.col("topic") == topic)
    return [parse(payload) for payload in rows["payload"]]


def texts(lake: Lake, spec: TableSpec) -> bytes:
    """Return all bytes below a table's folder, pages of Parquet unpacked."""
    found = b""
    for path in sorted(lake.path(spec).rglob("*")):
        if path.is_file():
            found += path.read_bytes()
            if path.suffix == ".parquet":
                found += str(pl.read_parquet(path, glob=False, hive_partitioning=False).to_dicts()).encode()
    return found


def test_a_dry_purge_says_what_would_go_and_changes_nothing_else(loaded: Registry, lake: Lake) -> None:
    """A look would be a deed."""
    before = {spec.name: lake.version(spec) for spec in (EVENT_BUS, EVENT_DEAD_LETTER, STEP_RUN)}
    for _ in range(2):
        (done,) = apply(lake, loaded, plan(lake, loaded), "event_bus", is_dry=True)
        assert done.became == "would go"
    assert {spec.name: lake.version(spec) for spec in (EVENT_BUS, EVENT_DEAD_LETTER, STEP_RUN)} == before
    (receipt,) = receipts(lake)
    assert (receipt["is_dry"], receipt["rows"], receipt["about_month"]) == (True, 2, MARCH)
    assert told(loaded, "retention.purged") == []


def test_what_is_past_goes_from_rows_files_and_log_and_leaves_a_receipt(loaded: Registry, lake: Lake) -> None:
    """An erased row would live on in an old file, or nobody could say what went."""
    files = lake.files(EVENT_BUS).filter(pl.col("month") == MARCH)
    assert files.height == 2
    assert texts(lake, EVENT_BUS).count(MARK.encode()) >= 4

    (done,) = apply(lake, loaded, plan(lake, loaded), "event_bus")

    assert (done.became, done.bytes) == ("purged", files["size_bytes"].sum())
    assert sorted(lake.scan(EVENT_BUS).collect()["event_id"]) == ["new-0", "new-1"]
    assert not list(lake.path(EVENT_BUS).rglob("month=2024-03-01/*.parquet"))
    (receipt,) = receipts(lake)
    assert {**receipt, "files": len(json.loads(receipt["files"]))} == {
        **receipt,
        "table_name": "event_bus",
        "retention": "events",
        "action": "delete",
        "policy_id": "POL-DATA-001",
        "policy_version": "1",
        "limit_days": 400,
        "rows": 2,
        "files": 2,
        "actor": "u-sec",
        "purged_at": NOW,
        "is_dry": False,
    }
    assert {file["path"] for file in json.loads(receipt["files"])} == set(files["path"])
    assert MARK not in str(receipt)
    (event,) = told(loaded, "retention.purged")
    assert (event["object_id"], event["actor"], event["rows"]) == (receipt["receipt_id"], "u-sec", 2)
    history = DeltaTable(str(lake.path(EVENT_BUS))).history()
    (delete,) = [entry for entry in history if entry["operation"] == "DELETE"]
    assert (delete["policy_id"], delete["actor"]) == ("POL-DATA-001", "u-sec")
    assert purged_months(lake, loaded) == {MARCH}


def test_telemetry_is_erased_and_the_figures_stay(loaded: Registry, lake: Lake) -> None:
    """The figures of a workflow would end with what was told of it; or what was told would stay."""
    before = lake.scan(STEP_RUN).collect().sort("step_run_id")
    apply(lake, loaded, plan(lake, loaded), "step_run")
    after = lake.scan(STEP_RUN).collect().sort("step_run_id")
    erased = ["input", "output", "error", "telemetry"]
    assert after.drop(erased).equals(before.drop(erased))
    assert after["input"].to_list() == [f'{{"a":"{MARK}"}}'] * 2 + [ERASED] * 2
    assert after.filter(pl.col("month") == MARCH)["error"].to_list() == [None, None]
    old = lake.files(STEP_RUN).filter(pl.col("month") == MARCH)["path"]
    assert {p.name for p in lake.path(STEP_RUN).rglob("month=2024-03-01/*.parquet")} == {Path(p).name for p in old}
    assert [c for c in plan(lake, loaded) if c.table_name == "step_run"] == []


def test_what_a_log_names_is_erased_by_the_day_and_what_is_redacted_is_not(loaded: Registry, lake: Lake) -> None:
    """People named by an imported log would stay for as long as the figures; or live inputs would go with them."""
    at = datetime(2025, 5, 10, tzinfo=UTC)
    days = {name: NOW - timedelta(days=count) for name, count in (("past", 181), ("edge", 180), ("live", 200))}
    names = {"past": ("log", "Jane"), "edge": ("log", "John"), "live": ("event", None)}
    for name, (source, resource) in names.items():
        put(lake, STEP_RUN, step(name, at, created_at=days[name], time_source=source, resource=resource))
    apply(lake, loaded, plan(lake, loaded), "step_run")
    found = {r["step_run_id"]: r for r in lake.scan(STEP_RUN).filter(pl.col("started_at") == at).collect().to_dicts()}
    assert (found["past"]["resource"], found["past"]["input"]) == (None, ERASED)
    assert (found["edge"]["resource"], MARK in found["edge"]["input"]) == ("John", True)
    assert MARK in found["live"]["input"]
    assert MARK in found["past"]["telemetry"], "telemetry has its own time"


@pytest.mark.parametrize("fails_at", ["remove", "settle", "_append", "_tell"])
def test_a_purge_that_was_interrupted_ends_in_one_receipt(
    loaded: Registry, lake: Lake, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    """A crash between deleting and telling would leave data gone with no word, or told of twice."""
    candidates = plan(lake, loaded)

    def crash(*_: Any, **__: Any) -> None:
        raise OSError("the machine went off")

    with monkeypatch.context() as patched:
        patched.setattr(purging if fails_at.startswith("_") else purging.LakeStore, fails_at, crash)
        with pytest.raises(OSError, match="went off"):
            apply(lake, loaded, candidates, "event_bus")
    assert loaded.frame(OPEN_PURGE).height == 1
    assert purged_months(lake, loaded) == {MARCH}, "until it is ended nothing of the month is taken for new"

    for _ in range(2):
        (done,) = apply(lake, loaded, candidates, "event_bus", now=NOW + timedelta(hours=1))
        assert done.became == "gone before"
    (receipt,) = receipts(lake)
    assert (receipt["purged_at"], receipt["rows"]) == (NOW, 2)
    assert len(told(loaded, "retention.purged")) == 1
    assert loaded.frame(OPEN_PURGE).is_empty()
    assert not list(lake.path(EVENT_BUS).rglob("month=2024-03-01/*.parquet"))


def test_a_hold_that_was_set_after_the_plan_wins(loaded: Registry, lake: Lake) -> None:
    """Evidence would go between the plan and the purge."""
    candidates = plan(lake, loaded)
    set_hold(loaded, lake, LAWYER, table_name="*", first="2024-03", last="2024-03", reason="Case 7", now=NOW)
    for table in ("event_bus", "event_dead_letter", "step_run"):
        assert {outcome.became for outcome in apply(lake, loaded, candidates, table)} == {"held"}
    assert lake.scan(EVENT_BUS).collect().height == 4
    assert receipts(lake) == []


def test_a_hold_calls_off_a_purge_that_deleted_nothing_yet(
    loaded: Registry, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge that was written down and crashed would take what was held before it came to it."""
    candidates = plan(lake, loaded)
    with monkeypatch.context() as patched:
        patched.setattr(purging, "_end", lambda *_, **__: set())
        apply(lake, loaded, candidates, "event_bus")
    assert loaded.frame(OPEN_PURGE).height == 1
    set_hold(loaded, lake, LAWYER, table_name="event_bus", first="2024-03", last="2024-03", reason="Case 7", now=NOW)
    assert loaded.frame(OPEN_PURGE).is_empty()
    assert [outcome.became for outcome in apply(lake, loaded, candidates, "event_bus")] == ["held"]
    assert lake.scan(EVENT_BUS).collect().height == 4


def test_what_has_begun_to_go_is_not_held(loaded: Registry, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A court would be told that data is held that is half gone."""
    with monkeypatch.context() as patched:
        patched.setattr(purging, "_append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            apply(lake, loaded, plan(lake, loaded), "step_run")
    with pytest.raises(HoldRefused, match="has begun to go; rwcm retention apply --apply ends"):
        set_hold(loaded, lake, LAWYER, table_name="step_run", first="2024-03", last="2024-03", reason="C", now=NOW)
    assert loaded.frame(LEGAL_HOLD).is_empty()


@contextmanager
def changed(lake: Lake, registry: Registry, what: str) -> Iterator[None]:
    policy = TABLES[POLICY.name]
    with registry.transaction() as connection:
        if what == "the limit":
            spec = '{"retention_days": {"events": 399, "telemetry": 365, "pii": 180}}'
            connection.execute(sa.update(policy).filter_by(policy_id="POL-DATA-001").values(spec=spec))
        elif what == "a minimum":
            law = {"precedence": "statutory", "scope": "compliance", "spec": '{"min_days": {"events": 3650}}'}
            connection.execute(sa.update(policy).filter_by(policy_id="POL-STATUTE-001").values(**law))
    if what == "a late row":
        put(lake, EVENT_BUS, row(EVENT_BUS, event_id="late", produced_at=OLD, created_at=OLD))
    yield


@pytest.mark.parametrize("what", ["the limit", "a minimum", "a late row"])
def test_a_stale_plan_is_refused_whole(loaded: Registry, lake: Lake, what: str) -> None:
    """What nobody looked at would go under a plan that was about something else."""
    candidates = plan(lake, loaded)
    with changed(lake, loaded, what), pytest.raises(StalePlan, match=r"2024-03 .*run the job serve"):
        apply(lake, loaded, candidates, "event_bus")
    assert lake.scan(EVENT_BUS).filter(pl.col("event_id").str.starts_with("old")).collect().height == 2
    assert receipts(lake) == []
    assert loaded.frame(OPEN_PURGE).is_empty()


def test_the_copy_in_the_hot_window_goes_too(loaded: Registry, lake: Lake) -> None:
    """A point lookup would answer with what was purged, where a policy keeps less than the window."""
    refresh(loaded, lake, now=OLD)
    for spec in HOT_WINDOW[:3]:
        assert loaded.frame(spec).height == 4, spec.name
    for table in ("event_bus", "step_run"):
        apply(lake, loaded, plan(lake, loaded), table)
    assert sorted(loaded.frame(EVENT_BUS)["event_id"]) == ["new-0", "new-1"]
    steps = loaded.frame(STEP_RUN).sort("step_run_id")
    assert steps["telemetry"].to_list() == [f'{{"b":"{MARK}"}}'] * 2 + [ERASED] * 2
    assert steps["error"].null_count() == 4


def test_what_an_effect_returned_goes_with_the_step_that_put_it_out(loaded: Registry, lake: Lake) -> None:
    """The journal would keep what the step's own output no longer says."""
    with loaded.transaction() as connection:
        rows = [
            row(EFFECT, effect_key=key, episode_id=f"E-{key}", state="done", result=f'["{MARK}"]', intended_at=OLD)
            | {"created_at": OLD, "updated_at": OLD}
            for key in ("old-0", "new-0")
        ]
        insert(connection, EFFECT, rows)
    apply(lake, loaded, plan(lake, loaded), "step_run")
    assert dict(loaded.frame(EFFECT)["effect_key", "result"].iter_rows()) == {"old-0": None, "new-0": f'["{MARK}"]'}


def test_measuring_again_says_the_same_and_reads_only_what_changed(
    loaded: Registry, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run of the loop would read all of history, to find that nothing is new."""
    put(lake, STEP_RUN, step("named", OLD, time_source="log", resource="Jane"))
    apply(lake, loaded, plan(lake, loaded), "step_run")
    put(lake, STEP_RUN, step("back", OLD))
    first = retained_frame(lake, loaded)
    lake.mirror(RETAINED_DATA, first)
    opened: list[Any] = []
    scan = Lake.scan
    monkeypatch.setattr(Lake, "scan", lambda self, spec, **given: opened.append(spec) or scan(self, spec, **given))
    assert retained_frame(lake, loaded).equals(first)
    assert set(opened) <= {RETAINED_DATA, PURGE_RECEIPT}
    left = first.filter(table_name="step_run", retention="telemetry", month_on=MARCH)
    assert left["rows"].to_list() == [1], "what came after the erasure is to be erased, and nothing else"


def test_a_purge_of_a_table_measures_no_other(loaded: Registry, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first purge erases years of steps; each table behind it would count what is left of them again."""
    candidates = plan(lake, loaded)
    apply(lake, loaded, candidates, "step_run")
    opened: list[Any] = []
    scan = Lake.scan
    monkeypatch.setattr(Lake, "scan", lambda self, spec, **given: opened.append(spec) or scan(self, spec, **given))
    apply(lake, loaded, candidates, "event_bus")
    assert STEP_RUN not in opened


# Holds


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"first": "2031-01", "last": "2031-01"}, "event_bus holds nothing of 2031-01: it has 2024-03 to 2025-12"),
        ({"first": "2024-13", "last": "2024-13"}, "'2024-13' is no month"),
        ({"first": "2025-12", "last": "2024-03"}, "give the earlier month first"),
        ({"table_name": "role"}, "'role' is no table that is purged; name one of event_bus"),
        ({"reason": " "}, "say in 1 to 1024 characters why"),
    ],
)
def test_a_hold_on_what_is_not_there_is_refused_with_the_way_out_and_recorded(
    loaded: Registry, lake: Lake, given: Mapping[str, str], said: str
) -> None:
    """Whoever holds a month that is gone would believe that the evidence is safe."""
    asked = {"table_name": "event_bus", "first": "2024-03", "last": "2024-03", "reason": "Case 7"} | given
    with pytest.raises(HoldRefused, match=said):
        set_hold(loaded, lake, LAWYER, **asked, now=NOW)
    assert loaded.frame(LEGAL_HOLD).is_empty()
    (event,) = told(loaded, "retention.hold")
    assert (event["action"], event["actor"], said in event["reason"]) == ("refused", "u-law", True)


def test_a_hold_is_set_and_released_with_who_and_why_and_kept_for_ever(loaded: Registry, lake: Lake) -> None:
    """Nobody could say later why a month was kept, or who let it go."""
    asked = {"table_name": "event_bus", "first": "2024-03", "last": "2025-12", "reason": "Case 7"}
    hold_id = set_hold(loaded, lake, LAWYER, **asked, now=NOW)
    assert [c.decision for c in plan(lake, loaded) if c.table_name == "event_bus"] == [Decision.HELD]
    release_hold(loaded, SECURITY, hold_id[:13], reason="settled", now=NOW + timedelta(days=1))
    (held,) = list_holds(loaded)
    assert (held.created_by, held.reason, held.released_by, held.release_reason) == (
        "u-law",
        "Case 7",
        "u-sec",
        "settled",
    )
    assert [c.decision for c in plan(lake, loaded) if c.table_name == "event_bus"] == [Decision.PURGE]
    for name, match in ((hold_id, "was released by u-sec"), ("00000000", "no hold starts"), ("0", "no hold starts")):
        with pytest.raises(HoldRefused, match=match):
            release_hold(loaded, SECURITY, name, reason="again", now=NOW)
    actions = [event["action"] for event in told(loaded, "retention.hold")]
    assert sorted(actions) == ["refused", "refused", "refused", "released", "set"]


def test_only_who_answers_for_the_policy_or_is_named_by_it_holds(loaded: Registry, lake: Lake) -> None:
    """Anybody could keep data from being deleted, or let a hold go."""
    asked = {"table_name": "event_bus", "first": "2024-03", "last": "2024-03", "reason": "Case 7"}
    with pytest.raises(Denied, match="LGL-M-001 or SEC-M-001"):
        set_hold(loaded, lake, CLERK, **asked, now=NOW)
    hold_id = set_hold(loaded, lake, LAWYER, **asked, now=NOW)
    with pytest.raises(Denied):
        release_hold(loaded, CLERK, hold_id, reason="x", now=NOW)
    denied = told(loaded, "access.denied")
    assert [(event["subject_id"], event["action"]) for event in denied] == [("u-9", "hold")] * 2
    assert list_holds(loaded)[0].released_at is None


def test_a_policy_that_states_nonsense_ends_nothing(loaded: Registry, lake: Lake) -> None:
    """A typing error would empty the lake."""
    policy = TABLES[POLICY.name]
    for days in ("0", "-1", "true", '"400"', "1.5", "null", "99999999"):
        spec = f'{{"retention_days": {{"events": {days}}}}}'
        with loaded.transaction() as connection:
            connection.execute(sa.update(policy).filter_by(policy_id="POL-DATA-001").values(spec=spec))
        assert plan(lake, loaded) == [], days


def test_files_of_what_goes_are_named_with_their_hash(loaded: Registry, lake: Lake) -> None:
    """A receipt could not prove which files went."""
    import hashlib

    expected = [
        DataFile(
            str(path.relative_to(lake.path(EVENT_BUS))),
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(lake.path(EVENT_BUS).rglob("month=2024-03-01/*.parquet"))
    ]
    (candidate,) = [c for c in plan(lake, loaded) if c.table_name == "event_bus"]
    assert lake_stores(lake, loaded)["event_bus", "events"].files(candidate) == expected
