"""What lists are found by: sets of repositories by term, and an index over numbers of parameters.

The sets repeat what other tables hold, so they are written as today's code has them.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

from lanza.hub import postings

revision: Final = "0003"
down_revision: Final = "0002"


def upgrade() -> None:
    op.create_index("repos_by_parameters", "repos", ["kind", "parameters"])
    op.create_table(
        "postings",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("term", sa.String, primary_key=True),
        sa.Column("block", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bits", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    with Session(op.get_bind()) as session:
        postings.rebuild(session)
        session.flush()
