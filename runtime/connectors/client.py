"""The HTTP client: many requests at a time, in an event loop of its own thread, for callers that know no loop.

It says what became of each request and nothing else: no retries, no cookies, no proxy of the environment, no compressed
answers, which could unpack to any size. aiohttp is imported when the first request is made.
"""

import asyncio
import os
import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from guard.egress import Egress, EgressDenied
from runtime.protocol import ErrorCode

if TYPE_CHECKING:
    import aiohttp

IN_FLIGHT = 200
"""Requests that are under way at a time, over all callers."""

CONNECT_S = 10.0
MAX_REDIRECTS = 5
_ORIGIN = re.compile(r"[^:/?#]+://[^/?#\\]*")
_KEEPS_METHOD = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303}) | _KEEPS_METHOD


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        link: private link that is its way out, None for the public one.
        secret_header: header that carries the secret, dropped when a redirect leads to another host.
        is_repeatable: whether it may go over a connection that was used before. Such a one may have been closed
            meanwhile, and then it is not known whether the request was read.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    timeout_s: float
    max_bytes: int
    link: str | None = None
    secret_header: str | None = None
    is_repeatable: bool = True


@dataclass(frozen=True)
class Answer:
    """What became of a request: its body, or why there is none."""

    latency_ms: int
    status: int | None = None
    body: bytes | None = field(default=None, repr=False)
    error: ErrorCode | None = None
    message: str = ""


class HttpClient:
    """Sends requests; an instance may be shared between threads, and is usable in a forked child."""

    def __init__(self, *, in_flight: int = IN_FLIGHT) -> None:
        self._in_flight = in_flight
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._waiting: deque[_Sending] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._sessions: dict[tuple[Egress, str | None, bool], aiohttp.ClientSession] = {}

    def send(self, requests: Sequence[Request], *, egress: Egress) -> list[Answer]:
        """Return what became of each request, in order, when all have ended."""
        if not requests:
            return []
        return asyncio.run_coroutine_threadsafe(self._send_all(requests, egress), self._started()).result()

    def close(self) -> None:
        """Close all connections and end the thread; a closed client starts again when used."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is None or self._pid != os.getpid():
                return
            asyncio.run_coroutine_threadsafe(self._close_sessions(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():  # a thread does not survive a fork
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                self._waiting, self._workers, self._sessions = deque(), set(), {}
                threading.Thread(target=self._loop.run_forever, name="rwcm-http", daemon=True).start()
            return self._loop

    async def _close_sessions(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions = {}

    async def _send_all(self, requests: Sequence[Request], egress: Egress) -> list[Answer]:
        """Let the workers send, as many as may be under way; all callers share them, so that none waits for a turn."""
        sending = _Sending(self, egress, requests)
        self._waiting.append(sending)
        for _ in range(min(self._in_flight - len(self._workers), len(requests))):
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await sending.answers

    async def _work(self) -> None:
        """Send what waits, of each caller one after the other, until nothing does."""
        while self._waiting:
            sending = self._waiting.popleft()
            place = sending.take()
            if sending.has_more:
                self._waiting.append(sending)
            await sending.send(place)

    def session(self, egress: Egress, link: str | None, is_repeatable: bool) -> "aiohttp.ClientSession":
        """Return the session for a way out: a connection of one is never used for another."""
        import aiohttp

        key = (egress, link, is_repeatable)
        if key not in self._sessions:
            checked = _checked(aiohttp.ThreadedResolver(), egress, link)
            connector = aiohttp.TCPConnector(limit=self._in_flight, resolver=checked, force_close=not is_repeatable)
            self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "rwcm"},
            )
        return self._sessions[key]


class _Sending:
    """Requests that are sent together: what holds for many of them is found once."""

    def __init__(self, client: HttpClient, egress: Egress, requests: Sequence[Request]) -> None:
        self.answers: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._answers: list[Answer | None] = [None] * len(requests)
        self._taken = self._ended = 0
        self._client = client
        self._egress = egress
        self._sessions: dict[tuple[str | None, bool], aiohttp.ClientSession] = {}
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._checked: set[tuple[str | None, str]] = set()

    @property
    def has_more(self) -> bool:
        return self._taken < len(self._requests)

    def take(self) -> int:
        """Return the place of the next request, which is the caller's to send."""
        self._taken += 1
        return self._taken - 1

    async def send(self, place: int) -> None:
        try:
            self._answers[place] = await self.answer(self._requests[place])
        except Exception as fault:  # noqa: BLE001 - it is raised where the answers are waited for
            if not self.answers.done():
                self.answers.set_exception(fault)
        self._ended += 1
        if self._ended == len(self._requests) and not self.answers.done():
            self.answers.set_result([answer for answer in self._answers if answer is not None])

    async def answer(self, request: Request) -> Answer:
        start = time.monotonic()
        status, body, error, message = await self._judged(request)
        return Answer(round((time.monotonic() - start) * 1000), status, body, error, message)

    async def _judged(self, request: Request) -> tuple[int | None, bytes | None, ErrorCode | None, str]:
        """Return status, body, code and message of a request: whether it certainly was not read decides the code."""
        import aiohttp

        try:
            status, body = await self._exchange(request)
        except EgressDenied as fault:
            return None, None, ErrorCode.EGRESS_DENIED, str(fault)
        except _TooLarge as fault:
            return None, None, ErrorCode.RESPONSE_TOO_LARGE, str(fault)
        except _Refused as fault:
            return None, None, ErrorCode.REJECTED, str(fault)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
            return None, None, ErrorCode.CONNECTIVITY, f"no connection was made: {type(fault).__name__}"
        except TimeoutError:
            return None, None, ErrorCode.TIMEOUT, f"no answer came within {request.timeout_s:g} s"
        except (aiohttp.InvalidURL, UnicodeError):
            return None, None, ErrorCode.BAD_INPUT, "the arguments make no URL"
        except (aiohttp.ClientError, OSError) as fault:
            return None, None, ErrorCode.REMOTE_FAULT, f"the connection broke off: {type(fault).__name__}"
        return status, body, None, ""

    async def _exchange(self, request: Request) -> tuple[int, bytes]:
        """Return status and body of the answer, at the end of a chain of allowed redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            self._check(request)
            async with self._session(request).request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=self._timeout(request.timeout_s),
                allow_redirects=False,
            ) as response:
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    return response.status, await _bounded(response, request.max_bytes)
                request = _redirected(request, response.status, response.headers["Location"])
                response.close()
        raise _Refused(f"it was redirected more than {MAX_REDIRECTS} times; bind the address that answers")

    def _check(self, request: Request) -> None:
        origin = _ORIGIN.match(request.url)
        place = (request.link, origin[0] if origin else request.url)
        if place not in self._checked:
            self._egress.check_url(place[1], link=request.link)
            self._checked.add(place)

    def _session(self, request: Request) -> "aiohttp.ClientSession":
        key = (request.link, request.is_repeatable)
        if key not in self._sessions:
            self._sessions[key] = self._client.session(self._egress, *key)
        return self._sessions[key]

    def _timeout(self, seconds: float) -> "aiohttp.ClientTimeout":
        import aiohttp

        if seconds not in self._timeouts:
            self._timeouts[seconds] = aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT_S, seconds))
        return self._timeouts[seconds]


class _TooLarge(Exception):
    """An answer of more bytes than are taken."""


class _Refused(Exception):
    """An answer that is none to the request that was made."""


def _redirected(request: Request, status: int, location: str) -> Request:
    """Return the request that a redirect asks for; what has an effect is sent on only as what it is."""
    if status not in _KEEPS_METHOD and request.method != "GET":
        raise _Refused(f"it was redirected with {status}, which would turn {request.method} into GET")
    url = urljoin(request.url, location)
    before, after = urlsplit(request.url), urlsplit(url)
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        dropped = {request.secret_header}
        return replace(request, url=url, headers={n: v for n, v in request.headers.items() if n not in dropped})
    return replace(request, url=url)


async def _bounded(response: "aiohttp.ClientResponse", max_bytes: int) -> bytes:
    """Return the body, which is read no further than one byte beyond what it may have."""
    if response.content_length is None or response.content_length <= max_bytes:
        body = b""
        while len(body) <= max_bytes:
            part = await response.content.read(max_bytes + 1 - len(body))
            if not part:
                return body
            body = body + part if body else part
    response.close()
    raise _TooLarge(f"the answer has more than {max_bytes:,} bytes; let it refer to large content by its uri")


def _checked(resolver: Any, egress: Egress, link: str | None) -> Any:
    """Return a resolver that gives only addresses that may be reached."""
    from aiohttp.abc import AbstractResolver

    class Checked(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            found = await resolver.resolve(host, port, family)
            for address in found:
                egress.check_address(host, address["host"], link=link)
            return found

        async def close(self) -> None:
            await resolver.close()

    return Checked()
