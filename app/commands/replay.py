"""`rwcm replay`: what ran runs again from its records, and every difference is told."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from app.console import console, errors, table
from app.faults import Refused, refusing, said_clearly
from lake.home import Home, HomeFault

if TYPE_CHECKING:
    from runtime.replay import Replay

EXIT_DIVERGED = 1


class Moment(click.ParamType):
    """A date, or a time with its zone."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date or time; write 2025-03-01 or 2025-03-01T09:30:00Z", param, ctx)
        if moment.tzinfo is None and len(value) > len("2025-03-01"):
            self.fail(f"{value!r} has no zone; end it with Z or an offset", param, ctx)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@click.command()
@click.option("--workflow", "workflow_id", default=None, help="Workflow to replay; by default every one that ran.")
@click.option("--version", default=None, help="Version to run them under; by default that in which each ran.")
@click.option("--since", type=Moment(), default=None, help="Only episodes that started then or later.")
@click.option("--until", type=Moment(), default=None, help="Only episodes that started before.")
@click.option(
    "--recompute/--recorded",
    default=None,
    help="Compute pure skills anew, or take what is on record; by default anew with --version only.",
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Divergent episodes to print.")
@click.option("--json", "as_json", is_flag=True, help="Print counts and every divergence as JSON.")
@said_clearly(HomeFault)
def replay(
    workflow_id: str | None,
    version: str | None,
    since: datetime | None,
    until: datetime | None,
    recompute: bool | None,
    limit: int,
    as_json: bool,
) -> None:
    """Run recorded episodes again from their records, and show each one that takes another path.

    Nothing is done or written: skills with effects answer as they did, decisions come as they came. Under the version
    in which they ran every difference is a fault, and the exit code is 1. Under another version (--version) the
    differences are what that version would have done, and the exit code is 0.
    """
    if version is not None and workflow_id is None:
        raise Refused("--version needs --workflow: name the workflow that it is a version of")
    found = _replayed(workflow_id, version, since, until, recompute, has_progress=not as_json)
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found], indent=2, ensure_ascii=False, default=str))
    else:
        for each in found:
            _print(each, limit)
        if not found:
            console.print("nothing has run yet: make run")
    if version is None and any(each.divergences.height for each in found):
        raise SystemExit(EXIT_DIVERGED)


def _replayed(
    workflow_id: str | None,
    version: str | None,
    since: datetime | None,
    until: datetime | None,
    recompute: bool | None,
    *,
    has_progress: bool,
) -> "list[Replay]":
    from dagster_project.platform import Platform
    from registry.objects import NotRegistered
    from registry.plans import load_plan
    from runtime.replay import replay as replay_episodes
    from runtime.replay import workflows_that_ran

    home = Home.from_environment()
    if not home.has_registry:
        raise Refused(f"there is no registry in {home.root}; `make run` makes one")
    platform = Platform(home)
    try:
        with refusing(NotRegistered):
            plan = load_plan(platform.registry, workflow_id, version) if workflow_id and version else None
            if workflow_id and not version:
                load_plan(platform.registry, workflow_id)
        found = []
        for each in [workflow_id] if workflow_id else workflows_that_ran(platform.lake):
            with console.status(f"replaying {each}") as status:

                def tell(episodes: int, name: str = each) -> None:
                    if has_progress:
                        status.update(f"replaying {name}: {episodes:,} episodes")

                found.append(
                    replay_episodes(
                        platform.lake,
                        platform.registry,
                        each,
                        skills=platform.skills,
                        plan=plan,
                        since=since,
                        until=until,
                        recompute=recompute,
                        on_progress=tell,
                    )
                )
        return found
    finally:
        platform.close()


def _print(found: "Replay", limit: int) -> None:
    console.print(f"\n[bold]{found.workflow_id}[/bold]")
    left_out = [(f"not replayable: {reason}", f"{n:,}") for reason, n in sorted(found.not_replayable.items())]
    divergent = found.divergences.height
    console.print(table([("replayed", f"{found.replayed:,}"), *left_out, ("divergent", f"{divergent:,}")]))
    for row in found.divergences.head(limit).iter_rows(named=True):
        place = "" if row["seq"] is None else f" at step run {row['seq']}, {row['step_id']}"
        console.print(f"  {row['episode_id']}{place}: {row['differs']}", soft_wrap=True, markup=False)
        for name in ("recorded", "replayed", "because"):
            if row[name] is not None:
                console.print(f"      {name:9} {row[name]}", soft_wrap=True, markup=False)
    if divergent > limit:
        errors.print(f"rwcm: {divergent - limit:,} more diverge; --limit or --json shows them")


def _as_json(found: "Replay") -> dict[str, Any]:
    return {
        "workflow_id": found.workflow_id,
        "episodes": found.episodes,
        "replayed": found.replayed,
        "not_replayable": dict(found.not_replayable),
        "divergences": found.divergences.to_dicts(),
    }
