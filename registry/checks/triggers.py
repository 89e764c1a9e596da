"""Static checks of what starts a workflow."""

import calendar
import re
import zoneinfo
from collections.abc import Iterator
from functools import lru_cache

from registry.checks.expressions import condition_problems
from registry.checks.known import Known
from registry.documents import Fault, Selector, Trigger
from registry.expressions import ExpressionFault, compile_condition

_NEEDED = {
    "event": ("topic",),
    "webhook": ("topic", "auth"),
    "condition": ("condition", "mart", "key"),
    "schedule": ("cron",),
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_NAMES = (
    *({} for _ in range(3)),
    {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name},
    {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))},
)
_ITEM = re.compile(r"(\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class CronFault(ValueError):
    """A schedule that is none, or that never comes."""


def trigger_faults(trigger: Trigger, known: Known, path: str) -> Iterator[Fault]:
    """Find what is wrong with a trigger whose selector stands at `path`."""
    selector = trigger.selector
    for needed in _NEEDED[trigger.trigger_type]:
        if not getattr(selector, needed):
            fix = 'add it, such as {"secret_ref": "vault:..."}' if needed == "auth" else "add it"
            yield Fault("", f"{path}/{needed}", f"a trigger of type {trigger.trigger_type} needs it", fix)
    if selector.topic is not None and selector.topic not in known.schemas:
        problem = f"there is no event schema {selector.topic}"
        yield Fault("", f"{path}/topic", problem, "add the event schema or correct the name")
    if selector.condition is not None:
        yield from _condition_faults(selector, selector.condition, known, f"{path}/condition")
    if selector.cron is not None:
        try:
            check_cron(selector.cron)
        except CronFault as fault:
            fix = "write minute, hour, day of month, month and day of week, such as 0 6 * * mon-fri"
            yield Fault("", f"{path}/cron", str(fault), fix)
    if selector.timezone is not None and not _is_zone(selector.timezone):
        problem = f"there is no time zone {selector.timezone}"
        yield Fault("", f"{path}/timezone", problem, "use an IANA name such as Europe/Berlin")


def _condition_faults(selector: Selector, text: str, known: Known, path: str) -> Iterator[Fault]:
    try:
        condition = compile_condition(text)
    except ExpressionFault as fault:
        yield Fault("", path, fault.message, "correct the CEL expression; it reads `trigger`")
        return
    payload = known.payload(selector.topic) if selector.topic else None
    for problem in condition_problems(condition, (("trigger", payload),)):
        yield Fault("", path, problem.text, problem.fix)


@lru_cache(maxsize=4096)
def _is_zone(name: str) -> bool:
    return name in zoneinfo.available_timezones()


@lru_cache(maxsize=4096)
def check_cron(cron: str) -> None:
    """Hold a schedule to cron's five fields.

    Raises:
        CronFault: it has other fields, a value that its field cannot have, or a date that never comes.
    """
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        raise CronFault(f"{cron!r} has {len(fields)} fields and not five")
    values = [
        _field_values(text, name, low, high, names)
        for text, (name, low, high), names in zip(fields, _FIELDS, _NAMES, strict=True)
    ]
    days, months = values[2], values[3]
    if fields[4] == "*" and not any(day <= _DAYS_OF_MONTH[month - 1] for day in days for month in months):
        raise CronFault(f"{cron!r} never comes: no such month has such a day")


def _field_values(text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    values: set[int] = set()
    for item in text.split(","):
        found = _ITEM.fullmatch(item)
        if found is None:
            raise CronFault(f"{item!r} is no {name}")
        whole, first, last, step = found.groups()
        start = low if whole == "*" else _number(first, name, low, high, names)
        end = high if whole == "*" or (step and not last) else start
        if last:
            end = _number(last, name, low, high, names)
        if end < start or step == "0":
            raise CronFault(f"{item!r} is no range of {name}")
        values.update(range(start, end + 1, int(step or 1)))
    return values


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    value = names.get(text.lower(), int(text) if text.isdigit() else -1)
    if not low <= value <= high:
        raise CronFault(f"{text!r} is no {name}; it goes from {low} to {high}")
    return value
