"""Export and import: an export is a consistent snapshot, an import is taken whole or not at all."""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from lake.spec import TableSpec
from lake.tables import OBJECT_VERSION
from registry.database import TABLES, Registry, fetch
from registry.forms import as_csv, as_graph, as_json, as_sql, as_xlsx
from registry.forms.assembly import Content, understand
from registry.forms.cells import to_text
from registry.forms.entry import is_empty, propose, restore
from registry.forms.sheets import SPECS, Faults, Form, Sheets, Texts
from registry.permissions import Principal

FORMS: Mapping[str, Form] = {form.NAME: form for form in (as_json, as_csv, as_xlsx, as_sql, as_graph)}

log = logging.getLogger("rwcm.forms")


class UnknownForm(ValueError):
    """A path that no form recognises."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is of no known form; name one with --format: {', '.join(FORMS)}"
            if path.exists()
            else f"there is no {path}; name a file, or the folder of a CSV export"
        )
        self.path = path


class TargetExists(ValueError):
    """A path that holds something already."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists and is not overwritten; name another path or move it away")
        self.path = path


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        is_restore: whether it restored an empty registry; otherwise everything became a draft.
        rows: table -> rows restored.
        proposed: documents queued as drafts.
        unchanged: documents that the registry holds as they are.
    """

    is_restore: bool
    rows: Mapping[str, int]
    proposed: int = 0
    unchanged: int = 0


def snapshot(connection: sa.Connection) -> dict[str, list[Texts]]:
    """Return every governed table as texts, rows in the order of their keys."""
    tables: dict[str, list[Texts]] = {}
    for spec in SPECS.values():
        table = TABLES[spec.name]
        rows = fetch(connection, sa.select(*(table.c[column.name] for column in spec.columns)))
        texts = [
            {column.name: to_text(column, value) for column, value in zip(spec.columns, row, strict=True)}
            for row in rows
        ]
        tables[spec.name] = sorted(texts, key=partial(_key_of, spec))
    return tables


def _key_of(spec: TableSpec, row: Texts) -> tuple[str, ...]:
    """Return what orders rows, the same on every engine and under every collation; numbers by their length first."""
    values = [row[name] or "" for name in spec.key]
    return tuple(f"{len(value):03}{value}" if value.isdecimal() else value for value in values)


def export(registry: Registry, form: str, path: Path, *, dialect: str | None = None) -> dict[str, int]:
    """Write all governed tables to `path` and return the rows of each.

    Args:
        form: one of `FORMS`.
        dialect: that of an SQL dump; by default the registry's own.

    Raises:
        TargetExists: nothing is overwritten.
    """
    if path.exists():
        raise TargetExists(path)
    with registry.read() as connection:
        tables = snapshot(connection)
        dialect = dialect or connection.dialect.name
    log.info("writing %d rows as %s", sum(map(len, tables.values())), form)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    _remove(unfinished)
    try:
        if form == as_sql.NAME:
            as_sql.write(tables, unfinished, dialect=dialect)
        else:
            FORMS[form].write(tables, unfinished)
        unfinished.rename(path)
    finally:
        _remove(unfinished)
    return {name: len(rows) for name, rows in tables.items()}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def form_of(path: Path) -> str:
    """Return the form of a path, by its name and first bytes.

    Raises:
        UnknownForm: it is of none.
    """
    for name, form in FORMS.items():
        if path.exists() and form.recognises(path):
            return name
    raise UnknownForm(path)


def read(path: Path, form: str | None = None) -> tuple[Content, Faults]:
    """Return what a path holds, looked at on its own.

    Raises:
        FormRefused: with everything that is wrong with it.
        UnknownForm: no form was named and none recognises it.
    """
    name = form or form_of(path)
    if not path.exists():
        raise UnknownForm(path)
    log.info("reading %s as %s", path, name)
    sheets: Sheets = FORMS[name].read(path)
    faults = Faults(path)
    return understand(sheets, faults), faults


def import_(
    registry: Registry,
    path: Path,
    *,
    form: str | None = None,
    operator: str,
    principal: Callable[[], Principal],
    now: datetime,
) -> Imported:
    """Take what `path` holds: an empty registry is restored from an export, anything else becomes drafts.

    To restore is to say what is current without a publication, so it is for the operator, who has the file and the
    database, and for a registry that holds nothing yet.

    Args:
        operator: whom the audit names for a restore.
        principal: tells who proposes; asked only where drafts are made.

    Raises:
        FormRefused: with everything that is wrong; nothing was written.
        UnknownForm: no form was named and none recognises it.
        Denied: the principal may not propose one of the documents.
    """
    content, faults = read(path, form)
    with registry.read() as connection:
        is_restore = content.has_versions and is_empty(connection)
    if is_restore:
        log.info("restoring %d versions", len(content.rows[OBJECT_VERSION.name]))
        return Imported(True, restore(registry, content, faults, source=path.name, actor=operator, now=now))
    log.info("proposing %d documents", len(content.documents))
    proposed = propose(registry, content.documents, faults, principal=principal(), now=now)
    return Imported(False, {}, proposed, len(content.documents) - proposed)
