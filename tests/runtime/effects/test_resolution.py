"""What nobody knew of an effect is found out by a person, once, and the episode gets it."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from lake.tables import EFFECT, OUTBOX
from registry.access import Denied
from registry.database import Registry
from registry.permissions import Principal
from runtime.effects.journal import Effects
from runtime.effects.resolution import Decision, EffectFault, find_effect, list_effects, resolve_effect
from tests.runtime.effects.otherside import Booking, Ledger, call_for

CLERK = Principal("u-2", "person", "FA-IC-001")


def perform(registry: Registry, skill: Booking) -> dict[str, Any]:
    call = replace(call_for(["F-04/E-1/1"]), skill_id="SK-ERP-002")
    return Effects(registry).perform(skill, call, ["F-04/E-1/1"], timeout_ms=None).row(0, named=True)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(lambda key, sent: "lost" if sent == 1 else None)


@pytest.fixture
def parked(loaded: Registry, ledger: Ledger) -> Registry:
    assert perform(loaded, Booking(ledger))["error_code"] == "EFFECT_UNKNOWN"
    return loaded


def announced(registry: Registry, topic: str) -> list[dict[str, Any]]:
    rows = registry.frame(OUTBOX).filter(pl.col("topic") == topic)
    return [json.loads(payload) for payload in rows["payload"]]


def resolve(registry: Registry, decision: Decision, now: datetime, **options: Any) -> None:
    given = {"principal": CLERK, "reason": "looked into the ledger", **options}
    resolve_effect(registry, "F-04/E-1/1", decision, now=now, **given)


def test_what_happened_comes_back_with_its_answer(parked: Registry, ledger: Ledger, now: datetime) -> None:
    """The episode would book again, or go on without the number of what was booked."""
    resolve(parked, Decision.DONE, now, output='{"record_id": "4711", "amount": 1.50}')
    assert perform(parked, Booking(ledger))["output"] == '{"amount":1.5,"record_id":"4711"}'
    assert ledger.sent.total() == 1


def test_what_did_not_happen_is_done_again(parked: Registry, ledger: Ledger, now: datetime) -> None:
    """An invoice that was not booked would never be."""
    ledger.booked.clear()
    resolve(parked, Decision.RETRY, now)
    assert perform(parked, Booking(ledger))["error_code"] is None
    assert (ledger.sent.total(), ledger.booked.total()) == (2, 1)


def test_what_shall_not_happen_fails_its_step(parked: Registry, ledger: Ledger, now: datetime) -> None:
    """An effect that is given up would be sent at the next execution."""
    resolve(parked, Decision.FAILED, now)
    failed = perform(parked, Booking(ledger))
    assert (failed["error_code"], failed["output"]) == ("REJECTED", None)
    assert ledger.sent.total() == 1


def test_it_is_announced_by_whom_and_why(parked: Registry, now: datetime) -> None:
    """The episode would not wake, and nobody could say who claimed that it was booked."""
    resolve(parked, Decision.DONE, now)
    (told,) = announced(parked, "effect.resolved")
    assert told == {
        "key": "F-04/E-1/1",
        "change": "done",
        "object_type": "effect",
        "object_id": "F-04/E-1/1",
        "episode_id": "episode of F-04/E-1/1",
        "step_id": "T-01",
        "skill_id": "SK-ERP-002",
        "actor": "u-2",
        "role_id": "FA-IC-001",
        "reason": "looked into the ledger",
    }
    (row,) = parked.frame(EFFECT).iter_rows(named=True)
    assert (row["updated_by"], row["reason"], row["settled_at"]) == ("u-2", "looked into the ledger", now)


@pytest.mark.parametrize("decision", list(Decision))
def test_it_is_resolved_once(parked: Registry, now: datetime, decision: Decision) -> None:
    """Two people would resolve it differently, and the episode get the second answer or the first."""
    resolve(parked, decision, now)
    for other in Decision:
        with pytest.raises(EffectFault, match="not unknown"):
            resolve(parked, other, now)
    assert len(announced(parked, "effect.resolved")) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"output": "[1]"}, "JSON object"),
        ({"output": "{"}, "no JSON"),
        ({"output": '{"api_key": "k3y-0f-a-system"}'}, "leave it out"),
        ({"reason": "  "}, "say why"),
        ({"reason": "x" * 1025}, "say why"),
        ({"principal": Principal("AG-ERP-001", "agent", "FA-IC-001")}, "a person's to say"),
    ],
)
def test_what_does_not_fit_is_refused(parked: Registry, now: datetime, options: dict[str, Any], why: str) -> None:
    """A secret or nonsense would come back as the other side's answer."""
    with pytest.raises(EffectFault, match=why):
        resolve(parked, Decision.DONE, now, **options)
    assert find_effect(parked, "F-04/E-1/1").state == "unknown"
    assert announced(parked, "effect.resolved") == []


def test_who_may_not_use_the_skill_resolves_nothing(parked: Registry, now: datetime) -> None:
    """Somebody without a right to book could say that it was booked."""
    with pytest.raises(Denied):
        resolve(parked, Decision.DONE, now, principal=Principal("u-5", "person", "MKT-M-001"))
    assert find_effect(parked, "F-04/E-1/1").state == "unknown"
    assert [item["subject_id"] for item in announced(parked, "access.denied")] == ["u-5"]


def test_effects_are_found_by_key_beginning_and_state(parked: Registry) -> None:
    """A person would look for one parked effect among all that were done."""
    assert [effect.effect_key for effect in list_effects(parked)] == ["F-04/E-1/1"]
    assert list_effects(parked, state="done") == []
    assert find_effect(parked, "F-04").error_message is not None
    for name in ("F-0", "F-99", "%%%%"):
        with pytest.raises(EffectFault, match="effects list"):
            find_effect(parked, name)
