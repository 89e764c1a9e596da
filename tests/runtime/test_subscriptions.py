"""Subscriptions: an event of a version that the workflow does not take starts nothing, and says so."""

from pathlib import Path

import pytest

from lake.tables import RUN_EPISODE, TRIGGER_REFUSAL
from registry.consumers import subscribe
from registry.permissions import Principal
from tests.builders import NINE, Payables, event

TOPIC = "ap.invoice.received"
QUALITY = Principal("cy", "person", "QA-M-001")


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    return Payables(tmp_path / "home")


def arrive(payables: Payables, name: str, *, version: int) -> None:
    """Let an invoice arrive that was accepted by a version of its topic's schema."""
    payables.arrive(event(f"EV-{name}", TOPIC, payables.document(name), NINE) | {"schema_version": version})


def started(payables: Payables) -> list[str]:
    return sorted(payables.table(RUN_EPISODE)["trigger_event_id"])


def allow(payables: Payables, *versions: int) -> None:
    subscribe(payables.registry, "WF-FIN-001", TOPIC, versions, principal=QUALITY, now=NINE)


def test_a_workflow_that_declares_nothing_takes_every_version(payables: Payables) -> None:
    """Listening needs no paper work: a subscription narrows."""
    arrive(payables, "1", version=1)
    arrive(payables, "2", version=2)
    payables.execute()
    assert started(payables) == ["EV-1", "EV-2"]
    assert payables.registry.frame(TRIGGER_REFUSAL).is_empty()


def test_an_event_of_another_version_is_refused_with_its_reason(payables: Payables) -> None:
    """A workflow that runs on a payload it was not made for pays the wrong amount."""
    allow(payables, 1)
    arrive(payables, "1", version=1)
    arrive(payables, "2", version=2)
    payables.execute()
    assert started(payables) == ["EV-1"]
    (refusal,) = payables.registry.frame(TRIGGER_REFUSAL).to_dicts()
    assert (refusal["event_id"], refusal["workflow_id"], refusal["schema_version"], refusal["rule"]) == (
        "EV-2",
        "WF-FIN-001",
        2,
        "version_not_allowed",
    )
    assert "versions 1, not 2" in refusal["message"]


def test_a_second_look_records_the_refusal_once(payables: Payables) -> None:
    """A count that grows with every execution counts executions."""
    allow(payables, 1)
    arrive(payables, "2", version=2)
    payables.execute()
    arrive(payables, "3", version=2)
    payables.execute()
    payables.execute()
    assert sorted(payables.registry.frame(TRIGGER_REFUSAL)["event_id"]) == ["EV-2", "EV-3"]


def test_once_the_version_is_listed_the_event_runs_and_the_refusal_is_gone(payables: Payables) -> None:
    """What was refused is not lost: nothing else would ever look at the month again."""
    allow(payables, 1)
    arrive(payables, "2", version=2)
    payables.execute()
    allow(payables, 1, 2)
    payables.execute()
    assert started(payables) == ["EV-2"]
    assert payables.registry.frame(TRIGGER_REFUSAL).is_empty()
