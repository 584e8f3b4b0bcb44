"""Runs the migrations in `versions/` on the connection that `lanza.database.Database.migrate` brings.

They are applied by the server when it starts, within one transaction, and by nothing else.
"""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
