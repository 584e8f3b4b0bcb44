"""What a namespace refuses in pushes."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("refused", sa.JSON, nullable=False, server_default="[]"))
