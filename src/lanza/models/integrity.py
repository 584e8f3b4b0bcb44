"""Damage in a model folder: files that are cut short, lie, are missing, or are not what they seem.

It needs no facts, so that a folder whose config.json is broken can be examined as well.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from lanza.errors import ModelError
from lanza.models.documents import parse_json, read_json_or_empty
from lanza.models.files import MOST_FILES, FileFact
from lanza.models.findings import Finding, error, note, warning
from lanza.models.layout import ONNX_PATHS, is_inside, shards
from lanza.models.weights import read_header

_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_POINTER_SIZE: Final = 1024
_INDEXES: Final = (
    "model.safetensors.index.json",
    "adapter_model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
# What trainers write for people, and nothing loads.
_REPORTS: Final = frozenset(
    {
        "all_results.json",
        "eval_results.json",
        "predict_results.json",
        "train_results.json",
        "trainer_state.json",
    }
)
# An ONNX tensor whose data lies in another file: the pair ("location", name) in protocol buffers' wire form.
_ONNX_LOCATION: Final = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])", re.DOTALL)
_ONNX_GRAPH_BYTES: Final = 256 * 2**20

_AGAIN: Final = "Copy or download the file again, or save the model again with save_pretrained."


def examine_files(root: Path, files: tuple[FileFact, ...]) -> Iterator[Finding]:
    """Everything that is broken in these files of the folder ``root``."""
    pointers = frozenset(lfs_pointers(root, files))
    names = frozenset(file.path for file in files if file.is_regular)
    sound = tuple(file for file in files if file.is_regular and file.path not in pointers)
    yield from _report_pointers(pointers)
    yield from _check_links(root, files)
    yield from _check_json(root, sound)
    yield from _check_safetensors(root, sound)
    yield from _check_shards(root, names)
    yield from _check_onnx(root, sound, names)
    if len(files) == MOST_FILES:
        yield warning(
            "many_files",
            f"Only the first {MOST_FILES:,} files were looked at.",
            "Point at the folder that holds the model alone.",
        )


def lfs_pointers(root: Path, files: Iterable[FileFact]) -> Iterator[str]:
    """The files that only say where Git LFS keeps their content."""
    for file in files:
        if 0 < file.size < _POINTER_SIZE and _starts_with(root / file.path, _POINTER):
            yield file.path


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _report_pointers(pointers: frozenset[str]) -> Iterator[Finding]:
    if pointers:
        yield error(
            "lfs_pointer",
            f"{_some(pointers)}: a Git LFS pointer stands where the content should be.",
            "Run `git lfs install` and `git lfs pull` in the folder.",
            path=min(pointers),
        )


def _check_links(root: Path, files: Iterable[FileFact]) -> Iterator[Finding]:
    allowed = _where_links_may_lead(root)
    for file in files:
        if not file.is_link:
            if not file.is_regular:
                yield error(
                    "special_file",
                    f"{file.path} is a pipe or a device, no file.",
                    "Remove it from the folder.",
                    path=file.path,
                )
            continue
        target = _target(root / file.path)
        if target is None or not any(target.is_relative_to(place) for place in allowed):
            yield error(
                "link_leaves_folder",
                f"{file.path} is a link to {target or 'where this user may not look'}, outside the folder.",
                "Replace the link with the file itself: what lies outside does not travel with the model.",
                path=file.path,
            )
        elif not file.is_regular and not target.is_dir():
            yield error("dangling_link", f"{file.path} is a link to no file.", _AGAIN, path=file.path)


def _target(link: Path) -> Path | None:
    try:
        return Path(os.path.realpath(link))
    except OSError:
        return None


def _where_links_may_lead(root: Path) -> tuple[Path, ...]:
    """The folder itself; and for a snapshot in the Hub's cache, the blobs that it is made of."""
    real = Path(os.path.realpath(root))
    if real.parent.name == "snapshots" and real.parent.parent.name.startswith("models--"):
        return real, real.parent.parent / "blobs"
    return (real,)


def _check_json(root: Path, files: Iterable[FileFact]) -> Iterator[Finding]:
    for file in files:
        path = PurePosixPath(file.path)
        if path.suffix != ".json":
            continue
        try:
            parse_json(root / file.path)
        except ModelError as problem:
            # nothing loads a checkpoint's or a data set's documents from here
            is_loaded = len(path.parts) == 1 and path.name not in _REPORTS
            report = error if is_loaded else warning
            yield report("invalid_json", problem.message, _AGAIN, path=file.path)


def _check_safetensors(root: Path, files: Iterable[FileFact]) -> Iterator[Finding]:
    for file in files:
        path = PurePosixPath(file.path)
        if path.suffix != ".safetensors":
            continue
        if problems := read_header(root / file.path).problems:
            report = error if len(path.parts) == 1 else warning
            yield report(
                "damaged_weights", f"{file.path} is damaged: {'; '.join(problems)}.", _AGAIN, path=file.path
            )


def _check_shards(root: Path, names: frozenset[str]) -> Iterator[Finding]:
    for index in _INDEXES:
        if index not in names:
            continue
        document = read_json_or_empty(root / index)
        weight_map = document.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            if document:  # else it is invalid JSON, and said so already
                yield error("bad_index", f"{index} maps no tensor to a file.", _AGAIN, path=index)
            continue
        yield from _check_weight_map(root, index, weight_map, names)


def _check_weight_map(
    root: Path, index: str, weight_map: dict[str, object], names: frozenset[str]
) -> Iterator[Finding]:
    outside = {str(name) for name in weight_map.values() if not isinstance(name, str) or not is_inside(name)}
    if outside:
        yield error(
            "index_leaves_folder",
            f"{index} names files outside the folder: {_some(outside)}.",
            _AGAIN,
            path=index,
        )
    present = shards({"weight_map": weight_map})
    if missing := set(present) - names:
        yield error(
            "missing_shards",
            f"{len(missing)} of the {len(present)} files that {index} names are missing: {_some(missing)}.",
            "Download or copy them again: every shard is needed.",
            path=index,
        )
    for shard in present:
        if shard in names and shard.endswith(".safetensors"):
            yield from _check_shard(root, index, shard, weight_map)


def _check_shard(root: Path, index: str, shard: str, weight_map: dict[str, object]) -> Iterator[Finding]:
    header = read_header(root / shard)
    held = {tensor.name for tensor in header.tensors}
    promised = {tensor for tensor, file in weight_map.items() if file == shard}
    if not header.problems and (absent := promised - held):
        yield error(
            "shard_lacks_tensors",
            f"{shard} lacks {len(absent)} tensors that {index} says it holds: {_some(absent)}.",
            "The shards are of different savings: save or download all of them again.",
            path=shard,
        )


def _check_onnx(root: Path, files: Iterable[FileFact], names: frozenset[str]) -> Iterator[Finding]:
    for file in files:
        if file.path not in ONNX_PATHS:
            continue
        if file.size == 0:
            yield error("damaged_weights", f"{file.path} is empty.", _AGAIN, path=file.path)
            continue
        folder = PurePosixPath(file.path).parent
        if missing := {name for name in _external_data(root / file.path) if str(folder / name) not in names}:
            yield error(
                "missing_shards",
                f"{file.path} keeps its weights in {_some(missing)}, which is missing.",
                "Copy the data file beside it: the graph is nothing without it.",
                path=file.path,
            )
    if names.isdisjoint(ONNX_PATHS) and (others := [name for name in names if name.endswith(".onnx")]):
        yield note(
            "unused_onnx",
            f"{_some(others)} will not be served.",
            f"Name the graph to serve {ONNX_PATHS[0]}, or put it at {ONNX_PATHS[1]}.",
            path=min(others),
        )


def _external_data(graph: Path) -> set[str]:
    """The names of the files that an ONNX graph keeps tensors in, found in its bytes."""
    try:
        with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if len(content) > _ONNX_GRAPH_BYTES:
                return set()
            found = [(match[1][0], match.end()) for match in _ONNX_LOCATION.finditer(content)]
            names = [content[start : start + length] for length, start in found]
    except (OSError, ValueError):
        return set()
    texts = {name.decode("ascii", "replace") for name in names}
    return {text for text in texts if text.isprintable() and is_inside(text)}


def _some(names: Iterable[str], most: int = 3) -> str:
    """The first few of these names, in order, and how many more there are."""
    ordered = sorted(names)
    rest = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + rest
