"""`rwcm effects`, as a person meets it who has to find out what became of an effect."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import main
from lake.home import Home
from registry.database import Registry
from registry.loader import PACK, load_pack
from runtime.effects.journal import Effects
from tests.databases import NOW
from tests.runtime.effects.otherside import Booking, Ledger, call_for

KEY = "F-04/E-1/1"
Perform = Callable[[], dict[str, Any]]


def rwcm(*arguments: str, token: str = "") -> Any:
    return CliRunner().invoke(main, list(arguments), env={"RWCM_TOKEN": token})


def token_of(subject: str, role: str) -> str:
    done = rwcm("token", "issue", "--subject", subject, "--role", role)
    assert done.exit_code == 0, done.stderr
    return str(done.stdout).strip()


def listed(*arguments: str) -> dict[str, str]:
    found = json.loads(rwcm("effects", "list", *arguments, "--json").stdout)
    return {effect["effect_key"]: effect["state"] for effect in found}


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def perform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> Perform:
    """Perform one effect of which nobody knows what became of it, and which can be performed again."""
    home = Home(tmp_path / "home").prepare()
    monkeypatch.setenv("RWCM_HOME", str(home.root))
    ledger = Ledger(lambda key, sent: "lost" if sent == 1 else None)
    registry = Registry.open(home.registry_db)
    load_pack(registry, PACK, actor="bootstrap", now=NOW)
    registry.close()

    def work() -> dict[str, Any]:
        registry = Registry.open(home.registry_db)
        call = replace(call_for([key]), skill_id="SK-ERP-002")
        done = Effects(registry, batch_id="B-1").perform(Booking(ledger), call, [key], timeout_ms=None)
        registry.close()
        return done.row(0, named=True)

    assert work()["error_code"] == "EFFECT_UNKNOWN"
    return work


@pytest.fixture
def clerk(perform: Perform) -> str:
    """The token of somebody who may use the skill."""
    return token_of("u-2", "FA-IC-001")


def test_what_waits_is_listed_and_shown(perform: Perform) -> None:
    """Nobody would know that an episode waits for them, or what to look for."""
    said = rwcm("effects", "list").stdout
    assert all(word in said for word in (KEY, "SK-ERP-002", "T-01", "unknown", "EFFECT_UNKNOWN"))
    assert listed("--state", "done") == {}
    assert listed("--state", "all") == {KEY: "unknown"}
    for name in (KEY, "F-04"):
        shown = json.loads(rwcm("effects", "show", name, "--json").stdout)
        assert (shown["effect_key"], shown["batch_id"]) == (KEY, "B-1")
        assert shown["episode_id"] in rwcm("effects", "show", name).stdout


def test_what_happened_is_resolved_with_its_answer(perform: Perform, clerk: str, tmp_path: Path) -> None:
    """The episode would go on without the number of what was booked."""
    answer = tmp_path / "answer.json"
    answer.write_text('{"record_id": "4711"}')
    done = rwcm("effects", "resolve", KEY, "done", "--output", str(answer), "--reason", "in the ledger", token=clerk)
    assert done.exit_code == 0, done.stderr
    assert f"{KEY} is resolved; the next execution goes on with episode" in done.stdout
    assert rwcm("effects", "list").stdout.strip() == "no effect waits for a person"
    shown = json.loads(rwcm("effects", "show", KEY, "--json").stdout)
    assert (shown["state"], shown["output"], shown["reason"]) == ("resolved", {"record_id": "4711"}, "in the ledger")
    assert shown["updated_by"] == "u-2"
    assert perform()["output"] == '{"record_id":"4711"}'


@pytest.mark.parametrize(
    ("decision", "state", "code"), [("retry", "not_done", None), ("failed", "resolved", "REJECTED")]
)
def test_what_did_not_happen_is_tried_again_or_given_up(
    perform: Perform, clerk: str, decision: str, state: str, code: str | None
) -> None:
    """What a person said would not be what the episode does."""
    assert rwcm("effects", "resolve", KEY, decision, "--reason", "not there", token=clerk).exit_code == 0
    assert listed("--state", "all") == {KEY: state}
    assert perform()["error_code"] == code


@pytest.mark.parametrize("key", ["single-step/6f0c/E-1/1"])
def test_what_a_single_step_did_is_resolved_without_an_episode(perform: Perform, clerk: str, key: str) -> None:
    """Whoever tried a step by itself would wait for an execution to go on with an episode that does not wait."""
    done = rwcm("effects", "resolve", key, "failed", "--reason", "not there", token=clerk)
    assert (done.exit_code, "execution" in done.stdout) == (0, False), done.stderr
    assert "no episode waits for it" in done.stdout


def test_it_is_resolved_once(perform: Perform, clerk: str) -> None:
    """Two people would say two things, and the episode would do the one or the other."""
    assert rwcm("effects", "resolve", KEY, "failed", "--reason", "not there", token=clerk).exit_code == 0
    again = rwcm("effects", "resolve", KEY, "retry", "--reason", "not there", token=clerk)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "is resolved, not unknown" in again.stderr


def test_what_is_not_known_is_refused_with_the_way_to_find_it(perform: Perform, clerk: str) -> None:
    """A slip of the hand would end in a traceback."""
    for done in (
        rwcm("effects", "show", "F-99"),
        rwcm("effects", "resolve", "F-99", "retry", "--reason", "not there", token=clerk),
    ):
        assert (done.exit_code, done.stdout) == (2, "")
        assert "rwcm effects list" in done.stderr


def test_who_may_not_use_the_skill_or_is_nobody_resolves_nothing(perform: Perform) -> None:
    """Somebody without a right to book could say that it was booked."""
    for token, says in ((token_of("u-5", "MKT-M-001"), "SK-ERP-002"), ("", "RWCM_TOKEN")):
        done = rwcm("effects", "resolve", KEY, "done", "--reason", "in the ledger", token=token)
        assert (done.exit_code, done.stdout) == (2, "")
        assert says in done.stderr
    assert listed() == {KEY: "unknown"}


@pytest.mark.parametrize(
    ("content", "says"), [(b"[1]", "JSON object"), (b"{", "no JSON"), (b"\xff", "UTF-8"), (None, "does not exist")]
)
def test_an_answer_that_is_none_is_refused(
    perform: Perform, clerk: str, tmp_path: Path, content: bytes | None, says: str
) -> None:
    """Nonsense would come back to the episode as the other side's answer."""
    answer = tmp_path / "answer.json"
    if content is not None:
        answer.write_bytes(content)
    done = rwcm("effects", "resolve", KEY, "done", "--output", str(answer), "--reason", "seen", token=clerk)
    assert done.exit_code == 2
    assert says in done.stderr
    assert listed() == {KEY: "unknown"}
