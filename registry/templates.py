"""Workflow templates of the pack: documents with named holes that learning fills.

A hole is the object `{"$learned": name}`, in the place of any value.
"""

from collections.abc import Mapping
from typing import Any

from guard.canonical import parse
from registry.pack import TEMPLATES

_HOLE = "$learned"


class TemplateFault(ValueError):
    """Values that do not fill a template: `missing` holes stay open, `unknown` values have no hole."""

    def __init__(self, missing: set[str], unknown: set[str]) -> None:
        super().__init__(
            f"the template is not filled: {sorted(missing)} stay open, {sorted(unknown)} have no hole; "
            "give each hole one value"
        )
        self.missing = missing
        self.unknown = unknown


def read_template(name: str) -> Any:
    """Return a template of the pack, such as `variance_mitigation`, as parsed JSON."""
    return parse((TEMPLATES / f"{name}.json").read_bytes())


def holes(template: Any) -> set[str]:
    """Return the names of a template's holes."""
    if isinstance(template, Mapping):
        if template.keys() == {_HOLE}:
            return {template[_HOLE]}
        return set().union(*map(holes, template.values()))
    return set().union(*map(holes, template)) if isinstance(template, list) else set()


def fill(template: Any, learned: Mapping[str, Any]) -> Any:
    """Return the document that a template becomes with `learned`, one value per hole.

    Raises:
        TemplateFault: a hole has no value, or a value no hole.
    """
    named = holes(template)
    if named != learned.keys():
        raise TemplateFault(named - learned.keys(), set(learned) - named)
    return _filled(template, learned)


def _filled(value: Any, learned: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {_HOLE}:
            return learned[value[_HOLE]]
        return {key: _filled(item, learned) for key, item in value.items()}
    return [_filled(item, learned) for item in value] if isinstance(value, list) else value
