"""What revisions are written with. Frozen: a revision must make tomorrow what it made when it was released.

So nothing here derives from `lake.tables`, which states the present.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


@dataclass(frozen=True)
class Shape:
    """One column of a table that a revision creates."""

    name: str
    type: Any
    length: int | None = None
    enum: tuple[str, ...] = ()
    nullable: bool = False
    default: str | int | bool | None = None
    references: str | None = None

    def column(self) -> sa.Column[Any]:
        references = [sa.ForeignKey(self.references, deferrable=True, initially="DEFERRED")] if self.references else []
        default = None if self.default is None else sa.literal(self.default, literal_execute=True)
        return sa.Column(self.name, self.type, *references, nullable=self.nullable, server_default=default)

    def checks(self, table: str) -> list[sa.CheckConstraint]:
        value: sa.ColumnClause[Any] = sa.column(self.name)
        if self.enum:
            return [sa.CheckConstraint(value.in_(self.enum), name=f"ck_{table}_{self.name}_enum")]
        if self.length:
            return [sa.CheckConstraint(sa.func.length(value) <= self.length, name=f"ck_{table}_{self.name}_length")]
        return []


def text(name: str, length: int | None = None, **options: Any) -> Shape:
    return Shape(name, sa.String(length) if length else sa.Text(), length, **options)


def boolean(name: str, **options: Any) -> Shape:
    return Shape(name, sa.Boolean(), **options)


def integer(name: str, **options: Any) -> Shape:
    return Shape(name, sa.Integer(), **options)


def bigint(name: str, **options: Any) -> Shape:
    return Shape(name, sa.BigInteger(), **options)


def double(name: str, **options: Any) -> Shape:
    return Shape(name, sa.Double(), **options)


def ratio(name: str, **options: Any) -> Shape:
    return Shape(name, sa.Numeric(7, 4), **options)


def timestamp(name: str, **options: Any) -> Shape:
    return Shape(name, sa.DateTime(timezone=True), **options)


def day(name: str, **options: Any) -> Shape:
    return Shape(name, sa.Date(), **options)


def json(name: str, **options: Any) -> Shape:
    """A JSON text: `json` on PostgreSQL, which keeps it byte for byte."""
    return Shape(name, sa.Text().with_variant(postgresql.JSON(), "postgresql"), **options)


def ordered_text(name: str, length: int | None = None, **options: Any) -> Shape:
    """A text that PostgreSQL orders as SQLite does, by its bytes."""
    plain = sa.String(length) if length else sa.Text()
    ordered = sa.String(length, collation="C") if length else sa.Text(collation="C")
    return Shape(name, plain.with_variant(ordered, "postgresql"), length, **options)


APPENDED = (timestamp("created_at"), text("created_by", 64))
GOVERNED = (*APPENDED, timestamp("updated_at"), text("updated_by", 64))
ORDERED_APPENDED = (timestamp("created_at"), ordered_text("created_by", 64))
ORDERED_GOVERNED = (*ORDERED_APPENDED, timestamp("updated_at"), ordered_text("updated_by", 64))


def create(
    table: str,
    *shapes: Shape,
    key: Sequence[str],
    unique: Sequence[Sequence[str]] = (),
    indexes: Sequence[Sequence[str]] = (),
    more: Sequence[Any] = (),
    partition_by: str | None = None,
) -> None:
    """Create a table with its checks, keys and indexes; `more` are columns or constraints beyond `shapes`."""
    op.create_table(
        table,
        *(shape.column() for shape in shapes),
        *more,
        sa.PrimaryKeyConstraint(*key),
        *(sa.UniqueConstraint(*names, name=f"ux_{table}_{'_'.join(names)}") for names in unique),
        *(check for shape in shapes for check in shape.checks(table)),
        postgresql_partition_by=partition_by,
    )
    for names in indexes:
        op.create_index(f"ix_{table}_{'_'.join(names)}", table, list(names))


_JSON_TYPES = {"text": "'text'", "integer": "'integer'", "number": "'integer', 'real'"}
_COMPUTED_TYPES: dict[str, type[sa.types.TypeEngine[Any]]] = {
    "text": sa.Text,
    "integer": sa.BigInteger,
    "number": sa.Double,
}


def is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def computed(name: str, source: str, member: str, kind: str) -> sa.Column[Any]:
    """Return a column that is computed from a member of a JSON column; `kind` is text, integer or number."""
    if is_postgresql():
        formula = f"rwcm_json_{kind}({source}, '{member}')"
        collation = {"collation": "C"} if kind == "text" else {}
        return sa.Column(name, _COMPUTED_TYPES[kind](**collation), sa.Computed(formula, persisted=True))
    path = f"'$.\"{member}\"'"
    value = f"json_extract({source}, {path})"
    is_fit = f"json_type({source}, {path}) IN ({_JSON_TYPES[kind]})"
    if kind == "integer":
        is_fit += f" AND typeof({value}) = 'integer'"
    formula = f"CASE WHEN json_valid({source}) AND {is_fit} THEN {value} END"
    return sa.Column(name, _COMPUTED_TYPES[kind](), sa.Computed(formula, persisted=False))
