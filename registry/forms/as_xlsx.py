"""XLSX: one sheet per table, every cell a text; read from the XML itself, since libraries round, cut and guess.

A text that is longer than a cell continues in columns `name (2)`, `name (3)` and so on, cut anywhere.
"""

import logging
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lxml import etree
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from lake.spec import Kind, TableSpec
from registry.forms.as_csv import NUMBERS
from registry.forms.cells import from_cell, to_cell
from registry.forms.sheets import MAX_FORM_BYTES, SPECS, Faults, Line, Sheets, Texts, checked_header, tables_of

NAME = "xlsx"

log = logging.getLogger("rwcm.forms")

CELL_LENGTH = 32_000
"""UTF-16 units of a text that go into one cell; 32,767 are the format's limit."""

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_MAX_RATIO = 200
"""How many times its packed size a part may have: text shrinks to a hundredth at the most."""
_MAX_COLUMNS = 16_384
_CONTINUED = re.compile(r"(.+) \(([1-9][0-9]*)\)")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_REFERENCE = re.compile(r"([A-Z]{1,3})([1-9][0-9]*)")
_TYPED = {"s": "text", "str": "text", "inlineStr": "text", "b": "boolean", "n": "number", "d": "date", "e": "error"}
_INTEGER = re.compile(r"-?[0-9]{1,15}")


def recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".xlsx", ".xlsm")


# Writing


def write(tables: Mapping[str, Sequence[Texts]], path: Path) -> None:
    book = Workbook(write_only=True)
    for spec, rows in tables_of(tables):
        log.info("sheet %s, %d rows", spec.name, len(rows))
        sheet = book.create_sheet(spec.name)
        sheet.freeze_panes = "A2"
        names = [column.name for column in spec.columns]
        cells = [[_parts(to_cell(row.get(name))) for name in names] for row in rows]
        widths = [max((len(row[place]) for row in cells), default=1) for place in range(len(names))]
        sheet.append(
            [_part_name(name, part) for name, width in zip(names, widths, strict=True) for part in range(width)]
        )
        for row in cells:
            sheet.append(
                [
                    _text_cell(sheet, parts[part]) if part < len(parts) else None
                    for parts, width in zip(row, widths, strict=True)
                    for part in range(width)
                ]
            )
    book.save(path)


def _part_name(name: str, part: int) -> str:
    return f"{name} ({part + 1})" if part else name


def _parts(cell: str) -> list[str]:
    """Return a cell's text in pieces that fit; a pair of surrogates is never cut."""
    if len(cell) <= CELL_LENGTH // 2:
        return [cell]
    step = CELL_LENGTH if cell.isascii() else CELL_LENGTH // 2
    return [cell[start : start + step] for start in range(0, len(cell), step)]


def _text_cell(sheet: Any, text: str) -> Any:
    """Return a cell that is text whatever it looks like: openpyxl would take `#N/A` for an error."""
    if not text.startswith(("#", "=")):
        return text or None
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    return cell


# Reading


class Cell(NamedTuple):
    """What the file says of a cell: its text, and what kind of value it calls it."""

    text: str
    kind: str


def read(path: Path) -> Sheets:
    faults = Faults(path)
    sheets = Sheets()
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bombs(archive, path.name, faults)
            strings = _shared_strings(archive)
            for name, part, is_hidden in _sheets(archive):
                spec = SPECS.get(name)
                place = f"sheet {name}"
                if is_hidden:
                    faults.add(place, "", "is hidden", "show it or remove it: nobody has seen what it holds")
                elif spec is None:
                    faults.add(place, "", "is named after no table", f"name it after one: {', '.join(SPECS)}")
                else:
                    with archive.open(part) as xml:
                        sheets.lines[name] = list(_lines(xml, spec, strings, faults))
                    log.info("sheet %s, %d rows", name, len(sheets.lines[name]))
    except (zipfile.BadZipFile, KeyError, etree.XMLSyntaxError, NotImplementedError, RuntimeError) as error:
        problem = f"is no workbook that can be read: {str(error).splitlines()[0][:200]}"
        faults.refuse(path.name, problem, "save it as XLSX, without a password")
    faults.settle()
    return sheets


def _refuse_bombs(archive: zipfile.ZipFile, place: str, faults: Faults) -> None:
    """Look at how large the parts say they are before one is unpacked; zipfile unpacks no more than that."""
    total = sum(part.file_size for part in archive.infolist())
    if total > MAX_FORM_BYTES:
        problem = f"unpacks to {total:,} bytes and may have {MAX_FORM_BYTES:,}"
        faults.refuse(place, problem, "export fewer objects at once")
    for part in archive.infolist():
        if part.file_size > 1_000_000 and part.file_size > _MAX_RATIO * max(part.compress_size, 1):
            faults.refuse(place, f"{part.filename} unpacks to {part.file_size:,} bytes", "save it again")


def _sheets(archive: zipfile.ZipFile) -> Iterator[tuple[str, str, bool]]:
    """Yield name, part and whether it is hidden, of each sheet."""
    relations = _parsed(archive, "xl/_rels/workbook.xml.rels")
    targets = {relation.get("Id"): relation.get("Target") for relation in relations}
    for sheet in _parsed(archive, "xl/workbook.xml").iter(f"{_MAIN}sheet"):
        target = targets[sheet.get(_RELATION)] or ""
        part = target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)
        yield sheet.get("name", ""), part, sheet.get("state", "visible") != "visible"


def _parsed(archive: zipfile.ZipFile, part: str) -> Any:
    return etree.fromstring(archive.read(part), etree.XMLParser(resolve_entities=False, no_network=True))


def _events(xml: Any, *tags: str) -> Iterator[Any]:
    """Yield elements one by one, each forgotten after it was looked at. Entities are not expanded."""
    for _, element in etree.iterparse(
        xml, tag=[_MAIN + tag for tag in tags], resolve_entities=False, no_network=True, huge_tree=False
    ):
        yield element
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]


def _shared_strings(archive: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    with archive.open("xl/sharedStrings.xml") as xml:
        return [_rich_text(item) for item in _events(xml, "si")]


def _rich_text(item: Any) -> str:
    """Return the text of a string, formatted or not, but without its phonetic reading; `_x000D_` is one character."""
    texts = [text.text or "" for text in item.iter(f"{_MAIN}t") if text.getparent().tag != f"{_MAIN}rPh"]
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), "".join(texts))


def _lines(xml: Any, spec: TableSpec, strings: Sequence[str], faults: Faults) -> Iterator[Line]:
    header: list[tuple[int, str]] | None = None
    number = 0
    for element in _events(xml, "row", "mergeCell"):
        if element.tag == f"{_MAIN}mergeCell":
            problem = f"merges the cells {element.get('ref')}"
            faults.add(f"sheet {spec.name}", "", problem, "unmerge them and fill in each")
            continue
        number = int(element.get("r") or number + 1)
        place = f"sheet {spec.name} row {number}"
        cells = dict(_cells(element, strings, place, faults))
        if header is None:
            before = len(faults.found)
            header = _header(cells, spec, place, faults)
            if len(faults.found) > before:
                return
        elif cells:
            yield Line(place, _texts(cells, header, spec, place, faults))
    if header is None:
        _header({}, spec, f"sheet {spec.name} row 1", faults)


def _cells(row: Any, strings: Sequence[str], place: str, faults: Faults) -> Iterator[tuple[int, Cell]]:
    """Yield (column number, cell) of what is not empty."""
    position = 0
    for element in row.iter(f"{_MAIN}c"):
        position = _column(element.get("r")) or position + 1
        kind = _TYPED.get(element.get("t", "n"), "number")
        value = element.findtext(f"{_MAIN}v") or ""
        if element.find(f"{_MAIN}f") is not None:
            faults.add(place, _letters(position), "is a formula", "replace it by its value")
        elif kind == "error":
            faults.add(place, _letters(position), f"is the error {value}", "correct it")
        elif element.get("t") == "s":
            yield position, Cell(strings[int(value)], kind)
        elif element.get("t") == "inlineStr":
            yield position, Cell(_rich_text(element), kind)
        elif value:
            yield position, Cell(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), value), kind)


def _column(reference: str | None) -> int | None:
    match = _REFERENCE.fullmatch(reference or "")
    if match is None:
        return None
    number = 0
    for letter in match[1]:
        number = number * 26 + ord(letter) - 64
    return min(number, _MAX_COLUMNS)


def _letters(number: int) -> str:
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _header(cells: Mapping[int, Cell], spec: TableSpec, place: str, faults: Faults) -> list[tuple[int, str]]:
    """Return position and column of each cell of the first row, continuations under the name that they continue."""
    header: list[tuple[int, str]] = []
    parts: dict[str, int] = {}
    firsts: list[str | None] = []
    for position in range(1, max(cells, default=0) + 1):
        name = cells[position].text.strip() if position in cells else ""
        if match := _CONTINUED.fullmatch(name):
            name = match[1]
            if int(match[2]) != parts.get(name, 0) + 1:
                faults.add(place, match[0], "continues nothing", f"put it after part {int(match[2]) - 1} of {name}")
        else:
            firsts.append(name)
            parts.setdefault(name, 0)
        parts[name] = parts.get(name, 0) + 1
        header.append((position, name))
    checked_header(firsts, spec, place, faults)
    return header


def _texts(
    cells: Mapping[int, Cell], header: Sequence[tuple[int, str]], spec: TableSpec, place: str, faults: Faults
) -> Texts:
    joined: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for position, name in header:
        if position in cells:
            joined[name] = joined.get(name, "") + cells[position].text
            kinds[name] = cells[position].kind
    for position in cells.keys() - {position for position, _ in header}:
        faults.add(place, _letters(position), "has no name in the first row", "name the column or empty the cell")
    texts: dict[str, str | None] = {}
    for name, cell in joined.items():
        kind = spec.column(name).kind
        try:
            texts[name] = from_cell(cell, is_typed=True) if kinds[name] == "text" else _value(cell, kinds[name], kind)
        except ValueError as fault:
            faults.add(place, name, str(fault), "format the cell as text and write it again")
    return texts


def _value(value: str, typed: str, kind: Kind) -> str:
    """Return what a cell that is no text says, if that is certain."""
    if typed == "boolean" and kind is Kind.BOOL:
        return "true" if value == "1" else "false"
    if typed == "number" and kind in NUMBERS:
        if kind in (Kind.INT, Kind.BIGINT) and not _INTEGER.fullmatch(value):
            raise ValueError(f"is the number {value}, which a spreadsheet does not keep exactly")
        return value
    if typed == "number":
        raise ValueError(f"is the number {value} where a text is expected: 7 may have been 007, a date any day")
    raise ValueError(f"is a {typed} where {kind} is expected")
