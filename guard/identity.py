"""Identifiers that follow from what they name, so that doing a thing twice names it once."""

import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

NAMESPACE = uuid.UUID("6f1d3d0e-5a3b-5a0c-9a4e-2b6f0c7e7d11")
"""The root of every name-based identifier of this platform; changing it renames everything ever stored."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def name_uuid(*parts: str) -> str:
    """Return the version 5 UUID of `parts` under this platform's namespace.

    Each part is preceded by its length, so ("ab", "c") and ("a", "bc") are different names.
    """
    return str(uuid.uuid5(NAMESPACE, "".join(f"{len(part)}:{part}" for part in parts)))


def name_uuids(scope: str, names: Iterable[str]) -> list[str]:
    """Return `name_uuid(scope, name)` for each of `names`, in order; for columns."""
    return [name_uuid(scope, name) for name in names]


def time_ordered_uuid(moment: datetime, *parts: str) -> str:
    """Return a UUID in version 7's layout: 48 bits of `moment` in milliseconds, then the hash of `parts`.

    It sorts by time as a version 7 UUID does, but holds no random bits, so the same episode gets the same id again.
    """
    milliseconds = (moment - _EPOCH) // _MILLISECOND  # a float of seconds would round some into their neighbour
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).digest()
    value = (milliseconds & ((1 << 48) - 1)) << 80 | int.from_bytes(digest[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
