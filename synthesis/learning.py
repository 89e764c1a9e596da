"""The learning stage: reflections on the months that changed, and proposals from what is sustained across them."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from guard.canonical import canonical, digest, digest_text
from guard.identity import name_uuid
from lake.months import Month
from lake.store import Lake
from lake.tables import RUN_EPISODE, STEP_RUN
from registry.cursors import changed_months, remember_months
from registry.database import Registry
from registry.documents import Workflow, read_document
from registry.plans import load_active_plans
from registry.proposals import Proposal, queue
from registry.publication import propose_document
from registry.templates import fill, read_template
from synthesis.reflection import record, summarise
from synthesis.variance import CheckedStep, SustainedVariance, compared_invoices, find_sustained

log = logging.getLogger("rwcm.synthesis")

REFLECT_STAGE, PROPOSE_STAGE = "reflect", "propose"
SYNTHESIZER = "AG-REFLECT-001"


@dataclass
class Reflections:
    """What reflecting did: months looked at, and reflections recorded per month of recording."""

    months: list[Month] = field(default_factory=list)
    rows: Counter[Month] = field(default_factory=Counter)


@dataclass
class Proposals:
    """What proposing did: new proposals of how many found, by type."""

    found: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)


def marks_of(lake: Lake) -> dict[Month, str]:
    """Return a mark per month in which episodes started; it changes with its episodes and with their steps."""
    episodes, steps = lake.fingerprints(RUN_EPISODE), lake.fingerprints(STEP_RUN, by="episode_month")
    return {month: digest_text(f"{mark}/{steps.get(month)}") for month, mark in episodes.items()}


def reflect(lake: Lake, registry: Registry, *, now: datetime, months: Sequence[Month] = ()) -> Reflections:
    """Reflect on the months whose runs changed, and on `months`; what says the same is not recorded again."""
    marks = marks_of(lake)
    wanted = changed_months(registry, REFLECT_STAGE, marks) | set(months)
    at_hand = sorted(wanted & marks.keys())
    done = Reflections(months=at_hand)
    if at_hand:
        batch_id = name_uuid("reflect", *(f"{month}/{marks[month]}" for month in at_hand))
        insights = summarise(lake, at_hand)
        insights += [variance.insight() for variance in _sustained(lake, registry)]
        appended = record(lake, insights, now=now, batch_id=batch_id)
        done.rows.update(appended.rows_by_month)
        log.info("reflected on %d months: %d insights, %d new", len(at_hand), len(insights), appended.rows)
    remember_months(registry, REFLECT_STAGE, marks, wanted, now=now)
    return done


def propose(lake: Lake, registry: Registry, *, now: datetime) -> Proposals:
    """Queue what follows from sustained variance: a tighter tolerance, and a workflow that mitigates it.

    The same proposal is queued once; without a changed month there is nothing new to propose.
    """
    marks = marks_of(lake)
    done = Proposals()
    if changed := changed_months(registry, PROPOSE_STAGE, marks):
        for variance in _sustained(lake, registry):
            for proposal_type, body in _proposals(variance):
                done.found[proposal_type] += 1
                done.new[proposal_type] += _queued(registry, variance, proposal_type, body, now)
        log.info("proposals found: %d, new: %d", done.found.total(), done.new.total())
    remember_months(registry, PROPOSE_STAGE, marks, changed, now=now)
    return done


def carry_marks(lake: Lake, registry: Registry, before: Mapping[Month, str], *, now: datetime) -> None:
    """Remember months that a purge changed as looked at, where they were before it.

    What is no more says nothing new: a reflection on what a purge left would overrule what was learned from all of it.
    """
    after = marks_of(lake)
    for stage in (REFLECT_STAGE, PROPOSE_STAGE):
        behind = changed_months(registry, stage, before)
        changed = {month for month in before.keys() | after.keys() if before.get(month) != after.get(month)}
        remember_months(registry, stage, after, changed - behind, now=now)


def _queued(
    registry: Registry, variance: SustainedVariance, proposal_type: str, body: Mapping[str, Any], now: datetime
) -> bool:
    """Queue a proposal with its evidence and return whether it is new."""
    provenance = {
        "workflow_id": variance.step.workflow_id,
        "step_id": variance.step.step_id,
        "vendors": list(variance.vendors),
        "evidence": dict(variance.evidence),
        "reflection_id": variance.insight().reflection_id,
    }
    by: dict[str, Any] = {"confidence": variance.confidence, "proposed_by": SYNTHESIZER}
    with registry.transaction() as connection:
        if proposal_type == "workflow":
            received = read_document(Workflow, canonical(body), name=body["workflow_id"])
            return propose_document(connection, received, provenance=provenance, now=now, **by)
        proposal = Proposal(proposal_type, body, provenance, base=variance.step.workflow_version, **by)
        ((_, is_new),) = queue(connection, [proposal], now=now)
        return is_new


def work_at_hand(lake: Lake, registry: Registry) -> str | None:
    """Return what names the months that `reflect` or `propose` would look at, None where there are none."""
    marks = marks_of(lake)
    months = {stage: sorted(changed_months(registry, stage, marks)) for stage in (REFLECT_STAGE, PROPOSE_STAGE)}
    if not any(months.values()):
        return None
    return digest({stage: {f"{month}": marks.get(month) for month in found} for stage, found in months.items()})


def _sustained(lake: Lake, registry: Registry) -> Iterator[SustainedVariance]:
    for plan in load_active_plans(registry):
        for step in plan.steps:
            parameters = step.parameters.evaluate({}) if step.parameters.is_constant else {}
            if parameters.get("check") == "po_match" and "tolerance" in parameters:
                checked = CheckedStep(
                    plan.workflow_id, plan.version, step.step_id, Decimal(str(parameters["tolerance"]))
                )
                if found := find_sustained(compared_invoices(lake, checked), checked):
                    yield found


def _proposals(variance: SustainedVariance) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (type, body): the change of the parameter, and the workflow from the pack's template."""
    step = variance.step
    if variance.tolerance is not None:
        yield (
            "step",
            {
                "type": "update_param",
                "workflow_id": step.workflow_id,
                "workflow_version": step.workflow_version,
                "target": f"{step.step_id}.parameters.tolerance",
                "from": step.tolerance,
                "value": variance.tolerance,
            },
        )
    vendors = sorted(vendor["vendor_id"] for vendor in variance.vendors)
    quoted = ", ".join(f'"{vendor}"' for vendor in vendors)
    learned = {
        "vendors": vendors,
        "tolerance": variance.tolerance if variance.tolerance is not None else step.tolerance,
        "condition": f"vendor_id in [{quoted}]",
    }
    yield "workflow", fill(read_template("variance_mitigation"), learned)
