"""The hot window: equal to the lake's last months, and never the only place where a row is."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from lake.spec import Kind, TableSpec
from lake.store import Lake
from lake.tables import EVENT_BUS, HOT_WINDOW, REFLECTION_LOG, RUN_EPISODE, STEP_RUN
from registry.database import TABLES, Registry
from registry.hot_window import NotInLake, Refreshed, months_held, refresh
from tests.databases import ON_POSTGRESQL

NOW = datetime(2025, 6, 20, 12, tzinfo=UTC)
FIRST = date(2025, 3, 1)
"""The month of the day 90 days before: 22 March."""


def row(spec: TableSpec, **given: Any) -> dict[str, Any]:
    """Return a row of a log that its spec accepts, with `given` in place of what has to be anything."""
    filler = {Kind.TEXT: "x", Kind.JSON: "{}", Kind.INT: 1, Kind.BIGINT: 1, Kind.DOUBLE: 0.5, Kind.RATIO: 0.5}
    made = {
        column.name: column.enum[0] if column.enum else filler.get(column.kind)
        for column in spec.columns
        if not column.nullable
    }
    return made | {"created_at": NOW, "batch_id": "B-1"} | given


def episode(name: str, at: datetime, **given: Any) -> dict[str, Any]:
    metrics = '{"cost_ms":12.5,"tokens":9007199254740993,"error_rate":0.0}'
    known = {"episode_id": name, "workflow_id": "WF-FIN-001", "started_at": at, "metrics": metrics}
    return row(RUN_EPISODE, **known | given)


def step_run(name: str, of: str, at: datetime, *, episode_at: datetime | None = None) -> dict[str, Any]:
    month = (episode_at or at).date().replace(day=1)
    known = {"step_run_id": name, "episode_id": of, "started_at": at, "episode_month": month, "step_id": "F-01"}
    return row(STEP_RUN, **known, workflow_id="WF-FIN-001", agent_id="AG-EXTERNAL", output='{"b": 1,  "a":[1.50]}')


def put(lake: Lake, spec: TableSpec, *rows: dict[str, Any]) -> None:
    schema = {name: kind for name, kind in spec.polars_schema().items() if name in rows[0]}
    lake.append(spec, pl.DataFrame(list(rows), schema=schema), batch_id="B-1")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A lake with a row per month from January to June, and an episode of February whose last step came in March."""
    made = Lake(tmp_path / "lake")
    made.ensure(HOT_WINDOW)
    moments = [datetime(2025, month, 28, 9, 30, 0, 7, tzinfo=UTC) for month in range(1, 7)]
    put(made, RUN_EPISODE, *(episode(f"E-{at.month}", at) for at in moments))
    put(made, STEP_RUN, *(step_run(f"S-{at.month}", f"E-{at.month}", at) for at in moments))
    put(made, STEP_RUN, step_run("S-late", "E-2", datetime(2025, 3, 1, tzinfo=UTC), episode_at=moments[1]))
    put(made, EVENT_BUS, *(row(EVENT_BUS, event_id=f"V-{at.month}", produced_at=at) for at in moments))
    reflections = (row(REFLECTION_LOG, reflection_id=f"R-{at.month}", revision=1, created_at=at) for at in moments)
    put(made, REFLECTION_LOG, *reflections)
    return made


def held(registry: Registry, spec: TableSpec) -> list[str]:
    return registry.frame(spec)[spec.key[0]].to_list()


def test_the_window_holds_the_last_90_days_by_whole_months_as_the_lake_does(loaded: Registry, lake: Lake) -> None:
    """A point lookup in it must answer what the lake would."""
    done = refresh(loaded, lake, now=NOW)
    assert done == Refreshed(FIRST, dict.fromkeys(done.added, 4), dict.fromkeys(done.removed, 0), [])
    for spec in HOT_WINDOW:
        kept = lake.scan(spec).filter(pl.col("month") >= FIRST).collect()
        if spec is STEP_RUN:
            kept = kept.filter(pl.col("episode_month") >= FIRST)  # S-late left with its episode
        assert loaded.frame(spec).equals(kept.sort(spec.key)), spec.name
    table = TABLES[RUN_EPISODE.name]
    with loaded.read() as connection:
        found = connection.execute(sa.select(table.c.tokens, table.c.cost_ms).filter_by(episode_id="E-4")).one()
    assert tuple(found) == (9007199254740993, 12.5)


def test_a_second_refresh_adds_nothing_and_a_new_row_alone_is_added(loaded: Registry, lake: Lake) -> None:
    """It runs after every batch."""
    refresh(loaded, lake, now=NOW)
    again = refresh(loaded, lake, now=NOW)
    assert set(again.added.values()) == set(again.removed.values()) == {0}
    put(lake, RUN_EPISODE, episode("E-new", datetime(2025, 5, 2, tzinfo=UTC)))
    more = refresh(loaded, lake, now=NOW)
    assert {name: rows for name, rows in more.added.items() if rows} == {"run_episode": 1}
    assert "E-new" in held(loaded, RUN_EPISODE)


def test_what_the_lake_took_back_goes(loaded: Registry, lake: Lake) -> None:
    """An interrupted import is taken back; its episodes must not be found any more."""
    at = datetime(2025, 5, 2, tzinfo=UTC)
    batch_id = "0193f5a0-0000-7000-8000-000000000001"
    taken_back = episode("E-back", at, batch_id=batch_id)
    put(lake, RUN_EPISODE, taken_back)
    put(lake, STEP_RUN, step_run("S-back", "E-back", at) | {"batch_id": batch_id})
    refresh(loaded, lake, now=NOW)
    assert "E-back" in held(loaded, RUN_EPISODE)
    lake.discard(STEP_RUN, batch_id=batch_id)
    lake.discard(RUN_EPISODE, batch_id=batch_id)
    done = refresh(loaded, lake, now=NOW)
    assert (done.removed["run_episode"], done.removed["step_run"]) == (1, 1)
    assert "E-back" not in held(loaded, RUN_EPISODE)


def test_a_month_that_is_past_is_dropped_with_the_steps_of_its_episodes(loaded: Registry, lake: Lake) -> None:
    """The window would grow for ever, or a step would stay without its episode."""
    refresh(loaded, lake, now=NOW - timedelta(days=62))  # from January: 19 April less 90 days
    assert "S-late" in held(loaded, STEP_RUN)
    done = refresh(loaded, lake, now=NOW)
    assert done.dropped == [date(2025, 1, 1), date(2025, 2, 1)]
    assert held(loaded, RUN_EPISODE) == ["E-3", "E-4", "E-5", "E-6"]
    assert held(loaded, STEP_RUN) == ["S-3", "S-4", "S-5", "S-6"]
    with loaded.read() as connection:
        assert months_held(connection, STEP_RUN) == [date(2025, month, 1) for month in range(3, 7)]


@pytest.mark.parametrize("change", [{"outcome": "failed"}, {"episode_id": "E-only-here"}])
def test_a_month_is_not_dropped_unless_the_lake_holds_all_of_it(
    loaded: Registry, lake: Lake, change: dict[str, str]
) -> None:
    """What stands only in the window, or otherwise there, would be lost for good."""
    refresh(loaded, lake, now=NOW - timedelta(days=62))
    episodes, steps = TABLES[RUN_EPISODE.name], TABLES[STEP_RUN.name]
    with loaded.transaction() as connection:
        connection.execute(sa.delete(steps).filter_by(episode_id="E-2"))
        connection.execute(sa.update(episodes).filter_by(episode_id="E-2").values(**change))
    with pytest.raises(NotInLake, match="run_episode 2025-02 stays in the hot window: 1 "):
        refresh(loaded, lake, now=NOW)
    kept = held(loaded, RUN_EPISODE)
    assert change.get("episode_id", "E-2") in kept
    assert "E-1" not in kept  # January was whole


@ON_POSTGRESQL
def test_postgresql_keeps_a_month_in_a_partition_and_reads_only_it(loaded: Registry, lake: Lake) -> None:
    """Dropping a month takes no time, and a lookup in a month does not open the others."""
    refresh(loaded, lake, now=NOW)
    with loaded.read() as connection:
        named = sa.text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1")
        names = list(connection.scalars(named))
        plan = connection.scalars(sa.text("EXPLAIN SELECT * FROM step_run WHERE month = '2025-05-01'")).all()
    assert names == [f"{spec}_2025_{month:02}" for spec in sorted(s.name for s in HOT_WINDOW) for month in range(3, 7)]
    assert "step_run_2025_05" in str(plan)
    assert "step_run_2025_04" not in str(plan)


@ON_POSTGRESQL
def test_a_row_of_a_month_without_a_partition_is_refused(loaded: Registry) -> None:
    """A default partition would take it and keep its month from ever being dropped."""
    table = TABLES[EVENT_BUS.name]
    stray = row(EVENT_BUS, event_id="V", produced_at=NOW) | {"month": date(2025, 6, 1)}
    with pytest.raises(sa.exc.IntegrityError, match="no partition"), loaded.transaction() as connection:
        connection.execute(sa.insert(table), [stray])
