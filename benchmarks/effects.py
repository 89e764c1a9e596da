"""`make bench`: HTTP effects of 20 ms through the journal, against the same calls without it in the same run.

The system answers on the loopback from a process of its own. Passes with and without the journal alternate, and so does
which comes first; the overhead is the median of what each pair says, so that a machine with other work to do slows down
both. It is told of the time on the clock and of the seconds that this process computed. The first is what a user waits
for, and says little where other work takes the cores.
"""

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import polars as pl

from guard.egress import Egress
from guard.redaction import Redactor
from registry.database import Registry
from registry.documents import HttpBinding, RuntimeBinding
from runtime.connectors.client import IN_FLIGHT, HttpClient
from runtime.connectors.http import HttpSkills
from runtime.documents import Column
from runtime.effects.journal import Effects
from runtime.protocol import Call

DELAY_S = 0.020


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.effects", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="calls of a pass (10,000)")
    parser.add_argument("--passes", type=int, default=3, help="passes with and without the journal (3)")
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT, help=f"calls under way at a time ({IN_FLIGHT})")
    asked = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    endpoint = ours.recv()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _compare(endpoint, ours, Path(folder), asked.calls, asked.passes, asked.in_flight)
    finally:
        server.terminate()


def _compare(endpoint: str, server: Connection, folder: Path, calls: int, passes: int, in_flight: int) -> None:
    registry, client = Registry.open(folder / "registry.db"), HttpClient(in_flight=in_flight)
    egress = Egress.from_policies([{"loopback": True}])
    table = HttpSkills(client, egress=lambda: egress, secrets=folder, redactor=lambda: Redactor(b"0" * 32))
    binding = RuntimeBinding(adapter="http", endpoint=endpoint, http=HttpBinding(idempotency_header="Idempotency-Key"))
    skill = table.find("SK-BENCH-001", binding)
    assert skill is not None
    effects = Effects(registry)
    bare: list[_Pass] = []
    journaled: list[_Pass] = []
    for number in range(-1, passes):  # the first pass opens the connections and is not counted
        keys = [f"pass {number}/{row:06}" for row in range(calls)]
        call = Call(
            {"amount": Column(pl.Series(map(str, range(calls)))), "vendor": Column.repeat("VEND-1", calls)},
            pl.Series(range(calls), dtype=pl.UInt64),
            lambda *path: Column.repeat(None, calls),
            binding,
            skill_id="SK-BENCH-001",
            step_id="T-01",
            episode_ids=keys,
        )
        kinds: list[tuple[list[_Pass], Callable[[], pl.DataFrame]]] = [
            (bare, partial(skill.run, replace(call, keys=keys))),
            (journaled, partial(effects.perform, skill, call, keys, timeout_ms=None)),
        ]
        for measured, run in kinds if number % 2 else reversed(kinds):
            one = _Pass.of(run, server)
            if number >= 0:
                measured.append(one)
    client.close()
    registry.close()
    bound = in_flight / DELAY_S
    print(f"{'':34}{'calls/s':>10}{'of the limit':>14}{'us of client':>14}{'us of server':>14}{'cores busy':>12}")
    print(f"{f'effects: {in_flight} at {DELAY_S * 1000:.0f} ms (limit)':34}{bound:>10,.0f}")
    for name, measured in (("HTTP", bare), ("HTTP, journaled", journaled)):
        wall, ours, theirs = (median(getattr(one, kind) for one in measured) for kind in ("wall", "ours", "theirs"))
        line = f"{f'effects: {name}':34}{calls / wall:>10,.0f}{calls / wall / bound:>14.3f}"
        print(f"{line}{ours / calls * 1e6:>14.1f}{theirs / calls * 1e6:>14.1f}{(ours + theirs) / wall:>12.2f}")
    pairs = list(zip(bare, journaled, strict=True))
    clock = median(within.wall / without.wall for without, within in pairs) - 1
    computed = median(within.ours / without.ours for without, within in pairs) - 1
    print(f"{'effects: overhead of the journal':34}{clock:>10.1%}{'':>14}{computed:>14.1%}")
    print(f"{'effects: load of the machine':34}{os.getloadavg()[0]:>10.1f}   of {os.cpu_count()} cores")


@dataclass(frozen=True)
class _Pass:
    """Seconds of one pass: on the clock, computed by this process, computed by the server."""

    wall: float
    ours: float
    theirs: float

    @classmethod
    def of(cls, run: Callable[[], pl.DataFrame], server: Connection) -> "_Pass":
        before = _computed(server)
        wall, ours = time.perf_counter(), time.process_time()
        done = run()
        wall, ours = time.perf_counter() - wall, time.process_time() - ours
        failed = done.drop_nulls("error_code")
        assert failed.is_empty(), failed.group_by("error_code", "error_message").len()
        return cls(wall, ours, _computed(server) - before)


def _computed(server: Connection) -> float:
    """Return the seconds that the server has computed."""
    server.send(None)
    seconds: float = server.recv()
    return seconds


def _serve(pipe: Connection) -> None:
    """Answer every request after `DELAY_S`, on a port of the loopback that is told through `pipe`.

    Whoever writes into the pipe is told how many seconds this process has computed.
    """
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n"
    answer += b'{"record_id":"REC-0001","status":"posted"}'

    class Answering(asyncio.Protocol):
        held = b""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.held += data
            head, end, body = self.held.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if end and len(body) >= length:
                self.held = b""
                asyncio.get_running_loop().call_later(DELAY_S, self.transport.write, answer)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

        def tell() -> None:
            pipe.recv()
            pipe.send(time.process_time())

        asyncio.get_running_loop().add_reader(pipe.fileno(), tell)
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
