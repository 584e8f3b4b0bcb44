"""Pickles in a model folder: what they would run when loaded, found by picklescan without loading them.

The model held here: a pickle is a program. One that holds weights may be loaded when a scan finds in it
only what rebuilds tensors, and then with ``weights_only=True``; what cannot be scanned to its end is not
clean. What trainers leave beside the weights is never loaded at all, and scanned all the same.
"""

from __future__ import annotations

import fnmatch
import logging
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from lanza.errors import UnsafeModel
from lanza.models.files import FileFact
from lanza.models.findings import Finding, error, note, warning

SUFFIXES: Final = frozenset(
    {
        ".bin",
        ".ckpt",
        ".dat",
        ".data",
        ".joblib",
        ".npy",
        ".npz",
        ".pickle",
        ".pkl",
        ".pt",
        ".pth",
        ".zip",
        ".7z",
    }
)
NEVER_LOADED: Final = (
    "training_args.bin",
    "optimizer.pt",
    "optimizer.bin",
    "scheduler.pt",
    "scheduler.bin",
    "rng_state*.pth",
    "random_states_*.pkl",
    "scaler.pt",
)
_MAGIC: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_SEVEN_ZIP: Final = b"7z\xbc\xaf\x27\x1c"
# What picklescan, zipfile, zlib and numpy raise on damaged input.
_UNREADABLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_CONVERT: Final = "Convert it to safetensors: load it with your model's class, then save_pretrained(FOLDER)."
# What picklescan does not know, and torch itself admits under `weights_only=True`: it rebuilds tensors.
_REBUILDS_TENSORS: Final = re.compile(
    r"torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.nn\.parameter\.Parameter"
    r"|torch\.(Size|Tensor|device|u?int\d+|b?float\d+\w*|bool|complex\d+|\w+Storage|\w+Tensor)"
    r"|torch\.storage\.(Un)?[tT]ypedStorage|torch\.serialization\._get_layout"
    r"|collections\.(OrderedDict|Counter)|(builtins|__builtin__)\.(set|bytearray|complex)|_codecs\.encode"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What a pickle would import: names like "os.system", sorted. ``failure`` says why it is not known."""

    dangerous: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_pickle: bool = True
    failure: str | None = None

    @property
    def is_clean(self) -> bool:
        return self.is_pickle and not self.dangerous and not self.unknown and self.failure is None


def scan(path: Path, *, suffix: str | None = None) -> Scan:
    """What this file would do when unpickled. It is not unpickled, and nothing is raised.

    How it is read depends on the suffix of its name: `suffix`, for one that lies at a path without it.
    """
    from picklescan.scanner import SafetyLevel, scan_bytes

    if _starts_with(path, (_SEVEN_ZIP,)):
        return Scan(failure="it is a 7z archive")
    with _overheard() as skipped:
        try:
            with path.open("rb") as file:
                result = scan_bytes(file, str(path), path.suffix if suffix is None else suffix)
        except _UNREADABLE as problem:
            return Scan(failure=f"{type(problem).__name__}: {problem}"[:200])
    names = {
        level: tuple(
            sorted({f"{found.module}.{found.name}" for found in result.globals if found.safety is level})
        )
        for level in SafetyLevel
    }
    unknown = tuple(name for name in names[SafetyLevel.Suspicious] if not _REBUILDS_TENSORS.fullmatch(name))
    failure = "its content could not be read to the end" if result.scan_err or skipped else None
    return Scan(
        dangerous=names[SafetyLevel.Dangerous],
        unknown=unknown,
        is_pickle=bool(result.scanned_files and result.globals) or _looks_like_pickle(path),
        failure=failure,
    )


def require_clean(root: Path, weights: Iterable[str]) -> None:
    """Raise UnsafeModel unless each of these weights is safetensors, ONNX, or a pickle that scans clean."""
    for name in weights:
        if PurePosixPath(name).suffix in SUFFIXES and not scan(root / name).is_clean:
            raise UnsafeModel(
                f"{name} is a pickle that may run code when loaded, or cannot be scanned: "
                "see `lanza doctor`, and get the model as safetensors."
            )


def examine_pickles(root: Path, files: Iterable[FileFact], weights: Iterable[str]) -> Iterator[Finding]:
    """Findings on every pickle below ``root``; ``weights`` are the files that would be loaded."""
    loaded = frozenset(weights)
    leftovers: list[str] = []
    for file in files:
        if file.size == 0 or not _may_be_pickle(root, file.path):
            continue
        result = scan(root / file.path)
        if is_never_loaded(file.path):
            leftovers.append(file.path)
            yield from _judge_leftover(file.path, result)
        elif file.path in loaded:
            yield _judge_weights(file.path, result)
        elif result.is_pickle:
            yield from _judge_other(file.path, result)
    if leftovers:
        yield note(
            "never_loaded",
            f"{', '.join(leftovers[:4])}{' and more' if len(leftovers) > 4 else ''}: left by the trainer, "
            "never loaded here.",
            "Leave them out when you publish the model: they are pickles, and nobody needs them to serve it.",
            path=leftovers[0],
        )


def is_never_loaded(path: str) -> bool:
    """Whether this is a state of training, of no use to serving."""
    name = PurePosixPath(path).name
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in NEVER_LOADED)


def _judge_weights(path: str, result: Scan) -> Finding:
    if result.dangerous:
        return error(
            "unsafe_pickle",
            f"{path} would run {_some(result.dangerous)} when loaded.",
            "Do not load it anywhere. Get the weights as safetensors from whom you trust.",
            path=path,
        )
    if result.failure or not result.is_pickle:
        return error(
            "unreadable_pickle",
            f"{path} could not be scanned ({result.failure or 'it is no pickle'}), so it is not loaded.",
            "Download it again, or get the weights as safetensors.",
            path=path,
        )
    if result.unknown:
        return error(
            "unknown_pickle",
            f"{path} needs {_some(result.unknown)}, which `weights_only=True` does not let load.",
            "Save the model's state_dict alone, best as safetensors with save_pretrained.",
            path=path,
        )
    return warning(
        "pickled_weights",
        f"The weights in {path} are a pickle. It scans clean, and is loaded with weights_only=True only.",
        _CONVERT,
        path=path,
    )


def _judge_leftover(path: str, result: Scan) -> Iterator[Finding]:
    if result.dangerous:
        yield warning(
            "unsafe_pickle",
            f"{path} would run {_some(result.dangerous)} when loaded. It is never loaded here.",
            "Delete it before others load it.",
            path=path,
        )


def _judge_other(path: str, result: Scan) -> Iterator[Finding]:
    if result.dangerous:
        yield error(
            "unsafe_pickle",
            f"{path} would run {_some(result.dangerous)} when loaded.",
            "Delete it, and do not load it anywhere.",
            path=path,
        )
    elif result.failure:
        yield warning(
            "unreadable_pickle",
            f"{path} could not be scanned ({result.failure}).",
            "Delete it unless you know what it is. It is not loaded.",
            path=path,
        )
    else:
        yield note(
            "unused_pickle",
            f"{path} is a pickle that is not loaded.",
            "Delete it, or keep it out of what you publish.",
            path=path,
        )


def _may_be_pickle(root: Path, path: str) -> bool:
    if PurePosixPath(path).name.endswith((".onnx.data", ".onnx_data")):
        return False
    return PurePosixPath(path).suffix.lower() in SUFFIXES or _looks_like_pickle(root / path)


def _looks_like_pickle(path: Path) -> bool:
    return _starts_with(path, _MAGIC)


def _starts_with(path: Path, starts: tuple[bytes, ...]) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(max(len(start) for start in starts)).startswith(starts)
    except OSError:
        return False


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collect what picklescan would print: it only logs the entries of an archive that it gave up on."""
    logger = logging.getLogger("picklescan")
    skipped: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if str(record.msg).startswith("Invalid file"):
                skipped.append(record.getMessage())

    listener, propagate = Listener(logging.WARNING), logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield skipped
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
