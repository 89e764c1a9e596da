"""Chromium, and what of npm runs in it: found, installed and driven for tests; they skip where it is missing."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium")
ROOT = Path(__file__).parents[1]
NODE_MODULES = ROOT / "node_modules"
PINNED = {"bpmn-js": "18.31.1", "mermaid": "12.3.0"}
"""The only statement of these versions. The viewer brings the schemas of BPMN with it (`bpmn-moddle`)."""

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


def installed(package: str) -> Path:
    """Return the folder of a pinned package, installed once per checkout; skip where that cannot be done."""
    folder = NODE_MODULES / package
    with FileLock(f"{NODE_MODULES}.lock"):
        if not _has_version(folder, PINNED[package]):
            npm = shutil.which("npm")
            if npm is None:
                pytest.skip("npm is not installed")
            wanted = [f"{name}@{version}" for name, version in PINNED.items()]
            options = ("--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
            done = subprocess.run(
                [npm, "install", "--prefix", str(ROOT), *options, *wanted],
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"npm cannot install {package}: {done.stderr.strip().splitlines()[-1:]}")
    return folder


def _has_version(folder: Path, version: str) -> bool:
    manifest = folder / "package.json"
    return manifest.exists() and json.loads(manifest.read_bytes())["version"] == version


def evaluated(folder: Path, scripts: Sequence[Path], body: str, given: Any) -> Any:
    """Return what the async function `body` returns for `given` (JSON both), run in a page with `scripts`."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    loads = "".join(f'<script src="{script.as_uri()}"></script>' for script in scripts)
    # In a script element `</script>` and `<!--` are read before the JSON is.
    data = json.dumps(given).replace("<", "\\u003c")
    page = folder / "page.html"
    page.write_text(
        f"""<!doctype html><meta charset="utf-8"><div id="canvas" style="width:4000px;height:2000px"></div>
        <pre id="answer"></pre>{loads}<script>
        const say = what => document.getElementById('answer').textContent = JSON.stringify(what);
        (async given => {{ {body} }})({data}).then(say, error => say({{failed: String(error)}}));
        </script>"""
    )
    flags = [*FLAGS, *QUIET, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=30000", "--dump-dom"]
    done = subprocess.run([CHROMIUM, *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found and found[1], f"the page gave no answer: {done.stderr[-500:]}"
    answer = json.loads(unescape(found[1]))
    assert not (isinstance(answer, Mapping) and "failed" in answer), answer
    return answer


class Page:
    """A page of a Chromium that stays open, to be clicked in (Chrome DevTools Protocol)."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._calls = 0

    def call(self, method: str, **parameters: Any) -> Any:
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the first value of an expression that is true of the page, which gets a minute for it."""
        for _ in range(240):
            if found := self.value(expression):
                return found
            time.sleep(0.25)
        pytest.fail(f"the page never had {expression}")


@contextmanager
def opened(url: str, profile: Path) -> Iterator[Page]:
    """Open a page in a Chromium of its own."""
    assert CHROMIUM is not None
    flags = [*FLAGS, *QUIET, f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    browser = subprocess.Popen([CHROMIUM, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        known = profile / "DevToolsActivePort"
        for _ in range(240):
            if known.exists() and known.read_text().strip():
                break
            time.sleep(0.25)
        with urllib.request.urlopen(f"http://127.0.0.1:{known.read_text().split()[0]}/json", timeout=60) as answer:
            address = next(tab for tab in json.load(answer) if tab["type"] == "page")["webSocketDebuggerUrl"]
        with connect(address, max_size=None, proxy=None) as socket:
            page = Page(socket)
            page.call("Page.navigate", url=url)
            yield page
    finally:
        browser.terminate()
        browser.wait(20)
