"""`rwcm retention`: what is past its limit, what holds it, and letting it go."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from app.console import show_progress, table
from app.faults import refusing, said_clearly
from app.identity import acting, open_registry
from lake.home import Home, HomeFault

if TYPE_CHECKING:
    from dagster_project.platform import Platform
    from registry.access import Principal
    from registry.database import Registry

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group()
def retention() -> None:
    """See and apply what the data policies say of how long data is kept, and hold what a case needs.

    The plan is the mart purge_candidates. Nothing goes without --apply.
    """


@contextmanager
def _platform() -> Iterator["Platform"]:
    from dagster_project.platform import Platform
    from lake.warehouse import WarehouseMissing

    platform = Platform(Home.from_environment())
    try:
        with refusing(WarehouseMissing):
            yield platform
    finally:
        platform.close()


@retention.command()
@_json
@said_clearly(HomeFault)
def plan(as_json: bool) -> None:
    """Print what is past its limit, and what becomes of it: purge, held, or kept_min_days."""
    from dagster_project.purging import planned

    with _platform() as platform:
        found = planned(platform)
    if as_json:
        _print_json([asdict(candidate) for candidate in found])
    elif not found:
        click.echo("nothing is past its limit")
    else:
        heading = ("table", "month", "class", "limit", "rows", "recorded through", "due", "decision", "why")
        rows = [
            (
                candidate.table_name,
                f"{candidate.month:%Y-%m}",
                candidate.retention,
                f"{candidate.limit_days} d",
                f"{candidate.rows:,}",
                f"{candidate.through_on}",
                f"{candidate.due_on}",
                candidate.decision.value,
                ", ".join(hold[:13] for hold in candidate.held_by) or candidate.kept_by or candidate.policy_id,
            )
            for candidate in found
        ]
        click.echo(table([heading, *rows], indent=""))


@retention.command()
@click.option("--apply", "is_applied", is_flag=True, help="Let it go; without, nothing changes but a receipt says so.")
@_json
@acting
@said_clearly(HomeFault)
def apply(is_applied: bool, as_json: bool, principal: "Principal", registry: "Registry") -> None:
    """Purge by the plan, dry unless --apply; needs the owner of the data policy, or a role above.

    What goes is erased from files, logs and marts, and nothing brings it back.
    """
    from dagster_project.purging import purge_home
    from registry.access import authorise
    from registry.purging import StalePlan
    from registry.retention import policies_of_limits

    now = datetime.now(UTC)
    for policy_id in policies_of_limits(registry, now):
        authorise(registry, principal, "purge", "policy", policy_id, now=now)
    if not as_json:
        show_progress()
    with _platform() as platform, refusing(StalePlan):
        done = purge_home(platform, is_dry=not is_applied, actor=principal.subject_id)
    if as_json:
        _print_json([{**asdict(o.candidate), "became": o.became, "bytes": o.bytes} for o in done])
        return
    if done:
        heading = ("table", "month", "class", "rows", "bytes", "became")
        rows = [
            (
                outcome.candidate.table_name,
                f"{outcome.candidate.month:%Y-%m}",
                outcome.candidate.retention,
                f"{outcome.candidate.rows:,}",
                f"{outcome.bytes:,}",
                outcome.became,
            )
            for outcome in done
        ]
        click.echo(table([heading, *rows], indent=""))
    count = sum(outcome.became in ("purged", "would go") for outcome in done)
    if not count:
        click.echo("nothing is to go")
    else:
        click.echo(f"{count} went" if is_applied else f"{count} would go; nothing changed. --apply lets them go.")


@retention.command()
@click.argument("table_name", metavar="TABLE")
@click.argument("first")
@click.argument("last", required=False)
@click.option("--reason", required=True, help="Why, such as the number of the case.")
@acting
@said_clearly(HomeFault)
def hold(
    table_name: str, first: str, last: str | None, reason: str, principal: "Principal", registry: "Registry"
) -> None:
    """Hold the months FIRST to LAST (2025-03) of a table, * for all: no purge touches them until it is released."""
    from lake.store import Lake
    from registry.retention import HoldRefused, set_hold

    with refusing(HoldRefused):
        hold_id = set_hold(
            registry,
            Lake(Home.from_environment().lake),
            principal,
            table_name=table_name,
            first=first,
            last=last or first,
            reason=reason,
            now=datetime.now(UTC),
        )
    click.echo(f"held: {hold_id}; rwcm retention release {hold_id} --reason ... ends it")


@retention.command()
@click.argument("hold_id")
@click.option("--reason", required=True, help="Why it ends.")
@acting
@said_clearly(HomeFault)
def release(hold_id: str, reason: str, principal: "Principal", registry: "Registry") -> None:
    """Release a hold; it stays as a record, and the next purge takes what is past its limit."""
    from registry.retention import HoldRefused, release_hold

    with refusing(HoldRefused):
        released = release_hold(registry, principal, hold_id, reason=reason, now=datetime.now(UTC))
    click.echo(
        f"released: {released.hold_id}, {released.table_name} {released.first_month:%Y-%m} to "
        f"{released.last_month:%Y-%m}"
    )


@retention.command()
@_json
@said_clearly(HomeFault)
def holds(as_json: bool) -> None:
    """List the legal holds, released ones too."""
    from registry.retention import list_holds

    registry = open_registry()
    try:
        found = list_holds(registry)
    finally:
        registry.close()
    if as_json:
        _print_json([asdict(item) for item in found])
    elif not found:
        click.echo("nothing is held")
    else:
        heading = ("hold", "table", "from", "to", "set", "by", "state", "reason")
        rows = [
            (
                item.hold_id,
                item.table_name,
                f"{item.first_month:%Y-%m}",
                f"{item.last_month:%Y-%m}",
                f"{item.created_at:%Y-%m-%d}",
                item.created_by,
                f"released {item.released_at:%Y-%m-%d}" if item.released_at else "holds",
                item.reason,
            )
            for item in found
        ]
        click.echo(table([heading, *rows], indent=""))


@retention.command()
@click.option("--dry", "with_dry", is_flag=True, help="Those of dry purges too.")
@_json
@said_clearly(HomeFault)
def receipts(with_dry: bool, as_json: bool) -> None:
    """List what purges left of what went: the latest first."""
    import polars as pl

    from lake.store import Lake
    from lake.tables import PURGE_RECEIPT

    rows = Lake(Home.from_environment().lake).scan(PURGE_RECEIPT)
    found = (rows if with_dry else rows.filter(~pl.col("is_dry"))).sort(
        "purged_at", "table_name", "about_month", "retention", descending=[True, False, False, False]
    )
    listed = found.collect().to_dicts()
    if as_json:
        _print_json([{**row, "files": json.loads(row["files"])} for row in listed])
    elif not listed:
        click.echo("no purge took anything yet; rwcm retention plan shows what would go")
    else:
        heading = ("purged", "table", "month", "class", "rows", "bytes", "files", "policy", "by", "")
        lines = [
            (
                f"{row['purged_at']:%Y-%m-%d %H:%M}",
                row["table_name"],
                f"{row['about_month']:%Y-%m}",
                row["retention"],
                f"{row['rows']:,}",
                f"{row['bytes']:,}",
                str(len(json.loads(row["files"]))),
                f"{row['policy_id']} {row['policy_version']}",
                row["actor"],
                "dry" if row["is_dry"] else "",
            )
            for row in listed
        ]
        click.echo(table([heading, *lines], indent=""))


def _print_json(rows: Sequence[Any]) -> None:
    click.echo(json.dumps(rows, indent=2, default=str, ensure_ascii=False))
