"""What sheets mean: typed rows, the documents they are parts of, and whether rows and documents say the same.

A document comes whole, as a version in `object_version`, or is put together from the rows that state it. Where a file
has both, they must agree: what was looked at in a sheet must be what is taken.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from guard.canonical import canonical, digest, parse
from guard.secrets import find_secrets
from lake.spec import Column, Kind, TableSpec
from lake.tables import OBJECT_VERSION, SCHEMA_REGISTRY, STEP_ACTION, TRIGGER_DEF, WORKFLOW
from registry.api_schemas import KINDS
from registry.documents import Document, Fault, Received, Workflow
from registry.drafts import Incoming, read_incoming
from registry.forms.cells import from_text, refused_characters
from registry.forms.sheets import SPECS, Faults, Line, Sheets
from registry.objects import Row, rows_of

AUDIT = ("created_at", "created_by", "updated_at", "updated_by")
_NOT_OF_DOCUMENTS = {*AUDIT, "last_version"}
_PARTS: Mapping[str, str] = {STEP_ACTION.name: "steps", TRIGGER_DEF.name: "triggers"}
"""Tables whose rows are parts of a workflow's document, and where they stand in it."""
_KINDS: Mapping[str, type[Document]] = {
    kind.spec.name: kind for kind in KINDS.values() if kind.spec.name in SPECS and kind.spec.name not in _PARTS
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A row with its values, and where it was found; columns that were absent are absent."""

    place: str
    row: Row


@dataclass
class Content:
    """What a source holds, understood.

    Attributes:
        rows: table -> its rows, complete but for the audit columns of what was written by hand.
        versions: whether every object comes with its versions, as exports do.
        documents: the current document of every object.
    """

    rows: dict[str, list[Placed]] = field(default_factory=dict)
    has_versions: bool = False
    documents: list[Received[Any]] = field(default_factory=list)


def understand(sheets: Sheets, faults: Faults) -> Content:
    """Return what sheets mean.

    Raises:
        FormRefused: with every fault of every sheet.
    """
    content = Content({name: list(_typed(SPECS[name], lines, faults)) for name, lines in sheets.lines.items()})
    faults.settle()  # what does not fit its column would only be said again
    content.has_versions = bool(content.rows.get(OBJECT_VERSION.name))
    if content.has_versions:
        content.documents = list(_current_documents(content.rows, faults))
    else:
        content.documents = list(_assembled(content.rows, faults))
    for place, name, text in sheets.documents:
        found: list[Fault] = []
        content.documents += read_incoming([Incoming(KINDS[name], text, place)], found)
        for fault in found:
            faults.add(place, "", f"{fault.path or '/'} {fault.problem}", fault.fix)
    faults.settle()
    return content


def _typed(spec: TableSpec, lines: Sequence[Line], faults: Faults) -> Iterator[Placed]:
    columns = {column.name: column for column in spec.columns}
    seen: dict[Key, str] = {}
    for line in lines:
        row: Row = {}
        for name, text in line.texts.items():
            if text is None:
                continue
            problem = refused_characters(text)
            if problem is None:
                try:
                    row[name] = from_text(columns[name], text)
                except ValueError as fault:
                    problem = str(fault)
            if problem is not None:
                faults.add(line.place, name, problem, "correct the cell")
        key = tuple(row.get(name) for name in spec.key)
        for name in spec.key:
            if line.texts.get(name) is None:
                faults.add(line.place, name, "is empty", "fill it in: it is part of the key")
        if None not in key and (first := seen.setdefault(key, line.place)) != line.place:
            problem = f"{'/'.join(map(str, key))} stands in {first} already"
            faults.add(line.place, spec.key[-1], problem, "remove one of the two")
        yield Placed(line.place, row)


def complete(spec: TableSpec, placed: Placed, faults: Faults, *, actor: str, now: datetime) -> Row:
    """Return a row with all its columns: absent audit columns say who imports and when, others take their default."""
    audit = dict(zip(AUDIT, (now, actor, now, actor), strict=True))
    row: Row = {}
    for column in spec.columns:
        value = placed.row.get(column.name, audit.get(column.name, column.default))
        if value is None and not column.nullable:
            faults.add(placed.place, column.name, "is empty", "fill it in")
        row[column.name] = value
    return row


# Documents that come as versions


def _current_documents(rows: Mapping[str, Sequence[Placed]], faults: Faults) -> Iterator[Received[Any]]:
    """Yield the current document of every object, and see that its rows say what it says.

    What is past counts by its hash alone: rules may have changed since it was current.
    """
    expected: dict[str, dict[Key, Row]] = defaultdict(dict)
    shown = {
        (name, placed.row[kind.spec.key[0]]): placed.row.get("version")
        for name, kind in _KINDS.items()
        for placed in rows.get(name, ())
        if _is_numbered(kind.spec)
    }
    for (table, object_id), versions in _versions(rows, faults).items():
        kind = _KINDS.get(table)
        if kind is None:
            faults.add(versions[0].place, "object_type", f"{table!r} is no kind of object", f"use {', '.join(_KINDS)}")
            continue
        for placed in _current(kind, object_id, versions, shown):
            received = _read(kind, placed.row.get("document", "null"), placed.place, faults, column="document")
            if received is None:
                continue
            if received.body.object_id != object_id:
                faults.add(placed.place, "document", f"is about {received.body.object_id}", "correct the object_id")
            for secret in find_secrets(received.value):
                problem = f"{secret.path} holds what looks like {secret.kind}"
                faults.add(placed.place, "document", problem, "replace it where it came from: it was written down")
            for spec, _, row in rows_of(received, actor="", now=_EPOCH):
                expected[spec.name][tuple(row[name] for name in spec.key)] = row
            yield received
    for name in SPECS:
        if name in _KINDS or name in _PARTS:
            _compare(SPECS[name], expected[name], rows.get(name, ()), faults)


def _versions(rows: Mapping[str, Sequence[Placed]], faults: Faults) -> dict[tuple[str, str], list[Placed]]:
    """Return the versions of each object, their hashes compared with what was hashed."""
    versions: dict[tuple[str, str], list[Placed]] = defaultdict(list)
    for placed in rows[OBJECT_VERSION.name]:
        row = placed.row
        if "document" in row and row.get("document_hash") != digest(parse(row["document"])):
            faults.add(placed.place, "document_hash", "is not that of the document", "import an unchanged export")
        versions[row["object_type"], row["object_id"]].append(placed)
    return versions


def _current(
    kind: type[Document], object_id: str, versions: Sequence[Placed], shown: Mapping[tuple[str, Any], Any]
) -> Sequence[Placed]:
    """Return the versions that rows of the object's table show: one, but every one of an event schema."""
    if kind.spec is SCHEMA_REGISTRY:
        return versions
    if not _is_numbered(kind.spec):  # then they are numbered 1, 2, 3
        return [max(versions, key=lambda placed: (len(placed.row["version"]), placed.row["version"]))]
    return [placed for placed in versions if placed.row["version"] == shown.get((kind.spec.name, object_id))]


def _is_numbered(spec: TableSpec) -> bool:
    return any(column.name == "version" for column in spec.columns)


def _compare(spec: TableSpec, expected: Mapping[Key, Row], rows: Sequence[Placed], faults: Faults) -> None:
    """Find rows that say something else than the documents, or that only one of the two has."""
    missing = dict(expected)
    for placed in rows:
        key = tuple(placed.row[name] for name in spec.key)
        row = missing.pop(key, None)
        if row is None:
            if placed.row.get("last_version") is None:
                problem = "is in no current document of object_version"
                faults.add(
                    placed.place, spec.key[0], problem, "leave object_version out to import what was written by hand"
                )
            continue
        for column in spec.columns:
            if column.name in _NOT_OF_DOCUMENTS or column.kind is Kind.BINARY:
                continue
            stated, meant = placed.row.get(column.name), row[column.name]
            if stated != meant and _plain(column, stated) != _plain(column, meant):
                problem = "does not agree with the document in object_version"
                faults.add(placed.place, column.name, problem, "change both, or leave object_version out")
    for key in missing:
        problem = f"the document of {'/'.join(map(str, key))} in object_version has no row here"
        faults.add(spec.name, spec.key[0], problem, "add the row, or remove the versions of the object")


def _plain(column: Column, value: Any) -> Any:
    return canonical(parse(value)) if column.kind is Kind.JSON and value is not None else value


# Documents that are put together from rows


def _assembled(rows: Mapping[str, Sequence[Placed]], faults: Faults) -> Iterator[Received[Any]]:
    """Yield the documents that rows written by hand state; an empty cell is an absent member."""
    parts: dict[str, dict[Any, list[Placed]]] = {table: defaultdict(list) for table in _PARTS}
    for table, of_workflow in parts.items():
        for placed in rows.get(table, ()):
            of_workflow[placed.row.get("workflow_id")].append(placed)
    workflows = {placed.row[WORKFLOW.key[0]] for placed in rows.get(WORKFLOW.name, ())}
    for of_workflow in parts.values():
        for workflow_id in of_workflow.keys() - workflows:
            for placed in of_workflow[workflow_id]:
                problem = "names no workflow of this file" if workflow_id else "is empty"
                faults.add(placed.place, "workflow_id", problem, "add the workflow, since it is proposed as a whole")
    for table, kind in _KINDS.items():
        for placed in rows.get(table, ()):
            value = _members(SPECS[table], placed.row)
            places: dict[str, str] = {}
            if kind is Workflow:
                for part, member in _PARTS.items():
                    found = parts[part][placed.row["workflow_id"]]
                    found.sort(key=lambda placed: placed.row.get("sequence", 0))
                    if found:
                        value[member] = [_members(SPECS[part], item.row, but="workflow_id") for item in found]
                    places |= {f"/{member}/{number}": item.place for number, item in enumerate(found)}
            received = _read(kind, canonical(value), placed.place, faults, places=places)
            if received is not None:
                yield received


def _members(spec: TableSpec, row: Row, *, but: str = "") -> dict[str, Any]:
    members: dict[str, Any] = {}
    for column in spec.columns:
        if column.name in row and column.name not in _NOT_OF_DOCUMENTS and column.name != but:
            value = row[column.name]
            members[column.name] = parse(value) if column.kind is Kind.JSON else _json_value(value)
    return members


def _json_value(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _read(
    kind: type[Document],
    text: str,
    place: str,
    faults: Faults,
    *,
    places: Mapping[str, str] | None = None,
    column: str = "",
) -> Received[Any] | None:
    """Return a document; what is wrong with it is said of the row and column that state it.

    Args:
        places: path within the document -> the row that states what is there.
        column: the one that holds the whole document.
    """
    found: list[Fault] = []
    received = next(read_incoming([Incoming(kind, text, place)], found), None)
    for fault in found:
        stated_at, path = place, fault.path
        for prefix, part in (places or {}).items():
            if path == prefix or path.startswith(prefix + "/"):
                stated_at, path = part, path.removeprefix(prefix)
        _, stated_in, within = path.split("/", 2) if path.count("/") > 1 else ("", path[1:], "")
        if column:
            stated_in, within = column, path[1:]
        faults.add(stated_at, stated_in, f"/{within} {fault.problem}" if within else fault.problem, fault.fix)
    return received
