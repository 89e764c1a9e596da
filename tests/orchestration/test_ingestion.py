"""The asset `event_bus`: what its runs tell of members that no schema knows."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.assets.events import ingestion
from dagster_project.platform import Platform
from lake.tables import EVENT_BUS
from tests.ingest.test_contracts import SECRET, SIGNED, land, publish_schema, schema_of, signed
from tests.senders import open_platform, record

DECIDED = "handoff.decided"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    opened = open_platform(tmp_path / "home")
    yield opened
    opened.close()


def test_a_run_tells_which_members_were_dropped_and_which_schemas_proposed(platform: Platform) -> None:
    """Who lets members go must see which and how many, beside the run that dropped them; never a value."""
    publish_schema(platform, schema_of(platform) | {"x-contract": "discard_value"})
    publish_schema(platform, schema_of(platform, DECIDED) | {"x-contract": "evolve"}, DECIDED)
    decided = {"subject_id": "EV-1", "decision": "approved", "decided_by": "FA-M-001", "room": 5}
    land(platform, signed("A", note=SECRET), signed("B", note="x"), record("C", topic=DECIDED, payload=decided))
    done = dg.materialize([ingestion], resources={"platform": platform}, partition_key="2025-03-01")
    told = done.asset_materializations_for_node("ingestion")
    metadata = {name: value.value for each in told for name, value in each.metadata.items()}
    assert metadata["members_discarded"] == {SIGNED: {"/note": 2}}
    assert metadata["schemas_proposed"] == [DECIDED]
    assert platform.lake.scan(EVENT_BUS).collect().height == 3
    assert SECRET not in str(metadata)
