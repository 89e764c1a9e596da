"""The runs' assets: episodes that the engine executes, and history that an event log tells of."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from pydantic import Field

from dagster_project.metadata import accounting, inbox, table_spec, touched
from dagster_project.partitions import MONTHLY, ONE_RUN, months_of
from dagster_project.platform import Platform
from ingest.history import import_log
from ingest.logs import ColumnMapping, UnreadableLog
from lake.tables import LOGS, RUN_EPISODE, STEP_RUN
from runtime.execution import execute_pending

_RUNS = (RUN_EPISODE, STEP_RUN)


class EventLogConfig(dg.Config):
    """The event log to import."""

    path: str = Field(default="", description="XES or CSV file, plain or gzipped; empty imports nothing.")
    name: str = Field(
        default="", description="Names the log and its workflow WF-LOG-<name>; by default the file's name."
    )
    time_zone: str = Field(default="UTC", description="Zone of times that state none.")
    case_column: str = Field(default="", description="CSV column of the case; known headings are found without.")
    activity_column: str = Field(default="", description="CSV column of the activity.")
    time_column: str = Field(default="", description="CSV column of the time.")
    time_format: str = Field(default="", description="Format of times (strptime) where day and month are ambiguous.")

    def mapping(self) -> ColumnMapping | None:
        try:
            return ColumnMapping.named(
                case=self.case_column,
                activity=self.activity_column,
                time=self.time_column,
                time_format=self.time_format,
            )
        except ValueError as fault:
            raise dg.Failure(str(fault), allow_retries=False) from fault


@dg.asset(deps=["registry_pack"], kinds={"xml", "csv", "polars"}, owners=["team:analytics"])
def event_log(
    context: dg.AssetExecutionContext, config: EventLogConfig, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult:
    """History of another system: an event log whose cases become episodes and whose events become step runs."""
    if not config.path:
        return dg.MaterializeResult(metadata={"imported": False, "way_out": "name a log in the run's config: path"})
    platform.lake.ensure(LOGS)
    try:
        done = import_log(
            Path(config.path),
            lake=platform.lake,
            registry=platform.registry,
            now=platform.now(),
            name=config.name or None,
            mapping=config.mapping(),
            time_zone=config.time_zone,
        )
    except UnreadableLog as fault:
        raise dg.Failure(str(fault), allow_retries=False) from fault
    for spec in _RUNS:
        touched(context, platform, spec, done.rows[spec.name])
    return dg.MaterializeResult(
        metadata={
            "imported": True,
            "workflow_id": done.workflow_id,
            "cases": done.cases,
            "new_cases": done.new_cases,
            **accounting(done.records),
            "rules": dg.MetadataValue.json(dict(done.rules)),
        }
    )


@dg.multi_asset(
    specs=[
        table_spec(spec, deps=["event_bus", "event_log"], partitions_def=MONTHLY, owners=["team:platform"])
        for spec in _RUNS
    ],
    partitions_def=MONTHLY,
    backfill_policy=ONE_RUN,
    pool="delta_run_episode",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
)
def execution(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult]:
    """Accepted events that start a workflow become episodes; episodes whose wait has ended go on.

    A run of a month looks at that month's events again and runs those that have no episode.
    """
    done = execute_pending(
        platform.lake, platform.registry, skills=platform.skills, now=platform.now(), months=months_of(context)
    )
    outcomes = {f"episodes_{outcome}": count for outcome, count in sorted(done.outcomes.items())}
    for spec in _RUNS:
        metadata = touched(context, platform, spec, done.rows[spec.name])
        if spec is RUN_EPISODE:
            metadata |= inbox(platform)
        yield dg.MaterializeResult(asset_key=spec.name, metadata={**metadata, "batches": done.batches, **outcomes})
