"""Jobs: the assets that run together.

They run in one process, because starting one per step costs more than the steps.
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def _job(name: str, selection: dg.AssetSelection, description: str) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(name, selection=selection, description=description, executor_def=dg.in_process_executor)


def _everything_but(*keys: str) -> dg.AssetSelection:
    return dg.AssetSelection.all() - dg.AssetSelection.assets(*keys)


_GATES = dg.AssetSelection.checks_for_assets("publication_queue")

LOOP = _job(
    "loop",
    _everything_but("demonstration_stream", "event_log", "purge_receipt"),
    "What landed is ingested, executed, reflected on and shown in the marts.",
)
DEMONSTRATION = _job(
    "demonstration",
    _everything_but("event_log", "purge_receipt"),
    "The loop over eighteen months of simulated accounts payable.",
)
BACKFILL = _job(
    "backfill",
    _everything_but(
        "demonstration_stream", "event_bus", "event_dead_letter", "run_episode", "step_run", "purge_receipt"
    )
    - dg.AssetSelection.checks_for_assets("event_bus"),
    "An event log becomes history, is reflected on and shown in the marts.",
)
INGEST = _job(
    "ingest",
    dg.AssetSelection.assets("registry_pack", "event_bus", "event_dead_letter"),
    "What landed becomes events and dead letters.",
)
DELIVER = _job(
    "deliver",
    dg.AssetSelection.assets("trigger_firings", "outbox"),
    "Schedules and conditions fire, and what was announced becomes events.",
)
EXECUTE = _job(
    "execute",
    dg.AssetSelection.assets("run_episode", "step_run", "telemetry_lake"),
    "Accepted events become episodes.",
)
REFLECT = _job(
    "reflect",
    dg.AssetSelection.assets("reflection_log", "publication_queue") - _GATES,
    "Episodes are reflected on, and what follows is proposed.",
)
JUDGE = _job("gates", _GATES, "Recorded proposals are judged by every gate.")
PUBLISH = _job("publish", dg.AssetSelection.assets("publications"), "What was approved becomes current.")
SERVE = _job(
    "serve",
    dg.AssetSelection.key_prefixes("registry")
    | dg.AssetSelection.groups("staging", "intermediate", "marts", "serving"),
    "What changed is shown in the marts and published.",
)
PURGE = _job(
    "purge",
    dg.AssetSelection.assets("purge_receipt"),
    "What the served plan says is past its limit goes, if the run is not dry; what was derived from it is made anew.",
)
JOBS = (LOOP, DEMONSTRATION, BACKFILL, INGEST, DELIVER, EXECUTE, REFLECT, JUDGE, PUBLISH, SERVE, PURGE)
