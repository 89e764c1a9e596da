"""Secrets in documents: what is one is found, what only looks long is let through, and none is repeated."""

import base64
import json
import random
import string
import uuid
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from guard.secrets import find_secrets, secret_kind
from registry.loader import PACK

DRAWN = random.Random(20)
BASE62 = string.ascii_letters + string.digits


def drawn(length: int, alphabet: str = BASE62) -> str:
    """Return characters drawn by chance: fake keys are made here, so that no scanner finds one in this file."""
    return "".join(DRAWN.choice(alphabet) for _ in range(length))


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


SECRETS = {
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIE" + drawn(60),
    "private key of PKCS 8": "-----BEGIN " + "PRIVATE KEY-----",
    "private key of OpenSSH": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "age key": "AGE-SECRET-" + "KEY-1" + drawn(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
    "JSON Web Token": f"{encoded({'alg': 'HS256'})}.{encoded({'sub': 'agent-7'})}.{drawn(43)}",
    "AWS id": "AKIA" + drawn(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    "AWS secret": drawn(40, BASE62 + "+/"),
    "GitHub": "ghp_" + drawn(36),
    "GitHub, fine": "github_pat_" + drawn(22) + "_" + drawn(59),
    "GitLab": "glpat-" + drawn(20),
    "Slack": "xoxb-" + drawn(12, string.digits) + "-" + drawn(24),
    "Slack webhook": "https://hooks.slack.com/services/T" + drawn(8) + "/B" + drawn(8) + "/" + drawn(24),
    "Google": "AIza" + drawn(35),
    "Stripe": "sk_live_" + drawn(24),
    "model provider": "sk-ant-api03-" + drawn(40),
    "npm": "npm_" + drawn(36),
    "SendGrid": "SG." + drawn(22) + "." + drawn(43),
    "Vault": "hvs." + drawn(24),
    "Databricks": "dapi" + drawn(32, "0123456789abcdef"),
    "Azure": "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + drawn(86, BASE62 + "+/") + "==",
    "this platform": "rwcm_" + drawn(43),
    "password in a URL": "postgresql://rwcm:" + "hunter2" + "@db.internal:5432/rwcm",
    "password without a user": "redis://:" + "s3same" + "@cache:6379",
    "connection string": "Server=db;User=sa;Pass" + "word=Sommer2024;Encrypt=yes",
    "query": "https://api.example.com/v1?api_" + "key=4f9a1b77",
    "bearer": "Authorization: Bearer " + drawn(32),
    "basic": "Basic " + base64.b64encode(b"sap:welcome1").decode(),
    "hexadecimal": drawn(64, "0123456789abcdef"),
    "base64": drawn(44, BASE62 + "+/") + "=",
}

INNOCENT = [
    *("", "END", "F-02", "WF-LOG-receipt/12", "ap.invoice.received", "handoff.decided"),
    str(uuid.uuid5(uuid.NAMESPACE_URL, "a")),
    f"urn:uuid:{uuid.UUID(int=7)}",
    "pii:" + sha256(b"a").hexdigest()[:32],
    "sha256:" + sha256(b"a").hexdigest(),
    "vault:kv/prod/integrations/sap#token",
    "role/iam/textract-exec",
    "spiffe://example.org/ns/prod/sa/erp-writer",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:Prod/SapToken-a1B2c3",
    "arn:aws:textract:us-east-1:123456789012:adapter/0a1B2c3D4e5F6g7H8i9J",
    "https://sap.company.tld/api",
    "https://user@host.example.com/a:b@c",
    "postgresql://rwcm:${secret.db}@db/rwcm",
    "postgresql://rwcm:***@db/rwcm",
    "${trigger.token}",
    "event.decision == 'approved' && trigger.password != ''",
    "token == 'a1b2c3d4'",
    "Record invoices to GL with compliant PO matching and notifications",
    "Replaces personal data by tokens; the password policy asks for 12 characters",
    "AutomatedInvoiceProcessingWithApprovalAndNotification2024",
    "capture_invoice_validate_po_book_entry_notify_vendor_v2",
    "s3://finance-archive/AP/2024/03/Invoices/Vendor-0445/INV-2024-00017.pdf",
    "yyyy=2024/mm=03/dd=01/part-00000.zstd.parquet",
    "com.sap.conn.jco.ext.DestinationDataProvider",
    "Basic authentication is refused by this endpoint",
    "Bearer authentication",
    "2024-03-01T00:00:00.000000Z/2024-04-01T00:00:00.000000Z",
    "a" * 400,
    "0" * 64,
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_found_wherever_it_stands(name: str) -> None:
    """A secret in a document is in every version, export and screen from then on."""
    secret = SECRETS[name]
    document = {"runtime_binding": {"simulation": {"notes": ["fine", f"{secret}"]}}}
    (found,) = find_secrets(document)
    assert found.path == "/runtime_binding/simulation/notes/1"
    assert secret not in str(found)


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_is_let_through(text: str) -> None:
    """A check that refuses ordinary documents gets switched off."""
    assert secret_kind(text) is None


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ({"password": "hunter2"}, ["/password"]),
        ({"auth": {"client_secret": "correct horse"}}, ["/auth/client_secret"]),
        ({"db_password": "sommer"}, ["/db_password"]),
        ({"apiKey": "abcd"}, ["/apiKey"]),
        ({"token": "abc12345"}, ["/token"]),
        ({"password": "${secret.sap}"}, []),
        ({"password": "vault:kv/sap#password"}, []),
        ({"secret_ref": "env:SAP_TOKEN"}, []),
        ({"password": {"type": "string", "x-pii": True}}, []),
        ({"returns": {"properties": {"access_token": "string"}}}, []),
        ({"password": ""}, []),
        ({"tokens": {"in": 1200, "out": 90}, "token_in": 7, "token": "invoice"}, []),
        ({"secret": None, "password": 7}, []),
        ({"proposal_hash": sha256(b"a").hexdigest(), "digest": sha256(b"b").hexdigest()}, []),
        ({"episode_id": uuid.UUID(int=2**127 + 12345).hex, "event_ids": [sha256(b"c").hexdigest()]}, []),
        ({"note": sha256(b"a").hexdigest()}, ["/note"]),
    ],
)
def test_the_name_of_a_member_counts(document: dict[str, Any], paths: list[str]) -> None:
    """`hunter2` is a password for where it stands, a hash is none for what it is called."""
    assert [found.path for found in find_secrets(document)] == paths


def test_a_secret_that_is_a_name_is_in_no_path() -> None:
    """The message says where to look and must not say what is there."""
    secret = SECRETS["GitHub"]
    found = list(find_secrets({"a": {secret: {"password": "hunter2"}}}))
    assert [item.path for item in found] == ["/a", "/a/.../password"]
    assert secret not in str(found) and "hunter2" not in str(found)


def test_drawn_keys_are_found_and_drawn_words_are_not() -> None:
    """The bounds on chance stand between the two: at least 95 of 100 keys, no text of words."""
    keys = [drawn(length) for length in (24, 32, 40, 64) for _ in range(100)]
    assert sum(secret_kind(key) is not None for key in keys) >= 380
    words = ["Invoice", "vendor", "PO", "match", "2024", "Tolerance", "ledger", "SAP", "R3", "approve", "v2", "EMEA"]
    texts = [separator.join(DRAWN.choices(words, k=9)) for separator in ("-", "_", "/", " ") for _ in range(100)]
    assert [text for text in texts if secret_kind(text)] == []


def test_the_shipped_pack_holds_no_secret() -> None:
    """Neither a real one nor one taken for one."""
    files = sorted(Path(PACK).rglob("*.json"))
    assert len(files) > 20
    assert [(path.name, found) for path in files for found in find_secrets(json.loads(path.read_text()))] == []
