"""Secret references: where a secret is kept, and getting it there at the moment it is used.

A reference is `provider:name`, with `#member` where the secret is a JSON object. `env:NAME` is a variable of the
process; `file:NAME` a file in the folder of secrets, readable by its owner alone. A secret is in no document, table,
log or message.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from guard.canonical import JsonFault, parse

MAX_BYTES = 65_536
_REFERENCE = re.compile(r"(?P<provider>[a-z][a-z0-9-]*):(?P<name>[^#\s]+)(?:#(?P<member>\S+))?", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class SecretUnavailable(LookupError):
    """A secret that is not to be had; the message names the reference and the way out.

    Attributes:
        secret_ref: the reference, which is no secret.
    """

    def __init__(self, secret_ref: str, reason: str) -> None:
        super().__init__(f"the secret {secret_ref} cannot be read: {reason}")
        self.secret_ref = secret_ref


def read_secret(secret_ref: str, *, folder: Path) -> bytes:
    """Return the secret that a reference names.

    Args:
        folder: where `file:` secrets lie.

    Raises:
        SecretUnavailable: the reference is none, its provider is not set up, or the secret is missing or open to all.
    """
    found = _REFERENCE.fullmatch(secret_ref)
    if found is None:
        raise SecretUnavailable(secret_ref, "it is no reference; write it as env:NAME or file:NAME")
    provider = _PROVIDERS.get(found["provider"])
    if provider is None:
        raise SecretUnavailable(
            secret_ref, f"no provider {found['provider']} is set up; there are {', '.join(_PROVIDERS)}"
        )
    secret = provider(secret_ref, found["name"], folder)
    return secret if found["member"] is None else _member(secret_ref, secret, found["member"])


def _from_environment(secret_ref: str, name: str, folder: Path) -> bytes:
    if not _ENV_NAME.fullmatch(name) or not (value := os.environ.get(name)):
        raise SecretUnavailable(secret_ref, f"the variable {name} is not set; set it where the platform is started")
    return value.encode()


def _from_file(secret_ref: str, name: str, folder: Path) -> bytes:
    path = folder / name
    if not _FILE_NAME.fullmatch(name):
        raise SecretUnavailable(secret_ref, "the name of a file holds letters, digits and . _ - and no folder")
    try:
        # Not by its name twice: what is checked is what is read. A pipe must not hold up who opens it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise SecretUnavailable(secret_ref, f"{error.strerror}; put it into {folder} with mode 600") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SecretUnavailable(secret_ref, "it is no file")
        if status.st_mode & 0o077:
            raise SecretUnavailable(secret_ref, "others can read it; change its mode to 600 and renew the secret")
        content = os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if not content or len(content) > MAX_BYTES:
        raise SecretUnavailable(secret_ref, f"it is empty, or larger than {MAX_BYTES:,} bytes")
    return content.removesuffix(b"\n")


def _member(secret_ref: str, secret: bytes, name: str) -> bytes:
    try:
        document = parse(secret)
    except JsonFault:
        document = None
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        raise SecretUnavailable(secret_ref, f"it is no JSON object with a text {name}")
    return value.encode()


_PROVIDERS: Mapping[str, Callable[[str, str, Path], bytes]] = {"env": _from_environment, "file": _from_file}
