"""Files that somebody names: read only if they are files, and only as far as they may be long."""

import os
import stat
from pathlib import Path
from typing import Literal


class Unreadable(ValueError):
    """A path that is not read.

    Attributes:
        rule: `no_file` (a folder, a pipe, a device, or a link where none is followed), `unreadable`, `too_large`, or
            `not_private`.
    """

    def __init__(self, rule: Literal["no_file", "unreadable", "too_large", "not_private"], problem: str) -> None:
        super().__init__(problem)
        self.rule = rule


def read_regular(path: Path, *, max_bytes: int, follows_links: bool, is_private: bool = False) -> bytes:
    """Return what a file holds.

    It is opened without waiting and looked at once it is open: a pipe that nobody writes to would hold the caller for
    ever, a device never end, and what lies under a name may change after a look at the name.

    Args:
        is_private: refuse a file that others than its owner may open.

    Raises:
        Unreadable: it is no file, cannot be read, has more bytes than `max_bytes`, or is not private.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follows_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise Unreadable("no_file", "is no file")
            if is_private and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise Unreadable("not_private", "can be read by others")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(max_bytes + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unreadable("unreadable", f"cannot be read: {error.strerror}") from None
    if len(content) > max_bytes:
        raise Unreadable("too_large", "is too large")
    return content
