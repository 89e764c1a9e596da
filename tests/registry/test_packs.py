"""Packs of others: drafts, all of them or none, from a folder that nobody trusts."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lake.tables import OBJECT_VERSION, OUTBOX, PUBLICATION_QUEUE
from registry import packs
from registry.access import Denied, Principal
from registry.database import SPECS, Registry
from registry.loader import PACK, PackSubmitted, load_pack, submit_pack
from registry.packs import PackRefused
from registry.publication import publish
from tests.approvals import approve

OWNER = Principal("mia", "person", "FA-D-001")
CLERK = Principal("carl", "person", "SAL-IC-001")


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of a role, a skill on it, and a workflow on both."""
    folder = tmp_path / "pack"
    put(folder, "roles.json", [{**ROLE, "role_id": "X-M-001"}])
    put(folder, "skills/SK-X-001.json", skill())
    put(folder, "workflows/WF-X-001.json", workflow())
    return folder


ROLE = {"role_id": "X", "role_title": "Expert", "department": "X", "hierarchy_level": "III"}


def shipped(name: str) -> dict[str, Any]:
    return json.loads((PACK / name).read_text())


def skill(**changes: Any) -> dict[str, Any]:
    own = {"skill_id": "SK-X-001", "skill_name": "Expertise", "owner_role_id": "X-M-001", "version": "1.0.0"}
    return {**shipped("skills/SK-OCR-001.json"), **own, **changes}


def workflow(**changes: Any) -> dict[str, Any]:
    base = shipped("workflows/WF-FIN-001.json")
    step = {**base["steps"][0], "step_id": "WF-X-001/1", "skill_id": "SK-X-001", "next_step_logic": "END"}
    own = {"workflow_id": "WF-X-001", "workflow_name": "X", "version": "1.0.0", "responsible_role_id": "X-M-001"}
    return {**base, **own, "steps": [step], "triggers": [], **changes}


def put(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def take(registry: Registry, folder: Path, now: datetime, *, by: Principal = OWNER, **options: Any) -> PackSubmitted:
    return submit_pack(registry, folder, principal=by, now=now, **options)


def refused(registry: Registry, folder: Path, now: datetime) -> dict[tuple[str, str], str]:
    before = {spec.name: registry.frame(spec) for spec in SPECS}
    with pytest.raises(PackRefused) as caught:
        take(registry, folder, now)
    assert all(registry.frame(spec).equals(before[spec.name]) for spec in SPECS), "a refused pack left something behind"
    return {(fault.document, fault.path): fault.problem for fault in caught.value.faults}


def test_a_pack_enters_as_drafts(loaded: Registry, pack: Path, now: datetime) -> None:
    """Whoever can hand in a folder could else change what runs."""
    versions = loaded.frame(OBJECT_VERSION)
    done = take(loaded, pack, now)
    assert [(d.object_type, d.object_id, d.version, d.change) for d in done.drafts] == [
        ("role", "X-M-001", "1", "initial"),
        ("skill_node", "SK-X-001", "1.0.0", "initial"),
        ("workflow", "WF-X-001", "1.0.0", "initial"),
    ]
    assert loaded.frame(PUBLICATION_QUEUE)["decision"].to_list() == ["pending"] * 3
    assert loaded.frame(OBJECT_VERSION).equals(versions)
    assert loaded.frame(OUTBOX).filter(topic="reflection.proposed").height == 3


def test_the_drafts_of_a_pack_are_published_in_the_order_they_are_listed(
    loaded: Registry, pack: Path, now: datetime
) -> None:
    """The workflow needs the skill, the skill the role; a reviewer must be able to take them one by one."""
    for one in take(loaded, pack, now).drafts:
        approve(loaded, one.publication_id, now)
        role = {"role": "SEC-M-001"}.get(one.object_type, "QA-M-001")
        publish(loaded, one.publication_id, principal=Principal("ada", "person", role), now=now)
    again = take(loaded, pack, now + timedelta(days=1))
    assert (again.read, again.drafts) == (3, ())


def test_the_same_pack_again_changes_nothing(loaded: Registry, pack: Path, now: datetime) -> None:
    """A deployment loads its pack every time."""
    take(loaded, pack, now)
    before = {spec.name: loaded.frame(spec) for spec in SPECS}
    again = take(loaded, pack, now + timedelta(days=1))
    assert [draft.is_new for draft in again.drafts] == [False] * 3
    assert all(loaded.frame(spec).equals(before[spec.name]) for spec in SPECS)


def test_a_rehearsal_writes_nothing(loaded: Registry, pack: Path, now: datetime) -> None:
    """It is what a pipeline runs before anybody is asked."""
    before = {spec.name: loaded.frame(spec) for spec in SPECS}
    assert len(take(loaded, pack, now, is_rehearsal=True).drafts) == 3
    assert all(loaded.frame(spec).equals(before[spec.name]) for spec in SPECS)


def test_a_rehearsal_of_the_shipped_pack_writes_nothing(registry: Registry, now: datetime) -> None:
    """The same for the pack that becomes current at once."""
    done = load_pack(registry, PACK, actor="test", now=now, is_rehearsal=True)
    assert done.documents["workflow"] == 1
    assert registry.frame(OBJECT_VERSION).is_empty()


def test_the_shipped_pack_handed_in_as_a_folder_says_nothing_new(
    loaded: Registry, tmp_path: Path, now: datetime
) -> None:
    """A copy that somebody edits is a pack of theirs: what is unchanged is left out, what differs is a draft."""
    copy = shutil.copytree(PACK, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    assert take(loaded, copy, now).drafts == ()
    put(copy, "workflows/WF-FIN-001.json", {**shipped("workflows/WF-FIN-001.json"), "objective": "Pay"})
    assert [(d.object_id, d.version) for d in take(loaded, copy, now).drafts] == [("WF-FIN-001", "1.3.1")]


def test_one_bad_document_refuses_the_pack_and_every_fault_is_named(
    loaded: Registry, pack: Path, now: datetime
) -> None:
    """One attempt, one list."""
    put(pack, "skills/SK-X-001.json", skill(owner_role_id="NOBODY"))
    put(pack, "policies/P.json", {"policy_id": "P", "scope": "all", "spec": {}})
    put(pack, "workflows/WF-X-001.json", b'{"workflow_id": "A", "workflow_id": "B"}')
    put(pack, "roles.json", b'[{"role_id": "\xff"}]')
    put(pack, "workflow/WF-X-002.json", workflow())
    assert {document for document, _ in refused(loaded, pack, now)} >= {
        "policies/P.json",
        "workflows/WF-X-001.json",
        "roles.json#0",
        "workflow",
    }


def test_a_reference_that_is_met_nowhere_is_located(loaded: Registry, pack: Path, now: datetime) -> None:
    """Not in the pack, not in the registry."""
    put(pack, "workflows/WF-X-001.json", workflow(responsible_role_id="NOBODY"))
    assert ("workflows/WF-X-001.json", "/responsible_role_id") in refused(loaded, pack, now)


def test_who_may_not_propose_one_document_loads_none(loaded: Registry, pack: Path, now: datetime) -> None:
    """All or none holds for rights as well."""
    put(pack, "workflows/WF-FIN-001.json", {**shipped("workflows/WF-FIN-001.json"), "objective": "Sell"})
    with pytest.raises(Denied):
        take(loaded, pack, now, by=CLERK)
    assert loaded.frame(PUBLICATION_QUEUE).is_empty()


# -- Folders that nobody trusts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["skills/SK-Y-001.json", "agents.json", "policies"])
def test_a_link_is_not_followed(loaded: Registry, pack: Path, now: datetime, tmp_path: Path, name: str) -> None:
    """A pack from a stranger would read the operator's files into the queue, where others see them."""
    target = put(tmp_path / "elsewhere", "secret.json", skill(skill_id="SK-Y-001"))
    (pack / name).symlink_to(target.parent if name == "policies" else target)
    assert refused(loaded, pack, now) == {(name, ""): "is a link"}


def test_a_link_put_there_after_the_look_is_not_followed(
    loaded: Registry, pack: Path, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between listing and reading, whoever owns the folder may swap a file."""
    target = put(tmp_path / "elsewhere", "secret.json", skill())
    listed = packs._paths

    def swap(folder: Path, faults: list[Any]) -> list[str]:
        paths = list(listed(folder, faults))
        (pack / "skills/SK-X-001.json").unlink()
        (pack / "skills/SK-X-001.json").symlink_to(target)
        return paths

    monkeypatch.setattr(packs, "_paths", swap)
    assert ("skills/SK-X-001.json", "") in refused(loaded, pack, now)


def test_a_pipe_does_not_hold_the_load_up(loaded: Registry, pack: Path, now: datetime) -> None:
    """Reading a pipe that nobody writes to never ends."""
    os.mkfifo(pack / "skills/SK-Y-001.json")
    os.mkfifo(pack / "agents.json")
    assert {document for document, _ in refused(loaded, pack, now)} == {"skills/SK-Y-001.json", "agents.json"}


def test_sizes_are_bounded(loaded: Registry, pack: Path, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of gigabytes is named, not read."""
    size = max(path.stat().st_size for path in pack.rglob("*.json"))
    monkeypatch.setattr(packs, "MAX_FILE_BYTES", size)
    put(pack, "skills/SK-Y-001.json", b" " * (size + 1))
    assert refused(loaded, pack, now) == {("skills/SK-Y-001.json", ""): "is too large"}
    (pack / "skills/SK-Y-001.json").unlink()
    monkeypatch.setattr(packs, "MAX_PACK_BYTES", size)
    assert set(refused(loaded, pack, now).values()) == {"is too large"}


Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("spoil", "document", "problem"),
    [
        (lambda p: put(p, "worfklows/W.json", {}), "worfklows", "has no place in a pack"),
        (lambda p: put(p, "skills/deep/S.json", {}), "skills/deep", "is no document"),
        (lambda p: put(p, "skills/S.yaml", b""), "skills/S.yaml", "is no document"),
        (lambda p: (p / "agents.json").mkdir(), "agents.json", "is no file"),
        (lambda p: put(p, "ontology.json", {}), "ontology.json", "is no JSON list"),
    ],
)
def test_what_has_no_place_in_a_pack_is_named(
    loaded: Registry, pack: Path, now: datetime, spoil: Spoil, document: str, problem: str
) -> None:
    """A misspelt folder that is passed over leaves out what somebody relies on."""
    spoil(pack)
    assert refused(loaded, pack, now)[document, ""].startswith(problem)


def test_notes_and_hidden_files_may_lie_in_a_pack(loaded: Registry, pack: Path, now: datetime) -> None:
    """A pack is a folder of a repository."""
    put(pack, "README.md", b"#")
    put(pack, ".git/HEAD", b"ref")
    put(pack, "skills/.SK-X-001.json.swp", b"")
    assert len(take(loaded, pack, now).drafts) == 3


def test_an_empty_folder_is_no_pack(loaded: Registry, tmp_path: Path, now: datetime) -> None:
    """A mistyped path must not count as done."""
    assert set(refused(loaded, tmp_path / "nowhere", now).values()) == {"is no folder"}
    (tmp_path / "empty").mkdir()
    assert set(refused(loaded, tmp_path / "empty", now).values()) == {"holds no document"}
