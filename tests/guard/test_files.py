"""Files that somebody names: a command neither waits for ever nor reads without an end."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.files import Unreadable, read_regular


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (os.mkfifo, "no_file"),
        (Path.mkdir, "no_file"),
        (lambda path: path.symlink_to("/dev/zero"), "no_file"),
        (lambda path: path.symlink_to("nowhere"), "unreadable"),
        (lambda path: path.write_bytes(b"x" * 11), "too_large"),
        (lambda path: None, "unreadable"),
    ],
)
def test_what_is_no_file_of_that_size_is_not_read(make: Callable[[Path], object], rule: str, tmp_path: Path) -> None:
    """A pipe would hold the command for ever, a device fill the memory."""
    path = tmp_path / "it"
    make(path)
    with pytest.raises(Unreadable) as caught:
        read_regular(path, max_bytes=10, follows_links=True)
    assert caught.value.rule == rule


def test_a_file_is_read_up_to_its_last_allowed_byte_and_a_link_where_it_may_be(tmp_path: Path) -> None:
    """What somebody types may be a link; what lies in a folder of somebody else may not."""
    (tmp_path / "it").write_bytes(b"x" * 10)
    assert read_regular(tmp_path / "it", max_bytes=10, follows_links=False) == b"x" * 10
    (tmp_path / "link").symlink_to("it")
    assert read_regular(tmp_path / "link", max_bytes=10, follows_links=True) == b"x" * 10
    with pytest.raises(Unreadable):
        read_regular(tmp_path / "link", max_bytes=10, follows_links=False)


def test_a_private_file_is_read_only_if_nobody_else_may_open_it(tmp_path: Path) -> None:
    """A secret that others can read has been given away already."""
    (tmp_path / "it").write_bytes(b"x")
    for mode, rule in ((0o600, None), (0o400, None), (0o640, "not_private"), (0o604, "not_private")):
        (tmp_path / "it").chmod(mode)
        try:
            read_regular(tmp_path / "it", max_bytes=10, follows_links=True, is_private=True)
        except Unreadable as fault:
            assert fault.rule == rule
        else:
            assert rule is None
