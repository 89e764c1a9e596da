"""Open episodes: what the registry keeps of them, which of their waits are over, and which children they ask for."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from guard.canonical import digest_text
from lake.months import Month, month_of
from lake.store import Lake
from lake.tables import RUN_EPISODE, STEP_RUN
from registry.database import Registry
from registry.plans import Plan
from registry.steps import Await
from runtime.awaited import AwaitedEvents
from runtime.documents import Documents, decode, encode
from runtime.effects.records import State, read_effects
from runtime.engine import AWAITED, CHILD_CLOSED, EPISODES, Executed, internal_await
from runtime.subscriptions import AwaitRefusals

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT = ("trigger_id", "trigger_event_id", "payload", "started_at", "seed", "context_hash", "nesting")

WITH_NESTING = pl.Schema({**EPISODES, "nesting": pl.Int64()})


class Waiting(NamedTuple):
    """One wait of an open episode."""

    topic: str
    step_id: str
    key: str
    due_at: datetime


def open_rows(
    plan: Plan, episodes: pl.DataFrame, executed: Executed, *, now: datetime, created_by: str
) -> list[dict[str, Any]]:
    """Return what the registry keeps of the episodes that wait: one row each, that of the wait that is due first."""
    if executed.waiting.is_empty():
        return []
    audit = {"created_at": now, "created_by": created_by, "updated_at": now, "updated_by": created_by}
    first = executed.waiting.sort("due_at", "branch").unique("episode_id", keep="first", maintain_order=True)
    skills = {step.skill.skill_id: step.skill.version for step in plan.steps}
    rows = []
    for row in first.join(episodes.drop("state"), on="episode_id", maintain_order="left").iter_rows(named=True):
        episode = {name: row.get(name) for name in _KEPT} | {"started_at": row["started_at"].isoformat()}
        state = json.loads(row["state"]) | {"episode": episode, "skills": skills}
        rows.append(
            {
                "episode_id": row["episode_id"],
                "workflow_id": plan.workflow_id,
                "workflow_version": plan.version,
                "trigger_event_id": row["trigger_event_id"],
                "episode_month": row["started_at"].date().replace(day=1),
                "step_id": row["step_id"],
                "await_topic": row["await_topic"],
                "await_key": row["await_key"],
                "waiting_since": row["waiting_since"],
                "due_at": row["due_at"],
                "state": json.dumps(state),
                **audit,
            }
        )
    return rows


def kept_episodes(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return open episodes as the engine takes them up."""
    columns = []
    for row in rows:
        state = json.loads(row["state"])
        if "branches" not in state:  # put down by version 0.1, which kept these beside the state only
            state |= {"await_topic": row["await_topic"], "await_key": row["await_key"]}
            state["due_us"] = (row["due_at"] - _EPOCH) // timedelta(microseconds=1)
        episode = state["episode"]
        columns.append(
            (
                row["episode_id"],
                episode["trigger_id"],
                row["trigger_event_id"],
                episode["payload"],
                datetime.fromisoformat(episode["started_at"]),
                episode["seed"],
                episode["context_hash"],
                json.dumps(state),
                episode.get("nesting") or 0,
            )
        )
    return pl.DataFrame(columns, schema=WITH_NESTING, orient="row")


def skills_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions of the skills that an open episode began with; none where version 0.1 put it down."""
    return json.loads(row["state"]).get("skills", {})


def waits_of(row: Mapping[str, Any]) -> list[Waiting]:
    """Return all waits of an open episode."""
    branches = json.loads(row["state"]).get("branches", [])
    waits = [item["wait"] for item in branches if "wait" in item]
    if not waits:
        return [Waiting(row["await_topic"], row["step_id"], row["await_key"], row["due_at"])]
    return [
        Waiting(topic, step_id, key, _EPOCH + timedelta(microseconds=due_us))
        for _, step_id, topic, key, _, due_us, *_ in waits
    ]


class Child(NamedTuple):
    """An episode that its parent waits for."""

    workflow_id: str
    episode_id: str
    payload: str
    started_at: datetime
    nesting: int
    trigger_event_id: str


def children_of(row: Mapping[str, Any]) -> Iterator[Child]:
    """Yield the children that an open episode waits for."""
    for item in json.loads(row["state"]).get("branches", []):
        if "wait" in item and item["wait"][2] == CHILD_CLOSED:
            request = decode(item["wait"][-1][0])
            yield Child(
                request["workflow_id"],
                request["episode_id"],
                encode(request["payload"]),
                datetime.fromisoformat(request["started_at"]),
                request["nesting"],
                row["trigger_event_id"],
            )


class Awaited:
    """Finds what episodes wait for: events that their workflows take, ends of their children, a word on an effect."""

    def __init__(self, lake: Lake, registry: Registry, refusals: AwaitRefusals) -> None:
        self._lake = lake
        self._registry = registry
        self._refusals = refusals
        self._events = AwaitedEvents(lake)

    def find(
        self, plan: Plan, since: Month, wait: Await, keys: Sequence[str], episode_ids: pl.Series | None = None
    ) -> pl.DataFrame:
        """Return the events of the await's topic that carry one of `keys` and that the plan's workflow takes.

        Args:
            since: month in which the first of the episodes began: what happened before is about something else.
        """
        if wait.event == CHILD_CLOSED:
            return closed_children(self._lake, keys)
        arrived = self._events.carrying(wait, keys, since=since)
        if any(step.logic.awaits == wait for step in plan.steps):
            arrived = self._refusals.let_through(plan, wait, arrived)
        else:
            arrived = self._last_of_resolved(arrived)
        return arrived.select(AWAITED.names())

    def _last_of_resolved(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the last word on each effect, none on one that is unknown: what was said before it is used up."""
        if events.is_empty():
            return events
        effects = [decode(text) for text in Documents(events["payload"]).member(["key"])]
        with self._registry.read() as connection:
            known = read_effects(connection, effects)
        is_known = [key not in known or known[key].state is not State.UNKNOWN for key in effects]
        return events.filter(is_known).sort("at").unique("key", keep="last", maintain_order=True)

    def over(
        self, plan: Plan, rows: Sequence[Mapping[str, Any]], *, now: datetime, gives_up_children: bool
    ) -> list[Mapping[str, Any]]:
        """Return the open episodes of which a wait is over, for children's ends by their deadline only if asked to."""
        waits = [(place, wait) for place, row in enumerate(rows) for wait in waits_of(row)]
        ready = {
            place for place, wait in waits if wait.due_at <= now and (gives_up_children or wait.topic != CHILD_CLOSED)
        }
        awaits = {step.step_id: step.logic.awaits for step in plan.steps}
        groups: dict[tuple[str, str], list[tuple[int, Waiting]]] = {}
        for place, wait in waits:
            groups.setdefault((wait.topic, wait.step_id), []).append((place, wait))
        for (topic, step_id), members in groups.items():
            own = awaits[step_id]
            await_ = own if own is not None and own.event == topic else internal_await(topic)
            since = min(rows[place]["episode_month"] for place, _ in members)
            arrived = set(self.find(plan, since, await_, [wait.key for _, wait in members])["key"])
            ready |= {place for place, wait in members if wait.key in arrived}
        return [rows[place] for place in sorted(ready)]


def closed_children(lake: Lake, keys: Sequence[str]) -> pl.DataFrame:
    """Return what became of child episodes; a child's id says in which month it began."""
    ids = {json.loads(key)[0]: key for key in keys}
    months = sorted({_month_of(episode_id) for episode_id in ids})
    of_children = pl.col("episode_id").is_in(list(ids))
    closed = (
        lake.scan(RUN_EPISODE, months=months, columns=["episode_id", "ended_at", "outcome", "month"])
        .filter(of_children)
        .collect()
    )
    if closed.is_empty():
        return pl.DataFrame(schema=AWAITED)
    last_month = month_of(closed["ended_at"].max())  # type: ignore[arg-type]
    ran = [month for month in lake.fingerprints(STEP_RUN) if months[0] <= month <= last_month]
    last = (
        lake.scan(STEP_RUN, months=ran, columns=["episode_id", "seq", "output"])
        .filter(of_children, pl.col("output").is_not_null())
        .sort("seq")
        .group_by("episode_id")
        .agg(pl.col("output").last())
        .collect()
    )
    payload = pl.concat_str(
        pl.lit('{"episode_id":"'),
        "episode_id",
        pl.lit('","outcome":"'),
        "outcome",
        pl.lit('","output":'),
        pl.col("output").fill_null("{}"),
        pl.lit("}"),
    )
    return closed.join(last, on="episode_id", how="left").select(
        pl.col("episode_id").replace_strict(ids, return_dtype=pl.String).alias("key"),
        pl.col("ended_at").alias("at"),
        payload.alias("payload"),
    )


def _month_of(episode_id: str) -> Month:
    """Return the month of a time-ordered id."""
    milliseconds = int(episode_id.replace("-", "")[:12], 16)
    return (_EPOCH + timedelta(milliseconds=milliseconds)).date().replace(day=1)


def child_episodes(children: Sequence[Child]) -> pl.DataFrame:
    """Return children as episodes to begin; their seeds follow from their ids."""
    rows = [
        (
            child.episode_id,
            None,
            child.trigger_event_id,
            child.payload,
            child.started_at,
            int(digest_text(child.episode_id)[:15], 16),
            "",
            None,
            child.nesting,
        )
        for child in children
    ]
    return pl.DataFrame(rows, schema=WITH_NESTING, orient="row")
