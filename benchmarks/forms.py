"""How long 10,000 workflows take out of a registry and into an empty one, by form: `python -m benchmarks.forms`."""

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from guard.canonical import canonical
from lake.tables import OBJECT_VERSION
from registry.access import PLATFORM
from registry.database import SPECS, Registry, insert
from registry.documents import Workflow, read_document
from registry.forms.transfer import FORMS, export, import_
from registry.loader import PACK, load_pack
from registry.objects import rows_of, version_row

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = 5


def workflows(count: int) -> Registry:
    """Return a registry with the shipped pack and `count` workflows of five steps and a trigger."""
    registry = Registry.open(Path(tempfile.mkdtemp()) / "registry.db")
    load_pack(registry, PACK, actor="bench", now=NOW)
    rows = []
    for number in range(count):
        name = f"WF-BENCH-{number:05}"
        steps = [
            {
                "step_id": f"{name}/{step}",
                "sequence": step,
                "action_type": "tool_call",
                "skill_id": "SK-ERP-002",
                "parameters": {"system": "SAP", "action": "Book_Invoice", "note": "…" * step},
                "next_step_logic": {"goto": f"{name}/{step + 1}" if step < STEPS else "END"},
            }
            for step in range(1, STEPS + 1)
        ]
        document = {
            "workflow_id": name,
            "workflow_name": f"Benchmark {number}",
            "objective": "Be carried about",
            "responsible_role_id": "FA-IC-001",
            "version": "1.0.0",
            "steps": steps,
            "triggers": [{"trigger_id": f"TR-{name}", "trigger_type": "schedule", "selector": {"cron": "0 6 * * 1"}}],
        }
        received = read_document(Workflow, canonical(document), name=name)
        rows += [(spec, row) for spec, _, row in rows_of(received, actor="bench", now=NOW)]
        rows.append((OBJECT_VERSION, version_row(received, reason="import", source="bench", actor="bench", now=NOW)))
    with registry.transaction() as connection:
        for spec in SPECS:
            insert(connection, spec, [row for its, row in rows if its is spec])
    return registry


def main(count: int) -> None:
    registry = workflows(count)
    folder = Path(tempfile.mkdtemp())
    for form in FORMS:
        path = folder / {"csv": "csv", "graph": "graph.json"}.get(form, f"all.{form}")
        began = time.perf_counter()
        export(registry, form, path)
        written = time.perf_counter()
        fresh = Registry.open(folder / f"{form}.db")
        import_(fresh, path, operator="bench", principal=lambda: PLATFORM, now=NOW)
        fresh.close()
        done = time.perf_counter()
        files = [path] if path.is_file() else list(path.iterdir())
        size = sum(file.stat().st_size for file in files) / 1e6
        sys.stdout.write(f"{form:6} out {written - began:6.1f} s  in {done - written:6.1f} s  {size:6.1f} MB\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
