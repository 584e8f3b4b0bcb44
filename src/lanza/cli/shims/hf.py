"""`hf`, with the addresses of Inference Endpoints that it has built in led to the server in use.

For `lanza hf ...`, and for `hf` inside `lanza shell`. All else of it is Hugging Face's own command.
"""

from __future__ import annotations

import os
import sys

from lanza.cli.extras import needs
from lanza.errors import LanzaError


def main() -> int:
    """The command; gives its exit code."""
    try:
        with needs("client"):
            from huggingface_hub import constants
            from huggingface_hub.cli.hf import main as hf
    except LanzaError as error:
        print(f"hf: {error}", file=sys.stderr)
        return error.exit_code
    url = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if url:
        constants.INFERENCE_ENDPOINTS_ENDPOINT = f"{url}/v2"
        constants.INFERENCE_CATALOG_ENDPOINT = f"{url}/api/v1/catalog"
    sys.argv[0] = "hf"
    sys.modules["__main__"].__package__ = ""  # else its usage is that of `python -m ...`
    hf()  # type: ignore[no-untyped-call]
    return 0


if __name__ == "__main__":
    sys.exit(main())
