"""What the engine and a skill promise each other.

A skill is called once per turn for all rows that stand on its step: columns in, columns out. It has no clock and no
random number but what belongs to the episode, so the same call gives the same result.

A skill with effects is called through `Effects`, which journals what is meant, does it, and journals what came of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import polars as pl

from registry.documents import RuntimeBinding
from registry.outbox import EFFECT_RESOLVED as EFFECT_RESOLVED  # what episodes wait for is said by whoever announces it
from runtime.documents import Column

Known = Callable[..., Column]
"""Looks a member path up per row: in the newest output that has it, else in the trigger's payload; None where nothing
has it."""


class ErrorCode(StrEnum):
    """The taxonomy of step failures."""

    BAD_INPUT = "BAD_INPUT"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    NOT_BOUND = "NOT_BOUND"
    NOT_FOUND = "NOT_FOUND"
    SCHEMA_MISMATCH = "SCHEMA_MISMATCH"
    SKILL_FAULT = "SKILL_FAULT"
    EXPRESSION = "EXPRESSION"
    NO_BRANCH = "NO_BRANCH"
    CONNECTIVITY = "CONNECTIVITY"
    LOOP_BOUND = "LOOP_BOUND"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    TIMEOUT = "TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    REMOTE_FAULT = "REMOTE_FAULT"
    REJECTED = "REJECTED"
    DUPLICATE = "DUPLICATE"
    AUTH = "AUTH"
    SECRET_UNAVAILABLE = "SECRET_UNAVAILABLE"  # noqa: S105 - a code
    EGRESS_DENIED = "EGRESS_DENIED"
    RESPONSE_TOO_LARGE = "RESPONSE_TOO_LARGE"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    EFFECT_UNKNOWN = "EFFECT_UNKNOWN"
    UNKNOWN_WORKFLOW = "UNKNOWN_WORKFLOW"
    CHILD_FAILED = "CHILD_FAILED"
    CHILD_DEPTH = "CHILD_DEPTH"
    NOT_RECORDED = "NOT_RECORDED"
    """Of a replay: the episode never called this when it was recorded."""


TRANSIENT = frozenset({ErrorCode.CONNECTIVITY, ErrorCode.RATE_LIMITED, ErrorCode.TIMEOUT, ErrorCode.REMOTE_FAULT})
"""What another attempt may mend."""

NOT_DONE = frozenset(
    {
        ErrorCode.CONNECTIVITY,
        ErrorCode.RATE_LIMITED,
        ErrorCode.AUTH,
        ErrorCode.SECRET_UNAVAILABLE,
        ErrorCode.EGRESS_DENIED,
    }
)
"""Failures after which an effect has certainly not happened, and may happen at another attempt under the same key."""

UNCERTAIN = frozenset({ErrorCode.TIMEOUT, ErrorCode.REMOTE_FAULT, ErrorCode.SKILL_FAULT, ErrorCode.EFFECT_UNKNOWN})
"""Failures after which nobody here knows whether an effect has happened; all others are the other side's answer."""

RESULT_SCHEMA = pl.Schema(
    {
        "output": pl.String(),
        "error_code": pl.String(),
        "error_message": pl.String(),
        "latency_ms": pl.Int64(),
        "cost_micros": pl.Int64(),
        "token_in": pl.Int32(),
        "token_out": pl.Int32(),
        "model": pl.String(),
        "system": pl.String(),
    }
)
"""Columns of what a skill returns, one row per row of the call; `output` is JSON text, null where there is an error."""


@dataclass(frozen=True)
class Call:
    """One step's call for all rows that stand on it.

    Attributes:
        arguments: per argument one value per row, as JSON values (numbers as int or Decimal). An argument whose default
            is all outputs so far is not among them: `known` looks into these without decoding what nobody reads.
        seeds: source of chance per row, an unsigned 64-bit number of episode, step and attempt.
        known: looks up what the episode knows so far.
        binding: the skill's runtime_binding.
        skill_id: the skill that is called.
        step_id: the step that calls.
        episode_ids: the episode of each row.
        visits: how many times each episode has come to the step, this time included.
        attempt: from 1.
        keys: the effective idempotency key of each row's effect; empty where the skill is pure.
        timeout_ms: how long one row's effect may take; `Effects` sets it, else the binding says.
    """

    arguments: Mapping[str, Column]
    seeds: pl.Series
    known: Known
    binding: RuntimeBinding
    skill_id: str = ""
    step_id: str = ""
    episode_ids: Sequence[str] | pl.Series = ()
    visits: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.Int32))
    attempt: int = 1
    keys: Sequence[str] = ()
    timeout_ms: int | None = None

    @property
    def rows(self) -> int:
        return len(self.seeds)


class Skill(Protocol):
    """An adapter that does what a skill's signature says."""

    is_pure: bool
    """Whether the result depends on the call alone; a skill with effects is journaled."""

    def run(self, call: Call) -> pl.DataFrame:
        """Return one row of `RESULT_SCHEMA` per row of the call, in order. Failures are rows, not exceptions."""
        ...


@runtime_checkable
class LooksUp(Protocol):
    """A skill with effects that can ask the other side which of them happened."""

    def look_up(self, keys: Sequence[str], binding: RuntimeBinding) -> Mapping[str, str]:
        """Return the outputs, as JSON text, of those keys whose effects happened; any other certainly did not.

        Raises:
            Exception: the other side cannot be asked now; nothing is concluded from that.
        """
        ...


def is_idempotent(skill: Skill) -> bool:
    """Return whether a skill declares that the same key may be sent again: the other side does it once."""
    return bool(getattr(skill, "is_idempotent", False))


class Effects(Protocol):
    """Calls skills with effects, so that each effect happens once under its key, whatever is killed when."""

    def perform(self, skill: Skill, call: Call, keys: Sequence[str], *, timeout_ms: int | None) -> pl.DataFrame:
        """Return one row of `RESULT_SCHEMA` per row of the call, in order; `keys` names the effect of each.

        A key that is done comes back as it was recorded. A transient failure may be tried again under the same keys.
        A row with `EFFECT_UNKNOWN` waits for a person: its episode is kept open until an event of the topic
        `effect.resolved`, produced after the episode was put down, has its key as the member `key`; then the same call
        is made again and gives what was decided.
        """
        ...


class SkillTable(Protocol):
    """Finds the adapter that a binding names."""

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None: ...
