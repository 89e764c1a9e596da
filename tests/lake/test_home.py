"""A home holds all state of one installation; what is raw or secret lies where only its owner can read."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from lake.home import PROJECT_ROOT, Demonstration, Home, HomeFault

AS_OF = datetime(2025, 6, 1, 12, 30, 15, 123_456, tzinfo=UTC)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_environment_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two installations on one machine would otherwise share a lake."""
    monkeypatch.setenv("RWCM_HOME", str(tmp_path / "here"))
    assert Home.from_environment().root == tmp_path / "here"
    monkeypatch.setenv("RWCM_HOME", "")
    assert Home.from_environment().root == PROJECT_ROOT / "var"
    monkeypatch.delenv("RWCM_HOME")
    assert Home.from_environment().root == PROJECT_ROOT / "var"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RWCM_HOME", "below")
    assert Home.from_environment().root == tmp_path / "below"


def test_everything_lies_within_the_root(tmp_path: Path) -> None:
    """`rm -rf` of the folder must remove the installation and nothing else."""
    home = Home(tmp_path / "home").prepare()
    stated = [
        getattr(home, name)
        for name, member in vars(Home).items()
        if isinstance(member, property) and not name.startswith("_")
    ]
    places = [place for place in stated if isinstance(place, Path)]
    assert len(places) > 10
    assert all(place.is_relative_to(home.root) for place in places)
    assert list(tmp_path.iterdir()) == [home.root]


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_raw_records_and_keys_are_private_to_their_owner(tmp_path: Path, umask: int) -> None:
    """Landing holds personal data as it arrived; the key tells who is behind a token."""
    before = os.umask(umask)
    try:
        home = Home(tmp_path / "home").prepare()
    finally:
        os.umask(before)
    assert mode(home.landing) == 0o700
    assert mode(home.redaction_key.parent) == 0o700


def test_folders_that_were_opened_to_others_are_closed_again(tmp_path: Path) -> None:
    """A restore from a backup brings its own modes."""
    home = Home(tmp_path / "home").prepare()
    home.landing.chmod(0o755)
    home.redaction_key.parent.chmod(0o777)
    assert home.prepare() is home
    assert (mode(home.landing), mode(home.redaction_key.parent)) == (0o700, 0o700)


def test_a_folder_that_cannot_be_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """A traceback does not say that RWCM_HOME names a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeFault, match="RWCM_HOME"):
        Home(tmp_path / "file" / "home").prepare()
    with pytest.raises(HomeFault, match="RWCM_HOME"):
        Home(tmp_path / "file").prepare()


def test_a_home_without_a_demonstration_has_none(tmp_path: Path) -> None:
    """Its `now` is the clock's."""
    assert Home(tmp_path).prepare().demonstration() is None


def test_a_demonstration_is_fixed_once_to_the_microsecond(tmp_path: Path) -> None:
    """Every run takes the stored moment for now; another one would change every time-out."""
    home = Home(tmp_path).prepare()
    fixed = home.fix(as_of=AS_OF, seed=7, events=100)
    assert fixed == Demonstration(AS_OF, 7, 100)
    assert home.fix(as_of=AS_OF + timedelta(days=9), seed=7, events=100) == fixed
    assert Home(tmp_path).demonstration() == fixed
    assert fixed.as_of.utcoffset() == timedelta(0)


def test_a_demonstration_is_fixed_in_utc(tmp_path: Path) -> None:
    """The same moment written with another offset gives the same stream."""
    here = AS_OF.astimezone(timezone(timedelta(hours=2)))
    fixed = Home(tmp_path).prepare().fix(as_of=here, seed=7, events=100)
    assert fixed.as_of.isoformat() == AS_OF.isoformat()


@pytest.mark.parametrize(("seed", "events"), [(8, 100), (7, 101)])
def test_a_home_fixed_otherwise_says_to_what(tmp_path: Path, seed: int, events: int) -> None:
    """Half of one world and half of another would add up to nothing."""
    home = Home(tmp_path).prepare()
    home.fix(as_of=AS_OF, seed=7, events=100)
    with pytest.raises(HomeFault, match="--seed 7 --events 100"):
        home.fix(as_of=AS_OF, seed=seed, events=events)
    assert home.demonstration() == Demonstration(AS_OF, 7, 100)


def test_processes_that_fix_a_home_together_agree(tmp_path: Path) -> None:
    """The Dagster UI and the command line start at once; each would land a stream of its own."""
    Home(tmp_path).prepare()
    script = (
        "import sys; from datetime import UTC, datetime, timedelta; from pathlib import Path\n"
        "from lake.home import Home\n"
        "as_of = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=int(sys.argv[2]))\n"
        "print(Home(Path(sys.argv[1])).fix(as_of=as_of, seed=1, events=100).as_of)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(number)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT_ROOT,
        )
        for number in range(6)
    ]
    fixed = Home(tmp_path).demonstration
    agreed = {process.communicate(timeout=60)[0].strip() for process in started}
    assert agreed == {str(fixed().as_of)}  # type: ignore[union-attr]
