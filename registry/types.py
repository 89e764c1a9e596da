"""Column types of the relational store: what goes in comes out the same on SQLite and on PostgreSQL."""

import sys
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

import sqlalchemy as sa

RATIO_STEP = Decimal("0.0001")
FLOAT32_BYTES = 4


def ordered_text(length: int | None = None) -> sa.types.TypeEngine[str]:
    """Return the type of a text that is ordered by its bytes: SQLite's way, and on PostgreSQL that of collation C.

    A database's own collation would order ids, versions and topics otherwise on another server.
    """
    if length:
        return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


class NaiveTimestamp(ValueError):
    """A time without a zone: it names no moment, so it is refused rather than guessed."""

    def __init__(self, value: object) -> None:
        super().__init__(f"a timestamp must be an aware datetime, not {value!r}; give it a zone, such as datetime.UTC")


class RatioOutOfRange(ValueError):
    """A ratio that is not a number in 0..1."""

    def __init__(self, value: object) -> None:
        super().__init__(f"a ratio must be a number in 0..1, not {value!r}")


class WrongDimension(ValueError):
    """A vector that has another number of numbers than its column."""

    def __init__(self, given: int, stated: int) -> None:
        super().__init__(f"a vector of {given} numbers was given to a column of {stated}")


class Timestamp(sa.types.TypeDecorator[datetime]):
    """A moment in UTC with microseconds; SQLite keeps it as sortable text."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise NaiveTimestamp(value)
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Ratio(sa.types.TypeDecorator[float]):
    """A number in 0..1 with four decimals, rounded up: a risk of 0.40001 must not pass a threshold of 0.40."""

    impl = sa.Numeric(7, 4, asdecimal=False)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        if value is None:
            return None
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        if not (number.is_finite() and 0 <= number <= 1):
            raise RatioOutOfRange(value)
        return number.quantize(RATIO_STEP, ROUND_CEILING)


class _VerbatimJson(sa.types.UserDefinedType[str]):
    """PostgreSQL's `json`, given and taken as text.

    SQLAlchemy's own type and psycopg's decode, which loses digits, so it is selected as text; and a text that is bound
    as VARCHAR is refused, so the bind stays untyped.
    """

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "JSON"

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.cast(column, sa.Text)


class JsonText(sa.types.TypeDecorator[str]):
    """A JSON text that comes back byte for byte.

    On PostgreSQL it is `json`, which keeps the text as it was given and refuses what is no JSON. `jsonb` keeps a value
    instead: it sorts keys by length, drops white space and spells numbers its own way, so no hash would hold.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return _VerbatimJson() if dialect.name == "postgresql" else sa.Text()


class Vector(sa.types.TypeDecorator[list[float]]):
    """`dimension` numbers of float32: pgvector's type on PostgreSQL, packed little-endian bytes on SQLite."""

    impl = sa.LargeBinary
    cache_ok = True

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name != "postgresql":
            return sa.LargeBinary()
        from pgvector.sqlalchemy import VECTOR  # numpy comes with it, and SQLite needs neither

        return VECTOR(self.dimension)

    def process_bind_param(self, value: Sequence[float] | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if len(value) != self.dimension:
            raise WrongDimension(len(value), self.dimension)
        numbers = array("f", value)
        if dialect.name == "postgresql":
            return numbers.tolist()
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tobytes()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> list[float] | None:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return [float(number) for number in value]
        numbers = array("f", value)
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tolist()
