"""The patterns of `.gitattributes` and `.gitignore`: which files are large files, and which to leave out.

The model: a list of patterns, the last that matches a path decides. A pattern with a slash in it is matched
against the whole path, one without against the last part; `**` stands for any number of parts. Patterns come
from users: a match takes time in proportion to pattern and path, whatever they hold. Only the files at the
root of a repository are looked at, and macros (`[attr]`) are not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

LARGE: Final = "filter=lfs diff=lfs merge=lfs -text"
"""What `.gitattributes` says of a large file."""

MOST_PATTERNS: Final = 4096
"""Patterns with wildcards that are looked at, from the end. Plain names have no bound."""

_BLANKS: Final = " \t\r"
_WILD: Final = re.compile(r"[*?\[\\]")
_CLASSES: Final = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(.*)')
_ESCAPE: Final = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


class Patterns:
    """Patterns in order. `last` finds the one that decides."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names: dict[str, int] = {}
        self._paths: dict[str, int] = {}
        self._globs: list[tuple[int, Glob]] = []
        for index, pattern in enumerate(patterns):
            text = pattern.lstrip("/")
            if _WILD.search(text):
                self._globs.append((index, Glob(pattern)))
            elif "/" in pattern:
                self._paths[text] = index
            else:
                self._names[text] = index
        self._globs = self._globs[: -MOST_PATTERNS - 1 : -1]

    def last(self, path: str) -> int | None:
        """The number of the last pattern that matches `path`."""
        name = path.rpartition("/")[2]
        found = max(self._names.get(name, -1), self._paths.get(path, -1))
        for index, glob in self._globs:
            if index < found:
                break
            if glob.matches(path, name):
                found = index
                break
        return None if found < 0 else found


class Glob:
    """One pattern with wildcards."""

    def __init__(self, pattern: str) -> None:
        parts = [part for part in pattern.split("/") if part]
        self._whole = "/" in pattern
        self._parts = [None if part == "**" else re.compile(translate(part)) for part in parts]

    def matches(self, path: str, name: str) -> bool:
        if not self._whole:
            part = self._parts[0] if self._parts else None
            return part is None or part.fullmatch(name) is not None
        return self._match(path.split("/"))

    def _match(self, names: Sequence[str]) -> bool:
        """Which beginnings of `names` the parts so far match, carried from part to part."""
        reached = {0}
        for number, part in enumerate(self._parts):
            if part is None:
                # At the end, `a/**` is what lies in a, and not a itself.
                least = min(reached) + (number == len(self._parts) - 1 and number > 0)
                reached = set(range(least, len(names) + 1))
            else:
                reached = {at + 1 for at in reached if at < len(names) and part.fullmatch(names[at])}
            if not reached:
                return False
        return len(names) in reached


def translate(part: str) -> str:
    """A pattern for one part of a path, as a regular expression that cannot blow up.

    What stands between two stars is matched at its first place and never tried at another (atomic groups):
    a later place could only leave less for what follows.
    """
    pieces = [""]
    for token in _tokens(part):
        if token is None:
            pieces.append("")
        else:
            pieces[-1] += token
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + f".*{last}"


def _tokens(part: str) -> Iterator[str | None]:
    """Regular expressions for one character each; None for a star."""
    at = 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            yield None
        elif char == "?":
            yield "."
        elif char == "\\" and at < len(part):
            yield re.escape(part[at])
            at += 1
        elif char == "[" and (end := _class_end(part, at)):
            yield _class(part[at:end])
            at = end + 1
        else:
            yield re.escape(char)


def _class_end(part: str, at: int) -> int | None:
    """Where the bracket that opened before `at` closes: not at its first character, nor in a `[:name:]`."""
    at += part[at : at + 1] in ("!", "^")
    at += part[at : at + 1] == "]"
    while at < len(part):
        if part.startswith("[:", at) and (end := part.find(":]", at)) > 0:
            at = end + 2
        elif part[at] == "\\":
            at += 2
        elif part[at] == "]":
            return at
        else:
            at += 1
    return None


def _class(inside: str) -> str:
    negated = inside[:1] in ("!", "^")
    rest = inside[negated:]
    made = ""
    for named, escaped, span, char in re.findall(r"\[:(\w+):\]|\\(.)|(.-[^\]])|(.)", rest):
        if named:
            made += _CLASSES.get(named, "")
        elif span:
            made += f"{re.escape(span[0])}-{re.escape(span[2])}" if span[0] <= span[2] else ""
        else:
            made += re.escape(escaped or char)
    if not made:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{made}]"


class Attributes:
    """What a `.gitattributes` says of large files."""

    def __init__(self, text: str) -> None:
        rules = [rule for line in text.split("\n") if (rule := _rule(line))]
        self._patterns = Patterns([pattern for pattern, _ in rules])
        self._large = [large for _, large in rules]

    def large(self, path: str) -> bool:
        """Whether git keeps `path` as a large file."""
        found = self._patterns.last(path)
        return found is not None and self._large[found]


def _rule(line: str) -> tuple[str, bool] | None:
    """A line's pattern, and whether it makes large files; None for a line that is silent about that."""
    line = line.strip(_BLANKS)
    if quoted := _QUOTED.fullmatch(line):
        pattern, words = _unquote(quoted[1]), quoted[2].split()
    else:
        pattern, *words = re.split(f"[{_BLANKS}]+", line)
    filters = [word for word in words if word.lstrip("-!").partition("=")[0] == "filter"]
    if not filters or pattern.startswith(("#", "!", "[attr]")) or pattern.endswith("/"):
        return None
    return pattern, filters[-1] == "filter=lfs"


def _unquote(text: str) -> str:
    def plain(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes([int(code, 8) % 256]) if len(code) == 3 else _LETTERS.get(code, code)

    return _ESCAPE.sub(plain, text.encode()).decode(errors="replace")


def with_large(text: str, paths: Sequence[str]) -> str:
    """A `.gitattributes` with one line more for each of `paths` that it does not make a large file yet."""
    attributes = Attributes(text)
    missing = [path for path in paths if not attributes.large(path)]
    if not missing:
        return text
    begin = text if not text or text.endswith("\n") else text + "\n"
    return begin + "".join(f"{_literal(path)} {LARGE}\n" for path in missing)


def _literal(path: str) -> str:
    """A pattern that matches just this path. Spaces are written as git-lfs does."""
    escaped = re.sub(r'[*?\[\\]|^["#!]', r"\\\g<0>", path).replace(" ", "[[:space:]]")
    return escaped if "/" in escaped else f"/{escaped}"


class Ignore:
    """What a `.gitignore` leaves out."""

    def __init__(self, text: str) -> None:
        rules = [rule for line in text.split("\n") if (rule := _ignore_rule(line))]
        self._any = Patterns([pattern for pattern, _, _ in rules])
        self._negated = [negated for _, negated, _ in rules]
        files = [(number, pattern) for number, (pattern, _, folder) in enumerate(rules) if not folder]
        self._files = Patterns([pattern for _, pattern in files])
        self._numbers = [number for number, _ in files]

    def ignores(self, path: str) -> bool:
        """Whether the file `path` is left out, itself or with a folder above it."""
        parts = path.split("/")
        folders = ("/".join(parts[:end]) for end in range(1, len(parts)))
        if any(self._decides(self._any.last(folder)) for folder in folders):
            return True
        found = self._files.last(path)
        return self._decides(None if found is None else self._numbers[found])

    def _decides(self, number: int | None) -> bool:
        return number is not None and not self._negated[number]


def _ignore_rule(line: str) -> tuple[str, bool, bool] | None:
    """Pattern, whether it takes files back in, whether it is for folders only."""
    line = re.sub(r"(?<!\\)\s+$", "", line)
    negated = line.startswith("!")
    pattern = line[negated:]
    if not pattern.strip("/") or line.startswith("#"):
        return None
    folder = pattern.endswith("/")
    return pattern.rstrip("/"), negated, folder
