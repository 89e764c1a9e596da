"""Who a command acts for: the bearer of the token that it is given, never a name that somebody types."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.faults import Refused
from guard.tokens import TokenFileFault, read_token_file

if TYPE_CHECKING:
    from registry.database import Registry

TOKEN_VARIABLE = "RWCM_TOKEN"  # noqa: S105 - a name


def acting(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command that acts for somebody: give it `--token-file`, and call it with who that is.

    The command gets `principal` and `registry`, opened and closed around it. A token is taken from `--token-file` or
    `RWCM_TOKEN`, never from an argument, since whoever lists processes reads those. Denials and tokens that prove
    nothing are refused in one sentence.
    """

    @click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help=f"File with your token, readable by you alone; by default the variable {TOKEN_VARIABLE}.",
    )
    @wraps(command)
    def wrapped(*args: Any, token_file: Path | None, **kwargs: Any) -> None:
        from registry.access import Denied, InvalidToken, authenticate

        token = given_token(token_file)
        registry = open_registry()
        try:
            principal = authenticate(registry, token, now=datetime.now(UTC))
            command(*args, principal=principal, registry=registry, **kwargs)
        except (Denied, InvalidToken) as fault:
            raise Refused(str(fault)) from None
        finally:
            registry.close()

    return wrapped


def given_token(token_file: Path | None) -> str:
    """Return the token that the caller gave.

    Raises:
        Refused: there is none, or others than the caller can read its file.
    """
    if token_file is not None:
        try:
            return read_token_file(token_file)
        except TokenFileFault as fault:
            raise Refused(str(fault)) from None
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        return token
    raise Refused(
        f"this needs to know who you are: set {TOKEN_VARIABLE}, or name a file with --token-file; the operator issues "
        "tokens with rwcm token issue"
    )


def operator() -> str:
    """Return the operator of the machine as the audit names them.

    Who may write the home can issue and revoke tokens: that is the root of trust (docs/adr/0005). The name is the
    system's, not the environment's, which anybody sets.
    """
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        name = f"uid-{os.getuid()}"
    return f"operator:{name}"[:64]


def open_registry() -> "Registry":
    """Return the registry of the home.

    Raises:
        Refused: the home holds none yet.
    """
    from lake.home import Home
    from registry.database import Registry

    home = Home.from_environment()
    if not home.has_registry:
        raise Refused(f"{home.root} holds no registry yet; rwcm run or rwcm backfill fills it, RWCM_HOME names another")
    return Registry.open(home.registry)
