"""`rwcm workflow`: looking at workflows."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from app.console import errors
from app.faults import EXIT_REFUSED, refusing, said_clearly
from lake.home import Home, HomeFault

FORMATS = ("text", "mermaid", "bpmn", "svg")


@click.group()
def workflow() -> None:
    """Look at workflows of the registry, and check files before they are submitted."""


@workflow.command()
@click.argument("workflow_id")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="What to write.")
@click.option("--version", default=None, help="A version that was current once; by default the current one.")
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), default=None, help="File to write instead.")
@said_clearly(HomeFault, OSError)
def show(workflow_id: str, form: str, version: str | None, to: Path | None) -> None:
    """Draw a workflow: its steps, conditions, waits and ways out."""
    from app.pictures import picture
    from registry.documents import DocumentRefused
    from registry.objects import NotRegistered

    with refusing(NotRegistered, DocumentRefused):
        text = picture(Home.from_environment(), workflow_id, version, form)
    if to is None:
        click.echo(text, nl=False)
    else:
        to.write_text(text, encoding="utf-8")


@workflow.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print what was checked and every fault as JSON.")
@said_clearly(HomeFault)
def check(file: Path, as_json: bool) -> None:
    """Check a workflow's JSON file and name every fault at once; nothing is written.

    It is held against the registry of the home, or against the shipped pack where there is none yet: names, arguments,
    expressions on values made from their schemas, ways, loops, joins, secrets. Exit code 2 if anything is wrong.
    """
    from app.checking import check_file

    checked = check_file(Home.from_environment(), file)
    if as_json:
        click.echo(json.dumps(asdict(checked), indent=2, ensure_ascii=False))
    elif checked.faults:
        for fault in checked.faults:
            errors.print(f"{fault.path or '/'}: {fault.problem}; {fault.fix}", soft_wrap=True, markup=False)
        errors.print(f"rwcm: {checked.title} has {_counted({'faults': len(checked.faults)})}", markup=False)
    else:
        click.echo(f"ok: {checked.title}: {_counted(checked.counts)}")
        click.echo(f"held against {_counted(checked.known)} of {checked.against}")
    if checked.faults:
        raise SystemExit(EXIT_REFUSED)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.removesuffix('s') if count == 1 else name}" for name, count in counts.items())
