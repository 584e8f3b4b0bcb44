"""The audit log: what gets in, what never does, who may read it, and that nobody changes it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from auth_app import AuthApp
from lanza.auth import audit
from lanza.auth.audit import Filter
from lanza.auth.principal import Role
from lanza.auth.records import Deed
from lanza.cli.audit import _row
from lanza.database import Database, now

AUDIT = "/api/lanza/audit"


def read(app: AuthApp, token: str, query: str = "") -> Any:
    answer = app.ask("GET", f"{AUDIT}{query}", token)
    assert answer.status == 200, answer.text
    return answer.json


def what(app: AuthApp, token: str, query: str = "") -> list[tuple[str, str, str]]:
    return [(it["who"], it["what"], it["target"]) for it in read(app, token, query)["items"]]


def test_what_is_done_to_accounts_and_tokens_is_noted(app: AuthApp) -> None:
    root = app.user("root", admin=True, role=Role.ADMIN)
    app.ask("POST", "/api/lanza/users", root, body={"name": "leo", "password": "correct horse battery"})
    app.ask("PATCH", "/api/lanza/users/leo", root, body={"password": "another horse battery"})
    app.ask("POST", "/api/lanza/orgs", root, body={"name": "uni"})
    app.ask("PUT", "/api/lanza/orgs/uni/members/leo", root, body={"role": "write"})
    app.ask("DELETE", "/api/lanza/orgs/uni/members/leo", root)
    made = app.ask("POST", "/api/lanza/tokens", root, body={"name": "ci", "role": "write", "user": "leo"})
    app.ask("DELETE", "/api/lanza/tokens/ci?user=leo", root)
    app.ask("DELETE", "/api/lanza/users/leo", root)
    assert what(app, root) == [
        ("root", "account.remove", "leo"),
        ("root", "token.revoke", "leo/ci"),
        ("root", "token.create", "leo/ci"),
        ("root", "member.remove", "uni"),
        ("root", "member.set", "uni"),
        ("root", "account.create", "uni"),
        ("root", "account.update", "leo"),
        ("root", "account.create", "leo"),
    ]
    text = app.ask("GET", AUDIT, root).text
    assert made.json["token"] not in text
    assert "horse" not in text
    entry = read(app, root)["items"][2]
    assert (entry["token"], entry["address"], entry["details"]["role"]) == ("test", "127.0.0.1", "write")


def test_what_was_refused_is_not_noted(app: AuthApp) -> None:
    root = app.user("root", admin=True, role=Role.ADMIN)
    assert app.ask("DELETE", "/api/lanza/tokens/none", root).status == 404
    assert app.ask("DELETE", "/api/lanza/users/nobody", root).status == 404
    assert app.ask("DELETE", "/api/lanza/users/root", root).status == 409
    assert read(app, root)["items"] == []


def note(database: Database, count: int = 1, **entry: Any) -> None:
    with database.writing() as session:
        for number in range(count):
            target = entry.get("target", f"ana/becas-{number}")
            given_entry = {"who": "ana", "what": "endpoint.pause", **entry, "target": target}
            audit.note(session, **given_entry)


def test_pages_join_up(app: AuthApp) -> None:
    root = app.user("root", admin=True, role=Role.ADMIN)
    note(app.database, 25)
    seen, query = [], "?limit=10"
    while True:
        page = read(app, root, query)
        seen += [it["target"] for it in page["items"]]
        if page["next"] is None:
            break
        note(app.database, target="ana/later")  # what comes meanwhile moves nothing
        query = f"?limit=10&before={page['next']}"
    assert seen == [f"ana/becas-{number}" for number in reversed(range(25))]


def test_filters(app: AuthApp) -> None:
    root = app.user("root", admin=True, role=Role.ADMIN)
    note(app.database, target="ana/becas")
    note(app.database, who="leo", what="token.create", target="anabel/x")
    note(app.database, who="lanza", what="endpoint.remove", target="ana_b/y")
    assert what(app, root, "?who=LEO") == [("leo", "token.create", "anabel/x")]
    assert len(what(app, root, "?what=endpoint")) == 2
    assert [it[2] for it in what(app, root, "?namespace=ANA")] == ["ana/becas"]
    assert [it[2] for it in what(app, root, "?target=ana_")] == ["ana_b/y"]
    later = (now() + timedelta(hours=1)).isoformat().replace("+", "%2B")
    assert what(app, root, f"?since={later}") == []
    assert len(what(app, root, f"?until={later}")) == 3


def test_a_namespace_s_administrator_sees_its_own(app: AuthApp) -> None:
    ana, leo = app.user("ana"), app.user("leo")
    reader = app.user("eva", role=Role.READ)
    note(app.database, target="ana/becas")
    note(app.database, target="leo/x")
    assert [it[2] for it in what(app, ana)] == ["ana/becas"]
    assert [it[2] for it in what(app, leo, "?namespace=Leo")] == ["leo/x"]
    assert app.ask("GET", f"{AUDIT}?namespace=ana", leo).status == 403
    assert app.ask("GET", AUDIT, reader).status == 403
    assert app.ask("GET", f"{AUDIT}/export?namespace=ana", leo).status == 403
    assert app.ask("GET", AUDIT).status == 401


def test_members_who_only_write_do_not_see_an_organization_s(app: AuthApp) -> None:
    root = app.user("root", admin=True, role=Role.ADMIN)
    leo = app.user("leo")
    app.ask("POST", "/api/lanza/orgs", root, body={"name": "uni"})
    app.ask("PUT", "/api/lanza/orgs/uni/members/leo", root, body={"role": "write"})
    assert app.ask("GET", f"{AUDIT}?namespace=uni", leo).status == 403
    app.ask("PUT", "/api/lanza/orgs/uni/members/leo", root, body={"role": "admin"})
    assert app.ask("GET", f"{AUDIT}?namespace=uni", leo).status == 200


def test_an_export_is_one_object_a_line(app: AuthApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST", 4)
    root = app.user("root", admin=True, role=Role.ADMIN)
    note(app.database, 10)
    answer = app.ask("GET", f"{AUDIT}/export", root)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    exported = [json.loads(it)["target"] for it in audit.lines(app.database, Filter())]
    assert exported == [f"ana/becas-{number}" for number in range(10)]


@pytest.mark.parametrize("query", ["?since=soon", "?until=9999-12-31T23:59:59-12:00"])
def test_moments_that_are_none(app: AuthApp, query: str) -> None:
    root = app.user("root", admin=True, role=Role.ADMIN)
    assert app.ask("GET", AUDIT + query, root).status == 400


@pytest.mark.parametrize("statement", [delete(Deed), update(Deed).values(who="nobody")])
def test_the_database_refuses_to_change_or_remove_an_entry(database: Database, statement: Any) -> None:
    note(database)
    with pytest.raises(IntegrityError, match="only ever added to"), database.writing() as session:
        session.execute(statement)
    with database.reading() as session:
        assert [it.who for it in audit.entries(session, Filter())] == ["ana"]


def test_values_of_secrets_never_get_in(database: Database) -> None:
    tree = {
        "model": {"env": {"A": "plain"}, "secrets": {"KEY": "s3cr3t", "OLD": None}},
        "Authorization": "Bearer x",
        "steps": [{"password": "s3cr3t"}, "with lz_abcdefghijklmnopqrstuvwxyz0123456789ABCD in it"],
        "count": 3,
    }
    note(database, details=tree)
    with database.reading() as session:
        kept = audit.entries(session, Filter())[0].details
    assert kept == {
        "model": {"env": {"A": "***"}, "secrets": {"KEY": "***", "OLD": "***"}},
        "Authorization": "***",
        "steps": [{"password": "***"}, "with *** in it"],
        "count": 3,
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just("s3cr3t-value") | st.binary(max_size=3),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=4), one, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(audit._SECRET)), values)
def test_whatever_is_in_a_secret_field_is_hidden(name: str, value: Any) -> None:
    kept = audit.without_secrets({"a": [{name.upper(): value}], name: value})
    assert "s3cr3t-value" not in json.dumps(kept)


def test_details_are_bounded(database: Database) -> None:
    note(database, details={"why": "x" * 100_000})
    with database.reading() as session:
        assert "left_out" in audit.entries(session, Filter())[0].details


def test_a_row_for_people() -> None:
    deed = Deed(
        id=1, at=now(), who="ana", token="ci", what="endpoint.pause", target="ana/becas", details={"a": 1},
        request_id="r", address="::1",
    )  # fmt: skip
    row = _row(audit.described(deed))
    assert (row["who"], row["details"], row["from"]) == ("ana/ci", "a=1", "::1")
