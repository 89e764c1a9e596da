"""What a form does not take: every fault at once, with its file, row and column, and nothing half loaded."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guard.canonical import digest
from registry.access import PLATFORM
from registry.database import Registry
from registry.forms import sheets
from registry.forms.sheets import FormRefused
from registry.forms.transfer import UnknownForm, export, import_, snapshot

NOW = datetime(2026, 2, 1, tzinfo=UTC)
ROLE = "role_id,role_title,department,hierarchy_level\r\n"


def refusals(registry: Registry, path: Path, form: str | None = None) -> list[str]:
    """Return what is said of a path that is not taken, and check that it left nothing behind."""
    with registry.read() as connection:
        before = snapshot(connection)
    with pytest.raises(FormRefused) as caught:
        import_(registry, path, form=form, operator="me", principal=lambda: PLATFORM, now=NOW)
    with registry.read() as connection:
        assert snapshot(connection) == before
    assert all(fault.fix for fault in caught.value.faults)
    return [f"{fault.document} {fault.path}".strip() + f": {fault.problem}" for fault in caught.value.faults]


def csv_of(folder: Path, content: str | bytes, table: str = "role") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{table}.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def test_all_faults_of_all_sheets_are_named_at_once(registry: Registry, tmp_path: Path) -> None:
    """Whoever repairs a sheet of a thousand rows would otherwise import it a thousand times."""
    path = csv_of(tmp_path / "in", ROLE + "R-1,Clerk,Finance,VI\r\nR-2,Clerk,,V\r\n")
    csv_of(path, "policy_id,scope,spec\r\nP-1,data,{]\r\nP-2,money,{}\r\n", "policy")
    assert refusals(registry, path) == [
        "policy.csv row 2 column spec: Expecting property name enclosed in double quotes at character 1",
        "policy.csv row 3 column scope: 'money' is none of data, security, compliance, mlops, publishing",
        "role.csv row 2 column hierarchy_level: 'VI' is none of I, II, III, IV, V",
    ]


def test_a_document_that_rows_do_not_make_is_refused_at_its_cell(registry: Registry, tmp_path: Path) -> None:
    """The fault lies in a row of a sheet, not in a document that nobody wrote."""
    path = csv_of(
        tmp_path / "in", "workflow_id,workflow_name,responsible_role_id,version\r\nWF-1,W,R-1,1\r\n", "workflow"
    )
    steps = "step_id,workflow_id,sequence,action_type,skill_id,next_step_logic,parameters\r\n"
    csv_of(
        path,
        steps + 'F-2,WF-1,2,notify,SK-1,END,\r\nF-1,WF-1,0,notify,SK 1,END,"{""a"":1}"\r\nF-3,WF-2,1,notify,S,END,\r\n',
        "step_action",
    )
    assert refusals(registry, path) == [
        "step_action.csv row 4 column workflow_id: names no workflow of this file",
        "workflow.csv row 2 column objective: is missing",
        "workflow.csv row 2 column version: does not fit: must be a semantic version such as 1.0.0",
        "step_action.csv row 3 column sequence: does not fit: Input should be greater than or equal to 1",
        "step_action.csv row 3 column skill_id: does not fit: must be an id of letters, digits and . _ / : -",
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (ROLE + "R-1,=cmd|' /C calc'!A0,D,V", "row 2 column role_title: \"=cmd|' /C calc'!A0\" is a formula"),
        (ROLE + "R-1,+1,D,V", "row 2 column role_title: '+1' is a formula"),
        (ROLE + "R-1,-1,D,V", "row 2 column role_title: '-1' is a formula"),
        (ROLE + "R-1,@x,D,V", "row 2 column role_title: '@x' is a formula"),
        (ROLE + 'R-1,"\'""x",D,V', "row 2 column role_title: begins like an escaped text"),
        (ROLE + 'R-1,"a\nb,D,V', "row 2: cannot be read: unexpected end of data"),
        (ROLE + 'R-1,"a"b,D,V', "row 2: cannot be read: ',' expected after '\"'"),
        (ROLE + "R-1,a,b,D,V", "row 2: has 5 cells where the first row has 4"),
        (ROLE + "R-1,D,V", "row 2: has 3 cells where the first row has 4"),
        (ROLE + "R-1,a,D,V\nR-1,b,D,V", "row 3 column role_id: R-1 stands in role.csv row 2 already"),
        (ROLE + ",a,D,V", "row 2 column role_id: is empty"),
        (ROLE + "R-1,a\x00,D,V", "row 2 column role_title: holds U+0000"),
        (ROLE.replace("role_id", "id") + "R-1,a,D,V", "row 1 column id: role has none of this name"),
        (ROLE.replace("role_id", "id") + "R-1,a,D,V", "row 1 column role_id: is missing"),
        (ROLE.replace("department", "role_title") + "R-1,a,D,V", "row 1 column role_title: stands twice"),
        (ROLE.replace("department", "") + "R-1,a,D,V", "row 1 column 3: has no name"),
        ("", "row 1 column role_id: is missing"),
        ((ROLE + "R-1,a,D,V").encode("utf-16"), "is UTF-16"),
        ((ROLE + "R-1,Käufer,D,V").encode("latin-1"), "line 2: byte 52 is not UTF-8"),
        ((ROLE + "R-1,").encode() + b"\xed\xa0\x80,D,V", "line 2: byte 51 is not UTF-8"),
        (b"PK\x03\x04", "is a ZIP archive, perhaps XLSX"),
    ],
)
def test_csv_that_does_not_say_what_it_means_is_refused(
    content: str | bytes, fault: str, registry: Registry, tmp_path: Path
) -> None:
    """Guessing what a broken cell meant changes a contract silently."""
    said = refusals(registry, csv_of(tmp_path / "in", content))
    assert any(line.removeprefix("role.csv").lstrip(": ").startswith(fault) for line in said), said


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\r\n", "\n"),
        lambda text: text.replace("\r\n", "\r"),
        lambda text: text.rstrip() + "\r\n\r\n,,,\r\n",
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("Clerk", '"Clerk"'),
    ],
    ids=["BOM", "LF", "CR", "blank rows", "semicolons", "tabs", "quotes"],
)
def test_csv_as_spreadsheets_write_it_is_taken(
    change: Callable[[str], str], registry: Registry, tmp_path: Path
) -> None:
    """None of these changes what a cell says."""
    path = csv_of(tmp_path / "in", change(ROLE + "R-1,Clerk,D,V\r\nR-2,Boss,D,I\r\n"))
    assert import_(registry, path, operator="me", principal=lambda: PLATFORM, now=NOW).proposed == 2


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('[{"table":"role","row":{"role_id":"A","role_id":"B"}}]', "in.json element 1 /row/role_id: the key 'role_id'"),
        ('[{"table":"role","row":{"role_id":NaN}}]', "in.json: NaN is not a JSON number"),
        ('[{"table":"role","row":{"role_id":"\\u0000"}}]', "in.json element 1 /row/role_id: U+0000"),
        ('[{"table":"role","row":{"role_id":"\\ud800"}}]', "in.json element 1 /row/role_id: U+0000 or a lone"),
        ("[" * 500 + "]" * 500, "in.json: nested deeper"),
        ('[{"table":"roles","row":{}}]', "in.json element 1: names no table"),
        ('[{"table":"role","row":[]}]', "in.json element 1: its row is no object"),
        ('[{"table":"role"}]', "in.json element 1: is neither a row nor a document"),
        ('[{"kind":"skills","document":{}}]', "in.json element 1: names no kind"),
        ('[{"kind":"role","document":{}}]', "in.json element 1: /role_id is missing"),
        ('[{"table":"role","row":{"role_id":7}}]', "in.json element 1 column role_id: is no text"),
        ('[{"table":"role","row":{"id":"7"}}]', "in.json element 1 column id: role has none"),
        ('[{"table":"step_action","row":{"sequence":"1"}}]', "in.json element 1 column sequence: is a text"),
        ('[{"table":"step_action","row":{"sequence":1.5}}]', "in.json element 1 column sequence: '1.5' is no whole"),
        ('[{"table":"role","row":{}}', "in.json: Expecting"),
        ("[]x", "in.json: Extra data"),
        ('["\xff"]'.encode("latin-1"), "in.json: byte 2 is not UTF-8"),
        ("[]".encode("utf-16"), "in.json: it is UTF-16"),
    ],
    ids=lambda given: ascii(given)[:40],
)
def test_json_that_is_none_of_ours_is_refused(
    content: str | bytes, fault: str, registry: Registry, tmp_path: Path
) -> None:
    """Each with the element and the member that is wrong."""
    path = tmp_path / "in.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    said = refusals(registry, path, "json")
    assert said[0].startswith(fault), said


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DROP TABLE role", "is no plain INSERT"),
        ("UPDATE role SET role_title = 'x'", "is no plain INSERT"),
        ("INSERT OR REPLACE INTO role (role_id) VALUES ('a')", "is no plain INSERT"),
        ("INSERT INTO role (role_id) SELECT 'a'", "is no plain INSERT"),
        ("INSERT INTO role (role_id) VALUES ('a') ON CONFLICT DO NOTHING", "is no plain INSERT"),
        ("INSERT INTO role (role_id) VALUES ('a') RETURNING role_id", "is no plain INSERT"),
        ("WITH x AS (SELECT 1) INSERT INTO role (role_id) VALUES ('a')", "is no plain INSERT"),
        ("INSERT INTO access_token (token_id) VALUES ('a')", "inserts into access_token"),
        ("INSERT INTO pg_catalog.role (role_id) VALUES ('a')", "inserts into pg_catalog.role"),
        (
            "INSERT INTO role (role_id) VALUES (load_extension('x'))",
            "row 1 column role_id: is no literal but ANONYMOUS",
        ),
        ("INSERT INTO role (role_id) VALUES ((SELECT 'a'))", "row 1 column role_id: is no literal but SUBQUERY"),
        ("INSERT INTO role (role_id) VALUES ('a' || 'b')", "row 1 column role_id: is no literal but DPIPE"),
        ("INSERT INTO role (role_id) VALUES (123)", "row 1 column role_id: is a number"),
        ("INSERT INTO role (role_id, id) VALUES ('a', 'b')", "column id: role has none of this name"),
        ("INSERT INTO role (role_id) VALUES ('a', 'b')", "row 1: has 2 values for 1 columns"),
        ("INSERT INTO role VALUES ('a')", "row 1: has 1 values for"),
        ("INSERT INTO role (role_id) VALUES ('a", "is no SQL"),
        ("ATTACH 'x' AS y", "is no plain INSERT"),
        ("PRAGMA writable_schema = 1", "is no plain INSERT"),
        (".shell rm", "is no SQL"),
        ("\\! rm", "is no SQL"),
    ],
)
def test_sql_that_is_no_insert_of_literals_is_refused(
    statement: str, fault: str, registry: Registry, tmp_path: Path
) -> None:
    """A dump is read, never executed; what would have to be executed is not taken."""
    path = tmp_path / "in.sql"
    path.write_text(f"BEGIN;\n-- a comment; with a semicolon\n{statement};\nCOMMIT;\n")
    said = refusals(registry, path)
    assert any(fault in line and line.startswith("in.sql statement 2") for line in said), said


def test_a_row_that_disagrees_with_its_document_is_refused(loaded: Registry, tmp_path: Path) -> None:
    """Somebody edited the sheet that people look at; the version beside it would silently win, or lose."""
    export(loaded, "csv", tmp_path / "all")
    file = tmp_path / "all/role.csv"
    file.write_bytes(file.read_bytes().replace(b"Finance Manager", b"Emperor"))
    steps = tmp_path / "all/step_action.csv"
    steps.write_bytes(steps.read_bytes().replace(b"SK-ERP-002", b"SK-NLP-013"))
    fresh = Registry.open(tmp_path / "fresh.db")
    assert refusals(fresh, tmp_path / "all") == [
        "role.csv row 6 column role_title: does not agree with the document in object_version",
        "step_action.csv row 5 column skill_id: does not agree with the document in object_version",
    ]
    fresh.close()


def test_a_document_that_was_changed_is_refused(loaded: Registry, tmp_path: Path) -> None:
    """Its hash is what the audit trail names."""
    export(loaded, "json", tmp_path / "all.json")
    text = (tmp_path / "all.json").read_text()
    (tmp_path / "all.json").write_text(text.replace('"role_title": "Finance Manager"', '"role_title": "Emperor"'))
    fresh = Registry.open(tmp_path / "fresh.db")
    said = refusals(fresh, tmp_path / "all.json")
    assert any("column document_hash: is not that of the document" in line for line in said), said
    fresh.close()


def test_a_row_or_a_version_alone_is_refused(loaded: Registry, tmp_path: Path) -> None:
    """A restore of half an object would leave a current row without its history, or a history of nothing."""
    export(loaded, "csv", tmp_path / "all")
    for name, gone in (("agent.csv", b"\r\nAG-"), ("object_version.csv", b"\r\nontology_node,")):
        file = tmp_path / "all" / name
        head, _, tail = file.read_bytes().partition(gone)
        file.write_bytes(head + b"\r\n" + tail.partition(b"\r\n")[2])
    fresh = Registry.open(tmp_path / "fresh.db")
    said = refusals(fresh, tmp_path / "all")
    assert any(line.startswith("agent column agent_id: the document of AG-") for line in said), said
    assert any(line.startswith("ontology_node.csv row ") and "is in no current document" in line for line in said), said
    fresh.close()


def test_a_secret_is_not_restored(loaded: Registry, tmp_path: Path) -> None:
    """A file that somebody edited, hash and all, is no way around the door; section 19.1: secrets are never stored."""
    export(loaded, "json", tmp_path / "all.json")
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    elements = json.loads((tmp_path / "all.json").read_text())
    for element in elements:
        row = element["row"]
        if row.get("policy_id") == "POL-DATA-001":
            row["spec"]["note"] = key
        elif row.get("object_id") == "POL-DATA-001":
            row["document"]["spec"]["note"] = key
            row["document_hash"] = digest(row["document"])
    (tmp_path / "all.json").write_text(json.dumps(elements))
    fresh = Registry.open(tmp_path / "fresh.db")
    (said,) = refusals(fresh, tmp_path / "all.json")
    assert "column document: /spec/note holds what looks like an AWS access key" in said
    assert key not in said
    fresh.close()


def test_a_reference_to_nothing_is_refused(loaded: Registry, tmp_path: Path) -> None:
    """The database would say FOREIGN KEY constraint failed, and not where."""
    export(loaded, "sql", tmp_path / "all.sql")
    text = (tmp_path / "all.sql").read_text()
    (tmp_path / "all.sql").write_text(text.replace("'FA-D-001'", "'FA-X-001'", 1).replace("FA-D-001", "FA-Y-001"))
    fresh = Registry.open(tmp_path / "fresh.db")
    assert refusals(fresh, tmp_path / "all.sql")
    fresh.close()


def test_a_file_that_is_too_large_is_refused_before_it_is_read(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can upload a file could otherwise end the process."""
    monkeypatch.setattr(sheets, "MAX_FORM_BYTES", 100)
    path = csv_of(tmp_path / "in", ROLE + "R-1,a,D,V\r\n" * 10)
    assert refusals(registry, path) == ["role.csv: is too large"]


def test_the_wrong_file_altogether_ends_after_a_thousand_faults(registry: Registry, tmp_path: Path) -> None:
    """A report of a million lines is none."""
    path = csv_of(tmp_path / "in", ROLE + "".join(f"R-{number},a,D,X\r\n" for number in range(3_000)))
    assert len(refusals(registry, path)) == 1_000


def test_what_is_of_no_form_is_said_so(registry: Registry, tmp_path: Path) -> None:
    """A typing error in a path, and a file of another trade."""
    with pytest.raises(UnknownForm, match="there is no"):
        import_(registry, tmp_path / "missing.csv", operator="me", principal=lambda: PLATFORM, now=NOW)
    (tmp_path / "x.docx").write_bytes(b"PK")
    with pytest.raises(UnknownForm, match="--format"):
        import_(registry, tmp_path / "x.docx", operator="me", principal=lambda: PLATFORM, now=NOW)
