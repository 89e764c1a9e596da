"""Binding: a step's parameters as columns, from what each episode knows.

A parameter that only names members is put together from their texts for all rows at once; any other is evaluated once
per distinct projection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from guard.canonical import canonical
from registry.expressions import Template, compile_template
from registry.plans import PlannedStep
from runtime.documents import Column, encode
from runtime.engine.evaluation import Member, evaluate


@dataclass(frozen=True)
class Bound:
    """A step's bound arguments.

    Attributes:
        arguments: what the step gives, and behind it the signature's constant defaults.
        texts: what the step gives, as JSON text per row.
        faults: why a row could not be bound, by row; its other values mean nothing.
    """

    arguments: Mapping[str, Column]
    texts: pl.Series
    faults: Mapping[int, str]

    def take(self, rows: Any) -> "Bound":
        """Return these rows alone, which have no faults."""
        arguments = {name: column.take(rows) for name, column in self.arguments.items()}
        return Bound(arguments, self.texts.gather(rows), {})


def bind(step: PlannedStep, rows: int, member: Member) -> Bound:
    """Return the arguments of `step` for `rows` rows whose members `member` finds."""
    faults: dict[int, str] = {}
    columns = {name: _bound(given, rows, member, faults) for name, given in step.parameters.members.items()}
    pieces: list[pl.Series | str] = ["{"]
    for place, (name, column) in enumerate(columns.items()):
        pieces += [f"{',' if place else ''}{canonical(name)}:", column.texts]
    texts = concatenated([*pieces, "}"], rows)
    defaults = {name: Column.repeat(value, rows) for name, value in _constant_defaults(step) if name not in columns}
    return Bound(defaults | columns, texts, faults)


def _bound(template: Template, rows: int, member: Member, faults: dict[int, str]) -> Column:
    pieces = template.spliced()
    if pieces is None:
        values = evaluate(_AsText(template), rows, member)
        for row, fault in values.faulty().items():
            faults.setdefault(row, fault)
        distinct = pl.Series(values.distinct, dtype=pl.String)
        return Column(distinct.gather(pl.Series(values.codes)), constant=len(distinct) == 1)
    texts = concatenated([piece if isinstance(piece, str) else member(piece) for piece in pieces], rows)
    if texts.null_count():
        unbound = texts.is_null().arg_true()
        values = evaluate(template, len(unbound), lambda path: member(path).gather(unbound))
        for place, fault in values.faulty().items():
            faults.setdefault(unbound[place], fault)
    return Column(texts, constant=template.is_constant)


@dataclass(frozen=True)
class _AsText:
    """A template whose value is its JSON text."""

    template: Template

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        return self.template.paths

    def evaluate(self, bindings: Mapping[str, Any]) -> str:
        return encode(self.template.evaluate(bindings))


def concatenated(pieces: Sequence[pl.Series | str], rows: int) -> pl.Series:
    """Return pieces put together per row, null where one of them is null."""
    if all(isinstance(piece, str) for piece in pieces):
        return pl.repeat("".join(map(str, pieces)), rows, eager=True, dtype=pl.String)
    return pl.select(pl.concat_str([pl.lit(piece) for piece in pieces]).alias("")).to_series()


def _constant_defaults(step: PlannedStep) -> list[tuple[str, Any]]:
    """Return the defaults that are values; one that is the outputs so far is looked up by the skill that needs it."""
    arguments = step.skill.signature.args
    return [
        (arg.name, arg.default) for arg in arguments if arg.has_default and compile_template(arg.default).is_constant
    ]
