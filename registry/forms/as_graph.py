"""A graph as JSON, in the node-link shape that networkx and d3 read: a node per row, an edge per relation.

Nodes carry their whole rows, so that nothing is lost; edges follow from them, and must agree with them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from guard.canonical import JsonFault, decode, parse
from guard.json_pieces import Elements, members
from lake.spec import TableSpec
from lake.tables import (
    AGENT,
    CONSUMER_SUBSCRIPTION,
    OBJECT_VERSION,
    ONTOLOGY_NODE,
    POLICY,
    ROLE,
    ROLE_SKILL_MAP,
    SCHEMA_REGISTRY,
    SKILL_NODE,
    STEP_ACTION,
    TRIGGER_DEF,
    WORKFLOW,
)
from registry.documents import DocumentRefused
from registry.forms.as_json import row_of, row_text
from registry.forms.sheets import SPECS, Faults, Sheets, Texts, read_bytes, tables_of
from registry.steps import END, parse_logic

NAME = "graph"

Edge = tuple[str, str, str]
"""Source, target and relation."""

_REFERENCES: Mapping[tuple[str, str], tuple[str, bool]] = {
    (ROLE.name, "supervises_role_id"): ("supervises", True),
    (SKILL_NODE.name, "owner_role_id"): ("owns", True),
    (WORKFLOW.name, "responsible_role_id"): ("owns", True),
    (POLICY.name, "owner_role_id"): ("owns", True),
    (STEP_ACTION.name, "workflow_id"): ("has_step", True),
    (STEP_ACTION.name, "skill_id"): ("uses", False),
    (TRIGGER_DEF.name, "workflow_id"): ("triggers", False),
    (AGENT.name, "role_id"): ("acts_as", False),
    (ONTOLOGY_NODE.name, "parent_id"): ("narrower", True),
    (ROLE_SKILL_MAP.name, "role_id"): ("granted", True),
    (ROLE_SKILL_MAP.name, "skill_id"): ("permits", False),
}
"""Column that names another object -> relation, and whether it leads from the named one."""


def recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() != ".json":
        return False
    with path.open("rb") as file:
        return file.read(1_000).lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"{")


def write(tables: Mapping[str, Sequence[Texts]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"directed":true,"multigraph":true,"graph":{"form":"rwcm.registry"},\n"nodes":[')
        separator = "\n"
        for spec, rows in tables_of(tables):
            for row in rows:
                node = json.dumps(node_id(spec, row), ensure_ascii=False)
                file.write(f'{separator}{{"id":{node},"table":"{spec.name}","row":{row_text(spec, row)}}}')
                separator = ",\n"
        file.write('\n],\n"edges":[')
        separator = "\n"
        for source, target, relation in edges(tables):
            edge = {"source": source, "target": target, "key": relation}
            file.write(separator + json.dumps(edge, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]}\n")


def node_id(spec: TableSpec, row: Texts) -> str:
    """Return what a row is called in the graph: its table and its key."""
    return f"{spec.name}:{'/'.join(row.get(name) or '' for name in spec.key)}"


def edges(tables: Mapping[str, Sequence[Texts]]) -> list[Edge]:
    """Return the relations between rows, each once, in order."""
    found = {edge for spec, rows in tables_of(tables) for row in rows for edge in _edges_of(spec, row)}
    return sorted(found | set(_tags(tables)) | set(_publishers(tables)))


def _edges_of(spec: TableSpec, row: Texts) -> Iterator[Edge]:
    this = node_id(spec, row)
    for column in spec.columns:
        relation, leads_here = _REFERENCES.get((spec.name, column.name), ("", False))
        value = row.get(column.name)
        if relation and value is not None:
            other = f"{(column.references or '').partition('.')[0]}:{value}"
            yield (other, this, relation) if leads_here else (this, other, relation)
    if spec is STEP_ACTION:
        yield from _ways_on(this, row)
    elif spec is OBJECT_VERSION and row["object_type"] != SCHEMA_REGISTRY.name:
        yield f"{row['object_type']}:{row['object_id']}", this, "has_version"
    elif spec is OBJECT_VERSION:
        yield f"{SCHEMA_REGISTRY.name}:{row['object_id']}/{row['version']}", this, "has_version"


def _ways_on(this: str, row: Texts) -> Iterator[Edge]:
    """Yield where a step leads; a step whose logic does not parse leads nowhere."""
    try:
        logic = parse_logic(parse(row.get("next_step_logic") or "null"))
    except (DocumentRefused, JsonFault):
        return
    for _, target in logic.ways():
        if target != END:
            yield this, f"{STEP_ACTION.name}:{target}", "next"
    if logic.compensate:
        yield this, f"{STEP_ACTION.name}:{logic.compensate}", "compensates"


def _tags(tables: Mapping[str, Sequence[Texts]]) -> Iterator[Edge]:
    """Yield which workflows carry which terms as policy tags."""
    terms = {row["label"]: row["node_id"] for row in tables.get(ONTOLOGY_NODE.name, ())}
    for row in tables.get(WORKFLOW.name, ()):
        stated = _json(row.get("constraints")).get("policy_tags", ())
        for tag in stated if isinstance(stated, list) else ():
            if isinstance(tag, str) and tag in terms:
                yield f"{WORKFLOW.name}:{row['workflow_id']}", f"{ONTOLOGY_NODE.name}:{terms[tag]}", "tagged"


def _publishers(tables: Mapping[str, Sequence[Texts]]) -> Iterator[Edge]:
    """Yield which versions of a schema start which triggers, and which consumers read."""
    versions: dict[str | None, list[str]] = {}
    for row in tables.get(SCHEMA_REGISTRY.name, ()):
        versions.setdefault(row["subject"], []).append(node_id(SCHEMA_REGISTRY, row))
    for spec, topic in ((TRIGGER_DEF, "topic"), (CONSUMER_SUBSCRIPTION, "subject")):
        for row in tables.get(spec.name, ()):
            subject = _json(row.get("selector")).get(topic) if spec is TRIGGER_DEF else row["subject"]
            for schema in versions.get(subject, ()) if isinstance(subject, str) else ():
                yield schema, node_id(spec, row), "announces"


def _json(text: str | None) -> Mapping[str, Any]:
    try:
        value = parse(text or "{}")
    except JsonFault:
        return {}
    return value if isinstance(value, dict) else {}


def read(path: Path) -> Sheets:
    faults = Faults(path)
    sheets = Sheets()
    stated: dict[Edge, str] = {}
    place = path.name
    try:
        for key, value, _ in members(decode(read_bytes(path, faults)), arrays=("nodes", "edges")):
            if not isinstance(value, Elements):
                continue
            for number, (item, text) in enumerate(value, 1):
                place = f"{path.name} {key} {number}"
                if key == "nodes":
                    _take_node(item, text, place, sheets, faults)
                else:
                    _take_edge(item, place, stated, faults)
    except JsonFault as fault:
        faults.refuse(f"{place} {fault.path}".strip(), str(fault), fault.fix)
    faults.settle()
    _compare(sheets, stated, path.name, faults)
    faults.settle()
    return sheets


def _take_node(item: Any, text: str, place: str, sheets: Sheets, faults: Faults) -> None:
    if not isinstance(item, dict) or item.get("table") not in SPECS or not isinstance(item.get("row"), dict):
        faults.add(place, "", "is no node of a registry", 'write {"id": ..., "table": ..., "row": {...}}')
        return
    spec = SPECS[item["table"]]
    (row,) = (verbatim for name, _, verbatim in members(text) if name == "row")
    line = row_of(spec, row.strip(), place, faults)
    if item.get("id") != node_id(spec, line.texts):
        faults.add(place, "", f"its id is not {node_id(spec, line.texts)}", "correct it")
    sheets.lines.setdefault(spec.name, []).append(line)


def _take_edge(item: Any, place: str, stated: dict[Edge, str], faults: Faults) -> None:
    parts = [item.get(name) for name in ("source", "target", "key")] if isinstance(item, dict) else []
    if not parts or not all(isinstance(part, str) for part in parts):
        faults.add(place, "", "is no edge", 'write {"source": ..., "target": ..., "key": ...}')
        return
    source, target, relation = map(str, parts)
    stated[source, target, relation] = place


def _compare(sheets: Sheets, stated: Mapping[Edge, str], name: str, faults: Faults) -> None:
    """Find edges that nodes do not have, and the other way round."""
    follow = set(edges({table: [line.texts for line in lines] for table, lines in sheets.lines.items()}))
    for edge in stated.keys() - follow:
        faults.add(
            stated[edge], "", f"{' '.join(edge)} does not follow from the nodes", "change the row that states it"
        )
    for source, target, relation in sorted(follow - stated.keys()):
        problem = f"has no edge {relation} from {source} to {target}, which follows from the nodes"
        faults.add(name, "", problem, "add the edge, or change the row that states it")
