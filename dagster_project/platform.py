"""The platform: the rooms of one home, opened together.

It knows no orchestrator, so that a command that only looks at a home does not pay for importing one.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from guard.redaction import Redactor
from ingest.landing import Landing
from ingest.topics import topics
from ingest.validation import Door
from lake.home import Demonstration, Home, HomeFault
from lake.months import Month, parse_month
from lake.store import Lake
from registry.database import Registry
from registry.outbox import OWN_TOPICS
from registry.purging import purged_months
from runtime.connectors.client import HttpClient
from runtime.connectors.http import HttpSkills, egress_in_force
from runtime.skills.simulated import SimulatedSkills
from runtime.skills.table import Skills
from runtime.triggers import FIRED

FIRST_MONTH = "RWCM_FIRST_MONTH"
HOT_WINDOW = "RWCM_HOT_WINDOW"


def first_month() -> Month:
    """Return the earliest month of live events, 2000-01 unless `RWCM_FIRST_MONTH` says otherwise."""
    return parse_month(os.environ.get(FIRST_MONTH) or "2000-01")


def why_no_hot_window(registry: Registry) -> str | None:
    """Return why the registry holds no hot window, None if it holds one.

    Raises:
        HomeFault: `RWCM_HOT_WINDOW` says neither on nor off.
    """
    setting = os.environ.get(HOT_WINDOW) or ("on" if registry.database == "postgresql" else "")
    if setting not in ("on", "off", ""):
        raise HomeFault(f"{HOT_WINDOW} is {setting!r}; set it to on or off, or leave it out")
    if setting == "on":
        return None
    return (
        f"{HOT_WINDOW} is off"
        if setting
        else f"on SQLite the lake answers a point lookup fast enough; set {HOT_WINDOW}=on for a copy all the same"
    )


class Platform:
    """One home with its lake, registry and landing zone; each is opened at its first use."""

    def __init__(self, home: Home) -> None:
        self.home = home.prepare()

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.home.lake)

    @cached_property
    def registry(self) -> Registry:
        return Registry.open(self.home.registry)

    @cached_property
    def landing(self) -> Landing:
        return Landing(self.home.landing)

    @cached_property
    def skills(self) -> Skills:
        """The adapters that a binding can name: `simulated` and `http`."""
        http = HttpSkills(
            self._http_client,
            egress=lambda: egress_in_force(self.registry, now=self.now()),
            secrets=self.home.secrets,
            redactor=lambda: Redactor.from_file(self.home.redaction_key),
        )
        return Skills([SimulatedSkills(self.home.simulated), http])

    @cached_property
    def _http_client(self) -> HttpClient:
        return HttpClient()

    @property
    def demonstration(self) -> Demonstration | None:
        """What the home's demonstration was fixed to; None in a home that has none."""
        return self.home.demonstration()

    def door(self) -> Door:
        """Return a validator over the schemas registered now, for what comes from outside.

        What the registry alone can know is not told there, nor does a trigger fire.
        """
        return self._door(reserved=(*OWN_TOPICS, FIRED))

    def inner_door(self) -> Door:
        """Return a validator over the schemas registered now, for what the registry announces."""
        return self._door(reserved=())

    def _door(self, *, reserved: Sequence[str]) -> Door:
        return Door(
            topics(self.registry),
            redactor=Redactor.from_file(self.home.redaction_key),
            first_month=first_month(),
            reserved=reserved,
            purged=purged_months(self.lake, self.registry),
        )

    def now(self) -> datetime:
        """Return the moment that the home takes for now: that of its demonstration, else the clock's."""
        return self.home.now()

    def close(self) -> None:
        self.registry.close()
        self._http_client.close()
