"""The tables of the records. Moments are microseconds since the epoch; `migrations` creates what stands here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

metadata = sa.MetaData()

EMPTY_LIST, EMPTY_OBJECT = "[]", "{}"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Numbers: 64 bits; SQLite numbers rows by itself only where the type says INTEGER."""

LISTED = "deleted_at IS NULL AND blocked_at IS NULL AND merged_into IS NULL AND NOT is_agent"
"""Which contacts a list shows that was not asked for others."""

SEARCHED_CONTACTS = "deleted_at IS NULL AND merged_into IS NULL AND NOT is_agent"
SEARCHED_TICKETS = "deleted_at IS NULL"
"""What searches find."""

ASKED_OF_CONTACTS = ("deleted_at", "merged_into", "is_agent")
"""What they ask of each contact: in an index, so that its row is not read."""


ASKED_OF_LISTED = ("deleted_at", "blocked_at", "merged_into", "is_agent")


def partial_index(name: str, *columns: str, where: str) -> sa.Index:
    """An index of the rows that a condition holds for."""
    return sa.Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def searching(
    table: str, columns: Sequence[str], more: Sequence[str], where: str, asked: Sequence[str]
) -> Iterator[sa.Index]:
    """An index for each column that searches name, its rows in the order of their numbers, with all else they ask for.

    `asked` are the columns of `where`: SQLite reads them although the index says that the condition holds.
    """
    for column in columns:
        others = [other for other in (*columns, *more, "created_at", "updated_at", *asked) if other != column]
        yield partial_index(f"ix_{table}_searched_{column}", column, "id", *others, where=where)


KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Texts that are ordered, and whose beginnings are looked for: by their bytes, the same on every engine."""

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
    sa.Column(
        "name_key", KEY, nullable=False, server_default=sa.text("''")
    ),  # the name as lists are ordered by it
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("blocked_at", sa.BigInteger),
    sa.Column("merged_into", ID),  # the contact that stands for this one; undoing takes it away
    sa.Column(
        "is_agent", sa.Boolean, nullable=False, server_default=sa.false()
    ),  # agents are not listed as contacts
    sa.Column("company_id", ID),
    sa.Column("view_all_tickets", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("tags", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("custom_fields", sa.JSON, nullable=False, server_default=EMPTY_OBJECT),
    sa.Column("avatar_id", ID),
    # The orders of lists (see records/contacts.py): a page far behind is found within the index alone.
    # SQLite asks for a condition's columns again, so they are in the index: its rows need not be read for that.
    partial_index(
        "ix_contacts_listed", "name_key", "id", "updated_at", "active", *ASKED_OF_LISTED, where=LISTED
    ),
    partial_index(
        "ix_contacts_verified", "name_key", "id", "active", *ASKED_OF_LISTED, where=f"{LISTED} AND active"
    ),
    # Of the others nobody asks who they stand for, and a search must not look among all that are not merged.
    partial_index("ix_contacts_merged_into", "merged_into", where="merged_into IS NOT NULL"),
    partial_index("ix_contacts_deleted", "name_key", "id", "deleted_at", where="deleted_at IS NOT NULL"),
    partial_index("ix_contacts_blocked", "name_key", "id", "blocked_at", where="blocked_at IS NOT NULL"),
    sa.Index("ix_contacts_company", "company_id", "name_key", "id"),
    sa.Index("ix_contacts_updated_at", "updated_at", "id", *ASKED_OF_CONTACTS),
    sa.Index("ix_contacts_created_at", "created_at", "id", *ASKED_OF_CONTACTS),
    *searching(
        "contacts",
        ("active", "language", "time_zone", "company_id"),
        (),
        SEARCHED_CONTACTS,
        ASKED_OF_CONTACTS,
    ),
    partial_index(
        "ix_contacts_without_email",
        *("email", "id", *ASKED_OF_CONTACTS),
        where=f"email IS NULL AND {SEARCHED_CONTACTS}",
    ),
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
    sa.Column("kind", sa.Text, primary_key=True),  # the kind of identifier that both claimed
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("dismissed_at", sa.BigInteger),  # kept, so that the same is not suggested again
    sa.Column("dismissed_by", ID),
)

# An agent is a contact who works here: both have one number, and what is known of the person stands with the contact.
agents = sa.Table(
    "agents",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("email_key", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column(
        "password_hash", sa.Text, nullable=False
    ),  # "" where none was set yet: nothing verifies against it
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("ticket_scope", sa.Integer, nullable=False, server_default="1"),
    sa.Column("occasional", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("available", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("available_since", sa.BigInteger),
    sa.Column("signature", sa.Text),
    sa.Column("focus_mode", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("deactivated_at", sa.BigInteger),
    sa.Column("last_active_at", sa.BigInteger),
    sa.Column("last_login_at", sa.BigInteger),
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

# Companies, and which contacts belong to them.

companies = sa.Table(
    "companies",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_key", KEY, nullable=False, unique=True),
    sa.Column("description", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("health_score", sa.Text),
    sa.Column("account_tier", sa.Text),
    sa.Column("renewal_date", sa.Text),
    sa.Column("industry", sa.Text),
    sa.Column("custom_fields", sa.JSON, nullable=False, server_default=EMPTY_OBJECT),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Index("ix_companies_updated_at", "updated_at", "id"),
    sqlite_autoincrement=True,
)

company_domains = sa.Table(
    "company_domains",
    metadata,
    sa.Column("domain", sa.Text, primary_key=True),
    sa.Column(
        "company_id", ID, sa.ForeignKey("companies.id", ondelete="CASCADE"), nullable=False, index=True
    ),
)

# `other_companies` of a contact; the first one stands with the contact.
contact_companies = sa.Table(
    "contact_companies",
    metadata,
    sa.Column("contact_id", ID, sa.ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column(
        "company_id", ID, sa.ForeignKey("companies.id", ondelete="CASCADE"), primary_key=True, index=True
    ),
    sa.Column("view_all_tickets", sa.Boolean, nullable=False, server_default=sa.false()),
)

# Merges. `changes` is what undoing gives back.
contact_merges = sa.Table(
    "contact_merges",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("primary_id", ID, nullable=False, index=True),
    sa.Column("secondary_id", ID, nullable=False, index=True),
    sa.Column("agent_id", ID),
    sa.Column("changes", sa.JSON, nullable=False),
    sa.Column("merged_at", sa.BigInteger, nullable=False),
    sa.Column("undone_at", sa.BigInteger, index=True),
    sa.Column("undone_by", ID),
    sqlite_autoincrement=True,
)

# Contacts that were erased, while their activities are being removed piece by piece; `homes` are their keys in the log.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("homes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("done_at", sa.BigInteger, index=True),
    sqlite_autoincrement=True,
)

# What lists and searches look records up by. `object` is contact, ticket or company.

custom_fields = sa.Table(
    "custom_fields",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("required", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("choices", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("object", "name", name="uq_custom_fields_name"),
    sqlite_autoincrement=True,
)

# The values of custom fields as searches compare them: texts folded, numbers and dates so that they sort as text.
custom_values = sa.Table(
    "custom_values",
    metadata,
    sa.Column("object", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", KEY, primary_key=True),
    sa.Column("record_id", ID, primary_key=True),
    sa.Index("ix_custom_values_record", "object", "record_id", "name"),
)

record_tags = sa.Table(
    "record_tags",
    metadata,
    sa.Column("object", sa.Text, primary_key=True),
    sa.Column("tag_key", KEY, primary_key=True),
    sa.Column("record_id", ID, primary_key=True),
    sa.Index("ix_record_tags_record", "object", "record_id"),
)

# The words of names (of contacts, companies, agents), folded: autocompletion looks for their beginnings.
name_words = sa.Table(
    "name_words",
    metadata,
    sa.Column("object", sa.Text, primary_key=True),
    sa.Column("word", KEY, primary_key=True),
    sa.Column("record_id", ID, primary_key=True),
    sa.Index("ix_name_words_record", "object", "record_id"),
)

# Tickets and their conversations.

tickets = sa.Table(
    "tickets",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("subject", sa.Text),
    sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),  # HTML, sanitised
    sa.Column("description_text", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("type", sa.Text),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("source", sa.Integer, nullable=False),
    sa.Column("requester_id", ID, nullable=False),
    sa.Column("responder_id", ID),
    sa.Column("group_id", ID),
    sa.Column("company_id", ID),
    sa.Column("product_id", ID),
    sa.Column("email_config_id", ID),
    sa.Column("support_email", sa.Text),
    sa.Column("to_emails", sa.JSON),
    sa.Column("cc_emails", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("fwd_emails", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("reply_cc_emails", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("ticket_cc_emails", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("spam", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("deleted_at", sa.BigInteger),
    sa.Column("merged_into", ID, index=True),
    sa.Column("due_by", sa.BigInteger, nullable=False),
    sa.Column("fr_due_by", sa.BigInteger, nullable=False),
    sa.Column("nr_due_by", sa.BigInteger),
    sa.Column("parent_id", ID),
    sa.Column("tags", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("custom_fields", sa.JSON, nullable=False, server_default=EMPTY_OBJECT),
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("resolved_at", sa.BigInteger),
    sa.Column("first_responded_at", sa.BigInteger),
    sa.Column("agent_responded_at", sa.BigInteger),
    sa.Column("requester_responded_at", sa.BigInteger),
    sa.Column("reopened_at", sa.BigInteger),
    sa.Column("pending_since", sa.BigInteger),
    sa.Column("status_updated_at", sa.BigInteger),
    sa.Column("thread_id", sa.Text),  # the Message-ID that replies refer to
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Index("ix_tickets_requester", "requester_id", "created_at", "id"),
    sa.Index("ix_tickets_responder", "responder_id", "status", "created_at", "id"),
    sa.Index("ix_tickets_status", "status", "created_at", "id"),
    sa.Index("ix_tickets_company", "company_id", "created_at", "id"),
    # Each with what lists filter by, so that what is passed over costs no look at the row.
    sa.Index("ix_tickets_created_at", "created_at", "id", "deleted_at", "spam", "updated_at"),
    sa.Index(
        "ix_tickets_updated_at",
        "updated_at",
        "id",
        "deleted_at",
        "spam",
        "created_at",
        "due_by",
        "status",
    ),
    sa.Index("ix_tickets_due_by", "due_by", "id", "deleted_at", "spam", "created_at", "updated_at"),
    sa.Index("ix_tickets_fr_due_by", "fr_due_by", "id", "deleted_at"),
    partial_index("ix_tickets_deleted", "created_at", "id", "deleted_at", where="deleted_at IS NOT NULL"),
    partial_index("ix_tickets_spam", "created_at", "id", "deleted_at", "spam", where="spam IS true"),
    *searching(
        "tickets",
        ("status", "priority", "type", "group_id", "responder_id"),
        ("due_by", "fr_due_by"),
        SEARCHED_TICKETS,
        ("deleted_at",),
    ),
    sqlite_autoincrement=True,
)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("ticket_id", ID, sa.ForeignKey("tickets.id", ondelete="CASCADE"), nullable=False),
    sa.Column("user_id", ID),
    sa.Column("body", sa.Text, nullable=False),  # HTML, sanitised
    sa.Column("body_text", sa.Text, nullable=False),
    sa.Column("incoming", sa.Boolean, nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("source", sa.Integer, nullable=False),
    sa.Column("support_email", sa.Text),
    sa.Column("from_email", sa.Text),
    sa.Column("to_emails", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("cc_emails", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("bcc_emails", sa.JSON, nullable=False, server_default=EMPTY_LIST),
    sa.Column("message_id", sa.Text),
    sa.Column("delivery", sa.Text),  # queued, sent or not_sent; null where nothing is to be sent
    sa.Column("delivery_error", sa.Text),
    sa.Column("failure_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_edited_at", sa.BigInteger),
    sa.Column("last_edited_user_id", ID),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Index("ix_conversations_ticket", "ticket_id", "created_at", "id"),
    sqlite_autoincrement=True,
)

ticket_watchers = sa.Table(
    "ticket_watchers",
    metadata,
    sa.Column("ticket_id", ID, sa.ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("agent_id", ID, primary_key=True, index=True),
)

# What an agent has written and not sent yet; nobody else sees it. `kind` is reply or note.
drafts = sa.Table(
    "drafts",
    metadata,
    sa.Column("ticket_id", ID, sa.ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("agent_id", ID, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

# The bytes are on the disk under `stored_as`. `owner` is ticket, conversation or contact.
attachments = sa.Table(
    "attachments",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("owner_id", ID, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("stored_as", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Index("ix_attachments_owner", "owner", "owner_id", "id"),
    sqlite_autoincrement=True,
)

# Agents: groups, sign-in.

groups = sa.Table(
    "groups",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("description", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

group_members = sa.Table(
    "group_members",
    metadata,
    sa.Column("group_id", ID, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("agent_id", ID, primary_key=True, index=True),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("agent_id", ID, sa.ForeignKey("agents.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("preferences", sa.JSON, nullable=False, server_default=EMPTY_OBJECT),
)

# Failed sign-ins by what they are throttled by (an email, an address), hashed.
sign_in_failures = sa.Table(
    "sign_in_failures",
    metadata,
    sa.Column("key", sa.LargeBinary(32), primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("last_at", sa.BigInteger, nullable=False, index=True),
)

# How the agent's workspace shows things.

# `minor_units`: this source sends amounts in cents and the like. Nothing else ever rescales an amount.
sources = sa.Table(
    "sources",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("minor_units", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

pins = sa.Table(
    "pins",
    metadata,
    sa.Column("contact_id", ID, sa.ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("activity_id", sa.Text, primary_key=True),
    sa.Column("agent_id", ID),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

# Work that goes on behind an answer, and loses nothing.

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, index=True),  # queued, in_progress, completed or failed
    sa.Column("agent_id", ID),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("progress", sa.Integer, nullable=False, server_default="0"),
    sa.Column("total", sa.Integer),
    sa.Column("result", sa.JSON),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

# Mail to send. A row goes away when it was sent, or given up after many tries.
outgoing_mail = sa.Table(
    "outgoing_mail",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("conversation_id", ID, index=True),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("recipients", sa.JSON, nullable=False),
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
