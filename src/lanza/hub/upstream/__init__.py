"""The hub behind this one: what is unknown here is read from there, or brought here for good.

upstream.py     asks it, without any token, and follows it only where it may lead
cache.py        keeps its answers and files on the disk, bounded
answers.py      what its answers mean here
wanted.py       which addresses are read through, and what they are called there
ours.py         which names are known here, and so never leave
through.py      answers for it where this server knows nothing
importing.py    makes a repository of its here
imports.py      does so for those who ask, and tells how far it is
"""

from __future__ import annotations

from lanza.hub.upstream.importing import import_repo
from lanza.hub.upstream.imports import Imports
from lanza.hub.upstream.through import ReadThrough
from lanza.hub.upstream.upstream import Upstream

__all__ = ["Imports", "ReadThrough", "Upstream", "import_repo"]
