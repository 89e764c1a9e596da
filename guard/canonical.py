"""Canonical JSON: one text for one value, so that a hash of it names the value.

RFC 8785 for key order, white space and strings. A number is written by its exact decimal value, which equals RFC 8785
wherever a double's shortest form is that value and goes on where RFC 8785 stops: integers beyond 2^53 and decimals
of any length keep every digit.
"""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_SPECIAL = re.compile(r'["\\\x00-\x1f]')
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_DEPTH = 200
_LEVELS_AROUND = 8
_MAX_EXPONENT = 10_000
_PLAIN_INTEGER = 10**21
"""From here on integers are written with an exponent."""

MAX_BYTES = 8 * 1024 * 1024
"""How long a text may be: looked at before it is parsed, since parsing takes many times its size in memory."""


_SAVE_AS_UTF8 = "save it as UTF-8 without a byte order mark"
_FIXES = {
    "not_json": "write it as JSON (RFC 8259) in UTF-8",
    "duplicate_key": "keep one of them",
    "bad_number": f"write a finite number, with an exponent up to {_MAX_EXPONENT:,}, or a text",
    "bad_text": "take it out",
    "too_deep": f"nest it less; {_MAX_DEPTH} levels are taken",
    "too_large": "split it, or refer to large content by its address",
}


class JsonFault(ValueError):
    """A text that is not JSON as this platform takes it.

    Attributes:
        rule: `not_json`, `duplicate_key`, `bad_number`, `bad_text`, `too_deep` or `too_large`.
        path: where in the document, as a JSON pointer, as far as it is known.
        fix: the way out.
    """

    def __init__(self, rule: str, message: str, path: str = "", *, fix: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.path = path
        self.fix = fix or _FIXES[rule]


def parse(text: str | bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return the value of a JSON text with every digit kept: integers as `int`, other numbers as `Decimal`.

    Duplicate keys are refused because parsers disagree on which value holds: what was validated would not be what is
    used. NaN and infinities are no JSON; U+0000 and lone surrogates cannot be stored by every engine behind us.

    Raises:
        JsonFault: with the rule that was broken.
    """
    if len(text) > max_bytes:
        raise JsonFault("too_large", f"it has {len(text):,} bytes and may have {max_bytes:,}")
    decoded = text if isinstance(text, str) else decode(text)
    try:
        value = _DECODER.decode(decoded)
    except JsonFault as fault:
        if fault.rule == "duplicate_key":
            fault.path = _path_of_duplicate(decoded, 0) or fault.path
        raise
    except RecursionError:
        raise JsonFault("too_deep", "nested deeper than the parser goes") from None
    except json.JSONDecodeError as error:
        raise no_json(error.msg, error.pos) if decoded.strip() else JsonFault("not_json", "it is empty") from None
    _refuse_unfit(value, decoded)
    return value


def parse_at(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at `start` within a longer text, as `parse` returns it, and where it ends.

    It may be longer than `parse` takes, and nested some levels deeper, since it may hold what `parse` takes.

    Raises:
        JsonFault: with the rule that was broken.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except JsonFault as fault:
        if fault.rule == "duplicate_key":
            fault.path = _path_of_duplicate(text, start) or fault.path
        raise
    except RecursionError:
        raise JsonFault("too_deep", "nested deeper than the parser goes") from None
    except json.JSONDecodeError as error:
        raise no_json(error.msg, error.pos) from None
    _refuse_unfit(value, text[start:end], _MAX_DEPTH + _LEVELS_AROUND)
    return value, end


def decode(content: bytes) -> str:
    """Return the text of UTF-8 `content`.

    Raises:
        JsonFault: it is in another encoding, or cut within a character.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise JsonFault("bad_text", "it is UTF-16", fix=_SAVE_AS_UTF8)
    if content.startswith(codecs.BOM_UTF8):
        raise JsonFault("not_json", "it begins with a byte order mark", fix=_SAVE_AS_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            raise JsonFault("not_json", "it ends within a character") from None
        raise JsonFault("bad_text", f"byte {error.start} is not UTF-8", fix=_SAVE_AS_UTF8) from None


def canonical(value: Any) -> str:
    """Return the canonical JSON text of `value` (dict, list, str, int, Decimal, float, bool, None).

    Raises:
        JsonFault: a value JSON has no word for, such as NaN or a lone surrogate.
    """
    parts: list[str] = []
    _write(value, parts)
    text = "".join(parts)
    if _has_surrogate(text):
        raise JsonFault("bad_text", "a lone surrogate")
    return text


def pointer(parts: Iterable[str | int]) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode("utf-8")).hexdigest()


def digest_text(text: str | bytes) -> str:
    """Return the SHA-256 of `text` as it stands, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8") if isinstance(text, str) else text).hexdigest()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise stands_twice(_first_duplicate(pairs))
    return result


def _first_duplicate(pairs: Iterable[tuple[str, Any]]) -> str | None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return None


def stands_twice(key: str | None) -> JsonFault:
    """Return the fault of an object with a key that stands twice in it."""
    where = pointer([key or ""]).encode("utf-8", "backslashreplace").decode()
    return JsonFault("duplicate_key", f"the key {key!r} stands twice in one object", where)


class _Pairs(list[tuple[str, Any]]):
    """An object whose keys may stand twice."""


def _path_of_duplicate(text: str, start: int) -> str | None:
    """Return where a key stands twice, None if that lies too deep to be looked for."""

    def search(value: Any, path: tuple[str | int, ...]) -> tuple[str | int, ...] | None:
        pairs = value if isinstance(value, _Pairs) else enumerate(value) if isinstance(value, list) else ()
        if isinstance(value, _Pairs) and (key := _first_duplicate(value)) is not None:
            return (*path, key)
        return next(filter(None, (search(item, (*path, key)) for key, item in pairs)), None)

    try:
        decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=str, parse_int=str)
        tree, _ = decoder.raw_decode(text.lstrip(" \t\r\n") if start == 0 else text, start)
        found = search(tree, ())
    except (RecursionError, json.JSONDecodeError):
        return None
    return pointer(found).encode("utf-8", "backslashreplace").decode() if found else None


def no_json(problem: str, position: int) -> JsonFault:
    """Return the fault of a text that is no JSON from `position` on."""
    return JsonFault("not_json", f"{problem.removesuffix(' at')} at character {position}")


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise JsonFault("bad_number", "a number's exponent is out of range") from None
    exponent = number.adjusted()
    if abs(exponent) > _MAX_EXPONENT:
        raise JsonFault("bad_number", f"a number with exponent {exponent} is out of range")
    return number


def _integer(text: str) -> int:
    if len(text) > _MAX_EXPONENT // 4:
        raise JsonFault("bad_number", f"an integer of {len(text)} digits is out of range")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise JsonFault("bad_number", f"{text} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
)


def _refuse_unfit(value: Any, text: str, max_depth: int = _MAX_DEPTH) -> None:
    """Refuse what is JSON and cannot be kept."""
    if text.count("[") + text.count("{") >= max_depth:
        _refuse_depth(value, max_depth)  # first, since the next one recurses
    if "\\u" in text or _has_surrogate(text):
        _refuse_bad_text(value, "")


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and _SURROGATE.search(text) is not None


def _refuse_bad_text(value: Any, path: str) -> None:
    if isinstance(value, str):
        if any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in value):
            raise JsonFault("bad_text", "U+0000 or a lone surrogate", path)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_bad_text(key, path)
            _refuse_bad_text(item, path + pointer([key]))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_bad_text(item, f"{path}/{index}")


def _refuse_depth(value: Any, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise JsonFault("too_deep", f"nested deeper than {max_depth} levels")


def _write(value: Any, parts: list[str]) -> None:
    if value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif isinstance(value, str):
        parts.append(_quoted(value))
    elif isinstance(value, int):
        parts.append(str(value) if -_PLAIN_INTEGER < value < _PLAIN_INTEGER else _number(Decimal(value)))
    elif isinstance(value, float):
        parts.append(_number(Decimal(repr(value))))
    elif isinstance(value, Decimal):
        parts.append(_number(value))
    elif isinstance(value, dict):
        parts.append("{")
        for index, key in enumerate(_ordered(value)):
            parts.append(f"{',' if index else ''}{_quoted(key)}:")
            item = value[key]
            if type(item) is str:  # most members are, and a call costs more than the text
                parts.append(_quoted(item))
            else:
                _write(item, parts)
        parts.append("}")
    elif isinstance(value, list | tuple):
        parts.append("[")
        for index, item in enumerate(value):
            if index:
                parts.append(",")
            _write(item, parts)
        parts.append("]")
    else:
        raise JsonFault("not_json", f"JSON has no word for a {type(value).__name__}")


def _quoted(text: str) -> str:
    return f'"{text}"' if _SPECIAL.search(text) is None else f'"{_SPECIAL.sub(_escape, text)}"'


def _ordered(value: dict[str, Any]) -> list[str]:
    """Return the keys in their order; that of ASCII keys is the one that Python sorts by."""
    try:
        is_ascii = "".join(value).isascii()
    except TypeError:
        is_ascii = False  # a key that is no text, which is refused below
    return sorted(value) if is_ascii else sorted(value, key=_utf16)


def _utf16(key: str) -> bytes:
    """RFC 8785 sorts keys by UTF-16 code units, which differs from code points beyond the basic plane."""
    if not isinstance(key, str):
        raise JsonFault("not_json", f"JSON has no key that is a {type(key).__name__}")
    return key.encode("utf-16-be", "surrogatepass")


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return _ESCAPES.get(character) or f"\\u{ord(character):04x}"


def _number(value: Decimal) -> str:
    """Write a number as ECMAScript would, from its exact digits."""
    if not value.is_finite():
        raise JsonFault("bad_number", f"{value} is not a JSON number")
    sign, digit_tuple, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digit_tuple)).lstrip("0")
    if not digits:
        return "0"
    stripped = digits.rstrip("0")
    exponent += len(digits) - len(stripped)
    point = len(stripped) + exponent  # position of the decimal point, counted from the first digit
    minus = "-" if sign else ""
    if 0 < point <= 21:
        if exponent >= 0:
            return minus + stripped + "0" * exponent
        return f"{minus}{stripped[:point]}.{stripped[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{stripped}"
    mantissa = stripped if len(stripped) == 1 else f"{stripped[0]}.{stripped[1:]}"
    return f"{minus}{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"
