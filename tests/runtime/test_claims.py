"""Who takes an event: a published workflow from its publication on, and of two that would take it, one."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lake.tables import OPEN_EPISODE, RUN_EPISODE
from registry.access import Principal
from registry.documents import DocumentRefused, Workflow
from registry.loader import PACK
from registry.plans import load_plan
from registry.publication import publish, retire, rollback, submit
from tests.approvals import approve
from tests.builders import LATER, NINE, Payables

MANAGER, QA = Principal("mia", "person", "FA-D-001"), Principal("ada", "person", "QA-M-001")
HOUR = timedelta(hours=1)
NARROW = {"topic": "ap.invoice.received", "condition": 'vendor_id == "VEND-1"', "supersedes": ["TR-FIN-001"]}


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    return Payables(tmp_path / "home")


def narrower(name: str = "WF-NARROW", *, selector: dict[str, Any] = NARROW, **changes: Any) -> dict[str, Any]:
    """Return WF-FIN-001 under other ids, with a trigger that takes over the invoices of one vendor."""
    text = (PACK / "workflows/WF-FIN-001.json").read_text()
    for number in range(1, 6):
        text = text.replace(f'"F-0{number}"', f'"{name}/{number}"')
    document: dict[str, Any] = json.loads(text)
    trigger = {"trigger_id": f"TR-{name}", "trigger_type": "event", "selector": selector}
    document |= {"workflow_id": name, "workflow_name": name, "version": "1.0.0", "triggers": [trigger], **changes}
    return document


def bring(payables: Payables, document: dict[str, Any], at: datetime) -> None:
    """Submit, approve and publish a workflow at a moment."""
    registry = payables.registry
    draft = submit(registry, Workflow, json.dumps(document), name="file.json", principal=MANAGER, now=at)
    publish(registry, approve(registry, draft.publication_id, at), principal=QA, now=at)


def ran(payables: Payables) -> dict[str, list[str]]:
    """Return which workflows ran each event, waiting ones included."""
    runs = payables.table(RUN_EPISODE).select("trigger_event_id", "workflow_id").rows()
    runs += payables.registry.frame(OPEN_EPISODE).select("trigger_event_id", "workflow_id").rows()
    by_event: dict[str, list[str]] = {}
    for event_id, workflow_id in sorted(runs):
        by_event.setdefault(event_id, []).append(workflow_id)
    return by_event


def test_a_published_workflow_runs_on_what_happens_from_then_on(payables: Payables) -> None:
    """A workflow approved today would book the invoices of last year."""
    payables.invoice("before", at=NINE - HOUR)
    payables.invoice("at", at=NINE)
    payables.invoice("after", at=NINE + HOUR)
    bring(payables, narrower(), NINE)
    payables.execute()
    assert ran(payables) == {"EV-before": ["WF-FIN-001"], "EV-at": ["WF-NARROW"], "EV-after": ["WF-NARROW"]}


def test_an_event_that_the_narrower_trigger_takes_starts_the_other_no_more(payables: Payables) -> None:
    """An invoice would be booked, and paid, twice; one of another vendor not at all."""
    bring(payables, narrower(), NINE)
    payables.invoice("theirs", vendor="VEND-1", at=NINE + HOUR)
    payables.invoice("others", vendor="VEND-2", at=NINE + HOUR)
    payables.execute()
    assert ran(payables) == {"EV-theirs": ["WF-NARROW"], "EV-others": ["WF-FIN-001"]}


def test_without_supersedes_both_run(payables: Payables) -> None:
    """Two workflows on one topic are no mistake in themselves; who means one of them says so."""
    bring(payables, narrower(selector={"topic": "ap.invoice.received"}), NINE)
    payables.invoice("1", at=NINE + HOUR)
    payables.execute()
    assert ran(payables) == {"EV-1": ["WF-FIN-001", "WF-NARROW"]}


def test_a_late_event_from_before_the_publication_runs_as_it_would_have_then(payables: Payables) -> None:
    """An invoice that arrives late would fall between the two, and nobody would book it."""
    bring(payables, narrower(), NINE)
    payables.execute()
    payables.invoice("late", at=NINE - HOUR)
    payables.execute()
    assert ran(payables) == {"EV-late": ["WF-FIN-001"]}


def test_what_the_other_ran_meanwhile_is_left_to_it(payables: Payables) -> None:
    """An execution that began before the publication commits after it: its invoices would be booked again."""
    payables.invoice("closed", at=NINE + HOUR)
    payables.invoice("waits", billed="150.00", at=LATER - HOUR)
    payables.execute()
    bring(payables, narrower(), NINE)
    payables.execute()
    assert ran(payables) == {"EV-closed": ["WF-FIN-001"], "EV-waits": ["WF-FIN-001"]}


def test_when_the_narrower_one_ends_the_other_takes_over_but_repeats_nothing(payables: Payables) -> None:
    """The end of a learned workflow would book all of its invoices once more, closed and waiting ones alike."""
    bring(payables, narrower(), NINE)
    payables.invoice("closed", at=NINE + HOUR)
    payables.invoice("waits", billed="150.00", at=LATER - HOUR)
    payables.execute()
    ended = retire(payables.registry, "WF-NARROW", reason="r", principal=MANAGER, now=LATER)
    publish(payables.registry, approve(payables.registry, ended.publication_id, LATER), principal=QA, now=LATER)
    payables.invoice("next", at=LATER - 2 * HOUR)
    payables.execute()
    assert ran(payables) == {"EV-closed": ["WF-NARROW"], "EV-waits": ["WF-NARROW"], "EV-next": ["WF-FIN-001"]}


def test_a_chain_of_three_runs_the_narrowest(payables: Payables) -> None:
    """The widest would come back where the middle one is superseded itself."""
    bring(payables, narrower(), NINE)
    bring(payables, narrower("WF-INNER", selector={**NARROW, "supersedes": ["TR-WF-NARROW"]}), NINE)
    payables.invoice("1", at=NINE + HOUR)
    payables.execute()
    assert ran(payables) == {"EV-1": ["WF-INNER"]}


def test_a_new_version_goes_on_where_the_one_before_stood(payables: Payables) -> None:
    """Each publication would leave out the events that were on their way."""
    bring(payables, narrower(), NINE)
    bring(payables, narrower(version="1.0.1", objective="Say it better"), NINE + 2 * HOUR)
    payables.invoice("between", at=NINE + HOUR)
    payables.execute()
    assert load_plan(payables.registry, "WF-NARROW").triggers[0].since == NINE
    assert ran(payables) == {"EV-between": ["WF-NARROW"]}


def test_a_wider_trigger_listens_from_its_own_publication_on(payables: Payables) -> None:
    """A condition that lets in another vendor would run that vendor's past."""
    bring(payables, narrower(), NINE)
    wider = {**NARROW, "condition": 'vendor_id in ["VEND-1", "VEND-2"]'}
    bring(payables, narrower(version="2.0.0", selector=wider), NINE + 2 * HOUR)
    payables.invoice("before", vendor="VEND-2", at=NINE + HOUR)
    payables.invoice("after", vendor="VEND-2", at=NINE + 3 * HOUR)
    payables.execute()
    assert ran(payables) == {"EV-before": ["WF-FIN-001"], "EV-after": ["WF-NARROW"]}


def test_a_workflow_that_comes_back_does_not_run_what_passed_meanwhile(payables: Payables) -> None:
    """What happened while it was retired was not its business."""
    bring(payables, narrower(selector={"topic": "ap.invoice.received"}), NINE)
    ended = retire(payables.registry, "WF-NARROW", reason="r", principal=MANAGER, now=NINE + HOUR)
    publish(
        payables.registry, approve(payables.registry, ended.publication_id, NINE + HOUR), principal=QA, now=NINE + HOUR
    )
    back = NINE + 3 * HOUR
    rollback(payables.registry, Workflow, "WF-NARROW", to="1.0.0", reason="missed", principal=QA, now=back)
    assert load_plan(payables.registry, "WF-NARROW").triggers[0].since == back


def test_what_was_shipped_runs_on_the_past(payables: Payables) -> None:
    """A home that is set up on a stream of last year would execute nothing of it."""
    assert load_plan(payables.registry, "WF-FIN-001").triggers[0].since is None


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ({**NARROW, "supersedes": ["TR-NONE"]}, "TR-NONE is no trigger of another workflow"),
        ({**NARROW, "supersedes": ["TR-WF-NARROW"]}, "TR-WF-NARROW is no trigger of another workflow"),
        (
            {"topic": "hr.offer.signed", "supersedes": ["TR-FIN-001"]},
            "TR-FIN-001 does not listen to the events that this one takes",
        ),
    ],
)
def test_a_trigger_cannot_take_over_what_it_does_not_share(
    payables: Payables, selector: dict[str, Any], said: str
) -> None:
    """A mistyped id would let both run, in silence."""
    with pytest.raises(DocumentRefused, match=said):
        bring(payables, narrower(selector=selector), NINE)


def test_two_triggers_cannot_take_over_each_others_events(payables: Payables) -> None:
    """Each would leave the events to the other, and nobody would book them."""
    bring(payables, narrower(), NINE)
    shipped = json.loads((PACK / "workflows/WF-FIN-001.json").read_text())
    shipped["triggers"][0]["selector"]["supersedes"] = ["TR-WF-NARROW"]
    del shipped["version"]
    with pytest.raises(DocumentRefused, match="TR-WF-NARROW supersedes this one in turn"):
        bring(payables, shipped, NINE)
