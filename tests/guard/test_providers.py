"""Secret references: what is read, and what is refused without a word of the secret."""

import os
from pathlib import Path

import pytest

from guard.providers import MAX_BYTES, SecretUnavailable, read_secret


def keep(folder: Path, name: str, content: bytes, mode: int = 0o600) -> None:
    (folder / name).write_bytes(content)
    (folder / name).chmod(mode)


def test_a_secret_is_read_from_where_its_reference_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector would sign with the wrong secret, or with one that ends in a line break."""
    monkeypatch.setenv("RWCM_TEST_SECRET", "from the environment")
    keep(tmp_path, "sap.json", b'{"token": "t-1", "user": "u-1"}')
    keep(tmp_path, "plain", b"from a file\n")
    assert read_secret("env:RWCM_TEST_SECRET", folder=tmp_path) == b"from the environment"
    assert read_secret("file:plain", folder=tmp_path) == b"from a file"
    assert read_secret("file:sap.json#user", folder=tmp_path) == b"u-1"


@pytest.mark.parametrize(
    "secret_ref",
    [
        "plain",
        "file:",
        "file:../plain",
        "file:/etc/passwd",
        "file:missing",
        "file:open",
        "file:empty",
        "file:large",
        "file:link",
        "file:folder",
        "file:pipe",
        "file:plain#member",
        "env:RWCM_NO_SUCH_VARIABLE",
        "env:A B",
        "vault:kv/prod#token",
    ],
)
def test_what_is_no_good_reference_is_refused(tmp_path: Path, secret_ref: str) -> None:
    """A document could read any file of the machine, or use a secret that everybody can read."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    keep(tmp_path, "plain", b"outside")
    keep(folder, "plain", b"s3cret")
    keep(folder, "open", b"s3cret", 0o640)
    keep(folder, "empty", b"")
    keep(folder, "large", b"s" * (MAX_BYTES + 1))
    (folder / "link").symlink_to(folder / "plain")
    (folder / "folder").mkdir(mode=0o700)
    os.mkfifo(folder / "pipe", 0o600)
    with pytest.raises(SecretUnavailable) as refused:
        read_secret(secret_ref, folder=folder)
    assert "s3cret" not in str(refused.value)
    assert refused.value.secret_ref == secret_ref
