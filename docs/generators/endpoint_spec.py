"""endpoint-spec.md: the annotated example, as it stands beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

EXAMPLE: Final = Path(__file__).parents[1] / "reference/endpoint.yaml"

INTRODUCTION: Final = """\
# endpoint.yaml

What an endpoint is asked to be is one tree of values: this file, the body of `POST /v2/endpoint/{namespace}`,
and what the server keeps. [endpoint.yaml](endpoint.yaml) has every field; a test fails when one is missing.

- A field that is not known is refused, with its name: a slip of the pen never goes unseen.
- `PUT /v2/endpoint/{namespace}/{name}` takes the fields that change. Objects are merged field by field;
  `image`, `env`, `secrets` and `measure` are replaced as a whole; `null` gives a field its default again.
- What replicas are made of (`model`, `compute` but for `scaling`, `platform`, `deadline`, `startTimeout`, the
  commit of the revision) makes a new revision, which replaces the old one once a replica of it is ready. All
  else holds at once, and restarts nothing.
- Of YAML, aliases, tags of a language and keys that are there twice are refused, with the line. JSON is YAML
  too.
"""


def lines() -> Iterator[str]:
    yield INTRODUCTION
    yield "```yaml"
    yield from EXAMPLE.read_text().splitlines()
    yield "```"
