"""What a topic says of its payloads: that they are personal as a whole, and what becomes of members nobody stated."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from dagster_project.platform import Platform
from guard.canonical import canonical
from guard.redaction import Redactor
from ingest.commit import Accounting
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER, ONTOLOGY_NODE, PUBLICATION_QUEUE, SCHEMA_REGISTRY
from registry.database import TABLES
from registry.documents import Document, DocumentRefused, EventSchema, OntologyNode
from registry.permissions import Principal
from registry.publication import publish, submit
from tests.senders import NOW, RECEIVED_AT, ingest, lines, record

SECRET = "jane.doe+private@example.com"
SIGNED = "hr.offer.signed"
PUBLISHER = Principal("bo", "person", "DA-M-001")


def signed(event_id: str, candidate: str = SECRET, **members: Any) -> dict[str, Any]:
    """Return a record of an offer that was signed."""
    payload = {"candidate_id": candidate, "role_id": "HR-IC-001", "start_date": "2025-05-01", **members}
    return record(event_id, topic=SIGNED, payload=payload)


def schema_of(platform: Platform, topic: str = SIGNED) -> dict[str, Any]:
    """Return the latest schema of a topic."""
    rows = platform.registry.frame(SCHEMA_REGISTRY).filter(subject=topic).sort("version")
    return dict(json.loads(rows["schema"][-1]))


def published(platform: Platform, kind: type[Document], value: dict[str, Any]) -> None:
    """Make a document current, approved as the gates would."""
    done = submit(platform.registry, kind, canonical(value), name="document", principal=PUBLISHER, now=NOW)
    queue = TABLES[PUBLICATION_QUEUE.name]
    with platform.registry.transaction() as connection:
        approved = {"decision": "approved", "decided_by": "gates", "decided_at": NOW}
        connection.execute(sa.update(queue).filter_by(publication_id=done.publication_id).values(approved))
    publish(platform.registry, done.publication_id, principal=PUBLISHER, now=NOW)


def publish_schema(platform: Platform, schema: dict[str, Any], topic: str = SIGNED, **members: Any) -> None:
    """Make a schema the next version of a topic."""
    published(platform, EventSchema, {"subject": topic, "format": "json", "schema": schema, **members})


def tag_term(platform: Platform, topic: str = SIGNED) -> None:
    """Tag the term of a topic in the ontology."""
    row = platform.registry.frame(ONTOLOGY_NODE).filter(label=topic, node_type="event").row(0, named=True)
    members = {name: row[name] for name in ("node_id", "node_type", "label", "parent_id")}
    published(platform, OntologyNode, {**members, "attributes": {"policy_tags": ["sox", "pii_contact"]}})


def land(platform: Platform, *records: dict[str, Any] | bytes, name: str = "1.ndjson") -> None:
    platform.landing.put(name, lines(*records), received_at=RECEIVED_AT)


def payloads(platform: Platform) -> dict[str, Any]:
    """Return the payloads that the lake holds, by event."""
    rows = platform.lake.scan(EVENT_BUS).select("event_id", "payload").collect()
    return {event_id: json.loads(payload) for event_id, payload in rows.iter_rows()}


def tag_schema(platform: Platform) -> None:
    publish_schema(platform, schema_of(platform) | {"x-policy-tags": ["pii_contact"]})


@pytest.mark.parametrize("tag", [tag_term, tag_schema])
def test_pii_guarding_no_text_of_a_tagged_topic_is_found_behind_the_door(platform: Platform, tag: Any) -> None:
    """Blueprint 15: redaction is invoked on any payload whose policy tags contain `pii_*`, marked member or not."""
    tag(platform)
    land(
        platform,
        signed("A"),
        signed("B"),
        signed("C", "john.roe@example.com"),
        signed("E", start_date=SECRET),
        signed("F", **{SECRET: SECRET}),
        signed("G") | {"schema_version": 1},
    )
    done = ingest(platform)
    assert done.records == Accounting(accepted=4, rejected=2)
    token = Redactor.from_file(platform.home.redaction_key).token
    held = payloads(platform)
    assert held["A"] == {"candidate_id": token(SECRET), "role_id": token("HR-IC-001"), "start_date": "2025-05-01"}
    assert held["B"] == held["A"] == held["G"], "equal values stay equal, whatever version a record names"
    assert held["C"]["candidate_id"] == token("john.roe@example.com")
    land(platform, signed("A"), name="2.ndjson")
    assert ingest(platform).records == Accounting(duplicates=1), "the event is known again by its tokens"
    for path in platform.home.root.rglob("*"):
        assert platform.landing.root in path.parents or not path.is_file() or SECRET.encode() not in path.read_bytes()
    for spec in (EVENT_BUS, EVENT_DEAD_LETTER):
        assert SECRET not in platform.lake.scan(spec).collect().write_json()


def test_a_topic_without_such_a_tag_is_kept_verbatim(platform: Platform) -> None:
    """Redacting what nobody asked to redact would make every event useless to its workflow."""
    publish_schema(platform, schema_of(platform) | {"x-policy-tags": ["sox", "pi", "piid"]})
    land(platform, signed("A", "CAND-1"))
    ingest(platform)
    assert payloads(platform)["A"]["candidate_id"] == "CAND-1"


def test_policy_tags_that_the_door_could_not_read_are_refused(platform: Platform) -> None:
    """A tag that is silently not understood is a payload in clear."""
    with pytest.raises(DocumentRefused, match="/schema/x-policy-tags"):
        publish_schema(platform, schema_of(platform) | {"x-policy-tags": "pii_contact"})
    node = {"node_id": "ONT-EVENT-X", "node_type": "event", "label": SIGNED, "parent_id": "ONT-EVENT"}
    with pytest.raises(DocumentRefused, match="/attributes/policy_tags"):
        published(platform, OntologyNode, node | {"attributes": {"policy_tags": "pii_contact"}})


def test_the_word_that_makes_a_topic_personal_is_a_new_minor_version(platform: Platform) -> None:
    """It changes what is stored of an event; a patch would say that nothing did."""
    tag_schema(platform)
    versions = platform.registry.frame(SCHEMA_REGISTRY).filter(subject=SIGNED).sort("version")
    assert versions["semver"].to_list() == ["1.0.0", "1.1.0"]
