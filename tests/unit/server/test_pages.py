"""The pages for people: what they show, to whom, and that nothing in them runs."""

from __future__ import annotations

import pytest

from hub_app import Server

CARD = b"""---
license: mit
pipeline_tag: fill-mask
---
# Becas

Un modelo <script>alert(1)</script> de becas. ![foto](foto.png)
"""


@pytest.fixture
def ana(server: Server) -> str:
    token = server.user("ana")
    server.make(token, "becas")
    files = {"README.md": CARD, "config.json": b'{"model_type": "bert"}', "docs__a b.txt": b"uno <b>dos</b>"}
    server.commit(token, "ana/becas", **files)
    return token


def test_the_front_page_lists_models(server: Server, ana: str) -> None:
    page = server.page("/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'href="/ana/becas"' in page.text
    assert 'href="/ana/becas"' in server.page("/models?q=BECA").text
    assert 'href="/ana/becas"' not in server.page("/models?q=otra").text
    assert 'href="/ana/becas"' not in server.page("/datasets").text


def test_a_query_is_shown_and_not_run(server: Server, ana: str) -> None:
    text = server.page('/models?q="><script>alert(1)</script>%25_').text
    assert "<script" not in text


def test_a_namespace_has_a_page(server: Server, ana: str) -> None:
    assert 'href="/ana/becas"' in server.page("/ana").text
    assert 'href="/ana/becas"' in server.page("/ANA").text
    missing = server.page("/nobody")
    assert missing.status == 404
    assert "nobody" in missing.text


def test_a_repository_s_page_has_card_facts_files_and_a_snippet(server: Server, ana: str) -> None:
    text = server.page("/ana/becas").text
    for part in (
        "<h1>Becas</h1>",
        'src="/ana/becas/resolve/main/foto.png"',
        "fill-mask",
        "mit",
        "config.json",
        "pipeline(&#34;fill-mask&#34;, model=&#34;ana/becas&#34;)",
        "git clone http://hub.test:8420/ana/becas",
    ):
        assert part in text
    assert "<script" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ana/becas",
        "/ana/becas/tree/main",
        "/ana/becas/blob/main/config.json",
        "/ana/becas/commits/main",
        "/ana/nothing",
    ],
)
def test_no_page_runs_or_asks_for_anything_from_elsewhere(server: Server, ana: str, path: str) -> None:
    page = server.page(path)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe-inline" not in policy
    assert "https://" not in page.text
    assert "style=" not in page.text


def test_folders_and_files_are_shown_as_text(server: Server, ana: str) -> None:
    assert 'href="/ana/becas/tree/main/docs"' in server.page("/ana/becas/tree/main").text
    assert 'href="/ana/becas/blob/main/docs/a%20b.txt"' in server.page("/ana/becas/tree/main/docs").text
    text = server.page("/ana/becas/blob/main/docs/a%20b.txt").text
    assert "uno &lt;b&gt;dos&lt;/b&gt;" in text


def test_a_file_that_is_no_text_is_offered_and_not_shown(server: Server, ana: str) -> None:
    server.commit(ana, "ana/becas", **{"x.dat": b"\x00\xff\x00"})
    text = server.page("/ana/becas/blob/main/x.dat").text
    assert "no text" in text
    assert 'href="/ana/becas/resolve/main/x.dat?download=true"' in text


def test_history_shows_who_and_why(server: Server, ana: str) -> None:
    text = server.page("/ana/becas/commits/main").text
    assert "add &lt;files&gt;" in text
    assert text.count("<li>") == 2
    oid = server.ask("/api/models/ana/becas").json["sha"]
    shown = server.page(f"/ana/becas/commit/{oid}").text
    assert oid in shown
    assert "add &lt;files&gt;" in shown


def test_other_revisions_have_pages(server: Server, ana: str) -> None:
    server.ask("/api/models/ana/becas/branch/prueba%2Funo", ana, method="POST", body={})
    page = server.page("/ana/becas/tree/prueba%2Funo")
    assert page.status == 200
    assert 'href="/ana/becas/blob/prueba%2Funo/config.json"' in page.text


@pytest.mark.parametrize(
    "path", ["/ana/becas/tree/nowhere", "/ana/becas/tree/main/nowhere", "/ana/becas/blob/main/nowhere"]
)
def test_what_is_missing_is_a_page_too(server: Server, ana: str, path: str) -> None:
    page = server.page(path)
    assert page.status == 404
    assert "nowhere" in page.text


def test_a_private_repository_is_for_its_owner(server: Server, ana: str) -> None:
    server.make(ana, "mine", private=True)
    other = server.user("other")
    for path in ("/ana/mine", "/ana/mine/tree/main", "/ana/mine/blob/main/.gitattributes"):
        assert server.page(path, ana).status == 200
        assert server.page(path).status == server.page(path, other).status == 404
    assert "mine" in server.page("/ana", ana).text
    assert "/ana/mine" not in server.page("/ana").text + server.page("/").text


def test_a_browser_is_asked_for_a_token_at_login(server: Server, ana: str) -> None:
    asked = server.page("/login")
    assert (asked.status, asked.headers["www-authenticate"]) == (401, 'Basic realm="Lanza"')
    assert server.page("/login", ana).status == 303


def test_style_and_icon_come_from_here(server: Server) -> None:
    assert server.ask("/assets/lanza.css").headers["content-type"].startswith("text/css")
    assert server.ask("/favicon.ico").headers["content-type"] == "image/svg+xml"


def test_pages_beyond_the_last_are_empty(server: Server, ana: str) -> None:
    for page in (0, -1, 2, 10**9):
        assert server.page(f"/models?page={page}").status == 200
    assert server.page("/models?page=x").status == 400
