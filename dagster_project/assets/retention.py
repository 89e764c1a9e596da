"""The purge's asset: what is past its limit goes, table by table in the table's pool, and leaves receipts.

Dry by default: the receipts then say what would go.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from dagster_project.metadata import column_schema
from dagster_project.platform import Platform
from dagster_project.purging import GONE, TABLES, derive_anew, planned, purge_table
from lake.months import parse_month
from lake.tables import PURGE_RECEIPT
from lake.warehouse import WarehouseMissing
from registry.purging import Outcome, StalePlan

ACTOR = "dagster"
"""Who acts where Dagster does: whoever may write the home may run its jobs (docs/adr/0005)."""

_POOLS = {"event_dead_letter": "delta_event_bus", "step_run": "delta_run_episode", "landing": "delta_event_bus"}
"""Tables that others than their own pool's runs write."""


class PurgeConfig(dg.Config):
    """Whether a purge takes anything."""

    dry_run: bool = Field(default=True, description="Say what would go, and leave everything as it is.")


def _purging(table_name: str) -> dg.OpDefinition:
    @dg.op(
        name=f"purge_{table_name}",
        ins={"before": dg.In(list)},
        out=dg.Out(list),
        pool=_POOLS.get(table_name, f"delta_{table_name}"),
        description=f"Purge what the plan says of {table_name}.",
    )
    def purging(
        config: PurgeConfig, platform: dg.ResourceParam[Platform], before: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        try:
            candidates = planned(platform)
            done = purge_table(platform, table_name, candidates, is_dry=config.dry_run, actor=ACTOR)
        except WarehouseMissing:
            return before  # nothing was ever published: there is no plan, and nothing that is past
        except StalePlan as fault:
            raise dg.Failure(str(fault), allow_retries=False) from fault
        return [*before, *map(_told, done)]

    return purging


def _told(outcome: Outcome) -> dict[str, Any]:
    candidate = outcome.candidate
    return {
        "table": candidate.table_name,
        "month": f"{candidate.month:%Y-%m}",
        "class": candidate.retention,
        "became": outcome.became,
        "rows": candidate.rows,
        "bytes": outcome.bytes,
        "recorded_through": candidate.through_on.isoformat(),
        "limit_days": candidate.limit_days,
        "policy": candidate.kept_by or candidate.policy_id,
        "held_by": ", ".join(candidate.held_by),
    }


PURGES = [_purging(table_name) for table_name in TABLES]


@dg.op(out=dg.Out(list), description="What the purges of the tables add to.")
def begin() -> list[dict[str, Any]]:
    """Return an empty list: each table adds what became of its candidates."""
    return []


@dg.op(pool="duckdb_build", description="Make everything that was derived from what went anew, and say what became.")
def purged(
    config: PurgeConfig, platform: dg.ResourceParam[Platform], told: list[dict[str, Any]]
) -> Iterator[dg.Output[None]]:
    gone = [(row["table"], parse_month(row["month"])) for row in told if row["became"] in GONE]
    is_derived = not config.dry_run and derive_anew(platform, gone)
    receipts = sum(size.rows for size in platform.lake.stats(PURGE_RECEIPT).values())
    went = [row for row in told if row["became"] in ("purged", "would go")]
    yield dg.Output(
        None,
        metadata={
            "is_dry": config.dry_run,
            "candidates": dg.MetadataValue.table(records=[dg.TableRecord(row) for row in told], schema=_SCHEMA),
            "months": len(went),
            "rows": sum(row["rows"] for row in went),
            "bytes": sum(row["bytes"] for row in went),
            "held": sum(row["became"] == "held" for row in told),
            "marts_made_anew": is_derived,
            "dagster/row_count": receipts,
        },
    )


_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn(name, "int" if name in ("rows", "bytes", "limit_days") else "string")
        for name in (
            "table",
            "month",
            "class",
            "became",
            "rows",
            "bytes",
            "recorded_through",
            "limit_days",
            "policy",
            "held_by",
        )
    ]
)


@dg.config_mapping
def _for_each_table(config: PurgeConfig) -> dict[str, Any]:
    own = {"config": {"dry_run": config.dry_run}}
    return {op.name: own for op in (*PURGES, purged)}


@dg.graph_asset(
    description=f"{PURGE_RECEIPT.description} Dry by default.\n\nGrain: {PURGE_RECEIPT.grain}.",
    config=_for_each_table,
    metadata={"dagster/column_schema": column_schema(PURGE_RECEIPT), "dagster/table_name": "lake.purge_receipt"},
    kinds={"deltalake"},
    owners=["team:platform"],
)
def purge_receipt() -> Any:
    """Purge by the served `purge_candidates`: each table in its pool, then what was derived from it."""
    told = begin()
    for op in PURGES:
        told = op(told)
    return purged(told)
