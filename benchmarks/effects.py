"""`make bench`: HTTP effects of 20 ms through the journal, against the same calls without it in the same run.

The system answers on the loopback from a process of its own. Passes with and without the journal alternate, and the
median of each is told, so that a machine with other work to do slows down both.
"""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from dataclasses import replace
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
            _compare(endpoint, Path(folder), asked.calls, asked.passes, asked.in_flight)
    finally:
        server.terminate()


def _compare(endpoint: str, folder: Path, calls: int, passes: int, in_flight: int) -> None:
    registry, client = Registry.open(folder / "registry.db"), HttpClient(in_flight=in_flight)
    egress = Egress.from_policies([{"loopback": True}])
    table = HttpSkills(client, egress=lambda: egress, secrets=folder, redactor=lambda: Redactor(b"0" * 32))
    binding = RuntimeBinding(adapter="http", endpoint=endpoint, http=HttpBinding(idempotency_header="Idempotency-Key"))
    skill = table.find("SK-BENCH-001", binding)
    assert skill is not None
    bare, journaled = [], []
    for number in range(-1, passes):  # the first pass opens the connections and is not counted
        keys = [f"pass {number}/{row}" for row in range(calls)]
        call = Call(
            {"amount": Column(pl.Series(map(str, range(calls)))), "vendor": Column.repeat("VEND-1", calls)},
            pl.Series(range(calls), dtype=pl.UInt64),
            lambda *path: Column.repeat(None, calls),
            binding,
            skill_id="SK-BENCH-001",
            step_id="T-01",
            episode_ids=keys,
        )
        start = time.perf_counter()
        done = skill.run(replace(call, keys=keys))
        between = time.perf_counter()
        kept = Effects(registry).perform(skill, call, keys, timeout_ms=None)
        end = time.perf_counter()
        failed = pl.concat([done, kept]).drop_nulls("error_code")
        assert failed.is_empty(), failed.group_by("error_code", "error_message").len()
        if number >= 0:
            bare.append(between - start)
            journaled.append(end - between)
    client.close()
    registry.close()
    without, within = median(bare), median(journaled)
    bound = in_flight / DELAY_S
    print(f"{'':38}{'calls/s':>12}{'of the limit':>14}")
    print(f"{f'effects: {in_flight} at {DELAY_S * 1000:.0f} ms (limit)':38}{bound:>12,.0f}")
    print(f"{'effects: HTTP':38}{calls / without:>12,.0f}{calls / without / bound:>14.3f}")
    print(f"{'effects: HTTP, journaled':38}{calls / within:>12,.0f}{calls / within / bound:>14.3f}")
    print(f"{'effects: overhead of the journal':38}{within / without - 1:>12.1%}")


def _serve(pipe: Connection) -> None:
    """Answer every request after `DELAY_S`, on a port of the loopback that is told through `pipe`."""
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
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
