"""The relational tables, computed from `lake.tables` for each database.

The statements of the registry are the same on both; what differs stands here:

* A log of the hot window carries `month`. PostgreSQL partitions it by that, and a key there must hold the partition's
  column; foreign keys between logs would need the same of the other side, so only SQLite has them.
* A computed column calls a function on PostgreSQL, because a cast that fails would refuse the row.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import sqlalchemy as sa

from lake.spec import MONTH, Column, Generated, Kind, TableSpec
from lake.tables import EMBEDDINGS, GOVERNED, HOT_WINDOW, OPERATIONS
from registry.types import FLOAT32_BYTES, JsonText, Ratio, Timestamp, Vector, ordered_text

Database = Literal["sqlite", "postgresql"]

SPECS: tuple[TableSpec, ...] = (*GOVERNED, *OPERATIONS, *HOT_WINDOW, *EMBEDDINGS)
"""Every table of the registry database."""

_HOT = frozenset(spec.name for spec in HOT_WINDOW)

_TYPES: Mapping[Kind, Callable[[], sa.types.TypeEngine[Any]]] = {
    Kind.TEXT: ordered_text,
    Kind.JSON: JsonText,
    Kind.BOOL: sa.Boolean,
    Kind.INT: sa.Integer,
    Kind.BIGINT: sa.BigInteger,
    Kind.DOUBLE: sa.Double,
    Kind.RATIO: Ratio,
    Kind.TIMESTAMP: Timestamp,
    Kind.DATE: sa.Date,
    Kind.BINARY: sa.LargeBinary,
}

_JSON_TYPES = {Kind.TEXT: "'text'", Kind.BIGINT: "'integer'", Kind.DOUBLE: "'integer', 'real'"}
"""What SQLite calls the JSON values that a computed column takes."""

JSON_FUNCTIONS: Mapping[Kind, str] = {
    Kind.TEXT: "rwcm_json_text",
    Kind.BIGINT: "rwcm_json_integer",
    Kind.DOUBLE: "rwcm_json_number",
}
"""The functions that PostgreSQL's computed columns call; `registry.postgresql` defines them."""


def database_of(bind: sa.Connection | sa.Engine) -> Database:
    """Return which database a connection or an engine speaks to."""
    return "postgresql" if bind.dialect.name == "postgresql" else "sqlite"


@cache
def metadata(database: Database) -> sa.MetaData:
    """Return all tables as `database` has them."""
    tables = sa.MetaData()
    for spec in SPECS:
        _table(spec, tables, database)
    return tables


def _table(spec: TableSpec, tables: sa.MetaData, database: Database) -> None:
    is_hot = spec.name in _HOT
    is_partitioned = is_hot and database == "postgresql"
    table = sa.Table(
        spec.name,
        tables,
        *(_column(spec, column, database) for column in spec.columns),
        *([_month(spec)] if is_hot else []),
        *(_generated(column, database) for column in spec.generated),
        sa.PrimaryKeyConstraint(*spec.key, *([MONTH] if is_partitioned else [])),
        *(sa.UniqueConstraint(*names, name=f"ux_{spec.name}_{'_'.join(names)}") for names in spec.unique),
        *_checks(spec),
        comment=spec.description,
        postgresql_partition_by=f"RANGE ({MONTH})" if is_partitioned else None,
    )
    for index in spec.named_indexes:
        columns = [table.c[name].desc() if name in index.descending else table.c[name] for name in index.columns]
        sa.Index(index.name, *columns, unique=index.is_unique)
    if is_hot and not is_partitioned:
        sa.Index(f"ix_{spec.name}_{MONTH}", table.c[MONTH])
    for column in spec.columns:
        if column.kind is Kind.VECTOR and database == "postgresql":
            sa.Index(
                f"ix_{spec.name}_{column.name}",
                table.c[column.name],
                postgresql_using="hnsw",
                postgresql_ops={column.name: "vector_cosine_ops"},
            )


def _month(spec: TableSpec) -> sa.Column[Any]:
    return sa.Column(MONTH, sa.Date, nullable=False, comment=f"Month of {spec.time_column}, in UTC.")


def _column(spec: TableSpec, column: Column, database: Database) -> sa.Column[Any]:
    references = []
    if column.references and not (database == "postgresql" and column.references.split(".")[0] in _HOT):
        # Deferred, because roles and terms name each other and arrive in any order.
        references.append(sa.ForeignKey(column.references, deferrable=True, initially="DEFERRED"))
    default = column.default
    return sa.Column(
        column.name,
        _type(column),
        *references,
        nullable=column.nullable,
        server_default=None if default is None else sa.literal(default, literal_execute=True),
        comment=column.description,
    )


def _type(column: Column) -> sa.types.TypeEngine[Any]:
    if column.kind is Kind.TEXT and column.length:
        return ordered_text(column.length)
    if column.kind is Kind.VECTOR:
        return Vector(column.dimension or 0)
    return _TYPES[column.kind]()


def _generated(column: Generated, database: Database) -> sa.Column[Any]:
    """Return a computed column: stored on PostgreSQL, where only that can be indexed, computed when read on SQLite."""
    if database == "postgresql":
        path = ", ".join(f"'{part}'" for part in column.path)
        formula = f"{JSON_FUNCTIONS[column.kind]}({column.source}, {path})"
    else:
        path = "'$." + ".".join(f'"{part}"' for part in column.path) + "'"
        is_fit = f"json_type({column.source}, {path}) IN ({_JSON_TYPES[column.kind]})"
        value = f"json_extract({column.source}, {path})"
        if column.kind is Kind.BIGINT:  # an integer that needs more than 64 bits is extracted as a rounded real
            is_fit += f" AND typeof({value}) = 'integer'"
        formula = f"CASE WHEN json_valid({column.source}) AND {is_fit} THEN {value} END"
    return sa.Column(
        column.name,
        _TYPES[column.kind](),
        sa.Computed(formula, persisted=database == "postgresql"),
        comment=f"{column.description} Computed from {column.source}.{'.'.join(column.path)}.",
    )


def _checks(spec: TableSpec) -> Iterator[sa.CheckConstraint]:
    """SQLite takes any text for any VARCHAR, so length and enum are checks."""
    for column in spec.columns:
        value: sa.ColumnClause[Any] = sa.column(column.name)
        if column.enum:
            yield sa.CheckConstraint(value.in_(column.enum), name=f"ck_{spec.name}_{column.name}_enum")
        elif column.length:
            fits = sa.func.length(value) <= column.length
            yield sa.CheckConstraint(fits, name=f"ck_{spec.name}_{column.name}_length")
        elif column.kind is Kind.VECTOR:
            fits = sa.func.length(value) == FLOAT32_BYTES * (column.dimension or 0)
            yield sa.CheckConstraint(fits, name=f"ck_{spec.name}_{column.name}_length").ddl_if(dialect="sqlite")


TABLES: Mapping[str, sa.Table] = MappingProxyType(dict(metadata("sqlite").tables))
"""The tables that statements are written with, for either database."""
