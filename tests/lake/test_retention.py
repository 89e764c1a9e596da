"""What is past its limit goes, to the day; what a hold or a law keeps stays, and says why."""

import itertools
from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lake.retention import HOLDINGS, Candidate, Decision, Hold, Limit, Retained, Rule, limits, plan

TODAY = date(2025, 12, 31)
MARCH = date(2025, 3, 1)
RANKS = ["statutory", "contractual", "corporate", "domain", "workflow-local"]


def rule(days: int, *, precedence: str = "corporate", policy: str = "P", **options: Any) -> Rule:
    return Rule(policy, precedence, "events", **({"max_days": days} | options))


def row(recorded_on: date, **options: Any) -> Retained:
    known = {"table_name": "event_bus", "retention": "events", "month": MARCH, "rows": 5, "fingerprint": "f"}
    return Retained(**{"recorded_on": recorded_on, "oldest_on": recorded_on, **known, **options})


def planned(*rows: Retained, holds: tuple[Hold, ...] = (), limit: Limit | None = None) -> list[Candidate]:
    found = limit or Limit("events", 100, 100, "P")
    return plan(rows, limits=[found], holds=holds, today=TODAY)


def test_what_ends_is_what_the_design_names_and_the_rest_is_a_record() -> None:
    """A table would be kept for ever that should not be, or a record of what was decided would go."""
    stated = {(h.spec.name, h.retention.value): {column.name for column in h.columns} for h in HOLDINGS}
    assert stated == {
        ("event_bus", "events"): set(),
        ("event_dead_letter", "events"): set(),
        ("run_episode", "pii"): {"case_attributes"},
        ("step_run", "telemetry"): {"input", "output", "error", "telemetry"},
        ("step_run", "pii"): {"input", "resource"},
    }


def test_a_month_goes_on_the_day_after_its_newest_row_is_past() -> None:
    """A row would go a day before its time is over, or stay a day beyond it."""
    last_day = TODAY - timedelta(days=100)
    assert planned(row(last_day)) == []
    (candidate,) = planned(row(last_day - timedelta(days=1)))
    assert (candidate.decision, candidate.due_on) == (Decision.PURGE, TODAY)


def test_a_held_month_survives_and_is_listed() -> None:
    """An auditor asks why data still exists as often as why it is gone."""
    past = row(date(2025, 3, 31))
    for hold, decision in (
        (Hold("H", "event_bus", MARCH, MARCH), Decision.HELD),
        (Hold("H", "*", date(2025, 1, 1), date(2025, 12, 1)), Decision.HELD),
        (Hold("H", "step_run", MARCH, MARCH), Decision.PURGE),
        (Hold("H", "event_bus", date(2025, 1, 1), date(2025, 2, 1)), Decision.PURGE),
        (Hold("H", "event_bus", date(2025, 4, 1), date(2025, 5, 1)), Decision.PURGE),
    ):
        (candidate,) = planned(past, holds=(hold,))
        assert candidate.decision is decision, hold
        assert candidate.held_by == (("H",) if decision is Decision.HELD else ())


def test_personal_data_goes_by_the_day_and_what_came_later_stays() -> None:
    """A month would be kept until its last day is over, or taken with days that are not."""
    days = [TODAY - timedelta(days=count) for count in (13, 12, 11, 10, 9)]
    rows = [row(day, retention="pii", rows=count) for count, day in enumerate(days, 1)]
    (candidate,) = planned(*rows, limit=Limit("pii", 10, 10, "P"))
    assert (candidate.rows, candidate.oldest_on, candidate.through_on) == (1 + 2 + 3, days[0], days[2])


def test_a_minimum_keeps_what_a_shorter_maximum_would_end() -> None:
    """What the law wants kept would be deleted by a house rule."""
    kept = limits([rule(100), rule(0, policy="L", precedence="statutory", max_days=None, min_days=400)])["events"]
    assert kept == Limit("events", 400, 100, "P", "L")
    (candidate,) = planned(row(date(2025, 3, 31)), limit=kept)
    assert (candidate.decision, candidate.kept_by) == (Decision.KEPT_MIN_DAYS, "L")
    assert candidate.due_on == date(2025, 3, 31) + timedelta(days=401)


def test_of_equal_minima_the_first_policy_is_named() -> None:
    """The mart names the first one in order; two plans that differ in it are stale for ever."""
    keeping = [rule(0, policy=policy, max_days=None, min_days=400) for policy in ("L-1", "L-10", "L-2")]
    assert limits([rule(100), *keeping[::-1]])["events"].kept_by == "L-1"


def test_a_minimum_of_a_lower_precedence_beats_nothing() -> None:
    """A workflow's own rule would keep personal data that a law wants deleted."""
    stated = [rule(100, precedence="statutory"), rule(0, policy="W", precedence="domain", max_days=None, min_days=400)]
    assert limits(stated)["events"] == Limit("events", 100, 100, "P")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(RANKS), st.one_of(st.none(), st.integers(1, 9)), st.one_of(st.none(), st.integers(1, 9))
        ),
        max_size=5,
    )
)
def test_the_limit_is_the_shortest_way_to_keep_every_minimum_that_may_speak(stated: list[tuple[str, Any, Any]]) -> None:
    """Two policies would give a limit that neither allows, or that depends on the order in which they are read."""
    rules = [
        Rule(f"P-{number}", rank, "events", longest, shortest)
        for number, (rank, longest, shortest) in enumerate(stated)
    ]
    # Day by day: a maximum ends a day unless a minimum of its rank or above still wants it.
    ends = [
        next(
            day
            for day in itertools.count(longest)
            if not any(
                shortest is not None and day < shortest and RANKS.index(other) <= RANKS.index(rank)
                for other, _, shortest in stated
            )
        )
        for rank, longest, _ in stated
        if longest is not None
    ]
    found = limits(rules).get("events")
    assert (found.days if found else None) == (min(ends) if ends else None)
    assert limits(rules[::-1]) == limits(rules)
