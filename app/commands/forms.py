"""`rwcm registry export`, `import` and `schema`: governed objects as files, and what their documents must be."""

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click

from app.console import show_progress
from app.faults import Refused, refusing, said_clearly
from app.identity import given_token, open_registry, operator
from lake.home import Home, HomeFault

FORMS = ("json", "csv", "xlsx", "sql", "graph")
DIALECTS = ("sqlite", "postgresql")
DOCUMENTS = (
    *("role", "skill", "role_skill", "workflow", "step", "trigger"),
    *("agent", "policy", "term", "event_schema", "consumer", "reflection"),
)


@click.command()
@click.option("--format", "form", type=click.Choice(FORMS), required=True, help="What to write.")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="New file, or new folder for CSV.")
@click.option("--dialect", type=click.Choice(DIALECTS), default=None, help="Of an SQL dump; the registry's by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows of each table as JSON.")
@said_clearly(HomeFault, OSError)
def export(form: str, to: Path, dialect: str | None, as_json: bool) -> None:
    """Write everything that is governed: objects, all their versions, the queue.

    The file restores an empty registry exactly, whatever its form. Tokens, batches and what is under way are not in it.
    """
    from registry.forms.transfer import TargetExists
    from registry.forms.transfer import export as write

    if dialect and form != "sql":
        raise Refused("--dialect is for --format sql; leave it out")
    show_progress()
    with refusing(TargetExists), closing(open_registry()) as registry:
        rows = write(registry, form, to, dialect=dialect)
    click.echo(json.dumps(rows) if as_json else f"wrote {sum(rows.values()):,} rows of {len(rows)} tables to {to}")


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMS), default=None, help="What PATH is; found out by default.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="File with the token of who proposes; by default the variable RWCM_TOKEN. A restore needs none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@said_clearly(HomeFault, OSError)
def import_(path: Path, form: str | None, token_file: Path | None, as_json: bool) -> None:
    """Restore an empty registry from an export, or propose what PATH holds to one that is in use.

    PATH is a file, or the folder of a CSV export; sheets may be written by hand. It is taken whole or not at all. An
    empty registry is restored as it was, which the audit records; into any other, documents that say something new
    become drafts.
    """
    from registry.access import Denied, InvalidToken, Principal, authenticate
    from registry.database import Registry
    from registry.forms.sheets import FormRefused
    from registry.forms.transfer import UnknownForm
    from registry.forms.transfer import import_ as take

    show_progress()
    now = datetime.now(UTC)
    refused = refusing(FormRefused, UnknownForm, Denied, InvalidToken)
    with refused, closing(Registry.open(Home.from_environment().prepare().registry)) as registry:

        def principal() -> Principal:
            return authenticate(registry, given_token(token_file), now=now)

        done = take(registry, path, form=form, operator=operator(), principal=principal, now=now)
    if as_json:
        click.echo(json.dumps(vars(done) | {"rows": dict(done.rows)}))
    elif done.is_restore:
        click.echo(f"restored {sum(done.rows.values()):,} rows, {done.rows['object_version']:,} versions among them")
    else:
        click.echo(f"proposed {done.proposed:,} documents as drafts; {done.unchanged:,} are current as they are")


@click.command()
@click.argument("kind", type=click.Choice(DOCUMENTS))
def schema(kind: str) -> None:
    """Print the JSON Schema (2020-12) of a kind of document, as it is registered under api.KIND."""
    from registry.api_schemas import api_schema

    click.echo(json.dumps(api_schema(kind), indent=2, ensure_ascii=False))
