"""A wheel of pure Python, written as PEP 427 says: the same content gives the same bytes on every machine."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def write_wheel(
    folder: Path, files: Mapping[str, bytes], *, name: str, version: str, summary: str, requires: tuple[str, ...]
) -> Path:
    """Write the wheel of a package into `folder` and return its path.

    Args:
        files: path within the wheel -> content.
        name: of the distribution, as PEP 503 normalises it.
        requires: distributions that it needs.
    """
    distribution = name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    metadata = [f"Name: {name}", f"Version: {version}", f"Summary: {summary}", "Requires-Python: >=3.11"]
    metadata += [f"Requires-Dist: {required}" for required in requires]
    content = {
        **dict(sorted(files.items())),
        f"{info}/METADATA": ("\n".join(["Metadata-Version: 2.1", *metadata]) + "\n").encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: rwcm\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    recorded = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in content.items()]
    content[f"{info}/RECORD"] = ("\n".join([*recorded, f"{info}/RECORD,,"]) + "\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{distribution}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = _MODE
            entry.create_system = 3  # the machine that writes it leaves no trace
            entry.compress_type = zipfile.ZIP_STORED  # zlib's output differs between its versions
            archive.writestr(entry, data)
    return target


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
