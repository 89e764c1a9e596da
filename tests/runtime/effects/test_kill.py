"""Kill -9: whatever is killed when, each effect happens once at the other side, or a person is asked."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from lake.home import PROJECT_ROOT
from lake.tables import EFFECT, OPEN_EFFECTS
from registry.database import Registry
from runtime.effects.journal import UNSETTLED_GROUP, Effects
from tests.runtime.effects.otherside import call_for
from tests.runtime.effects.system import System, binding, running, skills

ROWS = 120
KEYS = [f"k-{number:03}" for number in range(ROWS)]
KINDS = {
    "idempotent": {"idempotency_header": "Idempotency-Key"},
    "askable": {"look_up": "/key/{key}"},
    "plain": {},
}

MOMENTS = {
    "before the first intents": "Effects.write = on(Effects.write, 1, before=True)",
    "after the first intents": "Effects.write = on(Effects.write, 1)",
    "before the first results": "Effects.write = on(Effects.write, 2, before=True)",
    "after the first results": "Effects.write = on(Effects.write, 2)",
    "before the last results": "Effects.write = on_last(Effects.write, before=True)",
    "after the last results": "Effects.write = on_last(Effects.write)",
    "when requests are made": "HttpClient.send = on(HttpClient.send, 1, before=True)",
    "when answers have come": "HttpClient.send = on(HttpClient.send, 1)",
    "between two answers": "_Sending.answer = on_async(_Sending.answer, 7)",
}
"""Every named point of a batch: where the process is killed."""

SCRIPT = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from registry.database import Registry
from runtime.connectors.client import HttpClient, _Sending
from runtime.effects import journal
from runtime.effects.journal import Effects
from registry.documents import RuntimeBinding
from tests.runtime.effects.otherside import call_for
from tests.runtime.effects.system import skills

journal.GROUP, journal.UNSETTLED_GROUP = 16, 16
folder, kind, bound = Path(sys.argv[1]), sys.argv[2], RuntimeBinding.model_validate_json(sys.argv[3])
keys = sys.argv[4].split(",")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def on(function, nth, before=False):
    calls = []
    def counted(*arguments, **options):
        calls.append(1)
        is_it = len(calls) == nth
        if is_it and before:
            die()
        result = function(*arguments, **options)
        if is_it:
            die()
        return result
    return counted

def on_last(write, before=False):
    results = []
    def counted(effects, meant, outcomes):
        results.extend(result for outcome in outcomes for result in outcome.settled)
        if len(results) == len(keys) and before:
            die()
        write(effects, meant, outcomes)
        if len(results) == len(keys):
            die()
    return counted

def on_async(function, nth):
    calls = []
    async def counted(*arguments):
        result = await function(*arguments)
        calls.append(1)
        if len(calls) == nth:
            die()
        return result
    return counted

{moment}
registry = Registry.open(folder / "registry.db")
with skills(folder, in_flight=8) as table:
    skill = table.find("SK-TEST-001", bound)
    call = replace(call_for(keys, key=keys), binding=bound)
    print("ready", flush=True)
    Effects(registry).perform(skill, call, keys, timeout_ms=None)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[System]:
    with running() as system:
        yield system


@pytest.fixture
def system(server: System) -> System:
    server.booked.clear()
    server.delay_s = 0.001
    return server


def start(folder: Path, system: System, kind: str, moment: str = "") -> subprocess.Popen[str]:
    """Start a process that performs all effects of `KEYS`, with something that happens at a moment."""
    system.knows_keys = kind == "idempotent"
    bound = binding(system, **KINDS[kind]).model_dump_json()
    script = SCRIPT.replace("{moment}", moment)
    arguments = [sys.executable, "-c", script, str(folder), kind, bound, ",".join(KEYS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), *filter(None, sys.path)])}
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True, cwd=folder)


def finish(folder: Path, system: System, kind: str) -> pl.DataFrame:
    """Perform all effects in this process, as whoever comes after the killed ones."""
    bound = binding(system, **KINDS[kind])
    registry = Registry.open(folder / "registry.db")
    with skills(folder, in_flight=8) as table:
        skill = table.find("SK-TEST-001", bound)
        assert skill is not None
        done = Effects(registry).perform(skill, replace(call_for(KEYS, key=KEYS), binding=bound), KEYS, timeout_ms=None)
    states = dict(registry.frame(EFFECT).select("effect_key", "state").iter_rows())
    assert sorted(states) == KEYS
    assert "intended" not in states.values()
    assert registry.frame(OPEN_EFFECTS).is_empty()
    registry.close()
    return done


def assert_once(system: System, kind: str, done: pl.DataFrame, *, kills: int) -> None:
    """Check at the other side what happened, and here what is claimed."""
    codes = done["error_code"].to_list()
    assert max(system.booked.values(), default=0) <= 1
    if kind == "plain":
        assert set(codes) <= {None, "EFFECT_UNKNOWN"}
        assert codes.count("EFFECT_UNKNOWN") <= kills * UNSETTLED_GROUP
        assert all(system.booked[key] == 1 for key, code in zip(KEYS, codes, strict=True) if code is None)
    else:
        assert codes == [None] * ROWS
        assert system.booked == Counter(dict.fromkeys(KEYS, 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_named_point_each_effect_happens_once(
    tmp_path: Path, system: System, kind: str, moment: str
) -> None:
    """The one point that nobody thought of would book an invoice twice, or never."""
    process = start(tmp_path, system, kind, MOMENTS[moment])
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    done = finish(tmp_path, system, kind)
    assert_once(system, kind, done, kills=1)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_many_times_at_random_each_effect_happens_once(tmp_path: Path, system: System, kind: str) -> None:
    """Crashes of crashes: what the second one leaves must be as whole as what the first one left."""
    draw, kills = random.Random(f"kill {kind}"), 0
    system.delay_s = 0.01
    for _ in range(5):
        process = start(tmp_path, system, kind)
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            pytest.fail("the process did not come so far as to perform")
        time.sleep(draw.uniform(0, 0.12))
        process.kill()
        process.communicate(timeout=60)
        kills += process.returncode == -signal.SIGKILL
    assert kills > 0
    done = finish(tmp_path, system, kind)
    assert_once(system, kind, done, kills=kills)
