"""The Dagster UI in a real browser: what a data engineer sees of a home after a run."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.instance import prepare_instance
from lake.home import Home
from tests.browser import CHROMIUM, FLAGS, QUIET, opened

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def ui(world: Home) -> Iterator[str]:
    """The address of a web server over the world, its code location loaded."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [Path(sys.executable).with_name("dagster-webserver"), "-h", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "RWCM_HOME": str(world.root), "DAGSTER_HOME": str(prepare_instance(world))},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_loaded(address, server)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def wait_until_loaded(address: str, server: subprocess.Popen[bytes]) -> None:
    query = json.dumps({"query": "{workspaceOrError{... on Workspace{locationEntries{loadStatus}}}}"}).encode()
    request = urllib.request.Request(f"{address}/graphql", query, {"content-type": "application/json"})
    for _ in range(120):
        assert server.poll() is None, "the web server ended"
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                if b'"LOADED"' in answer.read():
                    return
        except OSError:
            pass
        time.sleep(0.5)
    pytest.fail("the code location did not load in a minute")


def page(url: str, profile: Path) -> str:
    """Return the page's document as the browser has it once its scripts have run."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *FLAGS, *QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def test_the_catalogue_shows_rows_checks_owners_and_columns_of_a_table(ui: str, tmp_path: Path) -> None:
    """The conventions that data engineers know would be missing from the asset's page."""
    shown = page(f"{ui}/assets/event_bus", tmp_path)
    for words in ("Row count", "Delta Lake", "platform", "content_hash", "one row per accepted event", "Latest check"):
        assert words in shown, words


def test_the_lineage_shows_every_stage(ui: str, tmp_path: Path) -> None:
    """A stage that is no asset could not be seen or materialised."""
    shown = page(f"{ui}/asset-groups", tmp_path)
    for group in ("registry", "events", "runs", "learning", "staging", "intermediate", "marts", "serving"):
        assert group in shown, group


def test_the_workflows_are_shown_as_pictures(ui: str, tmp_path: Path) -> None:
    """Dagster's Markdown draws no Mermaid: the picture must be one that its sanitiser lets through."""
    with opened(f"{ui}/assets/registry/workflow", tmp_path) as page:
        links = "[...document.querySelectorAll('a')].filter(link => link.textContent === '[Show Markdown]')"
        page.wait_for(f"{links}.length > 0")
        page.value(f"{links}[0].click()")
        width = page.wait_for("document.querySelector('img[alt=\"WF-FIN-001\"]')?.naturalWidth")
    assert f'width="{width}"' in (ROOT / "docs/images/wf-fin-001.svg").read_text()
