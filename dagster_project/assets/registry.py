"""The registry's assets: the shipped pack in the database, and the lake's copy of what is governed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from dagster_project.metadata import column_schema, pictures
from dagster_project.platform import Platform, why_no_hot_window
from dagster_project.purging import mirrored_frames
from lake.tables import DERIVED, MIRRORED, WORKFLOW
from registry.cursors import remember
from registry.documents import Workflow
from registry.hot_window import counts, refresh
from registry.loader import PACK, load_pack
from registry.objects import current_documents
from registry.versions import BOOTSTRAP

MIRROR = "mirror"
"""The cursor of what the lake's copy of the registry was made from."""


@dg.asset(kinds={"sqlite", "json"}, owners=["team:platform"])
def registry_pack(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Roles, skills, policies, event schemas, agents, ontology and workflows that are shipped, put into the registry.

    Only what is absent is added: what a publication changed is never overruled by a file.
    """
    loaded = load_pack(platform.registry, PACK, actor=BOOTSTRAP, now=datetime.now(UTC))
    return dg.MaterializeResult(
        metadata={
            "changed": loaded.changed,
            "pack_digest": loaded.digest,
            **{f"{kind}_added": count for kind, count in loaded.documents.items()},
        },
        data_version=dg.DataVersion(loaded.digest),
    )


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            ["registry", spec.name],
            deps=["registry_pack", "run_episode", "publication_queue", "publications", "outbox"],
            description=f"Copy of the registry's table for the marts. {spec.description}\n\nGrain: {spec.grain}.",
            kinds={"deltalake"},
            owners=["team:platform"],
            metadata={"dagster/column_schema": column_schema(spec), "dagster/table_name": f"lake.{spec.name}"},
        )
        for spec in (*MIRRORED, *DERIVED)
    ],
    pool="registry_mirror",
)
def registry_mirror(platform: dg.ResourceParam[Platform]) -> Iterator[dg.MaterializeResult]:
    """What is governed, and the batches with their accounting, as the lake's marts read them."""
    mark = platform.registry.mark(MIRRORED)  # before the rows: they may be copied twice, but none is missed
    for spec, rows in mirrored_frames(platform).items():
        metadata: dict[str, Any] = {"dagster/row_count": rows.height, "changed": platform.lake.mirror(spec, rows)}
        if spec is WORKFLOW:
            with platform.registry.read() as connection:
                active = current_documents(connection, Workflow, status="active")
            metadata |= pictures(received.body for received in active.values())
        yield dg.MaterializeResult(asset_key=["registry", spec.name], metadata=metadata)
    remember(platform.registry, MIRROR, mark, now=datetime.now(UTC))


@dg.asset(
    deps=["registry_pack", "event_bus", "run_episode", "step_run", "event_log", "reflection_log"],
    kinds={"postgresql"},
    owners=["team:platform"],
    pool="hot_window",
)
def hot_window(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """The last 90 days of the logs in the registry database, for point lookups by those who ask it alone.

    On by default with PostgreSQL. A month that is past is dropped once the lake is seen to hold all of it.
    """
    if reason := why_no_hot_window(platform.registry):
        return dg.MaterializeResult(metadata={"is_on": False, "reason": reason})
    done = refresh(platform.registry, platform.lake, now=platform.now())
    return dg.MaterializeResult(
        metadata={
            "is_on": True,
            "rows_added": sum(done.added.values()),
            "rows_removed": sum(done.removed.values()),
            "months_dropped": dg.MetadataValue.json([f"{month:%Y-%m}" for month in done.dropped]),
            "window": dg.MetadataValue.json(counts(platform.registry)),
        }
    )
