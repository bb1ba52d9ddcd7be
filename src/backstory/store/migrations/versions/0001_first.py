"""The first schema: records, and the activity log where the engine is SQLite."""

from __future__ import annotations

from importlib.resources import files

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create everything."""
    _create_contacts()
    _create_access()
    _create_traces()
    if op.get_bind().dialect.name == "sqlite":
        _protect_audit()
        _run("sqlite_schema.sql", ";\n")
    else:
        _run("postgres_schema.sql", ";\n\n")  # functions have lines that end with a semicolon


def _run(script: str, separator: str) -> None:
    """Run the statements that make the log."""
    for statement in files("backstory.store.log").joinpath(script).read_text().split(separator):
        if statement.strip():
            op.get_bind().exec_driver_sql(statement)


def _create_contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("id", ID, primary_key=True),
        sa.Column("key", sa.LargeBinary(16), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("named", sa.Boolean, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("phone", sa.Text),
        sa.Column("mobile", sa.Text),
        sa.Column("twitter_id", sa.Text),
        sa.Column("facebook_id", sa.Text),
        sa.Column("unique_external_id", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("description", sa.Text),
        sa.Column("job_title", sa.Text),
        sa.Column("language", sa.Text, nullable=False, server_default="en"),
        sa.Column("time_zone", sa.Text),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    contact = "contacts.id"
    op.create_table(
        "identifiers",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("contact_id", ID, sa.ForeignKey(contact, ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "contact_phones",
        sa.Column("number", sa.Text, primary_key=True),
        sa.Column("contact_id", ID, sa.ForeignKey(contact, ondelete="CASCADE"), primary_key=True, index=True),
    )
    op.create_table(
        "merge_suggestions",
        sa.Column("contact_id", ID, sa.ForeignKey(contact, ondelete="CASCADE"), primary_key=True),
        sa.Column("other_id", ID, sa.ForeignKey(contact, ondelete="CASCADE"), primary_key=True, index=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )


def _create_access() -> None:
    op.create_table(
        "agents",
        sa.Column("id", ID, primary_key=True),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_key", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", ID, primary_key=True),
        sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("agent_id", ID, sa.ForeignKey("agents.id", ondelete="CASCADE"), index=True),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sqlite_autoincrement=True,
    )


def _create_traces() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", ID, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "rejections",
        sa.Column("id", ID, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False, index=True),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("key_id", ID),
        sa.Column("source", sa.Text),
        sa.Column("errors", sa.JSON, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "bookmarks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
    )


def _protect_audit() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_log_no_{verb.lower()} BEFORE {verb} ON audit_log"
            " BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END"
        )
