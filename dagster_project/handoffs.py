"""The inbox in the UI: jobs by which a person decides a handoff or gives it to another role, from the launchpad."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from pydantic import Field

from dagster_project.acting import TOKEN_REF, token_at
from dagster_project.platform import Platform
from guard.providers import SecretUnavailable
from registry.access import Denied, InvalidToken, authenticate
from registry.objects import NotRegistered
from registry.permissions import Principal
from runtime import handoffs
from runtime.handoffs import HandoffFault


class HandoffConfig(dg.Config):
    """Which handoff, and who acts."""

    handoff_id: str = Field(description="Id of the handoff; run_episode shows what waits.")
    reason: str = Field(default="", description="Why; the audit keeps it, so name no person in it.")
    token_ref: str = TOKEN_REF


class DecideConfig(HandoffConfig):
    """What is decided."""

    decision: Literal["approved", "rejected"] = Field(description="What you decide; once and for all.")


class ReassignConfig(HandoffConfig):
    """To whom it is given."""

    role_id: str = Field(description="Role that it belongs to from then on.")


@dg.op(name="decide")
def _decide(context: dg.OpExecutionContext, config: DecideConfig, platform: dg.ResourceParam[Platform]) -> None:
    with _acting(platform, config.token_ref) as principal:
        event_id = handoffs.decide_handoff(
            platform.registry,
            config.handoff_id,
            config.decision,
            principal=principal,
            now=platform.now(),
            reason=config.reason or None,
        )
    context.log.info(f"{config.decision}; the event {event_id} is announced, the next execution takes it up")


@dg.op(name="reassign")
def _reassign(context: dg.OpExecutionContext, config: ReassignConfig, platform: dg.ResourceParam[Platform]) -> None:
    with _acting(platform, config.token_ref) as principal:
        given = handoffs.reassign_handoff(
            platform.registry,
            config.handoff_id,
            config.role_id,
            principal=principal,
            now=platform.now(),
            reason=config.reason or None,
        )
    context.log.info(f"{given.handoff_id} belongs to {given.owner_role_id}")


@contextmanager
def _acting(platform: Platform, token_ref: str) -> Iterator[Principal]:
    """Yield who acts; what a person can mend fails the run in one sentence and is not tried again."""
    try:
        yield authenticate(platform.registry, token_at(platform, token_ref), now=datetime.now(UTC))
    except (Denied, InvalidToken, HandoffFault, NotRegistered, SecretUnavailable) as fault:
        raise dg.Failure(str(fault), allow_retries=False) from fault


@dg.job(
    name="decide_handoff",
    description="Decides what waits for a person, once.",
    executor_def=dg.in_process_executor,
)
def decide_handoff() -> None:
    _decide()


@dg.job(
    name="reassign_handoff",
    description="Gives what waits for a person to another role.",
    executor_def=dg.in_process_executor,
)
def reassign_handoff() -> None:
    _reassign()


HANDOFF_JOBS = (decide_handoff, reassign_handoff)
