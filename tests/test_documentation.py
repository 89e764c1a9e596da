"""The documents say what is there: a short guide that is true beats a long one that drifts."""

import re
import subprocess
import tomllib
from pathlib import Path

from registry.diagrams import graph_of, to_svg
from registry.documents import Workflow, read_document
from registry.loader import PACK

ROOT = Path(__file__).resolve().parent.parent


def table_names(document: str) -> set[str]:
    """Return the names in code font that open the rows of a Markdown document's tables."""
    return set(re.findall(r"^\| `([\w/]+)` \|", document, flags=re.MULTILINE))


def test_the_readme_lists_every_mart_and_no_other() -> None:
    """A reader would look for a mart that is gone, or never learn of one."""
    marts = {path.stem for path in (ROOT / "dbt_project/models/marts").glob("*.sql")}
    listed = table_names((ROOT / "README.md").read_text())
    assert {name for name in listed if not name.startswith("RWCM_")} == marts


def test_the_readme_lists_every_setting_that_the_code_reads() -> None:
    """A setting that nobody knows of is a trap."""
    code = "".join(
        path.read_text() for room in rooms() for path in (ROOT / room).rglob("*.py") if "transform" not in path.name
    )
    read = set(re.findall(r'"(RWCM_\w+)"', code))
    listed = {name for name in table_names((ROOT / "README.md").read_text()) if name.startswith("RWCM_")}
    assert read == listed


def rooms() -> set[str]:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    return {package.split(".")[0] for package in packages}


def test_the_architecture_describes_every_room() -> None:
    """A newcomer would find a folder that no page explains."""
    described = set(re.findall(r"^\| `(\w+)/` \|", (ROOT / "docs/architecture.md").read_text(), flags=re.MULTILINE))
    assert described == rooms() | {"dbt_project"}


def test_every_package_of_the_rooms_is_listed() -> None:
    """A package that is not listed is missing from an installation."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for room in rooms() for path in (ROOT / room).rglob("__init__.py")
    }
    assert listed == found


def test_every_make_target_that_the_readme_names_exists() -> None:
    """A command that a reader copies must work."""
    named = set(re.findall(r"`make (\w+)|^make (\w+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {first or second for first, second in named} <= targets


def test_no_committed_file_names_a_registry_host_or_a_path_of_a_machine() -> None:
    """The project installs anywhere; where a package was downloaded from is nobody's business."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = [ROOT / name for name in listed.stdout.split("\0") if name] or list(ROOT.glob("*"))
    pattern = re.compile(r"pythonhosted|/simple/|/" + "root/|/" + "work/")
    found = {
        path.name: match.group()
        for path in files
        if path.is_file() and path.suffix in {".py", ".toml", ".txt", ".md", ".sql", ".yml", ".yaml", ""}
        for match in [pattern.search(path.read_text(errors="ignore"))]
        if match and path != Path(__file__)
    }
    assert found == {}


def test_the_page_of_access_states_the_rules_that_the_code_states() -> None:
    """An auditor reads the page, the platform follows the code."""
    page = re.findall(r"^\| .+ \|$", (ROOT / "docs/access.md").read_text(), flags=re.MULTILINE)
    code = re.findall(r"^\| .+ \|$", (ROOT / "registry/permissions.py").read_text(), flags=re.MULTILINE)
    assert page == code
    assert len(page) > 10


def test_the_picture_in_the_readme_is_current() -> None:
    """A reader would see another workflow than the one that runs; `rwcm workflow show ... --format svg` writes it."""
    document = read_document(Workflow, (PACK / "workflows/WF-FIN-001.json").read_bytes(), name="WF-FIN-001")
    assert (ROOT / "docs/images/wf-fin-001.svg").read_text() == to_svg(graph_of(document.body))
    assert "(docs/images/wf-fin-001.svg)" in (ROOT / "README.md").read_text()
