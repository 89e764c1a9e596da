"""Tokens: what is issued, listed and revoked, and what remains of it in the database."""

import re
import sqlite3
import threading
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from guard.canonical import canonical, digest_text, parse
from lake.tables import ACCESS_TOKEN, OUTBOX, POLICY
from registry.access import InvalidToken, authenticate
from registry.database import TABLES, Registry
from registry.objects import NotRegistered
from registry.outbox import TOKEN_CHANGED
from registry.tokens import Issued, TokenRefused, draw, is_token, issue_token, list_tokens, revoke_tokens
from tests.databases import ON_SQLITE

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def issue(registry: Registry, subject_id: str = "u-17", role_id: str = "FA-M-001", **options: object) -> Issued:
    given = {"subject_type": "person", "actor": "operator:root", "now": NOON, **options}
    return issue_token(registry, subject_id=subject_id, role_id=role_id, **given)  # type: ignore[arg-type]


def audited(registry: Registry) -> list[dict[str, object]]:
    rows = registry.frame(OUTBOX).sort("produced_at").iter_rows(named=True)
    return [parse(row["payload"]) for row in rows if row["topic"] == TOKEN_CHANGED]


def set_policy(registry: Registry, **rules: object) -> None:
    row = {
        "policy_id": f"POL-T-{len(registry.frame(POLICY))}",
        "policy_name": "t",
        "scope": "security",
        "spec": canonical({"tokens": rules}),
        "owner_role_id": "SEC-M-001",
        "precedence": "corporate",
        **dict.fromkeys(("created_at", "updated_at"), NOON),
        **dict.fromkeys(("created_by", "updated_by"), "t"),
    }
    with registry.transaction() as connection:
        connection.execute(sa.insert(TABLES[POLICY.name]), row)


def test_a_token_checks_itself_as_the_pattern_for_scanners_says() -> None:
    """A scanner for leaks reads the prefix and the check digits; if they drift, leaks go unseen."""
    token = draw()
    assert re.fullmatch(r"rwcm_[0-9A-Za-z]{46}", token)
    body, check = token[5:45], token[45:]
    value = 0
    for digit in check:
        value = value * 62 + BASE62.index(digit)
    assert value == zlib.crc32(b"rwcm_" + body.encode())
    assert len({draw() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("position", [0, 4, 5, 20, 44, 45, 50])
def test_a_mistyped_token_is_malformed_without_asking_anybody(loaded: Registry, position: int) -> None:
    """The check digits tell a slip of the finger from a forgery."""
    token = issue(loaded).token
    wrong = token[:position] + ("a" if token[position] != "a" else "b") + token[position + 1 :]
    assert not is_token(wrong)
    with pytest.raises(InvalidToken) as refused:
        authenticate(loaded, wrong, now=NOON)
    assert refused.value.reason == "malformed"
    assert wrong not in str(refused.value)


@ON_SQLITE
def test_only_the_hash_of_a_token_is_in_the_files_of_the_registry(loaded: Registry, tmp_path: Path) -> None:
    """Whoever copies the database, its WAL included, must not get a way in."""
    issued = issue(loaded)
    assert issued.token not in repr(issued)
    contents = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert issued.token_id.encode() in contents
    assert digest_text(issued.token).encode() in contents
    assert issued.token.encode() not in contents
    assert issued.token[5:].encode() not in contents


def test_a_token_holds_ninety_days_unless_told_otherwise_and_never_beyond_the_bound(loaded: Registry) -> None:
    """Secrets are rotated quarterly."""
    assert issue(loaded).expires_at == NOON + timedelta(days=90)
    assert issue(loaded, days=7).expires_at == NOON + timedelta(days=7)
    for days in (0, -1, 367, 10**9):
        with pytest.raises(TokenRefused):
            issue(loaded, days=days)


def test_the_strictest_policy_in_force_bounds_the_life_of_a_token(loaded: Registry) -> None:
    """A policy that allows longer must not undo one that is stricter."""
    set_policy(loaded, max_days=30)
    set_policy(loaded, max_days=300, default_days=200)
    assert issue(loaded).expires_at == NOON + timedelta(days=30)
    with pytest.raises(TokenRefused, match="1 to 30 days"):
        issue(loaded, days=31)


@pytest.mark.parametrize(
    "subject",
    ["", " ", "two words", "x" * 65, "tab\t", "nul\x00", "zero\u200bwidth", "right\u202eleft", "lone\ud800"],
)
def test_a_subject_that_cannot_be_told_by_reading_is_refused(loaded: Registry, subject: str) -> None:
    """Two subjects that look the same in a list would hide one behind the other."""
    with pytest.raises(TokenRefused):
        issue(loaded, subject)
    assert loaded.frame(ACCESS_TOKEN).is_empty()


def test_a_subject_of_any_script_has_one_spelling(loaded: Registry) -> None:
    """A revocation by the composed spelling must find what was issued under the decomposed one."""
    token = issue(loaded, "Jose\u0301").token
    issue(loaded, "山田太郎")
    assert authenticate(loaded, token, now=NOON).subject_id == "Jos\u00e9"
    assert len(revoke_tokens(loaded, subject_id="Jose\u0301", actor="op", now=NOON)) == 1
    assert len(revoke_tokens(loaded, subject_id="山田太郎", actor="op", now=NOON)) == 1


def test_a_role_or_agent_that_does_not_exist_gets_no_token(loaded: Registry) -> None:
    """A token for a role that comes later would work the moment somebody creates it."""
    with pytest.raises(NotRegistered, match="NO-SUCH"):
        issue(loaded, role_id="NO-SUCH")
    with pytest.raises(NotRegistered, match="AG-NOBODY"):
        issue(loaded, "AG-NOBODY", subject_type="agent")
    assert audited(loaded) == []


def test_an_agents_token_is_for_the_role_it_is_registered_in(loaded: Registry) -> None:
    """Otherwise a token could lift an agent into another role, past its publication."""
    with pytest.raises(TokenRefused, match="DA-M-001"):
        issue(loaded, "AG-SYNTH-001", "FA-M-001", subject_type="agent")
    issue(loaded, "AG-SYNTH-001", "DA-M-001", subject_type="agent")


@pytest.mark.parametrize("subject", ["AG-SYNTH-001", "ag-synth-001"])
def test_a_person_cannot_be_called_like_an_agent(loaded: Registry, subject: str) -> None:
    """A person's token has no profile that narrows it."""
    with pytest.raises(TokenRefused, match="--type agent"):
        issue(loaded, subject, "DA-M-001")


def test_issue_and_revocation_are_audited_with_who_did_it_and_without_the_token(loaded: Registry) -> None:
    """Who let whom in, and when it ended, must be answerable later."""
    issued = issue(loaded)
    later = NOON + timedelta(hours=1)
    assert revoke_tokens(loaded, token_id=issued.token_id, actor="operator:eve", now=later) == [issued.token_id]
    first, second = audited(loaded)
    assert first == {
        "change": "issued",
        "token_id": issued.token_id,
        "subject_id": "u-17",
        "subject_type": "person",
        "role_id": "FA-M-001",
        "expires_at": "2024-05-30T12:00:00+00:00",
        "actor": "operator:root",
    }
    assert second == first | {"change": "revoked", "actor": "operator:eve"}


def test_revoking_by_role_and_by_subject_takes_exactly_theirs(loaded: Registry) -> None:
    """On a change of role all tokens of the role end, and nobody else's."""
    mine = [issue(loaded, "u-1").token_id, issue(loaded, "u-1", "FA-IC-001").token_id]
    other = issue(loaded, "u-2").token_id
    assert revoke_tokens(loaded, subject_id="u-1", role_id="FA-IC-001", actor="op", now=NOON) == [mine[1]]
    assert sorted(revoke_tokens(loaded, role_id="FA-M-001", actor="op", now=NOON)) == sorted([mine[0], other])
    assert revoke_tokens(loaded, subject_id="u-1", actor="op", now=NOON) == []


def test_a_revocation_that_names_nothing_or_finds_nothing_is_refused(loaded: Registry) -> None:
    """A typing error must not look like a revocation, and never revoke everybody."""
    issue(loaded)
    with pytest.raises(TokenRefused):
        revoke_tokens(loaded, actor="op", now=NOON)
    for wanted in ({"token_id": "TK-0"}, {"subject_id": "u-99"}, {"role_id": "IT-M-001"}):
        with pytest.raises(NotRegistered):
            revoke_tokens(loaded, actor="op", now=NOON, **wanted)
    assert [token.state for token in list_tokens(loaded, now=NOON)] == ["valid"]


def test_of_two_revocations_at_once_each_token_is_audited_once(loaded: Registry) -> None:
    """Two operators react to the same leak; the audit must not tell of two revocations."""
    issued = [issue(loaded, f"u-{n}").token_id for n in range(20)]
    begin = threading.Barrier(2)
    taken: list[list[str]] = []

    def revoke() -> None:
        begin.wait()
        taken.append(revoke_tokens(loaded, role_id="FA-M-001", actor="op", now=NOON))

    threads = [threading.Thread(target=revoke) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken[0] + taken[1]) == sorted(issued)
    assert sum(payload["change"] == "revoked" for payload in audited(loaded)) == 20


def test_the_list_says_what_is_due_and_shows_no_hash(loaded: Registry) -> None:
    """Rotation starts with seeing what is old."""
    old = issue(loaded, "u-1", days=180)
    issue(loaded, "u-2", days=10)
    agent = issue(loaded, "AG-SYNTH-001", "DA-M-001", subject_type="agent", days=180)
    young = issue(loaded, "u-3", now=NOON + timedelta(days=91))
    with loaded.transaction() as connection:
        connection.execute(sa.text("update agent set role_id = 'IT-M-001' where agent_id = 'AG-SYNTH-001'"))
    listed = {token.token_id: token for token in list_tokens(loaded, now=NOON + timedelta(days=91))}
    assert (listed[old.token_id].state, listed[old.token_id].is_due) == ("valid", True)
    assert (listed[young.token_id].state, listed[young.token_id].is_due) == ("valid", False)
    assert (listed[agent.token_id].state, listed[agent.token_id].is_due) == ("moved", False)
    assert sorted(token.state for token in listed.values()) == ["expired", "moved", "valid", "valid"]
    assert digest_text(old.token) not in repr(listed)


@ON_SQLITE
def test_the_database_refuses_to_forget_a_role_that_tokens_act_in(loaded: Registry, tmp_path: Path) -> None:
    """A role of the same id made later must not inherit the tokens of the one before."""
    token = issue(loaded, role_id="MKT-M-001").token
    with pytest.raises(sa.exc.IntegrityError), loaded.transaction() as connection:
        connection.execute(sa.text("delete from role where role_id = 'MKT-M-001'"))
    with sqlite3.connect(tmp_path / "registry.db") as edited:  # without foreign keys, as a tool might
        edited.execute("delete from role where role_id = 'MKT-M-001'")
    edited.close()
    with pytest.raises(InvalidToken) as refused:
        authenticate(loaded, token, now=NOON)
    assert refused.value.reason == "revoked"
