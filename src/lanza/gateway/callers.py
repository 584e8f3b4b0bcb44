"""Who calls, as their token says, and whether they may call a target.

A token that was asked a moment ago is known at once; any other is looked up on a thread. While the database
is slow, who was known some minutes ago is believed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from lanza.auth.principal import ANONYMOUS, Principal
from lanza.errors import Forbidden, Unauthorized
from lanza.gateway.access import check_caller
from lanza.gateway.exchange import Exchange
from lanza.gateway.ledger import Ledger
from lanza.gateway.settings import Network
from lanza.gateway.table import PATIENCE
from lanza.gateway.targets import Target

log: Final = logging.getLogger("lanza.gateway")


class Authenticator(Protocol):
    """Who shows a token (`lanza.auth.tokens`)."""

    def known(self, authorization: str) -> Principal | None:
        """At once, if it was asked a moment ago."""
        ...

    def principal(self, authorization: str | None) -> Principal:
        """By asking the database. Unauthorized."""
        ...

    def remembered(self, authorization: str) -> Principal | None:
        """At once, if it was asked some minutes ago."""
        ...


class Callers:
    """`internal` are the networks that may call private endpoints."""

    def __init__(self, authenticator: Authenticator, ledger: Ledger, *, internal: Sequence[Network]) -> None:
        self._authenticator = authenticator
        self._ledger = ledger
        self._internal = internal

    async def identify(self, exchange: Exchange, *, needed: bool) -> None:
        """Find out who calls. A token that is not good is nobody's, where none is needed."""
        given = exchange.named.get(b"authorization")
        if given is None:
            return
        text = given.decode("latin-1")
        if exchange.named.get(b"sec-fetch-site") == b"cross-site" and text[:5].lower() == "basic":
            raise Forbidden("a page of another site may call nothing here with your password.")
        caller = self._authenticator.known(text)
        if caller is None:
            try:
                caller = await self._asked(text)
            except Unauthorized as error:
                if needed:
                    raise
                exchange.refused = error
                caller = ANONYMOUS
        exchange.caller = caller
        if not caller.anonymous:
            exchange.token = f"{caller.name}/{caller.token_name}"

    async def _asked(self, text: str) -> Principal:
        """By asking the database; where that takes long, as it was when it was asked last. Unauthorized."""
        asking = self._ledger.on_thread(self._authenticator.principal, text)
        believed = self._authenticator.remembered(text)
        if believed is None:
            return await asking
        try:
            async with asyncio.timeout(PATIENCE):
                return await asking
        except TimeoutError:
            log.warning("the database is slow: %s is believed to be who it was", believed.name)
            return believed

    def check(self, exchange: Exchange) -> Callable[[Target], None]:
        """Whether this caller may call a target. Who has shown a wrong token is told so, not to show one."""

        def look(target: Target) -> None:
            try:
                check_caller(target, exchange.caller, exchange.client, self._internal)
            except Unauthorized as error:
                raise (exchange.refused or error) from None

        return look
