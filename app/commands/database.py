"""`rwcm database` and `rwcm ddl`: the schema of the registry database, brought up, taken back, and printed."""

import json
from typing import TYPE_CHECKING

import click

from app.faults import Refused
from lake.home import Home

if TYPE_CHECKING:
    import sqlalchemy as sa


@click.group()
def database() -> None:
    """Show the schema of the registry database, bring it up or take it back.

    The registry is var/registry.db, or the PostgreSQL database that RWCM_REGISTRY_URL names. A registry that an earlier
    release made is migrated when it is first opened; these commands are for doing it beforehand, and for the way back.
    """


@database.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status(as_json: bool) -> None:
    """Say at which revision the registry is, and which one this release needs."""
    from registry.migrations import HEAD
    from registry.schema import recorded_revision

    engine = _engine()
    with engine.connect() as connection:
        found = {
            "database": engine.url.render_as_string(hide_password=True),
            "revision": recorded_revision(connection),
            "needed": HEAD,
        }
    click.echo(
        json.dumps(found)
        if as_json
        else f"{found['database']}: revision {found['revision'] or 'none recorded'}; this release needs {HEAD}"
    )


@database.command()
def upgrade() -> None:
    """Bring the registry to the revision that this release needs; all rows stay."""
    from registry.migrations import HEAD

    _migrate(HEAD)


@database.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
def downgrade(revision: str, yes: bool) -> None:
    """Take the registry back to REVISION, for a release that needs it: 0001 is release 0.1.0's.

    Says what is lost and asks. A command of this release migrates the registry forward again.
    """
    from registry.schema import UnknownRevision, known_revisions, losses, recorded_revision

    if revision not in known_revisions():
        raise Refused(str(UnknownRevision(revision)))
    with _engine().connect() as connection:
        now = recorded_revision(connection)
        if now is None or revision >= now:
            raise Refused(f"the registry is at revision {now or 'none'}; there is nothing to take back to {revision}")
        lost = losses(connection, revision)
    click.echo("\n".join(["This deletes for good:", *(f"  {loss}" for loss in lost)]))
    if not yes and not click.confirm("Take it back?"):
        raise Refused("nothing was changed")
    _migrate(revision)


@click.command()
@click.option(
    "--dialect",
    type=click.Choice(["sqlite", "postgresql", "duckdb"]),
    default="sqlite",
    show_default=True,
    help="Database that takes the statements.",
)
@click.option("--table", default=None, metavar="NAME", help="One table instead of all.")
def ddl(dialect: str, table: str | None) -> None:
    """Print the statements that make the registry's tables."""
    from registry.ddl import ENGINES, UnknownTable, statements

    try:
        for statement in statements(next(engine for engine in ENGINES if engine == dialect), table=table):
            click.echo(statement + ";\n")
    except UnknownTable as fault:
        raise Refused(str(fault)) from None


def _engine() -> "sa.Engine":
    from registry.database import engine_of

    home = Home.from_environment()
    if not home.has_registry:
        raise Refused(f"{home.root} holds no registry yet; rwcm run or rwcm backfill makes it")
    return engine_of(home.registry)


def _migrate(revision: str) -> None:
    from registry.postgresql import VectorMissing
    from registry.schema import BrokenReferences, RegistryTooNew, UnknownRevision, migrate

    try:
        was, now = migrate(_engine(), revision)
    except (BrokenReferences, RegistryTooNew, UnknownRevision, VectorMissing) as fault:
        raise Refused(str(fault)) from None
    click.echo(f"the registry is at revision {now}" + ("" if was == now else f"; it was at {was}"))
