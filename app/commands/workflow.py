"""`rwcm workflow`: looking at workflows."""

from pathlib import Path

import click

from app.faults import said_clearly
from lake.home import Home, HomeFault
from registry.documents import DocumentRefused
from registry.objects import NotRegistered

FORMATS = ("text", "mermaid", "bpmn", "svg")


@click.group()
def workflow() -> None:
    """Look at workflows of the registry."""


@workflow.command()
@click.argument("workflow_id")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="What to write.")
@click.option("--version", default=None, help="A version that was current once; by default the current one.")
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), default=None, help="File to write instead.")
@said_clearly(HomeFault, NotRegistered, DocumentRefused, OSError)
def show(workflow_id: str, form: str, version: str | None, to: Path | None) -> None:
    """Draw a workflow: its steps, conditions, waits and ways out."""
    from app.pictures import picture

    text = picture(Home.from_environment(), workflow_id, version, form)
    if to is None:
        click.echo(text, nl=False)
    else:
        to.write_text(text, encoding="utf-8")
