"""The device flow: one code to keep, one to show, one token at the end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from lanza.auth import accounts, device, tokens
from lanza.auth.device import Answer, Codes, Issued
from lanza.auth.principal import Role
from lanza.auth.records import Account, DeviceCode
from lanza.auth.tokens import Authenticator
from lanza.database import Database, now
from lanza.errors import NotFound, Overloaded

Pass = Callable[[timedelta], None]


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Let time pass for the device flow."""
    moment: list[datetime] = [now()]
    monkeypatch.setattr(device, "now", lambda: moment[0])

    def by(span: timedelta) -> None:
        moment[0] += span

    return by


@pytest.fixture
def ana(database: Database) -> Account:
    with database.writing() as session:
        return accounts.create_user(session, "ana", admin=True)


def start(database: Database) -> Codes:
    with database.writing() as session:
        return device.start(session)


def redeem(database: Database, codes: Codes) -> Issued | Answer:
    with database.writing() as session:
        return device.redeem(session, codes.device_code)


def allow(database: Database, user_code: str, account: Account) -> None:
    with database.writing() as session:
        device.allow(session, user_code, account)


def test_what_was_allowed_gets_a_token_once(database: Database, ana: Account) -> None:
    codes = start(database)
    assert redeem(database, codes) is Answer.PENDING
    allow(database, codes.user_code, ana)
    issued = redeem(database, codes)
    assert isinstance(issued, Issued)
    found = Authenticator(database).principal(f"Bearer {issued.token}")
    assert (found.name, found.role) == ("ana", Role.WRITE)
    assert not found.rules
    assert redeem(database, codes) is Answer.EXPIRED
    with database.reading() as session:
        [token] = tokens.all_of(session, ana)
        assert token.expires_at is not None


def test_two_logins_of_a_day_get_two_tokens(database: Database, ana: Account) -> None:
    issued = []
    for _ in range(2):
        codes = start(database)
        allow(database, codes.user_code, ana)
        issued.append(redeem(database, codes))
    assert all(isinstance(one, Issued) for one in issued)
    assert issued[0] != issued[1]


def test_what_was_denied_gets_nothing(database: Database, ana: Account) -> None:
    codes = start(database)
    with database.writing() as session:
        device.deny(session, codes.user_code)
    with pytest.raises(NotFound):
        allow(database, codes.user_code, ana)
    assert redeem(database, codes) is Answer.DENIED
    assert redeem(database, codes) is Answer.EXPIRED


def test_the_code_to_show_is_no_code_to_redeem(database: Database, ana: Account) -> None:
    codes = start(database)
    allow(database, codes.user_code, ana)
    with database.writing() as session:
        assert device.redeem(session, codes.user_code) is Answer.EXPIRED
        assert device.redeem(session, "") is Answer.EXPIRED
    with pytest.raises(NotFound):
        allow(database, codes.device_code, ana)


def test_who_asks_too_often_is_told_to_slow_down(database: Database, ana: Account, pass_time: Pass) -> None:
    codes = start(database)
    found = [redeem(database, codes)]
    for seconds in (1, 5, 4.5, 0.1):
        pass_time(timedelta(seconds=seconds))
        found.append(redeem(database, codes))
    assert found == [Answer.PENDING, Answer.SLOW_DOWN, Answer.PENDING, Answer.PENDING, Answer.SLOW_DOWN]
    allow(database, codes.user_code, ana)
    assert isinstance(redeem(database, codes), Issued)


def test_codes_expire(database: Database, ana: Account, pass_time: Pass) -> None:
    codes = start(database)
    pass_time(device.LIFETIME)
    with pytest.raises(NotFound, match="start again"):
        allow(database, codes.user_code, ana)
    assert redeem(database, codes) is Answer.EXPIRED


def test_what_was_allowed_too_late_is_worth_nothing(
    database: Database, ana: Account, pass_time: Pass
) -> None:
    codes = start(database)
    allow(database, codes.user_code, ana)
    pass_time(device.LIFETIME)
    assert redeem(database, codes) is Answer.EXPIRED


def test_a_code_is_allowed_once(database: Database, ana: Account) -> None:
    codes = start(database)
    with database.writing() as session:
        eva = accounts.create_user(session, "eva")
    allow(database, codes.user_code, ana)
    with pytest.raises(NotFound):
        allow(database, codes.user_code, eva)


def test_the_token_of_a_user_who_was_removed_meanwhile_is_never_made(database: Database) -> None:
    with database.writing() as session:
        eva = accounts.create_user(session, "eva")
    codes = start(database)
    allow(database, codes.user_code, eva)
    with database.writing() as session:
        accounts.remove(session, "eva")
    assert redeem(database, codes) is Answer.EXPIRED


def test_a_code_may_be_typed_in_many_ways(database: Database, ana: Account) -> None:
    codes = start(database)
    allow(database, f" {codes.user_code.lower().replace('-', ' ')}\n", ana)
    assert isinstance(redeem(database, codes), Issued)


def test_only_a_hash_of_the_code_is_kept(database: Database) -> None:
    codes = start(database)
    with database.reading() as session:
        [row] = session.scalars(select(DeviceCode))
        assert codes.device_code not in str(vars(row))


def test_only_so_many_wait_and_old_ones_make_room(
    database: Database, pass_time: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "MOST_WAITING", 3)
    for _ in range(3):
        start(database)
    with pytest.raises(Overloaded):
        start(database)
    pass_time(device.LIFETIME)
    start(database)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(DeviceCode)) == 1
