"""`rwcm execute`, as a user calls it."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from app.cli import main
from dagster_project.instance import prepare_instance
from lake.tables import EFFECT, RUN_EPISODE, STEP_RUN
from registry.loader import PACK
from registry.tokens import issue_token
from tests.builders import NINE, Payables
from tests.runtime.effects.system import System, running

PAYLOAD = {"invoice_uri": "sim://one", "vendor_id": "VEND-1", "po_id": "PO-one"}


@pytest.fixture
def payables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Payables:
    payables = Payables(tmp_path / "home")
    monkeypatch.setenv("RWCM_HOME", str(payables.home.root))
    monkeypatch.delenv("RWCM_TOKEN", raising=False)
    return payables


def rwcm(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def file(folder: Path, content: Any, name: str = "file.json") -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def step(folder: Path, step_id: str, *arguments: str, payload: Any = PAYLOAD) -> Result:
    given = file(folder, payload, "payload.json")
    return rwcm("execute", "--workflow", "WF-FIN-001", "--step", step_id, "--payload", given, *arguments)


# All that is pending


def test_what_is_pending_runs_once_and_is_logged_as_materialised(payables: Payables) -> None:
    """The UI would not know what the command did, or the command do it twice."""
    for number in range(3):
        payables.invoice(f"good-{number}")
    payables.invoice("old", at=NINE - timedelta(days=45))
    payables.invoice("waits", billed="150.00", at=datetime.now(UTC) - timedelta(hours=1))
    done = rwcm("execute")
    assert done.exit_code == 0, done.stderr
    episodes, runs = payables.table(RUN_EPISODE), payables.table(STEP_RUN)
    assert episodes["trigger_event_id"].sort().to_list() == ["EV-good-0", "EV-good-1", "EV-good-2", "EV-old"]
    read = [line.split() for line in done.stdout.splitlines()]
    assert ["success", "4"] in read and ["running", "1"] in read
    assert ["step", "runs", str(runs.height)] in read
    assert ["months", "2025-01,", "2025-03"] in read
    with dg.DagsterInstance.from_config(str(prepare_instance(payables.home))) as instance:
        for key in ("run_episode", "step_run"):
            assert {"2025-01-01", "2025-03-01"} <= instance.get_materialized_partitions(dg.AssetKey(key))
    again = rwcm("execute", "--json")
    assert again.exit_code == 0, again.stderr
    told = json.loads(again.stdout)
    assert (told["episodes"], told["step_runs"], told["months"]) == ({}, 0, [])
    assert payables.table(RUN_EPISODE).rows() == episodes.rows()
    assert "nothing is pending" in rwcm("execute").stdout


# One step


def test_a_step_is_shown_with_input_answer_and_way_on_and_nothing_is_written(
    payables: Payables, tmp_path: Path
) -> None:
    """The first thing a user tries would not work, or leave an episode behind."""
    payables.invoice("one", billed="150.00")
    payables.execute(now=NINE + timedelta(hours=1))
    before = payables.versions()
    shown = step(tmp_path, "F-01", "--json").stdout
    assert '"amount":150.00' in shown, "a digit was lost"
    first = json.loads(shown)
    assert first["input"] == {"entities": ["vendor_id", "amount", "po_id"], "file_uri": "sim://one"}
    assert (first["status"], first["targets"]) == ("success", ["F-02"])
    outputs = file(tmp_path, [{"step_id": "F-01", "input": first["input"], "output": first["output"]}])
    second = step(tmp_path, "F-02", "--outputs", outputs)
    assert second.exit_code == 0, second.stderr
    assert "next       F-03" in second.stdout
    assert "pass==false is true" in second.stdout
    third = json.loads(step(tmp_path, "F-03", "--event", "EV-one", "--at", "2025-03-03T09:00:00Z", "--json").stdout)
    assert (third["awaits"]["topic"], third["awaits"]["key"]) == ("handoff.decided", '["EV-one"]')
    due = datetime(2025, 3, 6, 9, tzinfo=UTC) + timedelta(milliseconds=third["latency_ms"])
    assert datetime.fromisoformat(third["awaits"]["due_at"]) == due
    assert payables.versions() == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--workflow", "WF-XXX-001", "--step", "F-01", "--payload", "{payload}"], "WF-XXX-001"),
        (["--workflow", "WF-FIN-001", "--step", "F-99", "--payload", "{payload}"], "F-05"),
        (["--workflow", "WF-FIN-001", "--step", "F-01", "--version", "9.9.9", "--payload", "{payload}"], "9.9.9"),
        (["--workflow", "WF-FIN-001", "--step", "F-01", "--payload", "{broken}"], "JSON"),
        (["--workflow", "WF-FIN-001", "--step", "F-01", "--payload", "{list}"], "object"),
        (["--workflow", "WF-FIN-001", "--step", "F-01", "--payload", "{absent}"], "No such file"),
        (["--workflow", "WF-FIN-001", "--step", "F-01", "--payload", "{payload}", "--outputs", "{payload}"], "array"),
        (["--workflow", "WF-FIN-001", "--step", "F-01", "--payload", "{payload}", "--outputs", "{list}"], "entry 0"),
        (["--workflow", "WF-FIN-001", "--step", "F-01"], "--payload"),
        (["--step", "F-01", "--payload", "{payload}"], "--workflow"),
        (["--workflow", "WF-FIN-001"], "--step"),
        (["--perform"], "--step"),
        (["--workflow", "WF-FIN-001", "--step", "F-01", "--payload", "{payload}", "--perform"], "RWCM_TOKEN"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(
    payables: Payables, tmp_path: Path, arguments: list[str], word: str
) -> None:
    """A typing error would end in a traceback, or run everything instead of a step."""
    payables.invoice("one")
    places = {
        "payload": file(tmp_path, PAYLOAD, "payload.json"),
        "broken": file(tmp_path, '{"a": 1', "broken.json"),
        "list": file(tmp_path, "[1]", "list.json"),
        "absent": str(tmp_path / "absent.json"),
    }
    done = rwcm("execute", *(argument.format(**places) for argument in arguments))
    assert done.exit_code == 2, done.stdout
    assert word in done.stderr and "Traceback" not in done.stderr
    assert payables.table(RUN_EPISODE).is_empty()


def test_an_effect_is_done_for_who_may_and_under_a_key_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debugging would book what nobody asked for, for anybody, or in the place of an episode's own booking."""
    with running() as system:
        payables = Payables(tmp_path / "home", pack=booking_at(system, tmp_path / "pack"))
        monkeypatch.setenv("RWCM_HOME", str(payables.home.root))
        outputs = file(tmp_path, [{"step_id": "F-01", "output": {"entities": {"amount": 100}}}])
        withheld = step(tmp_path, "F-04", "--outputs", outputs)
        assert withheld.exit_code == 2 and '"action":"Book_Invoice"' in withheld.stderr
        monkeypatch.setenv("RWCM_TOKEN", token_of(payables, "DA-M-001"))
        denied = step(tmp_path, "F-04", "--outputs", outputs, "--perform")
        assert denied.exit_code == 2 and "SK-ERP-002" in denied.stderr
        assert not system.received and payables.registry.frame(EFFECT).is_empty()
        monkeypatch.setenv("RWCM_TOKEN", token_of(payables, "FA-M-001"))
        done = step(tmp_path, "F-04", "--outputs", outputs, "--perform", "--json")
        assert done.exit_code == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["status"], told["targets"]) == ("success", ["F-05"])
        assert system.received == [{"amount": 100}]
        assert dict(system.booked) == {told["effect_key"]: 1}
        assert payables.registry.frame(EFFECT)["effect_key"].to_list() == [told["effect_key"]]
        assert payables.table(RUN_EPISODE).is_empty()


def booking_at(system: System, pack: Path) -> Path:
    """Return a pack that books invoices by HTTP, and may reach the loopback."""
    shutil.copytree(PACK, pack)
    path = pack / "skills/SK-ERP-002.json"
    document = json.loads(path.read_text())
    document["runtime_binding"] |= {
        "adapter": "http",
        "endpoint": system.url,
        "http": {"path": "/book", "body": {"amount": "entities.amount"}, "idempotency_header": "Idempotency-Key"},
    }
    path.write_text(json.dumps(document))
    path = pack / "policies/POL-ACCESS-001.json"
    policy = json.loads(path.read_text())
    policy["spec"]["egress"] = {"loopback": True}
    path.write_text(json.dumps(policy))
    return pack


def token_of(payables: Payables, role_id: str) -> str:
    return issue_token(
        payables.registry,
        subject_id=f"person-{role_id}",
        subject_type="person",
        role_id=role_id,
        actor="test",
        now=datetime.now(UTC),
    ).token


def test_an_empty_home_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command typed too early would make a registry as a side effect."""
    monkeypatch.setenv("RWCM_HOME", str(tmp_path / "home"))
    done = rwcm("execute")
    assert done.exit_code == 2 and "make run" in done.stderr
    assert not (tmp_path / "home" / "registry.db").exists()
