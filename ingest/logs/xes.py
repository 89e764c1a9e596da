"""Reads XES (IEEE 1849): traces stream by, and an event's elements are gone once it is read.

`huge_tree` stays off: the file may still be of any size (2 GB were read), but one value is limited to 10 MB
and nesting to 256 levels. Reading stops at more, as it does where a file is cut.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Any, NamedTuple

import msgspec
from lxml import etree

from ingest.logs.model import Case, Event, LogFile, LogReject, Record, Rule, UnreadableLog, utc_micros

_NAME = "concept:name"
_TIME = "time:timestamp"
_LIFECYCLE = "lifecycle:transition"
_RESOURCE = "org:resource"
_ROLES = frozenset({_NAME, _TIME, _LIFECYCLE, _RESOURCE})

_SAFELY = {
    "resolve_entities": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}

_INTEGER = re.compile(r"(?:\+|(-)?)0*(\d+)", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_Roles = dict[str, tuple[str, str]]
_json = msgspec.json.Encoder().encode


class _Draft(NamedTuple):
    """An event that is read, but whose case may not be known yet; `roles` holds kind and text per key."""

    position: int
    line: int
    path: str
    attributes: str
    roles: _Roles

    def judged(self, case_id: str, zone: tzinfo) -> Event | LogReject:
        """Return the event, or the first rule it breaks."""
        activity, (kind, time) = self._text(_NAME) or "", self.roles.get(_TIME, ("", None))
        if not case_id.strip():
            return self._reject("no_case_id", "", "it belongs to no trace, or to one whose name is empty")
        if not activity.strip():
            return self._reject("no_activity", "", f"it has no {_NAME}, or an empty one")
        try:
            occurred_at = None if time is None else utc_micros(time, zone)
        except ValueError as fault:
            return self._reject("bad_time", f"/{kind}[@key='{_TIME}']", str(fault))
        return Event(
            self.position,
            case_id,
            activity,
            self._text(_LIFECYCLE),
            self._text(_RESOURCE),
            occurred_at,
            self.attributes,
        )

    def _text(self, key: str) -> str | None:
        return self.roles[key][1] if key in self.roles else None

    def _reject(self, rule: Rule, step: str, message: str) -> LogReject:
        return LogReject(self.position, self.line, rule, self.path + step, message)


class _Trace:
    """The trace that is streaming by: its attributes so far, and its events until its name is known."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.case_id: str | None = None
        self._attributes: list[etree._Element] = []
        self.events = 0
        self._waiting: list[_Draft] = []

    def learn(self, elements: Iterable[etree._Element]) -> None:
        """Take in attributes of the trace; events among the elements are passed over."""
        for element in elements:
            if _kind(element) != "event":
                self._attributes.append(element)
                if self.case_id is None and element.get("key") == _NAME:
                    self.case_id = element.get("value", "")

    def add(self, position: int, event: etree._Element, zone: tzinfo) -> list[Event | LogReject]:
        """Return the events that can be judged now that this one is read."""
        self.events += 1
        path = f"/log/trace[{self.number}]/event[{self.events}]"
        self._waiting.append(_draft(position, event, path))
        return [] if self.case_id is None else self._judged(self.case_id, zone)

    def close(self, zone: tzinfo) -> list[Record]:
        """Return the events that still wait, and the case."""
        case_id = f"#{self.number}" if self.case_id is None else self.case_id
        case = [Case(case_id, _json(_values(self._attributes)).decode())] if case_id.strip() else []
        return [*self._judged(case_id, zone), *case]

    def _judged(self, case_id: str, zone: tzinfo) -> list[Event | LogReject]:
        judged = [draft.judged(case_id, zone) for draft in self._waiting]
        self._waiting.clear()
        return judged


def records(log: LogFile, zone: tzinfo) -> Iterator[Record]:
    """Yield the events in file order, and each trace's case where the trace ends.

    A trace's first `concept:name` is the case; a trace without one is `#` and its number in the file. As a
    name may come after the events, those of a trace without a name are held until it ends.

    Raises:
        UnreadableLog: not XML, not XES, or with a DOCTYPE.
    """
    _require_xes(log)
    trace, position, strays = _Trace(1), 0, 0
    fault: etree.XMLSyntaxError | None = None
    try:
        for _, element in etree.iterparse(
            log, events=("end",), tag=("{*}event", "{*}trace"), collect_ids=False, **_SAFELY
        ):
            before = _detached_before(element)
            if _kind(element) == "trace":
                trace.learn(element)
                yield from trace.close(zone)
                trace = _Trace(trace.number + 1)
            elif (home := _kind(element.getparent())) == "trace":
                trace.learn(before)
                yield from trace.add(position, element, zone)
                position += 1
            elif home == "log":
                strays += 1
                yield _draft(position, element, f"/log/event[{strays}]").judged("", zone)
                position += 1
            else:
                raise UnreadableLog(log.path, f"its events lie in <{home}> and not in traces; is it OCEL?")
    except etree.XMLSyntaxError as error:
        fault = error
    if trace.events:
        yield from trace.close(zone)
    if fault or log.cut:
        yield _stop(position, log.cut, fault)


def _stop(position: int, cut: str | None, fault: etree.XMLSyntaxError | None) -> LogReject:
    is_encoding = fault is not None and not cut and fault.code == etree.ErrorTypes.ERR_INVALID_ENCODING
    why = cut or (fault.msg if fault else "")
    return LogReject(
        position,
        fault.lineno if fault else None,
        "not_utf8" if is_encoding else "truncated",
        "/log",
        f"nothing was read from here on: {why}",
    )


def _require_xes(log: LogFile) -> None:
    """Refuse what is no XES before any of it is read, as nothing else bounds the memory other XML takes."""
    probe = etree.XMLPullParser(events=("start",), **_SAFELY)
    reason = "it has no element in its first 64 KiB"
    try:
        probe.feed(log.head)
    except etree.XMLSyntaxError as fault:
        reason = f"it is no XML ({fault.msg})"
    _, root = next(probe.read_events(), (None, None))
    if root is None:
        raise UnreadableLog(log.path, f"{reason}; export it again as XES or CSV")
    if _kind(root) != "log":
        raise UnreadableLog(log.path, f"its root is <{_kind(root)}>, that of XES is <log>; export it as XES")
    if root.getroottree().docinfo.internalDTD is not None:
        raise UnreadableLog(log.path, "it has a DOCTYPE, the door of entity bombs; remove it, XES needs none")


def _kind(element: etree._Element) -> str:
    """Return the element's name without the namespace, which logs have or have not."""
    name: str = element.tag
    return name.rpartition("}")[2]


def _detached_before(element: etree._Element) -> list[etree._Element]:
    """Take out of the tree what the parser is done with, which the element itself never surely is."""
    parent = element.getparent()
    before = []
    while (first := parent[0]) is not element:
        del parent[0]
        before.append(first)
    return before


def _draft(position: int, event: etree._Element, path: str) -> _Draft:
    roles: _Roles = {}
    attributes = _json(_values(event, roles)).decode()
    return _Draft(position, event.sourceline, path, attributes, roles)


def _values(elements: Iterable[etree._Element], roles: _Roles | None = None) -> dict[str, Any]:
    """Return attributes as a JSON object in file order; a key that repeats holds the list of its values.

    Args:
        elements: attribute elements.
        roles: takes kind and text of the first attribute per key that the platform itself uses.
    """
    values: dict[str, Any] = {}
    repeated = set()
    for element in elements:
        kind, key = _kind(element), element.get("key", "")
        text = element.get("value")
        value = _value(element, kind, text)
        if roles is not None and key in _ROLES:
            roles.setdefault(key, (kind, text or ""))
        if key not in values:
            values[key] = value
        elif key in repeated:
            values[key].append(value)
        else:
            repeated.add(key)
            values[key] = [values[key], value]
    return values


def _value(element: etree._Element, kind: str, text: str | None) -> Any:
    if kind == "container":
        return _values(element)
    if kind == "list":
        return _list(element)
    own: Any = text
    if text is not None and kind in _FROM_TEXT:
        own = _FROM_TEXT[kind](text)
    return {"value": own, "attributes": _values(element)} if len(element) else own


def _list(element: etree._Element) -> Any:
    """Return the items of a list; the standard wraps them in `values`, OpenXES of old did not."""
    children = list(element)
    wrapper = next((child for child in children if _kind(child) == "values"), element)
    items = []
    for item in wrapper:
        items.append(_value(item, _kind(item), item.get("value")))
    about = [child for child in children if child is not wrapper] if wrapper is not element else []
    return {"value": items, "attributes": _values(about)} if about else items


def _integer(text: str) -> Any:
    digits = _INTEGER.fullmatch(text.strip())
    return msgspec.Raw((digits[1] or "") + digits[2]) if digits else text


def _float(text: str) -> Any:
    return msgspec.Raw(text.strip()) if _NUMBER.fullmatch(text.strip()) else text


def _boolean(text: str) -> Any:
    return _BOOLEANS.get(text.strip().lower(), text)


_FROM_TEXT = {"int": _integer, "float": _float, "boolean": _boolean}
