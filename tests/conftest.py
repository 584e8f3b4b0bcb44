"""What all tests share: how hypothesis searches, and what tests are called.

On a builder every run tries the same examples, so that a run is red because of its change and of nothing
else; at home each run tries new ones.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("builder", derandomize=True, deadline=None)
settings.register_profile("home", deadline=None)
settings.load_profile("builder" if os.environ.get("CI") else "home")

LONGEST_BYTES = 16


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Not by long bytes: archives have the time in them, and a test must have one name in all processes."""
    return argname if isinstance(val, bytes) and len(val) > LONGEST_BYTES else None
