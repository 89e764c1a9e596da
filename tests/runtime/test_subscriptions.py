"""Subscriptions: an event of a version that the workflow does not take starts and resumes nothing, and says so."""

from datetime import timedelta
from pathlib import Path

import pytest

from lake.tables import OPEN_EPISODE, RUN_EPISODE, TRIGGER_REFUSAL
from registry.consumers import consumer_standings, subscribe
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


def allow(payables: Payables, *versions: int, topic: str = TOPIC) -> None:
    subscribe(payables.registry, "WF-FIN-001", topic, versions, principal=QUALITY, now=NINE)


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


DECIDED = "handoff.decided"


def decide(payables: Payables, name: str, *, version: int) -> None:
    """Let a decision about an invoice arrive an hour after it."""
    payload = {"subject_id": f"EV-{name}", "decision": "approved", "decided_by": "FA-M-001"}
    at = NINE + timedelta(hours=1)
    payables.arrive(event(f"DE-{name}-{version}", DECIDED, payload, at) | {"schema_version": version})


def outcomes(payables: Payables) -> dict[str, str]:
    return dict(payables.table(RUN_EPISODE).select("trigger_event_id", "outcome").iter_rows())


def test_a_decision_of_another_version_resumes_nothing_and_is_refused_with_its_reason(payables: Payables) -> None:
    """A wait is a way in like a trigger: a payload that the workflow was not made for approves what it should not."""
    allow(payables, 1, topic=DECIDED)
    for name in "12":
        payables.invoice(name, billed="150.00")
    decide(payables, "1", version=1)
    decide(payables, "2", version=2)
    soon = NINE + timedelta(hours=2)
    payables.execute(now=soon)
    payables.execute(now=soon)
    assert outcomes(payables) == {"EV-1": "success"}
    assert payables.registry.frame(OPEN_EPISODE)["trigger_event_id"].to_list() == ["EV-2"]
    (refusal,) = payables.registry.frame(TRIGGER_REFUSAL).to_dicts()
    assert (refusal["trigger_id"], refusal["event_id"], refusal["workflow_id"], refusal["topic"]) == (
        "F-03",
        "DE-2-2",
        "WF-FIN-001",
        DECIDED,
    )
    assert (refusal["rule"], refusal["schema_version"]) == ("await_version_not_allowed", 2)
    assert "versions 1, not 2" in refusal["message"]


def test_an_episode_that_waits_goes_on_once_the_version_is_listed(payables: Payables) -> None:
    """And where the refused event came before the wait was put down as well."""
    allow(payables, 1, topic=DECIDED)
    payables.invoice("1", billed="150.00")
    decide(payables, "1", version=2)
    payables.execute(now=NINE + timedelta(hours=2))
    assert outcomes(payables) == {}
    allow(payables, 1, 2, topic=DECIDED)
    payables.execute(now=NINE + timedelta(hours=3))
    assert outcomes(payables) == {"EV-1": "success"}
    assert payables.registry.frame(TRIGGER_REFUSAL).is_empty()


def test_why_a_wait_ended_without_its_event_stays_on_record(payables: Payables) -> None:
    """An approval that was ignored for three days must be found by whoever asks."""
    allow(payables, 1, topic=DECIDED)
    payables.invoice("1", billed="150.00")
    decide(payables, "1", version=2)
    payables.execute(now=NINE + timedelta(hours=2))
    payables.execute()
    payables.execute()
    assert outcomes(payables) == {"EV-1": "partial"}
    assert payables.registry.frame(TRIGGER_REFUSAL)["event_id"].to_list() == ["DE-1-2"]


def test_who_awaits_a_topic_is_one_of_its_consumers(payables: Payables) -> None:
    """A change that leaves every approval waiting breaks the workflow as one of its trigger does."""
    with payables.registry.read() as connection:
        consumers = {standing.consumer_id for standing in consumer_standings(connection, subject=DECIDED)}
    assert "WF-FIN-001" in consumers
