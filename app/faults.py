"""How a command says no: one clear sentence, and an exit code that tells whose move it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from app.console import errors

EXIT_REFUSED = 2
"""Exit code for what the caller has to change; 1 is a fault of the platform."""


class Refused(click.ClickException):
    """One clear sentence, and exit code 2."""

    exit_code = EXIT_REFUSED

    def show(self, file: Any = None) -> None:
        errors.print(f"rwcm: {self.message}", soft_wrap=True, markup=False)


@contextmanager
def refusing(*faults: type[Exception]) -> Iterator[None]:
    """Turn `faults`, which a caller can mend, into what the command says.

    For use within a command, whose modules are imported only when it is called: `rwcm --help` waits for none of them.
    """
    try:
        yield
    except faults as fault:
        raise Refused(str(fault)) from fault


def said_clearly(*faults: type[Exception]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that does for a whole command what `refusing` does for a block."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> None:
            with refusing(*faults):
                command(*args, **kwargs)

        return wrapped

    return decorate
