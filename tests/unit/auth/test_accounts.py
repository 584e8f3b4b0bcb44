"""Accounts: their names, their passwords, who belongs to which, and what goes when one goes."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lanza.auth import accounts, passwords, tokens
from lanza.auth.principal import Role
from lanza.auth.records import Account, Membership, Token
from lanza.database import Database
from lanza.errors import BadRequest, Conflict, NotFound, Unauthorized

PASSWORD = "una contraseña larga"


def count(session: Session, record: type[Account] | type[Membership] | type[Token]) -> int:
    return session.scalar(select(func.count()).select_from(record)) or 0


def test_a_user_is_found_in_whatever_case(database: Database) -> None:
    with database.writing() as session:
        accounts.create_user(session, "Ana-1", email="ana@example.org", full_name="Ana María")
    with database.reading() as session:
        found = accounts.find(session, "aNA-1")
        assert found is not None
        assert (found.name, found.kind, found.admin, found.full_name) == ("Ana-1", "user", False, "Ana María")
        assert accounts.find(session, "eva") is None


def test_names_that_differ_by_case_alone_are_one(database: Database) -> None:
    with database.writing() as session:
        accounts.create_user(session, "Ana")
    with pytest.raises(Conflict, match="taken"), database.writing() as session:
        accounts.create_user(session, "ana")
    with database.writing() as session:  # nothing is stuck afterwards
        accounts.create_user(session, "eva")


def test_an_organization_cannot_have_a_user_s_name(database: Database) -> None:
    with database.writing() as session:
        ana = accounts.create_user(session, "ana")
    with pytest.raises(Conflict), database.writing() as session:
        accounts.create_org(session, "ANA", owner=ana)


@pytest.mark.parametrize(
    "name", ["", "api", "Datasets", "a b", "-a", "a/b", "a..b", "a--b", "x" * 97, "ñ", "a\n", ".", "a\x00"]
)
def test_some_names_are_refused(database: Database, name: str) -> None:
    with pytest.raises(BadRequest), database.writing() as session:
        accounts.create_user(session, name)


@pytest.mark.parametrize("field", ["email", "full_name"])
def test_other_texts_are_one_line_of_bounded_length(database: Database, field: str) -> None:
    for text in ("a\nb", "x" * 300, "\x1b[31m"):
        with pytest.raises(BadRequest, match="one line"), database.writing() as session:
            accounts.create_user(session, "ana", **{field: text})


def test_login_needs_the_right_password(database: Database) -> None:
    with database.writing() as session:
        accounts.create_user(session, "Ana", password=PASSWORD)
    with database.reading() as session:
        assert accounts.check_login(session, "ana", PASSWORD).name == "Ana"
        for wrong in ("", PASSWORD + " ", PASSWORD.upper(), "x" * 10**6, "\udcff" * 9):
            with pytest.raises(Unauthorized, match="user name or the password"):
                accounts.check_login(session, "ana", wrong)


def test_who_is_unknown_or_has_no_password_cannot_log_in_and_is_told_the_same(database: Database) -> None:
    with database.writing() as session:
        ana = accounts.create_user(session, "ana")
        accounts.create_org(session, "club", owner=ana)
    with database.reading() as session:
        said = set()
        for name in ("ana", "club", "nobody"):
            with pytest.raises(Unauthorized) as refused:
                accounts.check_login(session, name, PASSWORD)
            said.add(refused.value.message)
        assert len(said) == 1


def test_an_unknown_name_costs_the_same_work(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    verify = type(passwords._HASHER).verify

    def counted(self: object, kept: str, password: bytes) -> bool:
        hashed.append(kept.rpartition("$")[0].rpartition("$")[0])  # the parameters
        return verify(self, kept, password)  # type: ignore[arg-type]

    monkeypatch.setattr(type(passwords._HASHER), "verify", counted)
    with database.writing() as session:
        accounts.create_user(session, "ana", password=PASSWORD)
    with database.reading() as session:
        for name in ("ana", "nobody"):
            with pytest.raises(Unauthorized):
                accounts.check_login(session, name, "something else")
    assert len(hashed) == 2
    assert hashed[0] == hashed[1]


def test_a_password_is_kept_as_an_argon2id_hash(database: Database) -> None:
    with database.writing() as session:
        ana = accounts.create_user(session, "ana", password=PASSWORD)
        eva = accounts.create_user(session, "eva", password=PASSWORD)
    assert ana.password_hash is not None
    assert ana.password_hash.startswith("$argon2id$")
    assert ana.password_hash != eva.password_hash
    assert PASSWORD not in ana.password_hash


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
def test_a_password_is_neither_short_nor_endless(database: Database, password: str) -> None:
    with pytest.raises(BadRequest, match="password"), database.writing() as session:
        accounts.create_user(session, "ana", password=password)


def test_it_does_not_matter_how_a_keyboard_writes_an_accent() -> None:
    kept = passwords.hash_password("contrase\u00f1a")
    assert passwords.is_password("contrasen\u0303a", kept)


def test_members_have_roles_in_organizations(database: Database) -> None:
    with database.writing() as session:
        ana, eva = accounts.create_user(session, "Ana"), accounts.create_user(session, "eva")
        club = accounts.create_org(session, "Club", owner=ana)
        accounts.set_member(session, club, eva, "read")
        accounts.set_member(session, club, eva, "write")
        assert accounts.memberships(session, ana) == {"ana": "admin", "club": "admin"}
        assert accounts.memberships(session, eva) == {"eva": "admin", "club": "write"}
        assert [(user.name, role) for user, role in accounts.members_of(session, club)] == [
            ("Ana", "admin"),
            ("eva", "write"),
        ]
        accounts.set_member(session, club, eva, None)
        accounts.set_member(session, club, eva, None)
        assert accounts.memberships(session, eva) == {"eva": "admin"}


def test_only_users_are_members_of_organizations(database: Database) -> None:
    with database.writing() as session:
        ana = accounts.create_user(session, "ana")
        club = accounts.create_org(session, "club", owner=ana)
        for org, user, role in ((club, club, "read"), (ana, ana, "read"), (club, ana, "owner")):
            with pytest.raises(BadRequest):
                accounts.set_member(session, org, user, role)


def test_what_belongs_to_an_account_goes_with_it(database: Database) -> None:
    with database.writing() as session:
        ana, eva = accounts.create_user(session, "ana"), accounts.create_user(session, "eva")
        accounts.create_org(session, "club", owner=ana)
        for user in (ana, eva):
            tokens.issue(session, user, name="laptop", role=Role.READ)
    with database.writing() as session:
        accounts.remove(session, "ANA")
    with database.reading() as session:
        assert (count(session, Account), count(session, Membership), count(session, Token)) == (2, 0, 1)


def test_the_number_of_a_removed_account_is_not_given_again(database: Database) -> None:
    with database.writing() as session:
        first = accounts.create_user(session, "ana").id
        accounts.remove(session, "ana")
    with database.writing() as session:
        assert accounts.create_user(session, "ana").id > first


def test_what_is_not_there_cannot_be_removed(database: Database) -> None:
    with pytest.raises(NotFound, match="nobody"), database.writing() as session:
        accounts.remove(session, "nobody")


def test_one_administrator_always_stays(database: Database) -> None:
    with database.writing() as session:
        root = accounts.create_user(session, "root", admin=True)
        for act in (
            lambda: accounts.remove(session, "root"),
            lambda: accounts.set_admin(session, root, False),
        ):
            with pytest.raises(Conflict, match="last administrator"):
                act()
        accounts.set_admin(session, accounts.create_user(session, "eva"), True)
        accounts.remove(session, "root")
        assert accounts.find(session, "root") is None


def test_an_organization_has_neither_password_nor_power(database: Database) -> None:
    with database.writing() as session:
        club = accounts.create_org(session, "club", owner=accounts.create_user(session, "ana"))
        with pytest.raises(BadRequest):
            accounts.set_password(club, PASSWORD)
        with pytest.raises(BadRequest):
            accounts.set_admin(session, club, True)


def test_a_kind_that_was_not_meant_is_not_found(database: Database) -> None:
    with database.writing() as session:
        accounts.create_user(session, "ana")
        assert accounts.get(session, "Ana", "user").name == "ana"
        with pytest.raises(NotFound, match="no organization 'ana'"):
            accounts.get(session, "ana", "org")
