"""The conformance suite of CEL's authors, through the entry point that conditions take."""

import json
from pathlib import Path
from typing import Any

import pytest

from registry.expressions import ExpressionFault, compile_expression

CASES = Path(__file__).parents[3] / "shared/data/expressions/cel_conformance.json"
WRONG_CASES = {"parse.textproto/bytes_literals/triple_double_quoted_unescaped_punctuation"}
"""Upstream expects a backslash in the value of a bytes literal that has none; CEL's own runtimes skip the case."""


def result(case: dict[str, Any]) -> Any:
    """Return the value of a case, the fault's class for an error; unchecked where the type checker refuses."""
    variables = tuple(case["bindings"])
    try:
        try:
            expression = compile_expression(case["expr"], variables=variables, bare=None)
        except ExpressionFault:
            expression = compile_expression(case["expr"], variables=variables, bare=None, checked=False)
        return comparable(expression.evaluate(case["bindings"]))
    except ExpressionFault:
        return ExpressionFault


def comparable(value: Any) -> Any:
    return {"$bytes": value.hex()} if isinstance(value, bytes) else value


def expected(case: dict[str, Any]) -> Any:
    return ExpressionFault if case["error"] else case["value"]


@pytest.mark.skipif(not CASES.exists(), reason=f"the conformance cases are not at {CASES}")
def test_the_conformance_suite_holds() -> None:
    """A condition copied from elsewhere must mean here what it means there."""
    cases = {f"{case['file']}/{case['section']}/{case['name']}": case for case in json.loads(CASES.read_text())}
    failed = {
        name
        for name, case in cases.items()
        if type(result(case)) is not type(expected(case)) or result(case) != expected(case)
    }
    assert len(cases) == 501
    assert failed == WRONG_CASES
