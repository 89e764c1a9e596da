"""`rwcm registry export|import|schema` as a user meets them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.commands import forms
from lake.home import REGISTRY_URL, Home
from registry.api_schemas import KINDS, api_schema
from registry.database import Registry
from registry.forms import transfer
from registry.tokens import issue_token


def rwcm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["registry", *map(str, arguments)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("RWCM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RWCM_TOKEN", raising=False)
    assert rwcm("load").exit_code == 0
    return Home(tmp_path / "home")


def test_the_command_offers_what_there_is() -> None:
    """Its choices are written out so that --help needs no heavy import; they must not drift."""
    assert set(forms.FORMS) == set(transfer.FORMS)
    assert set(forms.DOCUMENTS) == set(KINDS)


@pytest.mark.parametrize("form", forms.FORMS)
def test_an_export_restores_another_home(
    form: str, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way back after a disaster, as the operator types it; no token, since there is nobody yet who issued one."""
    path = tmp_path / {"csv": "out", "graph": "graph.json"}.get(form, f"out.{form}")
    assert "rows of 13 tables" in rwcm("export", "--format", form, "--to", path).stdout
    monkeypatch.setenv("RWCM_HOME", str(tmp_path / "other"))
    done = rwcm("import", path)
    assert (done.exit_code, done.stdout.startswith("restored ")) == (0, True), done.output
    assert rwcm("history", "WF-FIN-001").stdout == _history(home, monkeypatch)


def test_a_restore_goes_into_the_database_that_is_named(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fill a file that nothing reads, and the registry in use would stay empty after a disaster."""
    path = tmp_path / "out.json"
    assert rwcm("export", "--format", "json", "--to", path).exit_code == 0
    monkeypatch.setenv("RWCM_HOME", str(tmp_path / "other"))
    monkeypatch.setenv(REGISTRY_URL, f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert rwcm("import", path).exit_code == 0
    assert "1.3.0" in rwcm("history", "WF-FIN-001").stdout
    assert not Home(tmp_path / "other").registry_db.exists()


def _history(home: Home, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RWCM_HOME", str(home.root))
    return rwcm("history", "WF-FIN-001").stdout


def test_drafts_need_somebody_who_proposes_them(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator may restore; a change to what is in use has a name under it."""
    sheet = tmp_path / "role.csv"
    sheet.write_text("role_id,role_title,department,hierarchy_level\r\nFA-IC-009,Clerk,Finance,V\r\n")
    refused = rwcm("import", sheet)
    assert (refused.exit_code, "RWCM_TOKEN" in refused.stderr) == (2, True)
    registry = Registry.open(home.registry_db)
    now = datetime.now(UTC)
    issued = issue_token(
        registry, subject_id="me", subject_type="person", role_id="SEC-M-001", days=1, actor="op", now=now
    )
    registry.close()
    monkeypatch.setenv("RWCM_TOKEN", issued.token)
    done = rwcm("import", sheet, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"is_restore": False, "rows": {}, "proposed": 1, "unchanged": 0}


def test_a_refusal_is_a_sentence_with_the_place(home: Home, tmp_path: Path) -> None:
    """A traceback would say where we stumbled, not where the sheet is wrong."""
    (tmp_path / "role.csv").write_text("role_id,role_title\r\n,=x\r\n")
    done = rwcm("import", tmp_path / "role.csv")
    assert done.exit_code == 2
    assert "role.csv row 2 column role_title: '=x' is a formula" in done.stderr
    assert rwcm("export", "--format", "json", "--to", tmp_path / "role.csv").exit_code == 2
    assert rwcm("export", "--format", "csv", "--dialect", "sqlite", "--to", tmp_path / "x").exit_code == 2
    assert rwcm("import", tmp_path / "missing.json").exit_code == 2


def test_a_schema_is_printed_as_it_is_registered() -> None:
    """A client pipes it into a validator."""
    assert json.loads(rwcm("schema", "skill").stdout) == api_schema("skill")
