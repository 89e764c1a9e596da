"""Homes with real Delta tables, filled row by row, and the warehouse that dbt makes of them."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from lake.home import Home
from lake.months import month_of
from lake.spec import Kind, TableSpec
from lake.store import Lake
from lake.tables import RUN_EPISODE, STEP_RUN, WORKFLOW
from lake.transform import BuildResult, Transformation, changed_months

Row = dict[str, Any]

_ANY: dict[Kind, Any] = {
    Kind.TEXT: "any",
    Kind.JSON: "{}",
    Kind.BOOL: False,
    Kind.INT: 0,
    Kind.BIGINT: 0,
    Kind.DOUBLE: 0.0,
    Kind.RATIO: 0.0,
    Kind.TIMESTAMP: datetime(2025, 1, 1, tzinfo=UTC),
    Kind.DATE: date(2025, 1, 1),
}


class World:
    """A home whose lake is filled by hand."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root).prepare()
        self.lake = Lake(self.home.lake)
        self.transformation = Transformation(self.home)

    def row(self, spec: TableSpec, **given: Any) -> Row:
        """Return a row of `spec` with `given`, the rest absent where it may be and anything where it may not."""
        assert not given.keys() - {column.name for column in spec.columns}
        return {
            column.name: None
            if column.nullable
            else column.default or (column.enum[0] if column.enum else _ANY[column.kind])
            for column in spec.columns
        } | given

    def append(self, spec: TableSpec, *rows: Row) -> None:
        self.lake.append(spec, self._frame(spec, rows), batch_id="B-1")

    def mirror(self, spec: TableSpec, *rows: Row) -> None:
        self.lake.mirror(spec, self._frame(spec, rows))

    def _frame(self, spec: TableSpec, rows: tuple[Row, ...]) -> pl.DataFrame:
        schema = spec.polars_schema()
        return pl.DataFrame(list(rows), schema={column.name: schema[column.name] for column in spec.columns})

    def run(
        self, name: str, started_at: datetime, *activities: str, every: timedelta = timedelta(0), **given: Any
    ) -> None:
        """Append an episode with one step per activity, `every` so often."""
        given = {"workflow_id": "WF-1", "outcome": "success"} | given
        steps = [
            self.step(name, started_at, seq, activity, started_at + seq * every, workflow_id=given["workflow_id"])
            for seq, activity in enumerate(activities)
        ]
        if steps:
            self.append(STEP_RUN, *steps)
        self.append(RUN_EPISODE, self.row(RUN_EPISODE, episode_id=name, started_at=started_at, **given))

    def step(self, episode: str, episode_start: datetime, seq: int, activity: str, at: datetime, **given: Any) -> Row:
        return self.row(
            STEP_RUN,
            step_run_id=f"{episode}/{seq}",
            episode_id=episode,
            episode_month=month_of(episode_start),
            seq=seq,
            activity=activity,
            started_at=at,
            **given,
        )

    def workflow(self, name: str, constraints: str = "{}") -> Row:
        return self.row(WORKFLOW, workflow_id=name, workflow_name=name, constraints=constraints)

    def changed(self) -> list[date]:
        return changed_months(self.lake, self.home)

    def build(self, **options: Any) -> BuildResult:
        return self.transformation.build(self.changed(), **options)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.home.build_db), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def alter(self, sql: str) -> None:
        """Change the build file behind dbt's back."""
        with duckdb.connect(str(self.home.build_db)) as connection:
            connection.execute(sql)

    def is_unlocked(self) -> bool:
        """Return whether another process may open the build file for writing."""
        script = f"import duckdb; duckdb.connect({str(self.home.build_db)!r})"
        return subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[[str], World]:
    return lambda name: World(tmp_path / name)


@pytest.fixture
def world(make_world: Callable[[str], World]) -> World:
    return make_world("home")


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A home that a module builds once and only reads."""
    return World(tmp_path_factory.mktemp("shared"))
