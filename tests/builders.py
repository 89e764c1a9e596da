"""Builders: what tests need made, by functions rather than from files."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from guard.canonical import digest_text
from lake.home import Home
from lake.spec import TableSpec
from lake.store import Lake
from lake.tables import EVENT_BUS, LOGS
from registry.database import Registry
from registry.documents import Constraints, RuntimeBinding, SkillNode
from registry.expressions import compile_template
from registry.loader import PACK, load_pack
from registry.plans import Plan, PlannedStep, PlannedTrigger, load_plan
from registry.steps import Await, parse_logic
from runtime.engine import AWAITED, EPISODES, Executed, FindAwaited, await_key, execute
from runtime.execution import Execution, execute_pending
from runtime.protocol import RESULT_SCHEMA, Call, Skill, SkillTable
from runtime.skills.simulated import SimulatedSkills

NINE = datetime(2025, 3, 3, 9, tzinfo=UTC)
"""A Monday morning, when invoices arrive."""

LATER = NINE + timedelta(days=30)
"""By then every wait that began at `NINE` has ended."""

MEDIANS = {"F-01": 900, "F-02": 4, "F-03": 60, "F-04": 350, "F-05": 120}
"""Milliseconds that each step of WF-FIN-001 takes in a plan made `steady`."""


# Plans and episodes of the engine


def step(
    step_id: str,
    logic: Any,
    *,
    skill: str = "SK-TEST-001",
    parameters: Mapping[str, Any] | None = None,
    retries: int = 0,
    action: str = "tool_call",
    args: Sequence[Mapping[str, Any]] = (),
    adapter: str = "test",
) -> PlannedStep:
    """Return a step on a skill of one's own; `logic` is its next_step_logic."""
    node = SkillNode(
        skill_id=skill,
        skill_name=skill,
        category="tool",
        signature={"name": "do", "args": list(args)},  # type: ignore[arg-type]
        runtime_binding=RuntimeBinding(adapter=adapter, system="test_system"),
        version="1.0.0",
        owner_role_id="IT-M-001",
    )
    return PlannedStep(
        step_id=step_id,
        sequence=1,
        action_type=action,
        skill=node,
        skill_hash="0" * 64,
        agent_id="AG-TEST",
        parameters=compile_template(dict(parameters or {})),
        defaults=compile_template({}),
        logic=parse_logic(logic),
        timeout_ms=30_000,
        retries=retries,
        idempotency_key=None,
    )


def plan(*steps: PlannedStep, triggers: Sequence[PlannedTrigger] = ()) -> Plan:
    """Return a plan of `steps`, the first one its entry, that passed no static check."""
    return Plan(
        workflow_id="WF-TEST-001",
        workflow_name="Test",
        version="1.0.0",
        body_hash="0" * 64,
        status="active",
        responsible_role_id="IT-M-001",
        constraints=Constraints(latency_ms=1_000),
        agent_id="AG-ORCH",
        steps=tuple(replace(item, sequence=number) for number, item in enumerate(steps, 1)),
        triggers=tuple(triggers),
    )


def steady(shipped: Plan) -> Plan:
    """Return WF-FIN-001 with steps that take exactly `MEDIANS` and never fail by chance."""
    return replace(shipped, steps=tuple(map(_steady_step, shipped.steps)))


def _steady_step(planned: PlannedStep) -> PlannedStep:
    binding = planned.skill.runtime_binding
    profile = {**(binding.simulation or {}), "latency_ms": {"median": MEDIANS[planned.step_id], "sigma": 0}}
    profile.pop("fault_rate", None)
    bound = planned.skill.model_copy(update={"runtime_binding": binding.model_copy(update={"simulation": profile})})
    return replace(planned, skill=bound)


def shipped_plan(folder: Path, workflow_id: str = "WF-FIN-001") -> Plan:
    """Return a plan of the shipped pack."""
    registry = Registry.open(folder / "registry.db")
    load_pack(registry, PACK, actor="test", now=NINE)
    loaded = load_plan(registry, workflow_id)
    registry.close()
    return loaded


def episodes(*payloads: Mapping[str, Any], at: datetime = NINE, names: Sequence[str] = ()) -> pl.DataFrame:
    """Return one new episode per payload, called E-1, E-2 and so on unless `names` says otherwise."""
    rows = []
    for number, payload in enumerate(payloads, 1):
        name = names[number - 1] if names else f"E-{number}"
        seed = int(digest_text(name)[:15], 16)
        rows.append((name, "TR-TEST", f"event of {name}", json.dumps(payload), at, seed, "0" * 64, None))
    return pl.DataFrame(rows, schema=EPISODES, orient="row")


def resumed(batch: pl.DataFrame, waiting: pl.DataFrame) -> pl.DataFrame:
    """Return the episodes of `batch` that wait, with the state that they were put down with."""
    states = waiting.select("episode_id", state="state").unique()
    return batch.drop("state").join(states, on="episode_id").select(EPISODES.names())


def nothing_awaited(wait: Await, keys: Sequence[str], episode_ids: pl.Series) -> pl.DataFrame:
    return pl.DataFrame(schema=AWAITED)


def awaited(*events: tuple[datetime, Mapping[str, Any]]) -> FindAwaited:
    """Return a source of awaited events that holds (time, payload) of each."""

    def find(wait: Await, keys: Sequence[str], episode_ids: pl.Series) -> pl.DataFrame:
        rows = [
            (await_key([payload.get(member) for member in wait.correlate]), at, json.dumps(payload))
            for at, payload in events
        ]
        return pl.DataFrame(rows, schema=AWAITED, orient="row").filter(pl.col("key").is_in(list(keys)))

    return find


def answer(
    output: Any = None, *, error: str | None = None, latency_ms: int = 10, cost_micros: int = 5
) -> dict[str, Any]:
    """Return a skill's result for one row."""
    text = None if error else output if isinstance(output, str) else json.dumps(output or {})
    return {
        "output": text,
        "error_code": error,
        "error_message": f"it said {error}" if error else None,
        "latency_ms": latency_ms,
        "cost_micros": cost_micros,
    }


def rows(answers: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return answers as the frame that a skill promises."""
    return pl.DataFrame([{name: item.get(name) for name in RESULT_SCHEMA} for item in answers], schema=RESULT_SCHEMA)


@dataclass
class Scripted:
    """A skill that does what a function of one row's arguments and position says; its calls are kept."""

    function: Callable[[dict[str, Any], int], Mapping[str, Any]]
    is_pure: bool = True
    calls: list[Call] = field(default_factory=list)

    def run(self, call: Call) -> pl.DataFrame:
        self.calls.append(call)
        given = [{name: values[row] for name, values in call.arguments.items()} for row in range(call.rows)]
        return rows([self.function(arguments, row) for row, arguments in enumerate(given)])


@dataclass
class Whole:
    """A skill that does what a function of the whole call says, whatever it promises."""

    function: Callable[[Call], Any]
    is_pure: bool = True

    def run(self, call: Call) -> pl.DataFrame:
        return self.function(call)


@dataclass(frozen=True)
class Table:
    """A skill table of what a test puts into it."""

    skills: Mapping[str, Skill]

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        return self.skills.get(skill_id) if binding.adapter == "test" else None


def always(output: Any = None, **options: Any) -> Scripted:
    """Return a skill that answers every row the same."""
    return Scripted(lambda arguments, row: answer(output, **options))


def run(
    planned: Plan,
    batch: pl.DataFrame,
    skills: SkillTable | Mapping[str, Skill],
    *,
    find: FindAwaited = nothing_awaited,
    now: datetime = LATER,
) -> Executed:
    """Execute a batch and check what holds of every execution: order, times and identities of its step runs."""
    table = Table(skills) if isinstance(skills, Mapping) else skills
    done = execute(planned, batch, skills=table, find_awaited=find, now=now)
    assert_adds_up(batch, done)
    return done


def assert_adds_up(batch: pl.DataFrame, done: Executed) -> None:
    """Check that each episode's step runs follow on each other from its start to its end."""
    starts = dict(batch.select("episode_id", "started_at").iter_rows())
    ends = dict(done.closed.select("episode_id", "ended_at").iter_rows())
    waiting = set(done.waiting["episode_id"]) if done.waiting.height else set()
    assert sorted(ends) == sorted(starts.keys() - waiting)
    for episode_id, ended_at in ends.items():
        history = done.step_runs.filter(pl.col("episode_id") == episode_id).sort("seq")
        assert history["seq"].to_list() == list(range(history.height))
        clock = starts[episode_id]
        for begin, end, latency_ms, waited_ms in history.select(
            "started_at", "ended_at", "latency_ms", "waited_ms"
        ).iter_rows():
            assert begin == clock
            assert end - begin == timedelta(milliseconds=latency_ms or 0)
            assert 0 <= waited_ms <= (latency_ms or 0)
            clock = end
        assert clock == ended_at
    assert not waiting & set(done.step_runs["episode_id"])


def path(done: Executed, episode_id: str = "E-1") -> list[tuple[str, str, str | None]]:
    """Return (step, status, error code) of an episode's step runs in order."""
    history = done.step_runs.filter(pl.col("episode_id") == episode_id).sort("seq")
    return history.select("step_id", "status", "error_code").rows()


def outcome(done: Executed, episode_id: str = "E-1") -> str:
    return dict(done.closed.select("episode_id", "outcome").iter_rows())[episode_id]


# A home with an accounts payable department


def event(event_id: str, topic: str, payload: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """Return a row of `event_bus`, as ingestion would have accepted it."""
    return {
        "event_id": event_id,
        "topic": topic,
        "schema_version": 1,
        "payload": json.dumps(payload),
        "produced_at": at,
        "producer_id": "test",
        "content_hash": digest_text(event_id),
        "file_id": digest_text("file"),
        "file_offset": 0,
        "batch_id": "B-1",
        "created_at": at,
        "created_by": "test",
    }


class Payables:
    """A home in which invoices arrive: documents, purchase orders and events, made one by one."""

    def __init__(self, root: Path, *, pack: Path = PACK) -> None:
        self.home = Home(root).prepare()
        self.lake = Lake(self.home.lake)
        self.lake.ensure(LOGS)
        self.registry = Registry.open(self.home.registry_db)
        load_pack(self.registry, pack, actor="test", now=NINE)
        self.documents: dict[str, str] = {}
        self.orders: dict[str, tuple[str, int]] = {}

    @property
    def skills(self) -> SimulatedSkills:
        return SimulatedSkills(self.home.simulated)

    def invoice(
        self,
        name: str,
        *,
        billed: str = "100.00",
        ordered: str | None = "100.00",
        legible: bool = True,
        vendor: str = "VEND-1",
        at: datetime = NINE,
    ) -> str:
        """Make an invoice's document and order, let it arrive, and return the id of its event."""
        payload = self.document(name, billed=billed, ordered=ordered, legible=legible, vendor=vendor)
        self.arrive(event(f"EV-{name}", "ap.invoice.received", payload, at))
        return f"EV-{name}"

    def document(
        self,
        name: str,
        *,
        billed: str = "100.00",
        ordered: str | None = "100.00",
        legible: bool = True,
        vendor: str = "VEND-1",
        is_written: bool = True,
    ) -> dict[str, Any]:
        """Make an invoice's document and order, and return the payload of its event.

        Args:
            is_written: put it into the simulated systems; for many at once, call `write` after the last.
        """
        total = f"Total: EUR {Decimal(billed):,.2f}" if legible else "T0~al: E#R ?"
        self.documents[f"sim://{name}"] = f"INVOICE {name}\nVendor: {vendor}\nPurchase order: PO-{name}\n{total}\n"
        if ordered is not None:
            self.orders[f"PO-{name}"] = (vendor, int(Decimal(ordered) * 100))
        if is_written:
            self.write()
        return {
            "invoice_uri": f"sim://{name}",
            "vendor_id": vendor,
            "po_id": f"PO-{name}",
            "received_at": "2025-03-03T09:00:00Z",
        }

    def decide(self, subject_id: str, decision: str, at: datetime) -> None:
        payload = {"subject_id": subject_id, "decision": decision, "decided_by": "FA-M-001"}
        self.arrive(event(f"DE-{subject_id}-{at.isoformat()}", "handoff.decided", payload, at))

    def arrive(self, *events: Mapping[str, Any]) -> None:
        self.lake.append(EVENT_BUS, pl.DataFrame(list(events)), batch_id="B-1")

    def execute(self, *, now: datetime = LATER, **options: Any) -> Execution:
        return execute_pending(self.lake, self.registry, skills=self.skills, now=now, **options)

    def table(self, spec: TableSpec) -> pl.DataFrame:
        """Return a table of the lake, in order of its key and without what names the batch."""
        return self.lake.scan(spec).sort(*spec.key).drop("batch_id").collect()

    def versions(self) -> dict[str, int | None]:
        """Return the Delta version of every log table."""
        return {spec.name: self.lake.version(spec) for spec in LOGS}

    def write(self) -> None:
        """Put the documents and orders into the simulated systems."""
        documents = pl.DataFrame(list(self.documents.items()), schema=["uri", "text"], orient="row")
        documents.write_parquet(self.home.simulated / "documents.parquet")
        orders = pl.DataFrame(
            [(po_id, vendor, cents) for po_id, (vendor, cents) in self.orders.items()],
            schema={"po_id": pl.String, "vendor_id": pl.String, "amount_cents": pl.Int64},
            orient="row",
        )
        orders.write_parquet(self.home.simulated / "purchase_orders.parquet")


def busy(payables: Payables) -> None:
    """Let invoices of three months arrive: booked, decided, timed out, waiting at `LATER`, and illegible."""
    for number in range(12):
        at = datetime(2025, 1 + number % 3, 5 + number, 9, tzinfo=UTC)
        name = payables.invoice(f"{number}", billed="108.00" if number % 4 == 1 else "101.00", at=at)
        if number in (1, 5):
            payables.decide(name, "approved" if number == 1 else "rejected", at + timedelta(hours=6))
    payables.invoice("blurred", legible=False, at=NINE)
    payables.invoice("waiting", billed="150.00", at=LATER - timedelta(hours=1))
    payables.invoice("waiting too", billed="150.00", at=LATER - timedelta(hours=2))
