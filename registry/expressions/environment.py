"""Expressions compiled once and evaluated over JSON: the one entry point to CEL.

A bare name means a member of the step's output: `pass == true` is `output.pass == true`. Only the members that an
expression reads are bound, so a step decodes no more than `Expression.paths`.

Besides the standard library the extensions of CEL's authors are there: strings (`'a b'.split(' ')`), math
(`math.abs(x)`), encoders (`base64.encode(b'a')`), bindings (`cel.bind(t, trigger.total, t > 1 && t < 9)`) and
optionals (`trigger.?sender.orValue('')`).

Numbers follow their value, not their spelling: 1 and 1.0 have one canonical JSON and take one path, so a number is an
int if it is integral and a double otherwise. CEL does not mix the two in arithmetic: write `double(amount) * 1.05`.
An integer beyond 64 bits is compared as a double. A float given by Python stays a double.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings
from google.protobuf.any_pb2 import Any as AnyMessage

from registry.expressions.syntax import Comparison, MemberPath, Reads

VARIABLES = ("output", "input", "trigger", "episode", "event")
"""What an expression may read: the step's output and input, the trigger's payload, the episode, the awaited event."""

BARE = "output"
_CACHED = 4096
_SHOWN = 200


class ExpressionFault(ValueError):
    """An expression that does not compile, or has no value for what it was given.

    Attributes:
        code: `does_not_compile`, `not_json`, or CEL's word for what went wrong in lower case, such as `not_found` (an
            absent member), `out_of_range`, `invalid_argument`, and `unknown` (no such operation on these types).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Expression:
    """A compiled expression.

    Attributes:
        paths: the member paths it reads, so that nothing else needs to be decoded.
        equals: path and literal of an expression of the form `path == literal`, for the proof that branches are total.
        is_path: it is nothing but a member path.
        reads: every member path, those within others included.
        tested: those of `reads` that may be absent, as they stand in a `has(...)` or behind a `?`.
        comparisons: members compared with literals.
        rewritten: the text with bare names written out.
    """

    text: str
    paths: tuple[MemberPath, ...]
    equals: tuple[MemberPath, bool | str] | None = None
    is_path: bool = False
    reads: tuple[MemberPath, ...] = ()
    tested: tuple[MemberPath, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    rewritten: str = ""
    _program: Any = field(default=None, repr=False, compare=False)

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """Return the value over `bindings`: variable -> parsed JSON.

        An expression that only names a member gives that member as it stands, every digit kept.

        Raises:
            ExpressionFault: it has no value, such as for an absent member.
        """
        if self.is_path:
            return self._member(bindings)
        try:
            value = self._program.eval(data=self._bound(bindings))
        except RuntimeError as error:
            raise _evaluation_fault(self.text, str(error)) from None
        try:
            plain = _plain(value.plain_value())
        except TypeError:
            reason = "gives an optional; end it with .orValue(...) or .value()"
            raise ExpressionFault("not_json", f"{self.text}: {reason}") from None
        if value.type() == cel.Type.ERROR:
            raise _evaluation_fault(self.text, plain)
        return plain

    def _member(self, bindings: Mapping[str, Any]) -> Any:
        value: Any = bindings
        for name in self.paths[0]:
            if not isinstance(value, Mapping) or name not in value:
                raise ExpressionFault("not_found", f"{self.text}: there is no {'.'.join(self.paths[0])}")
            value = value[name]
        return value

    def _bound(self, bindings: Mapping[str, Any]) -> dict[str, Any]:
        bound: dict[str, Any] = {}
        for path in self.paths:
            source: Any = bindings
            target = bound
            for name in path[:-1]:
                source = source.get(name, _ABSENT)
                if not isinstance(source, Mapping):
                    break
                target = target.setdefault(name, {})
            else:
                name, source = path[-1], source.get(path[-1], _ABSENT)
            if source is not _ABSENT:
                target[name] = _cel_value(source)
        return bound


_ABSENT = object()


@lru_cache(maxsize=_CACHED)
def compile_expression(
    text: str, *, variables: tuple[str, ...] = VARIABLES, bare: str | None = BARE, checked: bool = True
) -> Expression:
    """Return the compiled `text`; the same text is compiled once.

    Args:
        variables: names the expression may read.
        bare: the variable whose members other names mean; None if there is none.
        checked: refuse what CEL's type checker refuses, such as `1 + "a"`; else that is found when it is evaluated.

    Raises:
        ExpressionFault: it does not compile.
    """
    env = _environment(variables)
    reads = Reads.of(_parsed(env, text), variables)
    rewritten = text
    if bare:
        for position in sorted(set(reads.bare_positions), reverse=True):  # a macro may repeat its operand
            rewritten = f"{rewritten[:position]}{bare}.{rewritten[position:]}"
        if rewritten != text:
            reads = Reads.of(_parsed(env, rewritten), variables)
    try:
        program = env.compile(rewritten, disable_check=not checked)
    except RuntimeError as error:
        raise compile_fault(text, error) from None
    return Expression(
        text=text,
        paths=outermost(reads.paths),
        equals=reads.equals,
        is_path=bare is not None and reads.is_path,
        reads=tuple(sorted(reads.paths)),
        tested=tuple(sorted(reads.tested)),
        comparisons=tuple(reads.comparisons),
        rewritten=rewritten,
        _program=program,
    )


def compile_condition(text: str) -> Expression:
    """Return the compiled condition of a trigger: it reads `trigger`, the payload, and a bare name is a member of it.

    Raises:
        ExpressionFault: it does not compile.
    """
    return compile_expression(text, variables=("trigger",), bare="trigger")


@lru_cache(maxsize=64)
def _environment(variables: tuple[str, ...]) -> cel.Env:
    # DYN, because a declared DOUBLE refuses `amount > 100`.
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN), extensions=extensions())


@lru_cache(maxsize=1)
def extensions() -> tuple[cel.CelExtensionBase, ...]:
    """Return the extensions that every expression may use."""
    return (
        ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(),
        ext_math.ExtMath(),
        ext_optional.ExtOptional(),
        ext_strings.ExtStrings(),
    )


def _parsed(env: cel.Env, text: str) -> bytes:
    """Return the serialised ParsedExpr message of `text`."""
    try:
        text.encode()  # what is no Unicode is no argument for the runtime
        return AnyMessage.FromString(env.compile(text, disable_check=True).serialize()).value
    except (RuntimeError, UnicodeEncodeError) as error:
        raise compile_fault(text, error) from None


def compile_fault(text: str, error: Exception) -> ExpressionFault:
    """Return the fault that the compiler's error about `text` is."""
    reason = str(error).splitlines()[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: <input>:")
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return ExpressionFault("does_not_compile", f"{shown!r} does not compile at {reason}")


def _evaluation_fault(text: str, reason: str) -> ExpressionFault:
    """Return the fault that CEL states as `CODE: message`; what comes without a code is a value it cannot take."""
    code, _, message = reason.partition(": ")
    return ExpressionFault(code.lower() if code.isupper() else "not_json", f"{text}: {message}")


def _cel_value(value: Any) -> Any:
    """Return parsed JSON as what the CEL runtime takes."""
    if value is None or isinstance(value, str | bool | float | datetime | timedelta | bytes):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, Decimal):
        # The size comes first: an exponent of thousands must not be written out.
        return int(value) if value.adjusted() < 18 and value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {key: _cel_value(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_cel_value(item) for item in value]
    raise ExpressionFault("not_json", f"an expression cannot read a {type(value).__name__}")


def _plain(value: Any) -> Any:
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def outermost(paths: Iterable[MemberPath]) -> tuple[MemberPath, ...]:
    """Return the paths that no other path contains, in order."""
    given = set(paths)
    return tuple(sorted(p for p in given if not any(p[:length] in given for length in range(1, len(p)))))
