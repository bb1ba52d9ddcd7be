"""The search index of a SQLite log moves into a file of its own, where it is built again."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Take the index out of the log's file; the next server builds the new one from the log."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA secure_delete = ON")  # what is erased later on must not stand in free pages
        op.execute("DROP TABLE words")
        op.execute("DROP TABLE postings")
        op.execute("PRAGMA secure_delete = FAST")
        op.execute("DELETE FROM log_state WHERE name IN ('indexed', 'index_rules', 'erasures')")
