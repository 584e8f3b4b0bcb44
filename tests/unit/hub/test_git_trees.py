"""Folders in git: any run of changes leaves what the same changes leave of a dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lanza.errors import BadRequest, EntryNotFound
from lanza.hub.packs import Kind, Pack, object_id
from lanza.hub.trees import Draft, Folders, Item, encode_tree, parse_tree

NAMES = st.sampled_from(["a", "b", "a.b", "a-b", "ñ"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CHANGES = st.lists(st.tuples(st.sampled_from(["put", "delete", "folder"]), PATHS, st.binary(max_size=2)))


class Objects(Pack):
    """A pack whose objects can be read before it is written."""

    def read(self, oid: bytes) -> bytes:
        return self._objects[oid][1]


def files(objects: Objects, root: bytes, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in parse_tree(objects.read(root)):
        path = prefix + item.name.decode()
        if item.is_folder:
            inside = files(objects, item.oid, f"{path}/")
            assert inside, "git keeps no empty folders"
            found |= inside
        else:
            found[path] = objects.read(item.oid)
    return found


def expected(before: dict[str, bytes], what: str, path: str, content: bytes) -> dict[str, bytes] | None:
    """What a dictionary of files would be; None where the change cannot be made."""
    inside = {name for name in before if name.startswith(f"{path}/")}
    parts = path.split("/")
    above = {"/".join(parts[:end]) for end in range(1, len(parts))}
    match what:
        case "put":
            return None if inside or above & before.keys() else before | {path: content}
        case "delete":
            return {name: it for name, it in before.items() if name != path} if path in before else None
        case _:
            return {name: it for name, it in before.items() if name not in inside} if inside else None


@given(st.lists(CHANGES, max_size=3))
def test_changes_do_to_a_tree_what_they_do_to_a_dictionary(
    commits: list[list[tuple[str, str, bytes]]],
) -> None:
    objects = Objects()
    model: dict[str, bytes] = {}
    root: bytes | None = None
    for changes in commits:
        draft = Draft(objects.read, root)
        for what, path, content in changes:
            after = expected(model, what, path, content)
            try:
                if what == "put":
                    draft.put(path, objects.add(Kind.BLOB, content))
                elif what == "delete":
                    draft.delete(path)
                else:
                    draft.delete_folder(path)
            except (BadRequest, EntryNotFound):
                assert after is None
            else:
                assert after is not None
                model = after
        root = draft.write(objects)
        assert root == object_id(Kind.TREE, b"") or objects.read(root)
        if model or root in objects._objects:
            assert files(objects, root) == model


def test_only_folders_that_differ_are_written() -> None:
    objects = Objects()
    draft = Draft(objects.read, None)
    for path in ("a/x", "b/y"):
        draft.put(path, objects.add(Kind.BLOB, path.encode()))
    root = draft.write(objects)
    changed = Objects()
    again = Draft(objects.read, root)
    again.put("a/x", changed.add(Kind.BLOB, b"new"))
    again.put("b/y", objects.add(Kind.BLOB, b"b/y"))
    again.write(changed)
    assert len(changed) == 3  # the file, its folder, the root


def test_folders_are_sorted_as_if_they_ended_with_a_slash() -> None:
    oid = bytes(20)
    tree = encode_tree([Item(b"a", 0o040000, oid), Item(b"a.b", 0o100644, oid), Item(b"a0", 0o100644, oid)])
    assert [item.name for item in parse_tree(tree)] == [b"a.b", b"a", b"a0"]


def test_folders_that_were_read_are_forgotten_when_they_are_many() -> None:
    read: list[bytes] = []
    wide = encode_tree(Item(b"%d" % number, 0o100644, bytes(20)) for number in range(250_000))

    def reader(oid: bytes) -> bytes:
        read.append(oid)
        return wide

    folders = Folders(reader)
    for oid in (b"1", b"1", b"2", b"1"):
        assert len(folders.lines(oid)) == 250_000
    assert read == [b"1", b"2", b"1"]
