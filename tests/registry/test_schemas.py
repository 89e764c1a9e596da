"""Registering schemas, declaring consumers, and finding who would break."""

import copy
import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from guard.canonical import canonical
from lake.tables import OUTBOX, PUBLICATION_QUEUE, SCHEMA_CONSUMER, SCHEMA_REGISTRY
from registry.access import Denied
from registry.catalogue import find_kind
from registry.compatibility import Kind, SchemaRefused
from registry.consumers import allowlists, subscribe
from registry.database import Registry
from registry.documents import ConsumerSubscription, DocumentRefused, EventSchema
from registry.forms.transfer import export, import_
from registry.loader import PACK
from registry.objects import NotRegistered
from registry.permissions import Principal
from registry.proposals import find
from registry.publication import publish, submit
from registry.schema_check import check_registry, standings_frame
from registry.schemas import IncompatibleSchema, register, schema_versions
from registry.versions import document_of, history
from tests.approvals import approve

TOPIC = "ap.invoice.received"
PUBLISHER = Principal("bo", "person", "DA-M-001")
QUALITY = Principal("cy", "person", "QA-M-001")
ANALYST = Principal("ada", "person", "FA-IC-001")


def shipped() -> Any:
    return json.loads((PACK / "event_schemas" / f"{TOPIC}.json").read_text())["schema"]


def edited(edit: Callable[[Any], Any]) -> Any:
    schema = copy.deepcopy(shipped())
    edit(schema)
    return schema


def with_currency(schema: Any) -> None:
    schema["properties"]["currency"] = {"type": "string", "maxLength": 3}


def with_required_currency(schema: Any) -> None:
    with_currency(schema)
    schema["required"].append("currency")


def published(registry: Registry, schema: Any, now: datetime, **options: Any) -> int:
    """Register a schema, approve it as the gates would, and publish it; return its version."""
    done = register(registry, TOPIC, schema, principal=PUBLISHER, now=now, **options)
    assert done.publication_id is not None
    approve(registry, done.publication_id, now)
    publish(registry, done.publication_id, principal=PUBLISHER, now=now)
    return done.version


def test_a_compatible_schema_becomes_the_next_version_when_it_is_published(loaded: Registry, now: datetime) -> None:
    """A file that took effect by itself would be a way around the gates."""
    done = register(loaded, TOPIC, edited(with_currency), principal=PUBLISHER, now=now)
    assert (done.version, done.change) == (2, "minor")
    assert loaded.frame(SCHEMA_REGISTRY).filter(subject=TOPIC).height == 1, "it waits in the queue"

    assert published(loaded, edited(with_currency), now) == 2
    with loaded.read() as connection:
        versions = schema_versions(connection, TOPIC)[TOPIC]
    assert [(each.version, each.semver) for each in versions] == [(1, "1.0.0"), (2, "1.1.0")]


def test_the_same_schema_is_found_and_not_proposed_again(loaded: Registry, now: datetime) -> None:
    """Producers register at every start; each would leave a proposal behind."""
    spelled_otherwise = json.loads(json.dumps(shipped(), sort_keys=True))
    done = register(loaded, TOPIC, spelled_otherwise, principal=PUBLISHER, now=now)
    assert (done.version, done.change, done.publication_id) == (1, "none", None)
    assert loaded.frame(PUBLICATION_QUEUE).is_empty()


def test_a_breaking_schema_is_refused_with_every_reason(loaded: Registry, now: datetime) -> None:
    """Whoever is told one reason at a time comes back once for each."""

    def breaking(schema: Any) -> None:
        with_required_currency(schema)
        del schema["properties"]["sender"]

    with pytest.raises(IncompatibleSchema) as refused:
        register(loaded, TOPIC, edited(breaking), principal=PUBLISHER, now=now)
    (conflict,) = refused.value.conflicts
    assert conflict.version == 1
    assert {(reason.kind, reason.path) for reason in conflict.reasons} == {
        (Kind.REQUIRED_PROPERTY_ADDED, "/required"),
        (Kind.PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL, "/properties/sender"),
    }
    assert loaded.frame(PUBLICATION_QUEUE).is_empty()


def test_a_document_that_is_submitted_meets_the_same_rule(loaded: Registry, now: datetime) -> None:
    """A second way in that does not look would be the way that is taken."""
    document = {"subject": TOPIC, "format": "json", "schema": edited(with_required_currency)}
    with pytest.raises(DocumentRefused, match="REQUIRED_PROPERTY_ADDED at /required") as refused:
        submit(loaded, EventSchema, canonical(document), name="new.json", principal=PUBLISHER, now=now)
    assert [fault.path for fault in refused.value.faults] == ["/schema/required"]


def test_a_subject_without_compatibility_takes_a_break_as_a_major_version(loaded: Registry, now: datetime) -> None:
    """A topic that starts anew says so in its semantic version."""
    assert published(loaded, edited(with_currency), now, compatibility="none") == 2
    done = register(loaded, TOPIC, edited(with_required_currency), principal=PUBLISHER, now=now)
    assert (done.version, done.change) == (3, "major")
    assert published(loaded, edited(with_required_currency), now) == 3
    with loaded.read() as connection:
        latest = schema_versions(connection, TOPIC)[TOPIC][-1]
    assert (latest.semver, latest.compatibility) == ("2.0.0", "none"), "the mode is its predecessor's"


def test_a_subject_keeps_its_language(loaded: Registry, now: datetime) -> None:
    """Readers of JSON cannot read Avro, whatever the two schemas say."""
    avro = {"type": "record", "name": "Invoice", "fields": []}
    with pytest.raises(SchemaRefused, match="is avro"):
        register(loaded, TOPIC, avro, "avro", principal=PUBLISHER, now=now)


def test_a_new_topic_starts_with_version_1(loaded: Registry, now: datetime) -> None:
    """Topics come into being by their first schema."""
    done = register(loaded, "ap.order.sent", {"type": "object"}, principal=ANALYST, now=now)
    assert (done.version, done.change) == (1, "initial")
    assert done.publication_id is not None
    with loaded.transaction() as connection:
        proposal = find(connection, done.publication_id)
    assert proposal is not None


# Consumers


def test_a_fresh_registry_has_nothing_to_find(loaded: Registry) -> None:
    """The shipped workflows read the shipped topics, or the first check in CI fails."""
    assert check_registry(loaded) == []
    frame = standings_frame(loaded)
    assert frame.columns == SCHEMA_CONSUMER.names
    assert frame.filter(subject=TOPIC).select("consumer_id", "is_declared", "is_allowed", "reads_as").rows() == [
        ("WF-FIN-001", False, True, 1)
    ]


def test_a_consumer_that_does_not_take_the_new_version_is_found(loaded: Registry, now: datetime) -> None:
    """Its events stop without an error; CI is the last place to notice."""
    subscribe(loaded, "warehouse", TOPIC, [1], principal=PUBLISHER, now=now)
    (before,) = check_registry(loaded, subject=TOPIC, schema=edited(with_currency))
    assert (before.rule, before.consumer_id, before.version) == ("consumer", "warehouse", 2)
    published(loaded, edited(with_currency), now)
    (finding,) = check_registry(loaded)
    assert (finding.rule, finding.consumer_id, finding.version) == ("consumer", "warehouse", 2)
    assert "rwcm schemas subscribe" in finding.message
    assert check_registry(loaded, subject="hr.offer.signed") == []

    subscribe(loaded, "warehouse", TOPIC, [1, 2], principal=PUBLISHER, now=now)
    assert check_registry(loaded) == []


def test_a_consumer_may_be_ready_before_the_version_comes(loaded: Registry, now: datetime) -> None:
    """Consumers upgrade first where the mode is backward."""
    subscribe(loaded, "warehouse", TOPIC, [1, 2], principal=PUBLISHER, now=now)
    assert check_registry(loaded) == []
    assert check_registry(loaded, subject=TOPIC, schema=edited(with_currency)) == []


def test_a_consumer_that_takes_what_it_cannot_read_is_found_with_reasons(loaded: Registry, now: datetime) -> None:
    """It takes both versions and reads by the second, which demands what the first does not have."""
    published(loaded, edited(with_currency), now, compatibility="none")
    published(loaded, edited(with_required_currency), now)
    findings = check_registry(loaded)
    assert {(f.consumer_id, f.version, tuple(r.kind for r in f.reasons)) for f in findings} == {
        ("WF-FIN-001", 1, (Kind.REQUIRED_PROPERTY_ADDED,)),
        ("WF-FIN-001", 2, (Kind.REQUIRED_PROPERTY_ADDED,)),
    }
    subscribe(loaded, "WF-FIN-001", TOPIC, [3], principal=QUALITY, now=now)
    assert check_registry(loaded) == []


def test_an_incompatible_version_is_told_beside_whom_it_breaks(loaded: Registry) -> None:
    """A review needs both: the rule, and the people to talk to."""
    findings = check_registry(loaded, subject=TOPIC, schema=edited(with_required_currency))
    assert [(f.rule, f.consumer_id, f.version) for f in findings] == [
        ("version", None, 2),
        ("consumer", "WF-FIN-001", 1),
    ]
    assert all(finding.reasons for finding in findings)


def test_a_topic_that_is_not_registered_is_said_to_be(loaded: Registry, now: datetime) -> None:
    """A misspelled topic in CI would pass for ever."""
    with pytest.raises(NotRegistered, match="nowhere"):
        check_registry(loaded, subject="nowhere")
    with pytest.raises(NotRegistered, match="nowhere"):
        subscribe(loaded, "warehouse", "nowhere", [1], principal=PUBLISHER, now=now)


def test_only_who_answers_for_it_declares_what_a_consumer_takes(loaded: Registry, now: datetime) -> None:
    """A subscription can stop a workflow: it is no less than a publication."""
    with pytest.raises(Denied):
        subscribe(loaded, "warehouse", TOPIC, [1], principal=ANALYST, now=now)
    with loaded.read() as connection:
        assert allowlists(connection) == {}


def test_a_subscription_has_a_history_and_is_announced_like_every_change(loaded: Registry, now: datetime) -> None:
    """Who let a workflow miss its events, and when, is what is asked after the outage."""
    for versions, again in (([1], [1]), ([1, 2], [2, 1, 1]), ([2], [2])):
        subscribe(loaded, "warehouse", TOPIC, versions, principal=PUBLISHER, now=now)
        subscribe(loaded, "warehouse", TOPIC, again, principal=PUBLISHER, now=now + timedelta(hours=1))
    name = f"warehouse/{TOPIC}"
    with loaded.read() as connection:
        kept = history(connection, find_kind(connection, name), name)
        documents = [document_of(connection, ConsumerSubscription, name, each.version) for each in kept]
        assert allowlists(connection) == {("warehouse", TOPIC): frozenset([2])}
    assert [(each.version, each.change, each.created_by, each.is_current) for each in kept] == [
        ("1", "initial", PUBLISHER.subject_id, False),
        ("2", "minor", PUBLISHER.subject_id, False),
        ("3", "major", PUBLISHER.subject_id, True),
    ]
    assert [document.received.body.versions for document in documents] == [(1,), (1, 2), (2,)]
    told = [json.loads(text) for text in loaded.frame(OUTBOX).filter(topic="registry.changed")["payload"]]
    mine = sorted((each for each in told if each["object_id"] == name), key=lambda each: str(each["version"]))
    assert [(each["version"], each["actor"], each["reason"]) for each in mine] == [
        (number, PUBLISHER.subject_id, "declaration") for number in "123"
    ]


def test_a_registry_with_subscriptions_is_restored_from_its_export(
    loaded: Registry, now: datetime, tmp_path: Path
) -> None:
    """Without them every workflow takes every version again, and nobody is told."""
    subscribe(loaded, "warehouse", TOPIC, [1], principal=PUBLISHER, now=now)
    with loaded.read() as connection:
        assert allowlists(connection)
    export(loaded, "json", tmp_path / "registry.json")
    with closing(Registry.open(tmp_path / "other.db")) as other:
        done = import_(
            other, tmp_path / "registry.json", operator="operator:root", principal=lambda: PUBLISHER, now=now
        )
        assert done.is_restore
        with other.read() as connection:
            assert allowlists(connection) == {("warehouse", TOPIC): frozenset([1])}
