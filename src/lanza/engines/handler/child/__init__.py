"""What runs inside the handler's own process.

Only the standard library may be imported here: the process runs in the environment that the model's
requirements.txt describes, where this package need not be installed. `__main__.py` is started by its path
and loads this folder under the name `lanza_handler_child`: nothing of ours is on the handler's `sys.path`.
"""

from __future__ import annotations
