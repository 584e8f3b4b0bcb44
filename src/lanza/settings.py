"""Settings that every command shares, read once from the environment and passed down.

`LANZA_HOME` is where Lanza keeps what it makes: converted models, environments of handlers. Options of a
single command belong to that command.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`home`: the folder of all that Lanza keeps."""

    home: Path

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Settings:
        environment = os.environ if environment is None else environment
        if given := environment.get("LANZA_HOME"):
            return cls(home=Path(given).expanduser().absolute())
        import platformdirs

        return cls(home=platformdirs.user_data_path("lanza"))

    @property
    def converted(self) -> Path:
        """Exports of models, each in a folder named by the hash of what it was made from."""
        return self.home / "converted"
