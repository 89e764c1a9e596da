"""`rwcm execute`: run what is pending, or one step by itself to see what it does."""

import json
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.replay import Moment
from app.console import console, table
from app.faults import Refused, refusing, said_clearly
from lake.home import Home, HomeFault

if TYPE_CHECKING:
    from dagster_project.platform import Platform
    from registry.plans import Plan
    from runtime.effects.journal import Effects
    from runtime.single_step import Earlier, SingleStep

_FILE = click.Path(path_type=Path, dir_okay=False)
_MEMBERS = {"step_id", "input", "output", "attempt"}
_OF_STEP = ("version", "payload", "outputs", "at", "seed", "episode_id", "event_id", "perform", "token_file")
"""Options that say something about one step, by their parameters' names."""


@click.command()
@click.option("--workflow", "workflow_id", default=None, help="Workflow of the step.")
@click.option("--step", "step_id", default=None, help="Step to run by itself; by default all pending work runs.")
@click.option("--version", default=None, help="Version of the workflow; by default the current one.")
@click.option("--payload", type=_FILE, default=None, help="File with the triggering event's payload, a JSON object.")
@click.option(
    "--outputs",
    type=_FILE,
    default=None,
    help='File with what earlier steps gave, oldest first: [{"step_id": .., "input": {..}, "output": {..}}, ..].',
)
@click.option("--at", type=Moment(), default=None, help="The episode's time; by default the home's.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="The episode's seed.")
@click.option("--episode", "episode_id", default=None, help="What the step takes for its episode's id.")
@click.option("--event", "event_id", default=None, help="What it takes for the id of the triggering event.")
@click.option("--perform", is_flag=True, help="Do the step's effect, under a key of its own; needs your token.")
@click.option("--token-file", type=_FILE, default=None, help="For --perform: file with your token, else RWCM_TOKEN.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
@said_clearly(HomeFault)
def execute(
    context: click.Context, *, workflow_id: str | None, step_id: str | None, as_json: bool, **options: Any
) -> None:
    """Run what is pending, or one step by itself.

    Without --step every accepted event that has no episode yet runs, and every episode whose wait is over goes on: the
    job `execute` of the UI. With --step one step runs once in the situation that the options describe, and what it was
    given, what it answered and where its logic leads is printed. No episode is recorded, and no step comes after it.
    """
    home = Home.from_environment()
    if not home.has_registry:
        raise Refused(f"there is no registry in {home.root}; `make run` makes one")
    if step_id is None:
        given = [
            name for name in _OF_STEP if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        ]
        if given or workflow_id is not None:
            raise Refused("these options describe one step: name it with --workflow and --step, or leave them out")
        _run_pending(home, as_json=as_json)
        return
    if workflow_id is None or options["payload"] is None:
        raise Refused("a step needs its workflow and what triggered it: --workflow and --payload")
    _run_step(home, workflow_id, step_id, as_json=as_json, **options)


def _run_pending(home: Home, *, as_json: bool) -> None:
    from app.console import show_progress
    from app.loop import run_told

    if not as_json:
        show_progress()
    done = run_told(home, "execute", {})
    episodes, steps = done["run_episode"], done["step_run"]
    outcomes = {name.removeprefix("episodes_"): n for name, n in episodes.items() if name.startswith("episodes_")}
    months = sorted({*episodes["months_touched"], *steps["months_touched"]})
    if as_json:
        told = {
            "episodes": outcomes,
            "step_runs": steps["rows_added"],
            "batches": episodes["batches"],
            "months": months,
        }
        click.echo(json.dumps(told, indent=2))
        return
    if not episodes["batches"] and not months:
        nothing = "nothing is pending: every event that starts a workflow has its episode, and no wait is over"
        console.print(nothing, soft_wrap=True)
        return
    console.print("\n[bold]Episodes[/bold] by outcome")
    console.print(table([(outcome, f"{count:,}") for outcome, count in sorted(outcomes.items())] or [("none", "0")]))
    console.print("\n[bold]Recorded[/bold]")
    console.print(table([("step runs", f"{steps['rows_added']:,}"), ("months", ", ".join(months) or "none")]))


def _run_step(
    home: Home,
    workflow_id: str,
    step_id: str,
    *,
    version: str | None,
    payload: Path,
    outputs: Path | None,
    at: datetime | None,
    seed: int,
    episode_id: str | None,
    event_id: str | None,
    perform: bool,
    token_file: Path | None,
    as_json: bool,
) -> None:
    from dagster_project.platform import Platform
    from registry.objects import NotRegistered
    from registry.plans import load_active_plans, load_plan
    from runtime.single_step import NAME, EffectWithheld, Situation, execute_step

    text, value = _json(payload)
    if not isinstance(value, dict):
        raise Refused(f"{payload} holds no JSON object; a payload is one")
    earlier = () if outputs is None else _earlier(outputs)
    with closing(Platform(home)) as platform, refusing(NotRegistered, EffectWithheld):
        plan = load_plan(platform.registry, workflow_id, version)
        _refuse_unknown_steps(plan, step_id, earlier)
        situation = Situation(
            payload=text,
            now=at or platform.now(),
            seed=seed,
            earlier=earlier,
            episode_id=episode_id or NAME,
            trigger_event_id=event_id,
        )
        found = execute_step(
            plan,
            step_id,
            situation,
            skills=platform.skills,
            effects=_effects(platform, plan, step_id, token_file) if perform else None,
            workflows=[active.workflow_id for active in load_active_plans(platform.registry)],
        )
    if as_json:
        click.echo(_as_json(found))
    else:
        _print(found)


def _effects(platform: "Platform", plan: "Plan", step_id: str, token_file: Path | None) -> "Effects":
    """Return the journal to perform an effect through, for a person who may run the step's skill."""
    from datetime import UTC

    from app.identity import given_token
    from registry.access import Denied, InvalidToken, authenticate, authorise
    from runtime.effects.journal import Effects
    from runtime.single_step import NAME

    now = datetime.now(UTC)
    with refusing(Denied, InvalidToken):
        principal = authenticate(platform.registry, given_token(token_file), now=now)
        skill_id = plan.step(step_id).skill.skill_id
        authorise(platform.registry, principal, "run", "skill_node", skill_id, now=now)
    return Effects(platform.registry, batch_id=NAME)


def _refuse_unknown_steps(plan: "Plan", step_id: str, earlier: "tuple[Earlier, ...]") -> None:
    known = [step.step_id for step in plan.steps]
    for name in [step_id, *(run.step_id for run in earlier)]:
        if name not in known:
            raise Refused(f"{plan.workflow_id} {plan.version} has no step {name!r}; it has {', '.join(known)}")


def _json(path: Path) -> tuple[str, Any]:
    """Return the text and the value of a file of JSON."""
    from guard.canonical import MAX_BYTES, JsonFault, parse
    from guard.files import Unreadable, read_regular

    try:
        content = read_regular(path, max_bytes=MAX_BYTES, follows_links=True)
        return content.decode(), parse(content)
    except Unreadable as fault:
        raise Refused(f"{path} {fault}; give a file of JSON in UTF-8") from None
    except JsonFault as fault:
        raise Refused(f"{path} is not taken: {fault}; {fault.fix}") from None
    except UnicodeDecodeError:
        raise Refused(f"{path} is no UTF-8; give a file of JSON in UTF-8") from None


def _earlier(path: Path) -> "tuple[Earlier, ...]":
    from runtime.documents import encode
    from runtime.single_step import Earlier

    _, value = _json(path)
    if not isinstance(value, list):
        raise Refused(f"{path} holds no JSON array of step runs; rwcm execute --help shows one")
    found = []
    for place, run in enumerate(value):
        if not isinstance(run, dict) or not isinstance(run.get("step_id"), str) or run.keys() - _MEMBERS:
            raise Refused(f"{path}: entry {place} is no step run; it has step_id, input, output and attempt, no more")
        attempt = run.get("attempt", 1)
        if type(attempt) is not int or attempt < 1:
            raise Refused(f"{path}: entry {place} has no attempt {attempt!r}; count from 1")
        texts = {}
        for name in ("input", "output"):
            if not isinstance(run.get(name), dict | None):
                raise Refused(f"{path}: the {name} of entry {place} is no JSON object")
            texts[name] = None if run.get(name) is None else encode(run[name])
        found.append(Earlier(run["step_id"], texts["input"], texts["output"], attempt))
    return tuple(found)


def _as_json(found: "SingleStep") -> str:
    """Return what was found as JSON, input and output as they stand, every digit kept."""
    from runtime.documents import decode, encode

    members: dict[str, Any] = asdict(found)
    for name in ("input", "output"):
        members[name] = members[name] and decode(members[name])
    if found.awaits and found.awaits.due_at:
        members["awaits"]["due_at"] = found.awaits.due_at.isoformat()
    return encode(members)


def _print(found: "SingleStep") -> None:
    lines = [("step", f"{found.step_id}, {found.skill_id} by {found.agent_id}"), ("status", found.status)]
    lines += [("input", found.input)] if found.input is not None else []
    lines += [("output", found.output)] if found.output is not None else []
    for code, message in (
        (found.error_code, found.error_message),
        (found.logic_error_code, found.logic_error_message),
    ):
        lines += [("error", f"{code}: {message}")] if code else []
    if found.latency_ms is not None:
        lines.append(("took", f"{found.latency_ms:,} ms, cost {(found.cost_micros or 0) / 1_000_000:.6f}"))
    lines += [("effect", found.effect_key)] if found.effect_key else []
    for condition in found.conditions:
        lines.append(("condition", f"{condition.expression} is {condition.fault or str(condition.holds).lower()}"))
    if found.retries_left:
        lines.append(("retries", f"the engine would try up to {found.retries_left} times more, before:"))
    lines.append(("next", _next(found)))
    for name, text in lines:
        console.print(f"{name:10} {text}", soft_wrap=True, markup=False)


def _next(found: "SingleStep") -> str:
    if found.awaits:
        until = f"until {found.awaits.due_at:%Y-%m-%d %H:%M}" if found.awaits.due_at else "for ever"
        late = f", then {', '.join(found.awaits.on_timeout)}" if found.awaits.on_timeout else ""
        return f"waits for {found.awaits.topic} of {found.awaits.key} {until}{late}"
    if found.targets:
        return ", ".join(found.targets)
    return f"the episode ends: {found.outcome}"
