"""What a topic says of its payloads: that they are personal as a whole, and what becomes of members nobody stated."""

import json
from typing import Any

import jsonschema_rs
import pytest

from dagster_project.platform import Platform
from guard.canonical import canonical
from guard.redaction import Redactor
from ingest.commit import Accounting
from ingest.contracts import fit, redacted, told, without
from ingest.events import Ingestion
from lake.store import Appended, Lake
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER, ONTOLOGY_NODE, PUBLICATION_QUEUE, SCHEMA_REGISTRY
from registry.documents import Document, DocumentRefused, EventSchema, OntologyNode
from registry.permissions import Principal
from registry.publication import publish, submit
from tests.approvals import approve
from tests.senders import NOW, RECEIVED_AT, ingest, lines, open_platform, record

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
    approve(platform.registry, done.publication_id, NOW)
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


CONTACT = {
    "type": "object",
    "properties": {"mail": {"type": "string", "x-pii": True}},
    "additionalProperties": False,
}
OFFER = {
    "contact": {"$ref": "#/$defs/contact"},
    "files": {
        "type": "array",
        "items": {"type": "object", "properties": {"uri": {"type": "string"}}, "unevaluatedProperties": False},
    },
}


def state(platform: Platform, contract: str) -> dict[str, Any]:
    """Publish the schema of an offer with nested objects under a contract, and return it."""
    schema = schema_of(platform)
    schema |= {"x-contract": contract, "$defs": {"contact": CONTACT}, "properties": schema["properties"] | OFFER}
    publish_schema(platform, schema)
    return schema_of(platform)


def strange(event_id: str, **members: Any) -> dict[str, Any]:
    """Return an offer that holds what the schema does not know, at every level."""
    return signed(
        event_id,
        "CAND-1",
        **{
            "contact": {"mail": SECRET, "phone": SECRET},
            "files": [{"uri": "u:1"}, {"uri": "u:2", "pages": 2, "sha": {SECRET: [SECRET]}}, {"pages": 1.5}],
            "currency": SECRET,
        }
        | members,
    )


def proposals(platform: Platform) -> list[dict[str, Any]]:
    rows = platform.registry.frame(PUBLICATION_QUEUE).filter(decision="pending")
    return [json.loads(body) for body in rows["proposal_body"]]


def test_a_record_without_a_version_is_held_against_the_latest_that_was_published(platform: Platform) -> None:
    """What is only proposed binds nobody, and whoever names an older version is held to that."""
    schema = schema_of(platform)
    wider = {**schema, "properties": schema["properties"] | {"note": {"type": "string"}}}
    proposed = {"subject": SIGNED, "format": "json", "schema": wider}
    submit(platform.registry, EventSchema, canonical(proposed), name="new", principal=PUBLISHER, now=NOW)
    land(platform, signed("A"), signed("B", note="x"))
    assert ingest(platform).records == Accounting(accepted=1, rejected=1)
    publish_schema(platform, wider)
    land(platform, signed("C", note="x"), signed("D") | {"schema_version": 1}, name="2.ndjson")
    land(platform, signed("E", note="x") | {"schema_version": 1}, name="3.ndjson")
    assert ingest(platform).records == Accounting(accepted=2, rejected=1)
    rows = platform.lake.scan(EVENT_BUS).select("event_id", "schema_version").collect()
    assert dict(rows.iter_rows()) == {"A": 1, "C": 2, "D": 1}


def test_a_frozen_topic_refuses_a_member_that_its_schema_does_not_know(platform: Platform) -> None:
    """What nobody agreed to must not get in because another topic is more lenient."""
    state(platform, "freeze")
    land(platform, strange("A"))
    done = ingest(platform)
    assert done.rules == {"payload_schema": 1}
    assert (done.discarded, done.proposed) == ({}, [])


def test_unknown_members_are_dropped_and_counted_at_every_level(platform: Platform) -> None:
    """What was dropped without a count is lost without a trace."""
    state(platform, "discard_value")
    land(platform, strange("A"), strange("B", files=[], **{SECRET: 1}), signed("C", "CAND-2"))
    done = ingest(platform)
    assert done.records == Accounting(accepted=3)
    assert done.discarded == {
        SIGNED: {
            "/currency": 2,
            "/contact/phone": 2,
            "/files/*/pages": 2,
            "/files/*/sha": 1,
            f"/name of {len(SECRET)}": 1,
        }
    }
    held = payloads(platform)
    token = Redactor.from_file(platform.home.redaction_key).token
    assert held["A"] == {
        "candidate_id": "CAND-1",
        "role_id": "HR-IC-001",
        "start_date": "2025-05-01",
        "contact": {"mail": token(SECRET)},
        "files": [{"uri": "u:1"}, {"uri": "u:2"}, {}],
    }
    assert SECRET not in platform.lake.scan(EVENT_BUS).collect().write_json()
    assert proposals(platform) == []


def test_what_differs_in_dropped_members_only_is_the_same_event(platform: Platform) -> None:
    """The hash is of what is kept; a duplicate that was refused as another content would never be let go."""
    state(platform, "discard_value")
    land(platform, strange("A"), strange("A", currency="EUR"), strange("A", candidate_id="CAND-2"))
    done = ingest(platform)
    assert done.records == Accounting(accepted=1, duplicates=1, rejected=1)
    assert done.discarded[SIGNED]["/currency"] == 1, "counted for the event that is kept, not for its copies"


@pytest.mark.parametrize("contract", ["discard_value", "evolve"])
def test_what_is_wrong_in_known_members_stays_wrong(platform: Platform, contract: str) -> None:
    """To drop a member that the schema knows, because its value is wrong, would turn faults into silence."""
    state(platform, contract)
    land(
        platform,
        strange("A", start_date="soon"),
        strange("B", files=[{"uri": 7}]),
        strange("C", contact="none"),
        strange("D", candidate_id=None),
    )
    done = ingest(platform)
    assert done.records == Accounting(rejected=4)
    letters = platform.lake.scan(EVENT_DEAD_LETTER).collect().sort("event_id")
    assert letters["path"].to_list() == [
        "/payload/start_date",
        "/payload/files/0/uri",
        "/payload/contact",
        "/payload/candidate_id",
    ]
    assert (done.discarded, done.proposed, proposals(platform)) == ({}, [], [])
    assert SECRET not in letters.write_json()


def test_unknown_members_are_kept_redacted_and_proposed(platform: Platform) -> None:
    """Nobody has said yet that they are not personal, so nothing of them leaves the landing zone in clear."""
    schema = state(platform, "evolve")
    land(platform, strange("A"), strange("B", currency=7, level=1), strange("C", level=2.0, **{SECRET: True}))
    done = ingest(platform)
    assert (done.records, done.discarded, done.proposed) == (Accounting(accepted=3), {}, [SIGNED])
    token = Redactor.from_file(platform.home.redaction_key).token
    held = payloads(platform)
    assert held["A"]["currency"] == held["A"]["contact"]["phone"] == held["A"]["contact"]["mail"] == token(SECRET)
    assert held["A"]["files"] == [
        {"uri": "u:1"},
        {"uri": "u:2", "pages": 2, "sha": {token(SECRET): [token(SECRET)]}},
        {"pages": 1.5},
    ]
    assert (held["B"]["currency"], held["C"][token(SECRET)]) == (7, True)
    assert SECRET not in platform.lake.scan(EVENT_BUS).collect().write_json()

    (proposal,) = proposals(platform)
    schema["properties"]["currency"] = {"x-pii": True}
    schema["properties"]["level"] = {"type": "integer"}
    schema["properties"]["files"]["items"]["properties"] |= {
        "pages": {"type": "number"},
        "sha": {"type": "object", "x-pii": True},
    }
    schema["$defs"]["contact"]["properties"]["phone"] = {"type": "string", "x-pii": True}
    assert proposal["schema"] == schema
    assert (proposal["subject"], proposal["version"], proposal["semver"]) == (SIGNED, 3, "1.2.0")

    land(platform, strange("D"), strange("E", currency=7, level=1), name="2.ndjson")
    assert ingest(platform).proposed == [], "it waits already"
    assert len(proposals(platform)) == 1


def test_what_was_proposed_is_known_once_it_is_published(platform: Platform) -> None:
    """The loop ends there: the next batch finds nothing unknown, and an event sent again is known by its tokens."""
    state(platform, "evolve")
    land(platform, signed("A", "CAND-1", note=SECRET))
    ingest(platform)
    (proposal,) = proposals(platform)
    published(platform, EventSchema, proposal)
    land(platform, signed("A", "CAND-1", note=SECRET), signed("B", "CAND-2", note=SECRET), name="2.ndjson")
    land(platform, signed("C", "CAND-3", note=SECRET) | {"schema_version": 2}, name="3.ndjson")
    done = ingest(platform)
    assert (done.records, done.proposed) == (Accounting(accepted=2, duplicates=1), [])
    notes = {payload["note"] for payload in payloads(platform).values()}
    assert notes == {Redactor.from_file(platform.home.redaction_key).token(SECRET)}


@pytest.mark.parametrize("contract", ["discard_value", "evolve"])
def test_a_personal_topic_hides_unknown_members_with_the_rest(platform: Platform, contract: str) -> None:
    """Two ways to redact the same value would give it two tokens."""
    state(platform, contract)
    tag_term(platform)
    land(platform, signed("A", note=SECRET))
    ingest(platform)
    token = Redactor.from_file(platform.home.redaction_key).token
    known = {"candidate_id": token(SECRET), "role_id": token("HR-IC-001"), "start_date": "2025-05-01"}
    kept = {} if contract == "discard_value" else {token("note"): token(SECRET)}
    assert payloads(platform)["A"] == known | kept


class Interrupted(Exception):
    """Stands for a process that ends."""


class FragileLake(Lake):
    """A lake whose process ends after an append of events."""

    left = 2

    def append(self, spec: Any, frame: Any, *, batch_id: str, **options: Any) -> Appended:
        appended = super().append(spec, frame, batch_id=batch_id, **options)
        self.left -= spec is EVENT_BUS
        if not self.left:
            raise Interrupted
        return appended


@pytest.mark.parametrize("contract", ["discard_value", "evolve"])
def test_workers_and_an_interruption_change_neither_counts_nor_proposal(
    platform: Platform, tmp_path: Any, contract: str
) -> None:
    """Seven parts of three records are judged in two processes; what was committed before counts, and once."""
    other = open_platform(tmp_path / "other")
    done: list[Ingestion] = []
    for home in (platform, other):
        state(home, contract)
        land(home, *(strange(f"E-{n:02}", **{f"m{n % 5}": n}) for n in range(21)))
        if home is other:
            with pytest.raises(Interrupted):
                ingest(home, chunk=3, lake=FragileLake(home.home.lake))
        done.append(ingest(home, chunk=3 if home is other else 1000))
        assert ingest(home) == Ingestion()
    assert done[0].records == done[1].records == Accounting(accepted=21)
    assert done[0].discarded == done[1].discarded
    if contract == "discard_value":
        assert done[0].discarded[SIGNED]["/files/*/pages"] == 42
        assert [done[0].discarded[SIGNED][f"/m{n}"] for n in range(5)] == [5, 4, 4, 4, 4]
    assert proposals(platform) == proposals(other)
    assert len(proposals(platform)) == (contract == "evolve")
    other.close()


def test_a_proposal_that_was_queued_before_the_process_ended_is_not_queued_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the proposal and the end of its batch lies a moment in which a machine may go down."""
    state(platform, "evolve")
    land(platform, strange("A"))
    with monkeypatch.context() as patched:
        patched.setattr("ingest.events._close_batch", lambda *_, **__: (_ for _ in ()).throw(Interrupted))
        with pytest.raises(Interrupted):
            ingest(platform)
    queued = proposals(platform)
    assert len(queued) == 1
    assert ingest(platform).proposed == []
    assert proposals(platform) == queued


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"x-contract": "lenient"}, "is no contract"),
        ({"x-contract": ["evolve"]}, "is no contract"),
        ({"x-contract": "discard_value", "additionalProperties": True}, "open schema"),
        ({"x-contract": "evolve", "additionalProperties": {}}, "open schema"),
    ],
)
def test_a_contract_that_could_not_be_kept_is_refused(
    platform: Platform, members: dict[str, Any], problem: str
) -> None:
    """A word that is not understood would freeze the topic, or let everything in, and nobody would know why."""
    with pytest.raises(DocumentRefused, match=problem):
        publish_schema(platform, schema_of(platform) | members)


def test_a_topic_to_which_no_member_may_be_added_does_not_evolve(platform: Platform) -> None:
    """Each batch would propose what the registry must refuse."""
    with pytest.raises(DocumentRefused, match="forward compatible"):
        publish_schema(platform, schema_of(platform) | {"x-contract": "evolve"}, compatibility="forward")


CLOSED = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "payload", "dropped"),
    [
        (CLOSED, {"a": 1, "b": 2, "c": {"d": 1}}, ["/c", "/b"]),
        (CLOSED | {"maxProperties": 1}, {"a": 1, "b": 2}, ["/b"]),
        (CLOSED | {"propertyNames": {"maxLength": 1}}, {"a": 1, "bb": 2}, ["/bb"]),
        (CLOSED | {"required": ["b"]}, {"a": 1, "b": 2}, None),
        ({"properties": {"o": {"anyOf": [CLOSED, {"type": "null"}]}}}, {"o": {"b": 1}}, None),
        ({"allOf": [{"properties": {"a": {"type": "integer"}}}], "unevaluatedProperties": False}, {"a": "x"}, None),
        ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, {"a": 1, "b": 2}, ["/b"]),
        ({"allOf": [CLOSED, {"properties": {"b": CLOSED}}]}, {"b": {"c": 1}}, ["/b/c", "/b"]),
    ],
)
def test_only_what_no_part_of_the_schema_knows_is_taken_out(
    schema: dict[str, Any], payload: dict[str, Any], dropped: list[str] | None
) -> None:
    """A validator calls a member unknown too when a part that knows it failed: its fault must not go with it."""
    found = fit(payload, jsonschema_rs.validator_for(schema))
    if dropped is None:
        assert isinstance(found, jsonschema_rs.ValidationError)
        return
    assert isinstance(found, list)
    paths = [told("t", member, is_kept=False, is_proposed=False).path for member in found]
    assert sorted(paths) == sorted(dropped)
    assert jsonschema_rs.validator_for(schema).is_valid(without(payload, found))
    json.dumps(redacted(payload, found, lambda _: "hidden"))
