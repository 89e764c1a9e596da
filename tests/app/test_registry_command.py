"""`rwcm registry` as a user meets it: load, submit, look, take back."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.commands.registry import DECISIONS
from guard.canonical import parse
from lake.home import Home
from lake.tables import PUBLICATION_QUEUE, WORKFLOW
from registry.access import Principal
from registry.database import Registry
from registry.loader import PACK
from registry.publication import publish
from registry.tokens import issue_token
from tests.approvals import approve


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with the shipped pack, and no token in the environment."""
    monkeypatch.setenv("RWCM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RWCM_TOKEN", raising=False)
    assert rwcm("load").exit_code == 0
    return Home(tmp_path / "home")


def rwcm(*arguments: str | Path, token: str | None = None) -> Result:
    environment = {"RWCM_TOKEN": token} if token else {}
    return CliRunner().invoke(main, ["registry", *map(str, arguments)], env=environment)


def told(*arguments: str | Path, token: str | None = None) -> Any:
    """Return what a command prints as JSON."""
    done = rwcm(*arguments, "--json", token=token)
    assert done.exit_code == 0, done.stderr
    return parse(done.stdout)


def token(home: Home, role_id: str) -> str:
    registry = Registry.open(home.registry_db)
    now = datetime.now(UTC)
    issued = issue_token(
        registry, subject_id=f"of-{role_id}", subject_type="person", role_id=role_id, days=1, actor="op", now=now
    )
    registry.close()
    return issued.token


def stricter(folder: Path, value: float = 0.04) -> Path:
    """Write WF-FIN-001 with another tolerance and return the file."""
    document = json.loads((PACK / "workflows/WF-FIN-001.json").read_text())
    document["steps"][1]["parameters"]["tolerance"] = value
    path = folder / "stricter.json"
    path.write_text(json.dumps(document))
    return path


def approved(home: Home, publication_id: str) -> None:
    """Approve a draft as the rooms that decide would."""
    registry = Registry.open(home.registry_db)
    approve(registry, publication_id, datetime.now(UTC))
    registry.close()


def make_current(home: Home, publication_id: str) -> None:
    """Approve a draft and publish it."""
    approved(home, publication_id)
    registry = Registry.open(home.registry_db)
    publish(registry, publication_id, principal=Principal("ada", "person", "QA-M-001"), now=datetime.now(UTC))
    registry.close()


def submitted(home: Home, folder: Path) -> str:
    (draft,) = told("submit", stricter(folder), token=token(home, "FA-D-001"))
    return str(draft["publication_id"])


def test_the_shipped_pack_is_loaded_once(home: Home) -> None:
    """The first command of an installation; every later one changes nothing."""
    done = rwcm("load")
    assert (done.exit_code, done.stdout) == (0, "the registry holds the shipped pack already; nothing changed\n")
    listed = told("list", "workflow")
    assert [(item["object_id"], item["version"], item["state"]) for item in listed] == [
        ("WF-FIN-001", "1.3.0", "active")
    ]


def test_a_refused_pack_lists_every_fault_and_exits_with_two(home: Home, tmp_path: Path) -> None:
    """A pipeline reads the exit code, a person the list."""
    (tmp_path / "pack/skills").mkdir(parents=True)
    (tmp_path / "pack/skills/A.json").write_text("{")
    (tmp_path / "pack/roles.json").write_text('[{"role_id": "A"}]')
    done = rwcm("load", tmp_path / "pack", token=token(home, "QA-M-001"))
    assert done.exit_code == 2
    for line in ("skills/A.json", "roles.json#0 /role_title: is missing", "roles.json#0 /department: is missing"):
        assert line in done.stderr


def test_another_pack_needs_a_token(home: Home, tmp_path: Path) -> None:
    """A draft of nobody could be approved by whoever wrote it."""
    (tmp_path / "pack").mkdir()
    done = rwcm("load", tmp_path / "pack")
    assert (done.exit_code, "rwcm token issue" in done.stderr) == (2, True)


def test_a_submitted_file_is_a_draft_that_can_be_looked_at(home: Home, tmp_path: Path) -> None:
    """What a reviewer is asked about, in the words of a review."""
    publication_id = submitted(home, tmp_path)
    (queued,) = told("proposals")
    assert (queued["publication_id"], queued["decision"], queued["replaces"]) == (publication_id, "pending", "1.3.0")
    done = rwcm("diff", "--proposal", publication_id[:8])
    assert done.stdout.splitlines() == [
        "WF-FIN-001  1.3.0 -> 1.4.0  minor",
        "~ step F-02",
        "    ~ parameters.tolerance  0.05 -> 0.04  [minor: the same step, set differently]",
    ]
    assert [item["version"] for item in told("list", "workflow")] == ["1.3.0"]


def test_a_submitted_file_with_a_fault_is_refused_with_its_place(home: Home, tmp_path: Path) -> None:
    """File, path and fix, for every file of the command at once."""
    (tmp_path / "a.json").write_text('{"workflow_name": "A"}')
    (tmp_path / "b.json").write_text('{"a": 1, "a": 2}')
    (tmp_path / "c.json").write_text('{"a": 1}')
    done = rwcm("submit", *(tmp_path / f"{name}.json" for name in "abc"), token=token(home, "QA-M-001"))
    assert done.exit_code == 2
    for part in ("a.json /workflow_id: is missing", "b.json /a:", "c.json /: is no document of a known kind"):
        assert part in done.stderr
    assert Registry.open(home.registry_db).frame(PUBLICATION_QUEUE).is_empty()


def test_history_and_diff_tell_what_happened(home: Home, tmp_path: Path) -> None:
    """Version, when, who, change, why and publication: what an auditor asks for."""
    assert rwcm("diff", "WF-FIN-001").stdout == "WF-FIN-001 1.3.0 has none before it\n"
    publication_id = submitted(home, tmp_path)
    make_current(home, publication_id)
    first, second = told("history", "WF-FIN-001")
    assert (first["version"], first["reason"], first["is_current"]) == ("1.3.0", "bootstrap", False)
    assert (second["version"], second["created_by"], second["change"], second["publication_id"]) == (
        "1.4.0",
        "ada",
        "minor",
        publication_id,
    )
    assert datetime.fromisoformat(second["created_at"]) > datetime.now(UTC) - timedelta(minutes=5)
    assert "1.4.0 *" in rwcm("history", "WF-FIN-001").stdout
    (found,) = told("diff", "WF-FIN-001")["differences"]
    assert (found["path"], found["change"]) == ("/steps/F-02/parameters/tolerance", "minor")
    assert told("diff", "WF-FIN-001", "1.4.0", "1.3.0")["differences"][0]["new"] == found["old"]


def test_show_prints_the_document_as_it_was_received(home: Home, tmp_path: Path) -> None:
    """JSON in equals JSON out, in any version."""
    make_current(home, submitted(home, tmp_path))
    shown = rwcm("show", "WF-FIN-001", "--version", "1.3.0").stdout
    assert shown == (PACK / "workflows/WF-FIN-001.json").read_text()
    current = told("show", "WF-FIN-001")
    assert (current["version"], current["document"]["version"]) == ("1.4.0", "1.4.0")


def test_a_rollback_makes_a_new_version(home: Home, tmp_path: Path) -> None:
    """And says so; it needs the right to publish."""
    make_current(home, submitted(home, tmp_path))
    back = ("rollback", "WF-FIN-001", "--to", "1.3.0", "--reason", "too strict")
    assert rwcm(*back).exit_code == 2
    denied = rwcm(*back, token=token(home, "SAL-IC-001"))
    assert (denied.exit_code, "may not publish workflow WF-FIN-001" in denied.stderr) == (2, True)
    done = rwcm(*back, token=token(home, "QA-M-001"))
    assert done.stdout == "WF-FIN-001 1.5.0 is current, with the content of 1.3.0; it replaced 1.4.0\n"
    assert "rollback to 1.3.0: too strict" in rwcm("history", "WF-FIN-001").stdout
    assert Registry.open(home.registry_db).frame(WORKFLOW)["version"].to_list() == ["1.5.0"]


def test_the_end_of_a_workflow_is_proposed(home: Home, tmp_path: Path) -> None:
    """And reviewed as any change; what runs it goes on until it is published."""
    (queued,) = told("retire", "WF-FIN-001", "--reason", "unused", token=token(home, "FA-D-001"))
    assert (queued["version"], queued["change"]) == ("2.0.0", "major")
    assert rwcm("diff", "--proposal", queued["publication_id"]).stdout.splitlines() == [
        "WF-FIN-001  1.3.0 -> 2.0.0  major",
        "~ status  active -> retired  [major: what starts it is no longer answered]",
    ]
    assert [item["state"] for item in told("list", "workflow")] == ["active"]
    make_current(home, queued["publication_id"])
    assert [item["state"] for item in told("list", "workflow")] == ["retired"]
    again = rwcm("retire", "WF-FIN-001", "--reason", "unused", token=token(home, "FA-D-001"))
    assert (again.exit_code, "already" in again.stderr) == (2, True)


def test_a_draft_that_needs_another_can_be_looked_at(home: Home, tmp_path: Path) -> None:
    """A reviewer of a pack would see its skills and none of the workflows that call them."""
    pack = tmp_path / "pack"
    (pack / "skills").mkdir(parents=True)
    (pack / "workflows").mkdir()
    skill = json.loads((PACK / "skills/SK-LOGIC-003.json").read_text())
    (pack / "skills/SK-NEW-100.json").write_text(json.dumps({**skill, "skill_id": "SK-NEW-100"}))
    document = json.loads((PACK / "workflows/WF-FIN-001.json").read_text())
    document["steps"][1]["skill_id"] = "SK-NEW-100"
    (pack / "workflows/WF-FIN-001.json").write_text(json.dumps(document))
    assert rwcm("load", pack, token=token(home, "FA-D-001")).exit_code == 0
    (workflow,) = (item["publication_id"] for item in told("proposals") if item["proposal_type"] == "workflow")
    shown = rwcm("diff", "--proposal", workflow).stdout.splitlines()
    assert shown[0] == "WF-FIN-001  1.3.0 -> 2.0.0  major"
    assert any("skill_id  SK-LOGIC-003 -> SK-NEW-100" in line for line in shown)
    assert shown[-2] == "cannot become current as the registry stands:"
    assert "there is no skill SK-NEW-100" in shown[-1]


def policy_of(folder: Path, name: str = "Other words") -> Path:
    """Write a policy under another name, a change that the gates pass, and return the file."""
    policy = json.loads((PACK / "policies/POL-CONTRACT-001.json").read_text())
    path = folder / "policy.json"
    path.write_text(json.dumps({**policy, "policy_name": name}))
    return path


def test_the_queue_says_what_it_waits_for_and_whose_move_it_is(home: Home, tmp_path: Path) -> None:
    """A reviewer sees what is theirs, a proposer whom to ask; nobody may decide what they proposed."""
    assert PUBLICATION_QUEUE.column("decision").enum == DECISIONS
    by_manager = submitted(home, tmp_path)
    reviewer = token(home, "QA-M-001")
    (own,) = told("submit", policy_of(tmp_path), token=reviewer)
    waits = {item["publication_id"]: item["next"] for item in told("proposals")}
    assert waits == dict.fromkeys([by_manager, own["publication_id"]], "the gates: rwcm registry gates")
    assert told("proposals", "--mine", token=reviewer) == [], "what no gate has judged is nobody's move"
    assert {item["publication_id"]: item["has_passed"] for item in told("gates")} == {
        by_manager: False,
        own["publication_id"]: True,
    }
    waits = {item["publication_id"]: item["next"] for item in told("proposals")}
    assert waits == {
        by_manager: "nobody: refused by risk; rwcm registry gates says why",
        own["publication_id"]: "QA-M-001 and SEC-M-001, not of-QA-M-001: rwcm decide",
    }
    assert told("proposals", "--mine", token=reviewer) == []
    (mine,) = told("proposals", "--mine", token=token(home, "SEC-M-001"))
    assert mine["publication_id"] == own["publication_id"]
    assert rwcm("proposals", "--decision", "aproved").exit_code == 2
    assert rwcm("proposals", "--mine").exit_code == 2


# -- Deciding -----------------------------------------------------------------------------------------------------


def decide(publication_id: str, *arguments: str, by: str | None) -> Result:
    reason = ("--reason", "looked at it")
    environment = {"RWCM_TOKEN": by} if by else {}
    return CliRunner().invoke(main, ["decide", publication_id, *arguments, *reason], env=environment)


def test_two_reviewers_approve_and_a_publisher_publishes(home: Home, tmp_path: Path) -> None:
    """The whole way from a file to the current version, by commands and own tokens alone."""
    (queued,) = told("submit", policy_of(tmp_path), token=token(home, "FA-D-001"))
    publication_id = queued["publication_id"]
    assert "passed" in rwcm("gates").stdout
    quality, security = token(home, "QA-M-001"), token(home, "SEC-M-001")
    first = decide(publication_id[:8], "--approve", by=quality)
    assert (first.exit_code, "it waits for SEC-M-001" in first.stdout) == (0, True)
    refused = rwcm("publish", publication_id, token=security)
    assert (refused.exit_code, "it is pending, not approved" in refused.stderr) == (2, True)
    last = decide(publication_id[:8], "--approve", by=security)
    assert (last.exit_code, "is approved" in last.stdout) == (0, True)
    assert told("proposals")[0]["next"] == "a publisher: SEC-M-001"
    denied = rwcm("publish", publication_id, token=quality)
    assert (denied.exit_code, "may not publish policy" in denied.stderr) == (2, True)
    done = rwcm("publish", publication_id, token=security)
    assert done.stdout == "POL-CONTRACT-001 2 is current; it replaced 1\n"
    lineage = told("history", "POL-CONTRACT-001")[-1]["lineage"]
    assert lineage["reviewed_by"] == {"QA-M-001": "of-QA-M-001", "SEC-M-001": "of-SEC-M-001"}


def test_no_command_goes_round_gates_and_reviewers(home: Home, tmp_path: Path) -> None:
    """A command that decides without gates, without a token or for two would be the way round them."""
    publication_id = submitted(home, tmp_path)
    quality = token(home, "QA-M-001")
    unjudged = decide(publication_id, "--approve", by=quality)
    assert (unjudged.exit_code, "rwcm registry gates" in unjudged.stderr) == (2, True)
    assert rwcm("gates").exit_code == 0
    for by, said in (
        (quality, "the gate risk refused it"),
        (token(home, "FA-D-001"), "nobody decides what they proposed"),
        (token(home, "SAL-IC-001"), "it needs a mandatory reviewer"),
        ("rwcm_" + "a" * 46, "the token was refused"),
        (None, "RWCM_TOKEN"),
    ):
        done = decide(publication_id, "--approve", by=by)
        assert (done.exit_code, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), said
    assert rwcm("publish", publication_id, token=quality).exit_code == 2
    (queued,) = told("proposals")
    assert (queued["publication_id"], queued["decision"]) == (publication_id, "pending")
    assert decide(publication_id, by=quality).exit_code == 2, "neither --approve nor --reject"
    assert decide("ffff", "--reject", by=quality).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "NOPE"), "holds no object NOPE"),
        (("show", "WF-FIN-001", "--version", "9.9.9"), "version 9.9.9"),
        (("history", "WF-FIN-001", "--kind", "role"), "holds no role WF-FIN-001"),
        (("diff", "--proposal", "ffff"), "holds no proposal ffff"),
        (("diff",), "name an object"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(home: Home, arguments: tuple[str, ...], said: str) -> None:
    """A traceback helps nobody who mistyped an id."""
    done = rwcm(*arguments)
    assert (done.exit_code, said in done.stderr, "Traceback" in done.stderr) == (2, True, False)
