"""The learning's assets: reflections on what ran, and the proposals that follow."""

import dagster as dg

from dagster_project.metadata import column_schema, table_spec, touched
from dagster_project.partitions import MONTHLY, ONE_RUN, months_of
from dagster_project.platform import Platform
from lake.tables import PUBLICATION_QUEUE, REFLECTION_LOG
from synthesis.learning import propose, reflect

_REFLECTION = table_spec(REFLECTION_LOG)


@dg.asset(
    deps=["run_episode", "step_run", "event_log"],
    description=_REFLECTION.description,
    metadata=_REFLECTION.metadata,
    kinds=_REFLECTION.kinds,
    partitions_def=MONTHLY,
    backfill_policy=ONE_RUN,
    pool="delta_reflection_log",
    owners=["team:analytics"],
)
def reflection_log(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Reflect on the months of episodes that changed; a month that is asked for is reflected on again."""
    done = reflect(platform.lake, platform.registry, now=platform.now(), months=months_of(context))
    metadata = touched(context, platform, REFLECTION_LOG, done.rows)
    return dg.MaterializeResult(metadata={**metadata, "months_reflected_on": len(done.months)})


@dg.asset(
    deps=["reflection_log"],
    description=f"{PUBLICATION_QUEUE.description}\n\nGrain: {PUBLICATION_QUEUE.grain}.",
    metadata={"dagster/column_schema": column_schema(PUBLICATION_QUEUE)},
    kinds={"sqlite", "polars"},
    owners=["team:analytics"],
)
def publication_queue(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Queue the changes that follow from sustained variance, with their evidence; each once."""
    done = propose(platform.lake, platform.registry, now=platform.now())
    queue = platform.registry.frame(PUBLICATION_QUEUE)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": queue.height,
            "pending": queue.filter(queue["decision"] == "pending").height,
            "proposals_found": done.found.total(),
            "proposals_new": done.new.total(),
        }
    )
