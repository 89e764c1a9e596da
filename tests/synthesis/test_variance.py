"""Sustained variance: who over-bills is found, who does not is left alone, and the proof is of later invoices."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from guard.canonical import canonical
from synthesis.variance import (
    MATERIAL,
    CheckedStep,
    SustainedVariance,
    _wilson_lower,
    compared_invoices,
    find_sustained,
)
from tests.builders import Payables

STEP = CheckedStep("WF-FIN-001", "1.3.0", "F-02", Decimal("0.05"))
START = datetime(2024, 1, 1, tzinfo=UTC)
HONEST, GREEDY = (0.0, 0.012), (0.03, 0.009)
"""Mean and spread of what an invoice is above its order."""


@dataclass(frozen=True)
class Vendor:
    """How a vendor of a made-up world bills."""

    name: str
    invoices: int
    mean: float = HONEST[0]
    spread: float = HONEST[1]
    months: int = 18


def world(seed: int, vendors: Sequence[Vendor]) -> pl.DataFrame:
    """Return the compared invoices of `vendors`, spread over their months, as `compared_invoices` does."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    for vendor in vendors:
        days = rng.uniform(0, vendor.months * 30, vendor.invoices)
        variances = rng.normal(vendor.mean, vendor.spread, vendor.invoices)
        ordered = np.round(rng.lognormal(7, 1, vendor.invoices), 2)
        rows += [
            (vendor.name, START + timedelta(days=float(day)), float(amount), float(share))
            for day, share, amount in zip(days, variances, ordered, strict=True)
        ]
    return frame(rows)


def frame(rows: Sequence[tuple[str, datetime, float, float]]) -> pl.DataFrame:
    """Return (vendor, time, ordered, variance) as compared invoices."""
    return (
        pl.DataFrame(
            [(vendor, at, ordered, round(share, 6)) for vendor, at, ordered, share in rows],
            schema={
                "vendor_id": pl.String,
                "started_at": pl.Datetime("us", "UTC"),
                "ordered": pl.Float64,
                "variance": pl.Float64,
            },
            orient="row",
        )
        .with_columns(
            month=pl.col("started_at").dt.truncate("1mo").dt.date(),
            invoiced=pl.col("ordered") * (1 + pl.col("variance")),
        )
        .sort("started_at")
    )


def department(seed: int, *, greedy: int = 5, honest: int = 40, invoices: int = 80) -> pl.DataFrame:
    """Return a world of honest vendors and over-billers; these are called G-."""
    vendors = [Vendor(f"H-{number:02d}", invoices) for number in range(honest)]
    return world(seed, [*vendors, *(Vendor(f"G-{number}", invoices, *GREEDY) for number in range(greedy))])


def names(found: SustainedVariance | None) -> list[str]:
    return sorted(vendor["vendor_id"] for vendor in found.vendors) if found else []


def parts(invoices: pl.DataFrame, tolerance: float = 0.05) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the accepted invoices before and after the split, told apart in plain Python."""
    accepted = [row for row in invoices.iter_rows(named=True) if abs(row["variance"]) <= tolerance]
    accepted.sort(key=lambda row: row["started_at"])
    split = accepted[int(len(accepted) * 2 / 3)]["started_at"]
    return [r for r in accepted if r["started_at"] < split], [r for r in accepted if r["started_at"] >= split]


# Who is flagged


@pytest.mark.parametrize("seed", range(12))
def test_exactly_those_who_over_bill_are_flagged(seed: int) -> None:
    """The blueprint's proposal would be about the wrong vendors."""
    greedy = 3 + seed % 4
    found = find_sustained(department(seed, greedy=greedy), STEP)
    assert names(found) == [f"G-{number}" for number in range(greedy)]


def test_honest_vendors_raise_no_alarm() -> None:
    """One world in a hundred may; a vendor falsely accused of fraud costs more than one found a month later."""
    alarms = [seed for seed in range(50) if find_sustained(department(seed, greedy=0, honest=20, invoices=60), STEP)]
    assert len(alarms) <= 1, alarms


def test_over_billing_below_what_matters_is_left_alone() -> None:
    """Half a per cent would set people to work for less than they cost."""
    vendors = [Vendor(f"H-{number}", 80) for number in range(20)]
    slightly = [Vendor("G-slight", 200, MATERIAL / 2, 0.004)]
    assert find_sustained(world(1, [*vendors, *slightly]), STEP) is None


def test_few_invoices_prove_nothing() -> None:
    """A vendor would be accused after a handful of invoices, however far they are off."""
    honest = [Vendor(f"H-{number}", 80) for number in range(20)]
    early = [("G-0", START + timedelta(days=20 * n), 100.0, 0.04) for n in range(19)]
    rows = world(2, honest).select("vendor_id", "started_at", "ordered", "variance").rows()
    assert find_sustained(frame([*rows, *early]), STEP) is None
    assert names(find_sustained(frame([*rows, *early, ("G-0", START, 100.0, 0.041)]), STEP)) == ["G-0"]


def test_a_bad_month_is_not_sustained() -> None:
    """A price rise that took two months to agree upon would count as fraud."""
    honest = [Vendor(f"H-{number}", 80) for number in range(20)]
    two_months = Vendor("G-0", 100, *GREEDY, months=2)
    assert find_sustained(world(3, [*honest, two_months]), STEP) is None
    assert names(find_sustained(world(3, [*honest, Vendor("G-0", 100, *GREEDY, months=6)]), STEP)) == ["G-0"]


def test_a_few_bad_months_among_good_ones_are_not_sustained() -> None:
    """The mean of a vendor that billed far too much once would stay above zero for a year."""
    honest = world(4, [Vendor(f"H-{number}", 80) for number in range(20)])
    rows = honest.select("vendor_id", "started_at", "ordered", "variance").rows()
    rng = np.random.default_rng(4)
    for month in range(12):
        mean = 0.045 if month < 8 else -0.005
        rows += [("G-0", START + timedelta(days=30 * month + n), 100.0, rng.normal(mean, 0.001)) for n in range(10)]
    assert find_sustained(frame(rows), STEP) is None


def test_what_fails_the_check_is_left_out() -> None:
    """What is stopped today would be counted as slipping through."""
    honest = world(5, [Vendor(f"H-{number}", 80) for number in range(20)])
    rows = honest.select("vendor_id", "started_at", "ordered", "variance").rows()
    rows += [("G-0", START + timedelta(days=5 * n), 100.0, 0.08) for n in range(100)]
    assert find_sustained(frame(rows), STEP) is None


def test_without_invoices_there_is_nothing_to_find() -> None:
    """A new installation's first reflection would fail."""
    assert find_sustained(frame([]), STEP) is None
    assert find_sustained(frame([("V", START, 100.0, 0.2)]), STEP) is None
    assert find_sustained(frame([("V", START, 100.0, 0.01)]), STEP) is None


def test_the_worst_come_first_with_their_numbers() -> None:
    """Whoever reads the proposal could not check it."""
    invoices = department(6)
    found = find_sustained(invoices, STEP)
    assert found is not None
    mined, _ = parts(invoices)
    for vendor in found.vendors:
        own = [row for row in mined if row["vendor_id"] == vendor["vendor_id"]]
        shares = [row["variance"] for row in own]
        assert vendor["invoices"] == len(own)
        assert vendor["months"] == len({row["month"] for row in own})
        assert float(vendor["mean_over_billing"]) == pytest.approx(np.mean(shares), abs=1e-5)
        # One in a hundred over 45 vendors looked at: the one-sided normal quantile of 1 - 0.01/45.
        bound = np.mean(shares) - 3.51 * np.std(shares, ddof=1) / math.sqrt(len(own))
        assert float(vendor["lower_bound"]) == pytest.approx(bound, abs=1e-4)
    means = [vendor["mean_over_billing"] for vendor in found.vendors]
    assert means == sorted(means, reverse=True)


# The tolerance


@pytest.mark.parametrize("seed", range(8))
def test_the_tolerance_is_what_the_other_vendors_need(seed: int) -> None:
    """A number out of the air would stop honest invoices, or nothing."""
    invoices = department(seed)
    found = find_sustained(invoices, STEP)
    assert found is not None
    mined, _ = parts(invoices)
    others = np.array([abs(row["variance"]) for row in mined if not row["vendor_id"].startswith("G-")])
    needed = np.quantile(others, 0.995, method="higher")
    expected = (Decimal(str(needed)) / Decimal("0.001")).to_integral_value(ROUND_CEILING) * Decimal("0.001")
    assert found.tolerance == expected
    assert np.mean(others <= float(expected)) >= 0.995
    assert expected < STEP.tolerance


def test_a_tolerance_that_is_no_tighter_is_not_proposed() -> None:
    """A proposal would loosen the rule, or change nothing."""
    invoices = department(7)
    found = find_sustained(invoices, STEP)
    assert found is not None
    assert found.tolerance is not None
    tightened = CheckedStep("WF-FIN-001", "1.4.0", "F-02", found.tolerance)
    again = find_sustained(invoices, tightened)
    assert again is None or again.tolerance is None or again.tolerance < found.tolerance
    wide = world(8, [*(Vendor(f"H-{n}", 80, 0.0, 0.03) for n in range(20)), Vendor("G-0", 90, *GREEDY)])
    loose = find_sustained(wide, STEP)
    assert loose is not None
    assert loose.tolerance is None
    assert "tolerance_would_have_stopped" not in loose.evidence
    assert [action["type"] for action in loose.insight().proposed_actions] == ["new_workflow"]


def test_too_few_other_invoices_bear_no_tolerance() -> None:
    """The quantile of nineteen invoices would rule over all to come."""
    invoices = world(9, [Vendor("G-0", 120, *GREEDY), Vendor("H-0", 19)])
    found = find_sustained(invoices, STEP)
    assert found is not None
    assert found.tolerance is None


# The proof


def test_the_evidence_is_counted_over_later_invoices_only() -> None:
    """What was mined would prove itself."""
    invoices = department(10)
    found = find_sustained(invoices, STEP)
    assert found is not None
    assert found.tolerance is not None
    mined, later = parts(invoices)
    flagged = [row for row in later if row["vendor_id"].startswith("G-")]
    above = [row for row in flagged if row["variance"] > 0]
    stopped = [row for row in later if abs(row["variance"]) > float(found.tolerance)]
    of_flagged = [row for row in stopped if row["vendor_id"].startswith("G-")]

    def excess(rows: Sequence[Mapping[str, Any]]) -> float:
        return math.fsum(row["invoiced"] - row["ordered"] for row in rows)

    told = found.evidence["later"]
    assert (told["invoices"], told["over_billed"]) == (len(flagged), len(above))
    assert float(told["over_billed_share"]) == round(len(above) / len(flagged), 4)
    assert float(told["over_billed_amount"]) == pytest.approx(excess(above), abs=0.01)
    assert float(told["mean_over_billing"]) == pytest.approx(np.mean([r["variance"] for r in flagged]), abs=1e-5)
    told = found.evidence["tolerance_would_have_stopped"]
    assert (told["invoices"], told["of_these_vendors"]) == (len(stopped), len(of_flagged))
    assert told["of_others"] == len(stopped) - len(of_flagged)
    assert float(told["amount_above_order"]) == pytest.approx(excess(of_flagged), abs=0.01)
    assert float(told["share_of_all_accepted"]) == round(len(stopped) / len(later), 4)
    assert found.evidence["mined_until"] == later[0]["started_at"].isoformat()
    assert mined[-1]["started_at"] < later[0]["started_at"]
    assert found.confidence == pytest.approx(_wilson_lower(len(above), len(flagged)))


def test_later_invoices_do_not_choose_who_is_accused() -> None:
    """The proof would be no proof: what happens after the split may change the evidence, not the vendors."""
    invoices = department(11)
    found = find_sustained(invoices, STEP)
    assert found is not None
    split = datetime.fromisoformat(found.evidence["mined_until"])
    is_later = pl.col("started_at") >= split
    turned = invoices.with_columns(variance=pl.when(is_later).then(-pl.col("variance")).otherwise("variance"))
    again = find_sustained(turned, STEP)
    assert again is not None
    assert (again.vendors, again.tolerance) == (found.vendors, found.tolerance)
    assert again.confidence < 0.1 < 0.9 < found.confidence


def test_who_stopped_billing_is_not_proved() -> None:
    """A share of no invoices would be an error, or a certainty."""
    invoices = world(12, [*(Vendor(f"H-{n}", 80) for n in range(20)), Vendor("G-0", 60, *GREEDY, months=6)])
    found = find_sustained(invoices, STEP)
    assert found is not None
    assert found.evidence["later"]["invoices"] == 0
    assert (found.confidence, found.evidence["later"]["mean_over_billing"]) == (0.0, None)


def test_rows_in_any_order_give_the_same_finding() -> None:
    """A compaction of the lake would give another proposal."""
    invoices = department(13)
    shuffled = invoices.sample(fraction=1.0, shuffle=True, seed=1).sort("started_at")
    first, second = find_sustained(invoices, STEP), find_sustained(shuffled, STEP)
    assert first is not None
    assert second is not None
    assert canonical(first.insight().insight) == canonical(second.insight().insight)


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(8, 10, 0.4902), (0, 10, 0.0), (10, 10, 0.7225), (95, 100, 0.8882), (0, 0, 0.0), (0, 3, 0.0)],
)
def test_confidence_is_wilsons_lower_bound(successes: int, trials: int, expected: float) -> None:
    """Ten of ten would be a certainty; the values are those of Newcombe (1998) and of the formula by hand."""
    bound = _wilson_lower(successes, trials)
    assert bound == pytest.approx(expected, abs=5e-5)
    assert 0 <= bound <= 1  # the registry takes no other share


# What is compared


def test_what_a_step_compared_comes_back_with_its_vendor(tmp_path: Any) -> None:
    """Learning would see other amounts than the engine compared."""
    payables = Payables(tmp_path)
    payables.invoice("1", billed="103.00", vendor="VEND-7")
    payables.invoice("2", billed="250.00", ordered="200.00")
    payables.invoice("3", legible=False)
    payables.invoice("4", ordered=None)
    payables.execute()
    compared = compared_invoices(payables.lake, STEP)
    assert sorted(compared.select("vendor_id", "invoiced", "ordered", "variance").rows()) == [
        ("VEND-1", 250.0, 200.0, 0.25),
        ("VEND-7", 103.0, 100.0, 0.03),
    ]
