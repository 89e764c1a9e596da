"""Events as outside systems send them, made by the column: a million in a second, the same from the same seed."""

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import numpy as np
import polars as pl

START = datetime(2024, 1, 1, tzinfo=UTC)
MONTHS = 18
FILE_EVENTS = 100_000
_SPAN_MS = int((datetime(2025, 7, 1, tzinfo=UTC) - START).total_seconds() * 1000)


class Mix(StrEnum):
    """Which events a stream holds: about half with a member marked personal, all or none."""

    HALF = "half"
    ALL = "all"
    NONE = "none"


_SHARES = {
    # topic: share of the mix; the first is the only one with a member that its schema marks as personal
    Mix.HALF: {
        "ap.invoice.received": 0.5,
        "handoff.decided": 0.2,
        "it.provision.complete": 0.2,
        "hr.offer.signed": 0.1,
    },
    Mix.ALL: {"ap.invoice.received": 1.0},
    Mix.NONE: {"handoff.decided": 0.4, "it.provision.complete": 0.4, "hr.offer.signed": 0.2},
}


def land(
    inbox: Path,
    count: int,
    *,
    first: int = 0,
    of: int | None = None,
    mix: Mix = Mix.HALF,
    is_shuffled: bool = False,
    seed: int = 7,
) -> int:
    """Write events into `inbox` as files of NDJSON with `FILE_EVENTS` each; return their size in bytes.

    Args:
        first, of: where these events begin among how many, so that a stream can be landed by and by.
        is_shuffled: let every file hold times of all months; else times grow from event to event. Ids are in no order.
    """
    size, of = 0, of or count
    for start in range(first, first + count, FILE_EVENTS):
        number = min(FILE_EVENTS, first + count - start)
        rng = np.random.default_rng([seed, start])
        moments = rng.uniform(0 if is_shuffled else start / of, 1 if is_shuffled else (start + number) / of, number)
        if not is_shuffled:
            moments.sort()
        content = _lines(rng, start, (moments * _SPAN_MS).astype(np.int64), mix)
        partial = inbox / f".{start:010}.partial"
        partial.write_bytes(content)
        partial.rename(inbox / f"events-{start:010}.ndjson")
        size += len(content)
    return size


def _lines(rng: np.random.Generator, first: int, since_start: np.ndarray, mix: Mix) -> bytes:
    count = len(since_start)
    shares = _SHARES[mix]
    topic = rng.choice(list(shares), count, p=list(shares.values()))
    bits = rng.integers(0, 1 << 62, (4, count))
    frame = pl.DataFrame(
        {
            "topic": topic,
            "at": since_start,
            "number": np.arange(first, first + count),
            "a": bits[0],
            "b": bits[1],
            "vendor": rng.integers(100, 2_000, count),
            "person": rng.integers(0, 40_000, count),
            "choice": rng.integers(0, 4, count),
        }
    ).with_columns(at=pl.lit(START.replace(tzinfo=None)).cast(pl.Datetime("ms")) + pl.duration(milliseconds="at"))
    at = pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    digits = (pl.col("a").hash(1).cast(pl.String) + pl.col("b").hash(2).cast(pl.String)).str.pad_end(40, "0")
    groups = [digits.str.slice(start, length) for start, length in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
    event_id = pl.concat_str(groups, separator="-")
    number, vendor, person, choice = (pl.col(name) for name in ("number", "vendor", "person", "choice"))
    decision = pl.when(choice == 0).then(pl.lit("rejected")).otherwise(pl.lit("approved"))
    payloads = {
        "ap.invoice.received": _join(
            '{"invoice_uri":"sim://ap-inbox/', number, '.pdf","vendor_id":"VEND-', vendor, '","po_id":"PO-', number,
            '","received_at":"', at, '","sender":"clerk.', person, "@vend-", vendor, '.example"}',
        ),
        "handoff.decided": _join(
            '{"subject_id":"', event_id, '","decision":"', decision, '","decided_by":"FA-M-00', choice,
            '","reason":"the amounts of order ', number, ' agree"}',
        ),
        "it.provision.complete": _join(
            '{"user_id":"U-', person, '","accounts":["mail","erp","wiki-', choice, '","vpn"],"dt":"', at, '"}',
        ),
        "hr.offer.signed": _join(
            '{"candidate_id":"CAND-', number, '","role_id":"FA-IC-00', choice, '","start_date":"',
            pl.col("at").dt.strftime("%Y-%m-01"), '"}',
        ),
    }  # fmt: skip
    payload = pl.coalesce(pl.when(pl.col("topic") == name).then(text) for name, text in payloads.items())
    line = _join(
        '{"event_id":"', event_id, '","topic":"', pl.col("topic"), '","payload":', payload, ',"produced_at":"', at,
        '","producer_id":"', pl.col("topic").str.slice(0, 2), "-gateway-", choice, '"}\n',
    )  # fmt: skip
    return b"".join(text.encode() for text in frame.select(line.alias("line"))["line"])


def _join(*parts: "pl.Expr | str") -> pl.Expr:
    return pl.concat_str(pl.lit(part) if isinstance(part, str) else part.cast(pl.String) for part in parts)


if __name__ == "__main__":
    folder, its_count, its_first, its_of, order = sys.argv[1:]
    land(Path(folder), int(its_count), first=int(its_first), of=int(its_of), is_shuffled=order == "any")
