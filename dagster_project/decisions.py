"""Decisions: the job by which a mandatory reviewer decides a proposal in the Dagster UI."""

from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from pydantic import Field

from dagster_project.acting import TOKEN_REF, token_at
from dagster_project.platform import Platform
from governance.review import decide_by_token
from guard.providers import SecretUnavailable
from registry.access import Denied, InvalidToken
from registry.documents import DocumentRefused
from registry.objects import NotRegistered
from registry.proposals import ProposalClosed, find_by_prefix


class DecisionConfig(dg.Config):
    """What a reviewer decides, and who that is."""

    proposal: str = Field(min_length=4, description="Id of the proposal, or how it begins.")
    decision: Literal["approved", "rejected"] = Field(description="What is decided.")
    reason: str = Field(min_length=1, max_length=1024, description="Why; it stands beside the decision.")
    token_ref: str = TOKEN_REF


@dg.op(description="A mandatory reviewer decides a proposal that every gate has passed, by an own token.")
def decide_publication(
    context: dg.OpExecutionContext, config: DecisionConfig, platform: dg.ResourceParam[Platform]
) -> None:
    try:
        token = token_at(platform, config.token_ref)
        with platform.registry.read() as connection:
            publication_id = find_by_prefix(connection, config.proposal).publication_id
        done = decide_by_token(
            platform.registry,
            publication_id,
            token=token,
            decision=config.decision,
            reason=config.reason,
            token_now=datetime.now(UTC),
            now=platform.now(),
        )
    except (Denied, DocumentRefused, InvalidToken, NotRegistered, ProposalClosed, SecretUnavailable) as fault:
        raise dg.Failure(str(fault), allow_retries=False) from fault
    context.add_output_metadata(
        {
            "publication_id": done.publication_id,
            "decided_for": done.reviewer_role_id,
            "state": done.state,
            "waits_for": dg.MetadataValue.json(list(done.waits_for)),
        }
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description="Decide a proposal as a mandatory reviewer. What was approved is published by its sensor.",
)
def decide_proposal() -> None:
    decide_publication()
