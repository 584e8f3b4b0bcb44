"""Operations on repositories, drawn at random: which, how often, and with what.

What is given is plain, and means something whatever came before: a list of operations of which some are left
out is still one. Numbers of commits and files are counted round.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

Draw = Callable[[random.Random], Any]

Operation = tuple[str, Mapping[str, Any]]
"""The name of an operation, and what it is given."""

MAIN: Final = "main"
SECOND: Final = "dev"
NAMES: Final = ("becas", "notas", "otro")
BRANCHES: Final = (MAIN, SECOND, "x", "x/y", "nowhere")
TAGS: Final = ("v1", "v2/a", "dev")
PATHS: Final = (
    *("a.txt", "b.txt", "w.bin", "d/a.txt", "d/w.bin"),  # and once more, as these never clash
    "a.txt",
    "b.txt",
    "año 1.txt",
    "w.bin",
    "d",
    "d/a.txt",
    "d/w.bin",
    "d/e",
    "d/e/b.txt",
)
CARDS: Final = (
    b"---\nlicense: mit\n---\n",
    b"---\nlicense: bsl-1.0\n---\n",
    b"---\nlicense: [\n---\n",
    b"none",
)


def drawn(seed: str, count: int) -> list[Operation]:
    """A repository with two branches, and `count` operations after it."""
    chance = random.Random(seed)
    weights = [weight for weight, _ in OPERATIONS.values()]
    chosen = chance.choices(list(OPERATIONS.items()), weights, k=count)
    first: list[Operation] = [
        ("create", {"name": NAMES[0]}),
        ("create_branch", {"name": NAMES[0], "branch": SECOND, "start": MAIN}),
    ]
    return [*first, *((name, {key: it(chance) for key, it in draws.items()}) for name, (_, draws) in chosen)]


def one_of(*values: Any) -> Draw:
    return lambda chance: chance.choice(values)


def number(chance: random.Random) -> int:
    return chance.randrange(30)


def revision(chance: random.Random) -> str | int:
    """A name of a branch or a tag that there may be, or the number of a commit."""
    return chance.choice((MAIN, number(chance), *BRANCHES, *TAGS))


def parent(chance: random.Random) -> str | int | None:
    return chance.choice((None, None, None, MAIN, MAIN, number(chance)))


def small_files(chance: random.Random) -> dict[str, bytes]:
    files = {
        path: chance.randbytes(chance.randrange(30))
        for path in chance.sample(PATHS, chance.choice((0, 1, 1, 2)))
    }
    return files | ({"README.md": chance.choice(CARDS)} if chance.random() < 0.3 else {})


def large_files(chance: random.Random) -> dict[str, int]:
    return {path: chance.randrange(6) for path in chance.sample(PATHS, chance.choice((0, 1, 1, 2)))}


def seldom(*values: str) -> Draw:
    """One of them, or mostly none: what is deleted is often not there, and then nothing of a push is done."""
    return lambda chance: [chance.choice(values)] if chance.random() < 0.15 else []


name = one_of(*[NAMES[0]] * 5, *NAMES)  # most happens in one, so that it meets
branch = one_of(*[MAIN] * 4, *[SECOND] * 4, *BRANCHES)  # and in two branches, which come apart

OPERATIONS: Final[Mapping[str, tuple[int, Mapping[str, Draw]]]] = {
    "create": (1, {"name": one_of(*NAMES)}),
    "move": (2, {"name": name, "to": one_of(*NAMES)}),
    "delete": (1, {"name": one_of(*NAMES)}),
    "duplicate": (2, {"name": name, "to": one_of(*NAMES)}),
    "commit": (
        10,
        {
            "name": name,
            "branch": branch,
            "small": small_files,
            "large": large_files,
            "deleted": seldom(*PATHS),
            "folders_deleted": seldom("d", "d/e"),
            "parent": parent,
        },
    ),
    "remove": (4, {"name": name, "branch": branch, "which": number, "folder": one_of(True, False)}),
    "upload_and_commit_later": (1, {"name": name, "content": number}),
    "repeat_the_last_commit": (2, {}),
    "squash": (3, {"name": name, "branch": branch}),
    "create_branch": (3, {"name": name, "branch": one_of(*BRANCHES), "start": revision}),
    "delete_branch": (1, {"name": name, "branch": branch}),
    "create_tag": (
        3,
        {"name": name, "tag": one_of(*TAGS), "start": revision, "message": one_of(None, "¡ya!")},
    ),
    "delete_tag": (1, {"name": name, "tag": one_of(*TAGS)}),
    "read": (3, {"name": name, "wanted": revision, "path": one_of(*PATHS), "part": one_of(True, False)}),
    "list_files": (2, {"name": name, "wanted": revision}),
    "read_history": (1, {"name": name, "wanted": revision}),
    "collect_garbage": (1, {}),
}
"""How often each operation comes, relative to others, and what it is given."""
