"""Conditions and `${...}`: what they read, what they give, and what they refuse."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.canonical import parse
from registry.expressions import (
    Expression,
    ExpressionFault,
    compile_condition,
    compile_expression,
    compile_template,
)


def value_of(text: str, **bindings: Any) -> Any:
    return compile_expression(text).evaluate(bindings)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("pass==true", ["output.pass"]),
        ("output.pass == true", ["output.pass"]),
        ("trigger.vendor_id in ['a', 'b'] && amount > 5", ["output.amount", "trigger.vendor_id"]),
        ("output.lines.exists(line, line.amount > limit)", ["output.limit", "output.lines"]),
        ("items.map(i, i.sku).exists(sku, sku == wanted)", ["output.items", "output.wanted"]),
        ("input['file uri'] == output[\"name\"]", ["input.file uri", "output.name"]),
        ("output.lines[0].amount == 1", ["output.lines"]),
        ("output[trigger.key] == 1", ["output", "trigger.key"]),
        ("has(output.reason) ? reason : 'none'", ["output.reason"]),
        ("size(output) > 0 || output.a == 1", ["output"]),
        ("type(amount) == int", ["output.amount"]),
        ("'ü😀' == name &&\n  pass", ["output.name", "output.pass"]),
        ("{'a': x}.a == [y][0]", ["output.x", "output.y"]),
        (".trigger.a == .b", ["output.b", "trigger.a"]),
        ("1 + 1 == 2", []),
    ],
)
def test_an_expression_says_which_members_it_reads(text: str, paths: list[str]) -> None:
    """The engine decodes only these: one too few and a condition is wrong, one too many and every step is slow."""
    assert [".".join(path) for path in compile_expression(text).paths] == paths


@pytest.mark.parametrize("number", ["1", "1.0", "1.00", "1e0", "10e-1"])
@pytest.mark.parametrize("literal", ["1", "1.0"])
def test_one_is_one_however_it_is_written(number: str, literal: str) -> None:
    """1 and 1.0 have one canonical JSON and one context hash, so they must take one path."""
    output = parse(f'{{"x": {number}}}')
    assert value_of(f"x == {literal}", output=output) is True
    assert value_of("type(x) == int", output=output) is True


@pytest.mark.parametrize(
    ("text", "number", "expected"),
    [
        ("x == 9007199254740993", "9007199254740993", True),  # 2^53 + 1, which no double holds
        ("x == 9007199254740993", "9007199254740992", False),
        ("x == 9223372036854775807", "9223372036854775807", True),
        ("x > 9223372036854775807", "18446744073709551616", True),  # beyond int64
        ("x < 0", "-1180591620717411303424", True),
        ("x > 1e300", "1e400", True),
        ("x > 0.04 && x < 0.06", "0.05", True),
        ("x == 0", "0e9000", True),
        ("x == 0.0", "1e-9000", True),
    ],
)
def test_numbers_of_any_size_compare(text: str, number: str, expected: bool) -> None:
    """A producer's big integer must neither stop the episode nor compare equal to its neighbour."""
    assert value_of(text, output=parse(f'{{"x": {number}}}')) is expected


def test_a_member_by_itself_is_handed_on_with_every_digit() -> None:
    """An amount that passes through a double is another amount."""
    output = parse('{"amount": 12345678901234567.10, "id": 18446744073709551616}')
    assert value_of("amount", output=output) == Decimal("12345678901234567.10")
    assert value_of('output["id"]', output=output) == 2**64


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("missing == 1", "not_found"),
        ("missing", "not_found"),
        ("output.word.deeper", "not_found"),
        ("event.decision == 'approved'", "not_found"),
        ("word > 1", "unknown"),
        ("1 / (number - 1) == 0", "invalid_argument"),
        ("9223372036854775807 + number > 0", "out_of_range"),
        ("timestamp(word) > timestamp('2024-01-01T00:00:00Z')", "invalid_argument"),
    ],
)
def test_an_expression_without_a_value_is_a_fault_with_a_code(text: str, code: str) -> None:
    """A fault routes the episode by `on_error`; a default value would route it by chance."""
    with pytest.raises(ExpressionFault) as caught:
        value_of(text, output={"word": "w", "number": 1}, event={})
    assert caught.value.code == code
    assert text in caught.value.message


@pytest.mark.parametrize("text", ["", "a ==", "a = 1", "1 + 'a'", "f(a)", "a.b(", "has(a)", "a ? 1", "'open", "${a}"])
def test_what_is_no_cel_does_not_compile(text: str) -> None:
    """A workflow is refused when it is loaded, not at the first episode that gets that far."""
    with pytest.raises(ExpressionFault) as caught:
        compile_expression(text)
    assert caught.value.code == "does_not_compile"


def test_text_that_is_no_unicode_is_a_fault() -> None:
    """A lone surrogate cannot reach the C++ runtime; it must not end the process or the batch."""
    with pytest.raises(ExpressionFault) as caught:
        value_of("word == 'a'", output={"word": "\ud800"})
    assert caught.value.code == "not_json"


def test_absent_members_do_not_matter_where_another_operand_decides() -> None:
    """CEL's `||` and `&&` hold if one side decides; a condition may look at optional members."""
    assert value_of("missing == 1 || pass", output={"pass": True}) is True
    assert value_of("missing == 1 && pass", output={"pass": False}) is False


def test_the_same_text_is_compiled_once() -> None:
    """Compiling takes twenty times as long as evaluating."""
    assert compile_expression("a == 1234") is compile_expression("a == 1234")


@pytest.mark.parametrize(
    ("text", "equals"),
    [
        ("pass==true", (("output", "pass"), True)),
        ("false == output.pass", (("output", "pass"), False)),
        ("event.decision == 'approved'", (("event", "decision"), "approved")),
        ("x == 1", None),
        ("x != true", None),
        ("x == y", None),
        ("(x == true) && y", None),
    ],
)
def test_an_equality_is_recognised(text: str, equals: object) -> None:
    """The proof that branches are total rests on it; taking another form for one would prove what is false."""
    assert compile_expression(text).equals == equals


def test_the_condition_of_a_trigger_reads_the_payload() -> None:
    """A bare name in a trigger means a member of the payload: there is no output yet."""
    condition = compile_condition("vendor_id in ['V-1'] && trigger.po_id != ''")
    assert condition.paths == (("trigger", "po_id"), ("trigger", "vendor_id"))
    assert condition.evaluate({"trigger": {"vendor_id": "V-1", "po_id": "P"}}) is True


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_any_json_can_be_bound(value: Any) -> None:
    """Payloads come from outside; none of them may raise anything but a fault."""
    expression = compile_expression("x == x && [x].exists(y, y == x) || true")
    assert isinstance(expression, Expression)
    assert expression.evaluate({"output": {"x": value}}) is True


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70))
def test_integers_order_as_they_do_in_python(left: int, right: int) -> None:
    """Up to 64 bits exactly, beyond as doubles."""
    if all(-(2**63) <= number < 2**63 for number in (left, right)):
        expected = left < right
    else:
        expected = float(left) < float(right)
    assert value_of("a < b", output={"a": left, "b": right}) is expected


# -- Templates ----------------------------------------------------------------------------------------------------

BINDINGS = {"trigger": parse('{"uri": "s3://x", "amount": 12.30, "tags": ["a"], "n": 3.0}'), "output": {}}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${trigger.uri}", "s3://x"),
        ("${trigger.amount}", Decimal("12.30")),
        ("${trigger.tags}", ["a"]),
        ("${ trigger.n > 2 }", True),
        ("${trigger}", BINDINGS["trigger"]),
        ("to ${trigger.uri}, ${trigger.amount} of ${trigger.tags}", 'to s3://x, 12.3 of ["a"]'),
        ("${'}' + \"{\"}", "}{"),
        ("${{'k': trigger.n}.k}", Decimal(3)),
        ("costs $5 and $${literal}", "costs $5 and ${literal}"),
        ("$${a}${trigger.uri}", "${a}s3://x"),
        ("{plain}", "{plain}"),
        ({"a": ["${trigger.uri}", 1, None]}, {"a": ["s3://x", 1, None]}),
        ("${timestamp('2024-03-01T00:00:00Z')}", "2024-03-01T00:00:00Z"),
        (Decimal("0.050"), Decimal("0.050")),
    ],
)
def test_parameters_are_bound(template: Any, expected: Any) -> None:
    """An expression alone keeps its type; within text it is written into it."""
    assert compile_template(template).evaluate(BINDINGS) == expected


def test_a_template_without_expressions_is_constant() -> None:
    """Constants are bound once per step, not once per episode."""
    assert compile_template({"a": ["$", 1]}).is_constant
    assert not compile_template({"a": ["${trigger.a}"]}).is_constant


def test_a_template_says_which_members_it_reads() -> None:
    """As for a single expression: only these are decoded."""
    template = compile_template({"a": "${trigger.a.b}", "b": "x ${trigger.a} ${episode.id}"})
    assert template.paths == (("episode", "id"), ("trigger", "a"))


@pytest.mark.parametrize("template", ["${trigger.a", "${}", "${a ==}", {"a": ["x ${'}"]}])
def test_a_broken_template_is_refused(template: Any) -> None:
    """An unclosed `${` is a mistake, not text."""
    with pytest.raises(ExpressionFault):
        compile_template(template)


def test_what_json_has_no_word_for_is_no_parameter() -> None:
    """Parameters are recorded as JSON; bytes would end the recording, not the step."""
    with pytest.raises(ExpressionFault) as caught:
        compile_template("${b'x'}").evaluate(BINDINGS)
    assert caught.value.code == "not_json"


@given(JSON)
def test_a_constant_template_gives_its_value(value: Any) -> None:
    """Parameters without `${` must come out as they went in."""
    if "${" not in repr(value):
        assert compile_template(value).evaluate({}) == value
