"""Access as the registry answers it: who speaks, whether they may, and what the audit keeps of a refusal."""

import json
import secrets
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from guard.canonical import canonical, parse
from lake.tables import OUTBOX, POLICY, PUBLICATION_QUEUE, ROLE
from registry.access import (
    PLATFORM,
    Denied,
    InvalidToken,
    Principal,
    agent_principal,
    authenticate,
    authorise,
    check_permission,
    recorded_denials,
)
from registry.database import TABLES, Registry
from registry.documents import Agent
from registry.loader import PACK
from registry.objects import NotRegistered
from registry.outbox import ACCESS_DENIED
from registry.publication import publish, submit
from registry.tokens import draw, issue_token, revoke_tokens
from tests.approvals import approve

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
ANN = Principal("u-ann", "person", "FA-M-001")


def denials(registry: Registry) -> list[dict[str, object]]:
    rows = registry.frame(OUTBOX).iter_rows(named=True)
    return [parse(row["payload"]) for row in rows if row["topic"] == ACCESS_DENIED]


def may(registry: Registry, principal: Principal, action: str, kind: str, object_id: str, **options: object) -> bool:
    try:
        authorise(registry, principal, action, kind, object_id, now=NOON, **options)  # type: ignore[arg-type]
    except Denied:
        return False
    return True


def person(role_id: str) -> Principal:
    return Principal("u-1", "person", role_id)


# Who speaks


def test_a_token_speaks_for_its_subject_in_its_role(loaded: Registry) -> None:
    """What is done with it is recorded under this name."""
    issued = issue_token(
        loaded, subject_id="u-ann", subject_type="person", role_id="FA-M-001", actor="operator:root", now=NOON
    )
    assert authenticate(loaded, issued.token, now=NOON) == ANN
    assert denials(loaded) == []


@pytest.mark.parametrize(
    "token", ["", "rwcm_", "x" * 51, "rwcm_" + "0" * 46, "rwcm_" + "é" * 46, "rwcm_\x00", "' or 1=1 --", "\ud800" * 51]
)
def test_what_is_no_token_is_malformed(loaded: Registry, token: str) -> None:
    """Whatever stands in the variable, the answer is a clear refusal."""
    with pytest.raises(InvalidToken) as refused:
        authenticate(loaded, token, now=NOON)
    assert refused.value.reason == "malformed"


def test_a_forged_token_is_unknown_and_fills_no_audit(loaded: Registry) -> None:
    """The check digits are no secret; a forger can make them fit, and try as often as they like."""
    for _ in range(10):
        with pytest.raises(InvalidToken) as refused:
            authenticate(loaded, draw(), now=NOON)
        assert refused.value.reason == "unknown"
    assert denials(loaded) == []


def test_a_token_ends_at_its_moment_and_its_later_use_is_audited(loaded: Registry) -> None:
    """A token that still goes around after its end may be in wrong hands."""
    issued = issue_token(
        loaded, subject_id="u-ann", subject_type="person", role_id="FA-M-001", actor="op", now=NOON, days=1
    )
    end = NOON + timedelta(days=1)
    assert authenticate(loaded, issued.token, now=end - timedelta(microseconds=1)) == ANN
    with pytest.raises(InvalidToken) as refused:
        authenticate(loaded, issued.token, now=end)
    assert refused.value.reason == "expired"
    (event,) = denials(loaded)
    assert (event["action"], event["object_id"], event["reason"]) == ("authenticate", issued.token_id, "expired")


def test_a_revoked_token_ends_at_once_and_another_of_the_same_subject_works(loaded: Registry) -> None:
    """Revoking is for a leaked token; its owner gets a new one and goes on."""
    first, second = (
        issue_token(loaded, subject_id="u-ann", subject_type="person", role_id="FA-M-001", actor="op", now=NOON)
        for _ in range(2)
    )
    revoke_tokens(loaded, token_id=first.token_id, actor="op", now=NOON)
    with pytest.raises(InvalidToken) as refused:
        authenticate(loaded, first.token, now=NOON)
    assert refused.value.reason == "revoked"
    assert authenticate(loaded, second.token, now=NOON) == ANN


def test_an_agents_token_ends_when_the_agent_moves_to_another_role(loaded: Registry) -> None:
    """Tokens are revoked on role changes, whoever changed the role."""
    issued = issue_token(
        loaded, subject_id="AG-SYNTH-001", subject_type="agent", role_id="DA-M-001", actor="op", now=NOON
    )
    assert authenticate(loaded, issued.token, now=NOON) == agent_principal(loaded, "AG-SYNTH-001")
    with loaded.transaction() as connection:
        connection.execute(sa.text("update agent set role_id = 'IT-M-001' where agent_id = 'AG-SYNTH-001'"))
    with pytest.raises(InvalidToken) as refused:
        authenticate(loaded, issued.token, now=NOON)
    assert refused.value.reason == "revoked"


def test_an_agent_that_is_published_in_another_role_needs_another_token(loaded: Registry) -> None:
    """The role changes by a publication, which knows nothing of tokens; they must end all the same."""
    token = issue_token(
        loaded, subject_id="AG-SYNTH-001", subject_type="agent", role_id="DA-M-001", actor="op", now=NOON
    ).token
    agents = json.loads((PACK / "agents.json").read_text())
    (document,) = (agent for agent in agents if agent["agent_id"] == "AG-SYNTH-001")
    moved = json.dumps({**document, "role_id": "IT-M-001"})
    queued = submit(loaded, Agent, moved, name="agent", principal=ANN, now=NOON).publication_id
    approve(loaded, queued, NOON)
    assert authenticate(loaded, token, now=NOON).role_id == "DA-M-001"
    with pytest.raises(Denied):
        publish(loaded, queued, principal=ANN, now=NOON)
    publish(loaded, queued, principal=person("SEC-M-001"), now=NOON)
    with pytest.raises(InvalidToken) as refused:
        authenticate(loaded, token, now=NOON)
    assert refused.value.reason == "revoked"
    assert agent_principal(loaded, "AG-SYNTH-001").role_id == "IT-M-001"


# Whether they may


def test_a_denial_is_audited_although_its_caller_rolls_back(loaded: Registry) -> None:
    """Whoever tries and fails must be seen; a rollback is what a failed attempt looks like."""
    intern = person("SAL-IC-001")
    with pytest.raises(Denied) as denied, recorded_denials(loaded, now=NOON), loaded.transaction() as connection:
        connection.execute(sa.text("delete from cursor"))
        check_permission(connection, intern, "publish", "skill_node", "SK-ERP-002", now=NOON)
    assert denied.value.object_id == "SK-ERP-002"
    (event,) = denials(loaded)
    assert event == {
        "subject_id": "u-1",
        "subject_type": "person",
        "role_id": "SAL-IC-001",
        "action": "publish",
        "object_type": "skill_node",
        "object_id": "SK-ERP-002",
        "reason": denied.value.reason,
    }


def test_a_denial_says_what_would_be_needed(loaded: Registry) -> None:
    """A refusal without a way out sends people around the rules."""
    with pytest.raises(Denied, match=r"u-1 in role SAL-IC-001 may not propose workflow WF-FIN-001.*FA-IC-001 or one"):
        authorise(loaded, person("SAL-IC-001"), "propose", "workflow", "WF-FIN-001", now=NOON)


@pytest.mark.parametrize(
    ("role", "can"),
    [("FA-IC-001", True), ("FA-M-001", True), ("FA-D-001", True), ("SAL-D-001", False), ("HR-IC-001", False)],
)
def test_a_workflow_is_changed_by_those_who_answer_for_it(loaded: Registry, role: str, can: bool) -> None:
    """WF-FIN-001 belongs to FA-IC-001; the roles above it answer for it too."""
    assert may(loaded, person(role), "propose", "workflow", "WF-FIN-001") is can


def test_a_skill_is_changed_by_its_owner_or_with_maintain(loaded: Registry) -> None:
    """IT-M-001 owns SK-OCR-001; FA-IC-001 may use it only; FA-M-001 maintains SK-ERP-002."""
    assert may(loaded, person("IT-M-001"), "propose", "skill_node", "SK-OCR-001")
    assert not may(loaded, person("FA-IC-001"), "propose", "skill_node", "SK-OCR-001")
    assert not may(loaded, person("FA-IC-001"), "propose", "skill_node", "SK-ERP-002")
    assert may(loaded, person("FA-M-001"), "propose", "skill_node", "SK-ERP-002")


def test_anybody_proposes_what_is_new(loaded: Registry) -> None:
    """Learning starts with proposals; a draft changes nothing until it is published."""
    for kind, name in [("workflow", "WF-NEW-001"), ("skill_node", "SK-NEW-001"), ("role_skill_map", "A/B")]:
        assert may(loaded, person("SAL-IC-001"), "propose", kind, name)
    assert may(loaded, PLATFORM, "propose", "workflow", "WF-NEW-001")
    assert may(loaded, agent_principal(loaded, "AG-SYNTH-001"), "propose", "workflow", "WF-NEW-001")


def test_an_agent_runs_what_its_role_may_and_its_profile_lists(loaded: Registry) -> None:
    """The profile narrows the role; neither alone is enough."""
    records = agent_principal(loaded, "AG-ERP-001")
    assert may(loaded, records, "run", "skill_node", "SK-ERP-002")
    assert not may(loaded, records, "run", "skill_node", "SK-OCR-001")  # its role may, its profile does not list it
    with loaded.transaction() as connection:
        connection.execute(
            sa.text("delete from role_skill_map where skill_id = 'SK-ERP-002' and role_id = 'FA-IC-001'")
        )
    assert not may(loaded, records, "run", "skill_node", "SK-ERP-002")


def test_the_skills_of_a_workflow_are_those_it_calls_now_and_those_wanted(loaded: Registry) -> None:
    """Otherwise a new version that drops a forbidden skill could be changed by those who may not touch it."""
    with loaded.transaction() as connection:
        connection.execute(
            sa.text(
                "update role_skill_map set permission = 'maintain' where role_id = 'IT-M-001' and skill_id like :s"
            ),
            {"s": "SK-%"},
        )
    # IT-M-001 maintains what it has grants for, but WF-FIN-001 calls SK-ERP-002 and others it has none for.
    assert not may(loaded, person("IT-M-001"), "propose", "workflow", "WF-FIN-001", skills=["SK-OCR-001"])


def test_a_kind_without_publishers_is_published_by_nobody(loaded: Registry) -> None:
    """No policy is no permission."""
    with loaded.transaction() as connection:
        connection.execute(sa.text("delete from policy where scope = 'security'"))
    with loaded.read() as connection:
        roles = [role for (role,) in connection.execute(sa.select(TABLES[ROLE.name].c.role_id))]
    for role in roles:
        assert not may(loaded, person(role), "publish", "role", "FA-M-001")


def security_policy(registry: Registry, name: str, publishers: object, **options: object) -> None:
    row = {
        "policy_id": name,
        "policy_name": name,
        "scope": "security",
        "spec": canonical({"publishers": publishers}),
        "owner_role_id": "SEC-M-001",
        "precedence": "corporate",
        "effective_from": None,
        "effective_to": None,
        **dict.fromkeys(("created_at", "updated_at"), NOON),
        **dict.fromkeys(("created_by", "updated_by"), "t"),
        **options,
    }
    with registry.transaction() as connection:
        connection.execute(sa.insert(TABLES[POLICY.name]), row)


def test_of_contradicting_policies_the_highest_holds_and_of_equals_the_narrower(loaded: Registry) -> None:
    """Precedence first, then the most restrictive: what the blueprint asks of every conflict."""
    with loaded.transaction() as connection:
        connection.execute(sa.text("delete from policy where scope = 'security'"))
    security_policy(loaded, "P1", {"agent": ["HR-M-001", "IT-M-001"]})
    security_policy(loaded, "P2", {"agent": ["IT-M-001", "FA-M-001"]})
    assert [may(loaded, person(r), "publish", "agent", "X") for r in ("HR-M-001", "IT-M-001", "FA-M-001")] == [
        False,
        True,
        False,
    ]
    security_policy(loaded, "P3", {"agent": ["FA-M-001"]}, precedence="statutory")
    security_policy(loaded, "P4", {"agent": ["SAL-M-001"]}, precedence="statutory", effective_to=NOON)
    security_policy(loaded, "P5", {"agent": ["SAL-M-001"]}, precedence="statutory", effective_from=NOON + timedelta(1))
    assert [may(loaded, person(r), "publish", "agent", "X") for r in ("IT-M-001", "FA-M-001")] == [False, True]
    security_policy(loaded, "P6", {"agent": "FA-M-001"}, precedence="statutory")  # not a list: names nobody
    assert not may(loaded, person("FA-M-001"), "publish", "agent", "X")


def proposal(registry: Registry, proposed_by: str) -> str:
    publication_id = secrets.token_hex(8)
    row = {
        "publication_id": publication_id,
        "proposal_type": "workflow",
        "proposal_body": "{}",
        "proposal_hash": publication_id,
        "provenance": "{}",
        "confidence": 0.9,
        "policy_checks": "{}",
        "proposed_by": proposed_by,
        "expires_at": NOON + timedelta(30),
        **dict.fromkeys(("created_at", "updated_at"), NOON),
        **dict.fromkeys(("created_by", "updated_by"), "t"),
    }
    with registry.transaction() as connection:
        connection.execute(sa.insert(TABLES[PUBLICATION_QUEUE.name]), row)
    return publication_id


def test_a_mandatory_reviewer_decides_but_never_what_they_proposed(loaded: Registry) -> None:
    """QA-M-001 and SEC-M-001 review; then the supervisor stands in for the one who proposed."""
    queued = proposal(loaded, proposed_by="u-1")
    assert not may(loaded, Principal("u-1", "person", "QA-M-001"), "decide", "publication_queue", queued)
    assert may(loaded, Principal("u-2", "person", "QA-M-001"), "decide", "publication_queue", queued)
    assert may(loaded, Principal("u-3", "person", "QA-D-001"), "decide", "publication_queue", queued)
    assert not may(loaded, Principal("u-4", "person", "FA-D-001"), "decide", "publication_queue", queued)
    assert not may(loaded, Principal("u-2", "person", "QA-M-001"), "decide", "publication_queue", "none")


def test_an_unknown_agent_cannot_act(loaded: Registry) -> None:
    """Code that names an agent gets one of the registry or none."""
    with pytest.raises(NotRegistered):
        agent_principal(loaded, "AG-NOBODY")
    assert not may(loaded, Principal("AG-NOBODY", "agent", "DA-M-001"), "propose", "workflow", "WF-NEW-001")


def test_a_kind_that_is_not_governed_is_a_mistake_of_the_caller(loaded: Registry) -> None:
    """A typing error in the code must not read as everybody may propose."""
    with pytest.raises(ValueError, match="no kind of governed object"):
        authorise(loaded, ANN, "propose", "workfow", "WF-1", now=NOON)
