"""Replay: what is on record takes the same path again, and every way in which it does not is told."""

from collections.abc import Callable
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from lake.retention import ERASED
from lake.spec import TableSpec
from lake.tables import EVENT_BUS, RUN_EPISODE, STEP_RUN
from registry.documents import RuntimeBinding
from registry.expressions import compile_template
from registry.plans import Plan, load_plan
from runtime import replay as replaying
from runtime.protocol import Call, Skill
from runtime.replay import Replay, replay
from tests.builders import LATER, NINE, Payables, busy

WORKFLOW = "WF-FIN-001"
DAY = timedelta(days=1)


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    return Payables(tmp_path / "home")


@pytest.fixture
def past(payables: Payables) -> Payables:
    """Episodes of three months: booked, failed, decided either way, and timed out."""
    busy(payables)
    payables.execute()
    payables.execute(now=LATER + 10 * DAY)
    return payables


def again(payables: Payables, **options: Any) -> Replay:
    return replay(payables.lake, payables.registry, WORKFLOW, **{"skills": payables.skills, **options})


def rewrite(payables: Payables, spec: TableSpec, predicate: str, **updates: str) -> int:
    """Change rows of the lake behind everybody's back."""
    table = DeltaTable(str(payables.lake.path(spec)))
    return int(table.update(predicate=predicate, updates=updates)["num_updated_rows"])


def remove(payables: Payables, spec: TableSpec, predicate: str) -> None:
    DeltaTable(str(payables.lake.path(spec))).delete(predicate)


def episode_of(payables: Payables, event_id: str) -> str:
    rows = payables.lake.scan(RUN_EPISODE).filter(pl.col("trigger_event_id") == event_id).collect()
    return str(rows["episode_id"][0])


def with_tolerance(payables: Payables, tolerance: str) -> Plan:
    """Return WF-FIN-001 in a version that lets less pass."""
    plan = load_plan(payables.registry, WORKFLOW)
    steps = [
        changed(step, parameters=compile_template({"check": "po_match", "tolerance": float(tolerance)}))
        if step.step_id == "F-02"
        else step
        for step in plan.steps
    ]
    return changed(plan, version="9.0.0", steps=tuple(steps))


class Unreachable:
    """Outside systems that nobody may ask again."""

    class _Adapter:
        is_pure = False

        def run(self, call: Call) -> pl.DataFrame:
            raise AssertionError("an effect was done again")

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill:
        return self._Adapter()


def test_what_nobody_changed_does_not_diverge(past: Payables) -> None:
    """Every replay would cry wolf."""
    outcomes = set(past.table(RUN_EPISODE)["outcome"])
    assert outcomes == {"success", "partial"}
    for recompute in (False, True):
        found = again(past, recompute=recompute)
        assert (found.episodes, found.replayed, found.divergences.height) == (15, 15, 0), found.divergences.to_dicts()


def test_nothing_is_done_again(past: Payables) -> None:
    """A replay would book every invoice a second time."""
    for recompute in (False, True):
        assert again(past, skills=Unreachable(), recompute=recompute).divergences.is_empty()


def test_nothing_is_written(past: Payables) -> None:
    """A look at the past would change it."""
    before, rows = past.versions(), past.table(STEP_RUN)
    again(past)
    assert past.versions() == before
    assert past.table(STEP_RUN).equals(rows)


@pytest.mark.parametrize(
    ("where", "updates", "seq", "differs"),
    [
        ("step_id = 'F-02'", {"output": """'{"pass":false}'"""}, 2, "step"),
        ("step_id = 'F-02'", {"status": "'skipped'"}, 1, "status"),
        ("step_id = 'F-04'", {"input": "'{}'"}, 2, "input"),
        ("step_id = 'F-04'", {"step_id": "'F-03'"}, 2, "step"),
        ("step_id = 'F-05'", {"ended_at": "ended_at + interval '1 second'"}, 3, "ended_at"),
        ("step_id = 'F-05'", {"attempt": "2"}, 3, "attempt"),
    ],
)
def test_a_record_that_was_changed_is_found_where_it_was(
    past: Payables, where: str, updates: dict[str, str], seq: int, differs: str
) -> None:
    """Whoever makes the books look better would not be found out."""
    episode_id = episode_of(past, "EV-0")
    assert rewrite(past, STEP_RUN, f"episode_id = '{episode_id}' AND {where}", **updates) == 1
    (row,) = again(past).divergences.to_dicts()
    assert (row["episode_id"], row["seq"], row["differs"]) == (episode_id, seq, differs)
    assert row["recorded"] != row["replayed"]


def test_an_outcome_that_was_changed_is_found(past: Payables) -> None:
    """An episode that failed would pass for a success."""
    rewrite(past, RUN_EPISODE, "trigger_event_id = 'EV-0'", outcome="'failed'")
    (row,) = again(past).divergences.to_dicts()
    assert (row["differs"], row["recorded"], row["replayed"]) == ("outcome", "failed", "success")


def test_an_output_in_other_words_is_the_same(past: Payables) -> None:
    """A record that another writer spaced differently would be called false."""
    episode_id = episode_of(past, "EV-0")
    (text,) = past.lake.scan(STEP_RUN).filter(episode_id=episode_id, step_id="F-04").collect()["input"]
    rewrite(past, STEP_RUN, f"episode_id = '{episode_id}' AND step_id = 'F-04'", input=f"'{text.replace(':', ' : ')}'")
    assert again(past).divergences.is_empty()


def test_a_decision_that_landed_after_the_deadline_changes_nothing(payables: Payables) -> None:
    """History would depend on when somebody looks at it: the event is in the window now, but was not then."""
    name = payables.invoice("late", billed="150.00", at=NINE)
    payables.execute(now=NINE + 10 * DAY)
    payables.decide(name, "approved", NINE + timedelta(hours=5))
    payables.execute(now=NINE + 11 * DAY)
    assert payables.table(RUN_EPISODE)["outcome"].to_list() == ["partial"]
    assert again(payables).divergences.is_empty()


def test_an_earlier_decision_that_landed_later_changes_nothing(payables: Payables) -> None:
    """The approval that the invoice was booked on would be replaced by one that nobody knew of."""
    name = payables.invoice("twice", billed="150.00", at=NINE)
    payables.decide(name, "approved", NINE + timedelta(hours=9))
    payables.execute(now=NINE + 10 * DAY)
    payables.decide(name, "rejected", NINE + timedelta(hours=5))
    assert payables.table(RUN_EPISODE)["outcome"].to_list() == ["success"]
    assert again(payables).divergences.is_empty()


def test_an_effect_that_a_person_had_to_resolve_takes_the_same_time_again(past: Payables) -> None:
    """An episode that was parked would be called different for having waited."""
    episode_id = episode_of(past, "EV-0")
    for step_id, moved in (("F-04", ("started_at", "ended_at")), ("F-05", ("started_at", "ended_at"))):
        where = f"episode_id = '{episode_id}' AND step_id = '{step_id}'"
        assert rewrite(past, STEP_RUN, where, **{name: f"{name} + interval '1 hour'" for name in moved}) == 1
    assert again(past).divergences.is_empty()


def test_an_effect_of_the_first_step_that_a_person_had_to_resolve_takes_the_same_time_again(past: Payables) -> None:
    """Nothing came before it, from whose end it could be told that it was parked."""
    where = f"episode_id = '{episode_of(past, 'EV-0')}'"
    later = {name: f"{name} + interval '1 hour'" for name in ("started_at", "ended_at")}
    assert rewrite(past, STEP_RUN, where, **later) == 4
    assert again(past).divergences.is_empty()


def test_the_first_of_two_decisions_that_came_before_the_wait_is_the_one_that_ended_it(payables: Payables) -> None:
    """The invoice was booked on an approval, and would be replayed with the rejection that came after it."""
    name = payables.invoice("early", billed="150.00", at=NINE)
    payables.decide(name, "approved", NINE)
    payables.decide(name, "rejected", NINE + timedelta(milliseconds=1))
    payables.execute(now=NINE + 10 * DAY)
    assert payables.table(RUN_EPISODE)["outcome"].to_list() == ["success"]
    assert again(payables).divergences.to_dicts() == []


def test_another_version_tells_what_it_would_have_done_and_why(payables: Payables) -> None:
    """A reviewer would approve a tolerance without knowing whom it hits."""
    for number, billed in enumerate(("101.00", "104.00", "103.00", "106.00")):
        payables.invoice(f"{number}", billed=billed, at=NINE + number * DAY)
    payables.execute(now=NINE + 30 * DAY)
    found = again(payables, plan=with_tolerance(payables, "0.035"))
    (row,) = found.divergences.to_dicts()
    # 4 % over: within 5 %, not within 3.5 %.
    assert row["episode_id"] == episode_of(payables, "EV-1")
    assert (row["seq"], row["differs"], row["recorded"], row["replayed"]) == (2, "step", "F-04", "F-03")
    assert (row["recorded_version"], row["replayed_version"]) == ("1.3.0", "9.0.0")
    assert "0.035" in row["because"] and "F-02" in row["because"]
    assert found.replayed == 4


def test_what_was_never_recorded_is_not_done(payables: Payables) -> None:
    """A version that books what the old one did not would book it in the past."""
    payables.invoice("over", billed="106.00", at=NINE)
    payables.execute(now=NINE + 30 * DAY)
    (row,) = again(
        payables, plan=with_tolerance(payables, "0.50"), skills=_impure_but(payables, "SK-LOGIC-003")
    ).divergences.to_dicts()
    assert (row["recorded"], row["replayed"]) == ("F-03", "F-04")


def _impure_but(payables: Payables, pure: str) -> Any:
    real = payables.skills

    class Table:
        def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
            return real.find(skill_id, binding) if skill_id == pure else Unreachable().find(skill_id, binding)

    return Table()


@pytest.mark.parametrize(
    ("spec", "predicate"),
    [
        (EVENT_BUS, "event_id = 'EV-0'"),
        (STEP_RUN, "step_id = 'F-05' AND started_at < '2025-01-06'"),
        (STEP_RUN, "started_at < '2025-01-06'"),
    ],
)
def test_an_episode_whose_records_were_purged_is_left_out_and_counted(
    past: Payables, spec: TableSpec, predicate: str
) -> None:
    """Retention would look like a broken engine."""
    remove(past, spec, predicate)
    found = again(past)
    assert (found.episodes, dict(found.not_replayable), found.replayed) == (15, {"purged": 1}, 14)
    assert found.divergences.is_empty()


def test_an_episode_whose_step_runs_were_erased_is_left_out_and_counted(past: Payables) -> None:
    """A purge of telemetry keeps the rows: replayed, each of its episodes would look like a forgery."""
    assert rewrite(past, STEP_RUN, "started_at < '2025-01-06'", input=f"'{ERASED}'", output=f"'{ERASED}'") == 4
    found = again(past)
    assert dict(found.not_replayable) == {"purged": 1} and found.divergences.is_empty()


def test_a_decision_that_was_purged_is_taken_from_the_step_that_it_ended(past: Payables) -> None:
    """A decision that was recorded would look as if it had never been made."""
    remove(past, EVENT_BUS, "topic = 'handoff.decided'")
    assert again(past).divergences.is_empty()


def test_a_version_that_is_not_registered_is_left_out_and_counted(past: Payables) -> None:
    """One odd row would stop the whole replay."""
    rewrite(past, RUN_EPISODE, "trigger_event_id = 'EV-0'", workflow_version="'7.7.7'")
    assert dict(again(past).not_replayable) == {"unknown_version": 1}


def test_imported_history_is_left_out_and_counted(past: Payables) -> None:
    """What a log tells of never ran here."""
    rewrite(past, RUN_EPISODE, "trigger_event_id = 'EV-0'", origin="'import'")
    assert dict(again(past).not_replayable) == {"imported": 1}


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_slices_make_no_difference(past: Payables, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found would depend on who shares a batch."""
    rewrite(past, STEP_RUN, "step_id = 'F-05'", attempt="7")
    expected = again(past).divergences
    assert expected.height == past.table(STEP_RUN).filter(step_id="F-05").height > 3
    monkeypatch.setattr(replaying, "BATCH_EPISODES", size)
    told: list[int] = []
    assert again(past, on_progress=told.append).divergences.equals(expected)
    assert told[-1] == 15 and told == sorted(told)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, lambda at: True),
        (datetime(2025, 2, 1, tzinfo=UTC), None, lambda at: at >= datetime(2025, 2, 1, tzinfo=UTC)),
        (datetime(2025, 1, 8, 9, tzinfo=UTC), datetime(2025, 3, 7, tzinfo=UTC), None),
    ],
)
def test_a_window_is_half_open(
    past: Payables, since: datetime | None, until: datetime | None, expected: Callable[[datetime], bool] | None
) -> None:
    """An episode on the boundary would be in both windows, or in none."""
    starts = past.table(RUN_EPISODE)["started_at"].to_list()
    chosen = expected or (lambda at: since <= at < until)  # type: ignore[operator]
    assert again(past, since=since, until=until).episodes == sum(map(chosen, starts))


def test_a_workflow_that_never_ran_is_no_fault(payables: Payables) -> None:
    """A new installation would fail its check."""
    found = again(payables)
    assert (found.episodes, found.replayed) == (0, 0)
