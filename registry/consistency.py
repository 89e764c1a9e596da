"""Checks between documents that come together, and against what the registry holds."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs
import sqlalchemy as sa

from guard.canonical import canonical, parse
from guard.secrets import find_secrets
from lake.spec import TableSpec
from lake.tables import ROLE, SCHEMA_REGISTRY, STEP_ACTION, TRIGGER_DEF, WORKFLOW
from registry.checks import Known, check_workflow
from registry.compatibility import SchemaRefused
from registry.contracts import is_personal, schema_faults, term_faults, term_tags
from registry.database import SPECS, TABLES, fetch
from registry.documents import Argument, EventSchema, Fault, OntologyNode, Received, SkillNode, Workflow
from registry.objects import Row, current_documents
from registry.payloads import payload_schema
from registry.schemas import incompatibilities, personal_topics, schema_versions

_BY_NAME = {spec.name: spec for spec in SPECS}
_OF_WORKFLOWS = frozenset((WORKFLOW.name, STEP_ACTION.name, TRIGGER_DEF.name))
"""Tables whose references `check_workflow` proves."""

_FEW = 500

Placed = tuple[str, str, TableSpec, Row]
"""Document, path within it, table and row."""


def inconsistencies(
    connection: sa.Connection, documents: Sequence[Received[Any]], rows: Sequence[Placed]
) -> Iterator[Fault]:
    """Find everything that keeps `documents`, taken apart into `rows`, from standing beside what is stored.

    A document of an object that is stored takes its place. What relies on a skill, an event schema or the term of a
    topic that is replaced must hold with the new one as well.
    """
    yield from _dangling(connection, rows)
    yield from _cycles(connection, rows)
    yield from _taken(connection, rows)
    yield from _bad_schemas(documents)
    yield from _bad_words(documents)
    yield from incompatibilities(connection, documents)
    yield from _secrets(documents)
    yield from _called_at_its_end(connection, documents)
    yield from _superseding(connection, documents)
    known = _known(connection, documents)
    for document in documents:
        if isinstance(document.body, Workflow):
            yield from check_workflow(document.body, known, document=document.name)
    for workflow in _relying_on(connection, documents):
        yield from check_workflow(workflow, known, document=workflow.workflow_id)


def _relying_on(connection: sa.Connection, documents: Sequence[Received[Any]]) -> Iterator[Workflow]:
    """Yield the stored workflows that run and name a skill or topic of `documents`; not those that come with them."""
    named = [document.body.object_id for document in documents if isinstance(document.body, SkillNode | EventSchema)]
    named += [document.body.label for document in documents if isinstance(document.body, OntologyNode)]
    coming = {document.body.object_id for document in documents if isinstance(document.body, Workflow)}
    if named:
        for status in ("active", "paused"):
            for workflow_id, stored in current_documents(connection, Workflow, status=status).items():
                if workflow_id not in coming and any(f'"{name}"' in stored.text for name in named):
                    yield stored.body


def _called_at_its_end(connection: sa.Connection, documents: Sequence[Received[Any]]) -> Iterator[Fault]:
    """Find workflows that are to be retired while one that runs calls them."""
    ending = {d.body.object_id: d for d in documents if isinstance(d.body, Workflow) and d.body.status == "retired"}
    if not ending:
        return
    skills = {name: skill.body for name, skill in current_documents(connection, SkillNode).items()}
    naming = _naming(skills)
    for status in ("active", "paused"):
        for caller, stored in current_documents(connection, Workflow, status=status).items():
            for called in sorted(_called(stored.body, naming) & ending.keys()) if caller not in ending else ():
                problem = f"{caller}, which is {status}, calls it"
                yield Fault(ending[called].name, "/status", problem, f"retire {caller} first, or let it call another")


def _superseding(connection: sa.Connection, documents: Sequence[Received[Any]]) -> Iterator[Fault]:
    """Find triggers that take over what they cannot: none, their own workflow's, another topic's, or each other's."""
    coming = [document for document in documents if isinstance(document.body, Workflow)]
    if not any(trigger.selector.supersedes for document in coming for trigger in document.body.triggers):
        return
    table = TABLES[TRIGGER_DEF.name]
    stored = sa.select(table.c.trigger_id, table.c.workflow_id, table.c.trigger_type, table.c.selector)
    triggers: dict[str, tuple[str, str, Mapping[str, Any]]] = {
        name: (workflow_id, kind, parse(selector))
        for name, workflow_id, kind, selector in fetch(connection, stored.where(table.c.last_version.is_(None)))
    }
    for document in coming:
        for trigger in document.body.triggers:
            kept = trigger.selector.model_dump(exclude_none=True)
            triggers[trigger.trigger_id] = (document.body.workflow_id, trigger.trigger_type, kept)
    over = {name: list(selector.get("supersedes", ())) for name, (_, _, selector) in triggers.items()}
    for document in coming:
        for index, trigger in enumerate(document.body.triggers):
            path = f"/triggers/{index}/selector/supersedes"
            for named in trigger.selector.supersedes:
                workflow_id, kind, selector = triggers.get(named, ("", "", {}))
                if not workflow_id or workflow_id == document.body.workflow_id:
                    fix = "name triggers of workflows that are registered"
                    yield Fault(document.name, path, f"{named} is no trigger of another workflow", fix)
                elif {kind, trigger.trigger_type} != {"event"} or selector.get("topic") != trigger.selector.topic:
                    fix = "both must be triggers of type event on one topic"
                    yield Fault(document.name, path, f"{named} does not listen to the events that this one takes", fix)
                elif _leads_to(named, trigger.trigger_id, over):
                    fix = "let the narrower one alone supersede the other"
                    yield Fault(document.name, path, f"{named} supersedes this one in turn", fix)


def _leads_to(start: str, wanted: str, edges: Mapping[str, Sequence[str]]) -> bool:
    seen: set[str] = set()
    left = [start]
    while left:
        name = left.pop()
        if name == wanted:
            return True
        if name not in seen:
            seen.add(name)
            left += edges.get(name, ())
    return False


def latest_schemas(connection: sa.Connection) -> dict[str, tuple[int, str]]:
    """Return the latest version of each topic's schema, as (version, JSON text)."""
    table = TABLES[SCHEMA_REGISTRY.name]
    query = sa.select(table.c.subject, table.c.version, table.c.schema).order_by(table.c.subject, table.c.version)
    return {subject: (version, schema) for subject, version, schema in fetch(connection, query)}


def _known(connection: sa.Connection, documents: Sequence[Received[Any]]) -> Known:
    skills = {name: skill.body for name, skill in current_documents(connection, SkillNode).items()}
    schemas = {
        name: _payloads(versions[-1].schema, versions[-1].format)
        for name, versions in schema_versions(connection).items()
    }
    for document in documents:
        if isinstance(document.body, SkillNode):
            skills[document.body.skill_id] = document.body
    for schema in sorted((d.body for d in documents if isinstance(d.body, EventSchema)), key=lambda body: body.version):
        schemas[schema.subject] = _payloads(schema.schema_, schema.format)
    roles = _stored(connection, ROLE, ("role_id",)) | {
        (document.body.object_id,) for document in documents if document.body.spec is ROLE
    }
    return Known(
        skills={name: skill.signature for name, skill in skills.items()},
        roles={role for (role,) in roles},
        schemas=schemas,
        personal=_personal_topics(connection, documents),
        effects={name: skill.runtime_binding.effects for name, skill in skills.items()},
        calls=_calls(connection, documents, skills),
    )


def _payloads(schema: Any, language: Any) -> Any:
    """Return the JSON Schema of a topic's payloads; a schema that is none is told as its own fault."""
    try:
        return payload_schema(schema, language)
    except SchemaRefused:
        return {}


def _personal_topics(connection: sa.Connection, documents: Sequence[Received[Any]]) -> set[str]:
    """Return the topics whose term says that they are personal as a whole."""
    terms = [d.body for d in documents if isinstance(d.body, OntologyNode) and d.body.node_type == "event"]
    tagged = {term.label for term in terms if is_personal(term_tags(term.attributes))}
    return (personal_topics(connection) - {term.label for term in terms}) | tagged


def _calls(
    connection: sa.Connection, documents: Sequence[Received[Any]], skills: Mapping[str, SkillNode]
) -> dict[str, set[str]] | None:
    """Return which workflow calls which by name, None if no document calls any."""
    naming = _naming(skills)
    calling = {skill_id for skill_id, names in naming.items() if names}
    workflows = [document.body for document in documents if isinstance(document.body, Workflow)]
    if not any(step.skill_id in calling for workflow in workflows for step in workflow.steps):
        return None
    new = {workflow.workflow_id for workflow in workflows}
    table = TABLES[STEP_ACTION.name]
    callers = sa.select(table.c.workflow_id).where(table.c.skill_id.in_(calling)).distinct()
    for (caller,) in fetch(connection, callers):
        if caller not in new:
            stored = current_documents(connection, Workflow, workflow_id=caller)
            workflows += [received.body for received in stored.values()]
    calls: dict[str, set[str]] = {caller: set() for (caller,) in _stored(connection, WORKFLOW, ("workflow_id",))}
    calls.update((workflow.workflow_id, _called(workflow, naming)) for workflow in workflows)
    return calls


def _naming(skills: Mapping[str, SkillNode]) -> dict[str, set[str]]:
    """Return, for each skill, the names under which its steps name a workflow."""
    return {
        skill_id: {name for arg in skill.signature.args if arg.references == "workflow" for name in _names(arg)}
        for skill_id, skill in skills.items()
    }


def _called(workflow: Workflow, naming: Mapping[str, Collection[str]]) -> set[str]:
    """Return the workflows that a workflow calls by name."""
    given = (step.parameters.get(name) for step in workflow.steps for name in naming.get(step.skill_id, ()))
    return {name for name in given if isinstance(name, str)}


def _names(argument: Argument) -> tuple[str, ...]:
    return (argument.name, *argument.aliases)


def _stored(
    connection: sa.Connection, spec: TableSpec, names: Sequence[str], first: Collection[Any] | None = None
) -> set[tuple[Any, ...]]:
    """Return columns of the stored rows; only of rows whose first one is in `first`, if that is few."""
    table = TABLES[spec.name]
    query = sa.select(*(table.c[name] for name in names))
    if first is not None and len(first) <= _FEW:
        query = query.where(table.c[names[0]].in_(set(first)))
    return set(fetch(connection, query))


def _dangling(connection: sa.Connection, rows: Sequence[Placed]) -> Iterator[Fault]:
    known: dict[str, set[Any]] = {}
    for document, path, spec, row in rows:
        for column in spec.columns if spec.name not in _OF_WORKFLOWS else ():
            if column.references is None or row[column.name] is None:
                continue
            table, _, name = column.references.partition(".")
            if column.references not in known:
                known[column.references] = {value for (value,) in _stored(connection, _BY_NAME[table], (name,))}
                known[column.references] |= {other[name] for _, _, its, other in rows if its.name == table}
            if row[column.name] not in known[column.references]:
                fault = f"there is no {table} {row[column.name]}"
                yield Fault(document, f"{path}/{column.name}", fault, f"add the {table} or correct the id")


def _cycles(connection: sa.Connection, rows: Sequence[Placed]) -> Iterator[Fault]:
    """Find objects above themselves."""
    above: dict[tuple[str, Any], tuple[str, Any]] = {}
    for spec in {spec.name: spec for _, _, spec, _ in rows}.values():
        for column in spec.columns:
            if column.references == f"{spec.name}.{spec.key[0]}":
                stored = _stored(connection, spec, (spec.key[0], column.name))
                above |= {(spec.name, key): (spec.name, parent) for key, parent in stored}
                above |= {
                    (spec.name, row[spec.key[0]]): (spec.name, row[column.name])
                    for _, _, its, row in rows
                    if its is spec
                }
    for document, path, spec, row in rows:
        start = (spec.name, row[spec.key[0]])
        seen = set()
        current = above.get(start)
        while current is not None and current not in seen:
            seen.add(current)
            current = above.get(current)
        if start in seen:
            yield Fault(document, path, f"{row[spec.key[0]]} stands above itself", "break the circle")


def _taken(connection: sa.Connection, rows: Sequence[Placed]) -> Iterator[Fault]:
    """Find keys and unique names that another object has, among the documents and in the registry."""
    by_table: dict[str, list[Placed]] = defaultdict(list)
    for placed in rows:
        by_table[placed[2].name].append(placed)
    for table, placed_rows in by_table.items():
        spec = _BY_NAME[table]
        owner = ("workflow_id",) if spec in (STEP_ACTION, TRIGGER_DEF) else spec.key
        for names in (spec.key, *spec.unique):
            stored = {
                value[: len(names)]: value[len(names) :]
                for value in _stored(connection, spec, (*names, *owner), [row[names[0]] for *_, row in placed_rows])
            }
            first: dict[tuple[Any, ...], str] = {}
            for document, path, _, row in placed_rows:
                value = tuple(row[name] for name in names)
                is_stored = stored.get(value, own := tuple(row[name] for name in owner)) != own
                holder = "the registry" if is_stored else first.setdefault(value, document)
                if holder != document:
                    what = f"{table} with {', '.join(f'{n} {v}' for n, v in zip(names, value, strict=True))}"
                    yield Fault(document, path, f"{holder} has a {what} already", "give it another one")


def _secrets(documents: Sequence[Received[Any]]) -> Iterator[Fault]:
    for document in documents:
        for found in find_secrets(document.value):
            fix = 'keep it in a secret store, write {"secret_ref": "vault:..."}, and replace it: it was written down'
            yield Fault(document.name, found.path, f"holds what looks like {found.kind}", fix)


def _bad_schemas(documents: Sequence[Received[Any]]) -> Iterator[Fault]:
    for document in documents:
        if isinstance(document.body, EventSchema) and document.body.format == "json":
            try:
                jsonschema_rs.validator_for(canonical(document.value["schema"]))
            except (ValueError, jsonschema_rs.ValidationError) as error:
                reason = str(error).splitlines()[0]
                yield Fault(document.name, "/schema", f"is no JSON Schema: {reason}", "correct it (draft 2020-12)")


def _bad_words(documents: Sequence[Received[Any]]) -> Iterator[Fault]:
    """Find what a schema or a term says of its topic that the door would not understand."""
    for document in documents:
        if isinstance(document.body, EventSchema):
            is_avro = document.body.format == "avro"
            found = schema_faults(document.value["schema"], document.body.compatibility, is_avro=is_avro)
            yield from (Fault(document.name, f"/schema{path}", problem, fix) for path, problem, fix in found)
        elif isinstance(document.body, OntologyNode):
            found = term_faults(document.value.get("attributes"))
            yield from (Fault(document.name, f"/attributes{path}", problem, fix) for path, problem, fix in found)
