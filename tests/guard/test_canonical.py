"""One value has one text, so that a hash of it names the value; what is no JSON is refused with its rule."""

import hashlib
import json
import struct
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.canonical import JsonFault, canonical, digest, digest_text, parse

RFC_8785_APPENDIX_B = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize(("bits", "text"), RFC_8785_APPENDIX_B)
def test_a_double_is_written_as_the_rfc_writes_it(bits: str, text: str) -> None:
    """Hashes made elsewhere by RFC 8785 would not match ours."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == text
    assert canonical(parse(text)) == text


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_what_the_rfc_calls_an_error_is_one(bits: str) -> None:
    """A NaN within a hashed value would be a text that nobody can read back."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    with pytest.raises(JsonFault) as caught:
        canonical([number])
    assert caught.value.rule == "bad_number"


def test_the_rfc_sample_comes_out_as_printed_there() -> None:
    """Escapes, white space, literals and numbers together: section 3.2.2 of the RFC."""
    sample = r"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    tail = r'1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA' + r"""'B\"\\\\\"/"}"""
    as_doubles = '{"literals":[null,true,false],"numbers":[333333333.3333333,' + tail
    as_written = '{"literals":[null,true,false],"numbers":[333333333.33333329,' + tail
    assert canonical(json.loads(sample)) == as_doubles
    assert canonical(parse(sample)) == as_written


def test_keys_are_sorted_by_utf16_code_units() -> None:
    """Section 3.2.3: by code points the emoji would come last, and the hash would differ from everybody else's."""
    sample = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(parse(canonical(sample)).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


def test_every_control_character_is_escaped_in_its_shortest_form() -> None:
    """Five of them have a short escape, DEL has none and needs none."""
    assert canonical("".join(map(chr, range(1, 32))) + '"\\/\x7f\u2028') == (
        r'"\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f\u0010\u0011\u0012\u0013\u0014'
        r"\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f" + '\\"\\\\/\x7f\u2028' + '"'
    )


@pytest.mark.parametrize(
    ("text", "canonical_text"),
    [
        ("9007199254740993", "9007199254740993"),
        ("-9007199254740993", "-9007199254740993"),
        ("0.123456789012345678901234567890", "0.12345678901234567890123456789"),
        ("123456789012345678901.234567891", "123456789012345678901.234567891"),
        ("123456789012345678901234567890", "1.2345678901234567890123456789e+29"),
        ("1E400", "1e+400"),
        ("-1.50e-400", "-1.5e-400"),
        ("100", "100"),
        ("1.0", "1"),
        ("1e2", "100"),
        ("-0", "0"),
        ("-0.0e5", "0"),
        ("0.10", "0.1"),
        ("1e20", "100000000000000000000"),
        ("1e-7", "1e-7"),
    ],
)
def test_a_number_keeps_its_exact_value(text: str, canonical_text: str) -> None:
    """Rounded to a double, 2^53 + 1 and 2^53 would have one hash, and an amount of 30 digits another value."""
    assert canonical(parse(text)) == canonical_text
    assert Decimal(canonical_text) == Decimal(text)


@pytest.mark.parametrize("equal", ["1", "1.0", "1.00", "10e-1", "0.1E1"])
def test_numbers_of_one_value_have_one_hash(equal: str) -> None:
    """The same amount written by two producers would be an id conflict."""
    assert digest(parse(equal)) == digest(1) == hashlib.sha256(b"1").hexdigest()


@given(VALUES)
def test_a_canonical_text_reads_back_as_its_value(value: Any) -> None:
    """What is stored in canonical form must be what was validated."""
    text = canonical(value)
    assert parse(text) == value
    assert parse(text.encode()) == value
    assert canonical(parse(text)) == text


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_the_order_of_keys_makes_no_difference(value: dict[str, Any]) -> None:
    """Producers write keys in any order; the same event would otherwise conflict with itself."""
    assert canonical(_turned_round(value)) == canonical(value)


@given(VALUES, VALUES)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    """Two contents under one hash would make a conflict look like a duplicate."""
    assert (canonical(one) == canonical(other)) == (_typed(one) == _typed(other))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_double_reads_back_as_itself(number: float) -> None:
    """A measured value would change by being stored."""
    assert float(canonical(number)) == number


def _turned_round(value: Any) -> Any:
    """Return the value with the members of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: _turned_round(item) for key, item in reversed(value.items())}
    return [_turned_round(item) for item in value] if isinstance(value, list) else value


def _typed(value: Any) -> Any:
    """Return the value so that Python's `1 == True` no longer holds."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"{'a':1}", "not_json"),
        (b"[1,]", "not_json"),
        (b"[1] [2]", "not_json"),
        (b"01", "not_json"),
        (b"+1", "not_json"),
        (b".5", "not_json"),
        (b"0x10", "not_json"),
        (b'"a\nb"', "not_json"),
        (b'"a\x00b"', "not_json"),
        (b'"\\x41"', "not_json"),
        (b"// comment\n1", "not_json"),
        (b'\xef\xbb\xbf{"a":1}', "not_json"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":{"b":1,"b":2}}', "duplicate_key"),
        (b'[{"a":1,"\\u0061":2}]', "duplicate_key"),
        (b"NaN", "bad_number"),
        (b"[-Infinity]", "bad_number"),
        (b"1e10001", "bad_number"),
        (b"1e-10001", "bad_number"),
        (b"1e99999999999999999999999", "bad_number"),
        (b"-1.5E-99999999999999999999999", "bad_number"),
        (b"9" * 5_000, "bad_number"),
        (b'"\\u0000"', "bad_text"),
        (b'{"\\u0000":1}', "bad_text"),
        (b'"\\ud800"', "bad_text"),
        (b'["\\udc00\\ud800"]', "bad_text"),
        (b'"\xff\xfe"', "bad_text"),
        (b'"\xed\xa0\x80"', "bad_text"),
        (b'"\xc0\xaf"', "bad_text"),
        ('{"a":1}'.encode("utf-16"), "bad_text"),
        (b"[" * 201 + b"]" * 201, "too_deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "too_deep"),
        (b"[" * 900 + b'"\\u0041"' + b"]" * 900, "too_deep"),
        (b"[" * 1_000_000, "too_deep"),
    ],
    ids=lambda given: ascii(given[:24]) if isinstance(given, bytes) else given,
)
def test_what_is_no_json_is_refused_with_its_rule(text: bytes, rule: str) -> None:
    """Any other exception would stop a batch at the first odd record."""
    with pytest.raises(JsonFault) as caught:
        parse(text)
    assert caught.value.rule == rule


@pytest.mark.parametrize("depth", range(150, 1_000, 50))
def test_any_depth_is_taken_or_refused_and_never_crashes(depth: int) -> None:
    """How deep the parser itself goes depends on who calls it; between its limit and ours lay a stack overflow."""
    text = b"[" * depth + b'"\\u0041"' + b"]" * depth
    if depth <= 199:
        assert canonical(parse(text)) == "[" * depth + '"A"' + "]" * depth
    else:
        with pytest.raises(JsonFault):
            parse(text)


def test_a_deep_text_is_refused_from_any_depth_of_the_caller() -> None:
    """Dagster calls from deep within its own stack."""

    def from_depth(frames: int) -> None:
        if frames:
            from_depth(frames - 1)
            return
        with pytest.raises(JsonFault, match="nested deeper"):
            parse(b"[" * 300 + b'"\\u0041"' + b"]" * 300)

    limit = sys.getrecursionlimit()
    depth = len(_frames())
    for spare in (320, 340, 400, 620):
        from_depth(max(0, limit - depth - spare))


def _frames() -> list[Any]:
    frame, frames = sys._getframe(), []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return frames


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b'{"a":1,"a":2}', "/a"),
        (b'{"x":{"~":[0,"\\u0000"]}}', "/x/~0/1"),
        (b'{"a/b":"\\ud800"}', "/a~1b"),
        (b'{"a/b":1,"a/b":2}', "/a~1b"),
    ],
)
def test_a_fault_says_where_as_a_json_pointer(text: bytes, path: str) -> None:
    """Whoever repairs the record would have to search for it."""
    with pytest.raises(JsonFault) as caught:
        parse(text)
    assert caught.value.path == path


def test_what_a_fault_says_can_be_stored() -> None:
    """A lone surrogate in a message cannot be encoded: writing the dead letter would fail, and stop the batch."""
    with pytest.raises(JsonFault) as caught:
        parse(b'{"\\ud800":1,"\\ud800":2}')
    (caught.value.path + str(caught.value)).encode()


def test_a_text_cut_within_a_character_is_no_json_rather_than_bad_text() -> None:
    """The sender would look for a wrong encoding where the file was cut."""
    with pytest.raises(JsonFault) as caught:
        parse('{"a":"ü"}'.encode()[:7])
    assert caught.value.rule == "not_json"


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": b"bytes"}, "\ud800", {"\udfff": 1}])
def test_a_value_without_a_json_text_is_refused(value: Any) -> None:
    """A text that cannot be encoded or read back must not become a hash."""
    with pytest.raises(JsonFault):
        canonical(value)
    with pytest.raises(JsonFault):
        digest(value)


def test_a_lone_surrogate_in_a_string_is_refused_as_in_bytes() -> None:
    """Documents of the registry arrive as strings; what passes here fails where it is stored."""
    with pytest.raises(JsonFault) as caught:
        parse('{"a":"\ud800"}')
    assert caught.value.rule == "bad_text"


def test_digests_are_sha256_of_the_text() -> None:
    """The hashes are published; others must be able to compute them."""
    assert digest({"b": [1, "ü"], "a": None}) == hashlib.sha256('{"a":null,"b":[1,"ü"]}'.encode()).hexdigest()
    assert digest_text("ü") == digest_text(b"\xc3\xbc") == hashlib.sha256(b"\xc3\xbc").hexdigest()
