"""CSV: a folder with one file per table, RFC 4180 in UTF-8, read with any line ends and a byte order mark."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lake.spec import Kind, TableSpec
from registry.forms.cells import from_cell, to_cell
from registry.forms.sheets import (
    MAX_FORM_BYTES,
    SPECS,
    Faults,
    Line,
    Sheets,
    Texts,
    checked_header,
    read_bytes,
    tables_of,
)

NAME = "csv"

NUMBERS = frozenset((Kind.INT, Kind.BIGINT, Kind.DOUBLE, Kind.RATIO))
_SUFFIX = ".csv"
_DELIMITERS = (",", ";", "\t")
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK": "a ZIP archive, perhaps XLSX"}

csv.field_size_limit(MAX_FORM_BYTES)  # of the process; the module's own limit would cut documents off at 128 kB


def recognises(path: Path) -> bool:
    return path.suffix.lower() == _SUFFIX or (path.is_dir() and any(_files(path)))


def write(tables: Mapping[str, Sequence[Texts]], path: Path) -> None:
    path.mkdir(parents=True)
    for spec, rows in tables_of(tables):
        names = [column.name for column in spec.columns]
        with (path / f"{spec.name}{_SUFFIX}").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows([to_cell(row.get(name)) for name in names] for row in rows)


def read(path: Path) -> Sheets:
    faults = Faults(path)
    sheets = Sheets()
    spent = 0
    for file in _files(path) if path.is_dir() else [path]:
        spec = SPECS.get(file.stem)
        if spec is None:
            faults.add(file.name, "", "is named after no table", f"name it {', '.join(SPECS)}.csv")
            continue
        content = read_bytes(file, faults, spent)
        spent += len(content)
        text = _text(content, file.name, faults)
        if text is not None:
            sheets.lines[spec.name] = list(_lines(text, spec, file.name, faults))
    if not sheets.lines and not faults.found:
        faults.refuse(path.name, "holds no CSV file", f"name files after tables: {', '.join(SPECS)}.csv")
    faults.settle()
    return sheets


def _files(folder: Path) -> list[Path]:
    """Return the CSV files of a folder, but those that editors keep beside them."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == _SUFFIX and file.name[0] not in ".~")


def _text(content: bytes, place: str, faults: Faults) -> str | None:
    for start, encoding in _OTHER_ENCODINGS.items():
        if content.startswith(start):
            faults.add(place, "", f"is {encoding}", "save it as CSV in UTF-8")
            return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        faults.add(f"{place} line {line}", "", f"byte {error.start} is not UTF-8", "save it as CSV in UTF-8")
        return None


def _lines(text: str, spec: TableSpec, file: str, faults: Faults) -> Iterator[Line]:
    records = _records(text, _delimiter(text, spec), file, faults)
    place = f"{file} row 1"
    header = checked_header(next(records, []), spec, place, faults)
    kinds = {column.name: column.kind for column in spec.columns}
    if not set(header) <= kinds.keys() or len(set(header)) < len(header):
        return
    for number, cells in enumerate(records, 2):
        place = f"{file} row {number}"
        if not any(cells):
            continue
        if len(cells) != len(header):
            problem = f"has {len(cells)} cells where the first row has {len(header)}"
            faults.add(place, "", problem, "put cells that hold the delimiter, quotes or line ends between quotes")
            continue
        texts: dict[str, str | None] = {}
        for name, cell in zip(header, cells, strict=True):
            try:
                texts[name] = from_cell(cell, is_number=kinds[name] in NUMBERS)
            except ValueError as fault:
                faults.add(place, name, str(fault), "write an apostrophe before it if it is a text")
        yield Line(place, texts)


def _records(text: str, delimiter: str, file: str, faults: Faults) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.add(
                f"{file} row {number}", "", f"cannot be read: {error}", "close quotes; double those within a cell"
            )
            return
        yield cells


def _delimiter(text: str, spec: TableSpec) -> str:
    """Return what separates the names in the first row; spreadsheets of some countries write semicolons."""
    start = text[:10_000].splitlines()[:1]
    names = {column.name for column in spec.columns}

    def known(delimiter: str) -> int:
        return sum(name.strip(' "') in names for line in start for name in line.split(delimiter))

    return max(_DELIMITERS, key=known)
