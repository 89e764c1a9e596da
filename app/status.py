"""What is in a home: tables with rows, months and bytes, cursors, open work."""

from typing import Any

import duckdb
import sqlalchemy as sa

from app.console import table
from lake.home import Home
from lake.store import Lake
from lake.tables import BATCH, CURSOR, DERIVED, LANDING_FILE, LOGS, MIRRORED, OPEN_EPISODE, OUTBOX, PUBLICATION_QUEUE
from lake.warehouse import WarehouseMissing, read
from registry.database import TABLES, Registry


def describe(home: Home) -> dict[str, Any]:
    """Return what is in the home; nothing is created or changed by looking."""
    found: dict[str, Any] = {"home": str(home.root), "exists": home.has_registry}
    if not found["exists"]:
        return found
    fixed = home.demonstration()
    found["demonstration"] = (
        None if fixed is None else {"as_of": fixed.as_of, "seed": fixed.seed, "events": fixed.events}
    )
    found["lake"] = _lake(Lake(home.lake))
    found["warehouse"] = _warehouse(home)
    registry = Registry.open(home.registry)
    with registry.read() as connection:
        found["registry"] = {name: _count(connection, name) for name in TABLES}
        cursor = TABLES[CURSOR.name]
        stages = sa.select(cursor.c.stage, sa.func.count(), sa.func.max(cursor.c.position)).group_by(cursor.c.stage)
        found["cursors"] = {stage: {"months": n, "latest": last} for stage, n, last in connection.execute(stages)}
        found["open_work"] = {
            "files_waiting": sum(1 for path in (home.landing / "inbox").glob("*") if not path.name.startswith(".")),
            "files_kept_for_dead_letters": _count(connection, LANDING_FILE.name, state="kept"),
            "batches_open": _count(connection, BATCH.name, state="open"),
            "events_waiting_in_outbox": _count(connection, OUTBOX.name, batch_id=None),
            "events_kept_for_dead_letters": _refused_events(connection),
            "episodes_waiting": _count(connection, OPEN_EPISODE.name),
            "proposals_pending": _count(connection, PUBLICATION_QUEUE.name, decision="pending"),
        }
    registry.close()
    return found


def _count(connection: sa.Connection, name: str, **equal: str | None) -> int:
    query = sa.select(sa.func.count()).select_from(TABLES[name]).filter_by(**equal)
    return connection.execute(query).scalar_one()


def _refused_events(connection: sa.Connection) -> int:
    """Return how many announced events were refused: they stay in the outbox when their batch is done."""
    outbox, batch = TABLES[OUTBOX.name], TABLES[BATCH.name]
    stamped = sa.select(sa.func.count()).select_from(outbox).join(batch, batch.c.batch_id == outbox.c.batch_id)
    return connection.execute(stamped.where(batch.c.state == "done")).scalar_one()


def _lake(lake: Lake) -> dict[str, Any]:
    tables = {}
    for spec in (*LOGS, *MIRRORED, *DERIVED):
        stats = lake.stats(spec)
        months = sorted(month for month in stats if month)
        tables[spec.name] = {
            "rows": sum(size.rows for size in stats.values()),
            "bytes": sum(size.bytes for size in stats.values()),
            "files": sum(size.files for size in stats.values()),
            "months": len(months),
            "first_month": f"{months[0]:%Y-%m}" if months else None,
            "last_month": f"{months[-1]:%Y-%m}" if months else None,
            "delta_version": lake.version(spec),
        }
    return tables


def _warehouse(home: Home) -> dict[str, Any] | None:
    try:
        with read(home.served_db) as warehouse:
            rows = warehouse.execute(
                "select schema_name || '.' || table_name, estimated_size from duckdb_tables()"
            ).fetchall()
    except (WarehouseMissing, duckdb.Error):
        return None
    return {"path": str(home.served_db), "bytes": home.served_db.stat().st_size, "tables": dict(rows)}


def render(found: dict[str, Any]) -> str:
    """Return the description as text for people."""
    if not found["exists"]:
        return f"{found['home']} is empty; `make run` fills it."
    lines = [f"home {found['home']}"]
    if fixed := found["demonstration"]:
        lines.append(f"demonstration as of {fixed['as_of']:%Y-%m-%d %H:%M} UTC, seed {fixed['seed']}")
    lines += ["", "lake"]
    heading = ("table", "rows", "months", "from", "to", "bytes", "files", "version")
    rows = [
        (
            name,
            f"{size['rows']:,}",
            str(size["months"] or ""),
            size["first_month"] or "",
            size["last_month"] or "",
            f"{size['bytes']:,}",
            str(size["files"]),
            "" if size["delta_version"] is None else str(size["delta_version"]),
        )
        for name, size in found["lake"].items()
        if size["delta_version"] is not None
    ]
    lines.append(table([heading, *rows]))
    if warehouse := found["warehouse"]:
        lines += ["", f"warehouse {warehouse['path']} ({warehouse['bytes']:,} bytes)"]
        lines.append(table([(name, f"{count:,}") for name, count in sorted(warehouse["tables"].items())]))
    if found["cursors"]:
        lines += ["", "cursors"]
        lines.append(table([(stage, str(at["months"]), at["latest"]) for stage, at in found["cursors"].items()]))
    lines += ["", "open work"]
    lines.append(table([(name.replace("_", " "), f"{count:,}") for name, count in found["open_work"].items()]))
    return "\n".join(lines)
