"""DDL: the registry's tables as statements that SQLite, PostgreSQL and DuckDB take.

For those who look after a database themselves, or rebuild the schema elsewhere. The registry makes its own tables.
"""

from collections.abc import Iterator
from typing import Literal, get_args

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from lake.spec import MONTH, Column, Generated, Kind, TableSpec
from lake.tables import HOT_WINDOW
from registry.postgresql import FUNCTIONS
from registry.tables import SPECS, metadata

Engine = Literal["sqlite", "postgresql", "duckdb"]
ENGINES: tuple[Engine, ...] = get_args(Engine)

_DUCKDB_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.JSON: "JSON",
    Kind.BOOL: "BOOLEAN",
    Kind.INT: "INTEGER",
    Kind.BIGINT: "BIGINT",
    Kind.DOUBLE: "DOUBLE",
    Kind.RATIO: "DECIMAL(7, 4)",
    Kind.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    Kind.DATE: "DATE",
    Kind.BINARY: "BLOB",
}
_DUCKDB_JSON = {
    Kind.TEXT: "'VARCHAR'",
    Kind.BIGINT: "'BIGINT', 'UBIGINT'",
    Kind.DOUBLE: "'BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE'",
}
"""What DuckDB calls the JSON values that a computed column takes."""


class UnknownTable(ValueError):
    """The registry has no such table."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the registry has no table {name}; it has {', '.join(spec.name for spec in SPECS)}")


def statements(engine: Engine, *, table: str | None = None) -> Iterator[str]:
    """Yield the statements that make all tables, or one, in an order in which they can be executed; without semicolons.

    Raises:
        UnknownTable: there is no table of that name.
    """
    if table is not None and table not in {spec.name for spec in SPECS}:
        raise UnknownTable(table)
    chosen = [spec for spec in SPECS if table in (None, spec.name)]
    yield from _duckdb(chosen) if engine == "duckdb" else _relational(engine, chosen)


def _relational(engine: Literal["sqlite", "postgresql"], chosen: list[TableSpec]) -> Iterator[str]:
    dialect = sqlite.dialect() if engine == "sqlite" else postgresql.dialect()
    if engine == "postgresql":
        if any(column.kind is Kind.VECTOR for spec in chosen for column in spec.columns):
            yield "CREATE EXTENSION IF NOT EXISTS vector"
        if any(spec.generated for spec in chosen):
            yield from (function.strip() for function in FUNCTIONS)
    names = {spec.name for spec in chosen}
    for table in metadata(engine).sorted_tables:
        if table.name in names:
            yield str(CreateTable(table).compile(dialect=dialect)).strip()
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                yield str(CreateIndex(index).compile(dialect=dialect)).strip()
            if engine == "postgresql":
                yield str(SetTableComment(table).compile(dialect=dialect))
                for column in table.columns:
                    yield str(SetColumnComment(column).compile(dialect=dialect))


def _duckdb(chosen: list[TableSpec]) -> Iterator[str]:
    """DuckDB checks references at once, also within a transaction, so they are left out; `DESC` means nothing there."""
    for spec in chosen:
        computed = {column.name for column in spec.generated}
        lines = [_duckdb_column(column) for column in spec.columns]
        if spec in HOT_WINDOW:
            lines.append(f"{MONTH} DATE NOT NULL")
        lines += [_duckdb_generated(column) for column in spec.generated]
        lines.append(f"PRIMARY KEY ({_names(spec.key)})")
        lines += [f"UNIQUE ({_names(names)})" for names in spec.unique]
        lines += [check for column in spec.columns for check in _duckdb_checks(column)]
        yield f"CREATE TABLE {_name(spec.name)} (\n\t" + ",\n\t".join(lines) + "\n)"
        for index in spec.named_indexes:
            if not computed & set(index.columns):  # DuckDB indexes no computed column
                kind = "UNIQUE INDEX" if index.is_unique else "INDEX"
                yield f"CREATE {kind} {index.name} ON {_name(spec.name)} ({_names(index.columns)})"
        yield f"COMMENT ON TABLE {_name(spec.name)} IS {_text(spec.description)}"
        told = [(column.name, column.description) for column in spec.columns]
        told += [(column.name, column.description) for column in spec.generated]
        for name, description in told:
            yield f"COMMENT ON COLUMN {_name(spec.name)}.{_name(name)} IS {_text(description)}"


def _duckdb_column(column: Column) -> str:
    kind = f"FLOAT[{column.dimension}]" if column.kind is Kind.VECTOR else _DUCKDB_TYPES[column.kind]
    default = column.default
    value = f" DEFAULT {_text(default) if isinstance(default, str) else default}" if default is not None else ""
    return f"{_name(column.name)} {kind}{value}{'' if column.nullable else ' NOT NULL'}"


def _duckdb_generated(column: Generated) -> str:
    source, path = _name(column.source), _text("$." + ".".join(f'"{part}"' for part in column.path))
    kind = _DUCKDB_TYPES[column.kind]
    value = f"TRY_CAST(json_extract_string({source}, {path}) AS {kind})"
    is_fit = f"json_type({source}, {path}) IN ({_DUCKDB_JSON[column.kind]})"
    return f"{_name(column.name)} {kind} GENERATED ALWAYS AS (CASE WHEN {is_fit} THEN {value} END) VIRTUAL"


def _duckdb_checks(column: Column) -> Iterator[str]:
    if column.enum:
        yield f"CHECK ({_name(column.name)} IN ({', '.join(map(_text, column.enum))}))"
    elif column.length:
        length = "octet_length" if column.kind is Kind.BINARY else "length"
        yield f"CHECK ({length}({_name(column.name)}) <= {column.length})"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(map(_name, names))


def _name(name: str) -> str:
    return f'"{name}"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
