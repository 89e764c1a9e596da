"""Client types: built, installed and used as a consumer would."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import fastavro
import jsonschema_rs
import pytest

from registry.clients import generate_clients
from registry.clients.avro import NotTranslated, to_avro
from registry.database import Registry

INVOICE = {"invoice_uri": "sim://1", "vendor_id": "V-1", "po_id": "PO-1", "received_at": "2025-03-03T09:00:00Z"}


def test_the_wheel_is_installed_and_validates_an_event(loaded: Registry, tmp_path: Path) -> None:
    """A package that cannot be installed, or takes what the topic refuses, is worse than none."""
    made = generate_clients(loaded, tmp_path / "made")
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--disable-pip-version-check", "-q"]
    subprocess.run([*install, "--target", str(target), str(made.wheel)], check=True, timeout=120)
    program = f"""
import json, sys
sys.path.insert(0, {str(target)!r})
from pydantic import ValidationError
import rwcm_events
model = rwcm_events.MODELS["ap.invoice.received", rwcm_events.LATEST["ap.invoice.received"]]
event = json.loads(sys.stdin.read())
print(model(**event).vendor_id, model.__module__, rwcm_events.__version__)
for wrong in ({{**event, "extra": 1}}, {{**event, "vendor_id": ""}}, {{"vendor_id": "V"}}):
    try:
        model(**wrong)
    except ValidationError as error:
        print(error.error_count())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(INVOICE),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, *refused = done.stdout.splitlines()
    assert first == f"V-1 rwcm_events.ap_invoice_received_v1 {made.version}"
    assert refused == ["1", "1", "3"]


def test_the_same_registry_gives_the_same_bytes(loaded: Registry, tmp_path: Path) -> None:
    """A package repository refuses another file under the same version."""
    one, two = generate_clients(loaded, tmp_path / "one"), generate_clients(loaded, tmp_path / "two")
    assert one.version == two.version
    assert one.wheel.read_bytes() == two.wheel.read_bytes()
    with zipfile.ZipFile(one.wheel) as archive:
        assert archive.testzip() is None
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_openapi_document_describes_the_topics(loaded: Registry, tmp_path: Path) -> None:
    """Its schemas are the registry's: an event that is valid there is valid here."""
    generate_clients(loaded, tmp_path)
    document = json.loads((tmp_path / "rwcm_events/openapi.json").read_text())
    assert document["openapi"] == "3.1.0"
    body = document["webhooks"]["ap.invoice.received"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ap.invoice.received.v1"}
    whole: dict[str, Any] = {"components": document["components"], **body}
    validator = jsonschema_rs.validator_for(whole, validate_formats=True)
    assert validator.is_valid(INVOICE)
    assert not validator.is_valid({**INVOICE, "extra": 1})


def test_avro_schemas_carry_the_events(loaded: Registry, tmp_path: Path) -> None:
    """What is written and read again is the event that it was."""
    made = generate_clients(loaded, tmp_path)
    schema = fastavro.parse_schema(json.loads((tmp_path / "rwcm_events/avro/ap_invoice_received_v1.avsc").read_text()))
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, INVOICE)
    stream.seek(0)
    assert fastavro.schemaless_reader(stream, schema, None) == {**INVOICE, "sender": None}
    assert "open" in made.untranslated["policy.updated version 1"]


def test_avro_keeps_structure_and_names_what_it_does_not_check() -> None:
    """A constraint that is silently gone is found by the first consumer that relied on it."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "tags"],
        "properties": {
            "id": {"type": "integer", "minimum": 0, "maximum": 10},
            "count": {"type": "integer"},
            "tags": {"type": "array", "items": {"enum": ["A", "B"]}},
            "prices": {"type": "object", "additionalProperties": {"$ref": "#/$defs/price"}},
        },
        "$defs": {"price": {"type": ["number", "null"]}},
    }
    made = to_avro(schema, name="Order", namespace="shop")
    assert made.schema == {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "count", "type": ["null", "long"], "default": None},
            {
                "name": "tags",
                "type": {"type": "array", "items": {"type": "enum", "name": "Order_tags_item", "symbols": ["A", "B"]}},
            },
            {"name": "prices", "type": ["null", {"type": "map", "values": ["double", "null"]}], "default": None},
        ],
    }
    assert made.unchecked == ("/properties/count/type", "/properties/id/maximum", "/properties/id/minimum")


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ({}, "/properties/x"),
        ({"type": "object"}, "/properties/x"),
        ({"anyOf": [{"type": "string"}]}, "/properties/x/anyOf"),
        ({"type": ["string", "null"]}, "/properties/x"),
        ({"enum": [1, 2]}, "/properties/x/enum"),
        ({"type": "array"}, "/properties/x/items"),
    ],
)
def test_what_avro_cannot_say_is_told_with_its_place(member: Any, path: str) -> None:
    """A lossy translation would be trusted."""
    schema = {"type": "object", "properties": {"x": member}, "additionalProperties": False}
    with pytest.raises(NotTranslated) as refused:
        to_avro(schema, name="T", namespace="n")
    assert refused.value.path == path
