"""What is wrong with the files of a repository: pickles that run code, damaged weights, secrets in text.

The model: a look at a commit goes on from the look before. Files that the record's commit (`Repo.head`)
holds unchanged keep the findings that the record has of them; only others are read. What may be a pickle is
scanned in another process (`scanner.py`), text is searched here (`secrets.py`). A look takes a bounded
time: where it ends early is a finding of its own, and the next look begins there. Nothing that is in a
repository raises, and nothing is refused here: that is for a policy (`policy.py`).
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from lanza.errors import RevisionNotFound
from lanza.hub.blobs import BlobStore
from lanza.hub.contents import is_text
from lanza.hub.git import Commit, Entry, GitRepo, Lfs
from lanza.hub.hub import Hub
from lanza.hub.records import Repo
from lanza.hub.scanner import SAFETENSORS, Suspect, Verdict, scan
from lanza.hub.secrets import find_secrets
from lanza.models.pickles import SUFFIXES
from lanza.models.weights import LARGEST_HEADER

SECONDS: Final = 20.0
"""How long one look may take, about."""

MOST_TEXT: Final = 4 * 2**20
"""Bytes of a text that are searched for secrets: its first ones."""

MOST_COPIED: Final = 256 * 2**20
"""The largest pickle that is brought here to be scanned, when large files are kept elsewhere."""

MOST_FINDINGS: Final = 1000
AT_ONCE: Final = 1000
"""Files that one process scans: to start it costs as much as some hundred of them."""

BROUGHT_AT_ONCE: Final = 50
"""The same, where files have to be brought here first, which takes room."""

LEVELS: Final = ("unsafe", "suspicious", "caution")
UNFINISHED: Final = "unfinished"

Read = Callable[[str], bytes]

_SAMPLE: Final = 512
_PICKLE: Final = re.compile(rb"\x80[\x00-\x05]|PK\x03\x04|7z\xbc\xaf\x27\x1c")
_DATA_OF_ONNX: Final = (".onnx.data", ".onnx_data")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """`level` is one of `LEVELS`; `kind` is "pickle", "safetensors", "secret", or `UNFINISHED`."""

    path: str
    level: str
    kind: str
    message: str


def inspect(hub: Hub, repo_id: int, commit: Commit) -> list[dict[str, Any]]:
    """Findings for the files of a commit, as the repository's record keeps them. Clean files have none."""
    git = hub.git.open(repo_id)
    known = _known(hub, git, repo_id)
    files = list(_files(git, commit))
    new = [file for file in files if (file.path, file.oid) not in known]
    found = [one for file in files for one in known.get((file.path, file.oid), ())]
    found += Look(hub.blobs, git.read, seconds=SECONDS).at(new)
    found.sort(key=lambda one: (one.kind != UNFINISHED, LEVELS.index(one.level), one.path))
    return [asdict(one) for one in found[:MOST_FINDINGS]]


def security_status(findings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """`securityRepoStatus`, as clients read it: each file with something wrong, once, at its worst level."""
    done, messages, levels = True, defaultdict[str, list[str]](list), dict[str, str]()
    for one in findings:
        if one["kind"] == UNFINISHED:
            done = False
            continue
        path = one["path"]
        messages[path].append(one["message"])
        levels[path] = min(levels.get(path, LEVELS[-1]), one["level"], key=LEVELS.index)
    issues = [
        {"path": path, "level": levels[path], "message": " ".join(messages[path])} for path in sorted(levels)
    ]
    return {"scansDone": done, "filesWithIssues": issues}


def _files(git: GitRepo, commit: Commit) -> Iterator[Entry]:
    return (entry for entry in git.entries(commit, recursive=True) if entry.kind == "file")


def _turn(file: Entry) -> tuple[bool, str]:
    """Files are looked at in this order: what may run code comes first."""
    return not _by_name(file.path), file.path


def _by_name(path: str) -> bool:
    """Whether a file of this name is scanned, whatever it holds."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix == SAFETENSORS or (suffix in SUFFIXES and not path.lower().endswith(_DATA_OF_ONNX))


def _known(hub: Hub, git: GitRepo, repo_id: int) -> dict[tuple[str, str], list[Finding]]:
    """What the last look found, by path and content; for clean files, nothing. Absent: not looked at."""
    with hub.database.reading() as session:
        repo = session.get(Repo, repo_id)
        head, recorded = (repo.head, list(repo.findings or ())) if repo else (None, [])
    if head is None:
        return {}
    try:
        files = list(_files(git, git.resolve(head)))
    except RevisionNotFound:  # the branch was moved by force, and the commit is gone
        return {}
    found = [Finding(**one) for one in recorded]
    if len(found) == MOST_FINDINGS:  # more were left out
        return {}
    by_path = defaultdict[str, list[Finding]](list)
    for one in found:
        by_path[one.path].append(one)
    ends = {one.path for one in found if one.kind == UNFINISHED}
    end = min(((not _by_name(path), path) for path in ends), default=None)
    return {
        (file.path, file.oid): by_path.get(file.path, [])
        for file in files
        if end is None or _turn(file) < end
    }


class Look:
    """One look at files, for about `seconds` at most. `read` gives what git keeps of one, by its id."""

    def __init__(self, blobs: BlobStore, read: Read, *, seconds: float) -> None:
        self._blobs = blobs
        self._content = read
        self._until = time.monotonic() + seconds

    def at(self, files: Sequence[Entry]) -> list[Finding]:
        """The findings. When there was too little time, one of them says where the next look begins."""
        found: list[Finding] = []
        files = sorted(files, key=_turn)
        at_once = AT_ONCE if self._blobs.local else BROUGHT_AT_ONCE
        for start in range(0, len(files), at_once):
            some = files[start : start + at_once]
            done = self._at_some(some, found)
            if done < len(some):
                found.append(_unfinished(some[done].path, len(files) - start - done))
                break
        return found

    def _at_some(self, files: Sequence[Entry], found: list[Finding]) -> int:
        """Adds to `found`, and gives how many of the files were looked at."""
        with tempfile.TemporaryDirectory(prefix="lanza-") as folder:
            places: dict[int, Path] = {}
            done = 0
            for number, file in enumerate(files):
                if time.monotonic() > self._until:
                    break
                findings, place = self._read(file, Path(folder, str(number)))
                found += findings
                if place is not None:
                    places[number] = place
                done = number + 1
            suspects = [Suspect(name=files[number].path, path=place) for number, place in places.items()]
            verdicts = scan(suspects, seconds=max(1.0, self._until - time.monotonic()))
        numbers = list(places)
        for number, verdict in zip(numbers, verdicts, strict=False):
            found += _judged(files[number].path, verdict)
        return numbers[len(verdicts)] if len(verdicts) < len(numbers) else done

    def _read(self, file: Entry, aside: Path) -> tuple[list[Finding], Path | None]:
        """Search a text at once. What is to be scanned gets a place: `aside`, or where it lies already."""
        content = self._start(file, MOST_TEXT if file.lfs is None else _SAMPLE)
        found = list(self._secrets(file, content))
        if not (_by_name(file.path) or _PICKLE.match(content)):
            return found, None
        if self._is_too_large(file):
            too_large = f"it has more than {MOST_COPIED >> 20} MiB, which is too much to be scanned here."
            found.append(Finding(path=file.path, level="caution", kind="pickle", message=too_large))
            return found, None
        return found, self._place(file, aside)

    def _secrets(self, file: Entry, content: bytes) -> Iterator[Finding]:
        if not is_text(content[:_SAMPLE]) or _is_safetensors(file):
            return
        text = content if file.lfs is None else self._start(file, MOST_TEXT)
        for secret in find_secrets(text):
            yield Finding(
                path=file.path,
                level="caution",
                kind="secret",
                message=f"line {secret.line} seems to hold {secret.what}: revoke it, then take it out.",
            )

    def _start(self, file: Entry, most: int) -> bytes:
        """The first bytes of a file; none, when its content is not here."""
        if file.lfs is None:
            return self._content(file.oid)[:most]
        if not self._blobs.has(file.lfs.sha256):
            return b""
        return b"".join(self._blobs.read(file.lfs.sha256, 0, min(most, file.lfs.size)))

    def _is_too_large(self, file: Entry) -> bool:
        """Whether a file is not here, and too large to be brought. Of safetensors only the header is."""
        return (
            file.lfs is not None
            and not self._blobs.local
            and not _is_safetensors(file)
            and file.lfs.size > MOST_COPIED
        )

    def _place(self, file: Entry, aside: Path) -> Path | None:
        """Where a file can be read: its blob, or what is laid at `aside`. None when it is not here."""
        if file.lfs is None:
            aside.write_bytes(self._content(file.oid))
        elif not self._blobs.has(file.lfs.sha256):
            return None
        elif (local := self._blobs.path(file.lfs.sha256)) is not None:
            return local.absolute()
        elif _is_safetensors(file):
            self._lay_header(file.lfs, aside)
        else:
            with aside.open("wb") as copy:
                copy.writelines(self._blobs.read(file.lfs.sha256))
        return aside

    def _lay_header(self, lfs: Lfs, place: Path) -> None:
        """A file as long as the weights, with their header and holes for the rest."""
        start = b"".join(self._blobs.read(lfs.sha256, 0, min(8, lfs.size)))
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if length <= min(LARGEST_HEADER, lfs.size - 8):
            start += b"".join(self._blobs.read(lfs.sha256, 8, 8 + length))
        place.write_bytes(start)
        os.truncate(place, lfs.size)


def _is_safetensors(file: Entry) -> bool:
    return PurePosixPath(file.path).suffix.lower() == SAFETENSORS


def _judged(path: str, verdict: Verdict) -> Iterator[Finding]:
    if verdict.level:
        kind = "safetensors" if PurePosixPath(path).suffix.lower() == SAFETENSORS else "pickle"
        yield Finding(path=path, level=verdict.level, kind=kind, message=verdict.message)


def _unfinished(path: str, left: int) -> Finding:
    message = f"{left} files were not looked at yet, from this one on: the next change goes on with them."
    return Finding(path=path, level="caution", kind=UNFINISHED, message=message)
