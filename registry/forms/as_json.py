"""JSON: one array, each element a row of a table or a document as the API takes it.

A column that holds JSON is JSON here, in the very characters that are stored, and numbers keep every digit.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from guard.canonical import JsonFault, decode
from guard.json_pieces import elements, members
from lake.spec import Kind, TableSpec
from registry.api_schemas import KINDS
from registry.forms.sheets import SPECS, Faults, Line, Sheets, Texts, read_bytes, tables_of

NAME = "json"

_AS_IT_STANDS = frozenset((Kind.JSON, Kind.INT, Kind.BIGINT, Kind.DOUBLE, Kind.RATIO, Kind.BOOL))
"""Kinds whose texts are JSON themselves."""


def recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() != ".json":
        return False
    with path.open("rb") as file:
        return file.read(1_000).lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"[")


def write(tables: Mapping[str, Sequence[Texts]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        separator = "[\n"
        for spec, rows in tables_of(tables):
            for row in rows:
                file.write(f'{separator}{{"table":"{spec.name}","row":{row_text(spec, row)}}}')
                separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")


def row_text(spec: TableSpec, row: Texts) -> str:
    """Return a row as a JSON object; columns without a value are left out."""
    stated = ((column, row.get(column.name)) for column in spec.columns)
    parts = [
        f'"{column.name}":{text if column.kind in _AS_IT_STANDS else json.dumps(text, ensure_ascii=False)}'
        for column, text in stated
        if text is not None
    ]
    return "{" + ",".join(parts) + "}"


def row_of(spec: TableSpec, text: str, place: str, faults: Faults) -> Line:
    """Return what a row's JSON object says."""
    columns = {column.name: column for column in spec.columns}
    texts: dict[str, str | None] = {}
    for name, value, verbatim in members(text):
        column = columns.get(name)
        if column is None:
            faults.add(place, name, f"{spec.name} has none of this name", f"use {', '.join(columns)}")
        elif value is None and column.kind is not Kind.JSON:
            texts[name] = None
        elif column.kind in _AS_IT_STANDS:
            if column.kind is not Kind.JSON and isinstance(value, str):
                faults.add(place, name, "is a text", f"write it as {column.kind}, without quotes")
            texts[name] = verbatim if column.kind is Kind.JSON else verbatim.strip()
        elif isinstance(value, str):
            texts[name] = value
        else:
            faults.add(place, name, "is no text", "write it between quotes")
    return Line(place, texts)


def read(path: Path) -> Sheets:
    faults = Faults(path)
    sheets = Sheets()
    number = 0
    try:
        for value, text in elements(decode(read_bytes(path, faults))):
            number += 1
            _take(value, text, f"{path.name} element {number}", sheets, faults)
    except JsonFault as fault:
        where = f"{path.name} element {number + 1} {fault.path}" if fault.path else path.name
        faults.refuse(where, str(fault), fault.fix)
    faults.settle()
    return sheets


def _take(value: object, text: str, place: str, sheets: Sheets, faults: Faults) -> None:
    """Put an element where it belongs."""
    keys = set(value) if isinstance(value, dict) else set()
    if keys not in ({"table", "row"}, {"kind", "document"}):
        problem = "is neither a row nor a document"
        faults.add(place, "", problem, 'write {"table": ..., "row": {...}} or {"kind": ..., "document": {...}}')
        return
    stated = {name: (item, verbatim) for name, item, verbatim in members(text)}
    name, known = ("table", SPECS) if "table" in keys else ("kind", KINDS)
    if not isinstance(stated[name][0], str) or stated[name][0] not in known:
        faults.add(place, "", f"names no {name}", f"use {', '.join(known)}")
    elif name == "kind":
        sheets.documents.append((place, stated["kind"][0], stated["document"][1]))
    elif not isinstance(stated["row"][0], dict):
        faults.add(place, "", "its row is no object", "write a member per column")
    else:
        spec = SPECS[stated["table"][0]]
        sheets.lines.setdefault(spec.name, []).append(row_of(spec, stated["row"][1], place, faults))
