"""The transformation: dbt over a home's lake, run in this process and without an orchestrator.

One manifest serves every home: where the lake and the build file lie is read from the environment when a model is
compiled. A build rebuilds months, and remembers from which files of the lake each month was last built, so that the
next one knows what changed. dbt is imported inside functions, because that takes longer than most commands.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from filelock import FileLock, Timeout

from guard.canonical import digest
from lake.home import PROJECT_ROOT, Home
from lake.months import Month, contiguous, next_month, parse_month
from lake.spec import MONTH, TableSpec
from lake.store import Lake
from lake.tables import (
    BATCH,
    DEAD_LETTER_RESOLUTION,
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    LEGAL_HOLD,
    LOGS,
    POLICY,
    PUBLICATION_QUEUE,
    RETAINED_DATA,
    RUN_EPISODE,
    SCHEMA_CONSUMER,
    STEP_ACTION,
    STEP_RUN,
    TRIGGER_REFUSAL,
    WORKFLOW,
)
from lake.warehouse import ensure_extensions

PROJECT = PROJECT_ROOT / "dbt_project"
STAGING, MONTHLY, ROLLUPS = "tag:staging", "tag:monthly", "tag:rollups"
"""The three parts of the project, as dbt selects them, in the order in which they are built."""
SOURCES = (
    *LOGS,
    WORKFLOW,
    STEP_ACTION,
    PUBLICATION_QUEUE,
    BATCH,
    DEAD_LETTER_RESOLUTION,
    TRIGGER_REFUSAL,
    SCHEMA_CONSUMER,
    POLICY,
    LEGAL_HOLD,
    RETAINED_DATA,
)
"""The tables of the lake that staging reads."""
ROLLUP_SOURCES = (
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    DEAD_LETTER_RESOLUTION,
    PUBLICATION_QUEUE,
    BATCH,
    TRIGGER_REFUSAL,
    SCHEMA_CONSUMER,
    POLICY,
    LEGAL_HOLD,
    RETAINED_DATA,
)
"""Those that rollups are made of, beside the monthly models."""
LOCK_TIMEOUT_S = 600

_TARGET = PROJECT / "target"
_ARTIFACTS = ("partial_parse.msgpack", "manifest.json")
_STAMP = _TARGET / "project.sha256"
_QUIET = ("--log-level", "none", "--log-level-file", "none", "--no-print", "--no-use-colors", "--no-write-json")
_NO_FAILURE = {"success", "pass", "warn", "skipped", "no-op"}
_ONE_AT_A_TIME = threading.Lock()
"""dbt's flags, events and DuckDB connection belong to the process, and the environment does: one build at a time."""

_SOME_MONTH = date(2000, 1, 1)
"""Built where there is no month, so that readers of an empty lake find empty tables."""

OnEvent: TypeAlias = Callable[[dict[str, Any]], None]


class TransformFailed(RuntimeError):
    """dbt refused or failed: the months at hand stay changed, and what is published stays as it is.

    Attributes:
        failures: what dbt says of each model or test that failed, by name.
    """

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__("\n".join(f"{name}: {message}" for name, message in failures.items()))
        self.failures = failures


class BuildBusy(RuntimeError):
    """Another process held the home's build lock for too long; nothing was built, the call can be repeated."""


@dataclass(frozen=True)
class BuildResult:
    """What a build did: months rebuilt, models built, how many tests passed, and what others warn of, by name."""

    months: tuple[Month, ...]
    models: tuple[str, ...]
    tests: int
    warnings: Mapping[str, str]


def project_digest() -> str:
    """Return a hash over the dbt project and the versions that read it."""
    text = sha256(f"{version('dbt-core')} {version('dbt-duckdb')}\n".encode())
    for folder, folders, files in os.walk(PROJECT):
        folders[:] = sorted({*folders} - {"target", "logs", "dbt_packages"})
        for path in (Path(folder, name) for name in sorted(files) if name.endswith((".sql", ".yml", ".md"))):
            content = path.read_bytes()
            text.update(f"{path.relative_to(PROJECT).as_posix()} {len(content)}\n".encode() + content)
    return text.hexdigest()


def ensure_manifest() -> Path:
    """Return the manifest of the project as it stands, parsed anew when a file of it came, went or changed.

    Raises:
        TransformFailed: dbt cannot parse the project.
    """
    wanted = project_digest()
    if not _is_parsed(wanted):
        _TARGET.mkdir(exist_ok=True)
        with FileLock(_TARGET / ".parse.lock"):
            if not _is_parsed(wanted):
                _parse(wanted)
    return _TARGET / "manifest.json"


def _is_parsed(wanted: str) -> bool:
    return all((_TARGET / name).exists() for name in (*_ARTIFACTS, _STAMP.name)) and _STAMP.read_text() == wanted


def _parse(stamp: str) -> None:
    """Parse in a process of its own, for which any home will do, and move the result into place, the stamp last."""
    with tempfile.TemporaryDirectory(dir=_TARGET) as folder:
        done = subprocess.run(  # noqa: S603 - our own interpreter and arguments
            [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "--quiet", "parse", *_folders(Path(folder))],
            env={**os.environ, **_places(Home(Path(folder)), {})},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TransformFailed({"dbt parse": (done.stdout + done.stderr).strip()})
        Path(folder, _STAMP.name).write_text(stamp)
        _STAMP.unlink(missing_ok=True)
        for name in (*_ARTIFACTS, _STAMP.name):
            Path(folder, name).replace(_TARGET / name)


def _folders(target: Path) -> list[str]:
    project = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    return [*project, "--target-path", str(target), "--log-path", str(target)]


def _places(home: Home, versions: Mapping[str, int | None]) -> dict[str, str]:
    """Return what the project reads from the environment."""
    return {
        "RWCM_LAKE": str(home.lake.resolve()),
        "RWCM_LAKE_VERSIONS": json.dumps(versions),
        "RWCM_BUILD_DB": str(home.build_db.resolve()),
        "RWCM_EXTENSIONS": str(home.extensions.resolve()),
        "RWCM_TODAY": home.now().date().isoformat(),
    }


def changed_months(lake: Lake, home: Home) -> list[Month]:
    """Return the months that a build would change, in order.

    A month counts when files that may hold its episodes or their steps came or went, when the objectives of a workflow
    that ran in it changed, or when its last build did not end. Every month does where there is no build file, or one
    that another state of the project built.
    """
    return _changed(_fingerprints(lake), _Built.load(home))


def _changed(now: Mapping[Month, str], built: "_Built | None") -> list[Month]:
    before = built.months if built else {}
    return sorted(month for month in now.keys() | before.keys() if now.get(month) != before.get(month))


def _fingerprints(lake: Lake) -> dict[Month, str]:
    """Return, for each month in which an episode started, a hash of all that the monthly models make of it."""
    ran = lake.scan(RUN_EPISODE, columns=[MONTH, "workflow_id"]).unique()
    stated = lake.scan(WORKFLOW, columns=["workflow_id", "constraints"])
    objectives: dict[Month, list[list[str]]] = {}
    for month, *objective in ran.join(stated, on="workflow_id").sort(MONTH, "workflow_id").collect().iter_rows():
        objectives.setdefault(month, []).append(objective)
    steps = lake.fingerprints(STEP_RUN, by="episode_month")
    return {
        month: digest([episodes, steps.get(month), objectives.get(month)])
        for month, episodes in lake.fingerprints(RUN_EPISODE).items()
    }


@contextmanager
def build_lock(home: Home) -> Iterator[None]:
    """Hold the build file of `home`: who builds it and who copies it take turns.

    Raises:
        BuildBusy: somebody else held it for `LOCK_TIMEOUT_S`.
    """
    home.warehouse.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home.warehouse / ".build.lock", timeout=LOCK_TIMEOUT_S, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise BuildBusy(f"{home.build_db} was in use by another process for {LOCK_TIMEOUT_S} s; try again") from None
    try:
        yield
    finally:
        lock.release()


class Transformation:
    """Builds the warehouse of one home from its lake.

    Args:
        home: whose lake is read and whose build file is written; publishing that file is another step.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.lake = Lake(home.lake)

    def is_current(self) -> bool:
        """Return whether a build would change nothing, so that the caller can leave it out."""
        built = _Built.load(self.home)
        if built is None or _changed(_fingerprints(self.lake), built):
            return False
        return built.rollups == self._mark_of_rollups(built, self._versions(ROLLUP_SOURCES))

    def _mark_of_rollups(self, built: "_Built", versions: Mapping[str, int | None]) -> str:
        """Return the mark of rollups as they would be built now; every day some data may be past their limit."""
        return built.mark_of_rollups(versions, today=self.home.now().date())

    def work_at_hand(self) -> str | None:
        """Return what names the changes that a build would show, None where it would change nothing."""
        if self.is_current():
            return None
        return digest([self._versions(SOURCES), project_digest(), self.home.now().date().isoformat()])

    def forget(self) -> None:
        """Delete the build file, so that the next build begins anew.

        For a purge: rows that a model no longer holds stay in the file's free pages.
        """
        with build_lock(self.home):
            _Built.anew(self.home)

    def has_ended(self) -> bool:
        """Return whether the last build came to its end: what is in the build file is whole and passed its tests."""
        built = _Built.load(self.home)
        return built is not None and built.rollups is not None and all(built.months.values())

    def build(
        self, months: Sequence[Month], *, select: str | None = None, on_event: OnEvent | None = None
    ) -> BuildResult:
        """Rebuild `months` of the monthly models and all of the rollups, and test what was built.

        Every model reads the same versions of the lake's tables, however much is appended meanwhile. Where there is no
        build file, or one that another state of the project built, a new one is built whole, whatever was asked for.

        Args:
            months: usually `changed_months`; a month that the lake no longer holds is emptied.
            select: narrows the models, in dbt's syntax. Only what is built whole counts as built: by None, `MONTHLY`
                or `ROLLUPS`.
            on_event: receives dbt's events above debug level as they happen, one at a time, from dbt's threads. What
                it raises is raised here when dbt has ended.

        Raises:
            TransformFailed: naming the models and tests that failed.
            BuildBusy: another process is building.
        """
        ensure_manifest()
        with build_lock(self.home):
            self.lake.ensure(SOURCES)
            now = _fingerprints(self.lake)  # before the versions: a month may be built twice, but none is missed
            versions = self._versions(SOURCES)
            built = _Built.load(self.home)
            if built is None:
                built, months, select = _Built.anew(self.home), list(now), None
                invocations = _invocations(months or [_SOME_MONTH], select)
            else:
                built.begin(months)
                invocations = _invocations(months, select)
            results = run_dbt(self.home, invocations, versions=versions, on_event=on_event)
            if select in (None, MONTHLY):
                built.end(months, now)
            if select in (None, ROLLUPS):
                built.rollups = self._mark_of_rollups(built, versions)
            built.save()
        return BuildResult(
            months=tuple(sorted({*months})),
            models=tuple(dict.fromkeys(r.node.name for r in results if r.node.resource_type == "model")),
            tests=sum(r.status == "pass" for r in results),
            warnings={r.node.name: str(r.message) for r in results if r.status == "warn"},
        )

    def _versions(self, specs: Iterable[TableSpec]) -> dict[str, int | None]:
        return {spec.name: self.lake.version(spec) for spec in specs}


def _invocations(months: Iterable[Month], select: str | None) -> Iterator[list[str]]:
    """Yield dbt's arguments for each run of months without a gap; the views go first, the rollups last."""
    runs = contiguous(months)
    for index in range(max(len(runs), 1)):
        parts = [MONTHLY] if runs else []
        if index >= len(runs) - 1:
            parts.append(ROLLUPS)
        if select:
            parts = [f"{part},{chosen}" for part in parts for chosen in select.split()]
        if index == 0:
            parts.append(STAGING)
        window = []
        if runs:
            first, last = runs[index]
            window = ["--event-time-start", first.isoformat(), "--event-time-end", next_month(last).isoformat()]
        # Unit tests judge the SQL, not the data: `make test` runs them.
        yield ["--select", *parts, "--indirect-selection", "buildable", "--exclude", "test_type:unit", *window]


def run_dbt(
    home: Home,
    invocations: Iterable[Sequence[str]],
    *,
    versions: Mapping[str, int | None] | None = None,
    on_event: OnEvent | None = None,
) -> list[Any]:
    """Run `dbt build` in this process with each of `invocations` as arguments; return dbt's results.

    Args:
        home: whose lake is read and whose build file is written; the caller holds its lock.
        invocations: a failing one is the last.
        versions: at which version to read a table of the lake; the latest of those it does not name.
        on_event: as in `Transformation.build`.

    Raises:
        TransformFailed: naming the models and tests that failed.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    # The only form of the manifest that comes back whole: read from JSON, generic tests turn into singular ones.
    manifest = Manifest.from_msgpack((_TARGET / _ARTIFACTS[0]).read_bytes(), decoder=extended_mashumuro_decoder)
    manifest.build_flat_graph()
    listener = _Listener(on_event)
    runner = dbtRunner(manifest, callbacks=[listener])
    ensure_extensions(home.extensions)
    results: list[Any] = []
    with _ONE_AT_A_TIME, _environment(_places(home, versions or {})):
        try:
            for arguments in invocations:
                done = runner.invoke([*_QUIET, "build", *arguments, *_folders(home.dbt_target.resolve())])
                results += listener.settle(done)
        finally:
            DuckDBConnectionManager.close_all_connections()  # dbt keeps the file open, and with it locked
    return results


@contextmanager
def _environment(places: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in places}
    os.environ.update(places)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Listener:
    """Hears dbt's events: hands them on, and remembers why a month failed, which dbt's results do not say."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event
        self._handing_on = threading.Lock()
        self._fault: Exception | None = None
        self._causes: dict[str, str] = {}

    def __call__(self, message: Any) -> None:
        if message.info.name == "GenericExceptionOnRun":
            self._causes.setdefault(message.data.unique_id, message.data.exc)
        if self._on_event is None or message.info.level == "debug":
            return

        from dbt_common.events.functions import msg_to_dict

        with self._handing_on:
            try:
                if self._fault is None:
                    self._on_event(msg_to_dict(message))
            except Exception as error:  # noqa: BLE001 - a raise here would hang dbt's queue; `settle` raises it
                self._fault = error

    def settle(self, done: Any) -> list[Any]:
        """Return the results of an invocation, or raise what went wrong in it."""
        if self._fault is not None:
            raise self._fault
        if done.exception is not None and not isinstance(done.exception, Exception):
            raise done.exception  # an interrupt, which dbt hands back like an error
        if done.exception is not None:
            raise TransformFailed({"dbt build": str(done.exception)}) from None
        if not done.success:
            raise TransformFailed(
                {
                    result.node.name: self._causes.get(result.node.unique_id) or str(result.message)
                    for result in done.result
                    if result.status not in _NO_FAILURE
                }
            )
        return list(done.result)


@dataclass
class _Built:
    """What the build file was last built from: a mark per month, empty while a build is under way, and the rollups'.

    It is saved beside the file once that is whole; without it, a build begins anew.
    """

    path: Path
    project: str
    months: dict[Month, str]
    rollups: str | None

    @classmethod
    def load(cls, home: Home) -> "_Built | None":
        """Return what is known of the build file; None if it is missing or another state of the project built it."""
        path = home.build_db.with_name("months.json")
        if not home.build_db.exists() or not path.exists():
            return None
        try:
            stored = json.loads(path.read_text())
        except ValueError:  # cut off by a power failure
            return None
        months = {parse_month(month): mark for month, mark in stored["months"].items()}
        built = cls(path, stored["project"], months, stored["rollups"])
        return built if built.project == project_digest() else None

    @classmethod
    def anew(cls, home: Home) -> "_Built":
        """Delete the build file and what is known of it."""
        path = home.build_db.with_name("months.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in (path, home.build_db, home.build_db.with_name(f"{home.build_db.name}.wal")):
            stale.unlink(missing_ok=True)
        return cls(path, project_digest(), {}, None)

    def begin(self, months: Iterable[Month]) -> None:
        """Mark `months` as changed until `end`, so that a crash in between leaves them changed."""
        self.months |= dict.fromkeys(months, "")
        self.rollups = None
        self.save()

    def end(self, months: Iterable[Month], now: Mapping[Month, str]) -> None:
        """Mark `months` as built from what they are `now`; those that are no more are forgotten."""
        for month in months:
            self.months.pop(month, None)
            if month in now:
                self.months[month] = now[month]

    def mark_of_rollups(self, versions: Mapping[str, int | None], *, today: date) -> str:
        """Return the mark of rollups over the months as built, these versions of their own sources, and the day."""
        months = {month.isoformat(): mark for month, mark in self.months.items()}
        return digest([months, {spec.name: versions[spec.name] for spec in ROLLUP_SOURCES}, today.isoformat()])

    def save(self) -> None:
        months = {month.isoformat(): mark for month, mark in sorted(self.months.items())}
        stored = {"project": self.project, "months": months, "rollups": self.rollups}
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(stored, indent=1) + "\n")
        partial.replace(self.path)
