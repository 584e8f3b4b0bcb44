"""Secrets in text: known kinds of tokens, private keys, random values under a name that gives them away.

The model: every rule begins with fixed text, which is looked for at the speed of memory; only where it
stands a pattern looks closer, at a bounded number of bytes. So the time is linear in the text, whatever it
holds. What is plainly a placeholder counts for nothing. A secret is never repeated: only its kind and its
line are told.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_WORD: Final = re.compile(rb"[A-Za-z0-9_-]")
_PLACEHOLDER: Final = re.compile(
    rb"x{4}|\*{3}|\.{3}|example|your[_-]|placeholder|redacted|changeme|dummy", re.I
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """`what` it seems to be ("a Hugging Face token"), and the `line` where it stands, from 1."""

    what: str
    line: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """`pattern` matches from `literal` on; its last group, or else all of it, is the secret."""

    what: str
    literal: bytes
    pattern: re.Pattern[bytes]


def _rule(what: str, literal: str, rest: str) -> _Rule:
    return _Rule(what, literal.encode(), re.compile(re.escape(literal).encode() + rest.encode()))


_END: Final = r"(?![A-Za-z0-9])"

_TOKENS: Final = (
    _rule("a Hugging Face token", "hf_", r"[A-Za-z0-9]{30,40}" + _END),
    _rule("a Hugging Face token", "hf_oauth_", r"[\w-]{20,400}"),
    _rule("a Hugging Face organization token", "api_org_", r"[A-Za-z0-9]{30,40}" + _END),
    _rule("a Lanza token", "lz_", r"[A-Za-z0-9]{40}" + _END),
    *(_rule("a GitHub token", f"gh{kind}_", r"[A-Za-z0-9]{36,255}" + _END) for kind in "pousr"),
    _rule("a GitHub token", "github_pat_", r"[A-Za-z0-9]{22}_[A-Za-z0-9]{59}" + _END),
    _rule("a GitLab token", "glpat-", r"[\w-]{20,64}"),
    _rule("an Anthropic key", "sk-ant-", r"[\w-]{40,200}"),
    _rule("an OpenAI key", "sk-proj-", r"[\w-]{40,200}"),
    _rule("an OpenAI key", "sk-svcacct-", r"[\w-]{40,200}"),
    _rule("an API key", "sk-", r"[A-Za-z0-9]{32,64}" + _END),
    _rule("a Replicate token", "r8_", r"[A-Za-z0-9]{37,40}" + _END),
    _rule("a Groq key", "gsk_", r"[A-Za-z0-9]{48,56}" + _END),
    _rule("an AWS access key", "AKIA", r"[A-Z2-7]{16}" + _END),
    _rule("an AWS access key", "ASIA", r"[A-Z2-7]{16}" + _END),
    _rule("a Google API key", "AIza", r"[\w-]{35}(?![\w-])"),
    _rule("an Azure storage key", "AccountKey=", r"([A-Za-z0-9+/]{86}==)"),
    _rule("a Databricks token", "dapi", r"[0-9a-f]{32}(?:-\d)?" + _END),
    *(_rule("a Slack token", f"xox{kind}-", r"[A-Za-z0-9-]{10,255}") for kind in "abeprs"),
    _rule("a Stripe key", "sk_live_", r"[A-Za-z0-9]{24,255}" + _END),
    _rule("a Stripe key", "rk_live_", r"[A-Za-z0-9]{24,255}" + _END),
    _rule("a SendGrid key", "SG.", r"[\w-]{22}\.[\w-]{43}(?![\w-])"),
    _rule("a DigitalOcean token", "dop_v1_", r"[0-9a-f]{64}" + _END),
    _rule("a PyPI token", "pypi-", r"AgEIcHlwaS5vcmc[\w-]{50,400}"),
    _rule("an npm token", "npm_", r"[A-Za-z0-9]{36}" + _END),
    _rule("a signed web token", "eyJ", r"[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{20,1000}"),
)
# A line of base64 must follow: documents name the first line alone.
_PRIVATE_KEY: Final = _rule(
    "a private key",
    "-----BEGIN ",
    r"(?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\\[nr]|\s){1,8}"
    r"(?:[A-Z][A-Za-z-]{2,20}: [^\r\n]{1,80}(?:\\[nr]|\s){1,8}){0,4}([A-Za-z0-9+/=]{24})",
)
_NAMES: Final = (b"key", b"token", b"secret", b"password", b"passwd")
_KINDS_OF_KEY: Final = re.compile(rb"(?:api|access|account|auth|secret|private|encryption|signing)[_-]?$")
_VALUE: Final = re.compile(
    rb"[\"']?\]?[ \t]{0,8}[:=][ \t]{0,8}[\"']?([A-Za-z0-9+/_-]{20,200}={0,2})(?=[\"'\s,;)}\]]|$)"
)
_BITS: Final = 2.8
"""Bits of entropy in a character of a token; of a value that only its name betrays, `_BITS_BY_NAME`."""
_BITS_BY_NAME: Final = 3.5
_LEAST: Final = 3
"""Digits, and letters, in a value that only its name betrays: without, it is a number or a word."""


def find_secrets(text: bytes, *, most: int = 5) -> list[Secret]:
    """The first `most` secrets in a text, by line; at most one for each place."""
    places: dict[int, str] = {}
    for rule in (*_TOKENS, _PRIVATE_KEY):
        for at in _matches(text, rule):
            places.setdefault(at, rule.what)
    for at in _named(text):
        if not any(at <= place <= at + 40 for place in places):
            places[at] = "a secret, as its name says,"
    first = sorted(places.items())[:most]
    return [Secret(what=what, line=text.count(b"\n", 0, at) + 1) for at, what in first]


def _occurrences(text: bytes, literal: bytes) -> Iterator[int]:
    at = text.find(literal)
    while at >= 0:
        yield at
        at = text.find(literal, at + len(literal))


def _matches(text: bytes, rule: _Rule) -> Iterator[int]:
    """Where a rule's secret begins: not within a longer word, and no placeholder."""
    done = 0
    for at in _occurrences(text, rule.literal):
        if at < done or (at and _WORD.match(text, at - 1) and rule.literal[:1] != b"-"):
            continue
        if found := rule.pattern.match(text, at):
            done = found.end()
            if _is_random(found[found.lastindex or 0], _BITS):
                yield at


def _named(text: bytes) -> Iterator[int]:
    """Where a name like `api_key` begins that is given a random value."""
    lower = text.lower()
    for name in _NAMES:
        for at in _occurrences(lower, name):
            if name == b"key" and not _KINDS_OF_KEY.search(lower, max(0, at - 12), at):
                continue
            found = _VALUE.match(text, at + len(name))
            if found and _is_mixed(found[1]) and _is_random(found[1], _BITS_BY_NAME):
                yield at


def _is_mixed(value: bytes) -> bool:
    digits = sum(48 <= one <= 57 for one in value)
    letters = sum(65 <= (one & 0xDF) <= 90 for one in value)
    return digits >= _LEAST and letters >= _LEAST


def _is_random(value: bytes, least: float) -> bool:
    return not _PLACEHOLDER.search(value) and _bits(value) >= least


def _bits(value: bytes) -> float:
    """Shannon's entropy of the bytes, in bits for each."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
