"""Endpoints over HTTP: Hugging Face's Inference Endpoints API and its catalog, and what is Lanza's own."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from lanza.endpoints.api import catalog, endpoints, estimate, ours

router: Final = APIRouter()
for _part in (endpoints, catalog, estimate, ours):
    router.include_router(_part.router)
