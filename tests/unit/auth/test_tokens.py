"""Tokens: how they are issued and kept, and who a request with one comes from."""

from __future__ import annotations

import base64
import re
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from sqlalchemy.exc import OperationalError

from auth_app import Clock
from lanza.auth import accounts, tokens
from lanza.auth.grants import read_grant
from lanza.auth.principal import ANONYMOUS, Principal, Role, Scope
from lanza.auth.records import Account, Token
from lanza.auth.tokens import BELIEVED, CACHE_SECONDS, Authenticator
from lanza.database import Database, now
from lanza.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized

WORDS = "Invalid credentials in Authorization header"


@pytest.fixture
def ana(database: Database) -> Account:
    with database.writing() as session:
        return accounts.create_user(session, "Ana")


def issue(database: Database, account: Account, name: str = "laptop", role: Role = Role.WRITE) -> str:
    with database.writing() as session:
        return tokens.issue(session, account, name=name, role=role)[1]


def change(database: Database, name: str, **values: datetime | None) -> None:
    with database.writing() as session:
        token = session.query(Token).filter_by(name=name).one()
        for field, value in values.items():
            setattr(token, field, value)


def last_used(database: Database, name: str = "laptop") -> datetime | None:
    with database.reading() as session:
        return session.query(Token).filter_by(name=name).one().last_used_at


def test_a_token_says_who_calls(database: Database, ana: Account) -> None:
    with database.writing() as session:
        club = accounts.create_org(session, "Club", owner=accounts.create_user(session, "eva"))
        accounts.set_member(session, club, ana, "read")
    found = Authenticator(database).principal(f"Bearer {issue(database, ana)}")
    assert (found.account_id, found.name, found.role, found.token_name) == (
        ana.id,
        "Ana",
        Role.WRITE,
        "laptop",
    )
    assert found.memberships == {"ana": "admin", "club": "read"}
    assert found.may(Scope.WRITE, "ana")
    assert not found.may(Scope.WRITE, "club")
    assert not found.rules


def test_values_are_random_and_look_like_ours(database: Database, ana: Account) -> None:
    values = {issue(database, ana, name=str(number)) for number in range(20)}
    assert len(values) == 20
    assert all(re.fullmatch(r"lz_[A-Za-z0-9]{40}", value) for value in values)


def test_the_value_is_kept_nowhere(database: Database, ana: Account) -> None:
    value = issue(database, ana)
    with database.reading() as session:
        [token] = tokens.all_of(session, ana)
        assert value not in str(vars(token))
        assert token.hint == value[-4:]
    with database.engine.connect() as connection:
        dump = "\n".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert value not in dump


@pytest.mark.parametrize("scheme", ["Bearer {}", "bearer   {} ", "BEARER {}"])
def test_bearer_is_read_as_http_has_it(database: Database, ana: Account, scheme: str) -> None:
    authorization = scheme.format(issue(database, ana))
    assert Authenticator(database).principal(authorization).name == "Ana"


@pytest.mark.parametrize("pair", ["ana:{}", "whoever:{}", ":{}", "{}:", "{}"])
def test_basic_has_the_token_as_its_password(database: Database, ana: Account, pair: str) -> None:
    packed = base64.b64encode(pair.format(issue(database, ana)).encode()).decode()
    assert Authenticator(database).principal(f"Basic {packed}").name == "Ana"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer lz_wrong",
        "Bearer hf_" + "a" * 40,
        "Bearer lz_" + "a" * 40,
        "Bearer lz_" + "ä" * 40,
        "Bearer lz_" + "a" * 40 + " more",
        "Basic",
        "Basic ???",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        "Basic " + base64.b64encode(b"ana:password").decode(),
        "Digest x",
        "lz_" + "a" * 40,
    ],
)
def test_anything_else_is_refused_in_the_words_that_clients_know(
    database: Database, authorization: str
) -> None:
    with pytest.raises(Unauthorized, match=WORDS):
        Authenticator(database).principal(authorization)


def test_without_a_header_nobody_calls(database: Database) -> None:
    assert Authenticator(database).principal(None) is ANONYMOUS


def test_the_refusal_does_not_repeat_the_token(database: Database) -> None:
    value = "lz_" + "s3cret" * 6 + "abcd"
    with pytest.raises(Unauthorized) as refused:
        Authenticator(database).principal(f"Bearer {value}")
    assert "s3cret" not in refused.value.message


def test_a_revoked_token_is_believed_five_more_seconds_at_most(database: Database, ana: Account) -> None:
    clock = Clock()
    authenticator = Authenticator(database, clock=clock)
    value = issue(database, ana)
    authenticator.principal(f"Bearer {value}")
    with database.writing() as session:
        tokens.revoke(session, ana, "laptop")
    clock.now += CACHE_SECONDS - 0.01
    assert authenticator.principal(f"Bearer {value}").name == "Ana"  # no query was made
    clock.now += 0.01
    with pytest.raises(Unauthorized, match="revoked"):
        authenticator.principal(f"Bearer {value}")


def test_using_it_does_not_prolong_what_is_believed(database: Database, ana: Account) -> None:
    clock = Clock()
    authenticator = Authenticator(database, clock=clock)
    value = issue(database, ana)
    authenticator.principal(f"Bearer {value}")
    with database.writing() as session:
        tokens.revoke(session, ana, "laptop")
    for _ in range(4):
        clock.now += 1
        authenticator.principal(f"Bearer {value}")
    clock.now += 1
    with pytest.raises(Unauthorized):
        authenticator.principal(f"Bearer {value}")


def test_what_is_forgotten_is_asked_anew(database: Database, ana: Account) -> None:
    authenticator = Authenticator(database, clock=Clock())
    value = issue(database, ana)
    authenticator.principal(f"Bearer {value}")
    with database.writing() as session:
        tokens.revoke(session, ana, "laptop")
    authenticator.forget()
    with pytest.raises(Unauthorized):
        authenticator.principal(f"Bearer {value}")


def test_what_was_read_before_it_was_to_be_forgotten_is_not_kept(
    database: Database, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = Authenticator(database, clock=Clock())
    value = issue(database, ana)
    read = tokens._found

    def interrupted(session: object, digest: str) -> object:
        found = read(session, digest)  # type: ignore[arg-type]
        authenticator.forget()  # as another thread may, while this one is here
        return found

    monkeypatch.setattr(tokens, "_found", interrupted)
    authenticator.principal(f"Bearer {value}")
    with database.writing() as session:
        tokens.revoke(session, ana, "laptop")
    with pytest.raises(Unauthorized):
        authenticator.principal(f"Bearer {value}")


def test_what_is_believed_is_bounded(
    database: Database, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "CACHE_MOST", 3)
    authenticator = Authenticator(database, clock=Clock())
    for number in range(5):
        authenticator.principal(f"Bearer {issue(database, ana, name=str(number))}")
    assert len(authenticator._known) == 3


def test_a_token_ends_when_it_expires(database: Database, ana: Account) -> None:
    authenticator = Authenticator(database, clock=Clock())
    with database.writing() as session:
        _, value = tokens.issue(
            session, ana, name="short", role=Role.READ, expires_at=now() + timedelta(hours=1)
        )
    assert authenticator.principal(f"Bearer {value}").name == "Ana"
    change(database, "short", expires_at=now() - timedelta(seconds=1))
    authenticator.forget()
    with pytest.raises(Unauthorized, match="expired on"):
        authenticator.principal(f"Bearer {value}")


def test_a_token_that_is_believed_ends_when_it_expires_too(
    database: Database, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = Authenticator(database, clock=Clock())
    with database.writing() as session:
        _, value = tokens.issue(
            session, ana, name="short", role=Role.READ, expires_at=now() + timedelta(hours=1)
        )
    authenticator.principal(f"Bearer {value}")
    later = now() + timedelta(hours=2)
    monkeypatch.setattr(tokens, "now", lambda: later)
    with pytest.raises(Unauthorized, match="expired on"):
        authenticator.principal(f"Bearer {value}")


def test_the_last_use_is_noted_once_a_minute(database: Database, ana: Account) -> None:
    authenticator = Authenticator(database, clock=Clock())
    value = issue(database, ana)
    assert last_used(database) is None
    authenticator.principal(f"Bearer {value}")
    first = last_used(database)
    assert first is not None
    assert now() - first < timedelta(seconds=30)
    authenticator.forget()
    authenticator.principal(f"Bearer {value}")
    assert last_used(database) == first
    change(database, "laptop", last_used_at=now() - timedelta(minutes=2))
    authenticator.forget()
    authenticator.principal(f"Bearer {value}")
    again = last_used(database)
    assert again is not None
    assert again >= first


def test_who_has_a_token_is_let_in_when_nothing_can_be_written(
    database: Database, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = issue(database, ana)

    def full(**_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    monkeypatch.setattr(database, "writing", full)
    assert Authenticator(database).principal(f"Bearer {value}").name == "Ana"


def test_a_fine_grained_token_does_what_it_was_granted(database: Database, ana: Account) -> None:
    grants = [
        read_grant("Ana/becas", ["repo.content.read", "repo.write"]),
        read_grant("club", ["repo.write"]),
    ]
    with database.writing() as session:
        _, value = tokens.issue(session, ana, name="ci", role=Role.FINE_GRAINED, grants=grants)
    found = Authenticator(database).principal(f"Bearer {value}")
    assert found.grants == tuple(grants)
    assert found.may(Scope.WRITE, "ana", "becas")
    assert not found.may(Scope.WRITE, "ana", "otra")
    assert not found.may(Scope.CALL, "ana", "becas")
    assert not found.may(Scope.WRITE, "club")  # she is no member


@pytest.mark.parametrize(
    ("entity", "scopes", "reason"),
    [
        ("", ["repo.write"], "NAMESPACE"),
        ("/becas", ["repo.write"], "NAMESPACE"),
        ("ana/", ["repo.write"], "NAMESPACE"),
        ("ana/becas/x", ["repo.write"], "NAMESPACE"),
        ("a" * 300, ["repo.write"], "NAMESPACE"),
        ("ana\n", ["repo.write"], "NAMESPACE"),
        ("ana", [], "scopes are missing"),
        ("ana", ["repo.write", "write"], "'write' is no scope"),
        ("ana", ["admin"], "role admin"),
    ],
)
def test_a_grant_must_make_sense(entity: str, scopes: list[str], reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        read_grant(entity, scopes)


def test_grants_belong_to_fine_grained_tokens_alone(database: Database, ana: Account) -> None:
    grant = read_grant("ana", ["repo.write"])
    with database.writing() as session:
        with pytest.raises(BadRequest, match="needs grants"):
            tokens.issue(session, ana, name="x", role=Role.FINE_GRAINED)
        with pytest.raises(BadRequest, match="take none"):
            tokens.issue(session, ana, name="x", role=Role.READ, grants=[grant])
        with pytest.raises(BadRequest, match="at most"):
            tokens.issue(session, ana, name="x", role=Role.FINE_GRAINED, grants=[grant] * 201)


def test_only_an_administrator_has_an_administrator_s_token(database: Database, ana: Account) -> None:
    with database.writing() as session:
        root = accounts.create_user(session, "root", admin=True)
        with pytest.raises(BadRequest, match="no administrator"):
            tokens.issue(session, ana, name="x", role=Role.ADMIN)
    value = issue(database, root, role=Role.ADMIN)
    assert Authenticator(database).principal(f"Bearer {value}").rules
    less = issue(database, root, name="less", role=Role.WRITE)
    assert not Authenticator(database).principal(f"Bearer {less}").rules


def test_an_organization_has_no_tokens(database: Database, ana: Account) -> None:
    with database.writing() as session:
        club = accounts.create_org(session, "club", owner=ana)
        with pytest.raises(BadRequest, match="members"):
            tokens.issue(session, club, name="x", role=Role.READ)


def test_a_name_is_taken_once_by_each_user(database: Database, ana: Account) -> None:
    issue(database, ana)
    with pytest.raises(Conflict, match="laptop"):
        issue(database, ana)
    with database.writing() as session:
        eva = accounts.create_user(session, "eva")
    issue(database, eva)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 97, "a/b", "\x1b[1m"])
def test_some_names_of_tokens_are_refused(database: Database, ana: Account, name: str) -> None:
    with pytest.raises(BadRequest, match="name"):
        issue(database, ana, name=name)


def test_a_token_cannot_expire_before_it_begins(database: Database, ana: Account) -> None:
    with pytest.raises(BadRequest, match="past"), database.writing() as session:
        tokens.issue(session, ana, name="x", role=Role.READ, expires_at=datetime(2020, 1, 1, tzinfo=UTC))


def test_only_one_s_own_token_is_revoked(database: Database, ana: Account) -> None:
    with database.writing() as session:
        eva = accounts.create_user(session, "eva")
    issue(database, ana)
    value = issue(database, eva)
    with database.writing() as session:
        tokens.revoke(session, ana, "laptop")
        with pytest.raises(NotFound, match="tokens ls"):
            tokens.revoke(session, ana, "laptop")
    assert Authenticator(database).principal(f"Bearer {value}").name == "eva"


def test_who_is_no_member_is_told_so_and_not_of_the_token() -> None:
    ana = Principal(
        account_id=1, name="ana", role=Role.WRITE, token_name="laptop", memberships={"ana": "admin"}
    )
    with pytest.raises(Forbidden, match="ana may not write to eva/x, being no member of eva"):
        ana.require(Scope.WRITE, "eva", "x")
    reader = replace(ana, role=Role.READ)
    with pytest.raises(Forbidden, match="the token 'laptop' of ana has no right to write to ana/x"):
        reader.require(Scope.WRITE, "ana", "x")


def away(*_: object, **__: object) -> NoReturn:
    raise OperationalError("SELECT", {}, Exception("connection refused"))


def test_without_its_database_who_was_known_is_believed_for_minutes(
    database: Database, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    authenticator = Authenticator(database, clock=clock)
    known, unknown = (f"Bearer {issue(database, ana, name=name)}" for name in ("known", "unknown"))
    authenticator.principal(known)
    monkeypatch.setattr(database, "reading", away)
    clock.now += BELIEVED - 1
    assert authenticator.known(known) is None
    assert authenticator.principal(known).name == "Ana"
    assert authenticator.known(known) is not None  # the database is not asked at every request
    with pytest.raises(OperationalError):
        authenticator.principal(unknown)
    clock.now += 1
    with pytest.raises(OperationalError):
        authenticator.principal(known)


def test_without_its_database_nobody_is_believed_who_was_refused_before(
    database: Database, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    authenticator = Authenticator(database, clock=clock)
    value = f"Bearer {issue(database, ana)}"
    authenticator.principal(value)
    with database.writing() as session:
        tokens.revoke(session, ana, "laptop")
    clock.now += CACHE_SECONDS
    with pytest.raises(Unauthorized):
        authenticator.principal(value)
    monkeypatch.setattr(database, "reading", away)
    assert authenticator.remembered(value) is None
    with pytest.raises(OperationalError):
        authenticator.principal(value)


def test_what_was_to_be_forgotten_is_not_remembered(
    database: Database, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = Authenticator(database, clock=Clock())
    value = f"Bearer {issue(database, ana)}"
    authenticator.principal(value)
    assert authenticator.remembered(value) is not None
    authenticator.forget()
    assert authenticator.remembered(value) is None


def test_nobody_is_kept_waiting_by_who_writes(database: Database, ana: Account) -> None:
    """The last use is noted another time."""
    value = issue(database, ana)
    authenticator = Authenticator(database, clock=Clock())
    with sqlite3.connect(str(database.url.database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert authenticator.principal(f"Bearer {value}").name == "Ana"
        other.rollback()
    other.close()
    assert last_used(database) is None
