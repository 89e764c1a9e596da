"""Simulated adapters: deterministic, pure, and over the same contracts as the real ones.

They read what the simulated outside systems hold (invoice documents, purchase orders) from the home, and draw latency
and cost from the profile in the skill's binding.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from registry.documents import RuntimeBinding
from runtime.chance import lognormal, uniform
from runtime.documents import Column, decode
from runtime.identities import hexadecimal
from runtime.protocol import RESULT_SCHEMA, Call, ErrorCode, Skill

_WORD = r'[^\s"\\[:cntrl:]]+'
"""What can stand in JSON as it is."""

_ENTITIES = {
    "vendor_id": rf"(?m)^Vendor: ({_WORD})$",
    "po_id": rf"(?m)^Purchase order: ({_WORD})$",
    "amount": r"(?m)^Total: [A-Z]{3} ([\d,]+\.\d{2})$",
}
_NUMERIC = {"amount"}
_FOUND = "found "
_MAX_EXPONENT = 100
_MIN_CONFIDENCE = 0.85
_DEFAULT_LATENCY = {"median": 200.0, "sigma": 0.4}


class SimulatedWorld:
    """What the simulated outside systems hold; empty where no demonstration was made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def documents(self) -> pl.DataFrame:
        """Columns: uri, text."""
        return self._read("documents.parquet", {"uri": pl.String, "text": pl.String})

    @cached_property
    def purchase_orders(self) -> pl.DataFrame:
        """Columns: po_id, vendor_id, amount_cents."""
        return self._read(
            "purchase_orders.parquet", {"po_id": pl.String, "vendor_id": pl.String, "amount_cents": pl.Int64}
        )

    def _read(self, name: str, schema: Mapping[str, Any]) -> pl.DataFrame:
        path = self._folder / name
        return pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=schema)


class SimulatedSkills:
    """The simulated adapter of each skill that has one."""

    def __init__(self, folder: Path) -> None:
        world = SimulatedWorld(folder)
        self._skills: dict[str, Skill] = {
            "SK-OCR-001": _Simulated(lambda call: _extract(call, world)),
            "SK-LOGIC-003": _Simulated(lambda call: _check(call, world)),
            "SK-COMM-004": _Simulated(_hand_off),
            "SK-ERP-002": _Simulated(_write),
            "SK-COMM-005": _Simulated(_send),
        }

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        """Return the adapter, or None where the binding names another adapter or nothing is simulated."""
        return self._skills.get(skill_id) if binding.adapter == "simulated" else None


class _Simulated:
    """Wraps a function of a call with the latency and cost its binding declares."""

    is_pure = True

    def __init__(self, function: Callable[[Call], pl.DataFrame]) -> None:
        self._function = function

    def run(self, call: Call) -> pl.DataFrame:
        profile = call.binding.simulation or {}
        latency = {**_DEFAULT_LATENCY, **profile.get("latency_ms", {})}
        drawn = lognormal(call.seeds, "latency", median=float(latency["median"]), sigma=float(latency["sigma"]))
        result = self._function(call).with_columns(
            latency_ms=pl.Series(np.maximum(1, np.rint(drawn)).astype(np.int64)),
            cost_micros=pl.lit(int(profile.get("cost_micros", 0)), dtype=pl.Int64),
            model=pl.lit(profile.get("model"), dtype=pl.String),
            system=pl.lit(call.binding.system, dtype=pl.String),
        )
        if rate := float(profile.get("fault_rate", 0)):
            result = _out_of_reach(result, pl.Series(uniform(call.seeds, "fault") < rate))
        missing = [pl.lit(None, dtype=dtype).alias(n) for n, dtype in RESULT_SCHEMA.items() if n not in result.columns]
        return result.with_columns(missing).select(RESULT_SCHEMA.names()).cast(dict(RESULT_SCHEMA))  # type: ignore[arg-type]


def _out_of_reach(result: pl.DataFrame, is_down: pl.Series) -> pl.DataFrame:
    """Return the results with those where the system was down as transient failures."""
    return result.with_columns(
        output=pl.when(~is_down).then("output"),
        error_code=pl.when(is_down).then(pl.lit(ErrorCode.CONNECTIVITY.value)).otherwise("error_code"),
        error_message=pl.when(is_down).then(pl.lit("the system did not answer")).otherwise("error_message"),
    )


def _extract(call: Call, world: SimulatedWorld) -> pl.DataFrame:
    """Read entities off the documents; what is not legible lowers the confidence below any sane minimum."""
    asked, which = call.arguments["entities"].distinct()
    minimum = call.arguments.get("min_confidence", Column.repeat(_MIN_CONFIDENCE, call.rows))
    frame = (
        pl.DataFrame({"uri": call.arguments["file_uri"].values}, schema={"uri": pl.String})
        .join(world.documents, on="uri", how="left", maintain_order="left")
        .with_columns(
            pl.Series("confidence", np.round(0.90 + 0.0999 * uniform(call.seeds, "confidence"), 4)),
            pl.Series("minimum", minimum.texts.cast(pl.Float64)),
        )
        .with_row_index("row")
    )
    parts = []
    for place, names in enumerate(asked):
        parts.append(_read_off(frame.filter(which == place), tuple(dict.fromkeys(names))))
    return pl.concat(parts).sort("row").drop("row")


def _read_off(frame: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Return what reading the entities `names` off the documents of `frame` gives."""
    # Once per document: matching a pattern is what costs the most here.
    frame = frame.with_columns(_read(name).alias(_FOUND + name) for name in names)
    found = [pl.col(_FOUND + name) for name in names]
    members: list[pl.Expr] = []
    for name, value in zip(names, found, strict=True):
        # The texts are the patterns' own matches, which need no escape.
        quote = pl.lit("" if name in _NUMERIC else '"')
        members.append(pl.lit(f"{',' if members else ''}{json.dumps(name)}:"))
        members.append(pl.coalesce(pl.concat_str(quote, value, quote), pl.lit("null")))
    is_legible = pl.all_horizontal(value.is_not_null() for value in found)
    output = pl.concat_str(
        pl.lit('{"entities":{'), *members, pl.lit('},"confidence":'), pl.col("confidence").cast(pl.String), pl.lit("}")
    )
    return (
        frame.with_columns(confidence=pl.when(is_legible).then("confidence").otherwise(pl.lit(0.41)))
        .with_columns(
            error_code=pl.when(pl.col("text").is_null())
            .then(pl.lit(ErrorCode.NOT_FOUND.value))
            .when(pl.col("confidence") < pl.col("minimum"))
            .then(pl.lit(ErrorCode.LOW_CONFIDENCE.value)),
        )
        .select(
            "row",
            output=pl.when(pl.col("error_code").is_null()).then(output),
            error_code="error_code",
            error_message=pl.when(pl.col("text").is_null())
            .then(pl.lit("the document store holds no document of this uri"))
            .when(pl.col("error_code").is_not_null())
            .then(pl.lit("an entity that was asked for is not legible")),
            token_in=(200 + pl.col("text").str.len_chars() // 4).cast(pl.Int32),
            token_out=pl.when(pl.col("error_code").is_null()).then(24 * len(names)).otherwise(8).cast(pl.Int32),
        )
    )


def _read(name: str) -> pl.Expr:
    """Return what is read off a document's text for an entity, null where it is not legible."""
    pattern = _ENTITIES.get(name)
    if pattern is None:
        return pl.lit(None, dtype=pl.String)
    read = pl.col("text").str.extract(pattern)
    return read.str.replace_all(",", "", literal=True) if name in _NUMERIC else read


def _check(call: Call, world: SimulatedWorld) -> pl.DataFrame:
    """Compare two sides within a tolerance; `po_match` binds the invoice's amount and its purchase order's itself."""
    nothing = pl.repeat(None, call.rows, eager=True, dtype=pl.String)
    given = {name: call.arguments[name].texts for name in ("lhs", "rhs", "tolerance") if name in call.arguments}
    sides = pl.DataFrame(
        {
            "lhs": given.get("lhs", nothing),
            "rhs": given.get("rhs", nothing),
            "allowed": given.get("tolerance", nothing.fill_null("0")),
        }
    )
    if "check" in call.arguments:
        checks, which = call.arguments["check"].distinct()
        if "po_match" in checks:
            is_match = which == checks.index("po_match")
            matched = _invoice_and_order(call, world)
            sides = sides.with_columns(
                pl.when(is_match).then(matched[name]).otherwise(name).alias(name) for name in matched.columns
            )
    compared = _compare_plain(sides)
    odd = compared["output"].is_null().arg_true()
    if len(odd):
        rows = sides[odd].select("lhs", "rhs", "allowed").iter_rows()
        others = _frame([_compare(*(None if text is None else decode(text) for text in row)) for row in rows])
        places = pl.Series("row", odd, dtype=pl.UInt32)
        compared = compared.with_row_index("row").update(others.insert_column(0, places), on="row").drop("row")
    return compared


def _invoice_and_order(call: Call, world: SimulatedWorld) -> pl.DataFrame:
    """Return per row the JSON texts of the invoice's amount and its purchase order's, null without such an order."""
    named = _strings(call.known("entities", "po_id"))
    orders = pl.DataFrame({"po_id": named}).join(world.purchase_orders, on="po_id", how="left", maintain_order="left")
    cents = pl.col("amount_cents")
    whole, part = (cents.abs() // 100).cast(pl.String), (cents.abs() % 100).cast(pl.String).str.zfill(2)
    ordered = pl.concat_str(pl.when(cents < 0).then(pl.lit("-")).otherwise(pl.lit("")), whole, pl.lit("."), part)
    return orders.select(call.known("entities", "amount").texts.alias("lhs"), ordered.alias("rhs"))


def _strings(column: Column) -> pl.Series:
    """Return the values of a column that are texts, null in place of others."""
    return pl.Series([value if isinstance(value, str) else None for value in column], dtype=pl.String)


_PLAIN = r"^-?\d{1,9}(\.\d{1,2})?$"
_SHARE = r"^\d(\.\d{1,4})?$"
_HUNDRED, _MILLION = 100, 1_000_000


def _compare_plain(sides: pl.DataFrame) -> pl.DataFrame:
    """Compare the rows whose sides are amounts in whole cents, in integers and so exactly; null where they are not."""
    is_plain = (
        sides["lhs"].str.contains(_PLAIN) & sides["rhs"].str.contains(_PLAIN) & sides["allowed"].str.contains(_SHARE)
    ).fill_null(value=False)
    plain = sides.with_columns(pl.when(is_plain).then(name).alias(name) for name in sides.columns)
    plain = plain.with_columns(
        left=_scaled("lhs", 2), right=_scaled("rhs", 2), share=_scaled("allowed", 4)
    ).with_columns(difference=pl.col("left") - pl.col("right"))
    right, difference = pl.col("right"), pl.col("difference")
    passed = difference.abs() * 10_000 <= pl.col("share") * right.abs()
    # Rounded half to even, as decimals are.
    millionths, rest = difference.abs() * _MILLION // right.abs(), difference.abs() * _MILLION % right.abs()
    is_up = (2 * rest > right.abs()) | ((2 * rest == right.abs()) & (millionths % 2 == 1))
    rounded = millionths + is_up.cast(pl.Int64)
    is_negative = (difference < 0) != (right < 0)
    variance = pl.concat_str(
        pl.when(is_negative & (difference != 0)).then(pl.lit("-")).otherwise(pl.lit("")),
        (rounded // _MILLION).cast(pl.String),
        pl.lit("."),
        (rounded % _MILLION).cast(pl.String).str.zfill(6),
    )
    output = pl.concat_str(
        pl.lit('{"pass":'),
        pl.when(passed).then(pl.lit("true")).otherwise(pl.lit("false")),
        pl.lit(',"lhs":'),
        "lhs",
        pl.lit(',"rhs":'),
        "rhs",
        pl.lit(',"variance":'),
        variance,
        pl.lit(',"tolerance":'),
        "allowed",
        pl.lit("}"),
    )
    return plain.select(
        output=pl.when(right != 0).then(output),
        error_code=pl.lit(None, dtype=pl.String),
        error_message=pl.lit(None, dtype=pl.String),
    )


def _scaled(text: str, places: int) -> pl.Expr:
    """Return a plain number's text as an integer of its last decimal place; what is that short is exact as a double."""
    return (pl.col(text).cast(pl.Float64) * 10**places).round().cast(pl.Int64)


def _compare(left: Any, right: Any, tolerance: Any) -> dict[str, Any]:
    if right is None:
        return _error(ErrorCode.NOT_FOUND, "there is nothing to compare with: the purchase order is unknown")
    try:
        invoiced, ordered, allowed = map(_number, (left, right, tolerance))
    except ValueError:
        return _error(ErrorCode.BAD_INPUT, "both sides and the tolerance must be numbers")
    if ordered == 0:
        return _error(ErrorCode.BAD_INPUT, "the right side is zero, a share of it is not defined")
    difference = invoiced - ordered
    passed = abs(difference) <= allowed * abs(ordered)
    return {
        "output": f'{{"pass":{"true" if passed else "false"},"lhs":{invoiced},"rhs":{ordered},'
        f'"variance":{difference / ordered:.6f},"tolerance":{allowed:f}}}'
    }


def _number(value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError from None
    # The size comes first: an exponent of thousands must not be written out.
    if not number.is_finite() or abs(number.adjusted()) > _MAX_EXPONENT:
        raise ValueError
    return number


def _hand_off(call: Call) -> pl.DataFrame:
    return _named(call, '{"handoff_id":"HO-', '","state":"waiting"}')


def _write(call: Call) -> pl.DataFrame:
    return _named(call, '{"record_id":"REC-', '","status":"posted"}')


def _send(call: Call) -> pl.DataFrame:
    return _named(call, '{"message_id":"MSG-', '","status":"queued"}')


def _named(call: Call, start: str, end: str) -> pl.DataFrame:
    """Return outputs that name what was made by the row's chance."""
    output = pl.concat_str(pl.lit(start), hexadecimal(call.seeds), pl.lit(end))
    nothing = pl.lit(None, dtype=pl.String)
    return pl.select(output=output, error_code=nothing, error_message=nothing)


def _error(code: ErrorCode, message: str) -> dict[str, Any]:
    return {"error_code": code.value, "error_message": message}


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {"output": pl.String, "error_code": pl.String, "error_message": pl.String}
    return pl.DataFrame(rows, schema=schema)
