"""Metadata: how tables, counts and accounting are shown in the Dagster UI. Keys and counts, never values."""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

import dagster as dg

from dagster_project.partitions import months_of, partition_keys
from dagster_project.platform import Platform
from dagster_project.plots import image, stacked_bars
from ingest.commit import Accounting
from ingest.lateness import LABELS, lateness
from lake.months import Month
from lake.spec import MONTH, TableSpec
from registry.diagrams import graph_of, to_svg
from registry.documents import Workflow
from runtime.handoffs import handoffs

PARTITION_ROWS = "dagster/partition_row_count"
"""Marks the materialisation of a single month, which stands beside that of the asset's own step."""

MOST_PICTURES = 40
MOST_HANDOFFS = 50
_TYPES = {"text": "string", "json": "string (JSON)", "bool": "boolean", "double": "double", "ratio": "double (0..1)"}


def column_schema(spec: TableSpec) -> dg.TableSchema:
    """Return the table's columns as Dagster shows them."""
    columns = [
        dg.TableColumn(
            column.name,
            _TYPES.get(column.kind.value, column.kind.value),
            description=column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=spec.key == (column.name,)),
            tags={"pii": ""} if column.pii else None,
        )
        for column in spec.columns
    ]
    if spec.is_monthly:
        columns.append(dg.TableColumn(MONTH, "date", description=f"Month of {spec.time_column}; the partition."))
    return dg.TableSchema(columns=columns)


def table_spec(spec: TableSpec, **options: Any) -> dg.AssetSpec:
    """Return the asset of a lake table, with the description, columns and kind that its spec states."""
    return dg.AssetSpec(
        **{
            "key": spec.name,
            "description": f"{spec.description}\n\nGrain: {spec.grain}. Key: {', '.join(spec.key)}.",
            "kinds": {"deltalake", "polars"},
            "metadata": {"dagster/column_schema": column_schema(spec), "dagster/table_name": f"lake.{spec.name}"},
            **options,
        }
    )


def accounting(records: Accounting) -> dict[str, int]:
    """Return what became of the records read; read = accepted + rejected + duplicates."""
    return {
        "records_read": records.read,
        "records_accepted": records.accepted,
        "records_rejected": records.rejected,
        "records_duplicate": records.duplicates,
    }


def touched(
    context: dg.AssetExecutionContext, platform: Platform, spec: TableSpec, rows: Mapping[Month, int]
) -> dict[str, Any]:
    """Log a materialisation of every month that the run touched beyond its own, and return the metadata of the whole.

    A batch holds what came, whatever month it belongs to; Dagster records by itself only the months that the run was
    asked for. Months before the first partition are in the metadata alone.
    """
    held = platform.lake.stats(spec)
    total = sum(size.rows for size in held.values())
    asked = set(months_of(context))
    for month in sorted(set(rows) - asked):
        if partition_keys([month]):
            size = held.get(month)
            context.log_event(
                dg.AssetMaterialization(
                    spec.name,
                    partition=month.isoformat(),
                    metadata={
                        "rows_added": rows[month],
                        PARTITION_ROWS: size.rows if size else 0,
                        "dagster/row_count": total,
                        "bytes": size.bytes if size else 0,
                    },
                )
            )
    months = [f"{month:%Y-%m}" for month in sorted(rows)]
    return {
        "rows_added": sum(rows.values()),
        "months_touched": dg.MetadataValue.json(months),
        "dagster/row_count": total,
        "bytes": sum(size.bytes for size in held.values()),
        **({"delta_version": version} if (version := platform.lake.version(spec)) is not None else {}),
    }


def timeliness(platform: Platform, months: Collection[Month]) -> dict[str, Any]:
    """Return how late the events of `months` came, by topic: watermark, median, and a plot of their shares."""
    found = lateness(platform.lake, months) if months else []
    if not found:
        return {}
    plot = stacked_bars("How long after they happened events arrived", LABELS, [(t.topic, t.events) for t in found])
    records = [
        dg.TableRecord(
            {
                "topic": topic.topic,
                "watermark": topic.watermark.isoformat(),
                "median_late_s": topic.median_s,
                **dict(zip(LABELS, topic.events, strict=True)),
            }
        )
        for topic in found
    ]
    return {
        "watermark": dg.MetadataValue.timestamp(max(topic.watermark for topic in found)),
        "lateness": dg.MetadataValue.table(records=records),
        "lateness_plot": image(plot, "lateness by topic"),
    }


def inbox(platform: Platform) -> dict[str, Any]:
    """Return what waits for a person: how much, and the first `MOST_HANDOFFS` by when they are due."""
    waiting = handoffs(platform.registry)
    records = [
        dg.TableRecord(
            {
                "handoff": handoff.handoff_id,
                "workflow": handoff.workflow_id,
                "step": handoff.step_id,
                "owner": handoff.owner_role_id,
                "waits since": handoff.waiting_since.isoformat(timespec="minutes"),
                "due": handoff.due_at.isoformat(timespec="minutes"),
            }
        )
        for handoff in waiting[:MOST_HANDOFFS]
    ]
    table = {"handoffs": dg.MetadataValue.table(records=records)} if records else {}
    return {"handoffs_waiting": len(waiting), **table}


def pictures(workflows: Iterable[Workflow]) -> dict[str, dg.MetadataValue]:
    """Return a picture of each workflow, by its id; of the first `MOST_PICTURES`, since a run's log keeps them.

    Dagster's UI draws no Mermaid in Markdown, but it lets an image through that lies in its own address.
    """
    return {
        workflow.workflow_id: image(to_svg(graph_of(workflow)), workflow.workflow_id)
        for workflow in islice((workflow for workflow in workflows if workflow.steps), MOST_PICTURES)
    }
