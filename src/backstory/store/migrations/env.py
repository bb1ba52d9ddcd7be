"""Alembic's entry: the connection comes from `upgrade`, which also owns the transaction."""

from __future__ import annotations

from alembic import context

from backstory.store.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False
)
context.run_migrations()
