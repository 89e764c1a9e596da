"""`rwcm handoffs`, as a person meets it whose decision a workflow waits for."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import main
from tests.builders import Payables


def rwcm(*arguments: str, token: str = "") -> Any:
    return CliRunner().invoke(main, list(arguments), env={"RWCM_TOKEN": token})


def listed(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(rwcm("handoffs", "list", *arguments, "--json").stdout)
    return found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one invoice wait for somebody who approves its price, from a moment ago."""
    payables = Payables(tmp_path / "home")
    now = datetime.now(UTC)
    payables.invoice("steep", billed="150.00", at=now)
    payables.execute(now=now)
    payables.registry.close()
    monkeypatch.setenv("RWCM_HOME", str(payables.home.root))


@pytest.fixture
def steep() -> str:
    (handoff,) = listed()
    return str(handoff["handoff_id"])


def token_of(subject: str, role: str) -> str:
    done = rwcm("token", "issue", "--subject", subject, "--role", role)
    assert done.exit_code == 0, done.stderr
    return str(done.stdout).strip()


@pytest.fixture
def manager() -> str:
    return token_of("u-17", "FA-M-001")


def test_what_waits_is_listed_and_shown(steep: str) -> None:
    """Nobody would know what is asked of them, or about what."""
    said = rwcm("handoffs", "list").stdout
    assert all(word in said for word in (steep[:8], "WF-FIN-001", "F-03", "FA-M-001"))
    assert listed("--owner", "IT-M-001") == []
    shown = json.loads(rwcm("handoffs", "show", steep[:8], "--json").stdout)
    assert (shown["handoff_id"], shown["payload"]["po_id"]) == (steep, "PO-steep")
    assert "PO_MISMATCH" in rwcm("handoffs", "show", steep).stdout


@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_a_decision_is_taken_once(steep: str, manager: str, decision: str) -> None:
    """Approved and rejected would both be on record."""
    done = rwcm("handoffs", "decide", steep[:8], decision, "--reason", "agreed by phone", token=manager)
    assert done.exit_code == 0, done.stderr
    assert decision in done.stdout
    assert listed() == []
    (handoff,) = listed("--decided")
    assert handoff["history"][-1]["decision"] == decision
    assert f"{decision} by u-17: agreed by phone" in rwcm("handoffs", "show", steep).stdout
    for again in (
        rwcm("handoffs", "decide", steep, "approved", token=manager),
        rwcm("handoffs", "reassign", steep, "FA-IC-001", token=manager),
    ):
        assert (again.exit_code, again.stdout) == (2, "")
        assert f"was {decision} by u-17" in again.stderr


def test_it_is_given_to_another_role_which_then_decides(steep: str, manager: str) -> None:
    """A handoff would stay with somebody who is away."""
    clerk = token_of("u-2", "FA-IC-001")
    assert rwcm("handoffs", "decide", steep, "approved", token=clerk).exit_code == 2
    given = rwcm("handoffs", "reassign", steep, "FA-IC-001", "--reason", "away", token=manager)
    assert given.exit_code == 0, given.stderr
    assert [handoff["handoff_id"] for handoff in listed("--owner", "FA-IC-001")] == [steep]
    assert "given to FA-IC-001 by u-17: away" in rwcm("handoffs", "show", steep).stdout
    assert rwcm("handoffs", "decide", steep, "approved", token=clerk).exit_code == 0


def test_what_is_not_known_is_refused_with_the_way_to_find_it(steep: str, manager: str) -> None:
    """A slip of the hand would end in a traceback."""
    for done in (
        rwcm("handoffs", "show", "00000000"),
        rwcm("handoffs", "decide", "00000000", "approved", token=manager),
        rwcm("handoffs", "reassign", "00000000", "FA-IC-001", token=manager),
    ):
        assert (done.exit_code, done.stdout) == (2, "")
        assert "rwcm handoffs list" in done.stderr
    nobody = rwcm("handoffs", "reassign", steep, "NO-ROLE", token=manager)
    assert (nobody.exit_code, nobody.stdout) == (2, "")
    assert "NO-ROLE" in nobody.stderr


@pytest.mark.parametrize(("subject", "role"), [("u-2", "FA-IC-001"), ("u-9", "IT-M-001"), ("", "")])
def test_who_does_not_act_for_the_owner_or_is_nobody_does_nothing(steep: str, subject: str, role: str) -> None:
    """The clerk who made the invoice would approve it."""
    token, says = (token_of(subject, role), "FA-M-001") if subject else ("", "RWCM_TOKEN")
    for done in (
        rwcm("handoffs", "decide", steep, "approved", token=token),
        rwcm("handoffs", "reassign", steep, "FA-IC-001", token=token),
    ):
        assert (done.exit_code, done.stdout) == (2, "")
        assert says in done.stderr
    assert [handoff["owner_role_id"] for handoff in listed()] == ["FA-M-001"]
