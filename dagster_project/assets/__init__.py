"""The index of the pipeline: which assets make up which group.

dbt's models bring their own groups: staging, intermediate and marts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_project.assets import events, execution, governance, learning, marts, registry, retention, telemetry

GROUPS: Mapping[str, Sequence[Any]] = {
    "registry": [registry.registry_pack, registry.registry_mirror, registry.hot_window],
    "events": [events.demonstration_stream, events.ingestion, events.trigger_firings, events.outbox],
    "runs": [execution.event_log, execution.execution, telemetry.telemetry_lake],
    "learning": [learning.reflection_log, learning.publication_queue],
    "governance": [governance.publications],
    "serving": [marts.warehouse, marts.dashboard],
    "retention": [retention.purge_receipt],
}

DBT = [marts.dbt_models]
