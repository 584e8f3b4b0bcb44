"""What a model folder is: read it, say which engine serves it, and what is wrong with it.

Nothing here imports a library that runs models: a folder is judged from its files alone.
"""

from __future__ import annotations
