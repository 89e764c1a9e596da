"""One statement of a table: schemas follow from it, and a frame that is not it is refused without saying a value."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pytest

from lake.spec import (
    APPENDED,
    Column,
    Generated,
    Index,
    Kind,
    SchemaMismatch,
    TableSpec,
    bigint,
    boolean,
    day,
    double,
    identifier,
    integer,
    json_text,
    ratio,
    text,
    timestamp,
)
from lake.tables import EMBEDDINGS, GOVERNED, LOGS, OPERATIONS, RLM_EMBEDDING

AT = datetime(2025, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC)

READING = TableSpec(
    name="reading",
    description="Readings.",
    grain="one row per reading",
    key=("reading_id",),
    time_column="read_at",
    columns=(
        identifier("reading_id", "Id."),
        timestamp("read_at", "When."),
        integer("count", "Count.", nullable=True),
        bigint("total", "Total.", nullable=True),
        double("level", "Level.", nullable=True),
        ratio("share", "Share.", nullable=True),
        boolean("is_good", "Good.", nullable=True),
        json_text("body", "Body.", nullable=True),
        day("about", "Day.", nullable=True),
        text("note", "Note.", nullable=True),
    ),
)


def frame(**columns: Any) -> pl.DataFrame:
    """Return one reading, with `columns` in place of or beside what it must have."""
    given = {"reading_id": "R-1", "read_at": AT} | columns
    return pl.DataFrame({name: value if isinstance(value, pl.Series) else [value] for name, value in given.items()})


def test_a_conformed_frame_has_the_columns_of_the_table_in_order_and_its_month() -> None:
    """Storage takes columns by position in places; a swapped pair would be written without a word."""
    rows = READING.conform(frame(note="n", count=3).select("note", "count", "read_at", "reading_id"))
    assert rows.columns == [column.name for column in READING.columns] + ["month"]
    assert rows.schema == READING.polars_schema()
    assert rows.row(0, named=True) == {
        "reading_id": "R-1",
        "read_at": AT,
        "count": 3,
        "total": None,
        "level": None,
        "share": None,
        "is_good": None,
        "body": None,
        "about": None,
        "note": "n",
        "month": date(2025, 3, 1),
    }


@pytest.mark.parametrize(
    ("read_at", "month"),
    [
        (datetime(2025, 4, 1, tzinfo=UTC), date(2025, 4, 1)),
        (datetime(2025, 4, 1, 1, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=2))), date(2025, 3, 1)),
        (datetime(1948, 5, 9, tzinfo=UTC), date(1948, 5, 1)),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), date(1969, 12, 1)),
        (datetime(1900, 2, 28, tzinfo=UTC), date(1900, 2, 1)),
    ],
)
def test_the_month_is_that_of_utc_whatever_the_writer_says(read_at: datetime, month: date) -> None:
    """A row in another month than its time is never rebuilt nor purged with it."""
    rows = READING.conform(frame(read_at=read_at, month=date(1999, 1, 1)))
    assert rows["month"].to_list() == [month]
    assert READING.months(rows) == [month]


def test_a_time_of_another_zone_is_the_same_moment_in_utc() -> None:
    """Berlin's midnight is the evening before."""
    berlin = pl.Series([datetime(2025, 4, 1)]).dt.replace_time_zone("Europe/Berlin")
    rows = READING.conform(frame(read_at=berlin))
    assert rows["read_at"].to_list() == [datetime(2025, 4, 1, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)]
    assert rows["month"].to_list() == [date(2025, 3, 1)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("count", pl.Series([1.5])),
        ("count", pl.Series([2**31])),
        ("count", pl.Series(["12"])),
        ("count", pl.Series([True])),
        ("total", pl.Series([1e19])),
        ("total", pl.Series([2**63], dtype=pl.UInt64)),
        ("total", pl.Series([AT])),
        ("level", pl.Series([2**53 + 1])),
        ("level", pl.Series(["0.5"])),
        ("is_good", pl.Series([1])),
        ("is_good", pl.Series(["true"])),
        ("note", pl.Series([7])),
        ("note", pl.Series([b"bytes"])),
        ("note", pl.Series([["a"]])),
        ("body", pl.Series([{"a": 1}])),
        ("about", pl.Series([AT])),
        ("about", pl.Series(["2025-03-01"])),
        ("read_at", pl.Series([datetime(2025, 3, 1)])),
        ("read_at", pl.Series([date(2025, 3, 1)])),
        ("read_at", pl.Series(["2025-03-01T00:00:00Z"])),
        ("read_at", pl.Series([1_740_787_200_000_000])),
        ("read_at", pl.Series([1_740_787_200_000_000_001]).cast(pl.Datetime("ns", "UTC"))),
    ],
    ids=lambda given: str(given.dtype) if isinstance(given, pl.Series) else None,
)
def test_a_value_that_would_change_is_refused(column: str, value: pl.Series) -> None:
    """Half a count, a rounded total or a guessed zone would be stored as if it had been measured."""
    with pytest.raises(SchemaMismatch) as caught:
        READING.conform(frame(**{column: value}))
    assert column in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        ("count", pl.Series([7], dtype=pl.UInt32), 7),
        ("count", pl.Series([7.0]), 7),
        ("count", pl.Series([None]), None),
        ("total", pl.Series([7], dtype=pl.Int8), 7),
        ("level", pl.Series([2**53]), float(2**53)),
        ("level", pl.Series([0.5], dtype=pl.Float32), 0.5),
        ("level", pl.Series([float("nan")]), float("nan")),
        ("note", pl.Series(["a"], dtype=pl.Categorical), "a"),
        ("read_at", pl.Series([1_740_787_200_000]).cast(pl.Datetime("ms", "UTC")), datetime(2025, 3, 1, tzinfo=UTC)),
    ],
    ids=lambda given: str(given.dtype) if isinstance(given, pl.Series) else None,
)
def test_a_value_that_keeps_its_meaning_is_taken(column: str, value: pl.Series, stored: Any) -> None:
    """Polars counts in UInt32; every writer would have to cast what loses nothing."""
    kept = READING.conform(frame(**{column: value}))[column][0]
    assert kept == stored or (kept != kept and stored != stored)


def test_unknown_and_missing_columns_and_nulls_are_named() -> None:
    """Storage that changes its schema because a writer did loses columns a year later."""
    for given, reason in (
        (frame(colour="red"), "unknown columns ['colour']"),
        (frame().drop("reading_id"), "missing columns ['reading_id']"),
        (frame(reading_id=None), "null in ['reading_id']"),
        (frame(read_at=pl.Series([None], dtype=pl.Datetime("us", "UTC"))), "null in ['read_at']"),
    ):
        with pytest.raises(SchemaMismatch) as caught:
            READING.conform(given)
        assert caught.value.reason == reason
        assert caught.value.table == "reading"


def test_a_refusal_never_says_a_value() -> None:
    """Messages travel to logs and to Dagster, where rows must not."""
    for given in (frame(count="jane.doe@example.com"), frame(is_good="jane.doe@example.com"), frame(total=1e300)):
        with pytest.raises(SchemaMismatch) as caught:
            READING.conform(given)
        assert "jane" not in str(caught.value)
        assert "1e+300" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_an_empty_frame_conforms() -> None:
    """A chunk without a single accepted event is an ordinary chunk."""
    assert READING.conform(frame().clear()).schema == READING.polars_schema()
    assert READING.conform(READING.empty()).height == 0


def test_a_table_that_contradicts_itself_is_refused_when_it_is_stated() -> None:
    """The fault would come up where the first row is written."""
    columns = (identifier("a", "A."),)
    for wrong in ({"key": ("b",)}, {"key": ("a",), "time_column": "b"}, {"key": ("a",), "indexes": (("a", "b"),)}):
        with pytest.raises(ValueError, match="no column"):
            TableSpec(name="t", description="", grain="", columns=columns, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="twice"):
        TableSpec(name="t", description="", grain="", key=("a",), columns=columns * 2)
    with pytest.raises(KeyError, match="it has"):
        READING.column("colour")


def test_arrow_and_polars_state_the_same_table() -> None:
    """Delta is created from one and written from the other."""
    for spec in (*LOGS, *EMBEDDINGS, *GOVERNED, *OPERATIONS):
        assert pl.from_arrow(spec.arrow_schema().empty_table()).schema == spec.polars_schema()  # type: ignore[union-attr]
        assert [field.nullable for field in spec.arrow_schema()] == [
            *(column.nullable for column in spec.columns),
            *([False] if spec.is_monthly else []),
        ]
        assert spec.names == spec.arrow_schema().names


def test_times_are_microseconds_of_utc_and_months_are_dates() -> None:
    """`delta_scan` prunes by a DATE; nanoseconds do not fit Delta."""
    schema = READING.arrow_schema()
    assert schema.field("read_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("month").type == pa.date32()


def test_every_log_states_when_and_by_whom_a_row_was_recorded() -> None:
    """Retention counts from it."""
    for spec in LOGS:
        assert set(APPENDED) <= set(spec.columns)
        assert spec.is_monthly


def test_a_description_of_a_column_is_never_empty() -> None:
    """Docs, comments in the database and dbt sources are made of them."""
    assert all(column.description for spec in (*LOGS, *EMBEDDINGS, *GOVERNED, *OPERATIONS) for column in spec.columns)
    assert all(isinstance(column, Column) and column.kind in Kind for column in READING.columns)


def test_a_computed_column_or_an_index_that_names_nothing_is_refused_when_it_is_stated() -> None:
    """The database would refuse the whole schema, long after the mistake."""
    columns = (identifier("a", "A."), json_text("body", "B."))

    def stated(**options: Any) -> TableSpec:
        return TableSpec(name="t", description="", grain="", key=("a",), columns=columns, **options)

    def size(**options: Any) -> Generated:
        given: dict[str, Any] = {"name": "size", "kind": Kind.BIGINT, "source": "body", "path": ("size",)}
        return Generated(**(given | options), description="Size.")

    assert stated(generated=(size(),), indexes=(("size",),)).named_indexes == [
        Index(name="ix_t_size", columns=("size",))
    ]
    for wrong in ({"generated": (size(source="a"),)}, {"indexes": (("size",),)}):
        with pytest.raises(ValueError, match="no column"):
            stated(**wrong)
    with pytest.raises(ValueError, match="twice"):
        stated(generated=(size(name="a"),))
    for odd in ({"kind": Kind.JSON}, {"path": ()}, {"path": ("a'b",)}):
        with pytest.raises(ValueError, match="size"):
            size(**odd)
    with pytest.raises(ValueError, match="does not hold"):
        Index(name="ix", columns=("a",), descending=("b",))
    with pytest.raises(ValueError, match="dimension"):
        Column(name="v", kind=Kind.VECTOR, description="V.")


@pytest.mark.parametrize("numbers", [[0.0] * 1023, [0.0] * 1025, [float("nan")] * 1024, [None] * 1024, []])
def test_a_vector_of_another_dimension_or_without_a_number_is_refused(numbers: list[Any]) -> None:
    """A search compares all of them, and NaN is near to nothing and far from nothing."""
    row = {
        "emb_id": "V",
        "source_type": "step",
        "source_id": "S",
        "metadata": "{}",
        "created_at": AT,
        "created_by": "t",
    }
    given = pl.Series("vector", [[0.5] * 1024, numbers], dtype=pl.List(pl.Float32))
    with pytest.raises(SchemaMismatch, match="vector"):
        RLM_EMBEDDING.conform(pl.DataFrame([row, row]).with_columns(given))
    whole = pl.Series("vector", [[0.5] * 1024], dtype=pl.Array(pl.Float32, 1024))
    assert RLM_EMBEDDING.conform(pl.DataFrame([row]).with_columns(whole))["vector"].to_list() == [[0.5] * 1024]
