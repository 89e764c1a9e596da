"""What dlt takes for the same events: NDJSON into Delta tables on a file system under a schema contract.

It runs in an environment of its own, since dlt is no dependency of this project: `make bench` makes it from
benchmarks/constraints.txt. Nothing is redacted and nothing de-duplicated here, which is in dlt's favour.

    python peer_dlt.py FOLDER_OF_NDJSON FOLDER_TO_WRITE json|typed

`json` keeps a payload as one JSON column that nothing checks; `typed` holds each of its members against the contract,
in a table per topic. It prints rows, seconds and seconds of CPU as JSON.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt  # it reads its settings when it is imported
import orjson

PAGE = 10_000
ENVELOPE = {
    "event_id": {"data_type": "text", "nullable": False},
    "topic": {"data_type": "text", "nullable": False},
    "produced_at": {"data_type": "timestamp", "nullable": False},
    "producer_id": {"data_type": "text", "nullable": False},
    "month": {"data_type": "text", "nullable": False, "partition": True},
}
TEXTS = (
    *("invoice_uri", "vendor_id", "po_id", "sender", "subject_id", "decision", "decided_by", "reason", "user_id"),
    *("candidate_id", "role_id"),
)
MEMBERS = {
    **{f"payload__{name}": {"data_type": "text"} for name in TEXTS},
    "payload__received_at": {"data_type": "timestamp"},
    "payload__dt": {"data_type": "timestamp"},
    "payload__start_date": {"data_type": "date"},
    "payload__accounts": {"data_type": "json"},
}
FORMS: dict[str, dict[str, Any]] = {
    "json": {
        "name": "event_bus",
        "max_table_nesting": 0,
        "columns": ENVELOPE | {"payload": {"data_type": "json", "nullable": False}},
    },
    "typed": {
        "name": "event_bus",
        "table_name": lambda event: event["topic"],
        "columns": ENVELOPE | MEMBERS,
    },
}


def main(source: Path, target: Path, form: str) -> None:
    @dlt.resource(
        table_format="delta",
        write_disposition="append",
        schema_contract={"tables": "evolve", "columns": "freeze", "data_type": "freeze"},
        **FORMS[form],
    )
    def events() -> Iterator[list[dict[str, Any]]]:
        for path in sorted(source.glob("*.ndjson")):
            page = []
            with path.open("rb") as lines:
                for line in lines:
                    event = orjson.loads(line)
                    event["month"] = event["produced_at"][:7]
                    page.append(event)
                    if len(page) == PAGE:
                        yield page
                        page = []
            yield page

    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(target / "working"),
        destination=dlt.destinations.filesystem(bucket_url=(target / "lake").as_uri()),
        dataset_name="bench",
    )
    start, before = time.perf_counter(), os.times()
    pipeline.run(events())
    seconds, after = time.perf_counter() - start, os.times()
    counts = pipeline.last_trace.last_normalize_info.row_counts
    rows = sum(count for table, count in counts.items() if not table.startswith("_dlt"))
    json.dump({"rows": rows, "seconds": seconds, "of_cpu": sum(after[:4]) - sum(before[:4])}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
