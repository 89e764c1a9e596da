"""The home: one folder that holds all state of one installation."""

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock

PROJECT_ROOT = Path(__file__).resolve().parent.parent
REGISTRY_URL = "RWCM_REGISTRY_URL"


_UNUSABLE = frozenset("%[]*?#")
"""Characters that delta-rs or DuckDB takes for an escape or a pattern in a path."""


class HomeFault(ValueError):
    """A home that cannot be used as asked; the message says what to do."""


@dataclass(frozen=True)
class Home:
    """Where everything of one installation lies. Two homes never touch each other."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """Return the home that `RWCM_HOME` names, `var/` of the project by default."""
        return cls(Path(os.environ.get("RWCM_HOME") or PROJECT_ROOT / "var").expanduser().resolve())

    @property
    def registry_db(self) -> Path:
        return self.root / "registry.db"

    @property
    def registry(self) -> Path | str:
        """Where the registry is kept: the database that `RWCM_REGISTRY_URL` names, by default a file of the home."""
        return os.environ.get(REGISTRY_URL) or self.registry_db

    @property
    def has_registry(self) -> bool:
        """Whether there is a registry to look at; a database that is named is taken to be one."""
        return bool(os.environ.get(REGISTRY_URL)) or self.registry_db.exists()

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def telemetry(self) -> Path:
        """What steps measured, as JSON by day, for tools that read no Delta."""
        return self.root / "telemetry"

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def simulated(self) -> Path:
        """What the simulated outside systems hold: documents and purchase orders of the demonstration."""
        return self.root / "simulated"

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse"

    @property
    def build_db(self) -> Path:
        """The file that dbt alone writes. dbt bakes the name into its manifest, so only the folder varies."""
        return self.warehouse / "build" / "build.duckdb"

    @property
    def served_db(self) -> Path:
        """The read-only copy for everybody else."""
        return self.warehouse / "rwcm.duckdb"

    @property
    def dashboard(self) -> Path:
        """The page that shows the marts, for browsers."""
        return self.root / "dashboard" / "index.html"

    @property
    def extensions(self) -> Path:
        return self.warehouse / "extensions"

    @property
    def dbt_target(self) -> Path:
        return self.warehouse / "dbt"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def secrets(self) -> Path:
        """Secrets that `file:` references name, and the redaction key; private to the owner."""
        return self.root / "secrets"

    @property
    def redaction_key(self) -> Path:
        return self.secrets / "redaction.key"

    def prepare(self) -> "Home":
        """Create the folders, private to their owner where raw records or keys lie; return the home.

        Raises:
            HomeFault: the folder cannot be made or written.
        """
        if odd := sorted(_UNUSABLE & set(str(self.root))):
            raise HomeFault(
                f"{self.root} cannot hold the platform's state: Delta tables bear no {' '.join(odd)} in their path; "
                "name another folder with RWCM_HOME"
            )
        try:
            for folder in (self.root, self.lake, self.warehouse, self.build_db.parent, self.dagster, self.simulated):
                folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.landing, self.redaction_key.parent):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise HomeFault(
                f"{self.root} cannot hold the platform's state ({error.strerror}); "
                "name a folder you may write with RWCM_HOME"
            ) from None
        return self

    def demonstration(self) -> "Demonstration | None":
        """Return what the demonstration was fixed to, None where there is none."""
        try:
            stored = json.loads(self._demonstration.read_text())
        except FileNotFoundError:
            return None
        moments = {name: datetime.fromisoformat(stored[name]) for name in ("as_of", "continued_at") if name in stored}
        return Demonstration(seed=stored["seed"], events=stored["events"], **moments)

    def now(self) -> datetime:
        """Return the moment that the home takes for now: that of its demonstration, else the clock's."""
        fixed = self.demonstration()
        return fixed.now if fixed else datetime.now(UTC)

    def go_on(self, until: datetime) -> "Demonstration":
        """Let the clock of the home's demonstration go on, once, and return the demonstration.

        Raises:
            HomeFault: the home has no demonstration.
        """
        with FileLock(self.root / ".demonstration.lock"):
            fixed = self.demonstration()
            if fixed is None:
                raise HomeFault(f"{self.root} holds no demonstration that could go on; rwcm run makes one")
            if fixed.continued_at is None:
                fixed = replace(fixed, continued_at=max(until.astimezone(UTC), fixed.as_of + timedelta(seconds=1)))
                self._write(fixed)
        return fixed

    def _write(self, fixed: "Demonstration") -> None:
        stated = {"as_of": fixed.as_of.isoformat(), "seed": fixed.seed, "events": fixed.events}
        if fixed.continued_at is not None:
            stated["continued_at"] = fixed.continued_at.isoformat()
        partial = self._demonstration.with_suffix(".partial")
        partial.write_text(json.dumps(stated, indent=2) + "\n")
        partial.replace(self._demonstration)

    def fix(self, *, as_of: datetime, seed: int, events: int) -> "Demonstration":
        """Return the home's demonstration, fixed by the first call and the same ever after.

        Raises:
            HomeFault: the home was fixed with another seed or size.
        """
        with FileLock(self.root / ".demonstration.lock"):
            fixed = self.demonstration()
            if fixed is None:
                fixed = Demonstration(as_of.astimezone(UTC), seed, events)
                self._write(fixed)
        if (fixed.seed, fixed.events) != (seed, events):
            raise HomeFault(
                f"{self.root} was made with --seed {fixed.seed} --events {fixed.events}; "
                "use these, or another folder through RWCM_HOME"
            )
        return fixed

    @property
    def _demonstration(self) -> Path:
        return self.root / "demonstration.json"


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration's stream of events follows from: the same values give the same bytes.

    Attributes:
        as_of: when its eighteen months end.
        continued_at: when what follows on a publication ends; None before there was one.
    """

    as_of: datetime
    seed: int
    events: int
    continued_at: datetime | None = None

    @property
    def now(self) -> datetime:
        return self.continued_at or self.as_of
