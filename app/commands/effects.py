"""`rwcm effects`: what the platform did at other systems, and what a person has to find out about."""

import json
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.faults import Refused, refusing, said_clearly
from app.identity import acting, open_registry
from lake.home import HomeFault

if TYPE_CHECKING:
    from registry.database import Registry
    from registry.permissions import Principal

_STATES = ("unknown", "intended", "done", "not_done", "resolved")
_MAX_FILE = 1 << 20


@click.group()
def effects() -> None:
    """Effects on other systems, and those of which nobody knows whether they happened.

    An effect that was sent and not answered waits for a person where the other side cannot be asked and does not know
    keys. Its episode goes on once somebody says what became of it.
    """


@effects.command("list")
@click.option("--state", type=click.Choice([*_STATES, "all"]), default="unknown", show_default=True, help="Its state.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many at the most.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@said_clearly(HomeFault)
def list_(state: str, limit: int, as_json: bool) -> None:
    """List effects, those that have waited longest first."""
    from app.console import table
    from runtime.effects.resolution import list_effects

    with closing(open_registry()) as registry:
        found = list_effects(registry, state=None if state == "all" else state, limit=limit)
    if as_json:
        click.echo(json.dumps([asdict(effect) for effect in found], indent=2, default=str, ensure_ascii=False))
    elif not found:
        click.echo("no effect waits for a person" if state == "unknown" else "no such effect")
    else:
        heading = ("key", "skill", "step", "state", "code", "since")
        rows = [
            (
                effect.effect_key,
                effect.skill_id,
                effect.step_id,
                effect.state,
                effect.error_code or "",
                f"{effect.settled_at or effect.intended_at:%Y-%m-%d %H:%M}",
            )
            for effect in found
        ]
        click.echo(table([heading, *rows], indent=""))


@effects.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@said_clearly(HomeFault)
def show(key: str, as_json: bool) -> None:
    """Show an effect by its key, or by how the key begins."""
    from runtime.effects.resolution import EffectFault, find_effect

    with refusing(EffectFault), closing(open_registry()) as registry:
        effect = find_effect(registry, key)
    if as_json:
        click.echo(json.dumps(asdict(effect), indent=2, default=str, ensure_ascii=False))
        return
    for name, value in asdict(effect).items():
        if value is not None:
            click.echo(f"{name:14} {json.dumps(value, ensure_ascii=False) if name == 'output' else value}")


@effects.command()
@click.argument("key")
@click.argument("decision", type=click.Choice(["done", "retry", "failed"]))
@click.option("--reason", required=True, help="How you found out; the audit keeps it.")
@click.option(
    "--output",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="For done: file with what the other side answered, a JSON object.",
)
@acting
@said_clearly(HomeFault)
def resolve(
    key: str, decision: str, reason: str, path: Path | None, *, principal: "Principal", registry: "Registry"
) -> None:
    """Say what became of an effect: done (it happened), retry (it did not, try again), failed (it did not, give up).

    For a person who may use the effect's skill. The next execution goes on with the episode.
    """
    from runtime.effects.resolution import Decision, EffectFault, resolve_effect
    from runtime.single_step import NAME

    output = None if path is None else _text(path)
    with refusing(EffectFault):
        effect = resolve_effect(
            registry,
            key,
            Decision(decision),
            principal=principal,
            reason=reason,
            output=output,
            now=datetime.now(UTC),
        )
    onward = f"the next execution goes on with episode {effect.episode_id}"
    if effect.effect_key.startswith(f"{NAME}/"):
        onward = "no episode waits for it, since a single step did it"
    click.echo(f"{effect.effect_key} is {effect.state}; {onward}")


def _text(path: Path) -> str:
    from guard.files import Unreadable, read_regular

    try:
        return read_regular(path, max_bytes=_MAX_FILE, follows_links=True).decode()
    except (Unreadable, UnicodeDecodeError) as fault:
        raise Refused(f"{path} cannot be taken: {fault}; give a file of JSON in UTF-8") from None
