"""Which machine, and is it quiet: figures without that are worth nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]

QUIET: Final = 0.5
"""The highest load average, of the last minute, at which a run begins."""

PACKAGES: Final = (
    "lanza", "onnxruntime", "tokenizers", "numpy", "uvicorn", "uvloop",
    "litserve", "bentoml", "fastapi", "torch", "transformers",
)  # fmt: skip
FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")


def load_average() -> float:
    return os.getloadavg()[0]


def describe(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """What identifies the machine and the software, as far as it can be read here."""
    cpu = _cpu()
    flags = set(cpu.get("flags", "").split())
    return {
        "cpu": cpu.get("model name", platform.processor() or "unknown"),
        "cpu_model": f"family {cpu.get('cpu family', '?')}, model {cpu.get('model', '?')}",
        "cores": len(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in flags,
        "instructions": [flag for flag in FLAGS if flag in flags],
        "governor": _governor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "wrk": _wrk(),
    }


def stolen() -> float:
    """Seconds of CPU that the hypervisor has given to others since boot; 0 where it does not say."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether settings that were tuned on `one` can be expected to suit `other`."""
    return all(one.get(key) == other.get(key) for key in ("cpu", "cpu_model", "cores"))


def _cpu() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    first = path.read_text().split("\n\n")[0] if path.is_file() else ""
    rows = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in rows}


def _governor() -> str:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.is_file() else "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _wrk() -> str:
    program = shutil.which("wrk")
    if program is None:
        return "absent"
    done = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].partition(" Copyright")[0]
