"""The code location: every asset, check, job, sensor, schedule and resource, put together.

Importing it opens nothing: no table, no database, no frame is touched before a step runs.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_project.assets import DBT, GROUPS
from dagster_project.checks import CHECKS
from dagster_project.decisions import decide_proposal
from dagster_project.handoffs import HANDOFF_JOBS
from dagster_project.jobs import JOBS
from dagster_project.progress import progress_logger
from dagster_project.resources import platform_resource
from dagster_project.schedules import SCHEDULES
from dagster_project.sensors import SENSORS

FORKSERVER = dg.multiprocess_executor.configured(
    {"max_concurrent": 2, "start_method": {"forkserver": {"preload_modules": ["dagster_project.definitions"]}}}
)


def build_definitions(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions, with `resource_overrides` in place of resources of the same name."""
    assets = [
        definition.map_asset_specs(lambda spec, group=group: spec.replace_attributes(group_name=group))
        for group, definitions in GROUPS.items()
        for definition in definitions
    ]
    return dg.Definitions(
        assets=[*assets, *DBT],
        asset_checks=CHECKS,
        jobs=[*JOBS, *HANDOFF_JOBS, decide_proposal],
        sensors=SENSORS,
        schedules=SCHEDULES,
        resources={"platform": platform_resource, **(resource_overrides or {})},
        executor=FORKSERVER,
        loggers={"console": dg.colored_console_logger, "progress": progress_logger},
    )


defs = build_definitions()
