"""XLSX: what Excel and openpyxl change silently does not change here, and what they made uncertain is refused."""

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from guard.canonical import canonical
from registry.access import PLATFORM
from registry.database import Registry
from registry.documents import Received, Role, read_document
from registry.forms import as_xlsx, sheets
from registry.forms.assembly import understand
from registry.forms.cells import from_cell, to_cell
from registry.forms.sheets import Faults, FormRefused
from registry.forms.transfer import export, import_, snapshot
from tests.generated import NASTY

NOW = datetime(2026, 2, 1, tzinfo=UTC)
HEADER = ("role_id", "role_title", "department", "hierarchy_level")


def workbook(path: Path, *rows: tuple[Any, ...], change: Callable[[Worksheet], None] | None = None) -> Path:
    """Write a workbook as somebody with openpyxl, or Excel, would."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = "role"
    for row in rows or (HEADER, ("R-1", "Clerk", "D", "V")):
        sheet.append(row)
    if change:
        change(sheet)
    book.save(path)
    return path


def refusals(registry: Registry, path: Path) -> list[str]:
    with registry.read() as connection:
        before = snapshot(connection)
    with pytest.raises(FormRefused) as caught:
        import_(registry, path, operator="me", principal=lambda: PLATFORM, now=NOW)
    with registry.read() as connection:
        assert snapshot(connection) == before
    return [f"{fault.document} {fault.path}".strip() + f": {fault.problem}" for fault in caught.value.faults]


def read_back(path: Path) -> list[Received[Any]]:
    return understand(as_xlsx.read(path), Faults(path)).documents


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_a_text_survives_a_cell(text: str) -> None:
    """The rule is reversible for every text, and what it writes is no formula to anybody."""
    cell = to_cell(text)
    assert from_cell(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert from_cell("") is None


@pytest.mark.parametrize("length", [31_999, 32_000, 32_001, 64_000, 100_000])
@pytest.mark.parametrize("letter", ["x", "ü", "😀"])
def test_a_text_longer_than_a_cell_continues_in_the_next_columns(length: int, letter: str, tmp_path: Path) -> None:
    """openpyxl cuts at 32,767 characters and says nothing; Excel refuses the file."""
    text = letter * (length - 1) + "!"
    row = {"policy_id": "P", "spec": canonical({"text": text}), "scope": "data"}
    as_xlsx.write({"policy": [row]}, tmp_path / "x.xlsx")
    (line,) = as_xlsx.read(tmp_path / "x.xlsx").lines["policy"]
    assert line.texts["spec"] == row["spec"]
    for sheet in openpyxl.load_workbook(tmp_path / "x.xlsx"):
        for cells in sheet.iter_rows(values_only=True):
            assert all(len(str(cell).encode("utf-16-le")) <= 2 * 32_767 for cell in cells)


def test_openpyxl_reads_the_same_texts(loaded: Registry, tmp_path: Path) -> None:
    """A peer sees sheets of texts, frozen under their headings, and no formula in them."""
    export(loaded, "xlsx", tmp_path / "all.xlsx")
    book = openpyxl.load_workbook(tmp_path / "all.xlsx")
    with loaded.read() as connection:
        tables = snapshot(connection)
    assert book.sheetnames == list(tables)
    for name, rows in tables.items():
        header, *found = book[name].iter_rows()
        assert all(
            cell.data_type in ("s", "n") and (cell.data_type == "s") == (cell.value is not None)
            for row in found
            for cell in row
        )
        names = [cell.value for cell in header]
        for row, cells in zip(rows, found, strict=True):
            assert {
                name: from_cell(cell.value or "")
                for name, cell in zip(names, cells, strict=True)
                if " (" not in str(name)
            } == dict(row)


def test_a_workbook_that_openpyxl_saved_again_is_taken(loaded: Registry, tmp_path: Path) -> None:
    """Somebody looks and saves: shared strings instead of inline ones, other styles, the same texts."""
    export(loaded, "xlsx", tmp_path / "all.xlsx")
    openpyxl.load_workbook(tmp_path / "all.xlsx").save(tmp_path / "again.xlsx")
    fresh = Registry.open(tmp_path / "fresh.db")
    import_(fresh, tmp_path / "again.xlsx", operator="me", principal=lambda: PLATFORM, now=NOW)
    with loaded.read() as one, fresh.read() as other:
        assert snapshot(one) == snapshot(other)
    fresh.close()


def test_a_workbook_written_by_hand_is_taken(tmp_path: Path) -> None:
    """A person types roles into Excel; an empty cell is an absent member."""
    path = workbook(
        tmp_path / "x.xlsx",
        (*HEADER, "role_type"),
        ("R-1", "'=Clerk", "D", "V", None),
        (),
        ("R-2", "-Boss", "D", "I", "agent"),
    )
    documents = [received.value for received in read_back(path)]
    common = {"department": "D"}
    assert documents == [
        {**common, "role_id": "R-1", "role_title": "=Clerk", "hierarchy_level": "V"},
        {**common, "role_id": "R-2", "role_title": "-Boss", "hierarchy_level": "I", "role_type": "agent"},
    ]
    assert read_document(Role, canonical(documents[1]), name="x")


def _merge(sheet: Worksheet) -> None:
    sheet.merge_cells("A2:A3")


def _hide(sheet: Worksheet) -> None:
    other = sheet.parent.create_sheet("policy")
    other.append(("policy_id", "scope", "spec"))
    other.sheet_state = "hidden"


def _rename(sheet: Worksheet) -> None:
    sheet.title = "Roles"


def _beyond(sheet: Worksheet) -> None:
    sheet["F2"] = "note"


@pytest.mark.parametrize(
    ("rows", "change", "fault"),
    [
        ((HEADER, ("R-1", "=1+1", "D", "V")), None, "sheet role row 2 column B: is a formula"),
        ((HEADER, (123, "x", "D", "V")), None, "sheet role row 2 column role_id: is the number 123 where"),
        ((HEADER, ("R-1", 1.0, "D", "V")), None, "sheet role row 2 column role_title: is the number 1"),
        ((HEADER, ("R-1", datetime(2026, 1, 1), "D", "V")), None, "sheet role row 2 column role_title: is the num"),
        ((HEADER, ("R-1", True, "D", "V")), None, "sheet role row 2 column role_title: is a boolean"),
        ((HEADER, ("R-1", "#N/A", "D", "V")), None, "sheet role row 2 column B: is the error #N/A"),
        ((HEADER[:3], ("R-1", "x", "D")), None, "sheet role row 2 column hierarchy_level: is missing"),
        ((HEADER[1:], ("x", "D", "V")), None, "sheet role row 1 column role_id: is missing"),
        (((*HEADER, "role_id"), ("R-1", "x", "D", "V", "R-1")), None, "sheet role row 1 column role_id: stands twice"),
        (((*HEADER, "shoe_size"), ("R-1", "x", "D", "V", "44")), None, "sheet role row 1 column shoe_size: role has"),
        (((*HEADER, "role_title (3)"), ("R-1", "x", "D", "V", "y")), None, "sheet role row 1 column role_title (3)"),
        (((HEADER[0], None, *HEADER[1:]), ("R-1", "", "x", "D", "V")), None, "sheet role row 1 column 2: has no name"),
        ((), _merge, "sheet role: merges the cells A2:A3"),
        ((), _hide, "sheet policy: is hidden"),
        ((), _rename, "sheet Roles: is named after no table"),
        ((), _beyond, "sheet role row 2 column F: has no name in the first row"),
    ],
)  # fmt: skip
def test_what_a_spreadsheet_made_uncertain_is_refused(
    rows: tuple[Any, ...], change: Callable[[Worksheet], None] | None, fault: str, registry: Registry, tmp_path: Path
) -> None:
    """An id 00123 that became 123 cannot be known again; better to hear of it now."""
    said = refusals(registry, workbook(tmp_path / "x.xlsx", *rows, change=change))
    assert any(line.startswith(fault) for line in said), said


def test_a_number_where_numbers_belong_is_taken_if_it_is_exact(tmp_path: Path) -> None:
    """Excel makes numbers of what is typed; whole ones of fifteen digits it keeps."""
    path = tmp_path / "x.xlsx"
    book = openpyxl.Workbook()
    sheet = book.create_sheet("skill_node")
    sheet.append(("skill_id", "is_generator"))
    sheet.append(("SK-1", True))
    steps = book.create_sheet("step_action")
    steps.append(("step_id", "sequence"))
    steps.append(("F-1", 7))
    steps.append(("F-2", 7.5))
    steps.append(("F-3", 10**16))
    book.remove(book.worksheets[0])
    book.save(path)
    with pytest.raises(FormRefused) as caught:
        as_xlsx.read(path)
    assert [fault.document for fault in caught.value.faults] == ["sheet step_action row 3", "sheet step_action row 4"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"role_id,role_title", b"\xd0\xcf\x11\xe0"])
def test_what_is_no_workbook_is_refused(content: bytes, registry: Registry, tmp_path: Path) -> None:
    """A file of another kind under the name, an old .xls, or one with a password."""
    (tmp_path / "x.xlsx").write_bytes(content)
    assert refusals(registry, tmp_path / "x.xlsx")[0].startswith("x.xlsx: is no workbook that can be read")


def test_a_bomb_is_refused_before_it_is_unpacked(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some kilobytes unpack to gigabytes."""
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * 50_000_000)
    assert "xl/workbook.xml unpacks to 50,000,000 bytes" in refusals(registry, tmp_path / "x.xlsx")[0]
    monkeypatch.setattr(as_xlsx, "MAX_FORM_BYTES", 1_000)
    assert "may have 1,000" in refusals(registry, workbook(tmp_path / "y.xlsx"))[0]
    assert sheets.MAX_FORM_BYTES > 1_000


def test_entities_are_not_expanded(registry: Registry, tmp_path: Path) -> None:
    """XML within XLSX may define entities that grow without end, or that read files."""
    workbook(tmp_path / "x.xlsx")
    evil = tmp_path / "evil.xlsx"
    with zipfile.ZipFile(tmp_path / "x.xlsx") as source, zipfile.ZipFile(evil, "w") as target:
        for part in source.namelist():
            content = source.read(part)
            if part == "xl/sharedStrings.xml":
                content = b'<!DOCTYPE sst [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + content.replace(
                    b"Clerk", b"&x;"
                )
            target.writestr(part, content)
    for received in read_back(evil):
        assert "root" not in received.text
