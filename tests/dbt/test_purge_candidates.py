"""The plan of the purge: SQL states it for readers, Python makes it again before anything goes; both say the same."""

import json
import random
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from lake.retention import Hold, Retained, Rule, limits, plan
from lake.tables import LEGAL_HOLD, POLICY, RETAINED_DATA
from registry.purging import candidate_of

RANKS = ("statutory", "contractual", "corporate", "domain", "workflow-local")
CLASSES = ("events", "telemetry", "pii")


@pytest.mark.parametrize("seed", range(4))
def test_the_mart_says_what_the_plan_says(world: Any, seed: int) -> None:
    """A purge would be refused for ever, or take what no reader of the mart could see."""
    chance, today = random.Random(seed), world.home.now().date()
    rules, policies = [], []
    for number in range(chance.randrange(1, 6)):
        spec: dict[str, dict[str, int]] = {"retention_days": {}, "min_days": {}}
        for retention in CLASSES:
            for stated in spec.values():
                if chance.random() < 0.5:
                    stated[retention] = chance.randrange(1, 60)
        rank, holds = chance.choice(RANKS), chance.random() < 0.8
        scope = chance.choice(["data", "compliance"])
        ends = datetime(2020, 1, 1, tzinfo=UTC) if not holds else None
        known = {"policy_id": f"P-{number}", "precedence": rank, "scope": scope, "effective_to": ends}
        policies.append(world.row(POLICY, **known) | {"spec": json.dumps(spec)})
        for retention in CLASSES if holds else ():
            longest, shortest = (spec[name].get(retention) for name in ("retention_days", "min_days"))
            rules.append(Rule(f"P-{number}", rank, retention, longest, shortest))
    world.mirror(POLICY, *policies, world.row(POLICY, policy_id="other", scope="security"))
    rows, held = [], []
    for table, retention in (("event_bus", "events"), ("step_run", "telemetry"), ("step_run", "pii")):
        for month in (date(2024, number, 1) for number in range(1, 7)):
            for day in {today - timedelta(days=chance.randrange(70)) for _ in range(3 if retention == "pii" else 1)}:
                count = chance.choice([0, 1, 5])
                rows.append(Retained(table, retention, month, day, day - timedelta(days=2), count, f"{month}"))
    world.mirror(
        RETAINED_DATA,
        *({("month_on" if n == "month" else n): v for n, v in asdict(row).items()} for row in rows),
    )
    for number in range(4):
        first = date(2024, chance.randrange(1, 6), 1)
        hold = Hold(f"H-{number}", chance.choice(["event_bus", "step_run", "*", "landing"]), first, first)
        is_released = chance.random() < 0.3
        released = datetime(2025, 1, 1, tzinfo=UTC) if is_released else None
        world_row = world.row(LEGAL_HOLD, **asdict(hold), released_at=released)
        held.append((hold, is_released, world_row))
    world.mirror(LEGAL_HOLD, *(row for _, _, row in held))
    world.build()

    names = "table_name, month, retention, policy_id, limit_days, max_days, kept_by, rows, oldest_on, through_on"
    found = world.query(f"select {names}, due_on, held_by, decision, fingerprint from marts.purge_candidates")
    columns = [*names.split(", "), "due_on", "held_by", "decision", "fingerprint"]
    stated = sorted((candidate_of(dict(zip(columns, row, strict=True))) for row in found), key=lambda c: c.key)
    in_force = [hold for hold, is_released, _ in held if not is_released]
    expected = plan(rows, limits=limits(rules).values(), holds=in_force, today=today)
    assert stated == expected
    assert len({candidate.decision for candidate in stated}) > 1, "the plan is about something"


def test_a_policy_that_states_nonsense_is_no_limit_in_the_mart_either(world: Any) -> None:
    """The plan would list what no purge takes: every purge would be refused for it, and what is past stay for ever."""
    past = world.home.now().date() - timedelta(days=500)
    row = asdict(Retained("event_bus", "events", date(2024, 1, 1), past, past, 1, "f"))
    world.mirror(RETAINED_DATA, {("month_on" if name == "month" else name): value for name, value in row.items()})
    policies = [
        world.row(POLICY, policy_id=days, scope="data") | {"spec": f'{{"retention_days": {{"events": {days}}}}}'}
        for days in ('"399"', "true", "1.5", "0", "null", "400")
    ]
    world.mirror(POLICY, *policies)
    world.build()
    assert world.query("select policy_id, limit_days from marts.purge_candidates") == [("400", 400)]
