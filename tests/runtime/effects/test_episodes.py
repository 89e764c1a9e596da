"""Episodes with effects: what a workflow does at another system is done once, though its batch runs again."""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lake.tables import EFFECT, OPEN_EPISODE, RUN_EPISODE, STEP_RUN
from registry.documents import RuntimeBinding
from registry.loader import PACK
from registry.permissions import Principal
from runtime.effects.resolution import Decision, resolve_effect
from runtime.execution import execute_pending
from runtime.protocol import Skill
from runtime.replay import replay
from runtime.skills.simulated import SimulatedSkills
from runtime.skills.table import Skills
from tests.builders import LATER, Payables, event
from tests.runtime.effects.otherside import Booking, Ledger
from tests.runtime.effects.system import System, running, skills


@pytest.fixture
def system() -> Iterator[System]:
    with running() as made:
        yield made


@pytest.fixture
def payables(tmp_path: Path, system: System) -> Payables:
    """A home whose invoices are booked by HTTP."""
    pack = Path(shutil.copytree(PACK, tmp_path / "pack"))
    path = pack / "skills/SK-ERP-002.json"
    document = json.loads(path.read_text())
    document["runtime_binding"] |= {
        "adapter": "http",
        "endpoint": system.url,
        "http": {"path": "/book", "body": {"amount": "entities.amount"}, "idempotency_header": "Idempotency-Key"},
    }
    path.write_text(json.dumps(document))
    made = Payables(tmp_path / "home", pack=pack)
    for number in range(5):
        made.invoice(f"{number}")
    return made


def execute(payables: Payables, folder: Path) -> None:
    with skills(folder) as http:
        table = Skills([SimulatedSkills(payables.home.simulated), http])
        execute_pending(payables.lake, payables.registry, skills=table, now=LATER)


def test_a_batch_that_runs_again_books_nothing_again(
    payables: Payables, system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the booking and the lake would book every invoice of the batch a second time."""
    system.knows_keys = False  # so that a second request would show

    def die(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(type(payables.lake), "append", die)
        with pytest.raises(KeyboardInterrupt):
            execute(payables, tmp_path)
    assert payables.table(RUN_EPISODE).is_empty()

    execute(payables, tmp_path)

    assert payables.table(RUN_EPISODE)["outcome"].to_list() == ["success"] * 5
    assert sorted(system.booked.values()) == [1] * 5
    assert [item["amount"] for item in system.received] == [100] * 5
    journal = payables.registry.frame(EFFECT)
    assert set(journal["effect_key"]) == set(system.booked)
    assert set(journal["state"]) == {"done"}
    assert set(journal["skill_id"]) == {"SK-ERP-002"}
    assert set(journal["episode_id"]) == set(payables.table(RUN_EPISODE)["episode_id"])


class _Unanswered:
    """The simulated skills, but that bookings go to a ledger; whoever asks for ever is stopped."""

    def __init__(self, payables: Payables, ledger: Ledger) -> None:
        self._others, self._booking = payables.skills, Booking(ledger)
        self.asked = 0

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        if skill_id != "SK-ERP-002":
            return self._others.find(skill_id, binding)
        self.asked += 1
        if self.asked > 20:
            raise KeyboardInterrupt
        return self._booking


def test_an_effect_that_is_unknown_again_waits_for_a_person_again(tmp_path: Path) -> None:
    """The word on the first attempt would be taken for one on the second, and the batch would go on for ever."""
    payables = Payables(tmp_path / "home")
    payables.invoice("1")
    ledger = Ledger(lambda key, sent: "lost")
    table = _Unanswered(payables, ledger)

    def go(at: datetime) -> None:
        execute_pending(payables.lake, payables.registry, skills=table, now=at)

    def say(decision: Decision, at: datetime) -> None:
        (key,) = payables.registry.frame(EFFECT)["effect_key"]
        clerk = Principal("u-2", "person", "FA-IC-001")
        resolve_effect(payables.registry, key, decision, principal=clerk, reason="seen", now=at)
        payables.arrive(event(f"EF-{at}", "effect.resolved", {"key": key}, at))

    go(LATER)
    say(Decision.RETRY, LATER + timedelta(hours=1))
    for hours in (2, 3):
        go(LATER + timedelta(hours=hours))
        assert payables.registry.frame(EFFECT)["state"].to_list() == ["unknown"]
        assert payables.registry.frame(OPEN_EPISODE)["step_id"].to_list() == ["F-04"]
    assert ledger.sent.total() == 2

    say(Decision.DONE, LATER + timedelta(hours=4))
    go(LATER + timedelta(hours=5))
    assert ledger.sent.total() == 2
    assert payables.table(RUN_EPISODE)["outcome"].to_list() == ["success"]
    (booked,) = payables.table(STEP_RUN).filter(step_id="F-04")["started_at"]
    assert booked == LATER + timedelta(hours=4)
    found = replay(payables.lake, payables.registry, "WF-FIN-001", skills=payables.skills)
    assert (found.replayed, found.divergences.to_dicts()) == (1, [])
