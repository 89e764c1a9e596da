"""Secrets written where only references belong, found by their form, by the name they stand under and by chance.

A document may say where a secret is kept (`{"secret_ref": "vault:kv/sap#token"}`), never the secret: documents are
stored, versioned, exported and shown. What is found is told by its kind and place; its text is in no message.
"""

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_HIDDEN = "..."


@dataclass(frozen=True, order=True)
class Found:
    """A secret in a value.

    Attributes:
        path: where it stands, such as `/runtime_binding/auth/0`.
        kind: what it looks like, in words.
    """

    path: str
    kind: str


_FORMS: Mapping[str, tuple[str, str]] = {
    # name of the group: (what it is, its form)
    "pem": ("a private key", r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY"),
    "age": ("an age key", r"AGE-SECRET-KEY-1[A-Z0-9]{20}"),
    "jwt": ("a JSON Web Token", r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"),
    "aws": ("an AWS access key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    "github": ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22})"),
    "gitlab": ("a GitLab token", r"\bgl(?:pat|dt|rt|cbt|ptt|soat|ft|imt|agent|oas|ffct)-[\w-]{20}"),
    "slack": ("a Slack token", r"\b(?:xox[abceoprs]|xapp)-[\w-]{10}"),
    "slackhook": ("a Slack webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/+-]{20}"),
    "google": ("a Google key", r"\b(?:AIza[\w-]{35}|ya29\.[\w-]{20}|GOCSPX-[\w-]{20})"),
    "stripe": ("a Stripe key", r"\b(?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16}"),
    "model": ("a model provider's key", r"\bsk-(?:ant-|proj-|svcacct-)?(?=[\w-]{0,40}\d)[\w-]{24}"),
    "package": ("a package registry's token", r"\b(?:npm_[A-Za-z0-9]{36}|pypi-[\w-]{50}|dckr_pat_[\w-]{20})"),
    "hub": ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30}"),
    "twilio": ("a Twilio key", r"\bSK[0-9a-f]{32}\b"),
    "sendgrid": ("a SendGrid key", r"\bSG\.[\w-]{16,}\.[\w-]{16}"),
    "vault": ("a Vault token", r"\bhv[sbr]\.[\w-]{24}"),
    "cloud": (
        "a cloud provider's token",
        r"\b(?:dop_v1_[0-9a-f]{32}|dapi[0-9a-f]{32}|shp(?:at|ss|ca|pa)_[0-9a-fA-F]{32})",
    ),
    "azure": ("a storage key", r"\bAccountKey=[A-Za-z0-9+/]{20}"),
    "telegram": ("a bot token", r"\b\d{8,10}:AA[\w-]{33}\b"),
    "own": ("a token of this platform", r"\brwcm_(?=[\w-]{0,200}\d)[\w-]{20}"),
}
_ANY_FORM = re.compile("|".join(f"(?P<{name}>{form})" for name, (_, form) in _FORMS.items()))

_SENSITIVE = (
    r"pass(?:word|wd|phrase)|pwd|secret(?:[_-]?key)?|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|"
    r"client[_-]?secret|signing[_-]?key|encryption[_-]?key|(?:access|refresh|auth|bearer|id)[_-]?token|credentials?"
)
_ASSIGNED = re.compile(rf"(?i)(?:{_SENSITIVE}|token|sig)[\"']?\s{{0,3}}=(?!=)\s{{0,3}}[\"']?([^\s\"'&;,]{{4,}})")
_NAMED = re.compile(rf"(?i)(?:.*[_.-])?(?:{_SENSITIVE})")
_NAMED_TOKEN = re.compile(r"(?i)(?:.*[_.-])?token")
_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/-]{8,}={0,2})")
_USERINFO = re.compile(r"://[^\s/:@]{0,256}:([^\s/@]{1,256})@")

_REFERENCE = re.compile(
    r"\$\{|\$\w|\{\{|<|%\(|\*{3}|x{4}|\.{3}|…|role/|spiffe://|arn:|"
    r"(?:vault|env|file|aws|gcp|azure|k8s|keyring|op|sops|secret|ref)[a-z-]*:(?!//)"
)
"""How a value begins that is a reference, a hole to be filled or blanked out."""

_TYPE_WORDS = re.compile(
    r"(?:string|number|integer|boolean|object|any|array<.*|map<.*|none|null|true|false|required|optional|bearer|basic)"
)
_FINGERPRINT_NAMES = re.compile(
    r"(?i).*(?:hash|digest|checksum|sha-?\d*|md5|etag|fingerprint|commit|revision|(?:^|_)(?:id|ids|uuid|guid|key_id))"
)
_FINGERPRINT = re.compile(r"(?:sha\d*|md5|pii|urn:uuid|uuid)[:-]$")
_RUN = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_HEX_RUN = re.compile(r"(?:[0-9a-f]{32,}|[0-9A-F]{32,})")
_MIN_SWITCHES = 0.42
_MIN_BITS, _MIN_HEX_BITS = 3.5, 3.0


def find_secrets(value: Any) -> Iterator[Found]:
    """Yield every secret in parsed JSON, at any depth, at most one per string.

    Three ways: a form that only a secret has (keys of known makers, private keys, tokens, headers, passwords in URLs);
    a plain text under a name such as `password`; and characters that chance alone arranges so. Not taken for one:
    references (`${...}`, `vault:...`, `role/...`), UUIDs, hashes under names that say so, ARNs.
    """
    yield from _walk(value, "", "")


def _walk(value: Any, path: str, name: str) -> Iterator[Found]:
    if isinstance(value, str):
        if kind := secret_kind(value, name=name):
            yield Found(path, kind)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            kind = secret_kind(key) if len(key) >= 12 else None
            if kind:
                yield Found(path, kind)
            yield from _walk(item, f"{path}/{_HIDDEN if kind else key}", key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}/{index}", name)


def secret_kind(text: str, *, name: str = "") -> str | None:
    """Return in words what secret `text` looks like, None if it looks like none.

    Args:
        name: the member it stands under.
    """
    if len(text) < 4:
        return None
    if len(text) >= 12 and (kind := _formed(text)):
        return kind
    if name and _is_plain(text):
        if _NAMED.fullmatch(name):
            return f"a plain text under the name {name}"
        if _NAMED_TOKEN.fullmatch(name) and len(text) >= 8 and _has_letter_and_digit(text):
            return f"a plain text under the name {name}"
    if len(text) >= 20 and (kind := _by_chance(text, name)):
        return kind
    return None


def _formed(text: str) -> str | None:
    if found := _ANY_FORM.search(text):
        return _FORMS[str(found.lastgroup)][0]
    if "=" in text and any(_is_plain(found[1]) for found in _ASSIGNED.finditer(text)):
        return "a secret given by name"
    if "://" in text and any(_is_plain(found[1]) for found in _USERINFO.finditer(text)):
        return "a password in a URL"
    for scheme, credentials in _HEADER.findall(text):
        if scheme.lower() == "basic" and _is_user_and_password(credentials):
            return "a basic authorization header"
        if scheme.lower() == "bearer" and len(credentials) >= 16 and _has_letter_and_digit(credentials):
            return "a bearer authorization header"
    return None


def _is_plain(text: str) -> bool:
    return bool(text) and not _REFERENCE.match(text) and not _TYPE_WORDS.fullmatch(text)


def _has_letter_and_digit(text: str) -> bool:
    return any(c.isdigit() for c in text) and any(c.isalpha() for c in text)


def _is_user_and_password(credentials: str) -> bool:
    try:
        return b":" in base64.b64decode(credentials + "=" * (-len(credentials) % 4), validate=True)
    except binascii.Error:
        return False


def _by_chance(text: str, name: str) -> str | None:
    if text.startswith("arn:") or _FINGERPRINT_NAMES.fullmatch(name):
        return None
    for found in _HEX_RUN.finditer(text):
        if not _FINGERPRINT.search(text[: found.start()]) and _bits(found[0]) >= _MIN_HEX_BITS:
            return "a random hexadecimal key"
    for found in _RUN.finditer(text):
        if _is_random(found[0]):
            return "a random key"
    return None


def _is_random(run: str) -> bool:
    """Tell whether capitals, small letters and digits alternate as in drawn characters, not as in words."""
    classes = ["u" if c.isupper() else "l" if c.islower() else "d" for c in run if c.isalnum()]
    if len(classes) < 20 or len(set(classes)) < 3:
        return False
    switches = sum(left != right for left, right in pairwise(classes))
    return switches >= _MIN_SWITCHES * (len(classes) - 1) and _bits(run) >= _MIN_BITS


def _bits(text: str) -> float:
    """Return Shannon's entropy in bits per character."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())
