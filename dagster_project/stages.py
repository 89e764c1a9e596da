"""Stages: what drives the loop when nobody watches. Each knows how to see that there is work, and which job does it.

What belongs here: what counts as work, and what names it. What does not: when to look (`sensors.py`), how it is done
(the rooms). A stage only looks; whether work is done is read from where it is kept, never from what was asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from dagster_project.assets.registry import MIRROR
from dagster_project.jobs import DELIVER, EXECUTE, INGEST, JUDGE, PUBLISH, REFLECT, SERVE
from dagster_project.platform import Platform
from governance import gates, publishing
from guard.canonical import digest
from ingest import outbox
from ingest.events import open_batches
from ingest.landing import BATCH_FILES
from lake.tables import MIRRORED
from lake.transform import Transformation
from registry.cursors import recall
from runtime import execution, triggers
from synthesis import learning

PATIENCE = timedelta(seconds=60)
"""How long a small file waits for company before it is ingested on its own."""

ENOUGH_BYTES = 64 << 20
"""Bytes in the inbox that are ingested at once, however young they are."""


@dataclass(frozen=True)
class Waiting:
    """Why a stage has no work yet."""

    reason: str


Work = str
"""What names the work at hand: the same work has the same name, other work another."""


@dataclass(frozen=True)
class Stage:
    """A part of the loop that runs by itself.

    Attributes:
        look: returns the name of the work at hand, or why there is none.
        is_monthly: whether its job has monthly assets, so that its runs carry a month.
    """

    name: str
    job: UnresolvedAssetJobDefinition
    description: str
    look: Callable[[Platform, datetime], Work | Waiting]
    is_monthly: bool = True


def landed(platform: Platform, now: datetime) -> Work | Waiting:
    """Files wait until they make a batch, or until the oldest has waited long enough; interrupted batches do not."""
    backlog = platform.landing.backlog()
    interrupted = open_batches(platform.registry)
    if interrupted:
        return digest([*interrupted, backlog.key])
    if backlog.oldest_at is None:
        return Waiting("the inbox is empty")
    is_batch = backlog.files >= BATCH_FILES or backlog.size_bytes >= ENOUGH_BYTES
    if not is_batch and now - backlog.oldest_at < PATIENCE:
        return Waiting(f"{backlog.files} files, {backlog.size_bytes:,} bytes: more may come")
    return backlog.key


def announced(platform: Platform, now: datetime) -> Work | Waiting:
    """Triggers that are due, and announcements that are no events yet."""
    due = triggers.work_at_hand(platform.registry, platform.home.served_db, now=platform.now())
    waiting = outbox.work_at_hand(platform.registry)
    if due is None and waiting is None:
        return Waiting("no trigger is due and everything that was announced is delivered")
    return digest([due, waiting])


def accepted(platform: Platform, now: datetime) -> Work | Waiting:
    """Events that no execution has looked at, and waits whose time is up."""
    work = execution.work_at_hand(platform.lake, platform.registry, now=platform.now())
    return work or Waiting("every event was looked at and no wait is over")


def closed(platform: Platform, now: datetime) -> Work | Waiting:
    """Episodes that nobody has reflected on."""
    return learning.work_at_hand(platform.lake, platform.registry) or Waiting("every month was reflected on")


def recorded(platform: Platform, now: datetime) -> Work | Waiting:
    """Proposals that a gate has not judged on what holds now."""
    work = gates.work_at_hand(platform.registry, now=platform.now())
    return work or Waiting("every proposal was judged")


def approved(platform: Platform, now: datetime) -> Work | Waiting:
    """Proposals that every reviewer has approved."""
    work = publishing.work_at_hand(platform.registry, now=platform.now())
    return work or Waiting("nothing that was approved waits for the publisher")


def changed(platform: Platform, now: datetime) -> Work | Waiting:
    """Tables that the marts do not show yet."""
    mark = platform.registry.mark(MIRRORED)
    build = Transformation(platform.home).work_at_hand()
    if recall(platform.registry, MIRROR) == mark and build is None and platform.home.served_db.exists():
        return Waiting("the marts are current")
    return digest([mark, build])


STAGES: tuple[Stage, ...] = (
    Stage("landing", INGEST, "Files in the landing zone are ingested.", landed),
    Stage(
        "delivery",
        DELIVER,
        "Schedules and conditions fire, and announcements become events.",
        announced,
        is_monthly=False,
    ),
    Stage("execution", EXECUTE, "Accepted events are executed, and episodes whose wait is over.", accepted),
    Stage("reflection", REFLECT, "Closed episodes are reflected on, and what follows is proposed.", closed),
    Stage("gates", JUDGE, "Recorded proposals are judged by every gate.", recorded, is_monthly=False),
    Stage("publication", PUBLISH, "What was approved becomes current.", approved, is_monthly=False),
    Stage("serving", SERVE, "What changed is shown in the marts and published.", changed),
)
"""The stages in the order in which work goes through them."""
