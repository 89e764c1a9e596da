"""The rules of publication: what the publishing policies in force say together.

Of several policies the strictest holds in every point: the lowest maximum, the highest minimum, the union of what is
blocked. What a policy states in a form that cannot be read counts as the strictest there is; what none states has a
default.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from registry.comparison.workflows import EVERY_EFFECT
from registry.permissions import policies_in_force

FACTORS = ("blast_radius", "sensitivity", "privilege", "historical_error")

DEFAULT_WEIGHTS: Mapping[str, Decimal] = dict.fromkeys(FACTORS, Decimal("0.25"))
DEFAULT_BANDS: Mapping[str, Decimal] = {"med": Decimal("0.15"), "high": Decimal("0.30")}
DEFAULT_SENSITIVITY: Mapping[str, Decimal] = {"pii": Decimal("0.75"), "sox": Decimal("0.5"), "finance": Decimal("0.5")}
DEFAULT_PRIVILEGE: Mapping[str, Decimal] = {
    "payments.write": Decimal(1),
    "identity.write": Decimal(1),
    "governance.write": Decimal(1),
    "write": Decimal("0.6"),
    "create": Decimal("0.4"),
    "start": Decimal("0.4"),
    "send": Decimal("0.25"),
}
UNKNOWN_TAG = Decimal("0.25")
"""Sensitivity of a tag that no policy ranks."""

UNKNOWN_EFFECT = Decimal(1)
"""Privilege of an effect that no policy ranks, and of what a skill does not declare."""


@dataclass(frozen=True)
class PublishingRules:
    """What holds for a publication.

    Attributes:
        is_stated: whether any publishing policy is in force; without one nothing passes.
        threshold: risk above which a proposal is refused and no reviewer asked.
        weights: how much each factor can add to the risk.
        bands: risk from which on a proposal is `med`, and `high`.
        sensitivity: rank of a policy tag, by the tag or the part before its first underscore.
        privilege: rank of an effect category, by the category or its verb.
        blocked: effect categories that no learned or proposed change may bring about.
    """

    is_stated: bool
    threshold: Decimal
    min_confidence: Decimal
    require_tests: bool
    weights: Mapping[str, Decimal]
    bands: Mapping[str, Decimal]
    sensitivity: Mapping[str, Decimal]
    privilege: Mapping[str, Decimal]
    blocked: frozenset[str]

    def band(self, risk: Decimal) -> str:
        """Return low, med, high, or over: above the threshold."""
        if risk > self.threshold:
            return "over"
        return "high" if risk >= self.bands["high"] else "med" if risk >= self.bands["med"] else "low"

    def sensitivity_of(self, tag: str) -> Decimal:
        return self.sensitivity.get(tag, self.sensitivity.get(tag.partition("_")[0], UNKNOWN_TAG))

    def privilege_of(self, category: str) -> Decimal:
        if category == EVERY_EFFECT:
            return UNKNOWN_EFFECT
        return self.privilege.get(category, self.privilege.get(category.rpartition(".")[2], UNKNOWN_EFFECT))

    def blocks(self, effects: Iterable[str]) -> list[str]:
        """Return the effects that are blocked; what is not declared may be any of them."""
        return sorted(name for name in effects if name in self.blocked or (name == EVERY_EFFECT and self.blocked))


def load_rules(connection: sa.Connection, *, now: datetime) -> PublishingRules:
    """Return the rules that hold at `now`."""
    specs = [spec for _, spec in policies_in_force(connection, "publishing", now=now)]
    thresholds = [_share(spec["risk_threshold"], Decimal(0)) for spec in specs if "risk_threshold" in spec]
    confidences = [_share(spec["min_confidence"], Decimal(1)) for spec in specs if "min_confidence" in spec]
    return PublishingRules(
        is_stated=bool(specs),
        threshold=min(thresholds, default=Decimal(0)),
        min_confidence=max(confidences, default=Decimal(1)),
        require_tests=any(spec.get("require_tests") is not False for spec in specs),
        weights=_strictest(specs, "risk_weights", DEFAULT_WEIGHTS, max),
        bands=_strictest(specs, "risk_bands", DEFAULT_BANDS, min),
        sensitivity=_strictest(specs, "sensitivity", DEFAULT_SENSITIVITY, max),
        privilege=_strictest(specs, "privilege", DEFAULT_PRIVILEGE, max),
        blocked=frozenset(name for spec in specs for name in _texts(spec.get("blocked_categories", ()))),
    )


def _strictest(
    specs: Iterable[Mapping[str, Any]], name: str, defaults: Mapping[str, Decimal], strictest: Any
) -> dict[str, Decimal]:
    """Return the strictest of what policies state under a name, member by member; the default where none does."""
    held: dict[str, Decimal] = {}
    worst = Decimal(1) if strictest is max else Decimal(0)
    for spec in specs:
        stated = spec.get(name, {})
        for member, value in stated.items() if isinstance(stated, Mapping) else ():
            share = _share(value, worst)
            held[member] = strictest(held[member], share) if member in held else share
    return {**defaults, **held}


def _share(value: Any, otherwise: Decimal) -> Decimal:
    """Return a number in 0..1, `otherwise` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return otherwise
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return number if number.is_finite() and 0 <= number <= 1 else otherwise


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else [EVERY_EFFECT]
