"""`rwcm registry`: packs, drafts, versions; what is governed, who changed it and how to take it back."""

from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.decisions import gates, publish
from app.commands.forms import export, import_, schema
from app.console import show_progress, table
from app.faults import refusing, said_clearly
from app.identity import TOKEN_VARIABLE, acting, given_token, open_registry, operator
from lake.home import Home, HomeFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.database import Registry
    from registry.permissions import Principal
    from registry.proposals import Queued
    from registry.publication import Submitted
    from registry.versions import Version

DECISIONS = (
    *("pending", "approved", "rejected", "merged", "expired"),
    *("canary", "published", "rolled_back"),
)
KINDS = ("role", "skill", "permission", "agent", "ontology", "policy", "schema", "workflow")
LISTED = (*KINDS, "consumer")
_SHOWN = 20
_kind = click.option(
    "--kind", type=click.Choice(KINDS), default=None, help="Kind of the object, where its id is shared."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group()
def registry() -> None:
    """Look at what is governed, propose changes, and take back what was published.

    What is submitted or loaded is a draft: it becomes current only by a publication, after gates and review.
    """


for _command in (export, import_, schema, gates, publish):
    registry.add_command(_command)


_token_file = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help=f"File with your token, readable by you alone; by default the variable {TOKEN_VARIABLE}.",
)


@registry.command()
@click.argument("pack", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@_token_file
@said_clearly(HomeFault)
def load(pack: Path | None, dry_run: bool, token_file: Path | None) -> None:
    """Load the PACK, a folder of documents; without one, the shipped pack.

    A pack is taken whole or not at all, and loading it again changes nothing. Its documents become drafts in the
    publication queue, which needs a token. The shipped pack alone becomes current at once, where the registry lacks it.
    """
    from registry.loader import PACK
    from registry.packs import PackRefused

    show_progress()
    with refusing(PackRefused):
        if pack is None or pack.resolve() == PACK.resolve():
            _load_shipped(is_rehearsal=dry_run)
        else:
            _submit_pack(pack=pack, is_rehearsal=dry_run, token_file=token_file)


def _load_shipped(*, is_rehearsal: bool) -> None:
    from registry.database import Registry
    from registry.loader import PACK, load_pack

    home = Home.from_environment().prepare()
    with closing(Registry.open(home.registry)) as opened:
        done = load_pack(opened, PACK, actor=operator(), now=datetime.now(UTC), is_rehearsal=is_rehearsal)
    if not done.changed:
        click.echo("the registry holds the shipped pack already; nothing changed")
        return
    click.echo("would become current:" if is_rehearsal else "became current:")
    click.echo(table([(name, f"{count:,}") for name, count in done.documents.items()]))


@acting
def _submit_pack(*, pack: Path, is_rehearsal: bool, registry: "Registry", principal: "Principal") -> None:
    from registry.loader import submit_pack

    done = submit_pack(registry, pack, principal=principal, now=datetime.now(UTC), is_rehearsal=is_rehearsal)
    new = [draft for draft in done.drafts if draft.is_new or is_rehearsal]
    unchanged = done.read - len(done.drafts)
    heading = "would be drafts" if is_rehearsal else "new drafts"
    queued = f"{len(done.drafts) - len(new):,} queued before, {unchanged:,} current already"
    click.echo(f"{done.read:,} documents: {len(new):,} {heading}, {queued}")
    _echo_drafts(new[:_SHOWN])
    if len(new) > _SHOWN:
        click.echo(f"  and {len(new) - _SHOWN:,} more; rwcm registry proposals lists them")


def _echo_drafts(drafts: "Sequence[Submitted]") -> None:
    if drafts:
        from registry.publication import PROPOSAL_TYPES

        heading = ("draft", "object", "version", "change", "proposal")
        rows = [
            (PROPOSAL_TYPES[draft.object_type], draft.object_id, draft.version, draft.change, draft.publication_id)
            for draft in drafts
        ]
        click.echo(_columns([heading, *rows]))


@registry.command()
@click.argument("files", type=click.Path(path_type=Path, dir_okay=False), nargs=-1, required=True, metavar="FILE...")
@_kind
@_json
@acting
def submit(
    files: tuple[Path, ...], kind: str | None, as_json: bool, registry: "Registry", principal: "Principal"
) -> None:
    """Queue documents as drafts, all of them or none.

    Each FILE holds one document, as JSON. They may need each other. A document may leave out its version; one that
    states another than its changes call for is refused with the right one.
    """
    from registry.catalogue import WORDS, recognise
    from registry.documents import DocumentRefused, Fault
    from registry.drafts import Incoming, read_incoming
    from registry.packs import read_file
    from registry.publication import submit_all
    from registry.versions import KINDS

    with refusing(DocumentRefused):
        faults: list[Fault] = []
        incoming = []
        for path in files:
            try:
                content = read_file(path)
                found = KINDS[WORDS[kind]] if kind else recognise(content, name=str(path))
                incoming.append(Incoming(found, content, str(path)))
            except DocumentRefused as refused:
                faults += refused.faults
        documents = list(read_incoming(incoming, faults))
        if faults:
            raise DocumentRefused(faults)
        drafts = submit_all(registry, documents, principal=principal, now=datetime.now(UTC))
    _echo_submitted(drafts, as_json=as_json)


def _echo_submitted(drafts: "Sequence[Submitted]", *, as_json: bool) -> None:
    if as_json:
        _echo_json([_draft_as_json(draft) for draft in drafts])
        return
    _echo_drafts(drafts)
    for draft in drafts:
        if not draft.is_new:
            click.echo(f"{draft.publication_id} was queued before; nothing changed")


@registry.command("list")
@click.argument("kind", type=click.Choice(LISTED), required=False)
@_json
@said_clearly(HomeFault)
def list_(kind: str | None, as_json: bool) -> None:
    """List what is current, of one KIND or of all."""
    from registry.catalogue import listing

    with closing(open_registry()) as opened, opened.read() as connection:
        found = list(listing(connection, kind))
    if as_json:
        _echo_json([asdict(item) for item in found])
        return
    heading = ("kind", "object", "version", "state", "name")
    click.echo(_columns([heading, *((i.kind, i.object_id, i.version, i.state, i.name) for i in found)]))


@registry.command()
@click.argument("object_id", metavar="ID")
@click.option("--version", default=None, help="A version; the current one by default.")
@_kind
@_json
@said_clearly(HomeFault)
def show(object_id: str, version: str | None, kind: str | None, as_json: bool) -> None:
    """Print the document of an object as it was received; with --json its canonical form with what is known of it."""
    from registry.catalogue import Ambiguous, find_kind
    from registry.objects import NotRegistered
    from registry.versions import document_of, history

    with refusing(NotRegistered, Ambiguous), closing(open_registry()) as opened, opened.read() as connection:
        found = find_kind(connection, object_id, kind)
        document = document_of(connection, found, object_id, version)
        versions = {item.version: item for item in history(connection, found, object_id)}
    if as_json:
        _echo_json({**_version_as_json(versions[document.version]), "document": document.received.value})
    else:
        click.echo(document.received.text.rstrip("\n"))


@registry.command()
@click.argument("object_id", metavar="ID")
@_kind
@_json
@said_clearly(HomeFault)
def history(object_id: str, kind: str | None, as_json: bool) -> None:
    """List the versions of an object: when, who, what kind of change, and why."""
    from registry.catalogue import Ambiguous, find_kind
    from registry.objects import NotRegistered
    from registry.versions import history as versions_of

    with refusing(NotRegistered, Ambiguous), closing(open_registry()) as opened, opened.read() as connection:
        versions = versions_of(connection, find_kind(connection, object_id, kind), object_id)
    if as_json:
        _echo_json([_version_as_json(version) for version in versions])
        return
    rows = [
        (
            f"{version.version}{' *' if version.is_current else ''}",
            f"{version.created_at:%Y-%m-%d %H:%M}",
            version.created_by,
            version.change,
            version.why,
            version.publication_id or "",
        )
        for version in versions
    ]
    click.echo(_columns([("version", "when (UTC)", "who", "change", "why", "publication"), *rows]))
    click.echo("* current")


@registry.command()
@click.argument("object_id", metavar="ID", required=False)
@click.argument("versions", metavar="[FROM] [TO]", nargs=-1)
@click.option("--proposal", metavar="ID", default=None, help="What a proposal would change of what is current.")
@_kind
@_json
@said_clearly(HomeFault)
def diff(
    object_id: str | None, versions: tuple[str, ...], proposal: str | None, kind: str | None, as_json: bool
) -> None:
    """Say what changed between two versions of an object, as a review reads it.

    With one version, from it to the current one; with none, from the last one to the current one.
    """
    from registry.catalogue import Ambiguous, find_kind
    from registry.diff import diff_proposal, diff_versions
    from registry.documents import DocumentRefused
    from registry.objects import NotRegistered
    from registry.proposals import ProposalClosed

    if (object_id is None) == (proposal is None) or len(versions) > 2:
        raise click.UsageError("name an object and at most two versions, or --proposal ID")
    refused = refusing(NotRegistered, Ambiguous, DocumentRefused, ProposalClosed)
    with refused, closing(open_registry()) as opened, opened.read() as connection:
        if object_id is None:
            shown = diff_proposal(connection, str(proposal), now=datetime.now(UTC))
        else:
            old, new = (*versions, None, None)[:2]
            shown = diff_versions(connection, find_kind(connection, object_id, kind), object_id, old, new)
    if as_json:
        _echo_json(shown.as_json())
    else:
        click.echo("\n".join(shown.lines()))


@registry.command()
@click.argument("object_id", metavar="ID")
@click.option("--to", "version", required=True, help="Version whose content is to hold again.")
@click.option("--reason", required=True, help="Why; it stands in the history.")
@_kind
@_json
@acting
def rollback(
    object_id: str,
    version: str,
    reason: str,
    kind: str | None,
    as_json: bool,
    registry: "Registry",
    principal: "Principal",
) -> None:
    """Publish the content of an earlier version as a new version; history stays as it is.

    Needs a token with the right to publish the object. Episodes that run keep the version they started under.
    """
    from registry.catalogue import Ambiguous, find_kind
    from registry.documents import DocumentRefused
    from registry.objects import NotRegistered
    from registry.publication import rollback as roll_back

    with refusing(NotRegistered, Ambiguous, DocumentRefused):
        with registry.read() as connection:
            found = find_kind(connection, object_id, kind)
        now = datetime.now(UTC)
        done = roll_back(registry, found, object_id, to=version, reason=reason, principal=principal, now=now)
    if as_json:
        _echo_json(asdict(done))
    else:
        click.echo(f"{object_id} {done.version} is current, with the content of {version}; it replaced {done.replaces}")


@registry.command()
@click.argument("workflow_id")
@click.option("--reason", required=True, help="Why; it stands in the history.")
@_json
@acting
def retire(workflow_id: str, reason: str, as_json: bool, registry: "Registry", principal: "Principal") -> None:
    """Propose that a workflow ends: once that is published, nothing starts it any more.

    Its versions, steps and runs stay, episodes that run end as they would. Needs a token.
    """
    from registry.documents import DocumentRefused
    from registry.objects import NotRegistered
    from registry.publication import retire as propose

    with refusing(NotRegistered, DocumentRefused):
        done = propose(registry, workflow_id, reason=reason, principal=principal, now=datetime.now(UTC))
    _echo_submitted([done], as_json=as_json)


@registry.command()
@click.option("--decision", type=click.Choice(DECISIONS), default=None, help="Only those that stand there.")
@click.option("--mine", is_flag=True, help="Only those whose next step you may take; needs a token.")
@_token_file
@_json
@said_clearly(HomeFault)
def proposals(decision: str | None, mine: bool, token_file: Path | None, as_json: bool) -> None:
    """List the publication queue, the oldest proposal first, and what each waits for.

    rwcm registry diff --proposal ID shows one as a review, rwcm registry gates what the gates found; rwcm decide is for
    reviewers. No command goes round gates and reviewers.
    """
    from registry.access import InvalidToken, authenticate
    from registry.permissions import load_permissions
    from registry.proposals import proposals as queue
    from registry.reviews import next_steps, up_to

    now = Home.from_environment().now()
    with refusing(InvalidToken), closing(open_registry()) as opened:
        principal = authenticate(opened, given_token(token_file), now=datetime.now(UTC)) if mine else None
        with opened.read() as connection:
            permissions = load_permissions(connection, now=now)
            found = queue(connection, decision=decision)
            if principal is not None:
                found = up_to(connection, found, principal, permissions, now=now)
            steps = next_steps(connection, found, permissions, now=now)
    if as_json:
        _echo_json([_proposal_as_json(item) | {"next": step} for item, step in zip(found, steps, strict=True)])
        return
    rows = [
        (
            item.publication_id,
            item.proposal_type,
            item.object_id,
            item.base or "",
            item.decision,
            item.proposed_by,
            f"{item.expires_at:%Y-%m-%d}",
            step,
        )
        for item, step in zip(found, steps, strict=True)
    ]
    heading = ("proposal", "type", "object", "replaces", "decision", "by", "expires", "next")
    click.echo(_columns([heading, *rows]) if rows else _NOTHING[mine or decision is not None])


_NOTHING = {False: "the queue is empty", True: "no such proposal is in the queue"}


def _columns(rows: "Sequence[tuple[str, ...]]") -> str:
    """Return rows as aligned text, every column to the left, each row's end without blanks."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _echo_json(value: Any) -> None:
    """Print canonical JSON: a document's numbers keep every digit."""
    from guard.canonical import canonical

    click.echo(canonical(value))


def _draft_as_json(draft: "Submitted") -> dict[str, Any]:
    from registry.comparison.review import as_json

    members = {name: item for name, item in vars(draft).items() if name != "comparison"}
    return {**members, "differences": [as_json(found) for found in draft.comparison.differences]}


def _version_as_json(version: "Version") -> dict[str, Any]:
    return {**vars(version), "created_at": version.created_at.isoformat(), "lineage": dict(version.lineage)}


def _proposal_as_json(proposal: "Queued") -> dict[str, Any]:
    moments = {name: getattr(proposal, name).isoformat() for name in ("created_at", "expires_at")}
    return {**vars(proposal), **moments, "object_id": proposal.object_id, "replaces": proposal.base}
