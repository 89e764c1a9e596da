"""The inbox: what waits for a person is listed, decided once and given on, and the episode goes on."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.tables import OPEN_EPISODE, OUTBOX, RUN_EPISODE
from registry.access import Denied
from registry.objects import NotRegistered
from registry.permissions import Principal
from runtime.handoffs import HandoffFault, decide_handoff, find_handoff, handoffs, reassign_handoff
from tests.builders import NINE, Payables, event

MANAGER = Principal("u-17", "person", "FA-M-001")
CLERK = Principal("u-2", "person", "FA-IC-001")
NOON = NINE + timedelta(hours=3)


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    made = Payables(tmp_path / "home")
    made.invoice("fine")
    made.invoice("steep", billed="150.00")
    made.invoice("later", billed="170.00", at=NINE + timedelta(hours=1))
    made.execute(now=NOON)
    return made


def announced(payables: Payables, topic: str) -> list[dict[str, Any]]:
    rows = payables.registry.frame(OUTBOX).filter(pl.col("topic") == topic)
    return [json.loads(payload) for payload in rows["payload"]]


def deliver(payables: Payables) -> None:
    """Let what was decided arrive in the event bus, as the asset `outbox` does."""
    rows = payables.registry.frame(OUTBOX).filter(pl.col("topic") == "handoff.decided")
    payables.arrive(
        *(
            event(event_id, "handoff.decided", json.loads(payload), at)
            for event_id, payload, at in rows.select("event_id", "payload", "produced_at").iter_rows()
        )
    )


def outcomes(payables: Payables) -> dict[str, str]:
    return dict(payables.table(RUN_EPISODE).select("trigger_event_id", "outcome").iter_rows())


def test_what_waits_is_listed_by_when_it_is_due(payables: Payables) -> None:
    """Somebody would miss what runs out first."""
    steep, later = handoffs(payables.registry)
    assert [steep.payload["po_id"], later.payload["po_id"]] == ["PO-steep", "PO-later"]
    assert (steep.workflow_id, steep.step_id, steep.owner_role_id) == ("WF-FIN-001", "F-03", "FA-M-001")
    assert steep.due_at - steep.waiting_since == timedelta(hours=72)
    assert steep.asked is not None
    assert "PO_MISMATCH" in steep.asked.values()
    assert steep.correlates == {"subject_id": "EV-steep"}
    assert handoffs(payables.registry, owner_role_id="IT-M-001") == []


def test_a_handoff_keeps_its_name_while_it_waits(payables: Payables) -> None:
    """An id noted in the morning would name nothing after the next execution."""
    before = [handoff.handoff_id for handoff in handoffs(payables.registry)]
    payables.execute(now=NOON + timedelta(hours=1))
    assert [handoff.handoff_id for handoff in handoffs(payables.registry)] == before


def test_it_is_found_by_id_beginning_or_episode(payables: Payables) -> None:
    """A person would have to type 36 characters, or decide the wrong one."""
    steep, _ = handoffs(payables.registry)
    for name in (steep.handoff_id, steep.handoff_id[:8], steep.episode_id):
        assert find_handoff(payables.registry, name) == steep
    for name in ("", "0000", steep.handoff_id[:3]):
        with pytest.raises(HandoffFault, match="handoffs list"):
            find_handoff(payables.registry, name)


@pytest.mark.parametrize(("decision", "outcome"), [("approved", "success"), ("rejected", "partial")])
def test_a_decision_reaches_its_episode(payables: Payables, decision: str, outcome: str) -> None:
    """A decision would lie somewhere, and the invoice wait for its time to run out."""
    steep, later = handoffs(payables.registry)
    event_id = decide_handoff(
        payables.registry, steep.handoff_id, decision, principal=MANAGER, now=NOON, reason="agreed by phone"
    )
    assert announced(payables, "handoff.decided") == [
        {"subject_id": "EV-steep", "decision": decision, "decided_by": "u-17", "reason": "agreed by phone"}
    ]
    assert event_id in payables.registry.frame(OUTBOX)["event_id"]
    deliver(payables)
    payables.execute(now=NOON + timedelta(hours=1))
    assert outcomes(payables)["EV-steep"] == outcome
    assert [handoff.handoff_id for handoff in handoffs(payables.registry)] == [later.handoff_id]


def test_a_handoff_is_decided_once(payables: Payables) -> None:
    """Approved and rejected would both be on record, and the order of events would say which holds."""
    steep, later = handoffs(payables.registry)
    decide_handoff(payables.registry, steep.handoff_id, "approved", principal=MANAGER, now=NOON)
    for decision in ("approved", "rejected"):
        with pytest.raises(HandoffFault, match="was approved by u-17"):
            decide_handoff(payables.registry, steep.handoff_id, decision, principal=MANAGER, now=NOON)
    with pytest.raises(HandoffFault, match="was approved by u-17"):
        reassign_handoff(payables.registry, steep.handoff_id, "FA-IC-001", principal=MANAGER, now=NOON)
    assert len(announced(payables, "handoff.decided")) == 1
    assert handoffs(payables.registry) == [later]
    assert len(handoffs(payables.registry, is_decided=True)) == 2


def test_a_decision_after_the_episode_went_on_is_refused(payables: Payables) -> None:
    """Somebody would believe to have decided what was over."""
    steep, _ = handoffs(payables.registry)
    late = steep.due_at + timedelta(minutes=1)
    with pytest.raises(HandoffFault, match="its time was over"):
        decide_handoff(payables.registry, steep.handoff_id, "approved", principal=MANAGER, now=late)
    payables.execute(now=late)
    with pytest.raises(HandoffFault, match="no handoff waits under"):
        decide_handoff(payables.registry, steep.handoff_id, "approved", principal=MANAGER, now=NOON)


@pytest.mark.parametrize(
    ("principal", "why"),
    [
        (CLERK, "FA-M-001 or one above"),
        (Principal("u-9", "person", "IT-M-001"), "FA-M-001 or one above"),
        (Principal("AG-ERP-001", "agent", "FA-IC-001"), "does not list decide"),
        (Principal("u-9", "person", "NO-ROLE"), "not registered"),
    ],
)
def test_who_does_not_act_for_the_owner_decides_nothing(payables: Payables, principal: Principal, why: str) -> None:
    """The clerk who made the invoice would approve it."""
    steep, _ = handoffs(payables.registry)
    for work in (
        lambda: decide_handoff(payables.registry, steep.handoff_id, "approved", principal=principal, now=NOON),
        lambda: reassign_handoff(payables.registry, steep.handoff_id, "FA-IC-001", principal=principal, now=NOON),
    ):
        with pytest.raises(Denied, match=why):
            work()
    assert announced(payables, "handoff.decided") == []
    denied = announced(payables, "access.denied")
    assert [(item["subject_id"], item["object_id"]) for item in denied] == [
        (principal.subject_id, steep.handoff_id)
    ] * 2


def test_a_handoff_given_on_belongs_to_the_new_role_and_keeps_its_history(payables: Payables) -> None:
    """Nobody could tell who had it before and who gave it away."""
    steep, _ = handoffs(payables.registry)
    given = reassign_handoff(
        payables.registry, steep.handoff_id, "FA-IC-001", principal=MANAGER, now=NOON, reason="on leave"
    )
    assert given.owner_role_id == "FA-IC-001"
    decide_handoff(payables.registry, steep.handoff_id, "approved", principal=CLERK, now=NOON)
    history = find_handoff(payables.registry, steep.handoff_id).history
    assert [(done.action, done.owner_role_id, done.decision, done.created_by) for done in history] == [
        ("reassigned", "FA-IC-001", None, "u-17"),
        ("decided", "FA-IC-001", "approved", "u-2"),
    ]
    told = [
        (item["change"], item.get("from_owner"), item.get("to_owner"), item["actor"], item.get("reason"))
        for item in announced(payables, "handoff.changed")
    ]
    assert sorted(told, reverse=True) == [
        ("reassigned", "FA-M-001", "FA-IC-001", "u-17", "on leave"),
        ("decided", None, None, "u-2", None),
    ]


def test_it_is_given_to_roles_that_exist(payables: Payables) -> None:
    """A handoff would belong to nobody and run out unseen."""
    steep, _ = handoffs(payables.registry)
    with pytest.raises(NotRegistered, match="FA-X-001"):
        reassign_handoff(payables.registry, steep.handoff_id, "FA-X-001", principal=MANAGER, now=NOON)
    with pytest.raises(HandoffFault, match="belongs to FA-M-001 already"):
        reassign_handoff(payables.registry, steep.handoff_id, "FA-M-001", principal=MANAGER, now=NOON)


def test_a_wait_that_is_no_handoff_is_not_in_the_inbox(payables: Payables) -> None:
    """A wait for another system would be decided by a person who knows nothing of it."""
    row = payables.registry.frame(OPEN_EPISODE).row(0, named=True)
    assert isinstance(row["waiting_since"], datetime)
    with payables.registry.transaction() as connection:
        from registry.database import TABLES

        connection.execute(TABLES[OPEN_EPISODE.name].update().values(await_topic="effect.resolved"))
    assert handoffs(payables.registry) == []
