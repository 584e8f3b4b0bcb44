"""What strangers write becomes a page of ours: nothing in it runs, hides, or asks another server."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from lanza.hub.names import Kind, RepoName
from lanza.hub.prose import LONGEST, as_html
from lanza.hub.snippets import snippets

BECAS = RepoName(Kind.MODEL, "ana", "becas")


class Elements(HTMLParser):
    """Which tags and attributes a text really has, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name: value or "" for name, value in attrs}


def html(text: str, name: RepoName = BECAS) -> str:
    return as_html(text, name, "main")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        '<a href="JaVaScRiPt:alert(1)">x</a>',
        '<a href="data:text/html,<script>alert(1)</script>">x</a>',
        "<svg/onload=alert(1)>",
        "<iframe src=//evil></iframe>",
        "<style>body{display:none}</style>",
        '<p style="position:fixed">x</p>',
        '<form action="//evil"><input name="q"></form>',
        '<meta http-equiv="refresh" content="0;url=//evil">',
        '<base href="//evil/">',
        '<div id="x" class="y" onclick="z()">x</div>',
        "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    ],
)
def test_nothing_that_runs_or_misleads_is_left(text: str) -> None:
    seen = Elements()
    seen.feed(html(text))
    assert seen.tags <= {"p", "a", "img", "div"}
    assert set(seen.attributes) <= {"href", "rel", "alt", "src"}
    assert not seen.attributes.get("href", "").lower().startswith(("javascript", "data"))


def test_markdown_becomes_what_it_means() -> None:
    shown = html("# Becas\n\n| a | b |\n|---|---|\n| 1 | ~~2~~ |\n\n```python\nx = 1\n```\n")
    for part in ("<h1>Becas</h1>", "<td>1</td>", "<s>2</s>", 'class="language-python"'):
        assert part in shown


def test_relative_images_and_links_lead_into_the_repository() -> None:
    shown = html("![foto](./img/año 1.png)\n[notas](docs/notas.md#dos)\n")
    assert "<img" not in shown  # a space ends a Markdown address
    shown = html("![foto](./img/a%C3%B1o%201.png)\n\n[notas](docs/notas.md)\n")
    assert 'src="/ana/becas/resolve/main/img/a%C3%B1o%201.png"' in shown
    assert 'href="/ana/becas/blob/main/docs/notas.md"' in shown
    other = as_html("![x](x.png)", RepoName(Kind.DATASET, "ana", "d"), "v1/b")
    assert 'src="/datasets/ana/d/resolve/v1%2Fb/x.png"' in other


@pytest.mark.parametrize(
    "source", ["https://tracker.example/p.gif", "//tracker.example/p.gif", "http:p.gif", "/login"]
)
def test_no_image_comes_from_elsewhere(source: str) -> None:
    shown = html(f'![x]({source}) <img alt="y" src="{source}">')
    assert "src=" not in shown


def test_links_elsewhere_say_nothing_of_where_they_were_clicked() -> None:
    shown = html("[x](https://example.org/a)")
    assert 'href="https://example.org/a"' in shown
    assert 'rel="nofollow noopener noreferrer"' in shown


def test_a_card_without_end_is_cut() -> None:
    shown = html("palabra " * LONGEST)
    assert len(shown) < 2 * LONGEST
    assert "too long to be shown" in shown


@pytest.mark.parametrize(
    ("task", "library", "first"),
    [
        ("fill-mask", "transformers", 'pipeline("fill-mask", model="ana/becas")'),
        ("fill-mask", None, 'pipeline("fill-mask", model="ana/becas")'),
        (None, "transformers", 'snapshot_download("ana/becas")'),
        ("fill-mask", "keras", 'snapshot_download("ana/becas")'),
        (None, "sentence-transformers", 'Model("ana/becas")'),
    ],
)
def test_the_likeliest_snippet_comes_first(task: str | None, library: str | None, first: str) -> None:
    found = snippets(BECAS, "http://127.0.0.1:8420", task=task, library=library)
    assert first in found[0].text
    assert 'os.environ["HF_ENDPOINT"] = "http://127.0.0.1:8420"' in found[0].text
    compile(found[0].text, "snippet", "exec")


def test_datasets_and_spaces_have_their_own() -> None:
    data = RepoName(Kind.DATASET, "ana", "d")
    texts = [snippet.text for snippet in snippets(data, "http://h", task=None, library=None)]
    assert 'load_dataset("ana/d")' in texts[0]
    assert "--repo-type dataset" in texts[1]
    assert texts[2] == "git clone http://h/datasets/ana/d"
    space = snippets(RepoName(Kind.SPACE, "ana", "s"), "http://h", task=None, library=None)
    assert [snippet.title for snippet in space] == ["hf", "git"]


def test_a_task_that_is_no_task_cannot_break_out_of_a_snippet() -> None:
    found = snippets(BECAS, "http://h", task='x"); import os; os.system("true', library=None)
    assert "os.system" not in found[0].text
