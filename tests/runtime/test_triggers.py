"""Schedules, conditions and signatures: what fires, when, and how often."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
import sqlalchemy as sa

from lake.tables import OBJECT_VERSION, OUTBOX
from registry.database import SPECS, TABLES, Registry, fetch, insert
from registry.documents import Workflow, read_document
from registry.loader import PACK, load_pack
from registry.objects import rows_of, version_row
from runtime.triggers import FIRED, BadSignature, fire, sign, verify_signature, work_at_hand

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2025, 3, 1, 12, tzinfo=UTC)


class Clockwork:
    """A registry with one more active workflow, and marts made by hand."""

    def __init__(self, root: Path) -> None:
        self.registry = Registry.open(root / "registry.db")
        load_pack(self.registry, PACK, actor="bootstrap", now=START)
        self.served = root / "rwcm.duckdb"

    def workflow(self, trigger_type: str, selector: Mapping[str, Any]) -> None:
        document = json.loads((PACK / "workflows/WF-FIN-001.json").read_text())
        document |= {"workflow_id": "WF-T-001", "workflow_name": "Timed"}
        for step in document["steps"]:
            step["step_id"] = f"T-{step['step_id']}"
        document["triggers"] = [{"trigger_id": "TR-T", "trigger_type": trigger_type, "selector": selector}]
        received = read_document(Workflow, json.dumps(document), name="WF-T-001")
        rows = list(rows_of(received, actor="t", now=START))
        with self.registry.transaction() as connection:
            for spec in SPECS:
                insert(connection, spec, [row for its, _, row in rows if its is spec])
            insert(connection, OBJECT_VERSION, [version_row(received, reason="t", source="t", actor="t", now=START)])

    def mart(self, sql: str) -> None:
        """Publish a new warehouse whose one mart holds what `sql` selects."""
        fresh = self.served.with_suffix(".new")
        with duckdb.connect(str(fresh)) as connection:
            connection.execute("create schema marts")
            connection.execute(f"create table marts.kpi as {sql}")
        fresh.replace(self.served)

    def fire(self, at: datetime) -> list[dict[str, Any]]:
        """Fire up to `at`; return the payloads that were announced since the call before."""
        before = {event_id for event_id, _ in self._announced()}
        fire(self.registry, self.served, now=at)
        return [json.loads(text) for event_id, text in self._announced() if event_id not in before]

    def _announced(self) -> list[tuple[str, str]]:
        table = TABLES[OUTBOX.name]
        with self.registry.read() as connection:
            query = sa.select(table.c.event_id, table.c.payload).filter_by(topic=FIRED).order_by(table.c.produced_at)
            return [(str(event_id), str(text)) for event_id, text in fetch(connection, query)]


@pytest.fixture
def clockwork(tmp_path: Path) -> Clockwork:
    return Clockwork(tmp_path)


def local(*parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=BERLIN, fold=fold).astimezone(UTC)  # type: ignore[misc, arg-type]


def test_a_schedule_fires_from_when_it_is_first_seen_and_once_for_each_time(clockwork: Clockwork) -> None:
    """A new schedule would fire for all of the past, or a time would be fired by every look."""
    clockwork.workflow("schedule", {"cron": "0 6 * * *"})
    assert clockwork.fire(START) == []
    six = datetime(2025, 3, 2, 6, tzinfo=UTC)
    assert clockwork.fire(six - timedelta(microseconds=1)) == []
    (fired,) = clockwork.fire(six)
    assert fired == {
        "trigger_id": "TR-T",
        "trigger_type": "schedule",
        "workflow_id": "WF-T-001",
        "fired_for": "2025-03-02T06:00:00+00:00",
        "missed": 0,
    }
    assert clockwork.fire(six) == clockwork.fire(six + timedelta(hours=23)) == []
    assert work_at_hand(clockwork.registry, clockwork.served, now=six + timedelta(hours=23)) is None


def test_times_that_nobody_saw_are_counted_and_the_last_one_fires(clockwork: Clockwork) -> None:
    """After a weekend off, the same report would be made three times, or not at all."""
    clockwork.workflow("schedule", {"cron": "0 6 * * *"})
    clockwork.fire(START)
    (fired,) = clockwork.fire(datetime(2025, 3, 5, 5, tzinfo=UTC))
    assert (fired["fired_for"], fired["missed"]) == ("2025-03-04T06:00:00+00:00", 2)


def test_years_without_a_look_cost_no_years(clockwork: Clockwork) -> None:
    """A home that slept would count every minute since before it woke up."""
    clockwork.workflow("schedule", {"cron": "* * * * *"})
    clockwork.fire(START)
    (fired,) = clockwork.fire(datetime(2035, 3, 5, 5, 30, 30, tzinfo=UTC))
    assert fired["fired_for"] == "2035-03-05T05:30:00+00:00"


@pytest.mark.parametrize(
    ("cron", "begin", "looks", "expected"),
    [
        # 2025-03-30 has no 02:30 in Berlin: the time is moved to when the clock goes on, 03:00, which is 01:00 UTC.
        ("30 2 * * *", local(2025, 3, 29, 12), 24, ["2025-03-30T01:00:00+00:00"]),
        # 2025-10-26 has 02:30 twice: a fixed hour is meant once, and the first one is 00:30 UTC.
        ("30 2 * * *", local(2025, 10, 25, 12), 36, ["2025-10-26T00:30:00+00:00"]),
        # Every hour is every hour, the repeated one too.
        (
            "0 * * * *",
            local(2025, 10, 26, 0, 30),
            4,
            [f"2025-10-2{day}T{hour:02}:00:00+00:00" for day, hour in ((5, 23), (6, 0), (6, 1), (6, 2))],
        ),
    ],
)
def test_a_schedule_keeps_its_wall_clock_when_clocks_change(
    clockwork: Clockwork, cron: str, begin: datetime, looks: int, expected: list[str]
) -> None:
    """A nightly job would run twice in October, or never in March."""
    clockwork.workflow("schedule", {"cron": cron, "timezone": "Europe/Berlin"})
    clockwork.fire(begin)
    fired = [new for hour in range(1, looks + 1) for new in clockwork.fire(begin + timedelta(hours=hour))]
    assert [firing["fired_for"] for firing in fired] == expected


def test_a_condition_fires_once_for_each_row_that_meets_it(clockwork: Clockwork) -> None:
    """A breached objective would start the same workflow with every publication of the marts, or never."""
    clockwork.workflow(
        "condition",
        {"mart": "kpi", "key": ["workflow_id", "month"], "condition": "success_rate < 0.9 && episodes > 10"},
    )
    assert clockwork.fire(START) == []
    row = "select '{}' as workflow_id, date '2025-0{}-01' as month, {} as success_rate, {} as episodes"
    clockwork.mart(f"{row.format('A', 1, 0.5, 11)} union all {row.format('B', 1, 0.5, 10)}")
    (fired,) = clockwork.fire(START)
    assert fired["row"] == {"workflow_id": "A", "month": "2025-01-01", "success_rate": 0.5, "episodes": 11}
    assert fired["fired_for"] == '["A","2025-01-01"]'
    clockwork.mart(f"{row.format('A', 1, 0.4, 12)} union all {row.format('B', 1, 0.5, 11)}")
    assert [firing["row"]["workflow_id"] for firing in clockwork.fire(START)] == ["B"]
    assert work_at_hand(clockwork.registry, clockwork.served, now=START) is None


def test_a_condition_without_a_value_does_not_fire(clockwork: Clockwork) -> None:
    """A null in a mart would end the look at every other trigger."""
    clockwork.workflow("condition", {"mart": "kpi", "key": ["n"], "condition": "rate < 0.9"})
    clockwork.mart("select 1 as n, null::double as rate union all select 2, 0.1")
    assert [firing["row"]["n"] for firing in clockwork.fire(START)] == [2]


def test_a_mart_that_does_not_exist_fires_nothing(clockwork: Clockwork) -> None:
    """A new home, or a name with a quote in it, would end in a database error."""
    clockwork.workflow("condition", {"mart": 'kpi"; drop table x', "key": ["n"], "condition": "n > 0"})
    clockwork.mart("select 1 as n")
    assert clockwork.fire(START) == []


# The example of the Standard Webhooks specification's own test suite: secret, id, time, body and signature.
_SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
_ID, _TIME, _BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_is_that_of_the_standard() -> None:
    """A sender that signs with anybody else's library would be refused."""
    assert sign(_SECRET, message_id=_ID, timestamp=_TIME, body=_BODY) == _SIGNATURE


def verified(**changes: Any) -> datetime:
    given: dict[str, Any] = {
        "message_id": _ID,
        "timestamp": str(_TIME),
        "signatures": f"v1,AAAA {_SIGNATURE}",
        "body": _BODY,
        "now": datetime.fromtimestamp(_TIME, UTC),
    }
    return verify_signature(_SECRET, **(given | changes))


def test_a_request_of_now_with_one_right_signature_is_taken() -> None:
    """No sender could change its secret over without losing messages."""
    assert verified() == datetime.fromtimestamp(_TIME, UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": _BODY + b" "},
        {"message_id": "msg_other"},
        {"timestamp": str(_TIME + 1)},
        {"signatures": ""},
        {"signatures": _SIGNATURE.lower()},
        {"signatures": "v1,ü"},
        {"timestamp": "-1"},
        {"timestamp": "１６１４２６５３３０"},
        {"timestamp": "9" * 400},
        {"message_id": ""},
        {"now": datetime.fromtimestamp(_TIME, UTC) + timedelta(minutes=5, seconds=1)},
        {"now": datetime.fromtimestamp(_TIME, UTC) - timedelta(minutes=5, seconds=1)},
    ],
)
def test_anything_else_is_refused(changes: dict[str, Any]) -> None:
    """A forged, changed or recorded request would start a workflow."""
    with pytest.raises(BadSignature) as refused:
        verified(**changes)
    assert _SIGNATURE not in str(refused.value)
