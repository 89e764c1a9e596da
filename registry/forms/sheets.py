"""`Sheets`: what every form carries, texts by table, row and column, each with the place it was found at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

from guard.files import Unreadable, read_regular
from lake.spec import TableSpec
from lake.tables import GOVERNED
from registry.documents import Fault

SPECS: Mapping[str, TableSpec] = {spec.name: spec for spec in GOVERNED}
"""The tables that are exported, in an order in which every reference is met."""

MAX_FORM_BYTES = 512 * 1024 * 1024
"""How large a form may be, unpacked: it is held in memory while it is checked."""

MAX_FAULTS = 1_000
"""After so many the rest of a file is not looked at; it is the wrong file."""

Texts = Mapping[str, str | None]
"""Column -> text; None or absent where there is no value."""


class FormRefused(ValueError):
    """A file that was not taken, and nothing of it; `faults` names what is wrong, where, and what to do."""

    def __init__(self, source: Path | str, faults: Sequence[Fault]) -> None:
        lines = "\n".join(f"  {fault}" for fault in faults)
        more = ", and those that follow were not looked at" if len(faults) >= MAX_FAULTS else ""
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        super().__init__(f"{source} was refused, nothing was written; {count}{more}:\n{lines}")
        self.source = source
        self.faults = tuple(faults)


class Faults:
    """Collects what is wrong with one source, so that all of it is said at once."""

    def __init__(self, source: Path | str) -> None:
        self.source = source
        self.found: list[Fault] = []

    def add(self, place: str, column: str, problem: str, fix: str) -> None:
        """Note a fault; the one that is too many ends the reading."""
        self.found.append(Fault(place, f"column {column}" if column else "", problem, fix))
        if len(self.found) >= MAX_FAULTS:
            raise FormRefused(self.source, self.found)

    def refuse(self, place: str, problem: str, fix: str) -> NoReturn:
        """Note a fault behind which nothing can be read."""
        self.found.append(Fault(place, "", problem, fix))
        raise FormRefused(self.source, self.found)

    def settle(self) -> None:
        """Refuse the source if anything was wrong."""
        if self.found:
            raise FormRefused(self.source, self.found)


@dataclass(frozen=True, slots=True)
class Line:
    """A row as a form holds it.

    Attributes:
        place: what to call it in a message, such as `role.csv row 3`.
        texts: what its cells say, the form's own escapes undone.
    """

    place: str
    texts: Texts


@dataclass
class Sheets:
    """All that one source holds: per table its lines, and documents that came as documents."""

    lines: dict[str, list[Line]] = field(default_factory=dict)
    documents: list[tuple[str, str, str]] = field(default_factory=list)
    """(place, name in `registry.api_schemas.KINDS`, JSON text)."""


class Form(Protocol):
    """A module that writes tables to files and reads them again."""

    NAME: str

    def recognises(self, path: Path) -> bool:
        """Tell by name and first bytes whether `path` is of this form."""

    def write(self, tables: Mapping[str, Sequence[Texts]], path: Path) -> None:
        """Write tables, each row as its texts."""

    def read(self, path: Path) -> Sheets:
        """Read what `path` holds.

        Raises:
            FormRefused: with everything that is wrong with the form; what its texts mean is looked at later.
        """


def checked_header(names: Iterable[str | None], spec: TableSpec, place: str, faults: Faults) -> list[str]:
    """Return the columns that a first row names; what is wrong with them is added to `faults`."""
    stated = [column.name for column in spec.columns]
    header = [(name or "").strip() for name in names]
    while header and not header[-1]:
        header.pop()
    for number, name in enumerate(header, 1):
        if not name:
            faults.add(place, str(number), "has no name", "name it in the first row or remove it")
        elif name not in stated:
            faults.add(place, name, f"{spec.name} has none of this name", f"use {', '.join(stated)}")
        elif name in header[: number - 1]:
            faults.add(place, name, "stands twice", "remove one of them")
    for name in spec.key:
        if name not in header:
            faults.add(place, name, "is missing", "add it: it is part of the key")
    return header


def read_bytes(path: Path, faults: Faults, spent: int = 0) -> bytes:
    """Return what a file holds, unless all that was read of the form is too large then."""
    try:
        return read_regular(path, max_bytes=MAX_FORM_BYTES - spent, follows_links=True)
    except Unreadable as fault:
        fix = f"export fewer objects at once; {MAX_FORM_BYTES:,} bytes are read" if fault.rule == "too_large" else None
        faults.refuse(path.name, str(fault), fix or "name a file that you may read")


def tables_of(tables: Mapping[str, Sequence[Texts]]) -> Iterator[tuple[TableSpec, Sequence[Texts]]]:
    """Yield every table with its rows, in the order in which references are met."""
    for name, spec in SPECS.items():
        yield spec, tables.get(name, ())
