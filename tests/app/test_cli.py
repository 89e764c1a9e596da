"""The command line, as a user calls it: what it prints, what it refuses, and its exit codes."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from lake.home import Home
from lake.tables import OPEN_EPISODE
from tests.builders import Payables
from tests.conftest import EVENTS, SEED

ROOT = Path(__file__).parents[2]


def rwcm(home: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; `given` is its standard input."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "app.cli", *arguments],
        env={**os.environ, "RWCM_HOME": str(home)},
        input=given,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=ROOT,
    )


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    return done.stderr.strip().splitlines()


def test_a_run_prints_closed_accounting_outcomes_proposals_and_places(tmp_path: Path) -> None:
    """A newcomer would not see that the loop ran, nor where to look."""
    done = rwcm(tmp_path / "a home", "run", "--events", "600", "--seed", "3")
    assert done.returncode == 0, done.stderr
    read = [line.split() for line in done.stdout.splitlines()]
    assert ["read", "600"] in read
    for word in ("closed", "success", "Proposals", str(tmp_path / "a home" / "warehouse" / "rwcm.duckdb"), "make dev"):
        assert word in done.stdout
    assert "execution done" in done.stderr
    again = rwcm(tmp_path / "a home", "run", "--events", "600", "--seed", "3")
    assert again.returncode == 0
    assert "Nothing changed" in again.stdout


def test_a_run_counts_what_waits_whenever_it_began_to(copied_world: Home) -> None:
    """After the second run nothing would seem to wait, whatever still does."""
    payables, now = Payables(copied_world.root), datetime.now(UTC)
    payables.invoice("disputed", billed="150.00", at=now - timedelta(hours=1))
    payables.execute(now=now)
    waiting = payables.registry.frame(OPEN_EPISODE).height
    assert waiting
    done = rwcm(copied_world.root, "run", "--events", str(EVENTS), "--seed", str(SEED))
    assert done.returncode == 0, done.stderr
    assert ["waiting", "now", str(waiting)] in [line.split() for line in done.stdout.splitlines()]


def test_another_seed_in_the_same_home_is_refused(world: Home) -> None:
    """Two worlds would be mixed in one home."""
    done = rwcm(world.root, "run", "--seed", "99")
    assert done.returncode == 2
    assert len(said(done)) == 1
    assert "RWCM_HOME" in done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.xes", None),
        ("empty.csv", b""),
        ("not-a-gzip.xes.gz", b"<log></log>"),
        ("words.xes", b"these are words"),
        ("cut.xes.gz", b"\x1f\x8b\x08\x00"),
        ("columns.csv", b"one,two\n1,2\n"),
        ("traces.xes", b"<log xes.version='1.0'></log>"),
    ],
)
def test_a_log_that_cannot_be_read_gives_one_sentence_and_leaves_nothing(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    """A wrong path would end in a traceback, or in a workflow without cases."""
    log = tmp_path / name
    if content is not None:
        log.write_bytes(content)
    done = rwcm(tmp_path / "home", "backfill", str(log))
    assert done.returncode == 2
    assert len(said(done)) == 1, done.stderr
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "registry.db").exists()


TABLE = "who,what,at\n1,open [x],2025-01-01T00:00:00\n1,close,2025-01-01T01:00:00\n2,open [x],2025-01-02T00:00:00\n"


def test_a_table_with_columns_of_its_own_is_imported_when_they_are_named(tmp_path: Path) -> None:
    """The options that the command offers would change nothing, and such a log could not be imported at all."""
    log = tmp_path / "orders [bold].csv"
    log.write_text(TABLE)
    named = ("--case-column", "who", "--activity-column", "what", "--time-column", "at", "--timezone", "Europe/Berlin")
    done = rwcm(tmp_path / "home", "backfill", str(log), *named)
    assert done.returncode == 0, done.stderr
    assert "Events of orders [bold].csv" in done.stdout
    read = [line.split() for line in done.stdout.splitlines()]
    assert ["read", "3"] in read
    assert ["new", "cases", "2"] in read
    sql = "select activity, started_at from marts.mv_step_telemetry order by started_at limit 1"
    (first,) = json.loads(rwcm(tmp_path / "home", "query", "--json", sql).stdout)
    assert first == {"activity": "open [x]", "started_at": "2024-12-31T23:00:00+00:00"}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ([], "'who', 'what', 'at'"),
        (["--case-column", "who"], "--activity-column"),
        (["--time-column", "at"], "--case-column"),
        (["--case-column", "whom", "--activity-column", "what"], "no column 'whom'"),
        (["--case-column", "who", "--activity-column", "what", "--timezone", "Mars/Olympus"], "Mars/Olympus"),
        (["--case-column", "who", "--activity-column", "what", "--timezone", "../etc"], "time zone"),
    ],
)
def test_options_that_do_not_fit_the_log_are_refused_before_anything_starts(
    tmp_path: Path, options: list[str], word: str
) -> None:
    """A misspelt column would be found after half a minute, as a failed run."""
    log = tmp_path / "orders.csv"
    log.write_text(TABLE)
    done = rwcm(tmp_path / "home", "backfill", str(log), *options)
    assert done.returncode == 2
    assert len(said(done)) == 1, done.stderr
    assert word in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_directory_and_a_file_without_permission_are_no_logs(tmp_path: Path) -> None:
    """The sentence would blame the wrong thing."""
    assert "directory" in rwcm(tmp_path / "home", "backfill", str(tmp_path)).stderr
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    locked = tmp_path / "locked.csv"
    locked.write_text("case,activity\n1,a\n")
    locked.chmod(0)
    assert "permission" in rwcm(tmp_path / "home", "backfill", str(locked)).stderr


def test_a_query_prints_rows_and_json_with_types(world: Home) -> None:
    """Programs could not read the marts from the shell."""
    sql = "select 1 as n, 1.5 as x, null as nothing, date '2025-03-01' as day, ['a'] as items"
    assert json.loads(rwcm(world.root, "query", "--json", sql).stdout) == [
        {"n": 1, "x": 1.5, "nothing": None, "day": "2025-03-01", "items": ["a"]}
    ]
    done = rwcm(world.root, "query", "select 'x' || repeat('y', 300) as wide, '[bold]' as brackets")
    assert "x" + "y" * 300 in done.stdout
    assert "[bold]" in done.stdout


def test_json_is_json_whatever_the_values(world: Home) -> None:
    """`NaN` is no JSON, a long amount would lose its cents, and of two columns of one name one would be gone."""
    sql = (
        "select 'nan'::double as a, '-inf'::double as b, 12345678901234567.89::decimal(20, 2) as c, 1 as d, 2 as d, "
        "{'x': [interval 1 hour]} as e, '\\x00'::blob as f, timestamptz '2025-03-01 00:00:00+02' as g"
    )
    done = rwcm(world.root, "query", "--json", sql)
    (row,) = json.loads(done.stdout, parse_float=Decimal, parse_constant=lambda name: pytest.fail(name))
    assert row == {
        "a": None,
        "b": None,
        "c": Decimal("12345678901234567.89"),
        "d": 1,
        "d_1": 2,
        "e": {"x": ["1:00:00"]},
        "f": "00",
        "g": "2025-02-28T22:00:00+00:00",
    }


def test_a_query_can_be_piped_in(world: Home) -> None:
    """A statement of a page would have to be quoted for the shell."""
    done = rwcm(world.root, "query", "--json", "-", given="select 'it''s' as text")
    assert json.loads(done.stdout) == [{"text": "it's"}]


def test_the_name_of_a_column_is_shown_as_it_is(world: Home) -> None:
    """What stands in brackets would be taken for a colour."""
    assert "[bold]share[/bold]" in rwcm(world.root, "query", 'select 1 as "[bold]share[/bold]"').stdout


def test_a_query_says_when_there_are_more_rows(world: Home) -> None:
    """A cut result would be taken for the whole."""
    done = rwcm(world.root, "query", "--json", "--limit", "2", "from marts.mv_step_telemetry")
    assert len(json.loads(done.stdout)) == 2
    assert "first 2 rows" in done.stderr


@pytest.mark.parametrize(
    "sql",
    [
        "selec 1",
        "from marts.nothing",
        "drop table marts.proposal",
        "select * from read_csv('/etc/passwd')",
        "copy marts.proposal to 'stolen.csv'",
        "attach 'other.duckdb'",
        "set enable_external_access = true",
        "install httpfs",
        "",
        "   ",
    ],
)
def test_a_query_that_is_wrong_or_reaches_out_is_refused(world: Home, sql: str) -> None:
    """The served file would be changed, or the query language would open the machine's files."""
    done = rwcm(world.root, "query", sql)
    assert done.returncode == 2
    assert done.stderr.startswith("rwcm: the query was refused")
    assert len(said(done)) == 1


def test_looking_at_an_empty_home_creates_nothing(tmp_path: Path) -> None:
    """A typing error in RWCM_HOME would leave a home behind."""
    home = tmp_path / "nowhere"
    assert "is empty" in rwcm(home, "status").stdout
    assert json.loads(rwcm(home, "status", "--json").stdout)["exists"] is False
    done = rwcm(home, "query", "select 1")
    assert (done.returncode, len(said(done))) == (2, 1)
    assert not home.exists()


def test_status_counts_what_is_there(world: Home) -> None:
    """An operator would not see what a home holds, or that work is stuck."""
    found = json.loads(rwcm(world.root, "status", "--json").stdout)
    lake, marts = found["lake"], found["warehouse"]["tables"]
    announced = found["registry"]["object_version"] + found["registry"]["publication_queue"]
    assert lake["event_bus"]["rows"] + lake["event_dead_letter"]["rows"] <= 3_000 + announced
    assert found["open_work"]["events_waiting_in_outbox"] == found["open_work"]["events_kept_for_dead_letters"] == 0
    assert lake["step_run"]["rows"] == marts["marts.mv_step_telemetry"]
    assert lake["event_bus"]["months"] in (18, 19)
    assert found["open_work"]["batches_open"] == found["open_work"]["files_waiting"] == 0
    assert found["cursors"]["execute"]["months"] == lake["event_bus"]["months"]
    shown = rwcm(world.root, "status").stdout
    for word in ("event_bus", "cursors", "open work", "episodes waiting"):
        assert word in shown


@pytest.mark.parametrize("command", [[], ["run"], ["backfill"], ["query"], ["status"]])
def test_every_command_explains_itself(tmp_path: Path, command: list[str]) -> None:
    """A user who has only the command could not learn it."""
    done = rwcm(tmp_path, *command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_help_waits_for_no_database_and_no_data_frames() -> None:
    """Every command, and every completion in a shell, would take a second longer."""
    code = "import sys, app.cli; print({'sqlalchemy', 'polars', 'pydantic'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("command", [["status"], ["query", "select 1"]])
def test_looking_does_not_start_the_orchestrator(world: Home, command: list[str]) -> None:
    """Every look at a home would cost seconds."""
    code = (
        "import sys\nfrom app.cli import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit:\n    pass\n"
        "print('dagster' in sys.modules, 'dbt' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "RWCM_HOME": str(world.root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == "False False", done.stderr


def test_a_workflow_is_shown_as_text_and_written_as_a_picture(world: Home, tmp_path: Path) -> None:
    """What a workflow does could be read only from its JSON."""
    shown = rwcm(world.root, "workflow", "show", "WF-FIN-001")
    assert shown.returncode == 0, shown.stderr
    for words in (
        "Automated Invoice Processing",
        "F-02 Check: po match",
        "if pass is false → F-03",
        "after 72 h → END",
    ):
        assert words in shown.stdout, words
    file = tmp_path / "workflow.mmd"
    written = rwcm(world.root, "workflow", "show", "WF-FIN-001", "--format", "mermaid", "--to", str(file))
    assert (written.returncode, written.stdout) == (0, "")
    assert file.read_text().startswith("flowchart LR\n")


@pytest.mark.parametrize("version", [(), ("--version", "9.9.9")])
def test_a_workflow_that_is_not_registered_is_refused_in_one_sentence(world: Home, version: tuple[str, ...]) -> None:
    """A mistyped id would end in a traceback, or in an empty picture."""
    done = rwcm(world.root, "workflow", "show", "WF-FIN-00X" if not version else "WF-FIN-001", *version)
    assert done.returncode == 2
    assert len(said(done)) == 1
    assert "the registry holds no workflow" in done.stderr


def test_the_dashboard_is_drawn_where_it_is_asked_for(world: Home, tmp_path: Path) -> None:
    """Whoever mails the page would have to look for it."""
    page = tmp_path / "out" / "page.html"
    done = rwcm(world.root, "dashboard", "--out", str(page))
    assert (done.returncode, done.stdout.strip()) == (0, str(page)), done.stderr
    assert "<title>Workflows" in page.read_text()


def test_a_dashboard_of_nothing_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """A traceback would be the answer to a command typed too early."""
    done = rwcm(tmp_path, "dashboard")
    assert done.returncode == 2
    assert len(said(done)) == 1 and "make run" in said(done)[0]
