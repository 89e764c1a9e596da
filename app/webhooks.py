"""The webhooks' server: signed requests become records in the landing zone, each once.

It answers when the record is durable there, and knows nothing else: validation, redaction and the workflow come after,
as for every other event.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dagster_project.platform import Platform
from guard.canonical import JsonFault, canonical, parse
from guard.identity import name_uuid
from guard.providers import SecretUnavailable, read_secret
from ingest.records import MAX_RECORD_BYTES
from registry.plans import PlannedTrigger, load_active_plans
from runtime.triggers import BadSignature, verify_signature, webhook_producer

log = logging.getLogger("rwcm.webhooks")

_MAX_BODY = MAX_RECORD_BYTES - 4_096
"""Bytes of a body: with its envelope it must fit into a record."""


def build_app(platform: Platform) -> Starlette:
    """Return the server of a home's webhooks: `POST /hooks/{trigger_id}`, `GET /health`."""

    async def receive(request: Request) -> Response:
        trigger_id = request.path_params["trigger_id"]
        try:
            body = await _bounded_body(request)
        except ClientDisconnect:
            return Response(status_code=499)
        if body is None:
            return _answer(413, "too_large", f"a body may have {_MAX_BODY:,} bytes; refer to large content by its uri")
        return await run_in_threadpool(_receive, platform, trigger_id, dict(request.headers), body)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/hooks/{trigger_id:path}", receive, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ]
    )


async def _bounded_body(request: Request) -> bytes | None:
    """Return the body, None where it is longer than it may be; no more than that is held."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MAX_BODY:
            return None
        parts.append(part)
    return b"".join(parts)


def _receive(platform: Platform, trigger_id: str, headers: Mapping[str, str], body: bytes) -> Response:
    trigger = _webhook(platform, trigger_id)
    now = datetime.now(UTC)
    try:
        # An unknown hook answers as a wrong signature does: who may not ask learns nothing.
        if trigger is None or trigger.secret_ref is None:
            raise BadSignature("no signature of the request is right")
        sent_at = verify_signature(
            read_secret(trigger.secret_ref, folder=platform.home.redaction_key.parent),
            message_id=headers.get("webhook-id", ""),
            timestamp=headers.get("webhook-timestamp", ""),
            signatures=headers.get("webhook-signature", ""),
            body=body,
            now=now,
        )
    except BadSignature as fault:
        return _answer(401, "bad_signature", str(fault))
    except SecretUnavailable as fault:
        log.error("webhook %s: %s", trigger_id, fault)
        return _answer(503, "not_set_up", "the receiver cannot check signatures now; send it again later")
    try:
        payload = parse(body)
    except JsonFault as fault:
        return _answer(400, fault.rule, str(fault))
    if not isinstance(payload, dict):
        return _answer(400, "not_object", "the body is the payload, a JSON object")
    event_id = name_uuid("webhook", trigger_id, headers["webhook-id"])
    record = {
        "event_id": event_id,
        "topic": trigger.topic,
        "produced_at": sent_at.isoformat(),
        "producer_id": webhook_producer(trigger_id),
        "payload": payload,
    }
    try:
        platform.landing.put(f"webhook-{event_id}.ndjson", canonical(record).encode() + b"\n")
    except ValueError:
        return _answer(409, "id_conflict", "another body came with this webhook-id; a new message needs its own")
    return JSONResponse({"event_id": event_id}, status_code=202)


def _webhook(platform: Platform, trigger_id: str) -> PlannedTrigger | None:
    """Return the trigger of an active workflow that a request names."""
    for plan in load_active_plans(platform.registry):
        for trigger in plan.triggers:
            if trigger.trigger_id == trigger_id and trigger.trigger_type == "webhook":
                return trigger
    return None


def _answer(status: int, code: str, message: str) -> Response:
    return Response(json.dumps({"error": code, "message": message}), status, media_type="application/json")
