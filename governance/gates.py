"""The gates: what has to be proved of a proposal before reviewers are asked, one decision row each.

| gate | refuses |
|---|---|
| contract | what cannot stand beside the registry as it is now: static checks, signatures, compatibility, secrets |
| effects | effect categories that a policy blocks; an action that its skill does not declare counts as all |
| confidence | what its evidence does not make sure enough |
| tests | a workflow with a path that ends otherwise than stated, or that no test could be made for |
| replay | a workflow under which what happened lately does not come out the same each time |
| risk | what is riskier than the policies allow; then no reviewer is asked |

A proposal is judged once on the same grounds (`registry.gates`). What is wrong with a proposal is no exception: a
refusal is a row with its reason.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from governance.case import Case, open_case
from governance.replay import replay
from governance.risk import Risk, assess_risk
from governance.rules import load_rules
from governance.sandbox import try_paths
from lake.store import Lake
from registry.database import Registry
from registry.gates import (
    GATES,
    GateDecision,
    decisions_on,
    load_grounds,
    marks_of,
    missing,
    record_decisions,
    refused,
)
from registry.proposals import Queued, assess, expire, find, open_proposals, reopen
from runtime.protocol import SkillTable

log = logging.getLogger("rwcm.governance")

KEEPER = "gates"
"""Who writes what the gates say."""

_MANY = 3


@dataclass
class Judged:
    """What a run of the gates did: proposals judged, what was refused by gate, closed and opened again."""

    proposals: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    reopened: int = 0


@dataclass(frozen=True)
class Standing:
    """Where an open proposal stands with the gates, on the grounds that hold now."""

    proposal: Queued
    grounds_hash: str
    decisions: tuple[GateDecision, ...]

    @property
    def has_passed(self) -> bool:
        return not missing(self.decisions) and not refused(self.decisions)


def standings(connection: sa.Connection, *, now: datetime) -> list[Standing]:
    """Return where every proposal stands that waits to be decided or published, the oldest first."""
    waiting = [proposal for proposal in open_proposals(connection) if proposal.expires_at > now]
    if not waiting:
        return []
    loaded = load_grounds(connection, now=now)
    grounds = {proposal.publication_id: loaded.hash_of(proposal) for proposal in waiting}
    decisions = decisions_on(connection, grounds)
    return [
        Standing(proposal, grounds[proposal.publication_id], tuple(decisions[proposal.publication_id]))
        for proposal in waiting
    ]


def waiting_for_reviewers(connection: sa.Connection, *, now: datetime) -> list[Queued]:
    """Return the proposals that every gate has passed and nobody has decided yet, the oldest first."""
    found = standings(connection, now=now)
    return [one.proposal for one in found if one.has_passed and one.proposal.decision == "pending"]


def work_at_hand(registry: Registry, *, now: datetime) -> str | None:
    """Return what names the proposals that `judge` would look at, None where there are none."""
    with registry.read() as connection:
        unjudged = {
            standing.proposal.publication_id: standing.grounds_hash
            for standing in standings(connection, now=now)
            if missing(standing.decisions)
        }
    return marks_of(unjudged) if unjudged else None


def judge(registry: Registry, lake: Lake, skills: SkillTable, *, now: datetime) -> Judged:
    """Judge every open proposal that was not judged on what holds now.

    What was approved on other grounds waits for reviewers again; what nobody decided in time is closed.
    """
    done = Judged()
    with registry.transaction() as connection:
        done.expired = expire(connection, by=KEEPER, now=now)
    with registry.read() as connection:
        at_hand = [standing for standing in standings(connection, now=now) if missing(standing.decisions)]
        rules = load_rules(connection, now=now)
        cases = [open_case(connection, standing.proposal, rules, now=now) for standing in at_hand]
    for standing, case in zip(at_hand, cases, strict=True):
        risk = None if case.draft is None else assess_risk(case, lake, now=now)
        decisions = [_decide(gate, case, lake, skills, risk, now) for gate in GATES]
        _record(registry, standing, decisions, risk, done, now)
    if done.proposals:
        log.info("proposals judged: %d, refused: %d", done.proposals, done.refused.total())
    return done


def _record(
    registry: Registry,
    standing: Standing,
    decisions: list[GateDecision],
    risk: Risk | None,
    done: Judged,
    now: datetime,
) -> None:
    """Write down what the gates said; about a proposal that has moved on meanwhile only that, for the record."""
    with registry.transaction() as connection:
        (proposal,) = find(connection, standing.proposal.publication_id)
        record_decisions(
            connection, standing.proposal, decisions, grounds_hash=standing.grounds_hash, by=KEEPER, now=now
        )
        done.proposals += 1
        done.refused.update(decision.gate for decision in refused(decisions))
        if load_grounds(connection, now=now).hash_of(proposal) != standing.grounds_hash:
            return
        if proposal.decision == "approved":
            reopen(connection, proposal, by=KEEPER, now=now)
            done.reopened += 1
            (proposal,) = find(connection, proposal.publication_id)
        if proposal.decision == "pending":
            assess(
                connection,
                proposal,
                risk_score=risk.stored if risk else 1,
                risk_band=risk.band if risk else None,
                policy_checks=[
                    {"gate": item.gate, "passed": item.is_passed, "reason": item.reason, "at": now.isoformat()}
                    for item in decisions
                ],
                by=KEEPER,
                now=now,
            )


def recheck(connection: sa.Connection, proposal: Queued, *, now: datetime) -> list[GateDecision]:
    """Return what those gates say now that look at the registry alone: whatever a row says, they hold.

    The contract is not among them, since publication holds a document to it again itself.
    """
    case = open_case(connection, proposal, load_rules(connection, now=now), now=now)
    return [_effects(case), _confidence(case)]


def _decide(gate: str, case: Case, lake: Lake, skills: SkillTable, risk: Risk | None, now: datetime) -> GateDecision:
    if not case.rules.is_stated:
        return _no(gate, "no publishing policy is in force; publish or restore one: rwcm registry rollback")
    if gate in _CHEAP:
        return _CHEAP[gate](case)
    if case.draft is None or case.faults:
        return _no(gate, "it was not looked at, since the contract does not hold")
    if gate == "tests":
        return _tests(case)
    if gate == "replay":
        return _replay(case, lake, skills, now)
    assert risk is not None
    return _risk(case, risk)


def _yes(gate: str, reason: str, **evidence: Any) -> GateDecision:
    return GateDecision(gate, True, reason, evidence)


def _no(gate: str, reason: str, **evidence: Any) -> GateDecision:
    return GateDecision(gate, False, reason, evidence)


def _contract(case: Case) -> GateDecision:
    if case.draft is None or case.faults:
        more = f", and {len(case.faults) - _MANY} more" if len(case.faults) > _MANY else ""
        return _no("contract", f"{'; '.join(case.faults[:_MANY])}{more}", faults=len(case.faults))
    draft = case.draft
    return _yes(
        "contract",
        f"it would be version {draft.version}, by a change that is {draft.change}",
        version=draft.version,
        change=draft.change,
        differences=len(draft.comparison.differences),
    )


def _effects(case: Case) -> GateDecision:
    found = sorted(case.effects)
    if blocked := case.rules.blocks(found):
        reason = f"it can bring about {', '.join(blocked)}, which a policy blocks; leave that to a change by hand"
        return _no("effects", reason, effects=found, blocked=sorted(case.rules.blocked))
    told = f"it can bring about {', '.join(found)}" if found else "it brings nothing about"
    return _yes("effects", told, effects=found, blocked=sorted(case.rules.blocked))


def _confidence(case: Case) -> GateDecision:
    confidence, minimum = Decimal(repr(case.proposal.confidence)), case.rules.min_confidence
    evidence = {"confidence": confidence, "minimum": minimum}
    if confidence < minimum:
        reason = f"its evidence makes it {confidence:.4f} sure and the policy asks for {minimum}; let more runs come in"
        return _no("confidence", reason, **evidence)
    return _yes("confidence", f"{confidence:.4f} of at least {minimum}", **evidence)


def _tests(case: Case) -> GateDecision:
    if case.plan is None:
        return _yes("tests", "only a workflow has paths to test")
    if not case.rules.require_tests:
        return _yes("tests", "no policy in force asks for tests")
    if case.plan.status == "retired" or not case.plan.steps:
        return _yes("tests", "nothing of it runs")
    tested = try_paths(case.plan, case.schemas)
    evidence: dict[str, Any] = {"paths": tested.paths, "ways": tested.ways, "outcomes": dict(tested.outcomes)}
    if tested.faults:
        more = f", and {len(tested.faults) - _MANY} more" if len(tested.faults) > _MANY else ""
        return _no("tests", f"{'; '.join(tested.faults[:_MANY])}{more}", **evidence, faults=len(tested.faults))
    return _yes("tests", f"{tested.paths} paths were run, each to its stated end", **evidence)


def _replay(case: Case, lake: Lake, skills: SkillTable, now: datetime) -> GateDecision:
    if case.plan is None or case.plan.status == "retired" or not case.plan.steps:
        return _yes("replay", "nothing of it runs")
    done = replay(case.plan, lake, skills, now=now)
    if done.why_not is not None:
        return _yes("replay", f"nothing was replayed: {done.why_not}", events=0)
    evidence: dict[str, Any] = {"events": done.events, "outcomes": dict(done.outcomes or {})}
    if done.differing:
        reason = (
            f"{done.differing} of {done.events} episodes went otherwise the second time; take chance out of its steps"
        )
        return _no("replay", reason, **evidence, differing=done.differing)
    return _yes("replay", f"{done.events} past events came out the same twice", **evidence)


def _risk(case: Case, risk: Risk) -> GateDecision:
    evidence: dict[str, Any] = {
        "score": f"{risk.score:f}",
        "threshold": case.rules.threshold,
        "band": risk.band,
        "factors": {
            name: {"value": round(float(one.value), 6), "weight": one.weight, "share": round(one.share, 4)}
            for name, one in risk.factors.items()
        },
        "episodes": risk.touched.episodes,
        "touched": risk.touched.touched,
    }
    told = ", ".join(f"{name} {float(one.value):.3f}" for name, one in risk.factors.items())
    if risk.band == "over":
        reason = f"risk {risk.stored} is above {case.rules.threshold} ({told}); propose a change that touches less"
        return _no("risk", reason, **evidence)
    return _yes("risk", f"risk {risk.stored} is {risk.band} ({told})", **evidence)


_CHEAP: Mapping[str, Callable[[Case], GateDecision]] = {
    "contract": _contract,
    "effects": _effects,
    "confidence": _confidence,
}
"""Gates that look at nothing but the registry."""
