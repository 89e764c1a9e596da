"""`rwcm token`: tokens that bind people and agents to roles; for the operator of the machine."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import click

from app.console import table
from app.faults import Refused, refusing, said_clearly
from app.identity import TOKEN_VARIABLE, open_registry, operator
from lake.home import HomeFault

if TYPE_CHECKING:
    from registry.tokens import Listed


@click.group()
def token() -> None:
    """Issue, list and revoke the tokens by which people and agents act.

    For whoever operates the machine: it needs no token, and is audited under the operator's system name.
    """


@token.command()
@click.option("--role", "role_id", required=True, metavar="ROLE", help="Role that the bearer acts in.")
@click.option("--subject", "subject_id", required=True, metavar="ID", help="Person or agent; an id, not a name.")
@click.option(
    "--type",
    "subject_type",
    type=click.Choice(["person", "agent"]),
    default="person",
    show_default=True,
    help="Which of the two; an agent must be registered in that role.",
)
@click.option("--days", type=int, default=None, help="Days until it expires; by default what the policy says.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="New file for it, readable by you alone.",
)
@said_clearly(HomeFault)
def issue(
    role_id: str, subject_id: str, subject_type: Literal["person", "agent"], days: int | None, to: Path | None
) -> None:
    """Issue a token and print it, once: only its hash is kept."""
    from registry.objects import NotRegistered
    from registry.tokens import TokenRefused, issue_token

    with (
        refusing(NotRegistered, TokenRefused),
        closing(open_registry()) as registry,
        _private(to) if to else nullcontext(sys.stdout) as place,
    ):
        issued = issue_token(
            registry,
            subject_id=subject_id,
            subject_type=subject_type,
            role_id=role_id,
            days=days,
            actor=operator(),
            now=datetime.now(UTC),
        )
        click.echo(issued.token, file=place)
    click.echo(
        f"{issued.token_id} lets {subject_id} act in role {role_id} until {issued.expires_at:%Y-%m-%d}; the token is "
        f"shown once. Its bearer sets {TOKEN_VARIABLE} to it, or names its file with --token-file.",
        err=True,
    )


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@said_clearly(HomeFault)
def list_(as_json: bool) -> None:
    """List all tokens, never their secret: who acts in which role, until when, and which are due for rotation."""
    from registry.tokens import list_tokens

    with closing(open_registry()) as registry:
        listed = list_tokens(registry, now=datetime.now(UTC))
    if as_json:
        click.echo(json.dumps([asdict(item) for item in listed], indent=2, default=str, ensure_ascii=False))
    elif not listed:
        click.echo("no token was issued yet; rwcm token issue")
    else:
        heading = ("subject", "token", "type", "role", "state", "issued", "expires", "")
        click.echo(table([heading, *map(_line, listed)], indent=""))


@token.command()
@click.argument("token_id", required=False)
@click.option("--subject", "subject_id", default=None, metavar="ID", help="Those of a person or agent.")
@click.option("--role", "role_id", default=None, metavar="ROLE", help="Those that act in a role.")
@said_clearly(HomeFault)
def revoke(token_id: str | None, subject_id: str | None, role_id: str | None) -> None:
    """Revoke a token by its id, or all that fit what is given; they end at once."""
    from registry.objects import NotRegistered
    from registry.tokens import TokenRefused, is_token, revoke_tokens

    if token_id is not None and is_token(token_id):
        raise Refused(
            "that is a token, and now in your shell's history; give its id instead: rwcm token list shows whose it is"
        )
    with refusing(NotRegistered, TokenRefused), closing(open_registry()) as registry:
        revoked = revoke_tokens(
            registry,
            token_id=token_id,
            subject_id=subject_id,
            role_id=role_id,
            actor=operator(),
            now=datetime.now(UTC),
        )
    for name in revoked:
        click.echo(name)
    click.echo(f"{len(revoked)} revoked" if revoked else "nothing to do: these were revoked before", err=True)


@contextmanager
def _private(path: Path) -> Iterator[IO[str]]:
    """Yield a new file that its owner alone can read; it goes again if the block fails.

    Raises:
        Refused: there is a file already, or none can be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as fault:
        raise Refused(f"{path} cannot be made: {fault.strerror}; name a new file in a folder you may write") from None
    try:
        with os.fdopen(descriptor, "w") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _line(item: "Listed") -> tuple[str, ...]:
    return (
        item.subject_id,
        item.token_id,
        item.subject_type,
        item.role_id,
        item.state,
        f"{item.created_at:%Y-%m-%d}",
        f"{item.expires_at:%Y-%m-%d}",
        "rotate it" if item.is_due else "",
    )
