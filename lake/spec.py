"""`TableSpec`: the one statement of a table, from which every other form of its schema is derived.

Arrow and Polars schemas and relational tables, with their indexes and computed columns, are computed from it; dbt
sources are compared with it by a drift test (`python -m lake.describe` prints them).
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import polars as pl
import pyarrow as pa

MONTH = "month"
"""The partition column of every monthly table: a DATE, because that is what `delta_scan` prunes by."""


class Kind(StrEnum):
    """What a column holds. JSON is text and the truth; times are UTC microseconds."""

    TEXT = "text"
    JSON = "json"
    BOOL = "bool"
    INT = "int"
    BIGINT = "bigint"
    DOUBLE = "double"
    RATIO = "ratio"
    """A number in 0..1 that policies compare, relationally DECIMAL(7,4)."""
    TIMESTAMP = "timestamp"
    DATE = "date"
    BINARY = "binary"
    """Bytes, at most `Column.length` of them."""
    VECTOR = "vector"
    """`Column.dimension` numbers of float32: a list in the lake, pgvector on PostgreSQL, packed bytes on SQLite."""


class Retention(StrEnum):
    """Which limit of the data policy ends the life of a table's rows."""

    EVENTS = "events"
    TELEMETRY = "telemetry"
    PII = "pii"
    RECORD = "record"


RETENTIONS = tuple(retention.value for retention in Retention)
"""The classes, as columns hold them."""


_ARROW: dict[Kind, pa.DataType] = {
    Kind.TEXT: pa.string(),
    Kind.JSON: pa.string(),
    Kind.BOOL: pa.bool_(),
    Kind.INT: pa.int32(),
    Kind.BIGINT: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.RATIO: pa.float64(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.DATE: pa.date32(),
    Kind.BINARY: pa.binary(),
    Kind.VECTOR: pa.list_(pa.float32()),
}
_POLARS: dict[Kind, pl.DataType] = {
    Kind.TEXT: pl.String(),
    Kind.JSON: pl.String(),
    Kind.BOOL: pl.Boolean(),
    Kind.INT: pl.Int32(),
    Kind.BIGINT: pl.Int64(),
    Kind.DOUBLE: pl.Float64(),
    Kind.RATIO: pl.Float64(),
    Kind.TIMESTAMP: pl.Datetime("us", "UTC"),
    Kind.DATE: pl.Date(),
    Kind.BINARY: pl.Binary(),
    Kind.VECTOR: pl.List(pl.Float32()),
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its kind, whether it may be absent, and what it means."""

    name: str
    kind: Kind
    description: str
    nullable: bool = False
    length: int | None = None
    enum: tuple[str, ...] = ()
    references: str | None = None
    """`table.column` that this column names, within the registry."""
    default: str | int | float | bool | None = None
    pii: bool = False
    dimension: int | None = None
    """How many numbers a vector has."""
    is_distinct: bool = False
    """Whether nearly every row holds a value of its own, so that files keep no dictionary of them."""

    def __post_init__(self) -> None:
        if (self.kind is Kind.VECTOR) != (self.dimension is not None):
            raise ValueError(f"column {self.name}: a vector states its dimension, and nothing else does")


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A column that the relational store computes from a path of a JSON column, so that queries can filter by it.

    It is null where the path is absent or holds another type, such as an expression in the place of a number. It
    exists relationally only: the lake's models read the JSON, which stays the truth.
    """

    name: str
    kind: Kind
    source: str
    path: tuple[str, ...]
    description: str

    def __post_init__(self) -> None:
        if self.kind not in (Kind.TEXT, Kind.BIGINT, Kind.DOUBLE) or not self.path:
            raise ValueError(f"column {self.name}: a text, a bigint or a double is computed from a path")
        if unfit := [part for part in self.path if not part.isidentifier()]:
            raise ValueError(f"column {self.name}: {unfit} cannot stand in a path; members are plain names")


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index with a name of its own; `descending` names those of its columns that run from the newest back."""

    name: str
    columns: tuple[str, ...]
    descending: tuple[str, ...] = ()
    is_unique: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.descending) - set(self.columns):
            raise ValueError(f"index {self.name} does not hold {sorted(unknown)}")


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A table: columns in order, the key, where it is kept, and how long.

    A table with a `time_column` is monthly: the lake adds the column `month` and partitions by it.
    """

    name: str
    description: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time_column: str | None = None
    retention: Retention = Retention.RECORD
    indexes: tuple[Index | tuple[str, ...], ...] = ()
    """Those of the relational store; one without a name of its own is called after its table and columns."""
    unique: tuple[tuple[str, ...], ...] = ()
    generated: tuple[Generated, ...] = ()
    keys_recur: bool = False
    """Whether a key may come again in another month than before, so that it is looked for in all of them."""

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        computed = [column.name for column in self.generated]
        if duplicates := {name for name in (*names, *computed) if (*names, *computed).count(name) > 1}:
            raise ValueError(f"table {self.name} states {sorted(duplicates)} twice")
        named = {*self.key, *(name for columns in self.unique for name in columns)}
        if self.time_column:
            named.add(self.time_column)
        unknown = named - set(names)
        unknown |= {name for index in self.named_indexes for name in index.columns} - {*names, *computed}
        unknown |= {column.source for column in self.generated} - {c.name for c in self.columns if c.kind is Kind.JSON}
        if unknown:
            raise ValueError(f"table {self.name} has no column {sorted(unknown)} of the kind that is asked of it")

    @property
    def named_indexes(self) -> list[Index]:
        """The indexes of the relational store, each with its name."""
        return [
            index if isinstance(index, Index) else Index(name=f"ix_{self.name}_{'_'.join(index)}", columns=index)
            for index in self.indexes
        ]

    @property
    def is_monthly(self) -> bool:
        return self.time_column is not None

    @property
    def names(self) -> list[str]:
        """The columns as they stand in storage, `month` last."""
        return [column.name for column in self.columns] + ([MONTH] if self.is_monthly else [])

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name} has no column {name}; it has {', '.join(self.names)}")

    def arrow_schema(self) -> pa.Schema:
        fields = [pa.field(column.name, _ARROW[column.kind], column.nullable) for column in self.columns]
        if self.is_monthly:
            fields.append(pa.field(MONTH, pa.date32(), nullable=False))
        return pa.schema(fields)

    def polars_schema(self) -> pl.Schema:
        schema: dict[str, pl.DataType] = {column.name: _POLARS[column.kind] for column in self.columns}
        if self.is_monthly:
            schema[MONTH] = pl.Date()
        return pl.Schema(schema)

    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.polars_schema())

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with exactly this table's columns, in order and type, `month` computed.

        Raises:
            SchemaMismatch: a column is missing, unknown, of a type that would lose something, or null where it may
                not be. Storage never changes its schema because a writer did.
        """
        given = set(frame.columns) - {MONTH}
        stated = {column.name for column in self.columns}
        missing = [c.name for c in self.columns if c.name not in given and not c.nullable]
        if unknown := sorted(given - stated):
            raise SchemaMismatch(self.name, f"unknown columns {unknown}")
        if missing:
            raise SchemaMismatch(self.name, f"missing columns {missing}")
        if unfit := [
            f"{c.name} is {frame[c.name].dtype.base_type()} and does not fit {_POLARS[c.kind].base_type()}"
            for c in self.columns
            if c.name in given and not _fits(frame[c.name], _POLARS[c.kind])
        ]:
            raise SchemaMismatch(self.name, ", ".join(unfit))
        frame = frame.select(
            (pl.col(c.name) if c.name in given else pl.lit(None)).cast(_POLARS[c.kind]).alias(c.name)
            for c in self.columns
        )
        nulls = frame.select(pl.col(c.name).null_count() for c in self.columns if not c.nullable)
        if not frame.is_empty() and (empty := [name for name in nulls.columns if nulls[name][0]]):
            raise SchemaMismatch(self.name, f"null in {empty}")
        if odd := [c.name for c in self.columns if c.kind is Kind.VECTOR and not _is_whole(frame[c.name], c.dimension)]:
            raise SchemaMismatch(self.name, f"{odd} are not vectors of the stated dimension")
        if self.time_column:
            frame = frame.with_columns(pl.col(self.time_column).dt.truncate("1mo").dt.date().alias(MONTH))
        return frame

    def months(self, frame: pl.DataFrame) -> list[date]:
        """Return the months that the rows of a conformed frame belong to, in order."""
        return frame[MONTH].unique().sort().to_list() if self.is_monthly else []


def _fits(values: pl.Series, kind: pl.DataType) -> bool:
    """Return whether `values` mean the same as `kind`; a cast alone rounds, cuts off and guesses zones."""
    given = values.dtype
    if given == kind or given == pl.Null:
        return True
    if given.is_numeric() and kind.is_numeric():
        return values.equals(values.cast(kind, strict=False).cast(given, strict=False))
    if isinstance(given, pl.Datetime) and isinstance(kind, pl.Datetime) and given.time_zone:
        return values.equals(values.cast(kind).cast(pl.Datetime(given.time_unit, given.time_zone)))
    if isinstance(given, pl.Array) and isinstance(kind, pl.List):
        return given.inner == kind.inner
    return kind == pl.String and given in (pl.Categorical, pl.Enum)


def _is_whole(vectors: pl.Series, dimension: int | None) -> bool:
    """Return whether every vector that is there has `dimension` finite numbers."""
    present = vectors.drop_nulls()
    numbers = present.explode()
    return bool((present.list.len() == dimension).all() and numbers.null_count() == 0 and numbers.is_finite().all())


class SchemaMismatch(ValueError):
    """A frame that is not what the table states. Names columns, never values."""

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(f"rows for {table} were refused: {reason}; the table is stated in lake/tables")
        self.table = table
        self.reason = reason


def text(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.TEXT, description=description, **options)  # type: ignore[arg-type]


def identifier(name: str, description: str, **options: object) -> Column:
    """An id: at most 64 characters, since ids come from outside and UUIDs are 36."""
    return text(name, description, **{"length": 64, **options})


def json_text(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.JSON, description=description, **options)  # type: ignore[arg-type]


def integer(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.INT, description=description, **options)  # type: ignore[arg-type]


def bigint(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.BIGINT, description=description, **options)  # type: ignore[arg-type]


def double(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.DOUBLE, description=description, **options)  # type: ignore[arg-type]


def ratio(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.RATIO, description=description, **options)  # type: ignore[arg-type]


def boolean(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.BOOL, description=description, **options)  # type: ignore[arg-type]


def timestamp(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.TIMESTAMP, description=description, **options)  # type: ignore[arg-type]


def day(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.DATE, description=description, **options)  # type: ignore[arg-type]


def binary(name: str, description: str, **options: object) -> Column:
    return Column(name=name, kind=Kind.BINARY, description=description, **options)  # type: ignore[arg-type]


def vector(name: str, description: str, *, dimension: int, **options: object) -> Column:
    return Column(name=name, kind=Kind.VECTOR, description=description, dimension=dimension, **options)  # type: ignore[arg-type]


APPENDED = (
    timestamp(
        "created_at", "Arrival of an event, end of a live run, day of an import; the clock of retention, in UTC."
    ),
    identifier("created_by", "Who or what recorded the row."),
)
"""The audit columns of append-only tables."""

GOVERNED = (
    *APPENDED,
    timestamp("updated_at", "When the row last changed, in UTC."),
    identifier("updated_by", "Who or what changed the row last."),
)
"""The audit columns of governed tables."""
