"""Learning: from a stream of invoices to proposals, the same once and others in another world."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.platform import Platform
from guard.canonical import parse
from ingest.demonstration import Stream, land_demonstration
from ingest.events import ingest_landing
from lake.home import Home
from lake.tables import LOGS, PUBLICATION_QUEUE, REFLECTION_LOG
from registry.checks import Known, check_workflow
from registry.database import TABLES
from registry.documents import SkillNode, Workflow, read_document
from registry.loader import PACK, event_schemas, load_pack
from registry.objects import current_documents
from runtime.execution import execute_pending
from synthesis.learning import propose, reflect
from tests.builders import LATER, Payables, busy

AS_OF = datetime(2025, 7, 1, 12, tzinfo=UTC)
EVENTS = 5_000


@dataclass(frozen=True)
class Learned:
    """A demonstration, from the landing zone to the publication queue."""

    platform: Platform
    stream: Stream

    @property
    def queue(self) -> list[dict[str, Any]]:
        frame = self.platform.registry.frame(PUBLICATION_QUEUE).sort("proposal_type")
        return list(frame.iter_rows(named=True))

    def body(self, proposal_type: str) -> Mapping[str, Any]:
        (body,) = [parse(row["proposal_body"]) for row in self.queue if row["proposal_type"] == proposal_type]
        assert isinstance(body, dict)
        return body


def learn(root: Path, seed: int) -> Learned:
    """Run the whole loop without an orchestrator."""
    platform = Platform(Home(root))
    load_pack(platform.registry, PACK, actor="test", now=AS_OF)
    platform.lake.ensure(LOGS)
    stream = land_demonstration(
        platform.home, platform.landing, platform.home.fix(as_of=AS_OF, seed=seed, events=EVENTS)
    )
    assert stream is not None
    ingest_landing(platform.landing, registry=platform.registry, lake=platform.lake, door=platform.door, now=AS_OF)
    execute_pending(platform.lake, platform.registry, skills=platform.skills, now=AS_OF)
    reflect(platform.lake, platform.registry, now=AS_OF)
    done = propose(platform.lake, platform.registry, now=AS_OF)
    assert dict(done.new) == {"step": 1, "workflow": 1}
    return Learned(platform, stream)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Learned]]:
    """Two worlds, to be read; a test that writes works on what the others do not read."""
    made = {seed: learn(tmp_path_factory.mktemp(f"seed-{seed}"), seed) for seed in (7, 23)}
    yield made
    for world in made.values():
        world.platform.close()


@pytest.mark.parametrize("seed", [7, 23])
def test_the_vendors_who_over_bill_are_those_that_the_world_was_made_with(
    worlds: dict[int, Learned], seed: int
) -> None:
    """The demonstration would show a platform that learns nothing, or slanders."""
    world = worlds[seed]
    proposed = world.body("workflow")
    assert proposed["genome"]["vendors"] == sorted(world.stream.over_billers)
    quoted = ", ".join(f'"{vendor}"' for vendor in sorted(world.stream.over_billers))
    assert proposed["triggers"][0]["selector"]["condition"] == f"vendor_id in [{quoted}]"


def test_another_world_teaches_other_vendors_and_another_tolerance(worlds: dict[int, Learned]) -> None:
    """What is learned would be written in the code, not in the data."""
    first, second = worlds[7], worlds[23]
    assert first.body("workflow")["genome"]["vendors"] != second.body("workflow")["genome"]["vendors"]
    assert first.body("step")["value"] != second.body("step")["value"]


@pytest.mark.parametrize("seed", [7, 23])
def test_the_proposals_say_the_same_tolerance_and_how_they_came_about(worlds: dict[int, Learned], seed: int) -> None:
    """A reviewer could not see what would change, or why."""
    world = worlds[seed]
    change, workflow = world.body("step"), world.body("workflow")
    assert change.keys() == {"type", "workflow_id", "workflow_version", "target", "from", "value"}
    assert (change["type"], change["target"]) == ("update_param", "F-02.parameters.tolerance")
    assert (change["workflow_id"], change["workflow_version"], change["from"]) == (
        "WF-FIN-001",
        "1.3.0",
        Decimal("0.05"),
    )
    assert Decimal("0.03") < change["value"] < Decimal("0.05")
    check = next(step for step in workflow["steps"] if step["parameters"].get("check") == "po_match")
    assert check["parameters"]["tolerance"] == change["value"]
    for row in world.queue:
        provenance = parse(row["provenance"])
        assert provenance["evidence"]["later"]["invoices"] > 0
        assert [vendor["vendor_id"] for vendor in provenance["vendors"]]
        assert 0.9 < row["confidence"] <= 1
        assert (row["decision"], row["risk_score"], row["proposed_by"]) == ("pending", 1.0, "AG-REFLECT-001")
        assert row["expires_at"] == AS_OF + timedelta(days=21)
        log = world.platform.lake.scan(REFLECTION_LOG).filter(pl.col("reflection_id") == provenance["reflection_id"])
        assert log.collect()["insight_type"].to_list() == ["variance"]


def test_the_proposed_workflow_would_pass_its_checks(worlds: dict[int, Learned]) -> None:
    """Learning would propose what no gate can let through."""
    world = worlds[7]
    (text,) = [row["proposal_body"] for row in world.queue if row["proposal_type"] == "workflow"]
    registry = world.platform.registry
    with registry.read() as connection:
        signatures = {name: found.body.signature for name, found in current_documents(connection, SkillNode).items()}
        roles = set(connection.scalars(TABLES["role"].select().with_only_columns(TABLES["role"].c.role_id)))
    schemas = {topic: schema for topic, (_, schema) in event_schemas(registry).items()}
    document = read_document(Workflow, text, name="proposal").body
    assert document.status == "active", "published to the letter, it must run"
    assert check_workflow(document, Known(signatures, roles, schemas), document="proposal") == []


def test_a_second_look_proposes_nothing_new(worlds: dict[int, Learned]) -> None:
    """Reviewers would see the same change every month, or every night."""
    world = worlds[23]
    lake, registry = world.platform.lake, world.platform.registry
    before, version = world.queue, lake.version(REFLECTION_LOG)
    later = AS_OF + timedelta(days=1)

    reflect(lake, registry, now=later)
    unchanged = propose(lake, registry, now=later)
    with registry.transaction() as connection:
        connection.execute(TABLES["cursor"].delete())
    reflect(lake, registry, now=later)
    without_cursors = propose(lake, registry, now=later)

    assert (dict(unchanged.found), dict(unchanged.new)) == ({}, {})
    assert dict(without_cursors.found) == {"step": 1, "workflow": 1}
    assert without_cursors.new.total() == 0
    assert world.queue == before
    assert lake.version(REFLECTION_LOG) == version


def test_nothing_is_proposed_where_nothing_is_sustained(tmp_path: Path) -> None:
    """A handful of invoices would start a policy."""
    payables = Payables(tmp_path)
    busy(payables)
    payables.execute()
    assert propose(payables.lake, payables.registry, now=LATER).found.total() == 0
    assert payables.registry.frame(PUBLICATION_QUEUE).is_empty()
