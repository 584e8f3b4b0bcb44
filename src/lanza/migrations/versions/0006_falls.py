"""Replicas that end after they have served, told apart from those that do not start."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"

MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    for name in ("killed", "falls"):
        op.add_column("endpoints", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    for name in ("fell_since", "fell_at"):
        op.add_column("endpoints", sa.Column(name, MOMENT))
    op.add_column("endpoints", sa.Column("fall", sa.String, nullable=False, server_default=""))
    asked = sa.Column("asked", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("endpoint_replicas", asked)
    op.add_column("endpoint_replicas", sa.Column("broke_at", MOMENT))
