"""`rwcm handoffs`: the inbox of what waits for a person."""

import json
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from app.faults import refusing, said_clearly
from app.identity import acting, open_registry
from lake.home import HomeFault

if TYPE_CHECKING:
    from registry.database import Registry
    from registry.permissions import Principal


def _now() -> datetime:
    """Return the moment that the home takes for now, which a demonstration fixes."""
    from datetime import UTC

    from lake.home import Home

    demonstration = Home.from_environment().demonstration()
    return demonstration.as_of if demonstration else datetime.now(UTC)


@click.group()
def handoffs() -> None:
    """Decide what workflows hand to people.

    A handoff belongs to a role. Whoever acts for it decides, once, or gives it to another role; the episode goes on at
    the next execution. What is shown is what the episode knows: personal values are tokens.
    """


@handoffs.command("list")
@click.option("--owner", "owner_role_id", metavar="ROLE", help="Only what belongs to this role.")
@click.option("--decided", "is_decided", is_flag=True, help="Also what was decided and is not taken up yet.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@said_clearly(HomeFault)
def list_(owner_role_id: str | None, is_decided: bool, as_json: bool) -> None:
    """List what waits, what is due first first."""
    from app.console import table
    from runtime.handoffs import handoffs as find_all

    with closing(open_registry()) as registry:
        found = find_all(registry, owner_role_id=owner_role_id, is_decided=is_decided)
    if as_json:
        click.echo(json.dumps([asdict(handoff) for handoff in found], indent=2, default=str, ensure_ascii=False))
    elif not found:
        click.echo("nothing waits for a decision")
    else:
        heading = ("handoff", "workflow", "step", "owner", "waits since", "due", "decided")
        rows = [
            (
                handoff.handoff_id[:8],
                handoff.workflow_id,
                handoff.step_id,
                handoff.owner_role_id,
                f"{handoff.waiting_since:%Y-%m-%d %H:%M}",
                f"{handoff.due_at:%Y-%m-%d %H:%M}",
                (handoff.decision.decision or "") if handoff.decision else "",
            )
            for handoff in found
        ]
        click.echo(table([heading, *rows], indent=""))


@handoffs.command()
@click.argument("handoff_id")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@said_clearly(HomeFault)
def show(handoff_id: str, as_json: bool) -> None:
    """Show a handoff: what started the episode, what is asked, and what was done about it."""
    from runtime.handoffs import HandoffFault, find_handoff

    with refusing(HandoffFault), closing(open_registry()) as registry:
        handoff = find_handoff(registry, handoff_id)
    if as_json:
        click.echo(json.dumps(asdict(handoff), indent=2, default=str, ensure_ascii=False))
        return
    for name, value in asdict(handoff).items():
        if name in ("asked", "correlates", "payload"):
            click.echo(f"{name:16} {json.dumps(value, ensure_ascii=False)}")
        elif name != "history":
            click.echo(f"{name:16} {value}")
    for action in handoff.history:
        what = action.decision or f"given to {action.owner_role_id}"
        why = f": {action.reason}" if action.reason else ""
        click.echo(f"{action.created_at:%Y-%m-%d %H:%M} {what} by {action.created_by}{why}")


@handoffs.command()
@click.argument("handoff_id")
@click.argument("decision", type=click.Choice(["approved", "rejected"]))
@click.option("--reason", help="Why; the episode and the audit keep it, so name no person in it.")
@acting
@said_clearly(HomeFault)
def decide(handoff_id: str, decision: str, reason: str | None, *, principal: "Principal", registry: "Registry") -> None:
    """Decide a handoff, once; for a person who acts for the role that it belongs to."""
    from runtime.handoffs import HandoffFault, decide_handoff

    with refusing(HandoffFault):
        event_id = decide_handoff(registry, handoff_id, decision, principal=principal, now=_now(), reason=reason)
    click.echo(f"{decision}; the event {event_id} is announced, and the next execution goes on with the episode")


@handoffs.command()
@click.argument("handoff_id")
@click.argument("role_id", metavar="ROLE")
@click.option("--reason", help="Why; the audit keeps it.")
@acting
@said_clearly(HomeFault)
def reassign(
    handoff_id: str, role_id: str, reason: str | None, *, principal: "Principal", registry: "Registry"
) -> None:
    """Give a handoff to another role; for a person who acts for the role that it belongs to."""
    from registry.objects import NotRegistered
    from runtime.handoffs import HandoffFault, reassign_handoff

    with refusing(HandoffFault, NotRegistered):
        handoff = reassign_handoff(registry, handoff_id, role_id, principal=principal, now=_now(), reason=reason)
    click.echo(f"{handoff.handoff_id[:8]} belongs to {handoff.owner_role_id}")
