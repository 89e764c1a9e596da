"""The asset `hot_window`: a copy where it is wanted, and a reason where it is not."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.assets.registry import hot_window
from dagster_project.platform import HOT_WINDOW, Platform
from lake.home import Home, HomeFault
from lake.tables import EVENT_BUS, LOGS
from registry.loader import PACK, load_pack
from tests.builders import event

AT = datetime.now(UTC)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """A platform with the pack and one event of today."""
    import polars as pl

    made = Platform(Home(tmp_path / "home"))
    load_pack(made.registry, PACK, actor="test", now=AT)
    made.lake.ensure(LOGS)
    row = event("V-1", "ap.invoice.received", {"amount": 1}, AT)
    made.lake.append(EVENT_BUS, pl.DataFrame([row]).cast({"schema_version": pl.Int32}), batch_id="B-1")
    return made


def materialised(platform: Platform) -> dict[str, object]:
    done = dg.materialize([hot_window], resources={"platform": platform})
    (made,) = done.asset_materializations_for_node("hot_window")
    return {key: value.value for key, value in made.metadata.items()}


def test_on_sqlite_it_is_off_and_says_why(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """An asset that does nothing and says nothing looks broken."""
    monkeypatch.delenv(HOT_WINDOW, raising=False)
    found = materialised(platform)
    assert found["is_on"] is False
    assert "RWCM_HOT_WINDOW=on" in str(found["reason"])
    assert platform.registry.frame(EVENT_BUS).is_empty()


def test_switched_on_it_copies_what_the_lake_holds(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the registry database alone finds today's events there."""
    monkeypatch.setenv(HOT_WINDOW, "on")
    found = materialised(platform)
    assert (found["is_on"], found["rows_added"]) == (True, 1)
    assert platform.registry.frame(EVENT_BUS).select("event_id", "month").rows() == [
        ("V-1", date(AT.year, AT.month, 1))
    ]


def test_a_setting_that_is_neither_on_nor_off_is_refused(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """`RWCM_HOT_WINDOW=true` would quietly be off."""
    monkeypatch.setenv(HOT_WINDOW, "true")
    with pytest.raises(HomeFault, match="on or off"):
        materialised(platform)
