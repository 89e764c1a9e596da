"""Publishing: what gates have passed and reviewers approved becomes current, without anybody's hand.

The publisher is an agent of the registry, with the rights of its role and no others: what it may not publish waits for
a person. `registry.publication` asks for every row once more, in the transaction that publishes.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime

from governance.gates import recheck, standings
from guard.canonical import digest_text
from registry.access import Principal, agent_principal
from registry.database import Registry
from registry.documents import DocumentRefused
from registry.gates import refused
from registry.objects import NotRegistered
from registry.permissions import load_permissions
from registry.proposals import ProposalClosed, Queued, find
from registry.publication import Published, publish
from registry.reviews import up_to

log = logging.getLogger("rwcm.governance")

PUBLISHER = "AG-PUBLISH-001"


@dataclass
class Publications:
    """What publishing did: what is current now, and why the rest is not, by proposal."""

    published: list[Published] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def publish_approved(registry: Registry, *, now: datetime) -> Publications:
    """Publish every approved proposal that the publisher may publish, each in a transaction of its own."""
    done = Publications()
    publisher = _publisher(registry)
    for proposal in [] if publisher is None else _approved(registry, publisher, now):
        assert publisher is not None
        try:
            done.published.append(publish_checked(registry, proposal.publication_id, principal=publisher, now=now))
        except (ProposalClosed, DocumentRefused, NotRegistered) as fault:
            done.refused[proposal.publication_id] = str(fault)
            log.warning("not published: proposal %s (%s)", proposal.publication_id[:8], type(fault).__name__)
    for one in done.published:
        log.info("published %s %s %s", one.object_type, one.object_id, one.version)
    return done


def publish_checked(registry: Registry, publication_id: str, *, principal: Principal, now: datetime) -> Published:
    """Publish an approved proposal, if those gates still pass it that look at the registry alone.

    Raises:
        NotRegistered, ProposalClosed, DocumentRefused, Denied: see `registry.publication.publish`.
    """
    with registry.read() as connection:
        (proposal,) = find(connection, publication_id)
        for decision in refused(recheck(connection, proposal, now=now)) if proposal.decision == "approved" else ():
            problem = f"the gate {decision.gate} refuses it now: {decision.reason}"
            raise ProposalClosed(publication_id, "gates", problem, "submit a change that passes")
    return publish(registry, publication_id, principal=principal, now=now)


def work_at_hand(registry: Registry, *, now: datetime) -> str | None:
    """Return what names the proposals that `publish_approved` would publish, None where there are none."""
    publisher = _publisher(registry)
    ready = [] if publisher is None else [one.publication_id for one in _approved(registry, publisher, now)]
    return digest_text("\n".join(ready)) if ready else None


def _publisher(registry: Registry) -> Principal | None:
    try:
        return agent_principal(registry, PUBLISHER)
    except NotRegistered:  # a home before its first run, or one that wants people to publish
        return None


def _approved(registry: Registry, publisher: Principal, now: datetime) -> list[Queued]:
    """Return what waits for the publisher alone; what was approved on other grounds waits for the gates."""
    with registry.read() as connection:
        found = standings(connection, now=now)
        approved = [one.proposal for one in found if one.proposal.decision == "approved" and one.has_passed]
        if not approved:
            return []
        permissions = load_permissions(connection, now=now)
        return up_to(connection, approved, publisher, permissions, now=now)
