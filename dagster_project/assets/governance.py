"""The governance's asset: what was approved becomes current. The gates are checks of the queue (`checks.py`)."""

import dagster as dg

from dagster_project.platform import Platform
from governance.publishing import publish_approved


@dg.asset(deps=["publication_queue"], kinds={"sqlite"}, owners=["team:platform"], pool="publication")
def publications(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """What every gate has passed and every mandatory reviewer approved becomes current, each in one transaction.

    Version, rows, lineage and announcement are written together, or nothing is. What was not approved is not touched.
    """
    done = publish_approved(platform.registry, now=platform.now())
    return dg.MaterializeResult(
        metadata={
            "published": len(done.published),
            "refused": dg.MetadataValue.json(sorted(done.refused)),
            "versions": dg.MetadataValue.json([f"{one.object_id} {one.version}" for one in done.published]),
            "way_out": "rwcm registry publish says why one is refused",
        }
    )
