"""Files that hold a token: read only if nobody but their owner can."""

from pathlib import Path

from guard.files import Unreadable, read_regular

_MAX_BYTES = 1024


class TokenFileFault(ValueError):
    """A file that gives no token; the message says what to do, never what it holds."""


def read_token_file(path: Path) -> str:
    """Return the text of a token's file.

    Raises:
        TokenFileFault: it is no file, cannot be read, is longer than a token, or others than its owner can read it.
    """
    try:
        content = read_regular(path, max_bytes=_MAX_BYTES, follows_links=True, is_private=True)
    except Unreadable as fault:
        is_open = fault.rule == "not_private"
        fix = f"keep it for yourself: chmod 600 {path}" if is_open else "name the file that holds your token"
        raise TokenFileFault(f"{path} {fault}; {fix}") from None
    return content.decode("utf-8", "replace").strip()
