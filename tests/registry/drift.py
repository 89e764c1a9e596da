"""What a database says of its own schema, and where two of them differ."""

import re
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedColumn


def schema_of(connection: sa.Connection) -> dict[str, str]:
    """Return all that the database's catalogue says, by name: tables, columns, keys, checks, indexes, functions."""
    inspector = sa.inspect(connection)
    said: dict[str, str] = {}
    for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
        said[table] = "table"
        for column in inspector.get_columns(table):
            kind = column["type"].compile(connection.dialect)
            told = [kind, "null" if column["nullable"] else "not null"]
            told.append(_formula(connection, table, column) if "computed" in column else f"default {column['default']}")
            said[f"{table}.{column['name']}"] = ", ".join(told)
        said[f"{table}: primary key"] = str(inspector.get_pk_constraint(table)["constrained_columns"])
        for key in inspector.get_foreign_keys(table):
            name = f"{table}: foreign key {key['constrained_columns']}"
            said[name] = f"{key['referred_table']}{key['referred_columns']} {sorted(key['options'].items())}"
        for unique in inspector.get_unique_constraints(table):
            said[f"{table}: unique {unique['name']}"] = str(unique["column_names"])
        for check in inspector.get_check_constraints(table):
            said[f"{table}: check {check['name']}"] = _condition(check["sqltext"])
    for name, told in connection.exec_driver_sql(_MORE[connection.dialect.name]):
        said[name] = " ".join(told.split())
    return said


def _condition(text: str) -> str:
    """Return a condition without what has no meaning: the order of listed values, and where PostgreSQL writes casts."""
    text = re.sub(r"::(text|character varying)(\[\])?", "", text)
    values = iter(sorted(re.findall(r"'[^']*'", text)))
    return re.sub(r"'[^']*'", lambda _: next(values), text)


def _formula(connection: sa.Connection, table: str, column: ReflectedColumn) -> str:
    """Return what a column is computed from; SQLAlchemy takes two of one SQLite table for one."""
    if connection.dialect.name != "sqlite":
        return f"computed {column['computed']}"
    stated = connection.exec_driver_sql(f"SELECT sql FROM sqlite_master WHERE name = '{table}'").scalar_one()
    rest = re.split(rf"\b{column['name']} [A-Z]+ GENERATED ALWAYS AS ", stated)[1]
    depth = 0
    for end, character in enumerate(rest):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return f"computed {rest[: end + 1]}"
    raise AssertionError(stated)


_MORE: Mapping[str, str] = {
    "sqlite": "SELECT 'index ' || name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": """
        SELECT 'index ' || indexname, indexdef FROM pg_indexes
        WHERE schemaname = current_schema() AND tablename <> 'alembic_version'
        UNION ALL
        SELECT 'function ' || proname, pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'rwcm%%'
        UNION ALL
        SELECT 'partition key ' || relname, pg_get_partkeydef(oid) FROM pg_class WHERE relkind = 'p'
        UNION ALL
        SELECT 'comment ' || relname || coalesce('.' || attname, ''), description
        FROM pg_description JOIN pg_class ON pg_class.oid = objoid AND relnamespace = current_schema()::regnamespace
        LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
        WHERE classoid = 'pg_class'::regclass
        UNION ALL
        SELECT 'collation ' || relname || '.' || attname, collname
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid AND relkind IN ('r', 'p')
        JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE relnamespace = current_schema()::regnamespace AND relname <> 'alembic_version' AND attnum > 0
    """,
}


def differences(left: Mapping[str, str], right: Mapping[str, str], *, names: tuple[str, str]) -> list[str]:
    """Return one line for each thing that only one side has, or that they say differently."""
    return [
        f"{name}: only in {names[0]}"
        if name not in right
        else f"{name}: only in {names[1]}"
        if name not in left
        else f"{name}: {left[name]} in {names[0]}, {right[name]} in {names[1]}"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]
