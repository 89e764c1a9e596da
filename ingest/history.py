"""History: an event log becomes closed episodes and step runs, without going through the engine.

One log is one workflow, `WF-LOG-<name>`; one case is one episode; one event of the log is one step run, in the log's
order with every tie kept. The same case again is a duplicate, whatever the file's format; the same case with other
events is refused, since what is recorded is not changed.
"""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from guard.identity import NAMESPACE, name_uuid, name_uuids
from ingest.commit import Accounting
from ingest.landing import content_hash
from ingest.logs import ColumnMapping, LogReject, UnreadableLog, read_log
from lake.months import Month
from lake.spec import MONTH
from lake.store import Lake
from lake.tables import BATCH, EVENT_DEAD_LETTER, RUN_EPISODE, STEP_RUN, WORKFLOW
from registry.database import TABLES, Registry, upsert
from registry.loader import PLACEHOLDER_AGENT, register_log_workflow

log = logging.getLogger("rwcm.ingest")

COMMIT_EVENTS = 500_000
"""Events whose episodes are committed at once."""

IMPORTER = "import"
_SUFFIXES = re.compile(r"(\.(xes|csv|gz|txt))+$", re.IGNORECASE)
_SLUG_LENGTH = 48
"""Room in an id of 64 characters beside `WF-LOG-` and, for its steps, a slash and a number."""
_ORDINAL_ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Import:
    """What an import did.

    Attributes:
        records: events of the log by what became of them.
        cases, variants: of what was accepted or known already.
    """

    workflow_id: str
    records: Accounting = field(default_factory=Accounting)
    cases: int = 0
    new_cases: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    rows: dict[str, Counter[Month]] = field(
        default_factory=lambda: {
            RUN_EPISODE.name: Counter(),
            STEP_RUN.name: Counter(),
            EVENT_DEAD_LETTER.name: Counter(),
        }
    )


def log_workflow_id(name: str) -> str:
    """Return the workflow of a log: `WF-LOG-` and the name without format endings, in letters, digits and hyphens.

    Where letters would be lost, a hash of the name tells it from others that would read the same.
    """
    stem = _SUFFIXES.sub("", name)
    slug = re.sub(r"[^0-9A-Za-z]+", "-", stem).strip("-")
    is_lossy = not slug or len(slug) > _SLUG_LENGTH or any(c.isalnum() and not c.isascii() for c in stem)
    if is_lossy:
        slug = f"{slug[: _SLUG_LENGTH - 13]}-{hashlib.sha256(stem.encode()).hexdigest()[:12]}".strip("-")
    return f"WF-LOG-{slug}"


def import_log(
    path: Path,
    *,
    lake: Lake,
    registry: Registry,
    now: datetime,
    name: str | None = None,
    mapping: ColumnMapping | None = None,
    time_zone: str = "UTC",
) -> Import:
    """Import an event log (XES or CSV, plain or gzipped).

    Args:
        now: when the import takes place; what retention counts from.
        name: names the log, and so its workflow; the file's name by default.
        mapping: which columns of a CSV are case, activity and time; known headings are found without.
        time_zone: zone of times that state none.

    Raises:
        UnreadableLog: there is no log to read in the file; nothing was recorded.
    """
    file_name = path.name.encode("utf-8", "replace").decode()
    workflow_id = log_workflow_id(name or file_name)
    events, cases, rejects = _read(path, mapping, time_zone)
    file_id = content_hash(path)
    done = Import(workflow_id)
    batch_id = _name_batch(registry, workflow_id, file_id, file_name, now)
    if events.height:
        step_ids = register_log_workflow(
            registry,
            workflow_id=workflow_id,
            name=name or file_name,
            activities=events["activity"].unique(maintain_order=True).to_list(),
            now=now,
            source=file_id,
        )
        version = _current_version(registry, workflow_id)
        steps = _as_steps(events, workflow_id, version, step_ids, batch_id, now)
        episodes = _as_episodes(steps, cases, workflow_id, version, batch_id, now)
        # The look for known cases and the commit stand under one lock: two imports with the same case count it once.
        with lake.lock(RUN_EPISODE):
            _take_back(lake, registry, workflow_id)
            _commit(steps, episodes, lake, batch_id, rejects, done)
    with lake.lock(EVENT_DEAD_LETTER):
        _commit_dead_letters(rejects, file_name, file_id, batch_id, lake, now, done)
    _close_batch(registry, batch_id, done, now)
    return done


def _read(
    path: Path, mapping: ColumnMapping | None, time_zone: str
) -> tuple[pl.DataFrame, pl.DataFrame, list[LogReject]]:
    events, cases, rejects = [], [], []
    total = 0
    for batch in read_log(path, mapping=mapping, timezone=time_zone):
        events.append(batch.events)
        cases.append(batch.cases)
        rejects += batch.rejects
        total += batch.events.height
        log.info("read %s events", f"{total:,}")
    if not events:
        raise UnreadableLog(path, "holds no event; export it again with its traces")
    # No database takes U+0000 in the name of a step; what the log says stays in the attributes.
    whole = pl.concat(events).with_columns(pl.col("activity").str.replace_all("\0", "\ufffd", literal=True))
    return whole, pl.concat(cases), rejects


def _name_batch(registry: Registry, workflow_id: str, file_id: str, file_name: str, now: datetime) -> str:
    """Name the import before it starts; one that was interrupted is done again under its name."""
    batch = TABLES[BATCH.name]
    named = name_uuid("import", workflow_id, file_id)
    names = chain([named], (name_uuid("import", named, str(again)) for again in count(1)))
    with registry.transaction() as connection:
        is_done = sa.select(batch.c.batch_id).filter_by(state="done")
        batch_id = next(name for name in names if not connection.scalar(is_done.filter_by(batch_id=name)))
        row = {
            "batch_id": batch_id,
            "kind": "import",
            "state": "open",
            "source": file_name,
            "months": "{}",
            "opened_at": now,
        }
        upsert(connection, BATCH, [row])
    return batch_id


def _current_version(registry: Registry, workflow_id: str) -> str:
    workflow = TABLES[WORKFLOW.name]
    with registry.read() as connection:
        return connection.execute(
            sa.select(workflow.c.version).where(workflow.c.workflow_id == workflow_id)
        ).scalar_one()


def _as_steps(
    events: pl.DataFrame, workflow_id: str, version: str, step_ids: dict[str, str], batch_id: str, now: datetime
) -> pl.DataFrame:
    """Return the log's events as step runs, `case_id` and `position` beside them.

    A case is all events of its id in the order of the file, wherever they stand. An event without a time has that of
    the event before it; a case without any time counts seconds from 1970 and says so.
    """
    over_case = "case_id"
    timed = events.sort("position").with_columns(
        seq=pl.int_range(pl.len(), dtype=pl.Int32).over(over_case),
        time_source=pl.when(pl.col("occurred_at").is_not_null().any().over(over_case))
        .then(pl.lit("log"))
        .otherwise(pl.lit("ordinal")),
        filled=pl.col("occurred_at").forward_fill().over(over_case),
    )
    timed = timed.with_columns(
        started_at=pl.coalesce(
            "filled",
            pl.col("filled").backward_fill().over(over_case),
            pl.lit(_ORDINAL_ORIGIN).dt.cast_time_unit("us") + pl.duration(seconds=pl.col("seq")),
        ),
        latency_ms=(pl.col("occurred_at") - pl.col("occurred_at").shift(1).over(over_case)).dt.total_milliseconds(),
    )
    episode_ids = timed["case_id"].unique(maintain_order=True)
    named = pl.DataFrame(
        {"case_id": episode_ids, "episode_id": name_uuids(workflow_id, episode_ids)},
        schema={"case_id": pl.String, "episode_id": pl.String},
    )
    steps = timed.join(named, on="case_id", maintain_order="left")
    return steps.select(
        pl.Series("step_run_id", list(_position_uuids(steps["episode_id"], steps["seq"])), dtype=pl.String),
        "episode_id",
        pl.col("started_at").min().over("episode_id").dt.truncate("1mo").dt.date().alias("episode_month"),
        pl.col("activity").replace_strict(step_ids, return_dtype=pl.String).alias("step_id"),
        "activity",
        pl.lit(PLACEHOLDER_AGENT).alias("agent_id"),
        pl.lit(workflow_id).alias("workflow_id"),
        pl.lit(version).alias("workflow_version"),
        "seq",
        pl.lit(1, dtype=pl.Int32).alias("attempt"),
        "started_at",
        pl.when(pl.col("time_source") == "log").then("started_at").alias("ended_at"),
        pl.lit("success").alias("status"),
        pl.col("attributes").alias("input"),
        pl.lit("{}").alias("telemetry"),
        pl.when(pl.col("latency_ms") >= 0).then("latency_ms").alias("latency_ms"),
        "resource",
        "lifecycle",
        "time_source",
        pl.lit(batch_id).alias("batch_id"),
        pl.lit(now).alias("created_at"),
        pl.lit(IMPORTER).alias("created_by"),
        "case_id",
        "position",
    )


def _position_uuids(episode_ids: pl.Series, positions: pl.Series) -> Iterator[str]:
    """Yield the version 5 UUID of each step run from its episode and position.

    As `name_uuid` gives it, without making an object per row: a log has hundreds of thousands.
    """
    base = NAMESPACE.bytes
    for episode_id, position in zip(episode_ids, positions, strict=True):
        name = f"{len(episode_id)}:{episode_id}{len(str(position))}:{position}"
        digest = hashlib.sha1(base + name.encode(), usedforsecurity=False).hexdigest()
        variant = "89ab"[int(digest[16], 16) & 3]
        yield f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def _as_episodes(
    steps: pl.DataFrame, cases: pl.DataFrame, workflow_id: str, version: str, batch_id: str, now: datetime
) -> pl.DataFrame:
    """Return one episode per case; its hash is over the case's activities and times, which every format states."""
    said = pl.concat_str(
        pl.col("activity").str.len_bytes(), pl.lit(":"), "activity", pl.lit("@"), pl.col("started_at").dt.epoch("us")
    )
    episodes = steps.group_by("episode_id", maintain_order=True).agg(
        pl.col("case_id").first(),
        pl.col("started_at").min(),
        pl.col("ended_at").max(),
        pl.len().cast(pl.Int32).alias("steps"),
        pl.col("time_source").first(),
        said.str.join("\n").alias("content"),
    )
    attributes = cases.unique("case_id", keep="first").select("case_id", pl.col("attributes").alias("case_attributes"))
    latency_ms = (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds()
    return (
        episodes.join(attributes, on="case_id", how="left", maintain_order="left")
        .with_columns(
            pl.Series("context_hash", [hashlib.sha256(text.encode()).hexdigest() for text in episodes["content"]]),
            latency_ms=latency_ms,
        )
        .select(
            "episode_id",
            pl.lit(workflow_id).alias("workflow_id"),
            pl.lit(version).alias("workflow_version"),
            pl.lit("import").alias("origin"),
            "case_id",
            "case_attributes",
            "started_at",
            "ended_at",
            pl.lit("success").alias("outcome"),
            pl.struct("latency_ms", error_rate=pl.lit(0.0)).struct.json_encode().alias("metrics"),
            "context_hash",
            "steps",
            "latency_ms",
            "time_source",
            pl.lit(batch_id).alias("batch_id"),
            pl.lit(now).alias("created_at"),
            pl.lit(IMPORTER).alias("created_by"),
        )
    )


def _commit(
    steps: pl.DataFrame, episodes: pl.DataFrame, lake: Lake, batch_id: str, rejects: list[LogReject], done: Import
) -> None:
    """Record the cases that are new, step runs first; count known ones, refuse those that say something else now."""
    held = (
        lake.scan(RUN_EPISODE, columns=["episode_id", "workflow_id", "context_hash", "batch_id"])
        .filter(pl.col("workflow_id") == done.workflow_id)
        .select("episode_id", pl.col("context_hash").alias("held_hash"), pl.col("batch_id").alias("held_batch"))
        .collect()
    )
    judged = episodes.join(held, on="episode_id", how="left", maintain_order="left").with_columns(
        verdict=pl.when(
            pl.col("held_hash").is_null()
            | ((pl.col("held_batch") == batch_id) & (pl.col("held_hash") == pl.col("context_hash")))
        )
        .then(pl.lit("new"))
        .when(pl.col("held_hash") == pl.col("context_hash"))
        .then(pl.lit("known"))
        .otherwise(pl.lit("conflict"))
    )
    counts = dict(judged.group_by("verdict").agg(pl.col("steps").sum()).iter_rows())
    done.records.accepted += counts.get("new", 0)
    done.records.duplicates += counts.get("known", 0)
    new = judged.filter(pl.col("verdict") == "new").select(episodes.columns)
    done.cases, done.new_cases = episodes.height, new.height
    for part in _by_events(new):
        of_part = steps.join(part.select("episode_id"), on="episode_id", how="semi").drop("case_id", "position")
        for spec, rows in ((STEP_RUN, of_part), (RUN_EPISODE, part)):
            lake.append(spec, rows, batch_id=batch_id)
            done.rows[spec.name].update(spec.conform(rows)[MONTH].to_list())
        log.info("recorded %s cases", f"{part.height:,}")
    conflicts = judged.filter(pl.col("verdict") == "conflict").select("episode_id")
    message = "its case was imported before with other events"
    for position in steps.join(conflicts, on="episode_id", how="semi")["position"]:
        rejects.append(LogReject(position, None, "id_conflict", "", message))


def _take_back(lake: Lake, registry: Registry, workflow_id: str) -> None:
    """Take back the step runs that an interrupted import of the workflow recorded without their episodes.

    The log may come again with other times or events; what it says then must not meet what was left of before.
    """
    batch = TABLES[BATCH.name]
    with registry.read() as connection:
        query = sa.select(batch.c.batch_id).where(batch.c.kind == "import", batch.c.state == "open")
        interrupted: list[str] = list(connection.scalars(query))
    episodes = lake.scan(RUN_EPISODE, columns=["episode_id"])
    for batch_id in interrupted:
        left = (
            lake.scan(STEP_RUN, columns=["episode_id", "workflow_id", "batch_id"])
            .filter(pl.col("batch_id") == batch_id, pl.col("workflow_id") == workflow_id)
            .join(episodes, on="episode_id", how="anti")
            .select(pl.col("episode_id").unique())
            .collect()
        )
        if left.height:
            lake.discard(STEP_RUN, batch_id=batch_id, episodes=left["episode_id"].to_list())


def _by_events(episodes: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the episodes in parts of about `COMMIT_EVENTS` events."""
    parts = episodes.with_columns(part=(pl.col("steps").cast(pl.Int64).cum_sum() - 1) // COMMIT_EVENTS)
    yield from parts.partition_by("part", maintain_order=True, include_key=False)


def _commit_dead_letters(
    rejects: list[LogReject], file_name: str, file_id: str, batch_id: str, lake: Lake, now: datetime, done: Import
) -> None:
    rows = [
        {
            "dead_letter_id": name_uuid("dead_letter", file_id, str(reject.position)),
            "rule": reject.rule,
            "path": reject.path[:512],
            "message": reject.message[:1024],
            "file_name": file_name,
            "file_id": file_id,
            "file_offset": reject.offset if reject.offset is not None else reject.position,
            "received_at": now,
            "batch_id": batch_id,
            "created_at": now,
            "created_by": IMPORTER,
        }
        for reject in rejects
    ]
    if not rows:
        return
    frame = pl.DataFrame(rows, infer_schema_length=None)
    known = lake.scan(EVENT_DEAD_LETTER, columns=["dead_letter_id", "batch_id"]).filter(pl.col("batch_id") != batch_id)
    fresh = frame.join(known.select("dead_letter_id").collect(), on="dead_letter_id", how="anti")
    lake.append(EVENT_DEAD_LETTER, fresh, batch_id=batch_id)
    done.records.rejected += fresh.height
    done.records.duplicates += frame.height - fresh.height
    done.rules.update(fresh["rule"])
    done.rows[EVENT_DEAD_LETTER.name].update(EVENT_DEAD_LETTER.conform(fresh)[MONTH].to_list())


def _close_batch(registry: Registry, batch_id: str, done: Import, now: datetime) -> None:
    batch = TABLES[BATCH.name]
    months = {
        table: {f"{month:%Y-%m}": count for month, count in sorted(rows.items())} for table, rows in done.rows.items()
    }
    with registry.transaction() as connection:
        connection.execute(
            sa.update(batch)
            .where(batch.c.batch_id == batch_id)
            .values(
                state="done",
                closed_at=now,
                months=json.dumps(months),
                records_read=done.records.read,
                records_accepted=done.records.accepted,
                records_rejected=done.records.rejected,
                records_duplicate=done.records.duplicates,
            )
        )
