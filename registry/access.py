"""Access: who is speaking, and whether they may; every refusal is audited.

`registry.permissions` states the rules and `registry.tokens` what proves who speaks; here both meet the registry.
"""

import hmac
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from guard.canonical import digest_text, parse
from lake.spec import TableSpec
from lake.tables import (
    ACCESS_TOKEN,
    AGENT,
    GOVERNED,
    POLICY,
    PUBLICATION_QUEUE,
    ROLE,
    SKILL_NODE,
    STEP_ACTION,
    WORKFLOW,
)
from registry.database import TABLES, Registry, fetch
from registry.objects import NotRegistered
from registry.outbox import ACCESS_DENIED, announce
from registry.permissions import PLATFORM, Action, Permissions, Principal, Target, load_permissions, role_ids
from registry.tokens import is_token, state_of

__all__ = [
    "PLATFORM",
    "Action",
    "Denied",
    "InvalidToken",
    "Principal",
    "agent_principal",
    "audit_denial",
    "authenticate",
    "authorise",
    "check_permission",
    "recorded_denials",
]

_OWNER = {SKILL_NODE.name: "owner_role_id", WORKFLOW.name: "responsible_role_id", POLICY.name: "owner_role_id"}
_BY_NAME = {spec.name: spec for spec in GOVERNED}
_MENDS = {
    "malformed": "it is not a token of this platform; copy it whole, from rwcm_ to its last character",
    "unknown": "it was not issued here; ask the operator for one: rwcm token issue",
    "expired": "it has expired; ask the operator for a new one: rwcm token issue",
    "revoked": "it was revoked, or its agent acts in another role now; ask the operator for a new one",
}
_MAX_ID, _MAX_REASON = 512, 1024
"""Characters that the audit keeps; what does not exist may be called anything."""


class InvalidToken(PermissionError):
    """A token that proves nothing. The token itself is in no message.

    Attributes:
        reason: `malformed`, `unknown`, `expired` or `revoked`.
    """

    def __init__(self, reason: Literal["malformed", "unknown", "expired", "revoked"]) -> None:
        super().__init__(f"the token was refused: {_MENDS[reason]}")
        self.reason = reason


class Denied(PermissionError):
    """Somebody who may not; `reason` says what would be needed."""

    def __init__(self, principal: Principal, action: Action, object_type: str, object_id: str, reason: str) -> None:
        role = f" in role {principal.role_id}" if principal.role_id else ""
        super().__init__(f"{principal.subject_id}{role} may not {action} {object_type} {object_id}: {reason}")
        self.principal = principal
        self.action = action
        self.object_type = object_type
        self.object_id = object_id
        self.reason = reason


def authenticate(registry: Registry, token: str, *, now: datetime) -> Principal:
    """Return for whom a token speaks.

    The use of a token that holds no longer is audited: it may be in wrong hands. One that was never issued is not,
    since whoever guesses could fill the audit.

    Raises:
        InvalidToken: it proves nothing.
    """
    if not is_token(token):
        raise InvalidToken("malformed")
    table, agent, role = TABLES[ACCESS_TOKEN.name], TABLES[AGENT.name], TABLES[ROLE.name]
    given = digest_text(token)
    with registry.read() as connection:
        row = connection.execute(sa.select(table).filter_by(token_hash=given)).mappings().one_or_none()
        # The index finds a row by the hash of a secret; what is compared byte by byte is compared in constant time.
        if row is None or not hmac.compare_digest(row["token_hash"], given):
            raise InvalidToken("unknown")
        agent_role = connection.scalar(sa.select(agent.c.role_id).filter_by(agent_id=row["subject_id"]))
        has_role = connection.scalar(sa.select(role.c.role_id).filter_by(role_id=row["role_id"])) is not None
    state = state_of(dict(row), agent_role, now=now)
    principal = Principal(row["subject_id"], row["subject_type"], row["role_id"])
    if state == "valid" and has_role:
        return principal
    reason: Literal["expired", "revoked"] = "expired" if state == "expired" else "revoked"
    with registry.transaction() as connection:
        _audit(connection, principal, "authenticate", ACCESS_TOKEN.name, row["token_id"], reason, now)
    raise InvalidToken(reason)


def agent_principal(registry: Registry, agent_id: str) -> Principal:
    """Return an agent of the registry as the platform's own code lets it act.

    Raises:
        NotRegistered: there is no such agent.
    """
    with registry.read() as connection:
        role_id = connection.scalar(sa.select(TABLES[AGENT.name].c.role_id).filter_by(agent_id=agent_id))
    if role_id is None:
        raise NotRegistered("agent", agent_id)
    return Principal(agent_id, "agent", role_id)


def authorise(
    registry: Registry,
    principal: Principal,
    action: Action,
    object_type: str,
    object_id: str,
    *,
    skills: Collection[str] = (),
    now: datetime,
) -> None:
    """Return if the principal may; the rules stand in `registry.permissions`.

    Call it outside of a transaction, since a refusal commits one of its own. Inside, use `check_permission` under
    `recorded_denials`: then what is checked is what is committed.

    Args:
        object_type: the object's table.
        skills: skills that a workflow calls in the version that is wanted; those of its current version count too.

    Raises:
        Denied: after the audit event `access.denied` is committed.
    """
    with recorded_denials(registry, now=now), registry.read() as connection:
        check_permission(connection, principal, action, object_type, object_id, skills=skills, now=now)


def check_permission(
    connection: sa.Connection,
    principal: Principal,
    action: Action,
    object_type: str,
    object_id: str,
    *,
    skills: Collection[str] = (),
    now: datetime,
    permissions: Permissions | None = None,
) -> None:
    """Return if the principal may, as the caller's transaction sees the registry.

    Args:
        permissions: what `load_permissions` returned in this transaction, for callers that ask often.

    Raises:
        Denied: not audited yet; `recorded_denials` does that once the transaction is over.
    """
    permissions = permissions or load_permissions(connection, now=now)
    reason = permissions.refusal(principal, action, _target(connection, object_type, object_id, skills))
    if reason is not None:
        raise Denied(principal, action, object_type, object_id, reason)


@contextmanager
def recorded_denials(registry: Registry, *, now: datetime) -> Iterator[None]:
    """Audit a denial that ends the block, in a transaction of its own: what the block did may be rolled back."""
    try:
        yield
    except Denied as denied:
        with registry.transaction() as connection:
            audit_denial(connection, denied, now=now)
        raise


def audit_denial(connection: sa.Connection, denied: Denied, *, now: datetime, key: str | None = None) -> None:
    """Announce a denial in the caller's transaction; with a `key`, which names it, once."""
    _audit(
        connection,
        denied.principal,
        denied.action,
        denied.object_type,
        denied.object_id,
        denied.reason,
        now,
        key,
    )


def _target(connection: sa.Connection, object_type: str, object_id: str, skills: Collection[str]) -> Target:
    spec = _BY_NAME.get(object_type)
    if spec is None:
        raise ValueError(f"{object_type} is no kind of governed object; it is one of {', '.join(_BY_NAME)}")
    row = _find(connection, spec, object_id)
    if row is None:
        return Target(object_type, object_id, exists=False, skills=frozenset(skills))
    called: frozenset[str] = frozenset(skills)
    if spec is WORKFLOW:
        step = TABLES[STEP_ACTION.name]
        current = sa.select(step.c.skill_id).filter_by(workflow_id=object_id, last_version=None)
        called |= {skill for (skill,) in fetch(connection, current)}
    return Target(
        object_type,
        object_id,
        owner=row[_OWNER[object_type]] if object_type in _OWNER else None,
        skills=called,
        proposed_by=row["proposed_by"] if spec is PUBLICATION_QUEUE else None,
        holders=role_ids(parse(row["spec"]).get("legal_hold_roles")) if spec is POLICY else frozenset(),
    )


def _find(connection: sa.Connection, spec: TableSpec, object_id: str) -> sa.RowMapping | None:
    """Return the row of an object by the id that `Document.object_id` gives it: its key joined, without a version."""
    table = TABLES[spec.name]
    columns = [table.c[name] for name in spec.key]
    # Ids may hold a slash, so a joined id is compared joined, not split.
    named = columns[0] if spec.key[-1] == "version" else _joined(columns)
    return connection.execute(sa.select(table).where(named == object_id).limit(1)).mappings().first()


def _joined(columns: list[sa.Column[str]]) -> sa.ColumnElement[str]:
    first, *others = columns
    joined: sa.ColumnElement[str] = first
    for column in others:
        joined = joined + "/" + column
    return joined


def _audit(
    connection: sa.Connection,
    principal: Principal,
    action: str,
    object_type: str,
    object_id: str,
    reason: str,
    now: datetime,
    key: str | None = None,
) -> None:
    payload = {
        "subject_id": principal.subject_id,
        "subject_type": principal.subject_type,
        "role_id": principal.role_id,
        "action": action,
        "object_type": object_type,
        "object_id": object_id[:_MAX_ID],
        "reason": reason[:_MAX_REASON],
    }
    announce(connection, topic=ACCESS_DENIED, payload=payload, producer_id=principal.subject_id, now=now, key=key)
