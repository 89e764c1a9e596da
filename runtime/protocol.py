"""What the engine and a skill promise each other.

A skill is called once per turn for all rows that stand on its step: columns in, columns out. It has no clock and no
random number but what belongs to the episode, so the same call gives the same result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import polars as pl

from registry.documents import RuntimeBinding

Known = Callable[..., list[Any]]
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


TRANSIENT = frozenset({ErrorCode.CONNECTIVITY})
"""What another attempt may mend."""

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
    """

    arguments: Mapping[str, list[Any]]
    seeds: pl.Series
    known: Known
    binding: RuntimeBinding

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


class SkillTable(Protocol):
    """Finds the adapter that a binding names."""

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None: ...
