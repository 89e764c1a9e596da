"""The other side of effects, as tests need it: it does what is asked of it, and counts."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from registry.documents import RuntimeBinding
from runtime.documents import Column
from runtime.protocol import Call, ErrorCode
from tests.builders import answer, rows

BINDING = RuntimeBinding(adapter="test", system="test_system")


@dataclass
class Ledger:
    """A system that books what it is sent, once per key if `knows_keys`; `reply` says how each booking ends.

    `reply` gets the key and how often it was sent, and returns None (booked and answered), `lost` (booked, not
    answered), or the code of a failure before anything was booked.
    """

    reply: Callable[[str, int], str | None] = lambda key, sent: None
    knows_keys: bool = False
    sent: Counter[str] = field(default_factory=Counter)
    booked: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def book(self, key: str) -> str | None:
        with self._lock:
            self.sent[key] += 1
            ending = self.reply(key, self.sent[key])
            if ending in (None, "lost") and not (self.knows_keys and self.booked[key]):
                self.booked[key] += 1
        return ErrorCode.TIMEOUT.value if ending == "lost" else ending


@dataclass
class Booking:
    """A skill whose effect is a booking."""

    ledger: Ledger
    is_idempotent: bool = False
    is_pure: bool = False
    calls: list[Call] = field(default_factory=list)

    def run(self, call: Call) -> pl.DataFrame:
        self.calls.append(call)
        codes = [self.ledger.book(key) for key in call.keys]
        return rows([answer({"booked": key}, error=code) for key, code in zip(call.keys, codes, strict=True)])


@dataclass
class AskableBooking(Booking):
    """The same, and it can ask what was booked."""

    is_reachable: bool = True
    asked: list[str] = field(default_factory=list)

    def look_up(self, keys: Sequence[str], binding: RuntimeBinding) -> Mapping[str, str]:
        if not self.is_reachable:
            raise ConnectionError("the ledger is closed")
        self.asked += keys
        return {key: json.dumps({"booked": key}) for key in keys if self.ledger.booked[key]}


def call_for(keys: Sequence[str], **arguments: Sequence[Any]) -> Call:
    """Return a call of one row per key, each in an episode of its own."""
    return Call(
        {name: Column.of(values) for name, values in arguments.items()},
        pl.Series(range(len(keys)), dtype=pl.UInt64),
        lambda *path: Column.of([None] * len(keys)),
        BINDING,
        skill_id="SK-TEST-001",
        step_id="T-01",
        episode_ids=[f"episode of {key}" for key in keys],
    )
