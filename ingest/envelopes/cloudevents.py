"""CloudEvents 1.0 in structured JSON: what an event says of itself becomes the members of a native record."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from guard.identity import name_uuid
from ingest.decoding import Fields

MARK = "specversion"
"""The attribute that every CloudEvent has and no native record."""

_JSON_TYPE = re.compile(r"[^/\s]+/([^/\s;]+\+)?json\s*(;.*)?", re.IGNORECASE | re.ASCII)


class _Data(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"{}")


class NoNativeForm(ValueError):
    """A CloudEvent that is no record: the attribute and what it should be."""

    def __init__(self, attribute: str, message: str) -> None:
        super().__init__(message)
        self.attribute = attribute


_data = msgspec.json.Decoder(_Data).decode


def native(event: Mapping[str, Any], raw: bytes) -> Fields:
    """Return the native record that a CloudEvent is, its data verbatim.

    Ids of CloudEvents are unique per source only, so the event's id is a UUID of both. A `dataschema` that ends in the
    type and a number names the version of the schema.

    Args:
        event: the event as `guard.canonical.parse` read it, so no attribute stands twice.

    Raises:
        NoNativeForm: an attribute is absent or cannot be taken over.
    """
    if event[MARK] != "1.0":
        raise NoNativeForm(MARK, "only version 1.0 of CloudEvents is understood")
    for attribute in ("id", "source", "type", "time"):
        if not isinstance(event.get(attribute), str) or not event[attribute]:
            raise NoNativeForm(attribute, f"a CloudEvent needs its {attribute} here, as text")
    if "data_base64" in event:
        raise NoNativeForm("data_base64", "data must be JSON, in the attribute data")
    content_type = event.get("datacontenttype", "application/json")
    if not isinstance(content_type, str) or not _JSON_TYPE.fullmatch(content_type):
        raise NoNativeForm("datacontenttype", "data must be JSON")
    if not isinstance(event.get("data", {}), dict):
        raise NoNativeForm("data", "data must be an object")
    named = re.search(rf"(?:^|[/:]){re.escape(event['type'])}/([0-9]{{1,9}})\Z", str(event.get("dataschema", "")))
    return Fields(
        event_id=name_uuid("cloudevent", event["source"], event["id"]),
        topic=event["type"],
        payload=_data(raw).data,
        produced_at=event["time"],
        producer_id=event["source"],
        schema_version=int(named[1]) if named else None,
    )
