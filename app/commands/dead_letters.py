"""`rwcm dead-letters`: what was refused, and what to do about it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.faults import Refused, said_clearly
from app.identity import operator
from lake.home import Home, HomeFault

if TYPE_CHECKING:
    from dagster_project.platform import Platform
    from ingest.dead_letters import DeadLetter

_MAX_FILE = 1 << 20


@contextmanager
def _platform() -> Iterator["Platform"]:
    from dagster_project.platform import Platform
    from ingest.dead_letters import DeadLetterFault

    platform = Platform(Home.from_environment())
    try:
        yield platform
    except DeadLetterFault as fault:
        raise Refused(str(fault)) from None
    finally:
        platform.close()


@click.group("dead-letters")
def dead_letters() -> None:
    """Work on records that were refused.

    A record is repaired or sent again under its own event id, or let go with a reason. Its raw text stays in the
    landing zone, readable by the owner of the home alone, until every dead letter of its file is settled.
    """


_filters = [
    click.option("--rule", help="Only what broke this rule, such as payload_schema."),
    click.option("--topic", help="Only records of this topic."),
    click.option("--producer", "producer_id", help="Only records of this producer."),
]


def _filtered(command: Any) -> Any:
    for option in reversed(_filters):
        command = option(command)
    return command


@dead_letters.command("list")
@_filtered
@click.option(
    "--state",
    type=click.Choice(["open", "repaired", "replayed", "dismissed", "all"]),
    default="open",
    show_default=True,
    help="Where they stand.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many at the most.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@said_clearly(HomeFault)
def list_(rule: str | None, topic: str | None, producer_id: str | None, state: str, limit: int, as_json: bool) -> None:
    """List dead letters, the latest first."""
    from app.console import console, table
    from ingest.dead_letters import dead_letters as find_all

    with _platform() as platform:
        found = find_all(
            platform.lake,
            platform.registry,
            state=None if state == "all" else state,
            rule=rule,
            topic=topic,
            producer_id=producer_id,
            limit=limit,
        )
    if as_json:
        click.echo(json.dumps([asdict(letter) for letter in found], indent=2, default=str))
    elif not found:
        console.print("No dead letters.")
    else:
        heading = ("id", "received", "rule", "where", "topic", "file", "state")
        rows = [
            (
                letter.dead_letter_id[:8],
                f"{letter.received_at:%Y-%m-%d %H:%M}",
                letter.rule,
                letter.path or "/",
                letter.topic or "",
                f"{letter.file_name}@{letter.file_offset}",
                letter.state,
            )
            for letter in found
        ]
        console.print(table([heading, *rows]), soft_wrap=True, markup=False)
        if len(found) == limit:
            console.print(f"\nThe latest {limit}; --limit shows more.")


@dead_letters.command()
@click.argument("dead_letter_id")
@click.option("--raw", is_flag=True, help="Print the record itself: it may hold personal data.")
@said_clearly(HomeFault)
def show(dead_letter_id: str, raw: bool) -> None:
    """Show a dead letter: what it broke, where, and what the record looked like."""
    from app.console import console
    from ingest.dead_letters import find, raw_records

    with _platform() as platform:
        letter = find(platform.lake, platform.registry, dead_letter_id)
        if raw:
            click.echo(raw_records([letter], platform.landing)[letter.dead_letter_id])
            return
    console.print(f"[bold]{letter.rule}[/bold] at {letter.path or '/'}: {letter.message}", soft_wrap=True, markup=True)
    for name, value in asdict(letter).items():
        if name not in ("rule", "path", "message", "evidence") and value is not None:
            console.print(f"  {name:15} {value}", soft_wrap=True, markup=False)
    if letter.evidence:
        console.print("  evidence, every value as its type and size")
        console.print_json(letter.evidence)


@dead_letters.command()
@click.argument("dead_letter_id")
@click.option("--set", "changes", multiple=True, metavar="POINTER=VALUE", help="Set a member: /payload/amount=12.50")
@click.option("--remove", "removed", multiple=True, metavar="POINTER", help="Remove a member.")
@click.option(
    "--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The whole corrected record."
)
@said_clearly(HomeFault)
def repair(dead_letter_id: str, changes: tuple[str, ...], removed: tuple[str, ...], path: Path | None) -> None:
    """Correct a record and land it again under its event id.

    VALUE is JSON where it is JSON, else text. A record that would be refused again is not landed.
    """
    from app.console import console
    from ingest import dead_letters as work

    if (path is None) == (not changes and not removed):
        raise Refused("say what to correct: --set and --remove, or --file with the whole record")
    given = dict(_split(change) for change in changes)
    with _platform() as platform:
        letter = work.find(platform.lake, platform.registry, dead_letter_id)
        if path is None:
            values = {pointer: work.read_value(text) for pointer, text in given.items()}
            raw = work.raw_records([letter], platform.landing)[letter.dead_letter_id]
            content = work.repaired_record(letter, raw, values, removed)
        else:
            content = _bounded(path)
        name = work.repair(
            letter,
            content,
            what=work.described(given, removed) if path is None else "given whole",
            door=platform.door(),
            landing=platform.landing,
            lake=platform.lake,
            registry=platform.registry,
            actor=operator(),
            now=platform.now(),
        )
    console.print(f"Landed as {name}; the next ingestion takes it.")


def _bounded(path: Path) -> bytes:
    from guard.files import Unreadable, read_regular

    try:
        return read_regular(path, max_bytes=_MAX_FILE, follows_links=True)
    except Unreadable as fault:
        raise Refused(f"{path} {fault}; a record may have {_MAX_FILE:,} bytes") from None


def _split(change: str) -> tuple[str, str]:
    pointer, equals, value = change.partition("=")
    if not equals:
        raise Refused(f"{change!r} sets nothing; write it as /payload/amount=12.50")
    return pointer, value


@dead_letters.command()
@click.argument("dead_letter_ids", nargs=-1)
@_filtered
@said_clearly(HomeFault)
def replay(dead_letter_ids: tuple[str, ...], **filters: str | None) -> None:
    """Land raw records again as they came, by id or by filter; for when the schema or a clock was wrong."""
    from app.console import console
    from ingest import dead_letters as work

    with _platform() as platform:
        letters = _chosen(platform, dead_letter_ids, filters)
        done = work.replay(
            letters,
            door=platform.door(),
            inner_door=platform.inner_door(),
            landing=platform.landing,
            lake=platform.lake,
            registry=platform.registry,
            actor=operator(),
            now=platform.now(),
        )
    for letter, verdict in done.refused:
        what = f"{letter.dead_letter_id[:8]} stays open: {verdict.rule} {verdict.path}: {verdict.message}"
        console.print(what, soft_wrap=True, markup=False)
    if done.landed:
        console.print(f"{len(done.landed):,} records wait again; the next ingestion takes them.")
    elif not done.refused:
        console.print("Nothing to replay: no such dead letter is open.")


@dead_letters.command()
@click.argument("dead_letter_ids", nargs=-1)
@_filtered
@click.option("--reason", required=True, help="Why nothing is to be done.")
@said_clearly(HomeFault)
def dismiss(dead_letter_ids: tuple[str, ...], reason: str, **filters: str | None) -> None:
    """Let dead letters go, by id or by filter; the raw records are deleted."""
    from app.console import console
    from ingest import dead_letters as work

    with _platform() as platform:
        count = work.dismiss(
            _chosen(platform, dead_letter_ids, filters),
            reason=reason,
            landing=platform.landing,
            lake=platform.lake,
            registry=platform.registry,
            actor=operator(),
            now=platform.now(),
        )
    console.print(f"{count:,} dead letters dismissed.")


def _chosen(
    platform: "Platform", dead_letter_ids: tuple[str, ...], filters: dict[str, str | None]
) -> "list[DeadLetter]":
    from ingest import dead_letters as work

    if bool(dead_letter_ids) == any(filters.values()):
        raise Refused("name dead letters by their ids, or by --rule, --topic or --producer")
    if dead_letter_ids:
        return [work.find(platform.lake, platform.registry, given) for given in dead_letter_ids]
    return work.dead_letters(
        platform.lake,
        platform.registry,
        rule=filters["rule"],
        topic=filters["topic"],
        producer_id=filters["producer_id"],
    )
