"""Tokens: what binds a person or an agent to a role, issued by whoever operates the installation.

A token is `rwcm_`, 40 random letters and digits (238 bits) and six that check them, so that a leaked one can be
found by pattern and told from an accident without asking the registry. It is shown once; only its SHA-256 is kept,
which needs no salt, since what was drawn cannot be guessed.
"""

import re
import secrets
import string
import unicodedata
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from guard.canonical import digest_text
from lake.tables import ACCESS_TOKEN, AGENT, ROLE
from registry.database import TABLES, Registry, fetch, insert
from registry.objects import NotRegistered
from registry.outbox import TOKEN_CHANGED, announce_many
from registry.permissions import security_rules

PREFIX = "rwcm_"
PATTERN = re.compile(r"rwcm_[0-9A-Za-z]{46}", re.ASCII)
"""What a token looks like; for scanners of logs and repositories. `is_token` tells a real one."""

DEFAULT_DAYS = 90
MAX_DAYS = 366
"""Life of a token where no policy says otherwise; secrets are rotated quarterly."""

ROTATION = timedelta(days=90)
"""Age from which a token should be replaced, whatever life it was given."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 40, 6
_MAX_SUBJECT = ACCESS_TOKEN.column("subject_id").length or 0


class TokenRefused(ValueError):
    """A token that was not issued or revoked, with what is wrong with the request."""


@dataclass(frozen=True)
class Issued:
    """A new token; `token` is the only copy there will ever be."""

    token: str
    token_id: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Issued({self.token_id}, expires {self.expires_at.isoformat()})"


@dataclass(frozen=True)
class Listed:
    """A token as lists show it.

    Attributes:
        state: `valid`, `revoked`, `expired`, or `moved`: its agent acts in another role now, or is gone.
        is_due: whether it is valid and old enough to be replaced.
    """

    token_id: str
    subject_id: str
    subject_type: str
    role_id: str
    state: Literal["valid", "revoked", "expired", "moved"]
    is_due: bool
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None


def draw() -> str:
    """Return a new random token."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return PREFIX + body + _check(body)


def is_token(text: str) -> bool:
    """Tell whether a text is a token that may have been issued: its form and its check digits."""
    if not PATTERN.fullmatch(text):
        return False
    body = text[len(PREFIX) :]
    return _check(body[:_RANDOM]) == body[_RANDOM:]


def _check(body: str) -> str:
    value, digits = zlib.crc32(f"{PREFIX}{body}".encode()), []
    for _ in range(_CHECK):
        value, digit = divmod(value, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def issue_token(
    registry: Registry,
    *,
    subject_id: str,
    subject_type: Literal["person", "agent"],
    role_id: str,
    actor: str,
    now: datetime,
    days: int | None = None,
) -> Issued:
    """Issue a token that lets its bearer act as `subject_id` in `role_id`, and audit it.

    Args:
        days: its life; by default, and at the most, what the security policies in force say under `tokens`.

    Raises:
        NotRegistered: there is no such role or agent.
        TokenRefused: the subject is no id, or the agent acts in another role, or the life is out of bounds.
    """
    subject_id = _subject(subject_id)
    with registry.transaction() as connection:
        if not connection.scalar(sa.select(TABLES[ROLE.name].c.role_id).filter_by(role_id=role_id)):
            raise NotRegistered("role", role_id)
        agents = dict(fetch(connection, sa.select(TABLES[AGENT.name].c.agent_id, TABLES[AGENT.name].c.role_id)))
        _refuse_wrong_subject(subject_id, subject_type, role_id, agents)
        token = draw()
        expires_at = now + timedelta(days=_life(security_rules(connection, "tokens", now=now), days))
        token_id = f"TK-{secrets.token_hex(8)}"
        row: dict[str, Any] = {
            "token_id": token_id,
            "token_hash": digest_text(token),
            "subject_id": subject_id,
            "subject_type": subject_type,
            "role_id": role_id,
            "expires_at": expires_at,
            "revoked_at": None,
            "revoked_by": None,
            "created_at": now,
            "created_by": actor,
            "updated_at": now,
            "updated_by": actor,
        }
        insert(connection, ACCESS_TOKEN, [row])
        _audit(connection, "issued", [row], actor=actor, now=now)
    return Issued(token, token_id, expires_at)


def revoke_tokens(
    registry: Registry,
    *,
    actor: str,
    now: datetime,
    token_id: str | None = None,
    subject_id: str | None = None,
    role_id: str | None = None,
) -> list[str]:
    """Revoke the tokens that fit everything given, and audit each; return the ids of those that held until now.

    Of two revocations at once each token is revoked, and audited, by one.

    Raises:
        TokenRefused: nothing was given, which would revoke every token.
        NotRegistered: no token fits, revoked or not.
    """
    given = {
        "token_id": token_id,
        "subject_id": None if subject_id is None else _subject(subject_id),
        "role_id": role_id,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    if not wanted:
        raise TokenRefused("say which tokens to revoke: one by its id, those of a subject or those of a role")
    table = TABLES[ACCESS_TOKEN.name]
    with registry.transaction() as connection:
        if not connection.scalar(sa.select(table.c.token_id).filter_by(**wanted).limit(1)):
            raise NotRegistered("token of", " and ".join(wanted.values()))
        revoked = connection.execute(
            sa.update(table)
            .filter_by(**wanted)
            .where(table.c.revoked_at.is_(None))
            .values(revoked_at=now, revoked_by=actor, updated_at=now, updated_by=actor)
            .returning(*table.c)
        ).mappings()
        rows = sorted(map(dict, revoked), key=lambda row: row["token_id"])
        _audit(connection, "revoked", rows, actor=actor, now=now)
    return [row["token_id"] for row in rows]


def list_tokens(registry: Registry, *, now: datetime) -> list[Listed]:
    """Return every token, revoked and expired ones included, by subject and time; never its hash."""
    table, agent = TABLES[ACCESS_TOKEN.name], TABLES[AGENT.name]
    with registry.read() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.subject_id, table.c.created_at)).mappings().all()
        agents = dict(fetch(connection, sa.select(agent.c.agent_id, agent.c.role_id)))
    names = [column.name for column in ACCESS_TOKEN.columns]
    shown = [name for name in Listed.__dataclass_fields__ if name in names]
    listed = []
    for row in rows:
        state = state_of(dict(row), agents.get(row["subject_id"]), now=now)
        is_due = state == "valid" and now - row["created_at"] > ROTATION
        listed.append(Listed(state=state, is_due=is_due, **{name: row[name] for name in shown}))
    return listed


def state_of(
    row: Mapping[str, Any], agent_role: str | None, *, now: datetime
) -> Literal["valid", "revoked", "expired", "moved"]:
    """Return whether a token holds; `agent_role` is the role that its agent acts in now, None if there is none."""
    if row["revoked_at"] is not None:
        return "revoked"
    if now >= row["expires_at"]:
        return "expired"
    if row["subject_type"] == "agent" and agent_role != row["role_id"]:
        return "moved"
    return "valid"


def _subject(given: str) -> str:
    """Return a subject's id in one spelling. Letters of any script are welcome, what cannot be seen is not."""
    subject = unicodedata.normalize("NFC", given)
    if not subject or len(subject) > _MAX_SUBJECT:
        raise TokenRefused(f"a subject's id has 1 to {_MAX_SUBJECT} characters, this one has {len(subject)}")
    if any(unicodedata.category(character)[0] in "CZ" for character in subject):
        raise TokenRefused("a subject's id holds no blank and nothing invisible; name the person or agent by an id")
    return subject


def _refuse_wrong_subject(subject_id: str, subject_type: str, role_id: str, agents: Mapping[str, str]) -> None:
    if subject_type == "agent":
        if subject_id not in agents:
            raise NotRegistered("agent", subject_id)
        if agents[subject_id] != role_id:
            raise TokenRefused(
                f"agent {subject_id} acts in role {agents[subject_id]}, not {role_id}; issue its token for that role, "
                "or publish the agent with the other one first"
            )
    elif subject_id.casefold() in {agent.casefold() for agent in agents}:
        raise TokenRefused(f"{subject_id} is an agent; issue its token with --type agent")


def _life(stated: list[Any], days: int | None) -> int:
    """Return the life of a token in days, under the strictest of the policies' bounds."""
    rules = [rule for rule in stated if isinstance(rule, Mapping)]
    longest = min([MAX_DAYS, *(rule["max_days"] for rule in rules if _is_days(rule.get("max_days")))])
    usual = min(
        [longest, DEFAULT_DAYS, *(rule["default_days"] for rule in rules if _is_days(rule.get("default_days")))]
    )
    if days is None:
        return usual
    if not 1 <= days <= longest:
        raise TokenRefused(f"a token lives 1 to {longest} days here, not {days}")
    return days


def _is_days(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _audit(connection: sa.Connection, change: str, rows: list[dict[str, Any]], *, actor: str, now: datetime) -> None:
    payloads = [
        {
            "change": change,
            "token_id": row["token_id"],
            "subject_id": row["subject_id"],
            "subject_type": row["subject_type"],
            "role_id": row["role_id"],
            "expires_at": row["expires_at"].isoformat(),
            "actor": actor,
        }
        for row in rows
    ]
    announce_many(connection, TOKEN_CHANGED, payloads, producer_id=actor, now=now)
