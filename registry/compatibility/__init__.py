"""Compatibility of schema versions: pure, schemas in, reasons out. The rules are told in docs/schemas.md."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from guard.canonical import canonical, pointer
from registry.compatibility.avro import compare_avro, read_avro
from registry.compatibility.document import SchemaDocument, SchemaRefused
from registry.compatibility.json_schema import compare_json
from registry.compatibility.reasons import Direction, Kind, Reason, unique

__all__ = [
    "Change",
    "Conflict",
    "Direction",
    "Format",
    "Kind",
    "Mode",
    "Reason",
    "SchemaChange",
    "SchemaRefused",
    "check",
    "check_versions",
    "schema_change",
    "validate_schema",
]

Format = Literal["json", "avro"]
Change = Literal["none", "patch", "minor", "major"]

_AVRO_ANNOTATIONS = frozenset(("doc", "order"))
_ROOT_WORDS = ("x-contract", "x-policy-tags")


class Mode(StrEnum):
    """What a new version must be able to do; `*_transitive` against every earlier version, not the latest alone."""

    NONE = "none"
    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"
    BACKWARD_TRANSITIVE = "backward_transitive"
    FORWARD_TRANSITIVE = "forward_transitive"
    FULL_TRANSITIVE = "full_transitive"

    @property
    def is_transitive(self) -> bool:
        return self.value.endswith("_transitive")

    @property
    def directions(self) -> tuple[Direction, ...]:
        """`backward`: the new version reads what the old wrote; `forward`: the old reads what the new writes."""
        base = self.value.removesuffix("_transitive")
        found: tuple[Direction, ...] = ("backward", "forward") if base == "full" else ()
        if base == "backward":
            found = ("backward",)
        elif base == "forward":
            found = ("forward",)
        return found


@dataclass(frozen=True)
class Conflict:
    """A version that a new schema is not compatible with."""

    version: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class SchemaChange:
    """What a new schema is to the one before it.

    Attributes:
        change: `none` for the same schema, `patch` where only annotations differ, `minor` where readers of the new one
            take everything that was written before, `major` where they do not.
        reasons: why it is major.
    """

    change: Change
    reasons: tuple[Reason, ...] = ()


def check(
    new: Any, old: Any, *, format: Format, mode: Mode | str = Mode.BACKWARD, lenient: bool = False
) -> list[Reason]:
    """Return every reason why `new` must not follow `old` under a mode (100 at most); none means that it may.

    Args:
        new: parsed schema of the new version.
        old: parsed schema of the version before.
        lenient: for JSON: judge values alone, and let an optional property be added to an open content model.

    Raises:
        SchemaRefused: one of them cannot be read as a schema.
    """
    reasons: list[Reason] = []
    for direction in Mode(mode).directions:
        reader, writer = (new, old) if direction == "backward" else (old, new)
        found = compare_avro(reader, writer) if format == "avro" else compare_json(reader, writer, lenient=lenient)
        reasons += [replace(reason, direction=direction) for reason in found]
    return unique(reasons)


def check_versions(
    new: Any, versions: Sequence[tuple[int, Any]], *, format: Format, mode: Mode | str, lenient: bool = False
) -> list[Conflict]:
    """Return the versions that a new schema conflicts with: of the latest, or of all where the mode is transitive.

    Args:
        versions: (version, schema) of what is there, in order.
    """
    mode = Mode(mode)
    conflicts = []
    for version, old in versions if mode.is_transitive else versions[-1:]:
        if reasons := check(new, old, format=format, mode=mode, lenient=lenient):
            conflicts.append(Conflict(version, tuple(reasons)))
    return conflicts


def schema_change(old: Any, new: Any, format: Format, *, lenient: bool = False) -> SchemaChange:
    """Compare two versions of a schema for their semantic version.

    A mark `x-pii`, a policy tag or a contract that comes or goes is no annotation: it changes what is stored of an
    event.

    Raises:
        SchemaRefused: one of them cannot be read as a schema.
    """
    if canonical(old) == canonical(new):
        return SchemaChange("none")
    if _says(old, format) == _says(new, format):
        return SchemaChange("patch")
    reasons = check(new, old, format=format, lenient=lenient)
    return SchemaChange("major", tuple(reasons)) if reasons else SchemaChange("minor")


def validate_schema(schema: Any, format: Format) -> None:
    """Refuse what cannot be compared, and so cannot be registered.

    Raises:
        SchemaRefused: with the place and what is wrong there.
    """
    if format == "avro":
        read_avro(schema)
    else:
        SchemaDocument(schema)


def _says(schema: Any, format: Format) -> str:
    """Return what a schema says of values, without its annotations, as a text."""
    if format == "avro":
        return canonical(_without_annotations(schema))
    document = SchemaDocument(schema)
    at_root = {word: schema[word] for word in _ROOT_WORDS if isinstance(schema, dict) and word in schema}
    return document.text(document.root) + canonical([sorted(_personal(schema, "")), at_root])


def _without_annotations(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: _without_annotations(part) for name, part in schema.items() if name not in _AVRO_ANNOTATIONS}
    return [_without_annotations(part) for part in schema] if isinstance(schema, list | tuple) else schema


def _personal(schema: Any, path: str) -> list[str]:
    """Return where a schema marks data as personal, or as not personal."""
    if isinstance(schema, dict):
        mark = schema.get("x-pii")
        marked = [f"{path} {mark}"] if isinstance(mark, bool) else []
        return marked + [place for name, part in schema.items() for place in _personal(part, path + pointer([name]))]
    if isinstance(schema, list | tuple):
        return [place for index, part in enumerate(schema) for place in _personal(part, f"{path}/{index}")]
    return []
