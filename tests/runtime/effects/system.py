"""An outside system on the loopback, in a thread of the test: it books under keys, and misbehaves when asked to."""

import asyncio
import gzip
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from guard.egress import Egress
from guard.redaction import Redactor
from registry.documents import RuntimeBinding
from runtime.connectors.client import HttpClient
from runtime.connectors.http import HttpSkills

KEY = b"0123456789abcdef"
LOOPBACK = Egress.from_policies([{"loopback": True}])


class System:
    """Counts what it booked. `/book` answers at once, `/{how}` as its name says."""

    def __init__(self) -> None:
        self.booked: Counter[str] = Counter()
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = self.most_at_once = 0
        self.connections: set[Any] = set()
        self.sent_bytes = 0
        self.knows_keys = True
        self.delay_s = 0.0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport.get_extra_info("peername") if request.transport else None)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(request)
        finally:
            self.at_once -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        how, key = request.match_info["how"], request.headers.get("Idempotency-Key", "")
        self.headers.append(dict(request.headers))
        if how == "key":
            name = request.match_info["rest"]
            return web.json_response({"booked": name}) if self.booked[name] else web.Response(status=404)
        if request.method == "POST":
            self.received.append(await request.json())
            key = key or self.received[-1].get("key", "")
            if not (self.knows_keys and self.booked[key]):
                self.booked[key] += 1
        await asyncio.sleep(self.delay_s)
        match how:
            case "hang":
                await asyncio.sleep(60)
            case "slow":
                await asyncio.sleep(0.05)
            case "cut":
                assert request.transport is not None
                request.transport.abort()
            case "redirect" | "moved":
                return web.Response(status=307 if how == "redirect" else 302, headers={"Location": request.query["to"]})
            case "large":
                return await self._large(request)
            case "chunked":
                return await self._large(request, is_announced=False)
            case "gzip":
                return web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
            case "says":
                return web.Response(text=request.query["text"], content_type="application/json")
            case "echo":
                return web.json_response({"heard": request.headers.get("Authorization", "")})
            case "answer":
                return web.Response(status=int(request.query["status"]), text='{"reason": "secret reason"}')
        return web.json_response({"booked": key, "person": {"name": "Ada"}, "amount": 12.50})

    async def _large(self, request: web.Request, *, is_announced: bool = True) -> web.StreamResponse:
        size = 100 * 1_048_576
        response = web.StreamResponse(headers={"Content-Length": str(size)} if is_announced else {})
        await response.prepare(request)
        while self.sent_bytes < size:
            await response.write(b" " * 65_536)
            self.sent_bytes += 65_536
        return response


@contextmanager
def running() -> Iterator[System]:
    """Start a system and stop it at the end."""
    system, loop = System(), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{how}", system.handle)
        app.router.add_route("*", "/{how}/{rest:.*}", system.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        system.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield system
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def binding(system: System, path: str = "/book", **http: Any) -> RuntimeBinding:
    """Return a binding of the HTTP adapter; members of `RuntimeBinding` are taken out of `http`."""
    outer = {name: http.pop(name) for name in ("auth", "network", "timeouts_ms") if name in http}
    return RuntimeBinding.model_validate(
        {"adapter": "http", "system": "books", "endpoint": system.url, **outer, "http": {"path": path, **http}},
        strict=False,
    )


@contextmanager
def skills(folder: Path, *, egress: Egress = LOOPBACK, in_flight: int = 200) -> Iterator[HttpSkills]:
    client = HttpClient(in_flight=in_flight)
    try:
        yield HttpSkills(client, egress=lambda: egress, secrets=folder, redactor=lambda: Redactor(KEY))
    finally:
        client.close()
