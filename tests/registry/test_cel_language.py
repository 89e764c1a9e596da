"""CEL by its language definition and the definitions of its extensions: one line per rule, values by hand."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry.expressions import ExpressionFault, compile_expression


def value_of(text: str, **bindings: Any) -> Any:
    variables = tuple(bindings)
    try:
        expression = compile_expression(text, variables=variables, bare=None)
    except ExpressionFault:
        expression = compile_expression(text, variables=variables, bare=None, checked=False)
    return expression.evaluate(bindings)


STANDARD = [
    # numbers: int, uint and double are three types, compared across and never mixed in arithmetic
    ("7 / -2", -3),
    ("-7 % 3", -1),
    ("7u / 2u", 3),
    ("0x7f", 127),
    ("0xFFu", 255),
    ("1e3", 1000.0),
    ("-9223372036854775808", -(2**63)),
    ("18446744073709551615u", 2**64 - 1),
    ("1.0 / 0.0", math.inf),
    ("dyn(1) == 1.0 && dyn(1u) == 1 && dyn(1) < 1.5", True),
    ("dyn(9223372036854775807) < 9223372036854777857.0", True),
    ("dyn(1) == '1'", False),
    ("double('NaN') == double('NaN')", False),
    ("int(-1.9)", -1),
    ("int('-12')", -12),
    ("uint(3.9)", 3),
    ("double('1.5')", 1.5),
    ("string(1u) + string(true)", "1true"),
    ("bool('TRUE')", True),
    ("int(timestamp('1970-01-01T00:01:00Z'))", 60),
    # strings and bytes: code points and octets
    ("size('ü😀')", 2),
    ("size(b'ü')", 2),
    ("b'\\xff' + b'a'", b"\xffa"),
    ("string(bytes('é'))", "é"),
    ("'a' + 'b' < 'b'", True),
    ("'héllo'.matches('^h.l+o$')", True),
    ("matches('abc', 'b')", True),
    ('r"\\n"', "\\n"),
    # lists, maps, membership
    ("[1, 2] + [3]", [1, 2, 3]),
    ("[[1], [2]][1][0]", 2),
    ("2 in [1, 2] && !('c' in {'a': 1})", True),
    ("{'a': {'b': [0, 7]}}.a.b[1]", 7),
    ("has({'a': null}.a)", True),
    ("has({}.a)", False),
    ("[b'a', b'b']", [b"a", b"b"]),
    # macros
    ("[1, 2, 3].all(x, x > 0)", True),
    ("[1, 2, 3].exists_one(x, x == 2)", True),
    ("[1, 'a', 2].exists(x, x == 2)", True),
    ("{'a': 1, 'b': 2}.filter(k, k == 'b')", ["b"]),
    ("[1, 2, 3].map(x, x > 1, x * x)", [4, 9]),
    ("[[1, 2], [3]].map(row, row.map(x, x + 1))", [[2, 3], [4]]),
    # logic decides as soon as one side does
    ("true || 1 / 0 > 0", True),
    ("1 / 0 > 0 || true", True),
    ("false && 1 / 0 > 0", False),
    ("true ? 1 : 1 / 0", 1),
    # time
    ("timestamp('2024-03-10T10:00:00+02:00').getHours()", 8),
    ("timestamp('2024-03-10T10:00:00Z').getHours('America/New_York')", 6),
    ("timestamp('2024-12-31T00:00:00Z').getDayOfYear()", 365),
    ("timestamp('2024-01-01T00:00:00Z') + duration('36h')", datetime(2024, 1, 2, 12, tzinfo=UTC)),
    ("timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z')", timedelta(days=1)),
    ("duration('90m').getHours()", 1),
    ("duration('1.5s') < duration('2s')", True),
    # types are values
    ("type(1) == int && type(1u) == uint && type(1.0) == double && type(null) == null_type", True),
    ("type([]) == list && type({}) == map && type(type(1)) == type", True),
]

EXTENSIONS = [
    # strings
    ("'tacocat'.charAt(3)", "o"),
    ("'tacocat'.indexOf('c', 3)", 4),
    ("'tacocat'.lastIndexOf('c')", 4),
    ("'TacoCät'.lowerAscii()", "tacocät"),
    ("'hello hello'.replace('he', 'we', 1)", "wello hello"),
    ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
    ("'tacocat'.substring(0, 4)", "taco"),
    ("' trim '.trim()", "trim"),
    ("['x', 'y'].join('-')", "x-y"),
    ("'gums'.reverse()", "smug"),
    ("'%s owes %.2f, %d times'.format(['V-1', 2.5, 3])", "V-1 owes 2.50, 3 times"),
    # math
    ("math.greatest(1, 3, 2)", 3),
    ("math.least([4.5, 2.5])", 2.5),
    ("math.abs(-5) + math.sign(-3)", 4),
    ("math.round(-1.5)", -2.0),
    ("math.bitAnd(6, 3)", 2),
    ("math.isNaN(0.0 / 0.0)", True),
    # encoders, bindings
    ("base64.encode(b'hello')", "aGVsbG8="),
    ("base64.decode('aGVsbG8')", b"hello"),
    ("cel.bind(a, 'hi', a + a)", "hihi"),
    # optionals
    ("{'a': 1}.?b.orValue(2)", 2),
    ("{'a': {'b': 3}}.?a.?b.value()", 3),
    ("[1][?4].hasValue()", False),
    ("optional.of(2).optMap(x, x * 2).value()", 4),
    ("optional.none().or(optional.of(1)).value()", 1),
    ("optional.ofNonZeroValue('').hasValue()", False),
    ("{?'a': optional.none(), 'b': 1}", {"b": 1}),
]

ERRORS = [
    "1 + 1.0",
    "1 + 1u",
    "9223372036854775807 + 1",
    "-(-9223372036854775808)",
    "0u - 1u",
    "1 / 0",
    "1.0 % 2.0",
    "uint(-1)",
    "int('a')",
    "int(1e99)",
    "string(b'\\xff')",
    "bool('yes')",
    "[1][1]",
    "{'a': 1}.b",
    "'a' < 1",
    "!1",
    "1 ? 2 : 3",
    "[1, 2].all(x, x / 0 > 0)",
    "'a'.matches('(')",
    "timestamp('2024-13-01T00:00:00Z')",
    "timestamp('2024-01-01T00:00:00Z').getHours('Nowhere/None')",
    "duration('abc')",
    "undeclared",
    "no.such()",
    "'abc'.substring(2, 1)",
    "base64.decode('!')",
    "optional.none().value()",
]


@pytest.mark.parametrize(("text", "expected"), STANDARD)
def test_the_language_holds(text: str, expected: Any) -> None:
    """A condition means what the language definition says, not what this runtime happens to do."""
    value = value_of(text)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(("text", "expected"), EXTENSIONS)
def test_the_extensions_of_cels_authors_are_there(text: str, expected: Any) -> None:
    """Conditions copied from other CEL systems use them."""
    value = value_of(text)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize("text", ERRORS)
def test_what_has_no_value_is_an_error(text: str) -> None:
    """A value made up here would route an episode."""
    with pytest.raises(ExpressionFault):
        value_of(text)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("math.abs(amount) > math.greatest(limit, 1)", ["output.amount", "output.limit"]),
        ("base64.encode(bytes(word)) == strings.quote(word)", ["output.word"]),
        ("math.x > 1", ["output.math.x"]),  # a member of that name, no function
        ("trigger.?sender.orValue('') == ''", ["trigger.sender"]),
        ("trigger.?a.?b.hasValue() && trigger[?'c'].hasValue()", ["trigger.a.b", "trigger.c"]),
        ("cel.bind(total, trigger.total, total > 1)", ["trigger.total"]),
        ("cel.bind(total, total + 1, total > 2)", ["output.total"]),
        ("optional.of(x).optMap(v, v + y).value() == 1", ["output.x", "output.y"]),
    ],
)
def test_what_an_extension_reads_is_known(text: str, paths: list[str]) -> None:
    """`math` taken for a member would be decoded in vain; a member missed would be absent at run time."""
    assert [".".join(path) for path in compile_expression(text).paths] == paths


@pytest.mark.parametrize(
    ("text", "output", "expected"),
    [
        ("has(output.a)", {"a": 5}, True),
        ("has(output.a)", {}, False),
        ("output.?a", {"a": 5}, ExpressionFault),
        ("output.?a.orValue(7)", {}, 7),
        ("output.?a.orValue(7)", {"a": 5}, 5),
        ("{?'k': output.?a}.size()", {}, 0),
    ],
)
def test_a_test_for_a_member_is_not_the_member(text: str, output: dict[str, Any], expected: Any) -> None:
    """`has(output.a)` alone as a condition must be true or false, whatever the member holds."""
    try:
        value = compile_expression(text).evaluate({"output": output})
    except ExpressionFault:
        value = ExpressionFault
    assert value is expected or (value == expected and type(value) is type(expected))


@pytest.mark.parametrize(
    "text",
    [
        "l.all(a, l.all(b, a + b >= 0))",
        "'%.900000000f'.format([1.0])",
        "(" * 5_000 + "1" + ")" * 5_000,
        "1" + "+1" * 5_000,
    ],
)
def test_an_expression_cannot_run_away(text: str) -> None:
    """Whoever writes a workflow must not be able to stop the machine that runs it."""
    with pytest.raises(ExpressionFault) as caught:
        value_of(text, l=list(range(1_000)))
    assert len(caught.value.message) < 1_000


def test_text_that_is_no_unicode_does_not_compile() -> None:
    """A lone surrogate in a condition is a fault of the document."""
    with pytest.raises(ExpressionFault):
        compile_expression("a == '\ud800'")
