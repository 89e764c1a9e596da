"""The journal: each effect happens once under its key, and what nobody knows is not guessed."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.tables import EFFECT, OPEN_EFFECTS
from registry.database import Registry
from runtime.effects.journal import GROUP, UNSETTLED_GROUP, Effects
from runtime.effects.records import Group, Outcome
from runtime.effects.resolution import list_effects
from runtime.protocol import RESULT_SCHEMA, Call, ErrorCode, Skill
from tests.builders import Whole, answer, rows
from tests.runtime.effects.otherside import AskableBooking, Booking, Ledger, call_for

KEYS = ["k-1", "k-2", "k-3"]


def perform(registry: Registry, skill: Skill, keys: list[str] = KEYS, **arguments: list[Any]) -> pl.DataFrame:
    return Effects(registry, batch_id="B-1").perform(skill, call_for(keys, **arguments), keys, timeout_ms=None)


def states(registry: Registry) -> dict[str, str]:
    return {effect.effect_key: effect.state for effect in list_effects(registry, state=None, limit=10_000)}


def codes(result: pl.DataFrame) -> list[str | None]:
    return result["error_code"].to_list()


class Killed(BaseException):
    """Stands for a process that ends here."""


class Dying(Effects):
    """A journal whose process ends at its n-th write, before or after the commit."""

    def __init__(self, registry: Registry, *, after: int, is_committed: bool) -> None:
        super().__init__(registry, batch_id="B-1")
        self.left = after
        self.is_committed = is_committed
        self.is_dead = False

    def write(self, meant: Sequence[Group], outcomes: Sequence[Outcome]) -> None:
        if self.is_dead:
            raise Killed
        self.left -= 1
        if self.left < 0:
            self.is_dead = True
            if self.is_committed:
                super().write(meant, outcomes)
            raise Killed
        super().write(meant, outcomes)


def crash(registry: Registry, skill: Skill, *, after: int, is_committed: bool = False) -> None:
    """Perform `KEYS` in a process that ends at a write of the journal."""
    dying = Dying(registry, after=after, is_committed=is_committed)
    with pytest.raises(Killed):
        dying.perform(skill, call_for(KEYS), KEYS, timeout_ms=None)


# What is recorded


def test_results_come_back_in_order_with_every_column(registry: Registry) -> None:
    """An episode would go on with the answer that another one got."""
    given_rows = rows(
        [
            {
                **answer({"n": number, "text": 'ä\u2028"\\'}, latency_ms=number),
                "token_in": 3,
                "model": "m",
                "system": "s",
            }
            for number in range(3)
        ]
    )
    done = perform(registry, Whole(lambda call: given_rows, is_pure=False))
    assert done.schema == RESULT_SCHEMA
    assert done.equals(given_rows)
    assert perform(registry, Whole(lambda call: pytest.fail("it was done"), is_pure=False)).equals(given_rows)


def test_a_key_that_is_done_is_not_done_again(registry: Registry) -> None:
    """An invoice would be booked twice when its batch runs again."""
    ledger = Ledger()
    first = perform(registry, Booking(ledger))
    assert perform(registry, Booking(ledger)).equals(first)
    assert ledger.sent == Counter(dict.fromkeys(KEYS, 1))
    assert states(registry) == dict.fromkeys(KEYS, "done")


def test_new_keys_among_known_ones_are_done(registry: Registry) -> None:
    """A batch that grew would lose its new rows, or repeat its old ones."""
    ledger = Ledger()
    perform(registry, Booking(ledger), ["k-2"])
    done = perform(registry, Booking(ledger))
    assert ledger.sent == Counter(dict.fromkeys(KEYS, 1))
    assert done["output"].to_list() == [f'{{"booked": "{key}"}}' for key in KEYS]


def test_an_answer_that_refuses_is_recorded_as_well(registry: Registry) -> None:
    """A rejected booking would be sent again and again, and be accepted one day behind the episode's back."""
    ledger = Ledger(lambda key, sent: "REJECTED" if sent == 1 else None)
    assert codes(perform(registry, Booking(ledger))) == ["REJECTED"] * 3
    assert codes(perform(registry, Booking(ledger))) == ["REJECTED"] * 3
    assert ledger.sent.total() == 3


def test_what_is_meant_is_written_before_it_is_done(registry: Registry) -> None:
    """A process killed within a call would leave no trace of it, and the call would be made again."""
    seen: list[dict[str, str]] = []

    def look(call: Call) -> pl.DataFrame:
        seen.append(states(registry))
        return rows([answer()] * call.rows)

    perform(registry, Whole(look, is_pure=False))
    assert seen == [dict.fromkeys(KEYS, "intended")]


def test_the_row_says_whose_effect_it_is(registry: Registry) -> None:
    """A person who is asked about an effect would not know which episode it belongs to."""
    perform(registry, Booking(Ledger()), ["k-1"])
    (row,) = registry.frame(EFFECT).iter_rows(named=True)
    assert (row["skill_id"], row["step_id"], row["episode_id"], row["batch_id"]) == (
        "SK-TEST-001",
        "T-01",
        "episode of k-1",
        "B-1",
    )
    assert row["intended_at"] <= row["settled_at"]


@pytest.mark.parametrize(("skill", "size"), [(Booking(Ledger(), is_idempotent=True), GROUP), (Booking(Ledger()), 16)])
def test_one_transaction_carries_the_last_results_and_the_next_intents(
    registry: Registry, skill: Booking, size: int
) -> None:
    """Each call would pay for a transaction of its own: the disk would be slower than the other side."""
    written: list[tuple[list[Group], list[Outcome]]] = []

    class Counted(Effects):
        def write(self, meant: Sequence[Group], outcomes: Sequence[Outcome]) -> None:
            written.append((list(meant), list(outcomes)))
            super().write(meant, outcomes)

    keys = [f"k-{number}" for number in range(3 * size + 1)]
    Counted(registry).perform(skill, call_for(keys), keys, timeout_ms=None)
    assert sum(bool(meant or outcomes) for meant, outcomes in written) <= 5
    assert any(meant and outcomes for meant, outcomes in written)
    assert max(call.rows for call in skill.calls) == size
    assert states(registry) == dict.fromkeys(keys, "done")
    assert registry.frame(OPEN_EFFECTS).is_empty()


def test_what_somebody_looks_at_while_it_is_under_way_is_recorded_all_the_same(registry: Registry) -> None:
    """A list that a person asks for within a call would take the effects from the group whose results are to come."""
    seen: list[list[str]] = []

    def look(call: Call) -> pl.DataFrame:
        seen.append([effect.effect_key for effect in list_effects(registry, state="intended")])
        return rows([answer()] * call.rows)

    perform(registry, Whole(look, is_pure=False))
    assert seen == [KEYS]
    assert states(registry) == dict.fromkeys(KEYS, "done")
    assert registry.frame(EFFECT)["intended_at"].n_unique() == 1


def test_a_group_that_others_left_is_not_touched(registry: Registry) -> None:
    """Each execution would write the rows of all that run beside it a second time."""
    crash(registry, Booking(Ledger()), after=1)
    perform(registry, Booking(Ledger()), ["other"])
    assert registry.frame(OPEN_EFFECTS).height == 1
    assert codes(perform(registry, Booking(Ledger()), ["k-2"])) == ["EFFECT_UNKNOWN"]
    assert states(registry) == {"k-1": "intended", "k-2": "unknown", "k-3": "intended", "other": "done"}


def test_a_crash_leaves_few_effects_to_a_person(registry: Registry) -> None:
    """After one crash somebody would have to look into thousands of bookings."""
    ledger, keys = Ledger(), [f"k-{number}" for number in range(100)]
    with pytest.raises(Killed):
        Dying(registry, after=2, is_committed=False).perform(Booking(ledger), call_for(keys), keys, timeout_ms=None)
    done = perform(registry, Booking(ledger), keys)
    assert 0 < codes(done).count("EFFECT_UNKNOWN") <= UNSETTLED_GROUP
    assert max(ledger.sent.values()) == 1


# What is asked of callers


def test_a_key_used_for_another_request_is_refused(registry: Registry) -> None:
    """A second invoice under the first one's key would be taken for booked."""
    ledger = Ledger()
    perform(registry, Booking(ledger), ["k-1"], amount=[100])
    other = perform(registry, Booking(ledger), ["k-1"], amount=[101])
    assert codes(other) == ["IDEMPOTENCY_CONFLICT"]
    assert "k-1" in other["error_message"][0]
    assert codes(perform(registry, Booking(ledger), ["k-1"], amount=[100])) == [None]
    assert ledger.sent == Counter({"k-1": 1})


def test_a_key_that_stands_twice_in_a_call_is_done_once(registry: Registry) -> None:
    """Two rows of one key would race each other to the other side."""
    ledger = Ledger()
    done = perform(registry, Booking(ledger), ["k-1", "k-2", "k-1", "k-1"], amount=[1, 1, 1, 2])
    assert ledger.sent == Counter({"k-1": 1, "k-2": 1})
    assert codes(done) == [None, None, None, "IDEMPOTENCY_CONFLICT"]
    assert done["output"][0] == done["output"][2]


def test_each_effect_needs_a_key(registry: Registry) -> None:
    """An effect without a name could not be told from its repetition."""
    with pytest.raises(ValueError, match="2 keys were given for 3 effects"):
        Effects(registry).perform(Booking(Ledger()), call_for(KEYS), KEYS[:2], timeout_ms=None)


def test_the_skill_gets_the_rows_keys_and_arguments_that_belong_together(registry: Registry) -> None:
    """Of a batch that was done in part the rest would be sent with the arguments of others."""
    skill = Booking(Ledger(), is_idempotent=True)
    perform(registry, skill, ["k-2"], amount=[2])
    perform(registry, skill, KEYS, amount=[1, 2, 3])
    call = skill.calls[-1]
    assert (list(call.keys), call.arguments["amount"], call.seeds.to_list()) == (["k-1", "k-3"], [1, 3], [0, 2])
    assert list(call.episode_ids) == ["episode of k-1", "episode of k-3"]
    assert call.known("anything") == [None, None]


def test_no_effects_are_no_rows(registry: Registry) -> None:
    """A batch whose rows all went another way would fail."""
    assert perform(registry, Booking(Ledger()), []).equals(RESULT_SCHEMA.to_frame())


# What fails


@pytest.mark.parametrize("code", ["CONNECTIVITY", "RATE_LIMITED", "AUTH", "SECRET_UNAVAILABLE", "EGRESS_DENIED"])
def test_what_did_not_reach_the_other_side_may_be_tried_again(registry: Registry, code: str) -> None:
    """A system that was down for a second would fail the episode for good."""
    ledger = Ledger(lambda key, sent: code if sent == 1 else None)
    assert codes(perform(registry, Booking(ledger))) == [code] * 3
    assert states(registry) == dict.fromkeys(KEYS, "not_done")
    assert codes(perform(registry, Booking(ledger))) == [None] * 3
    assert ledger.booked == Counter(dict.fromkeys(KEYS, 1))


def test_an_effect_without_an_answer_is_not_repeated(registry: Registry) -> None:
    """A payment whose answer was lost would be made twice."""
    ledger = Ledger(lambda key, sent: "lost")
    assert codes(perform(registry, Booking(ledger))) == ["EFFECT_UNKNOWN"] * 3
    assert codes(perform(registry, Booking(ledger))) == ["EFFECT_UNKNOWN"] * 3
    assert states(registry) == dict.fromkeys(KEYS, "unknown")
    assert ledger.booked == Counter(dict.fromkeys(KEYS, 1))


def test_an_effect_without_an_answer_is_sent_again_where_that_is_safe(registry: Registry) -> None:
    """An episode would wait for a person though the other side knows the key."""
    ledger = Ledger(lambda key, sent: "lost" if sent == 1 else None, knows_keys=True)
    skill = Booking(ledger, is_idempotent=True)
    assert codes(perform(registry, skill)) == ["TIMEOUT"] * 3
    assert codes(perform(registry, skill)) == [None] * 3
    assert ledger.booked == Counter(dict.fromkeys(KEYS, 1))


def test_an_effect_without_an_answer_is_looked_up(registry: Registry) -> None:
    """What the other side would tell is asked of a person, or done a second time."""
    ledger = Ledger(lambda key, sent: "lost" if key == "k-1" else "TIMEOUT" if sent == 1 else None)
    skill = AskableBooking(ledger)
    assert codes(perform(registry, skill)) == ["TIMEOUT"] * 3
    done = perform(registry, skill)
    assert codes(done) == [None] * 3
    assert done["output"][0] == '{"booked": "k-1"}'
    assert sorted(skill.asked) == KEYS
    assert ledger.booked == Counter(dict.fromkeys(KEYS, 1))


def test_nothing_is_concluded_from_a_lookup_that_fails(registry: Registry) -> None:
    """A ledger that cannot be asked would be taken for one that booked nothing."""
    ledger = Ledger(lambda key, sent: "lost")
    skill = AskableBooking(ledger)
    perform(registry, skill)
    skill.is_reachable = False
    assert codes(perform(registry, skill)) == ["CONNECTIVITY"] * 3
    assert states(registry) == dict.fromkeys(KEYS, "unknown")
    skill.is_reachable = True
    assert codes(perform(registry, skill)) == [None] * 3
    assert ledger.booked == Counter(dict.fromkeys(KEYS, 1))


@pytest.mark.parametrize("broken", [lambda call: 1 / 0, lambda call: None, lambda call: rows([answer()])])
def test_a_faulty_adapter_leaves_unknown_what_it_did(registry: Registry, broken: Callable[[Call], Any]) -> None:
    """An adapter that booked and then raised would book again."""
    assert codes(perform(registry, Whole(broken, is_pure=False))) == ["EFFECT_UNKNOWN"] * 3
    assert states(registry) == dict.fromkeys(KEYS, "unknown")


# Crashes


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("after", [0, 1])
def test_a_crash_at_a_write_of_the_journal_repeats_nothing(registry: Registry, after: int, is_committed: bool) -> None:
    """Whatever lies between an effect and its record would be done twice, or lost."""
    ledger = Ledger()
    crash(registry, Booking(ledger), after=after, is_committed=is_committed)
    reached = after == 1 or is_committed
    done = perform(registry, Booking(ledger))
    was_recorded = after == 1 and is_committed
    expected = "EFFECT_UNKNOWN" if reached and not was_recorded else None
    assert codes(done) == [expected] * 3
    assert ledger.sent == (Counter() if after == 0 and is_committed else Counter(dict.fromkeys(KEYS, 1)))


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_whatever_is_lost_when_each_effect_happens_once(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, database: str
) -> None:
    """A sequence of faults that nobody thought of would book twice, or claim to have booked."""
    kind = data.draw(st.sampled_from(["plain", "idempotent", "askable"]))
    registry = Registry.open(tmp_path_factory.mktemp("journal") / "registry.db")
    keys = [f"k-{number}" for number in range(data.draw(st.integers(1, 40)))]
    endings = [None, "lost", "CONNECTIVITY"] if kind != "plain" else [None, "lost", "RATE_LIMITED"]
    plan = {key: data.draw(st.lists(st.sampled_from(endings), max_size=3)) for key in keys}
    ledger = Ledger(
        lambda key, sent: plan[key][sent - 1] if sent <= len(plan[key]) else None, knows_keys=kind == "idempotent"
    )
    skill: Booking = (
        AskableBooking(ledger) if kind == "askable" else Booking(ledger, is_idempotent=kind == "idempotent")
    )
    for after, is_committed in data.draw(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=3)):
        with suppress(Killed):
            Dying(registry, after=after, is_committed=is_committed).perform(
                skill, call_for(keys), keys, timeout_ms=None
            )
    for _ in range(5):
        done = perform(registry, skill, keys)
    registry.close()
    is_done = dict(zip(keys, done["error_code"].is_null(), strict=True))
    assert max(ledger.booked.values(), default=0) <= 1
    assert all(ledger.booked[key] == 1 for key in keys if is_done[key])
    if kind == "plain":
        assert {code for code in codes(done) if code} <= {ErrorCode.EFFECT_UNKNOWN.value}
    else:
        assert all(is_done.values())
