"""`python -m lanza`: the same as the `lanza` command."""

from __future__ import annotations

from lanza.cli import main

if __name__ == "__main__":
    main()
