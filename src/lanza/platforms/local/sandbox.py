"""The command line that starts a process isolated: a pure function of what it may see.

bubblewrap gives it a root of its own, in which there is only what is named: the system's programs and
libraries, and `Sandbox.readable` and `writable`; and namespaces of its own for processes, users, IPC and the
host's name. Landlock (`launcher.py`) forbids to open anything else in the root that all share. The network is
shared either way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from lanza.platforms.local.instructions import BUBBLEWRAP, LANDLOCK, Sandbox

SYSTEM: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/nix/store",
    "/sys/devices/system",
)
SETTINGS: Final = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
)
"""What of /etc programs need, and everybody may know."""

OPEN_FILES: Final = 4096
SHARED_MEMORY: Final = 2**28
"""Bytes of /dev/shm: they count for no process, so there are not many."""
LAUNCHER: Final = Path(__file__).with_name("launcher.py")


def command(words: Sequence[str], sandbox: Sandbox, *, tmp: str) -> list[str]:
    """`words`, to be started so that they see no more than `sandbox` says. `tmp` becomes their /tmp."""
    if sandbox.isolation == BUBBLEWRAP:
        return [*_bubblewrap(sandbox, tmp), "--", *words]
    told = {"folder": sandbox.folder, "parent": os.getpid()}
    if sandbox.isolation == LANDLOCK:
        readable = [*_existing((*SYSTEM, *SETTINGS)), *sandbox.readable]
        told |= {
            "readable": [part for path in readable for part in without(path, sandbox.hidden)],
            "writable": [*sandbox.writable, tmp],
        }
    return [sandbox.tool, "-I", "-S", str(LAUNCHER), json.dumps(told), *words]


def _bubblewrap(sandbox: Sandbox, tmp: str) -> list[str]:
    line = [sandbox.tool, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    line += ["--unshare-cgroup-try", "--hostname", "replica", "--cap-drop", "ALL", "--die-with-parent"]
    line += ["--new-session", *sandbox.options]
    links = [path for path in SYSTEM if Path(path).is_symlink()]
    for path in links:
        line += ["--symlink", str(Path(path).readlink()), path]
    binds = {path: "--ro-bind" for path in _existing((*SYSTEM, *SETTINGS)) if path not in links}
    binds |= dict.fromkeys(sandbox.hidden, "--tmpfs")
    binds |= dict.fromkeys(sandbox.readable, "--ro-bind")
    binds |= dict.fromkeys(sandbox.writable, "--bind")
    line += ["--proc", "/proc", "--dev", "/dev"]
    line += ["--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm"]  # noqa: S108 -- its own
    line += ["--bind", tmp, "/tmp"]  # noqa: S108 -- its own
    # What lies deeper comes later: a folder within one that is hidden is seen.
    for path in sorted(binds, key=lambda it: it.count("/")):
        line += ["--tmpfs", path] if binds[path] == "--tmpfs" else [binds[path], path, path]
    # Empty folders are read-only too: what is written there would be memory that counts for no process.
    for path in ("/", *sandbox.hidden):
        line += ["--remount-ro", path]
    return [*line, "--chdir", sandbox.folder]


def temporary(sandbox: Sandbox, tmp: str) -> str:
    """Where the process finds its folder for temporary files."""
    return "/tmp" if sandbox.isolation == BUBBLEWRAP else tmp  # noqa: S108 -- its own


def without(path: str, hidden: Iterable[str]) -> list[str]:
    """`path`, or what of it has nothing of `hidden` in it: Landlock can allow, and take nothing back."""
    inside = [it for it in hidden if it == path or it.startswith(path.rstrip("/") + "/")]
    if not inside:
        return [path]
    if path in inside:
        return []
    try:
        names = sorted(Path(path).iterdir())
    except OSError:
        return []
    return [part for name in names for part in without(str(name), inside)]


def _existing(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if Path(path).exists()]
