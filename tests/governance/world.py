"""A home in which proposals are made and decided."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from governance.gates import Judged, judge, standings
from governance.review import Decided, decide
from guard.canonical import parse
from lake.tables import OUTBOX
from registry.access import Principal
from registry.documents import Document, Workflow
from registry.gates import GateDecision
from registry.loader import PACK
from registry.publication import submit
from tests.builders import NINE, Payables, event

NOW = NINE + timedelta(days=5)
VENDORS = 4
INVOICES = 200

MANAGER = Principal("mia", "person", "FA-D-001")
QUALITY, SECURITY = Principal("ada", "person", "QA-M-001"), Principal("sam", "person", "SEC-M-001")
REVIEWERS = (QUALITY, SECURITY)
NARROW = {"topic": "ap.invoice.received", "condition": 'vendor_id == "VEND-1"', "supersedes": ["TR-FIN-001"]}


def narrower(
    name: str = "WF-NARROW", *, selector: Mapping[str, Any] = NARROW, tolerance: float = 0.03, **changes: Any
) -> dict[str, Any]:
    """Return WF-FIN-001 under other ids, stricter, for the invoices of one vendor."""
    text = (PACK / "workflows/WF-FIN-001.json").read_text()
    for number in range(1, 6):
        text = text.replace(f'"F-0{number}"', f'"{name}/{number}"')
    document: dict[str, Any] = json.loads(text)
    document["steps"][1]["parameters"]["tolerance"] = tolerance
    trigger = {"trigger_id": f"TR-{name}", "trigger_type": "event", "selector": dict(selector)}
    document |= {"workflow_id": name, "workflow_name": name, "version": "1.0.0", "triggers": [trigger], **changes}
    return document


class Governed:
    """A home with a history, and short words for what is done to proposals in it."""

    def __init__(self, payables: Payables) -> None:
        self.payables = payables
        self.registry = payables.registry
        self.lake = payables.lake
        rows = []
        for number in range(INVOICES):
            payload = payables.document(f"{number}", vendor=f"VEND-{number % VENDORS}", is_written=False)
            rows.append(event(f"EV-{number}", "ap.invoice.received", payload, NINE + timedelta(minutes=number)))
        payables.write()
        payables.arrive(*rows)
        payables.execute(now=NOW)

    def propose(
        self,
        document: Mapping[str, Any] | None = None,
        *,
        kind: type[Document] = Workflow,
        by: Principal = MANAGER,
        now: datetime = NOW,
    ) -> str:
        """Submit a document and return its proposal."""
        text = json.dumps(document if document is not None else narrower())
        return submit(self.registry, kind, text, name="file.json", principal=by, now=now).publication_id

    def judge(self, now: datetime = NOW) -> Judged:
        return judge(self.registry, self.lake, self.payables.skills, now=now)

    def said(self, publication_id: str, now: datetime = NOW) -> dict[str, GateDecision]:
        """Return what the gates said of a proposal on what holds now, by gate."""
        with self.registry.read() as connection:
            found = {one.proposal.publication_id: one for one in standings(connection, now=now)}
        return {decision.gate: decision for decision in found[publication_id].decisions}

    def refusals(self, publication_id: str) -> list[str]:
        return [gate for gate, decision in self.said(publication_id).items() if not decision.is_passed]

    def approve(
        self, publication_id: str, *, by: Sequence[Principal] = REVIEWERS, now: datetime = NOW
    ) -> list[Decided]:
        return [self.decide(publication_id, by=one, now=now) for one in by]

    def decide(self, publication_id: str, decision: Any = "approved", *, by: Principal, now: datetime = NOW) -> Decided:
        return decide(self.registry, publication_id, decision=decision, reason="looked at it", principal=by, now=now)

    def audited(self) -> dict[str, dict[str, Any]]:
        """Return what was refused and audited, by event."""
        rows = self.registry.frame(OUTBOX).filter(topic="access.denied")
        return {event_id: parse(payload) for event_id, payload in rows.select("event_id", "payload").iter_rows()}
