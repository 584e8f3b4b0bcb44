"""A token that was shown a moment ago is known at once, without a query."""

from __future__ import annotations

from pathlib import Path

from auth_app import AuthApp
from databases import new_database


def test_a_token_is_known_only_while_it_is_fresh(tmp_path: Path) -> None:
    app = AuthApp(database=new_database(tmp_path))
    shown = f"Bearer {app.user('ana')}"
    authenticator = app.app.state.authenticator
    assert authenticator.known(shown) is None
    principal = authenticator.principal(shown)
    assert authenticator.known(shown) == principal
    assert authenticator.known(shown.replace("Bearer", "bearer")) == principal
    assert authenticator.known(shown.replace("Bearer", "Basic")) is None
    assert authenticator.known("Bearer nonsense") is None
    app.clock.now += 5
    assert authenticator.known(shown) is None
    app.database.close()
