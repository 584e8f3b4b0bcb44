"""The environment variables of the handler's process: built from nothing, so that no secret of ours is there.

The model held here: what every program needs, where Hugging Face's libraries find their cache, the names that
handlers know from Hugging Face's toolkit, and last what the user asked for. Tokens get through only when they
are asked for. This is no isolation: whoever runs a handler runs code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from lanza.engines.base import EngineOptions
from lanza.models.adapters import BROUGHT

_NAMES: Final = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "PATH",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TEMP",
        "TMP",
        "TMPDIR",
        "TZ",
        "XDG_CACHE_HOME",
        # without these no Windows program starts
        "COMSPEC",
        "LOCALAPPDATA",
        "PATHEXT",
        "SYSTEMDRIVE",
        "SYSTEMROOT",
        "USERPROFILE",
        "WINDIR",
    }
)
_PREFIXES: Final = ("HF_", "LC_")
_INSTALLER_PREFIXES: Final = ("PIP_",)
_INSTALLER_NAMES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"})


def handler_environment(options: EngineOptions, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of the handler's process, made of those of ours (`inherited`) and of the options."""
    path = options.facts.path.resolve()
    folder = str(path)
    task = options.task.name if options.task else options.facts.task
    variables = {name: value for name, value in inherited.items() if _passes(name)}
    # where a token may lie that `hf auth login` stored; a handler gets one by options.environment
    variables["HF_TOKEN_PATH"] = os.devnull
    variables["HF_MODEL_DIR"] = variables["HF_MODEL_ID"] = folder
    if (path / BROUGHT).is_dir():
        # what it loads by name is there; the Hub is not asked for it, where it may be private or another
        variables |= {"HF_HUB_CACHE": str(path / BROUGHT), "HF_HUB_OFFLINE": "1"}
    if task:
        variables["HF_TASK"] = task
    if options.threads:
        variables["OMP_NUM_THREADS"] = str(options.threads)
    return variables | dict(options.environment)


def installer_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of pip, which runs code of the packages that it builds."""
    variables = {name: value for name, value in inherited.items() if _passes(name) or _is_for_pip(name)}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    return variables | quiet


def _passes(name: str) -> bool:
    upper = name.upper()
    return upper in _NAMES or (upper.startswith(_PREFIXES) and "TOKEN" not in upper)


def _is_for_pip(name: str) -> bool:
    return name.upper() in _INSTALLER_NAMES or name.startswith(_INSTALLER_PREFIXES)
