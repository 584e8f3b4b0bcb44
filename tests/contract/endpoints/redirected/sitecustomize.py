"""Python reads this at its start: the addresses that huggingface_hub has fixed become those of a test."""

from __future__ import annotations

import os

if _url := os.environ.get("LANZA_TEST_URL"):
    from huggingface_hub import constants

    constants.INFERENCE_ENDPOINTS_ENDPOINT = f"{_url}/v2"
    constants.INFERENCE_CATALOG_ENDPOINT = f"{_url}/api/v1/catalog"
