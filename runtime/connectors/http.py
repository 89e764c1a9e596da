"""The HTTP adapter: a skill whose binding says with which requests another system does what it promises.

What may be reached is the security policies' to say, a secret is read at the call, and what comes back is checked,
bounded and redacted before anybody records it. A message names codes and sizes, never what was sent or answered.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl

from guard.canonical import JsonFault, parse
from guard.egress import Egress, EgressDenied, private_link
from guard.providers import SecretUnavailable, read_secret
from guard.redaction import Redactor
from registry.database import Registry
from registry.documents import HttpBinding, RuntimeBinding, SecretRef
from registry.permissions import security_rules
from runtime.connectors.client import Answer, HttpClient, Request
from runtime.documents import encode
from runtime.protocol import RESULT_SCHEMA, Call, ErrorCode, Skill

ADAPTER = "http"
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_STATUS: Mapping[int, tuple[ErrorCode, str]] = {
    400: (ErrorCode.BAD_INPUT, "the request does not fit its interface"),
    401: (ErrorCode.AUTH, "the secret was not accepted; renew it where it is kept"),
    403: (ErrorCode.AUTH, "the secret does not permit this; widen what it may, or bind another"),
    404: (ErrorCode.NOT_FOUND, "there is nothing under this address"),
    408: (ErrorCode.RATE_LIMITED, "the request was not read in time"),
    409: (ErrorCode.DUPLICATE, "it stands in conflict with what is there"),
    422: (ErrorCode.BAD_INPUT, "the values of the request were refused"),
    429: (ErrorCode.RATE_LIMITED, "too many requests were made"),
    503: (ErrorCode.RATE_LIMITED, "the system takes no requests now"),
}

LoadEgress = Callable[[], Egress]
_encode = msgspec.json.Encoder(decimal_format="number").encode


def egress_in_force(registry: Registry, *, now: datetime) -> Egress:
    """Return what the security policies that hold at `now` let reach.

    Raises:
        EgressDenied: one of them states no such rule, so that nothing may leave.
    """
    with registry.read() as connection:
        stated = security_rules(connection, "egress", now=now)
    try:
        return Egress.from_policies(stated)
    except (ValueError, AttributeError, TypeError):
        raise EgressDenied("a security policy in force has no readable egress; publish it corrected") from None


class HttpSkills:
    """The HTTP adapters of one home.

    Args:
        egress: tells what may be reached now.
        secrets: folder of `file:` secrets.
        redactor: replaces what the binding's schema marks as personal.
    """

    def __init__(
        self, client: HttpClient, *, egress: LoadEgress, secrets: Path, redactor: Callable[[], Redactor]
    ) -> None:
        self.client = client
        self.egress = egress
        self.secrets = secrets
        self.redactor = redactor

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        """Return the adapter of a binding that names it and says how it asks, else None."""
        if binding.adapter != ADAPTER or binding.http is None or binding.endpoint is None:
            return None
        kind = HttpSkill if binding.http.look_up is None else AskingHttpSkill
        return kind(self, binding, binding.http)


class HttpSkill:
    """What a binding says, done by HTTP."""

    is_pure = False

    def __init__(self, skills: HttpSkills, binding: RuntimeBinding, http: HttpBinding) -> None:
        self._skills = skills
        self._binding = binding
        self._http = http
        self.is_idempotent = http.idempotency_header is not None or http.method == "GET"

    def run(self, call: Call) -> pl.DataFrame:
        """Return the answers to one request per row; the calls are made side by side."""
        try:
            way = _Way.of(self._skills, self._binding)
        except EgressDenied as fault:
            return self._frame([_failed(ErrorCode.EGRESS_DENIED, str(fault))] * call.rows)
        except SecretUnavailable as fault:
            return self._frame([_failed(ErrorCode.SECRET_UNAVAILABLE, str(fault))] * call.rows)
        http, timeout_ms = self._http, min(call.timeout_ms or self._binding.timeouts_ms, self._binding.timeouts_ms)
        bodies = self._bodies(call) if http.method not in ("GET", "DELETE") else [None] * call.rows
        requests: list[Request | None] = []
        for row in range(call.rows):
            path = _filled(http.path, {name: values[row] for name, values in call.arguments.items()})
            headers = {http.idempotency_header: call.keys[row]} if http.idempotency_header and call.keys else {}
            requests.append(
                None if path is None else self._request(http.method, path, way, headers, bodies[row], timeout_ms)
            )
        answers = iter(self._skills.client.send([request for request in requests if request], egress=way.egress))
        redact = self._redact()
        return self._frame(
            [
                self._result(next(answers), way, redact)
                if request
                else _failed(ErrorCode.BAD_INPUT, f"an argument of the path {http.path} is missing or no plain value")
                for request in requests
            ]
        )

    def _bodies(self, call: Call) -> Sequence[bytes | None]:
        """Return a JSON object per row: all arguments, or what `body` names."""
        if self._http.body is None:
            columns = dict(call.arguments)
        else:
            columns = {
                member: call.arguments[name] if name in call.arguments else call.known(*name.split("."))
                for member, name in self._http.body.items()
            }
        names = list(columns)
        return [_encode(dict(zip(names, values, strict=True))) for values in zip(*columns.values(), strict=True)] or [
            b"{}"
        ] * call.rows

    def _request(
        self, method: str, path: str, way: "_Way", headers: Mapping[str, str], body: bytes | None, timeout_ms: int
    ) -> Request:
        http = self._http
        sent = {**headers, **({"Content-Type": "application/json"} if body is not None else {})}
        if way.secret is not None:
            scheme = "Bearer " if http.auth_header.lower() == "authorization" else ""
            sent[http.auth_header] = scheme + way.secret
        return Request(
            method,
            (self._binding.endpoint or "").rstrip("/") + path,
            sent,
            body,
            timeout_ms / 1000,
            http.max_bytes,
            link=way.link,
            secret_header=http.auth_header if way.secret is not None else None,
            is_repeatable=self.is_idempotent,
        )

    def _redact(self) -> Callable[[Any], Any] | None:
        schema = self._http.answer
        return None if schema is None else self._skills.redactor().for_schema(schema)

    def _result(self, answer: Answer, way: "_Way", redact: Callable[[Any], Any] | None) -> dict[str, Any]:
        """Return what a row gets for an answer."""
        if answer.error is not None:
            return _failed(answer.error, answer.message, answer.latency_ms)
        assert answer.status is not None
        if not 200 <= answer.status < 300:
            code, message = self._refusal(answer.status)
            return _failed(code, f"answered {answer.status}: {message}", answer.latency_ms)
        try:
            output = _output(answer.body or b"{}", way.secret, self._http.output, redact)
        except _Unfit as fault:
            return _failed(ErrorCode.SCHEMA_MISMATCH, str(fault), answer.latency_ms)
        return {"output": output, "latency_ms": answer.latency_ms}

    def _refusal(self, status: int) -> tuple[ErrorCode, str]:
        if status == 409 and self._http.idempotency_header is not None:
            return ErrorCode.REMOTE_FAULT, "the same key is under way there"
        if status in _STATUS:
            return _STATUS[status]
        if 400 <= status < 500:
            return ErrorCode.REJECTED, "the request was refused"
        return ErrorCode.REMOTE_FAULT, "the system failed at it"

    def _frame(self, results: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        rows = [
            (
                result.get("output"),
                result.get("error_code"),
                result.get("error_message"),
                result["latency_ms"],
                None,
                None,
                None,
                None,
                self._binding.system,
            )
            for result in results
        ]
        return pl.DataFrame(rows, schema=RESULT_SCHEMA, orient="row")


class AskingHttpSkill(HttpSkill):
    """One whose other side tells what came of a key."""

    def look_up(self, keys: Sequence[str], binding: RuntimeBinding) -> Mapping[str, str]:
        """Return the outputs of those keys that the other side knows.

        Raises:
            LookupFailed: it did not say for each of them.
        """
        path, way = self._http.look_up or "", _Way.of(self._skills, self._binding)
        requests = [
            self._request("GET", path.replace("{key}", quote(key, safe="")), way, {}, None, self._binding.timeouts_ms)
            for key in keys
        ]
        redact, found = self._redact(), {}
        for key, answer in zip(keys, self._skills.client.send(requests, egress=way.egress), strict=True):
            if answer.status == 404:
                continue
            result = self._result(answer, way, redact)
            if "error_code" in result:
                raise LookupFailed(result["error_message"])
            found[key] = result["output"]
        return found


class LookupFailed(ConnectionError):
    """The other side did not say what came of its keys."""


class _Unfit(ValueError):
    """An answer that cannot be recorded."""


@dataclass(frozen=True)
class _Way:
    """How a binding's requests leave now: what may be reached, by which link, with which secret."""

    egress: Egress
    link: str | None
    secret: str | None

    @classmethod
    def of(cls, skills: HttpSkills, binding: RuntimeBinding) -> "_Way":
        egress, link = skills.egress(), private_link(binding.network)
        egress.check_url(binding.endpoint or "", link=link)  # before a secret is read for it
        if binding.auth is None:
            return cls(egress, link, None)
        if not isinstance(binding.auth, SecretRef):
            raise SecretUnavailable(binding.auth, "the http adapter sends what a secret_ref names; bind one")
        reference = binding.auth.secret_ref
        secret = read_secret(reference, folder=skills.secrets).decode("ascii", "replace")
        if not secret.isprintable() or not secret.isascii():
            raise SecretUnavailable(reference, "it does not fit into a header; keep one line of plain characters")
        return cls(egress, link, secret)


def _output(
    body: bytes, secret: str | None, wanted: Mapping[str, str] | None, redact: Callable[[Any], Any] | None
) -> str:
    """Return an answer as what is recorded of it.

    Raises:
        _Unfit: it is no JSON object, lacks a member, or says the secret.
    """
    try:
        value = parse(body)
    except JsonFault as fault:
        raise _Unfit(f"the answer is no JSON that can be kept: {fault.rule}") from None
    if not isinstance(value, dict):
        raise _Unfit("the answer is JSON, but no object")
    if secret is not None and secret in encode(value):
        raise _Unfit("the answer repeats the secret; it is not recorded")
    if wanted is not None:
        value = {member: _member(value, path) for member, path in wanted.items()}
    elif redact is None:
        return body.decode()
    return encode(redact(value) if redact else value)


def _member(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise _Unfit(f"the answer has no {path}")
        value = value[name]
    return value


def _filled(path: str, arguments: Mapping[str, Any]) -> str | None:
    """Return the path with its arguments, None where one is missing, empty or no plain value."""

    def fill(hole: re.Match[str]) -> str:
        value = arguments.get(hole[1])
        if isinstance(value, bool) or not isinstance(value, str | int) or value in ("", ".", ".."):
            raise LookupError
        return quote(f"{value}", safe="")

    try:
        return _HOLE.sub(fill, path)
    except LookupError:
        return None


def _failed(code: ErrorCode, message: str, latency_ms: int = 0) -> dict[str, Any]:
    return {"error_code": code.value, "error_message": message, "latency_ms": latency_ms}
