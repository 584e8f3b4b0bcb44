"""`lanza env`: the variables that make Hugging Face's clients talk to this server, for `eval`.

Tokens that those clients store while the variables are set go into a folder of this server's own. Otherwise a
token of another hub would be sent here, and one of this server to that hub once the variables are gone.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from lanza.cli.context import Context, ServerOption, context

TOKENS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
"""The token's names, old ones too."""


def variables(server: Context, home: Path) -> dict[str, str]:
    """What to set. `home` is Lanza's own folder."""
    found = {
        "LANZA_URL": server.url,
        "HF_ENDPOINT": server.url,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        # transformers would tell a service of Hugging Face's the names of repositories without safetensors.
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "HF_TOKEN_PATH": str(home / "clients" / re.sub(r"[^a-z0-9.-]", "_", server.authority) / "token"),
    }
    return found | (dict.fromkeys(TOKENS, server.token) if server.token else {})


def environment_of(server: Context, home: Path, outside: Mapping[str, str]) -> dict[str, str]:
    """`outside` with the variables set, the commands of `shims/` first on PATH, and no token of elsewhere."""
    from lanza.cli.shims import write_shims

    shims = write_shims(home / "shims")
    kept = {name: value for name, value in outside.items() if name not in TOKENS}
    path = os.pathsep.join([str(shims), *filter(None, [outside.get("PATH")])])
    return {**kept, **variables(server, home), "PATH": path}


def env(
    server: ServerOption = None,
    powershell: Annotated[
        bool, typer.Option("--powershell", help="Print PowerShell; the default there.")
    ] = sys.platform == "win32",
) -> None:
    """Print what `lanza shell` sets, for the shell that you are in: eval "$(lanza env)"."""
    from lanza.cli.shims import write_shims
    from lanza.settings import Settings

    home = Settings.read().home
    chosen = context(server)
    found = variables(chosen, home)
    shims = str(write_shims(home / "shims"))
    for line in _powershell(found, shims) if powershell else _posix(found, shims):
        print(line)


def _posix(found: Mapping[str, str], shims: str) -> list[str]:
    cleared = [f"unset {name}" for name in TOKENS if name not in found]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in found.items()]
    return [*cleared, *exports, f'export PATH={shlex.quote(shims)}:"$PATH"']


def _powershell(found: Mapping[str, str], shims: str) -> list[str]:
    cleared = [f"Remove-Item Env:{name} -ErrorAction Ignore" for name in TOKENS if name not in found]
    exports = [f"$Env:{name} = '{_doubled(value)}'" for name, value in found.items()]
    path = f"$Env:PATH = '{_doubled(shims)}' + [IO.Path]::PathSeparator + $Env:PATH"
    return [*cleared, *exports, path]


def _doubled(text: str) -> str:
    return text.replace("'", "''")
