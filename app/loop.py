"""Running the loop from the command line: the same jobs as in the Dagster UI, then a summary of what they did."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
from rich.markup import escape

from app.console import console, errors, table
from app.faults import Refused
from dagster_project.instance import RunFailed, run_job
from dagster_project.platform import Platform
from governance.gates import waiting_for_reviewers
from ingest.logs import ColumnMapping, UnreadableLog, read_log
from lake.home import Home
from lake.tables import OPEN_EPISODE, PUBLICATION_QUEUE, RUN_EPISODE
from lake.warehouse import read
from registry.permissions import load_permissions
from registry.proposals import in_words, proposals
from registry.reviews import next_steps

Metadata = Mapping[str, Mapping[str, Any]]


def run_demonstration(home: Home, *, events: int, seed: int, approves: bool = False) -> None:
    """Run the demonstration job and print what it did; with `approves` let demo reviewers decide, and go on.

    Raises:
        HomeFault: the home was made with other values.
    """
    if (fixed := home.demonstration()) is not None:
        home.fix(as_of=fixed.as_of, seed=seed, events=events)
    stream: dict[str, Any] = {"events": events, "seed": seed}
    done = run_told(home, "demonstration", {"ops": {"demonstration_stream": {"config": stream}}})
    records, queue = done["event_bus"], done["publication_queue"]
    has_changed = bool(records["records_read"] or done["run_episode"]["rows_added"] or queue["proposals_new"])
    if not has_changed:
        console.print(
            "\n[bold]Nothing changed:[/bold] everything that landed was ingested, executed and reflected on before.",
            soft_wrap=True,
        )
    _print_records("Records of the landing zone", records)
    platform = Platform(home)
    outcomes = platform.lake.scan(RUN_EPISODE, columns=["outcome"]).collect()["outcome"].value_counts(sort=True).rows()
    waiting = platform.registry.frame(OPEN_EPISODE).height
    console.print("\n[bold]Episodes[/bold] by outcome")
    console.print(table([(outcome, f"{count:,}") for outcome, count in [*outcomes, ("waiting now", waiting)]]))
    _print_proposals(platform)
    if approves:
        _go_on(home, platform, stream)
    else:
        _print_way_on(platform)
    platform.close()
    _print_places(home)


def _go_on(home: Home, platform: Platform, stream: Mapping[str, Any]) -> None:
    """Approve what the gates have passed, publish it, and let the next events run through what is current then."""
    from app.approval import DEMO, approve_all, ran_since

    decided = approve_all(platform)
    if decided:
        console.print(f"\n[bold]Approved[/bold] by {DEMO}s, for the demonstration alone, each by an own token")
        for one in decided:
            console.print(f"  {one.publication_id[:8]}", markup=False)
    published = run_told(home, "publish", {})["publications"]["versions"]
    if published:
        console.print("\n[bold]Published[/bold]")
        for version in published:
            console.print(f"  {version}", markup=False)
    if not platform.registry.frame(PUBLICATION_QUEUE).filter(decision="published").height:
        console.print("\nnothing was approved, so nothing changed")
        return
    fixed = home.demonstration()
    assert fixed is not None
    run_told(home, "demonstration", {"ops": {"demonstration_stream": {"config": {**stream, "goes_on": True}}}})
    found = ran_since(platform, fixed.as_of)
    console.print("\n[bold]The next events[/bold] ran what is current now")
    rows: list[tuple[str, ...]] = [("workflow", "ended", "wait for a decision")]
    rows += [(name, f"{ended:,}", f"{waiting:,}") for name, ended, waiting in found.by_workflow]
    console.print(table(rows))
    told = "no event ran two workflows" if not found.shared else f"[red]{found.shared} events ran two workflows[/red]"
    console.print(f"  {told}")


def run_backfill(home: Home, log: Path, **options: str) -> None:
    """Import a log and print what came of it.

    Raises:
        Refused: the log cannot be read; nothing was recorded.
    """
    _refuse_unreadable(log, **options)
    done = run_told(home, "backfill", {"ops": {"event_log": {"config": {"path": str(log.resolve()), **options}}}})
    imported = done["event_log"]
    workflow_id = imported["workflow_id"]
    if not imported["new_cases"]:
        console.print(f"\n[bold]Nothing changed:[/bold] every case of {escape(log.name)} was imported before.")
    _print_records(f"Events of {log.name}", imported)
    with read(home.served_db) as warehouse:
        variants = warehouse.execute(
            "select count(*), max(episodes) from marts.workflow_variant where workflow_id = ?", [workflow_id]
        ).fetchone()
    assert variants is not None
    console.print(f"\n[bold]{workflow_id}[/bold]")
    rows = [("cases", imported["cases"]), ("new cases", imported["new_cases"]), ("variants", variants[0])]
    rows.append(("cases of the most frequent variant", variants[1] or 0))
    console.print(table([(name, f"{count:,}") for name, count in rows]))
    _print_places(home)


def _refuse_unreadable(
    log: Path, *, time_zone: str, case_column: str, activity_column: str, time_column: str, time_format: str, **_: str
) -> None:
    """Look into the log as it will be read before anything starts, so that a wrong path costs no waiting."""
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise Refused(f"there is no time zone {time_zone!r}; name one such as Europe/Berlin") from None
    try:
        mapping = ColumnMapping.named(
            case=case_column, activity=activity_column, time=time_column, time_format=time_format
        )
    except ValueError as fault:
        raise Refused(f"{fault}: --case-column and --activity-column") from None
    try:
        batches = read_log(log, mapping=mapping, timezone=time_zone, batch_rows=1)
        if next(batches, None) is None:
            raise Refused(f"{log} cannot be read as an event log: it holds no event; export it again with its traces")
    except UnreadableLog as fault:
        raise Refused(str(fault)) from None
    except (OSError, gzip.BadGzipFile) as fault:
        raise Refused(f"{log} cannot be read: {fault.strerror or fault}; name a readable XES or CSV file") from None


def run_told(home: Home, job: str, config: Mapping[str, Any]) -> Metadata:
    """Run a job and return the metadata of its assets; a fault ends the command, with what failed and the way out."""
    try:
        return run_job(home.prepare(), job, config=config)
    except RunFailed as fault:
        for step, message in fault.steps.items():
            errors.print(f"rwcm: {step} failed: {message}", soft_wrap=True, markup=False)
        errors.print(
            f"rwcm: nothing is lost; correct the cause and repeat. The run is {fault.run_id} in the UI: make dev",
            soft_wrap=True,
        )
        raise SystemExit(1) from None


def _print_records(title: str, counts: Mapping[str, Any]) -> None:
    parts = ("accepted", "rejected", "duplicate")
    closes = counts["records_read"] == sum(counts[f"records_{part}"] for part in parts)
    console.print(f"\n[bold]{escape(title)}[/bold]", soft_wrap=True)
    console.print(table([(part, f"{counts[f'records_{part}']:,}") for part in ("read", *parts)]))
    console.print("  read = accepted + rejected + duplicate: " + ("closed" if closes else "[red]NOT CLOSED[/red]"))


def _print_way_on(platform: Platform) -> None:
    """Say how what waits for reviewers is approved."""
    with platform.registry.read() as connection:
        waiting = waiting_for_reviewers(connection, now=platform.now())
        roles = sorted(load_permissions(connection, now=platform.now()).reviewers)
    if not waiting:
        return
    name = waiting[0].publication_id[:8]
    console.print("\n[bold]How to approve[/bold] what the gates have passed")
    told = "  make run APPROVE=1    demo reviewers approve it, and the next events run what is published"
    console.print(told, soft_wrap=True)
    console.print(f"  or each reviewer ({', '.join(roles)}) by an own token:")
    console.print(f"    rwcm token issue --role {roles[0]} --subject YOUR-ID --to token", markup=False)
    console.print(f'    rwcm decide {name} --approve --reason "..." --token-file token', markup=False, soft_wrap=True)


def _print_proposals(platform: Platform) -> None:
    queue = platform.registry.frame(PUBLICATION_QUEUE).sort("created_at", "proposal_type")
    console.print(f"\n[bold]Proposals[/bold] {queue.filter(pl.col('decision') == 'pending').height} pending")
    with platform.registry.read() as connection:
        permissions = load_permissions(connection, now=platform.now())
        listed = proposals(connection)
        steps = next_steps(connection, listed, permissions, now=platform.now())
    waits = {one.publication_id: step for one, step in zip(listed, steps, strict=True)}
    for row in queue.iter_rows(named=True):
        risk = f", risk {row['risk_score']:.4f} ({row['risk_band']})" if row["risk_band"] else ""
        told = f"{in_words(row['proposal_body']) or row['proposal_type']}  confidence {row['confidence']:.3f}{risk}"
        console.print(f"  {row['publication_id'][:8]}  {told}", soft_wrap=True, markup=False)
        step = waits[row["publication_id"]] or row["decision"]
        console.print(f"            {step}", soft_wrap=True, markup=False)


def _print_places(home: Home) -> None:
    console.print("\n[bold]Where to look[/bold]")
    console.print(f"  warehouse  {home.served_db}", soft_wrap=True, markup=False)
    console.print('             rwcm query "from marts.workflow_kpi_monthly"')
    console.print(f"  dashboard  {home.dashboard}", soft_wrap=True, markup=False)
    console.print("  UI         make dev, then http://127.0.0.1:3000")
    console.print("  home       rwcm status")
