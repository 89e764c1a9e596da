"""Loading a pack: whole or not at all, once, and never over what was published."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from guard.canonical import parse
from lake.tables import OBJECT_VERSION, POLICY, ROLE, SKILL_NODE, STEP_ACTION, WORKFLOW
from registry.database import Registry
from registry.loader import PACK, event_schemas, load_pack, register_log_workflow
from registry.objects import NotRegistered
from registry.packs import PackRefused
from registry.tables import SPECS, TABLES


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A copy of the shipped pack that a test may spoil."""
    return shutil.copytree(PACK, tmp_path / "pack", ignore=shutil.ignore_patterns("__pycache__"))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file by what `change` returns, or did to it."""
    document = json.loads(path.read_text())
    changed = change(document)
    path.write_text(json.dumps(document if changed is None else changed))


def counts(registry: Registry) -> dict[str, int]:
    return {spec.name: registry.frame(spec).height for spec in SPECS if registry.frame(spec).height}


def refused(registry: Registry, pack: Path, now: datetime) -> dict[tuple[str, str], str]:
    with pytest.raises(PackRefused) as caught:
        load_pack(registry, pack, actor="test", now=now)
    assert counts(registry) == {}, "a refused pack left something behind"
    assert all(str(fault) in str(caught.value) for fault in caught.value.faults)
    return {(fault.document, fault.path): fault.problem for fault in caught.value.faults}


def test_a_pack_is_loaded_with_a_version_of_every_object(loaded: Registry) -> None:
    """`object_version` is the history that publications continue; what has no first version has no history."""
    versions = loaded.frame(OBJECT_VERSION)
    rows = counts(loaded)
    assert versions["reason"].unique().to_list() == ["bootstrap"]
    assert dict(versions.group_by("object_type").len().iter_rows()) == {
        name: rows[name] for name in rows if name not in ("object_version", "outbox", "step_action", "trigger_def")
    }
    assert (rows["skill_node"], rows["workflow"], rows["step_action"], rows["trigger_def"]) == (15, 1, 5, 1)


def test_documents_are_stored_as_they_were_written(loaded: Registry) -> None:
    """JSON in equals JSON out, byte for byte, for a file and for an entry of a list."""
    stored = {
        (row["object_type"], row["object_id"]): row["document"] for row in loaded.frame(OBJECT_VERSION).to_dicts()
    }
    assert stored["workflow", "WF-FIN-001"] == (PACK / "workflows/WF-FIN-001.json").read_text()
    assert stored["role", "FA-D-001"] in (PACK / "roles.json").read_text()


def test_rows_hold_the_numbers_as_written(loaded: Registry) -> None:
    """A tolerance of 0.05 that becomes 0.05000000000000000277 is another tolerance."""
    frame = loaded.frame(STEP_ACTION)
    parameters = dict(zip(frame["step_id"], frame["parameters"], strict=True))
    assert parameters["F-02"] == '{"check":"po_match","tolerance":0.05}'


def test_the_same_pack_again_changes_nothing(loaded: Registry, now: datetime) -> None:
    """Every start of the platform loads the pack."""
    before = {spec.name: loaded.frame(spec) for spec in SPECS}
    again = load_pack(loaded, PACK, actor="other", now=now + timedelta(days=1))
    assert (again.changed, again.documents) == (False, {})
    assert all(loaded.frame(spec).equals(before[spec.name]) for spec in SPECS)


def test_a_changed_pack_adds_what_is_absent_and_overrules_nothing(loaded: Registry, pack: Path, now: datetime) -> None:
    """What was published meanwhile must survive an upgrade of the platform."""
    edit(pack / "workflows/WF-FIN-001.json", lambda w: w.update(version="9.0.0", status="retired"))
    edit(pack / "roles.json", lambda roles: roles.append({**roles[0], "role_id": "NEW-D-001", "role_title": "New"}))
    result = load_pack(loaded, pack, actor="test", now=now)
    assert (result.changed, result.documents) == (True, {"role": 1})
    assert loaded.frame(WORKFLOW)["version"].to_list() == ["1.3.0"]
    assert "NEW-D-001" in loaded.frame(ROLE)["role_id"]


def test_an_object_of_another_version_stays_as_it_is(loaded: Registry, now: datetime, pack: Path) -> None:
    """A canary or a rollback sets the current version; the pack is no way round the gates."""
    with loaded.transaction() as connection:
        connection.execute(sa.update(TABLES["workflow"]).values(version="1.4.0"))
    edit(pack / "ontology.json", lambda nodes: nodes.append({"node_id": "N", "node_type": "event", "label": "n"}))
    load_pack(loaded, pack, actor="test", now=now)
    assert loaded.frame(WORKFLOW)["version"].to_list() == ["1.4.0"]


def test_a_second_version_of_a_schema_does_not_come_by_a_pack(loaded: Registry, now: datetime, pack: Path) -> None:
    """A new version is a publication with a compatibility check."""
    path = pack / "event_schemas/policy.updated.json"
    edit(path, lambda schema: schema.update(version=2, semver="1.1.0"))
    assert load_pack(loaded, pack, actor="test", now=now).changed is False
    assert event_schemas(loaded)["policy.updated"][0] == 1


def test_the_latest_version_of_a_schema_holds(registry: Registry, now: datetime, pack: Path) -> None:
    """As numbers: version 10 comes after version 9."""
    for version in (2, 9, 10):
        path = pack / f"event_schemas/policy.updated.{version}.json"
        shutil.copy(pack / "event_schemas/policy.updated.json", path)
        edit(path, lambda schema, version=version: schema.update(version=version, semver=f"1.{version}.0"))
    load_pack(registry, pack, actor="test", now=now)
    assert event_schemas(registry)["policy.updated"][0] == 10


def test_absent_members_become_their_documented_defaults(registry: Registry, now: datetime, pack: Path) -> None:
    """The blueprint's policy 5.2 has no name and no owner, and both columns refuse null."""
    edit(pack / "policies/POL-PUBLISH-001.json", lambda p: {k: p[k] for k in ("policy_id", "scope", "spec")})
    load_pack(registry, pack, actor="test", now=now)
    rows = {row["policy_id"]: row for row in registry.frame(POLICY).to_dicts()}
    row = rows["POL-PUBLISH-001"]
    assert (row["policy_name"], row["owner_role_id"], row["precedence"]) == (
        "POL-PUBLISH-001",
        "SEC-M-001",
        "corporate",
    )


# -- What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["roles.json", "agents.json", "skills", "event_schemas"])
def test_a_missing_file_is_named(registry: Registry, now: datetime, pack: Path, missing: str) -> None:
    """A pack without its policies would load and leave everything unguarded."""
    path = pack / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert any(document.rstrip("/") == missing for document, _ in refused(registry, pack, now))


def test_a_folder_that_is_no_pack_is_refused(registry: Registry, now: datetime, tmp_path: Path) -> None:
    """A mistyped path must not count as an empty pack."""
    assert len(refused(registry, tmp_path / "nowhere", now)) == 8


@pytest.mark.parametrize(
    ("name", "content", "document"),
    [
        ("roles.json", b'{"role_id": "A"}', "roles.json"),
        ("roles.json", b"", "roles.json"),
        ("roles.json", b"\xff\xfe[]", "roles.json"),
        ("roles.json", b"[NaN]", "roles.json"),
        ("roles.json", b'[{"role_id": "A", "role_id": "A"}]', "roles.json#0"),
        ("roles.json", b'[{"role_id": "\xff"}]', "roles.json#0"),
        ("skills/SK-OCR-001.json", b"{", "skills/SK-OCR-001.json"),
        ("skills/SK-OCR-001.json", b'{"a": 1, "a": 1}', "skills/SK-OCR-001.json"),
        ("skills/SK-OCR-001.json", '{"ä": 1}'.encode("latin-1"), "skills/SK-OCR-001.json"),
        ("workflows/WF-FIN-001.json", b"[]", "workflows/WF-FIN-001.json"),
    ],
)
def test_a_file_that_is_no_json_is_named(
    registry: Registry, now: datetime, pack: Path, name: str, content: bytes, document: str
) -> None:
    """Duplicate keys and foreign encodings come from editors and merges; each file is named, nothing is loaded."""
    (pack / name).write_bytes(content)
    assert document in {found for found, _ in refused(registry, pack, now)}


def drop(key: str, value: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda entries: [entry for entry in entries if entry[key] != value]


@pytest.mark.parametrize(
    ("name", "change", "document", "path"),
    [
        ("roles.json", lambda r: r[8].update(supervises_role_id="X"), "roles.json#8", "/supervises_role_id"),
        ("roles.json", lambda r: r[0].update(hierarchy_level="0"), "roles.json#0", "/hierarchy_level"),
        ("agents.json", lambda a: a[0].update(role_id="X"), "agents.json#0", "/role_id"),
        ("role_skills.json", lambda m: m[0].update(skill_id="X"), "role_skills.json#0", "/skill_id"),
        ("ontology.json", lambda n: n[1].update(parent_id="X"), "ontology.json#1", "/parent_id"),
        (
            "skills/SK-OCR-001.json",
            lambda s: s.update(owner_role_id="X"),
            "skills/SK-OCR-001.json",
            "/owner_role_id",
        ),
        (
            "policies/POL-DATA-001.json",
            lambda p: p.update(owner_role_id="X"),
            "policies/POL-DATA-001.json",
            "/owner_role_id",
        ),
        (
            "event_schemas/policy.updated.json",
            lambda s: s["schema"].update(type="objekt"),
            "event_schemas/policy.updated.json",
            "/schema",
        ),
        (
            "workflows/WF-FIN-001.json",
            lambda w: w["steps"][0].update(skill_id="X"),
            "workflows/WF-FIN-001.json",
            "/steps/0/skill_id",
        ),
        (
            "workflows/WF-FIN-001.json",
            lambda w: w["steps"][2]["parameters"].update(owner="X"),
            "workflows/WF-FIN-001.json",
            "/steps/2/parameters/owner",
        ),
        (
            "workflows/WF-FIN-001.json",
            lambda w: w.update(responsible_role_id="X"),
            "workflows/WF-FIN-001.json",
            "/responsible_role_id",
        ),
    ],
)
def test_a_wrong_document_is_located(
    registry: Registry, now: datetime, pack: Path, name: str, change: Callable[[Any], Any], document: str, path: str
) -> None:
    """A dangling reference would surface as a bare FOREIGN KEY failure at the very end."""
    edit(pack / name, change)
    assert (document, path) in refused(registry, pack, now)


def test_two_documents_with_one_id_are_refused(registry: Registry, now: datetime, pack: Path) -> None:
    """Which one holds would depend on file names."""
    shutil.copy(pack / "skills/SK-OCR-001.json", pack / "skills/SK-OCR-001-copy.json")
    edit(pack / "roles.json", lambda roles: roles.append(roles[0]))
    documents = {document for document, _ in refused(registry, pack, now)}
    assert documents == {"roles.json#24", "skills/SK-OCR-001.json"}


def test_a_step_id_of_another_workflow_is_refused(registry: Registry, now: datetime, pack: Path) -> None:
    """Step ids are unique over all workflows: runs name steps by them alone."""
    path = pack / "workflows/WF-FIN-002.json"
    shutil.copy(pack / "workflows/WF-FIN-001.json", path)
    edit(path, lambda w: w.update(workflow_id="WF-FIN-002", workflow_name="Another", triggers=[]))
    problems = refused(registry, pack, now)
    assert {(path.relative_to(pack).as_posix(), f"/steps/{index}") for index in range(5)} == set(problems)


def test_a_step_id_that_the_registry_has_is_refused(loaded: Registry, now: datetime, pack: Path) -> None:
    """The same against what is stored: the unique key would fail without saying where."""
    edit(
        pack / "workflows/WF-FIN-001.json", lambda w: w.update(workflow_id="WF-2", workflow_name="Another", triggers=[])
    )
    with pytest.raises(PackRefused, match="the registry has a step_action with step_id F-01 already"):
        load_pack(loaded, pack, actor="test", now=now)


@pytest.mark.parametrize(
    ("name", "key", "parent"),
    [("roles.json", "role_id", "supervises_role_id"), ("ontology.json", "node_id", "parent_id")],
)
def test_a_circle_is_refused(registry: Registry, now: datetime, pack: Path, name: str, key: str, parent: str) -> None:
    """Escalation climbs from role to role; in a circle it never arrives."""

    def close(entries: list[dict[str, Any]]) -> None:
        entries[0][parent], entries[1][parent] = entries[1][key], entries[0][key]

    edit(pack / name, close)
    assert {document for document, _ in refused(registry, pack, now)} == {f"{name}#0", f"{name}#1"}


def test_every_fault_of_a_pack_is_named_at_once(registry: Registry, now: datetime, pack: Path) -> None:
    """One attempt, one list."""
    (pack / "agents.json").unlink()
    (pack / "skills/SK-VIZ-014.json").write_bytes(b"{")
    edit(pack / "policies/POL-DATA-001.json", lambda p: p.update(scope="all", extra=1))
    edit(pack / "workflows/WF-FIN-001.json", lambda w: w["steps"][4].update(next_step_logic="→ F-09"))
    assert {
        ("agents.json", ""),
        ("skills/SK-VIZ-014.json", ""),
        ("policies/POL-DATA-001.json", "/scope"),
        ("policies/POL-DATA-001.json", "/extra"),
        ("workflows/WF-FIN-001.json", "/steps/4/next_step_logic/goto"),
    } <= set(refused(registry, pack, now))


def test_a_load_that_fails_in_the_middle_leaves_nothing(
    registry: Registry, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up between two tables must not leave half a pack."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("registry.versions.version_row", fail)
    with pytest.raises(OSError, match="no space"):
        load_pack(registry, PACK, actor="test", now=now)
    assert counts(registry) == {}
    monkeypatch.undo()
    assert load_pack(registry, PACK, actor="test", now=now).changed


def test_a_load_that_is_killed_in_the_middle_leaves_nothing(tmp_path: Path, now: datetime) -> None:
    """The rows of all tables are written, then the process dies before the commit."""
    script = (
        "import os, sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from registry import loader, versions\n"
        "from registry.database import Registry\n"
        "versions.version_row = lambda *a, **k: os.kill(os.getpid(), 9)\n"
        "loader.load_pack(Registry.open(Path(sys.argv[1])), loader.PACK, actor='a', now=datetime.now(UTC))\n"
    )
    path = tmp_path / "registry.db"
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    registry = Registry.open(path)
    assert counts(registry) == {}
    assert load_pack(registry, PACK, actor="test", now=now).changed


# -- Workflows that a log tells of --------------------------------------------------------------------------------


def register(registry: Registry, now: datetime, *activities: str, name: str = "receipt", slug: str = "receipt") -> Any:
    return register_log_workflow(
        registry, workflow_id=f"WF-LOG-{slug}", name=name, activities=activities, now=now, source="digest"
    )


def test_a_log_becomes_a_draft_with_one_step_per_activity(loaded: Registry, now: datetime) -> None:
    """Imported step runs refer to these steps; the workflow itself never runs."""
    steps = register(loaded, now, "Create", "Check", "Create", "Ship é→; \"'")
    assert steps == {"Create": "WF-LOG-receipt/1", "Check": "WF-LOG-receipt/2", "Ship é→; \"'": "WF-LOG-receipt/3"}
    row = loaded.frame(WORKFLOW).filter(workflow_id="WF-LOG-receipt").row(0, named=True)
    assert (row["status"], row["version"], row["workflow_name"]) == ("draft", "0.1.0", "receipt")
    stored = loaded.frame(STEP_ACTION).filter(workflow_id="WF-LOG-receipt").sort("sequence")
    assert [parse(text)["activity"] for text in stored["parameters"]] == list(steps)
    assert stored["skill_id"].unique().to_list() == ["SK-EXT-000"]


def test_the_same_log_again_changes_nothing(loaded: Registry, now: datetime) -> None:
    """A retried import must not make a new version."""
    first = register(loaded, now, "A", "B")
    before = loaded.frame(OBJECT_VERSION)
    assert register(loaded, now + timedelta(days=1), "B", "A") == first
    assert loaded.frame(OBJECT_VERSION).equals(before)


def test_new_activities_are_added_and_old_ones_keep_their_steps(loaded: Registry, now: datetime) -> None:
    """Recorded runs refer to step ids, so an id may never change its activity."""
    register(loaded, now, "A", "B")
    later = now + timedelta(days=1)
    assert register(loaded, later, "C", "B", "A") == {
        "A": "WF-LOG-receipt/1",
        "B": "WF-LOG-receipt/2",
        "C": "WF-LOG-receipt/3",
    }
    versions = loaded.frame(OBJECT_VERSION).filter(object_id="WF-LOG-receipt")
    assert versions["version"].to_list() == ["0.1.0", "0.2.0"]
    stored = loaded.frame(STEP_ACTION).filter(workflow_id="WF-LOG-receipt").sort("sequence")
    assert stored["created_at"].to_list() == [now, now, later]
    current = loaded.frame(WORKFLOW).filter(workflow_id="WF-LOG-receipt").row(0, named=True)
    assert (current["version"], current["created_at"], current["updated_at"]) == ("0.2.0", now, later)


def test_two_logs_of_one_name_both_get_in(loaded: Registry, now: datetime) -> None:
    """Names are unique per version, and file names are what people call logs by; length is cut, too."""
    long = "x" * 200
    register(loaded, now, "A", name=long, slug="one")
    register(loaded, now, "A", name=long, slug="two")
    frame = loaded.frame(WORKFLOW).filter(status="draft")
    assert frame["workflow_name"].n_unique() == 2
    assert frame["workflow_name"].str.len_chars().max() == 128


def test_a_log_cannot_take_the_place_of_a_governed_workflow(loaded: Registry, now: datetime) -> None:
    """An import that adds steps to WF-FIN-001 would change what runs."""
    with pytest.raises(ValueError, match="WF-LOG-"):
        register_log_workflow(loaded, workflow_id="WF-FIN-001", name="n", activities=["A"], now=now, source="s")


def test_a_log_before_the_pack_is_told_what_to_do(registry: Registry, now: datetime) -> None:
    """A bare foreign key failure helps nobody."""
    with pytest.raises(NotRegistered, match="load the pack"):
        register(registry, now, "A")


def test_a_thousand_activities_are_registered(loaded: Registry, now: datetime) -> None:
    """Agent traces have a tool name per activity, and there are many tools."""
    steps = register(loaded, now, *(f"activity {number}" for number in range(1000)))
    assert len(set(steps.values())) == 1000
    assert loaded.frame(SKILL_NODE).height == 15


def test_a_secret_anywhere_in_a_document_refuses_the_pack(registry: Registry, pack: Path, now: datetime) -> None:
    """A key in a simulation profile or a policy is stored, versioned and exported like any other text."""
    key, password = "ghp_" + "a1B2" * 9, "postgresql://rwcm:" + "hunter2" + "@db/rwcm"
    edit(
        pack / "skills/SK-ERP-002.json", lambda skill: skill["runtime_binding"]["simulation"].update(note=f"use {key}")
    )
    edit(pack / "ontology.json", lambda nodes: nodes[0].update(attributes={"source": [password]}))
    with pytest.raises(PackRefused) as caught:
        load_pack(registry, pack, actor="test", now=now)
    found = {(fault.document, fault.path): fault for fault in caught.value.faults}
    assert set(found) == {
        ("skills/SK-ERP-002.json", "/runtime_binding/simulation/note"),
        ("ontology.json#0", "/attributes/source/0"),
    }
    assert all("secret_ref" in fault.fix for fault in found.values())
    assert key not in str(caught.value) and "hunter2" not in str(caught.value)
