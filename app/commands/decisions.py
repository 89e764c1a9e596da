"""`rwcm decide`, and what leads to it and follows: `rwcm registry gates` and `publish`."""

from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.faults import Refused, refusing, said_clearly
from app.identity import TOKEN_VARIABLE, acting, given_token, open_registry
from lake.home import Home, HomeFault

if TYPE_CHECKING:
    from registry.database import Registry
    from registry.permissions import Principal

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_NO_ID = "unnamed"


@click.command()
@click.argument("proposal")
@click.option("--approve/--reject", "is_approval", default=None, help="What you decide.")
@click.option("--reason", required=True, help="Why; it stands beside the decision for as long as that is kept.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help=f"File with your token, readable by you alone; by default the variable {TOKEN_VARIABLE}.",
)
@_json
@said_clearly(HomeFault)
def decide(proposal: str, is_approval: bool | None, reason: str, token_file: Path | None, as_json: bool) -> None:
    """Decide a PROPOSAL as a mandatory reviewer, by your own token.

    Only what every gate has passed can be approved: rwcm registry gates says what they found, rwcm registry diff
    --proposal ID what would change. The last approval that is needed lets it be published; one rejection ends it.
    Nobody decides what they proposed.
    """
    from governance.review import decide_by_token
    from registry.access import Denied, InvalidToken
    from registry.documents import DocumentRefused
    from registry.objects import NotRegistered
    from registry.proposals import ProposalClosed

    if is_approval is None:
        raise click.UsageError("say --approve or --reject")
    token = given_token(token_file)
    refused = refusing(NotRegistered, ProposalClosed, DocumentRefused, Denied, InvalidToken)
    with refused, closing(open_registry()) as registry:
        done = decide_by_token(
            registry,
            _named(registry, proposal),
            token=token,
            decision="approved" if is_approval else "rejected",
            reason=reason,
            token_now=datetime.now(UTC),
            now=Home.from_environment().now(),
        )
    if as_json:
        _echo_json(asdict(done))
        return
    click.echo(f"{done.publication_id} is {done.state}: decided for {done.reviewer_role_id}")
    if done.waits_for:
        click.echo(f"it waits for {' and '.join(done.waits_for)}")
    elif done.state == "approved":
        click.echo("it is published by the next run, by the sensor of make dev, or now: rwcm registry publish")


@click.command()
@_json
@said_clearly(HomeFault)
def gates(as_json: bool) -> None:
    """Let the gates judge what waits in the queue, and say of each proposal what they found.

    A proposal is judged once, and again when what it rests on changes. Gates decide by policy; nobody goes round them.
    """
    from dagster_project.platform import Platform
    from governance.gates import judge, standings

    open_registry().close()
    with closing(Platform(Home.from_environment())) as platform:
        judge(platform.registry, platform.lake, platform.skills, now=platform.now())
        with platform.registry.read() as connection:
            found = standings(connection, now=platform.now())
    if as_json:
        _echo_json(
            [
                {
                    "publication_id": one.proposal.publication_id,
                    "object_id": one.proposal.object_id,
                    "has_passed": one.has_passed,
                    "gates": [asdict(decision) for decision in one.decisions],
                }
                for one in found
            ]
        )
        return
    for one in found:
        told = "passed" if one.has_passed else "refused"
        click.echo(f"{one.proposal.publication_id}  {one.proposal.object_id or _NO_ID}  {told}")
        for decision in one.decisions:
            click.echo(f"  {'ok' if decision.is_passed else 'NO':<3} {decision.gate:<11} {decision.reason}")
    if not found:
        click.echo("nothing waits in the queue")


@click.command()
@click.argument("proposals", nargs=-1, required=True, metavar="PROPOSAL...")
@_json
@acting
def publish(proposals: tuple[str, ...], as_json: bool, registry: "Registry", principal: "Principal") -> None:
    """Make approved proposals current, each by itself; needs a token with the right to publish the object.

    What the publisher agent may publish needs no hand: the next run does it.
    """
    from governance.publishing import publish_checked
    from registry.documents import DocumentRefused
    from registry.objects import NotRegistered
    from registry.proposals import ProposalClosed

    now = Home.from_environment().now()
    with refusing(NotRegistered, ProposalClosed, DocumentRefused):
        named = [_named(registry, proposal) for proposal in proposals]
        done = [publish_checked(registry, name, principal=principal, now=now) for name in named]
    if as_json:
        _echo_json([asdict(one) for one in done])
        return
    for one in done:
        replaced = f"; it replaced {one.replaces}" if one.replaces else ""
        click.echo(f"{one.object_id} {one.version} is current{replaced}")


def _named(registry: "Registry", prefix: str) -> str:
    """Return the id of the proposal that begins so."""
    from registry.proposals import find_by_prefix

    if not prefix:
        raise Refused("name a proposal by its id, or by how that begins: rwcm registry proposals")
    with registry.read() as connection:
        return find_by_prefix(connection, prefix).publication_id


def _echo_json(value: Any) -> None:
    from guard.canonical import canonical

    click.echo(canonical(value))
