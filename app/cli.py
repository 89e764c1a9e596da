"""The command line: `rwcm run`, `backfill`, `query`, `dashboard`, `status`, and the groups of `app.commands`."""

import json
import sys
from pathlib import Path

import click

from app.commands.database import database, ddl
from app.commands.dead_letters import dead_letters
from app.commands.decisions import decide
from app.commands.effects import effects
from app.commands.execute import execute
from app.commands.handoffs import handoffs
from app.commands.registry import registry
from app.commands.replay import replay
from app.commands.retention import retention
from app.commands.schemas import schemas
from app.commands.serve import serve
from app.commands.token import token
from app.commands.workflow import workflow
from app.console import show_progress
from app.faults import said_clearly
from lake.home import Home, HomeFault
from lake.warehouse import WarehouseMissing


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rwcm")
def main() -> None:
    """Workflow automation that improves itself under governance.

    All state lies in one folder: RWCM_HOME, by default var/ of the project.
    """


@main.command()
@click.option(
    "--events", default=20_000, show_default=True, type=click.IntRange(100, 5_000_000), help="Records to land."
)
@click.option("--seed", default=7, show_default=True, help="Another seed gives another world.")
@click.option("--approve", is_flag=True, help="Let demo reviewers approve what the gates passed, publish it and go on.")
@said_clearly(HomeFault)
def run(events: int, seed: int, approve: bool) -> None:
    """Run the whole loop on eighteen months of simulated accounts payable.

    Lands a stream of events, ingests and executes it, reflects, proposes, lets the gates judge, builds the marts and
    publishes the warehouse. A second run changes nothing. With --approve demo reviewers decide, and the next events run
    what was published.
    """
    from app.loop import run_demonstration

    show_progress()
    run_demonstration(Home.from_environment(), events=events, seed=seed, approves=approve)


@main.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "--name", default="", help="Name of the log and of its workflow WF-LOG-<name>; the file's name by default."
)
@click.option("--timezone", "time_zone", default="UTC", show_default=True, help="Zone of times that state none.")
@click.option("--case-column", default="", help="CSV column of the case; known headings are found without.")
@click.option("--activity-column", default="", help="CSV column of the activity.")
@click.option("--time-column", default="", help="CSV column of the time.")
@click.option("--time-format", default="", help="strptime format of times where day and month are ambiguous.")
@said_clearly(HomeFault)
def backfill(log: Path, **options: str) -> None:
    """Import an event log (XES or CSV, plain or gzipped) as history, and build the marts on it.

    Each case becomes an episode, each event a step run; the log becomes a workflow that is never executed.
    """
    from app.loop import run_backfill

    show_progress()
    run_backfill(Home.from_environment(), log, **options)


@main.command()
@click.argument("sql")
@click.option("--json", "as_json", is_flag=True, help="Print rows as a JSON array of objects.")
@click.option("--limit", default=1_000, show_default=True, type=click.IntRange(1), help="Rows to print at most.")
@said_clearly(HomeFault)
def query(sql: str, as_json: bool, limit: int) -> None:
    """Ask the published warehouse. SQL '-' reads the statement from standard input."""
    from app.query import print_query

    print_query(Home.from_environment(), sys.stdin.read() if sql == "-" else sql, as_json=as_json, limit=limit)


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the page; by default in the home."
)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@said_clearly(HomeFault, WarehouseMissing)
def dashboard(out: Path | None, opens: bool) -> None:
    """Draw the published marts on one page for browsers, and say where it is.

    The page holds all it needs: it can be mailed, and opens without a network. `rwcm run` draws it as well.
    """
    from dashboard.page import write

    home = Home.from_environment()
    page = write(home.served_db, out or home.dashboard)
    click.echo(page.path)
    if opens:
        click.launch(page.path.resolve().as_uri())


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@said_clearly(HomeFault)
def status(as_json: bool) -> None:
    """Say what is in the home: tables with rows, months and bytes, cursors, open work."""
    from app.status import describe, render

    found = describe(Home.from_environment())
    click.echo(json.dumps(found, indent=2, default=str) if as_json else render(found))


main.add_command(database)
main.add_command(ddl)
main.add_command(registry)
main.add_command(retention)
main.add_command(dead_letters)
main.add_command(effects)
main.add_command(execute)
main.add_command(handoffs)
main.add_command(replay)
main.add_command(decide)
main.add_command(schemas)
main.add_command(serve)
main.add_command(token)
main.add_command(workflow)


if __name__ == "__main__":
    main()
