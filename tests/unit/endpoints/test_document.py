from __future__ import annotations

from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.endpoints.document import MOST_BYTES, read_document
from lanza.endpoints.reading import read_spec
from lanza.endpoints.spec import CustomImage, EndpointSpec, Measure
from lanza.errors import BadRequest, PayloadTooLarge

DOCS: Final = Path(__file__).parents[3] / "docs/reference"


def test_a_document_is_read() -> None:
    content = b"name: becas\nmodel: {repository: ana/becas, env: {A: '1'}}\ntags: [a, b]\nretry: false\n"
    assert read_document(content) == {
        "name": "becas",
        "model": {"repository": "ana/becas", "env": {"A": "1"}},
        "tags": ["a", "b"],
        "retry": False,
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "begins with fields"),
        (b"- a", "begins with fields"),
        (b"a: 1\nb: 2\na: 3", "line 3: `a` is there twice"),
        (b"a: 1\nb:\n  c: 1\n  c: 2", "line 4: `c` is there twice"),
        (b"a: &x [1]\nb: *x", "line 2: `*x` is an alias"),
        (b"a: &x {b: 1}\nc:\n  <<: *x", "line 3: `*x` is an alias"),
        (b"a: 1\n<<: {b: 2}", "line 2"),
        (b"a: !!python/object/apply:os.system [ls]", "line 1: `tag:yaml.org,2002:python"),
        (b"a: !!binary aGk=", "line 1"),
        (b"a: !mine x", "`!mine`"),
        (b"a: 1\n1: 2", "line 2: the name of a field is text"),
        (b"[1]: 2", "line 1: the name of a field"),
        (b"{a: 1}: 2", "line 1: the name of a field"),
        (b"a: [1\nb: 2", "line 2"),
        (b"a: 1\n\tb: 2", "line 2"),
        (b"a: 1\nb: \xff", "line 2 is not UTF-8"),
        (b"a: \x00", "characters that no text"),
        (b"a: 1\n--- \nb: 2", "line 2"),
        (b"a: 2027-13-45", "line 1: '2027-13-45' is no date"),
        (b"a: " + b"1" * 5000, "line 1"),
        (b"a: " + b"[" * 5000, "levels deep"),
        (b"a: [" + b"1," * 20_000 + b"1]", "over 10,000 values"),
    ],
)
def test_what_a_spec_does_not_need_is_refused_with_its_line(content: bytes, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_document(content)
    assert said in caught.value.message


def test_a_large_file_is_not_even_read() -> None:
    with pytest.raises(PayloadTooLarge):
        read_document(b"#" * (MOST_BYTES + 1))


@given(st.binary(max_size=200) | st.text("ab:{}[]&*!<>-#|'\"\n \t1.", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        assert isinstance(read_document(content), dict)
    except BadRequest as error:
        said = error.message
    else:
        return
    assert said.endswith(".")


def fields_of(kind: Any) -> dict[str, Any]:
    """The names of a struct, and the struct that each holds, if it holds one."""
    found = {}
    for it in msgspec.structs.fields(kind):
        parts = [it.type, *get_args(it.type)]
        found[it.encode_name] = next((one for one in parts if hasattr(one, "__struct_fields__")), None)
    return found


def assert_complete(tree: dict[str, Any], kind: Any, where: str = "") -> None:
    fields = fields_of(kind)
    assert tree.keys() == fields.keys(), f"of {where or 'the spec'}"
    for name, inner in fields.items():
        if inner is not None:
            assert_complete(tree[name], inner, f"{where}.{name}")


def test_the_example_has_every_field_and_is_an_endpoint() -> None:
    content = (DOCS / "endpoint.yaml").read_bytes()
    tree = read_document(content)
    assert_complete(tree, EndpointSpec)
    assert tree["model"]["image"]["custom"].keys() == fields_of(CustomImage).keys()
    assert all(measure in content.decode() for measure in Measure)
    assert read_spec(tree).name == "becas-qa"


def test_the_page_shows_the_example_as_it_is() -> None:
    example = (DOCS / "endpoint.yaml").read_text()
    assert f"```yaml\n{example}```\n" in (DOCS / "endpoint-spec.md").read_text()
