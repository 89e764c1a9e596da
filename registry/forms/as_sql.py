"""SQL: INSERT statements of literals, which `sqlite3` or `psql` load into the tables that `rwcm ddl` states.

Reading never executes anything: statements are parsed, and whatever is no INSERT of literals into a known table is
refused.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from lake.spec import Column, Kind, TableSpec
from registry.forms.sheets import SPECS, Faults, Line, Sheets, Texts, checked_header, read_bytes, tables_of

NAME = "sql"
DIALECTS = ("sqlite", "postgresql")

_ROWS_PER_STATEMENT = 50
_BARE = frozenset((Kind.INT, Kind.BIGINT, Kind.DOUBLE, Kind.RATIO))
_SCHEMAS = ("", "main", "public")
_TRANSACTION = re.compile(r"(BEGIN|COMMIT|END|START)(\s+TRANSACTION)?", re.IGNORECASE)
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|;|[^'\"\-/;]+|.", re.DOTALL)
_ZONED = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")
_TRUTH = {"1": "true", "0": "false", "t": "true", "f": "false"}


def recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".sql"


def write(tables: Mapping[str, Sequence[Texts]], path: Path, *, dialect: str = "sqlite") -> None:
    """Write a dump; times and bytes are written as `dialect`, one of `DIALECTS`, keeps them."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"-- The governed objects of an RWCM registry, for {dialect}.\nBEGIN;\n")
        for spec, rows in tables_of(tables):
            columns = ", ".join(f'"{column.name}"' for column in spec.columns)
            for start in range(0, len(rows), _ROWS_PER_STATEMENT):
                values = ",\n".join(_row(spec, row, dialect) for row in rows[start : start + _ROWS_PER_STATEMENT])
                file.write(f'INSERT INTO "{spec.name}" ({columns}) VALUES\n{values};\n')
        file.write("COMMIT;\n")


def _row(spec: TableSpec, row: Texts, dialect: str) -> str:
    return f"({', '.join(_literal(column, row.get(column.name), dialect) for column in spec.columns)})"


def _literal(column: Column, text: str | None, dialect: str) -> str:
    if text is None:
        return "NULL"
    if column.kind is Kind.BOOL or column.kind in _BARE:
        return text
    if column.kind is Kind.TIMESTAMP:
        text = text.replace("T", " ").replace("Z", "" if dialect == "sqlite" else "+00")
    if column.kind is Kind.BINARY:
        digits = base64.b64decode(text).hex()
        return f"X'{digits}'" if dialect == "sqlite" else f"'\\x{digits}'"
    if "\r" in text and dialect == "sqlite":  # its shell drops one at the end of a line
        return f"CAST(X'{text.encode().hex()}' AS TEXT)"
    return f"'{text.replace(chr(39), chr(39) * 2)}'"


def read(path: Path) -> Sheets:
    faults = Faults(path)
    sheets = Sheets()
    content = read_bytes(path, faults)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        ends = content.count(b"\n", 0, error.start)
        faults.refuse(f"{path.name} line {ends + 1}", f"byte {error.start} is not UTF-8", "write the dump in UTF-8")
    for position, statement in enumerate(_statements(text), 1):
        if _TRANSACTION.fullmatch(statement):
            continue
        for spec, line in _insert(statement, f"{path.name} statement {position}", faults):
            sheets.lines.setdefault(spec.name, []).append(line)
    faults.settle()
    return sheets


def _statements(text: str) -> Iterator[str]:
    """Yield statements without comments; a semicolon in a literal ends none."""
    parts: list[str] = []
    for match in _TOKEN.finditer(text):
        part = match.group()
        if part == ";":
            if statement := "".join(parts).strip():
                yield statement
            parts = []
        elif not part.startswith(("--", "/*")):
            parts.append(part)
    if statement := "".join(parts).strip():
        yield statement


def _insert(statement: str, place: str, faults: Faults) -> Iterator[tuple[TableSpec, Line]]:
    try:
        tree = sqlglot.parse_one(statement, dialect="sqlite")
    except (SqlglotError, RecursionError) as error:
        problem = str(error).splitlines()[0] if isinstance(error, SqlglotError) else "it is nested too deeply"
        faults.add(place, "", f"is no SQL: {problem}", "write INSERT INTO table (columns) VALUES (literals)")
        return
    target = tree.this if isinstance(tree, exp.Insert) else None
    table = target.this if isinstance(target, exp.Schema) else target
    plain = {"this", "expression"}
    if (
        not isinstance(tree, exp.Insert)
        or not isinstance(table, exp.Table)
        or not isinstance(tree.expression, exp.Values)
        or any(value for name, value in tree.args.items() if name not in plain)
    ):
        faults.add(place, "", "is no plain INSERT", "write INSERT INTO table (columns) VALUES (literals), nothing else")
        return
    spec = SPECS.get(table.name)
    if spec is None or table.db not in _SCHEMAS or table.catalog:
        faults.add(place, "", f"inserts into {table.sql()}", f"use {', '.join(SPECS)}")
        return
    names = [column.name for column in spec.columns]
    if isinstance(target, exp.Schema):
        before = len(faults.found)
        names = checked_header([item.name for item in target.expressions], spec, place, faults)
        if len(faults.found) > before:
            return
    columns = [spec.column(name) for name in names]
    for number, values in enumerate(tree.expression.expressions, 1):
        yield spec, _line(columns, values.expressions, f"{place} row {number}", faults)


def _line(columns: Sequence[Column], values: Sequence[exp.Expression], place: str, faults: Faults) -> Line:
    texts: dict[str, str | None] = {}
    if len(values) != len(columns):
        faults.add(place, "", f"has {len(values)} values for {len(columns)} columns", "give each column its value")
        return Line(place, texts)
    for column, value in zip(columns, values, strict=True):
        try:
            texts[column.name] = _text(column, value)
        except ValueError as fault:
            faults.add(place, column.name, str(fault), "write a literal of the column's kind")
    return Line(place, texts)


def _text(column: Column, value: exp.Expression) -> str | None:
    """Return what a literal says, in the words of `registry.forms.cells`."""
    if isinstance(value, exp.Null):
        return None
    if isinstance(value, exp.Boolean):
        return "true" if value.this else "false"
    if isinstance(value, exp.Neg) and isinstance(value.this, exp.Literal) and not value.this.is_string:
        return f"-{value.this.this}"
    if isinstance(value, exp.HexString) and column.kind is Kind.BINARY:
        return base64.b64encode(bytes.fromhex(value.this)).decode()
    if isinstance(value, exp.Cast) and isinstance(value.this, exp.HexString) and value.is_type("text"):
        return bytes.fromhex(value.this.this).decode()
    if not isinstance(value, exp.Literal):
        raise ValueError(f"is no literal but {value.key.upper()}")
    text = str(value.this)
    if column.kind is Kind.BOOL:
        return _TRUTH.get(text.lower(), text)
    if not value.is_string and column.kind not in _BARE:
        raise ValueError("is a number")
    if column.kind is Kind.TIMESTAMP and not _ZONED.search(text[10:]):
        return f"{text}Z"  # as SQLite keeps them: in UTC
    if column.kind is Kind.BINARY and text.startswith("\\x"):
        return base64.b64encode(bytes.fromhex(text[2:])).decode()
    return text
