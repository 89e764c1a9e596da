"""`rwcm schemas`: the topics' schemas, what may follow them, who reads them, and types for those who do."""

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from app.console import table
from app.faults import Refused, refusing
from app.identity import acting, open_registry
from lake.home import HomeFault

if TYPE_CHECKING:
    from registry.database import Registry
    from registry.permissions import Principal
    from registry.schema_check import Finding
    from registry.schemas import SchemaVersion

FORMATS = click.Choice(["json", "avro"])
MODES = (
    *("none", "backward", "forward", "full"),
    *("backward_transitive", "forward_transitive", "full_transitive"),
)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


def _said_clearly(command: Callable[..., None]) -> Callable[..., None]:
    """Say in a sentence what the caller can mend, without an import of the registry for --help."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from registry.compatibility import SchemaRefused
        from registry.documents import DocumentRefused
        from registry.objects import NotRegistered

        with refusing(HomeFault, NotRegistered, SchemaRefused, DocumentRefused):
            command(*args, **kwargs)

    return wrapped


@click.group()
def schemas() -> None:
    """Schemas of the topics: versions, compatibility, consumers, client types.

    docs/schemas.md tells the rules.
    """


@schemas.command("list")
@_AS_JSON
@_said_clearly
def list_(as_json: bool) -> None:
    """List the topics with their latest version and what the next one must be."""
    from registry.schemas import schema_versions

    with closing(open_registry()) as registry, registry.read() as connection:
        found = [versions[-1] for versions in schema_versions(connection).values()]
    if as_json:
        click.echo(json.dumps([_described(each) for each in found], indent=2))
        return
    header = ("topic", "version", "semver", "format", "compatibility", "content model")
    rows = [(e.subject, str(e.version), e.semver, e.format, str(e.compatibility), _model(e)) for e in found]
    click.echo(table([header, *rows], indent=""))


@schemas.command()
@click.argument("subject")
@click.option("--version", type=click.IntRange(1), default=None, help="Version; by default the latest.")
@_said_clearly
def show(subject: str, version: int | None) -> None:
    """Print a version of a topic's schema as JSON."""
    with closing(open_registry()) as registry:
        found = _version(registry, subject, version)
    click.echo(_pretty({**_described(found), "schema": found.schema}))


@schemas.command()
@click.argument("subject")
@click.option("--from", "old", type=click.IntRange(1), default=None, help="Version; by default the one before.")
@click.option("--to", "new", type=click.IntRange(1), default=None, help="Version; by default the latest.")
@click.option("--file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="New schema to compare.")
@_AS_JSON
@_said_clearly
def diff(subject: str, old: int | None, new: int | None, file: Path | None, as_json: bool) -> None:
    """Say what the step between two versions is, and why.

    Reasons are those of the direction backward: whether the newer version reads what the older one describes.
    """
    from registry.compatibility import schema_change

    with closing(open_registry()) as registry:
        latest = _version(registry, subject, new)
        before = _version(registry, subject, old or (latest.version if file else max(latest.version - 1, 1)))
    schema = _read(file) if file else latest.schema
    change = schema_change(before.schema, schema, before.format, lenient=before.is_lenient)
    if as_json:
        told = {"subject": subject, "from": before.version, "to": None if file else latest.version}
        click.echo(_pretty({**told, "change": change.change, "reasons": [r.as_json() for r in change.reasons]}))
        return
    name = str(file) if file else f"version {latest.version}"
    click.echo(f"{subject}: from version {before.version} to {name}: {change.change}")
    for reason in change.reasons:
        click.echo(f"  {reason}")


@schemas.command()
@click.option("--subject", default=None, metavar="TOPIC", help="Of one topic alone.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Look at this schema as if it were the topic's next version.",
)
@click.option("--format", "language", type=FORMATS, default="json", show_default=True, help="Language of the file.")
@_AS_JSON
@_said_clearly
def check(subject: str | None, file: Path | None, language: Literal["json", "avro"], as_json: bool) -> None:
    """Check versions and consumers; exit 1 if one does not fit, for CI.

    Without a file: whether each version may follow those before it, and each consumer can read what it takes. With
    --subject and --file: whether the schema may be the next version, and whom it would break.
    """
    from registry.schema_check import check_registry

    if file is not None and subject is None:
        raise Refused("--file needs --subject: the topic whose next version it would be")
    with closing(open_registry()) as registry:
        findings = check_registry(registry, subject=subject, schema=_read(file) if file else None, format=language)
    if as_json:
        click.echo(_pretty({"ok": not findings, "findings": [finding.as_json() for finding in findings]}))
    else:
        _print_findings(findings)
    if findings:
        raise SystemExit(1)


@schemas.command()
@click.argument("subject")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "language", type=FORMATS, default="json", show_default=True, help="Language of the schema.")
@click.option("--compatibility", type=click.Choice(MODES), default=None, help="What the version after must be.")
@click.option("--content-model", type=click.Choice(["strict", "lenient"]), default=None, help="See docs/schemas.md.")
@acting
@_said_clearly
def register(
    subject: str,
    file: Path,
    language: Literal["json", "avro"],
    compatibility: str | None,
    content_model: str | None,
    principal: "Principal",
    registry: "Registry",
) -> None:
    """Propose the schema in FILE as the next version of the topic SUBJECT; exit 1 if it may not follow.

    It becomes current when the proposal is published. A schema that is registered already changes nothing.
    """
    from registry.schemas import IncompatibleSchema
    from registry.schemas import register as propose

    try:
        done = propose(
            registry,
            subject,
            _read(file),
            language,
            compatibility=compatibility,
            content_model=content_model,
            principal=principal,
            now=datetime.now(UTC),
        )
    except IncompatibleSchema as refused:
        click.echo(str(refused), err=True)
        raise SystemExit(1) from None
    if done.publication_id is None:
        click.echo(f"{subject} has this schema as version {done.version}; nothing to do")
    else:
        click.echo(f"proposed as version {done.version} of {subject} ({done.change}): {done.publication_id}")


@schemas.command()
@click.argument("consumer")
@click.argument("subject")
@click.option("--versions", required=True, metavar="N,N", help="Versions that it takes, such as 1,2.")
@acting
@_said_clearly
def subscribe(consumer: str, subject: str, versions: str, principal: "Principal", registry: "Registry") -> None:
    """Declare which versions of the topic SUBJECT a CONSUMER (a workflow, or a system outside) takes.

    Events of other versions start nothing; trigger_refusal holds them with the reason, and they run once their version
    is listed. A consumer that declares nothing takes all versions.
    """
    from registry.consumers import subscribe as declare

    listed = [part.strip() for part in versions.split(",")]
    if not all(part.isdecimal() and int(part) for part in listed):
        raise Refused(f"--versions {versions} is no list of version numbers such as 1,2")
    numbers = sorted({int(part) for part in listed})
    declare(registry, consumer, subject, numbers, principal=principal, now=datetime.now(UTC))
    click.echo(f"{consumer} takes of {subject} the versions {', '.join(map(str, numbers))}")


@schemas.command()
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the package; its wheel is in dist/.",
)
@_AS_JSON
@_said_clearly
def generate(folder: Path, as_json: bool) -> None:
    """Generate client types: pydantic models, OpenAPI, Avro schemas, and a wheel of them for your package repository.

    The same registry gives the same bytes. Needs the extra `clients`.
    """
    from registry.clients import GeneratorMissing, generate_clients

    with closing(open_registry()) as registry:
        try:
            made = generate_clients(registry, folder)
        except GeneratorMissing as missing:
            raise Refused(str(missing)) from None
        except OSError as fault:
            raise Refused(f"{folder} cannot be written: {fault.strerror}") from None
    if as_json:
        told = {"version": made.version, "wheel": str(made.wheel), "untranslated": made.untranslated}
        click.echo(_pretty(told))
        return
    click.echo(f"{made.wheel}  ({len(made.files)} files, version {made.version})")
    for name, reason in made.untranslated.items():
        click.echo(f"no Avro schema for {name}: {reason}")


def _print_findings(findings: "Iterable[Finding]") -> None:
    told = False
    for finding in findings:
        told = True
        click.echo(f"{finding.subject}: {finding.message}")
        for reason in finding.reasons:
            click.echo(f"  {reason}")
    if not told:
        click.echo("every version may follow those before it, and every consumer reads what it takes")


def _described(version: "SchemaVersion") -> dict[str, Any]:
    return {
        "subject": version.subject,
        "version": version.version,
        "semver": version.semver,
        "format": version.format,
        "compatibility": str(version.compatibility),
        "content_model": _model(version),
    }


def _model(version: "SchemaVersion") -> str:
    return "lenient" if version.is_lenient else "strict"


def _version(registry: "Registry", subject: str, number: int | None) -> "SchemaVersion":
    from registry.objects import NotRegistered
    from registry.schemas import schema_versions

    with registry.read() as connection:
        versions = schema_versions(connection, subject).get(subject, [])
    if not versions:
        raise NotRegistered("topic", subject)
    found = next((each for each in versions if each.version == number), None) if number else versions[-1]
    if found is None:
        raise NotRegistered("topic", subject, str(number))
    return found


def _read(file: Path) -> Any:
    from guard.canonical import JsonFault, parse
    from registry.packs import read_file

    try:
        return parse(read_file(file))
    except JsonFault as fault:
        raise Refused(f"{file} {fault.path or '/'}: {fault}; {fault.fix}") from None


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=float)
