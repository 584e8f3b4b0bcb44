"""What all tests share: how hypothesis searches.

On a builder every run tries the same examples, so that a run is red because of its change and of nothing
else; at home each run tries new ones.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("builder", derandomize=True, deadline=None)
settings.register_profile("home", deadline=None)
settings.load_profile("builder" if os.environ.get("CI") else "home")
