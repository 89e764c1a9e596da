"""The journal's rows: read and written many at a time, each time in one statement.

The rows of a statement travel as one JSON text that the database takes apart. A statement per row would hold Python's
lock again for every row, while the connector's thread needs it for the calls under way.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lake.tables import EFFECT
from registry.database import TABLES, fetch

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


class Entry(NamedTuple):
    """One effect, as a batch means it or knows what came of it."""

    effect_key: str
    skill_id: str
    episode_id: str
    step_id: str
    state: State
    request_digest: str
    error_code: str | None = None
    result: Result | None = None


class Known(NamedTuple):
    """What the journal holds of a key."""

    state: State
    request_digest: str
    result: Result | None


def read_entries(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Known]:
    """Return what the journal holds of those of `keys` that it knows."""
    table = TABLES[EFFECT.name]
    array = sa.literal(orjson.dumps(list(keys)).decode(), sa.Text)
    if connection.dialect.name == "postgresql":
        wanted = sa.func.json_array_elements_text(sa.cast(array, postgresql.JSON)).table_valued("value").c.value
    else:
        wanted = sa.func.json_each(array).table_valued("value").c.value
    query = sa.select(table.c.effect_key, table.c.state, table.c.request_digest, table.c.result).where(
        table.c.effect_key.in_(sa.select(wanted))
    )
    return {
        key: Known(State(state), request_digest, None if result is None else tuple(orjson.loads(result)))
        for key, state, request_digest, result in fetch(connection, query)
    }


def write_entries(connection: sa.Connection, entries: Iterable[Entry], *, batch_id: str, now: datetime) -> None:
    """Write what is meant and what came of it; a key that is there gets its new state."""
    rows = [[*entry[:-1], None if entry.result is None else list(entry.result)] for entry in entries]
    if not rows:
        return
    table = TABLES[EFFECT.name]
    element = _elements(connection, orjson.dumps(rows).decode())
    fields: list[sa.ColumnElement[Any]] = [_member(connection, element, index) for index in range(7)]
    state, result = fields[4], _json_member(connection, element, 7)
    moment = sa.literal(now, table.c.intended_at.type)
    settled = sa.case((state != State.INTENDED.value, moment))
    audit = [moment, sa.literal(ENGINE), moment, sa.literal(ENGINE)]
    query = sa.select(*fields, result, sa.literal(batch_id), moment, settled, *audit).where(sa.true())
    columns = [*Entry._fields, "batch_id", "intended_at", "settled_at"]
    columns += ["created_at", "created_by", "updated_at", "updated_by"]
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    new = insert.excluded
    is_meant = new.state == State.INTENDED.value
    statement = insert.from_select(columns, query, include_defaults=False).on_conflict_do_update(
        index_elements=["effect_key"],
        set_={
            **{name: new[name] for name in ("state", "request_digest", "error_code", "result", "batch_id")},
            "intended_at": sa.case((is_meant, new.intended_at), else_=table.c.intended_at),
            **{name: new[name] for name in ("settled_at", "updated_at", "updated_by")},
        },
    )
    connection.execute(statement)


def _elements(connection: sa.Connection, text: str) -> sa.ColumnElement[Any]:
    """Return the column of the elements of a JSON array that is given as text."""
    if connection.dialect.name == "postgresql":
        array = sa.cast(sa.literal(text, sa.Text), postgresql.JSON)
        return sa.func.json_array_elements(array, type_=postgresql.JSON).table_valued("value").c.value
    return sa.func.json_each(sa.literal(text, sa.Text)).table_valued("value").c.value


def _member(connection: sa.Connection, element: sa.ColumnElement[Any], index: int) -> sa.ColumnElement[Any]:
    """Return the text that an array holds at `index`, null where it holds none."""
    if connection.dialect.name == "postgresql":
        return sa.cast(element, postgresql.JSON).op("->>")(sa.literal(index, sa.Integer))
    return sa.func.json_extract(element, f"$[{index}]")


def _json_member(connection: sa.Connection, element: sa.ColumnElement[Any], index: int) -> sa.ColumnElement[Any]:
    if connection.dialect.name == "postgresql":
        value = sa.cast(element, postgresql.JSON).op("->")(sa.literal(index, sa.Integer))
        return sa.case((sa.func.json_typeof(value) != "null", value))
    return sa.func.json_extract(element, f"$[{index}]")
