"""Lists walk an index of their order alone, from the stretch where it begins to matter.

So the numbers of repositories are in these indexes, and where each is in an order is among the sets.
"""

from __future__ import annotations

from typing import Final

from alembic import op
from sqlalchemy.orm import Session

from lanza.hub import postings

revision: Final = "0004"
down_revision: Final = "0003"

ORDERS: Final = {
    "repos_by_change": "updated_at",
    "repos_by_downloads": "downloads",
    "repos_by_likes": "likes",
    "repos_by_creation": "created_at",
}


def upgrade() -> None:
    for name, column in ORDERS.items():
        op.drop_index(name, "repos")
        op.create_index(name, "repos", ["kind", column, "id"])
    with Session(op.get_bind()) as session:
        postings.rebuild(session)
        session.flush()
