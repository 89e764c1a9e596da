"""The events' assets: the demonstration's stream into the landing zone, and what ingestion makes of what landed."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from dagster_project.metadata import accounting, table_spec, timeliness, touched
from dagster_project.partitions import MONTHLY, ONE_RUN
from dagster_project.platform import Platform
from ingest.demonstration import land_demonstration, land_further
from ingest.events import ingest_landing
from ingest.outbox import deliver_outbox
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER, LOGS, OUTBOX
from runtime.triggers import fire


class DemonstrationConfig(dg.Config):
    """What the demonstration follows from; the first run of a home fixes it."""

    events: int = Field(default=20_000, ge=100, le=5_000_000, description="Records to land.")
    seed: int = Field(default=7, description="Another seed gives other vendors, invoices and faults.")
    goes_on: bool = Field(default=False, description="Land what arrives after the eighteen months as well, once.")


@dg.asset(kinds={"python"}, owners=["team:finance"])
def demonstration_stream(config: DemonstrationConfig, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Eighteen months of an accounts payable department, landed once; for homes that are a demonstration only.

    A home into which real events came before refuses it.
    """
    if platform.demonstration is None and platform.lake.stats(EVENT_BUS):
        raise dg.Failure(
            f"{platform.home.root} holds events already; run the demonstration in a home of its own: set RWCM_HOME",
            allow_retries=False,
        )
    fixed = platform.home.fix(as_of=datetime.now(UTC), seed=config.seed, events=config.events)
    stream = land_demonstration(platform.home, platform.landing, fixed)
    if config.goes_on:
        fixed = platform.home.go_on(datetime.now(UTC))
        landed = land_further(platform.home, platform.landing, fixed)
        return dg.MaterializeResult(metadata={"landed": bool(landed), "records": landed, "seed": fixed.seed})
    if stream is None:
        return dg.MaterializeResult(metadata={"landed": False, "as_of": fixed.as_of.isoformat(), "seed": fixed.seed})
    return dg.MaterializeResult(
        metadata={
            "landed": True,
            "as_of": fixed.as_of.isoformat(),
            "seed": fixed.seed,
            "files": stream.files,
            "records": stream.records,
            "planned": dg.MetadataValue.json(dict(stream.planned)),
        }
    )


@dg.multi_asset(
    specs=[
        table_spec(
            spec, deps=["registry_pack", "demonstration_stream"], partitions_def=MONTHLY, owners=["team:platform"]
        )
        for spec in (EVENT_BUS, EVENT_DEAD_LETTER)
    ],
    partitions_def=MONTHLY,
    backfill_policy=ONE_RUN,
    pool="delta_event_bus",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
)
def ingestion(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult]:
    """Everything that waits in the landing zone becomes events or dead letters, each record exactly once.

    A file holds events of several months, so a run takes what is there and records every month that it touched.
    """
    platform.lake.ensure(LOGS)
    begin = time.monotonic()
    done = ingest_landing(
        platform.landing, registry=platform.registry, lake=platform.lake, door=platform.door, now=platform.now()
    )
    rate = done.records.read / max(time.monotonic() - begin, 0.001)
    whole = {
        "batches": done.batches,
        "files": done.files,
        **accounting(done.records),
        "records_per_second": round(rate),
        "refused_share": done.records.rejected / done.records.read if done.records.read else 0.0,
    }
    for spec in (EVENT_BUS, EVENT_DEAD_LETTER):
        metadata = touched(context, platform, spec, done.rows.get(spec.name, {}))
        own = (
            {"rules": dg.MetadataValue.json(dict(done.rules))}
            if spec is EVENT_DEAD_LETTER
            else {
                **timeliness(platform, done.rows.get(spec.name, {})),
                "members_discarded": dg.MetadataValue.json({topic: dict(n) for topic, n in done.discarded.items()}),
                "schemas_proposed": dg.MetadataValue.json(done.proposed),
            }
        )
        yield dg.MaterializeResult(asset_key=spec.name, metadata={**metadata, **whole, **own})


@dg.asset(deps=["registry_pack"], kinds={"python", "duckdb"}, owners=["team:platform"])
def trigger_firings(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Schedules whose time has come and rows of the served marts that meet a condition are announced, each once.

    The marts are those of the last publication: that conditions look at what the loop made is what closes it.
    """
    done = fire(platform.registry, platform.home.served_db, now=platform.now())
    return dg.MaterializeResult(metadata={"schedules_fired": done.schedules, "conditions_fired": done.conditions})


@dg.asset(
    deps=["registry_pack", "trigger_firings", "event_bus", "event_log", "publication_queue", "publications"],
    kinds={"sqlite", "deltalake"},
    owners=["team:platform"],
    pool="delta_event_bus",
)
def outbox(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """What the registry announced is delivered to `event_bus`: who changed what, who was refused, what is proposed.

    It comes last of all that announces, so that a run leaves nothing waiting; what an event triggers runs next.
    """
    platform.lake.ensure(LOGS)
    done = deliver_outbox(platform.registry, platform.lake, platform.inner_door(), now=platform.now())
    for spec in (EVENT_BUS, EVENT_DEAD_LETTER):
        if rows := done.rows.get(spec.name):
            touched(context, platform, spec, rows)
    return dg.MaterializeResult(
        metadata={
            "batches": done.batches,
            **accounting(done.records),
            "rules": dg.MetadataValue.json(dict(done.rules)),
            "kept_for_dead_letters": platform.registry.frame(OUTBOX).height,
        }
    )
