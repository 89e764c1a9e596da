"""The journal's rows: read and written many at a time, each time in one statement.

What is meant is one row per group in `open_effects`, and its result makes it a row of its own in `effect`: a row that
is written twice costs twice. What a crash left in a group is spread over rows of its own when somebody looks.

The rows of a statement travel as one JSON text that the database takes apart. A statement per row would hold Python's
lock again for every row, while the connector's thread needs it for the calls under way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lake.tables import EFFECT, OPEN_EFFECTS
from registry.database import TABLES, Registry, fetch
from registry.tables import Database, database_of

ENGINE = "engine"

Result = tuple[Any, ...]
"""What a skill returned for one row: values in the order of `RESULT_SCHEMA`."""


class State(StrEnum):
    """Where an effect stands."""

    INTENDED = "intended"
    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Origin:
    """Whose effects they are."""

    skill_id: str
    step_id: str
    batch_id: str


@dataclass(frozen=True)
class Group:
    """Effects that are meant together: what each is and asks for stands at one place of three lists."""

    group_id: str
    origin: Origin
    keys: Sequence[str]
    episode_ids: Sequence[str]
    digests: Sequence[str]
    intended_at: datetime


class Settled(NamedTuple):
    """What came of one effect."""

    effect_key: str
    episode_id: str
    state: State
    request_digest: str
    error_code: str | None = None
    result: Result | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of effects: of a whole group, or of some that have rows (and keep when they were meant)."""

    origin: Origin
    settled: Sequence[Settled]
    group: Group | None = None


class Known(NamedTuple):
    """What the journal holds of a key."""

    state: State
    request_digest: str
    result: Result | None


def read_effects(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Known]:
    """Return what the journal holds of those of `keys` that have a row; groups are not looked into."""
    query = _select(database_of(connection)).params(keys=_text(list(keys)))
    return {
        key: Known(State(state), request_digest, None if result is None else tuple(orjson.loads(result)))
        for key, state, request_digest, result in fetch(connection, query)
    }


def write_group(connection: sa.Connection, group: Group) -> None:
    """Write what is meant, before it is done."""
    connection.execute(
        sa.insert(TABLES[OPEN_EFFECTS.name]),
        {
            "group_id": group.group_id,
            "skill_id": group.origin.skill_id,
            "step_id": group.origin.step_id,
            "batch_id": group.origin.batch_id,
            "effects": _text([group.keys, group.episode_ids, group.digests]),
            "created_at": group.intended_at,
            "created_by": ENGINE,
        },
    )


def write_outcome(connection: sa.Connection, outcome: Outcome, *, now: datetime) -> None:
    """Write what came of effects; their group is open no longer."""
    group = outcome.group
    _write(connection, outcome.settled, outcome.origin, intended_at=group.intended_at if group else None, now=now)
    if group is not None:
        _remove(connection, [group.group_id])


def open_groups(connection: sa.Connection) -> list[Group]:
    """Return the groups that are under way, or were when a process ended."""
    table = TABLES[OPEN_EFFECTS.name]
    names = ("group_id", "skill_id", "step_id", "batch_id", "effects", "created_at")
    query = sa.select(*(table.c[name] for name in names)).order_by(table.c.created_at, table.c.group_id)
    return [
        Group(group_id, Origin(skill_id, step_id, batch_id), *_three(effects), intended_at)
        for group_id, skill_id, step_id, batch_id, effects, intended_at in fetch(connection, query)
    ]


def spread(connection: sa.Connection, groups: Sequence[Group]) -> None:
    """Give each effect of the groups a row of its own, as meant.

    What is written says nothing new, so that it does not matter if a group is still under way: its results follow. One
    that ended meanwhile stays as it is.
    """
    still_open = {group.group_id for group in open_groups(connection)}
    for group in groups:
        if group.group_id in still_open:
            meant = [
                Settled(key, episode_id, State.INTENDED, digest)
                for key, episode_id, digest in zip(group.keys, group.episode_ids, group.digests, strict=True)
            ]
            _write(connection, meant, group.origin, intended_at=group.intended_at, now=None)
    _remove(connection, [group.group_id for group in groups])


def spread_all(registry: Registry) -> None:
    """Give each effect that is open a row of its own, for people who look at rows."""
    with registry.read() as connection:
        groups = open_groups(connection)
    if groups:
        with registry.transaction() as connection:
            spread(connection, groups)


def _remove(connection: sa.Connection, group_ids: list[str]) -> None:
    table = TABLES[OPEN_EFFECTS.name]
    connection.execute(sa.delete(table).where(table.c.group_id.in_(group_ids)))


def _write(
    connection: sa.Connection,
    rows: Sequence[Settled],
    origin: Origin,
    *,
    intended_at: datetime | None,
    now: datetime | None,
) -> None:
    """Write a state of effects, settled `now` or merely meant; a key that has a row gets its new state."""
    if not rows:
        return
    moment = now or intended_at
    assert moment is not None
    values = {
        "rows": _text(list(map(tuple, rows))),
        "skill_id": origin.skill_id,
        "step_id": origin.step_id,
        "batch_id": origin.batch_id,
        "intended_at": intended_at or moment,
        "is_meant": intended_at is not None,
        "settled_at": now,
        "moment": moment,
        "actor": ENGINE,
    }
    connection.execute(_upsert(database_of(connection)), values)


def _three(effects: str) -> tuple[list[str], list[str], list[str]]:
    keys, episode_ids, digests = orjson.loads(effects)
    return keys, episode_ids, digests


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


# The statements are built once; SQLAlchemy compiles each once, too.


@cache
def _select(database: Database) -> sa.Select[Any]:
    table, keys = TABLES[EFFECT.name], sa.bindparam("keys", type_=sa.Text)
    if database == "postgresql":
        wanted = sa.func.json_array_elements_text(sa.cast(keys, postgresql.JSON)).table_valued("value").c.value
    else:
        wanted = sa.func.json_each(keys).table_valued("value").c.value
    return sa.select(table.c.effect_key, table.c.state, table.c.request_digest, table.c.result).where(
        table.c.effect_key.in_(sa.select(wanted))
    )


@cache
def _upsert(database: Database) -> sa.Insert:
    table = TABLES[EFFECT.name]
    element = _elements(database)
    given = {name: _member(database, element, place) for place, name in enumerate(Settled._fields[:-1])}
    given["result"] = _json_member(database, element, len(Settled._fields) - 1)
    for name in ("skill_id", "step_id", "batch_id", "intended_at", "settled_at"):
        given[name] = sa.bindparam(name, type_=table.c[name].type)
    moment, actor = sa.bindparam("moment", type_=table.c.created_at.type), sa.bindparam("actor", type_=sa.Text)
    given |= {"created_at": moment, "created_by": actor, "updated_at": moment, "updated_by": actor}
    insert = (postgresql if database == "postgresql" else sqlite).insert(table)
    new = insert.excluded
    is_meant = sa.bindparam("is_meant", type_=sa.Boolean)
    changed = ("state", "request_digest", "error_code", "result", "batch_id", "settled_at", "updated_at", "updated_by")
    query = sa.select(*given.values()).where(sa.true())  # without a condition SQLite takes ON CONFLICT for a join's
    return insert.from_select(list(given), query, include_defaults=False).on_conflict_do_update(
        index_elements=["effect_key"],
        set_={
            **{name: new[name] for name in changed},
            "intended_at": sa.case((is_meant, new.intended_at), else_=table.c.intended_at),
        },
    )


def _elements(database: Database) -> sa.ColumnElement[Any]:
    """Return the column of the elements of the JSON array `rows`."""
    rows = sa.bindparam("rows", type_=sa.Text)
    if database == "postgresql":
        array = sa.cast(rows, postgresql.JSON)
        return sa.func.json_array_elements(array, type_=postgresql.JSON).table_valued("value").c.value
    return sa.func.json_each(rows).table_valued("value").c.value


def _member(database: Database, element: sa.ColumnElement[Any], index: int) -> sa.ColumnElement[Any]:
    """Return the text that an array holds at `index`, null where it holds none."""
    if database == "postgresql":
        return sa.cast(element, postgresql.JSON).op("->>")(sa.literal(index, sa.Integer))
    return sa.func.json_extract(element, f"$[{index}]")


def _json_member(database: Database, element: sa.ColumnElement[Any], index: int) -> sa.ColumnElement[Any]:
    if database == "postgresql":
        value = sa.cast(element, postgresql.JSON).op("->")(sa.literal(index, sa.Integer))
        return sa.case((sa.func.json_typeof(value) != "null", value))
    return sa.func.json_extract(element, f"$[{index}]")
