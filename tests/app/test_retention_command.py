"""`rwcm retention` as a user meets it: who may, what it says, and what it leaves in the audit."""

import json
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from app.cli import main
from guard.canonical import parse
from lake.home import Home
from lake.store import Lake
from lake.tables import EVENT_BUS, OUTBOX, PURGE_RECEIPT
from registry.database import Registry


@pytest.fixture
def home(copied_world: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("RWCM_HOME", str(copied_world.root))
    monkeypatch.delenv("RWCM_TOKEN", raising=False)
    return copied_world


def rwcm(*arguments: str, role: str | None = None) -> Any:
    """Call the command, with the token of somebody in `role`."""
    environment = {}
    if role:
        issued = CliRunner().invoke(main, ["token", "issue", "--role", role, "--subject", f"u-{role[:3].lower()}"])
        environment["RWCM_TOKEN"] = issued.stdout.strip()
    return CliRunner().invoke(main, ["retention", *arguments], env=environment)


def audit(home: Home, topic: str) -> list[dict[str, Any]]:
    registry = Registry.open(home.registry_db)
    rows = registry.frame(OUTBOX).filter(pl.col("topic") == topic)
    registry.close()
    return [parse(payload) for payload in rows["payload"]]


def test_who_does_not_answer_for_the_policy_purges_nothing_and_is_recorded(home: Home) -> None:
    """Anybody with a shell could destroy evidence, and nobody would know who tried."""
    before = Lake(home.lake).version(EVENT_BUS)
    unknown = rwcm("apply", "--apply")
    assert (unknown.exit_code, "RWCM_TOKEN" in unknown.stderr) == (2, True)
    for role in ("FA-M-001", "LGL-M-001"):
        denied = rwcm("apply", "--apply", role=role)
        assert denied.exit_code == 2
        assert "may not purge policy POL-DATA-001: it needs its owner SEC-M-001" in denied.stderr
    assert Lake(home.lake).version(EVENT_BUS) == before
    assert [(e["action"], e["role_id"]) for e in audit(home, "access.denied")] == [
        ("purge", "FA-M-001"),
        ("purge", "LGL-M-001"),
    ]


def test_a_purge_is_planned_held_tried_and_applied(home: Home) -> None:
    """The path from the plan to the receipt would break somewhere, or act where it only says so."""
    plan = json.loads(rwcm("plan", "--json").stdout)
    months = sorted(row["month"][:7] for row in plan if row["table_name"] == "event_bus")
    held = rwcm("hold", "event_bus", months[0], "--reason", "Case 7", role="LGL-M-001")
    assert held.exit_code == 0, held.stderr
    hold_id = held.stdout.split()[1].rstrip(";")
    shown = {(row["table_name"], row["month"][:7]): row for row in json.loads(rwcm("plan", "--json").stdout)}
    assert shown["event_bus", months[0]]["held_by"] == [hold_id]  # before the mart is built anew

    before = Lake(home.lake).scan(EVENT_BUS).collect().height
    tried = rwcm("apply", role="SEC-M-001")
    assert tried.exit_code == 0, tried.stderr
    assert f"{len(plan) - 1} would go; nothing changed. --apply lets them go." in tried.stdout
    assert Lake(home.lake).scan(EVENT_BUS).collect().height == before

    done = json.loads(rwcm("apply", "--apply", "--json", role="SEC-M-001").stdout)
    became = {(row["table_name"], row["retention"], row["month"][:7]): row["became"] for row in done}
    assert became.pop(("event_bus", "events", months[0])) == "held"
    assert set(became.values()) == {"purged"}
    assert f"{min(m for m in Lake(home.lake).stats(EVENT_BUS) if m):%Y-%m}" == months[0]
    receipts = json.loads(rwcm("receipts", "--json").stdout)
    assert len(receipts) == len(plan) - 1
    assert {receipt["actor"] for receipt in receipts} == {"u-sec"}
    both = json.loads(rwcm("receipts", "--dry", "--json").stdout)
    assert len(both) == 2 * (len(plan) - 1)

    (left,) = json.loads(rwcm("plan", "--json").stdout)
    assert (left["decision"], left["held_by"]) == ("held", [hold_id])
    assert "held" in rwcm("plan").stdout
    released = rwcm("release", hold_id[:13], "--reason", "settled", role="LGL-M-001")
    assert released.exit_code == 0, released.stderr
    assert "settled" not in rwcm("holds").stdout
    (listed,) = json.loads(rwcm("holds", "--json").stdout)
    assert (listed["released_by"], listed["release_reason"]) == ("u-lgl", "settled")
    assert [e["action"] for e in audit(home, "retention.hold")] == ["set", "released"]


def test_a_hold_on_a_month_that_is_not_there_says_what_to_do_and_is_recorded(home: Home) -> None:
    """Whoever holds nothing would believe that the evidence is safe."""
    for month, said in (("2031-01", "event_bus holds nothing of 2031-01"), ("soon", "write it as 2025-03")):
        refused = rwcm("hold", "event_bus", month, "--reason", "Case 7", role="LGL-M-001")
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr
    assert [event["action"] for event in audit(home, "retention.hold")] == ["refused", "refused"]
    assert rwcm("holds").stdout == "nothing is held\n"
    assert Lake(home.lake).scan(PURGE_RECEIPT).collect().is_empty()
    assert "no purge took anything yet" in rwcm("receipts").stdout
