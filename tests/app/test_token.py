"""`rwcm token` and how commands learn who acts, as a user meets them."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from app.cli import main
from app.identity import acting, operator
from guard.canonical import parse
from lake.home import Home
from lake.tables import ACCESS_TOKEN, OUTBOX
from registry.access import Principal, authorise
from registry.database import Registry
from registry.loader import PACK, load_pack
from registry.tokens import draw, is_token

NOW = datetime(2025, 6, 1, tzinfo=UTC)
Call = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path / "home").prepare()
    registry = Registry.open(home.registry_db)
    load_pack(registry, PACK, actor="bootstrap", now=NOW)
    registry.close()
    monkeypatch.setenv("RWCM_HOME", str(home.root))
    monkeypatch.delenv("RWCM_TOKEN", raising=False)
    return home


def rwcm(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def issue(*arguments: str) -> str:
    done = rwcm("token", "issue", "--subject", "u-17", "--role", "FA-M-001", *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout.strip()


def tokens() -> list[dict[str, Any]]:
    return json.loads(rwcm("token", "list", "--json").stdout)


@click.command()
@click.option("--object", "object_id", default="WF-NEW")
@acting
def act(object_id: str, principal: Principal, registry: Registry) -> None:
    """Act."""
    authorise(registry, principal, "propose", "workflow", object_id, now=datetime.now(UTC))
    click.echo(f"{principal.subject_id} {principal.role_id}")


def test_a_token_is_all_that_standard_output_holds(home: Home) -> None:
    """`rwcm token issue ... | pass insert` must store the token, not a sentence about it."""
    done = rwcm("token", "issue", "--subject", "u-17", "--role", "FA-M-001")
    assert is_token(done.stdout.strip())
    assert done.stdout.strip() not in done.stderr
    (listed,) = tokens()
    assert (listed["subject_id"], listed["role_id"], listed["state"]) == ("u-17", "FA-M-001", "valid")
    assert listed["created_by"] == operator()


def test_the_operator_is_who_the_system_says_whatever_the_environment_does(home: Home) -> None:
    """The audit of the root of trust must not name whoever one pretends to be."""
    script = "from app.identity import operator; print(operator())"
    said = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "USER": "eve", "LOGNAME": "eve", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    whoami = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"operator:{whoami.strip()}"


def test_a_token_goes_into_a_new_file_of_its_own(home: Home, tmp_path: Path) -> None:
    """Nobody else may read it, and no file that is there is overwritten or left empty."""
    place = tmp_path / "token"
    assert issue("--to", str(place)) == ""
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert is_token(place.read_text().strip())
    again = rwcm("token", "issue", "--subject", "u-18", "--role", "FA-M-001", "--to", str(place))
    assert again.exit_code == 2
    assert len(tokens()) == 1, "a token was issued that nobody holds"
    missing = tmp_path / "other"
    refused = rwcm("token", "issue", "--subject", "u-18", "--role", "NO-SUCH", "--to", str(missing))
    assert refused.exit_code == 2
    assert not missing.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--subject", "u", "--role", "NO-SUCH"], "NO-SUCH"),
        (["--subject", "two words", "--role", "FA-M-001"], "blank"),
        (["--subject", "u", "--role", "FA-M-001", "--days", "181"], "1 to 180 days"),
        (["--subject", "AG-SYNTH-001", "--role", "DA-M-001"], "--type agent"),
        (["--subject", "AG-SYNTH-001", "--role", "FA-M-001", "--type", "agent"], "DA-M-001"),
    ],
)
def test_what_cannot_be_issued_is_refused_in_one_sentence(home: Home, arguments: list[str], says: str) -> None:
    """Exit code 2 says that it is the caller's move."""
    done = rwcm("token", "issue", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert tokens() == []


def test_revoking_ends_a_token_for_every_command(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bearer must be out at once, not when a process ends."""
    monkeypatch.setenv("RWCM_TOKEN", issue())
    assert CliRunner().invoke(act).stdout == "u-17 FA-M-001\n"
    (listed,) = tokens()
    assert rwcm("token", "revoke", listed["token_id"]).stdout.strip() == listed["token_id"]
    done = CliRunner().invoke(act)
    assert done.exit_code == 2
    assert "revoked" in done.stderr
    assert rwcm("token", "revoke", "--subject", "u-17").exit_code == 0
    assert rwcm("token", "revoke", "--subject", "u-99").exit_code == 2
    assert rwcm("token", "revoke").exit_code == 2


def test_a_token_given_for_its_id_is_not_repeated(home: Home) -> None:
    """What is printed ends in logs."""
    secret = issue()
    done = rwcm("token", "revoke", secret)
    assert done.exit_code == 2
    assert secret not in done.output


def test_a_token_comes_from_a_private_file_or_the_variable(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that others can read has given the token away already."""
    place = tmp_path / "token"
    issue("--to", str(place))
    monkeypatch.setenv("RWCM_TOKEN", draw())
    assert CliRunner().invoke(act, ["--token-file", str(place)]).stdout == "u-17 FA-M-001\n"
    for mode in (0o640, 0o604, 0o620):
        place.chmod(mode)
        done = CliRunner().invoke(act, ["--token-file", str(place)])
        assert done.exit_code == 2
        assert "chmod 600" in done.stderr
    os.mkfifo(tmp_path / "pipe")
    for wrong in (tmp_path / "none", tmp_path, tmp_path / "pipe"):
        assert CliRunner().invoke(act, ["--token-file", str(wrong)]).exit_code == 2


@pytest.mark.parametrize(
    "token", ["", "  ", "rwcm_nonsense", draw()], ids=["empty", "blank", "malformed", "never issued"]
)
def test_a_command_without_a_good_token_does_nothing_and_echoes_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """Whatever stands in the variable may be another secret, pasted into the wrong place."""
    monkeypatch.setenv("RWCM_TOKEN", token)
    done = CliRunner().invoke(act)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("rwcm: ")
    if token.strip():
        assert token not in done.output


def test_a_denied_command_says_why_and_is_audited(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the one who tried and the auditor must understand it."""
    token = rwcm("token", "issue", "--subject", "u-3", "--role", "SAL-IC-001").stdout.strip()
    monkeypatch.setenv("RWCM_TOKEN", token)
    done = CliRunner().invoke(act, ["--object", "WF-FIN-001"])
    assert done.exit_code == 2
    assert "FA-IC-001 or one above" in done.stderr
    rows = Registry.open(home.registry_db).frame(OUTBOX).iter_rows(named=True)
    (event,) = [parse(row["payload"]) for row in rows if row["topic"] == "access.denied"]
    assert (event["subject_id"], event["object_id"]) == ("u-3", "WF-FIN-001")


def test_a_home_without_a_registry_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped RWCM_HOME must not become a registry that holds nobody's token."""
    monkeypatch.setenv("RWCM_HOME", str(tmp_path / "none"))
    done = rwcm("token", "list")
    assert done.exit_code == 2
    assert "RWCM_HOME" in done.stderr
    assert not (tmp_path / "none").exists()


def test_the_list_names_what_is_due(home: Home) -> None:
    """Secrets are rotated quarterly; somebody has to see which."""
    issue("--days", "180")
    registry = Registry.open(home.registry_db)
    with registry.transaction() as connection:
        connection.exec_driver_sql("update access_token set created_at = '2025-01-01 00:00:00.000000'")
    assert registry.frame(ACCESS_TOKEN).height == 1
    assert "rotate it" in rwcm("token", "list").stdout
    assert tokens()[0]["is_due"] is True


@pytest.mark.parametrize("command", [[], ["issue"], ["list"], ["revoke"]])
def test_the_commands_explain_themselves(command: list[str]) -> None:
    """Whoever has only the command learns it from itself, without a home."""
    done = rwcm("token", *command, "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout
