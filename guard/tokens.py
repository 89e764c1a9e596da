"""Files that hold a token: read only if nobody but their owner can."""

import os
import stat
from pathlib import Path

_MAX_BYTES = 1024


class TokenFileFault(ValueError):
    """A file that gives no token; the message says what to do, never what it holds."""


def read_token_file(path: Path) -> str:
    """Return the text of a token's file.

    Raises:
        TokenFileFault: it is no file, cannot be read, or others than its owner can read it.
    """
    try:
        # Without waiting: a pipe that nobody writes to would hold the caller for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            held = os.fstat(file.fileno())
            if not stat.S_ISREG(held.st_mode):
                raise TokenFileFault(f"{path} is no file; write the token into one")
            if held.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise TokenFileFault(f"{path} can be read by others; keep it for yourself: chmod 600 {path}")
            content = file.read(_MAX_BYTES)
    except OSError as fault:
        raise TokenFileFault(f"{path} cannot be read: {fault.strerror}; name the file that holds your token") from None
    return content.decode("utf-8", "replace").strip()
