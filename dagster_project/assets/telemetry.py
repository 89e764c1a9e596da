"""The telemetry lake's asset: what steps measured, as files by day."""

import dagster as dg

from dagster_project.partitions import MONTHLY, ONE_RUN, months_of, partition_keys
from dagster_project.platform import Platform
from runtime.telemetry import FILE, export_telemetry


@dg.asset(
    deps=["step_run", "event_log"],
    partitions_def=MONTHLY,
    backfill_policy=ONE_RUN,
    pool="telemetry_lake",
    kinds={"json", "polars"},
    owners=["team:platform"],
)
def telemetry_lake(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Every attempt of a step with its telemetry verbatim, one JSON text per line, in a folder per day.

    Derived from step_run: a month whose rows changed, or that is asked for, is written again.
    """
    done = export_telemetry(
        platform.lake, platform.registry, platform.home.telemetry, now=platform.now(), months=months_of(context)
    )
    for key in partition_keys(set(done.rows) - set(months_of(context))):
        context.log_event(dg.AssetMaterialization(telemetry_lake.key, partition=key))
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(f"{platform.home.telemetry}/yyyy=*/mm=*/dd=*/{FILE}"),
            "rows_written": sum(done.rows.values()),
            "days_written": done.days,
            "months_written": dg.MetadataValue.json([f"{month:%Y-%m}" for month in sorted(done.rows)]),
        }
    )
