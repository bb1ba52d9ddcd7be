"""The tables of the records. Moments are microseconds since the epoch; `migrations` creates what stands here."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Numbers: 64 bits; SQLite numbers rows by itself only where the type says INTEGER."""

contacts = sa.Table(
    "contacts",
    metadata,
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
    sqlite_autoincrement=True,  # a number is never issued twice, not after a hard delete either
)

identifiers = sa.Table(
    "identifiers",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),  # see model/identity.py: unique by what is compared
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("contact_id", ID, sa.ForeignKey("contacts.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

contact_phones = sa.Table(
    "contact_phones",
    metadata,
    sa.Column("number", sa.Text, primary_key=True),  # E.164 where it can be; shared by people, so not unique
    sa.Column(
        "contact_id", ID, sa.ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True, index=True
    ),
)

merge_suggestions = sa.Table(
    "merge_suggestions",
    metadata,
    sa.Column(
        "contact_id", ID, sa.ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True
    ),  # the lower number
    sa.Column("other_id", ID, sa.ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("email_key", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
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

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)

rejections = sa.Table(
    "rejections",
    metadata,
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

bookmarks = sa.Table(
    "bookmarks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("line", sa.BigInteger, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
)
