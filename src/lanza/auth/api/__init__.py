"""Accounts and tokens over HTTP: who is who, OAuth's device flow, what `lanza tokens` and `users` ask."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from lanza.auth.api import accounts, audit, identity, oauth, tokens

router: Final = APIRouter()
for _part in (identity, oauth, tokens, accounts, audit):
    router.include_router(_part.router)
