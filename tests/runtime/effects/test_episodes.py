"""Episodes with effects: what a workflow does at another system is done once, though its batch runs again."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lake.tables import EFFECT, RUN_EPISODE
from registry.loader import PACK
from runtime.execution import execute_pending
from runtime.skills.simulated import SimulatedSkills
from runtime.skills.table import Skills
from tests.builders import LATER, Payables
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
