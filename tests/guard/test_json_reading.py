"""Reading JSON: every text of RFC 8259 is taken, nothing else is, and large ones are refused before they are parsed."""

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.canonical import MAX_BYTES, JsonFault, parse
from guard.json_pieces import Elements, elements, members
from tests.generated import VALUES, spelled

TAKEN = [
    *("[]", "{}", "[[]   ]", "[ ]", '[""]', '["a"]', "[false]", '[null, 1, "1", {}]', "[null]", "[1\n]", " [1]"),
    *("[1] ", "[1,null,null,null,2]", "[2] ", "[0e+1]", "[0e1]", "[ 4]", "[-0.0001]", "[20e1]", "[-0]", "[-123]"),
    *("[-1]", "[123]", "[1E22]", "[1E-2]", "[1E+2]", "[123e45]", "[123.456e78]", "[1e-2]", "[1e+2]"),
    *("[123.456789]", "42", "-0.1", "null", '"asd"', "true", '""', '{"asd":"sdf", "dfg":"fgh"}', '{"asd":"sdf"}'),
    *('{"":0}', '{"a":[]}', '{ "min": -1.0e+28 }', '["\\u0060\\u012a\\u12AB"]', '["\\uD801\\udc37"]'),
    *('["\\"\\\\\\/\\b\\f\\n\\r\\t"]', '["\\\\u0000"]', '["\\uDBFF\\uDFFF"]', '["\x7f"]', '["€𝄞"]', '["\u2028"]'),
    *('["\u2029"]', '["\\uFFFE"]', '["\ufdd0"]', "\t[\r\n]\t", '["\U0010ffff"]', '{"\\u0061":1}'),
]
"""By hand, after the cases of the JSON Parsing Test Suite that every parser must accept."""
REFUSED = [
    *("", " ", "[1 true]", "[a]", '["": 1]', '[""],', "[,1]", "[1,,2]", '["x",,]', '["x"]]', '["",]', '["x"', "[x"),
    *("[3[ 4]]", "[1:2]", "[,]", "[-]", '[   , ""]', '["a",\n4\n,1,', "[1,]", "[1,,]", '["\va"\\f]', "[*]"),
    *('[""', "[1,", "[1,\n1\n,1", "[{}", "[fals]", "[nul]", "[tru]", "[++1234]", "[+1]", "[+Inf]", "[-01]"),
    *("[-1.0.]", "[-2.]", "[.-1]", "[.2e-3]", "[0.1.2]", "[0.3e+]", "[0.3e]", "[0.e1]", "[0E+]", "[0E]", "[1.0e+]"),
    *("[1.0e-]", "[1.0e]", "[1 000.0]", "[1eE2]", "[2.e+3]", "[2.e-3]", "[2.e3]", "[9.e+]", "[1+2]", "[0x1]"),
    *("[0x42]", "[-foo]", "[- 1]", "[-012]", "[-.123]", "[1.2a-3]", "[1.8011670033376514H-308]", "[012]"),
    *("[\uff11]", '["x", truth]', '{[: "x"}', '{"x", null}', '{"x"::"b"}', "{\U0001f1e8\U0001f1ed}", "{1:1}"),
    *("{9999E9999:1}", "{null:null}", '{"id":0,,,,,}', "{'a':0}", '{"id":0,}', '{"a":"b"}/**/', '{"a":"b"}//'),
    *('{"a":"b",,"c":"d"}', '{"a" b}', '{a: "b"}', '{"a":', '{"a"', '{"a":"a', '["\\uD800\\"]', '["\\uD800\\u"]'),
    *('["\\uD800\\u1"]', '["\\u00A"]', '["\\a"]', '["\\uqqqq"]', "['single quote']", "abc", '["\\'),
    *('["new\nline"]', '["\t"]', '"\\UA66D"', "<.>", "[<null>]", "[1]x", "[1]]", '["asd]', "aå", "[True]", "1]"),
    *('{"x": true,', "[][]", "]", "{}}", '{"":', '{"a":/*c*/"b"}', "[⁠]", "﻿", "\ufeff{}", "[\u000c]", "\u2060"),
    *("\x0b1", "\u00a01", '[1,"\x1f"]'),
]
"""Likewise those that every parser must refuse."""


@pytest.mark.parametrize("text", TAKEN)
def test_every_text_of_the_standard_is_taken(text: str) -> None:
    """A producer that keeps to the RFC is never the one at fault."""
    assert parse(text) == parse(text.encode())
    assert float_like(parse(text)) == msgspec.json.decode(text)


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_what_the_standard_does_not_know_is_refused(text: str) -> None:
    """A second parser further on would read it otherwise, or not at all."""
    with pytest.raises(JsonFault):
        parse(text)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(text.encode())


@pytest.mark.parametrize(
    ("content", "problem", "fix"),
    [
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark", "save it as UTF-8 without a byte order mark"),
        ("{}".encode("utf-16"), "it is UTF-16", "save it as UTF-8 without a byte order mark"),
        ('{"a":"ü"}'.encode("latin-1"), "byte 6 is not UTF-8", "save it as UTF-8 without a byte order mark"),
        (b" \n", "it is empty", "write it as JSON (RFC 8259) in UTF-8"),
        (b"[" * 300 + b"]" * 300, "nested deeper than 200 levels", "nest it less; 200 levels are taken"),
        (b'{"a":1,"a":2}', "the key 'a' stands twice in one object", "keep one of them"),
        (b'"\x01"', "Invalid control character at character 1", "write it as JSON (RFC 8259) in UTF-8"),
    ],
)
def test_a_refusal_names_the_way_out_of_this_fault(content: bytes, problem: str, fix: str) -> None:
    """Whoever is told to write UTF-8 because a document nests too deep looks in the wrong place."""
    with pytest.raises(JsonFault) as caught:
        parse(content)
    assert (str(caught.value), caught.value.fix) == (problem, fix)


def float_like(value: Any) -> Any:
    return json.loads(json.dumps(value, default=float))


@given(text=st.text(st.sampled_from('[]{}:,"\\ue10.-+tfn \n'), max_size=12))
def test_a_peer_judges_short_texts_as_we_do(text: str) -> None:
    """What only one of two parsers takes is checked as one thing and used as another."""
    try:
        peer = msgspec.json.decode(text)
        accepted = True
    except msgspec.DecodeError:
        accepted = False
    try:
        value = parse(text)
    except JsonFault as fault:
        assert not accepted or fault.rule in ("duplicate_key", "bad_text", "bad_number"), text
    else:
        assert accepted, text
        assert float_like(value) == peer


def test_a_text_of_fifty_megabytes_is_refused_before_it_is_parsed() -> None:
    """Parsed, lists within lists take some forty times their text: one upload would end the process."""
    text = b"[" + b"[]," * 17_000_000 + b"[]]"
    tracemalloc.start()
    try:
        with pytest.raises(JsonFault) as caught:
            parse(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.rule == "too_large"
    assert f"{MAX_BYTES:,}" in str(caught.value)
    assert peak < 100_000


def test_the_limit_is_the_last_size_that_is_taken() -> None:
    """A limit that is off by one is a limit that nobody knows."""
    text = b'"' + b"x" * (MAX_BYTES - 2) + b'"'
    assert len(parse(text)) == MAX_BYTES - 2
    with pytest.raises(JsonFault):
        parse(text + b" ")


@pytest.mark.parametrize(
    ("text", "path"),
    [('{"x":[1,{"a~b":1,"a~b":2}]}', "/x/1/a~0b"), ('[{"a":{"b":1,"b":1}}]', "/0/a/b"), ('{"a":{},"a":{"b":1}}', "/a")],
)
def test_a_key_that_stands_twice_is_named_with_its_whole_path(text: str, path: str) -> None:
    """In a document of a thousand lines `name` alone says nothing."""
    with pytest.raises(JsonFault) as caught:
        parse(text)
    assert (caught.value.rule, caught.value.path) == ("duplicate_key", path)


@given(value=st.lists(VALUES, max_size=4), is_wide=st.booleans())
def test_an_array_in_pieces_is_the_array(value: list[Any], is_wide: bool) -> None:
    """A large file is read piece by piece; every piece must be what it is in the whole, and stand there as it stood."""
    text = spelled(value, is_wide)
    found = list(elements(f" {text}\n"))
    assert [item for item, _ in found] == parse(text)
    assert [parse(verbatim) for _, verbatim in found] == parse(text)
    assert all(verbatim in text for _, verbatim in found)


@given(
    value=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), VALUES, max_size=4
    )
)
def test_an_object_in_pieces_is_the_object(value: dict[str, Any]) -> None:
    """Likewise for members; the text of one includes the space around it, so that nothing verbatim is lost."""
    text = spelled(value, True)
    found = list(members(text))
    assert {key: item for key, item, _ in found} == parse(text)
    assert [parse(verbatim) for _, _, verbatim in found] == list(parse(text).values())


def test_arrays_within_an_object_come_one_element_at_a_time() -> None:
    """A graph of many nodes is one object; held whole, it would be held twice."""
    found = []
    for key, value, text in members('{"a":1, "nodes":[ {"x":[]}, 2 ] ,"z":[3]}', arrays=("nodes",)):
        found.append((key, list(value) if isinstance(value, Elements) else value, text))
    assert found == [("a", 1, "1"), ("nodes", [({"x": []}, '{"x":[]}'), (2, "2")], ""), ("z", [3], "[3]")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[1 2]",
        "[,1]",
        "[1]]",
        "[1] x",
        "[01]",
        "[1}",
        "{}",
        '[{"a":1,"a":2}]',
        '["\\ud800"]',
        "[NaN]",
    ],
)
def test_a_broken_array_is_refused_in_pieces_as_it_is_whole(text: str) -> None:
    """A file that ends in the middle must not look like a shorter one."""
    with pytest.raises(JsonFault):
        list(elements(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a"',
        '{"a":',
        '{"a":1',
        '{"a":1,',
        '{"a":1,}',
        '{"a":1 "b":2}',
        "{1:2}",
        '{"a":1}}',
        '{"a":1,"a":2}',
        "[]",
    ],
)
def test_a_broken_object_is_refused_in_pieces_as_it_is_whole(text: str) -> None:
    """Likewise."""
    with pytest.raises(JsonFault):
        list(members(text))


def test_a_deep_text_is_refused_in_pieces() -> None:
    """What surrounds a document may add some levels, not hundreds."""
    inner = "[" * 199 + "]" * 199
    assert len(list(elements(f'[{{"row":{{"document":{inner}}}}}]'))) == 1
    with pytest.raises(JsonFault, match="nested deeper"):
        list(elements("[" * 400 + "]" * 400))
