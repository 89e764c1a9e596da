"""Webhooks over a real socket: a signed request becomes an event that starts its workflow, and nothing else does."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
import uvicorn

from app.webhooks import build_app
from dagster_project.platform import Platform
from ingest.events import ingest_landing
from lake.home import Home
from lake.tables import EVENT_BUS, LOGS, OBJECT_VERSION, RUN_EPISODE, TRIGGER_DEF
from registry.database import SPECS, insert
from registry.documents import Workflow, read_document
from registry.loader import PACK, load_pack
from registry.objects import rows_of, version_row
from runtime.execution import execute_pending
from runtime.triggers import sign

SECRET = b"a secret of thirty-two characters"
NOW = datetime.now(UTC)
PAYLOAD = {
    "invoice_uri": "sim://none",
    "vendor_id": "V-1",
    "po_id": "PO-1",
    "received_at": "2025-03-01T09:30:00Z",
}


class Receiver:
    """A home with a webhook, and its server on loopback."""

    def __init__(self, home: Home) -> None:
        self.platform = Platform(home)
        load_pack(self.platform.registry, PACK, actor="bootstrap", now=NOW)
        self.platform.lake.ensure(LOGS)
        secret = self.platform.home.redaction_key.with_name("hook")
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        self._add_workflow()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = uvicorn.Config(build_app(self.platform), host="127.0.0.1", port=self.port, log_level="error")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def _add_workflow(self) -> None:
        document = json.loads((PACK / "workflows/WF-FIN-001.json").read_text())
        document |= {"workflow_id": "WF-HOOK", "workflow_name": "Hooked"}
        for step in document["steps"]:
            step["step_id"] = f"H-{step['step_id']}"
            step["next_step_logic"] = {"goto": "END"}
        selector = {"topic": "ap.invoice.received", "auth": {"secret_ref": "file:hook"}}
        document["triggers"] = [{"trigger_id": "TR-HOOK", "trigger_type": "webhook", "selector": selector}]
        received = read_document(Workflow, json.dumps(document), name="WF-HOOK")
        rows = list(rows_of(received, actor="t", now=NOW))
        with self.platform.registry.transaction() as connection:
            for spec in SPECS:
                insert(connection, spec, [row for its, _, row in rows if its is spec])
            insert(connection, OBJECT_VERSION, [version_row(received, reason="t", source="t", actor="t", now=NOW)])

    def post(
        self,
        body: bytes,
        *,
        message_id: str = "msg-1",
        secret: bytes = SECRET,
        hook: str = "TR-HOOK",
        at: int | None = None,
        signed: bytes | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send a request; return status and answer."""
        timestamp = int(time.time()) if at is None else at
        signature = sign(secret, message_id=message_id, timestamp=timestamp, body=body if signed is None else signed)
        headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/hooks/{hook}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())

    def waiting(self) -> int:
        return self.platform.landing.backlog().files

    def ingest(self) -> tuple[int, int, int]:
        platform = self.platform
        done = ingest_landing(
            platform.landing,
            registry=platform.registry,
            lake=platform.lake,
            door=platform.door,
            now=platform.now(),
        ).records
        return done.accepted, done.rejected, done.duplicates

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.platform.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    receiver = Receiver(Home(tmp_path_factory.mktemp("hooks") / "home"))
    yield receiver
    receiver.close()


@pytest.fixture
def receiver(home: Receiver) -> Receiver:
    for path in home.platform.landing.inbox.glob("*"):
        path.unlink()
    return home


BODY = json.dumps(PAYLOAD).encode()


def test_a_signed_request_becomes_one_event_that_starts_its_workflow_alone(receiver: Receiver) -> None:
    """A sender that repeats itself, as senders do, would pay an invoice twice; or another workflow would take it."""
    at = int(time.time())
    status, answer = receiver.post(BODY, at=at)
    assert status == 202
    assert receiver.post(BODY, at=at) == (202, answer)
    assert receiver.ingest() == (1, 0, 0)
    assert receiver.post(BODY, at=at) == (202, answer)
    assert receiver.ingest() == (0, 0, 1)
    (event,) = receiver.platform.lake.scan(EVENT_BUS).filter(event_id=answer["event_id"]).collect().to_dicts()
    assert event["producer_id"] == "webhook:TR-HOOK"
    execute_pending(
        receiver.platform.lake, receiver.platform.registry, skills=receiver.platform.skills, now=datetime.now(UTC)
    )
    started = receiver.platform.lake.scan(RUN_EPISODE).filter(pl.col("workflow_id") == "WF-HOOK").collect()
    assert started["trigger_event_id"].to_list() == [answer["event_id"]]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"secret": b"another secret"}, 401, "bad_signature"),
        ({"signed": b"{}"}, 401, "bad_signature"),
        ({"at": 1_600_000_000}, 401, "bad_signature"),
        ({"hook": "TR-NONE"}, 401, "bad_signature"),
        ({"hook": "TR-FIN-001"}, 401, "bad_signature"),
        ({"hook": "../../etc/passwd"}, 401, "bad_signature"),
    ],
)
def test_who_does_not_prove_themselves_leaves_nothing(
    receiver: Receiver, changes: dict[str, Any], status: int, code: str
) -> None:
    """Anybody on the network could start a workflow, or learn which hooks there are."""
    found = receiver.post(BODY, **changes)
    assert (found[0], found[1]["error"]) == (status, code)
    assert receiver.waiting() == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"[1]", "not_object"),
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":NaN}', "bad_number"),
        (b'{"a":"\\u0000"}', "bad_text"),
        (b'{"a":' * 5_000, "too_deep"),
    ],
)
def test_a_body_that_is_no_payload_is_refused_at_once(receiver: Receiver, body: bytes, code: str) -> None:
    """The sender, who could mend it, would get a yes."""
    status, answer = receiver.post(body)
    assert (status, answer["error"]) == (400, code)
    assert receiver.waiting() == 0


def test_a_body_beyond_the_limit_is_refused_without_being_held(receiver: Receiver) -> None:
    """Memory would be bounded by the sender."""
    assert receiver.post(b" " * (1 << 21))[0] == 413
    assert receiver.waiting() == 0


def test_another_body_under_the_same_id_is_a_conflict(receiver: Receiver) -> None:
    """The first message would be overwritten while it waits."""
    at = int(time.time())
    assert receiver.post(BODY, message_id="msg-2", at=at)[0] == 202
    assert receiver.post(b'{"a": 1}', message_id="msg-2", at=at)[0] == 409
    assert receiver.ingest() == (1, 0, 0)


def test_a_secret_that_others_can_read_is_not_used(receiver: Receiver) -> None:
    """A secret that leaked would go on opening the door, and nobody would be told."""
    secret = receiver.platform.home.redaction_key.with_name("hook")
    secret.chmod(0o644)
    try:
        assert receiver.post(BODY, message_id="msg-3")[0] == 503
    finally:
        secret.chmod(0o600)
    assert receiver.waiting() == 0


def test_the_registry_holds_the_reference_and_not_the_secret(receiver: Receiver) -> None:
    """Whoever reads a dump of the registry could sign."""
    stored = receiver.platform.registry.frame(TRIGGER_DEF).filter(trigger_id="TR-HOOK")["selector"][0]
    assert "file:hook" in stored
    assert SECRET.decode() not in stored
