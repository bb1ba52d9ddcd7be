"""The helpdesk: companies, tickets, conversations, agents as contacts, sign-in, and what is looked up by."""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

from backstory.model.contact import name_key
from backstory.model.words import split_words

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
EMPTY_LIST, EMPTY_OBJECT = "[]", "{}"
LISTED = "deleted_at IS NULL AND blocked_at IS NULL AND merged_into IS NULL AND NOT is_agent"


def upgrade() -> None:
    """Add the helpdesk."""
    _extend_contacts()
    _extend_merge_suggestions()
    _extend_agents()
    _create_companies()
    _create_lookups()
    _create_tickets()
    _create_access()
    _create_work()
    _index_searches()
    _make_agents_contacts()
    _index_names()


def _extend_contacts() -> None:
    op.add_column("contacts", sa.Column("name_key", KEY, nullable=False, server_default=sa.text("''")))
    op.add_column("contacts", sa.Column("active", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("contacts", sa.Column("blocked_at", sa.BigInteger))
    op.add_column("contacts", sa.Column("merged_into", ID))
    op.add_column("contacts", sa.Column("is_agent", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("contacts", sa.Column("company_id", ID))
    op.add_column(
        "contacts", sa.Column("view_all_tickets", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("contacts", sa.Column("tags", sa.JSON, nullable=False, server_default=EMPTY_LIST))
    op.add_column(
        "contacts", sa.Column("custom_fields", sa.JSON, nullable=False, server_default=EMPTY_OBJECT)
    )
    op.add_column("contacts", sa.Column("avatar_id", ID))
    state = ("deleted_at", "blocked_at", "merged_into", "is_agent")
    _index_contacts("ix_contacts_listed", "name_key", "id", "updated_at", "active", *state, where=LISTED)
    _index_contacts("ix_contacts_verified", "name_key", "id", "active", *state, where=f"{LISTED} AND active")
    _index_contacts("ix_contacts_merged_into", "merged_into", where="merged_into IS NOT NULL")
    _index_contacts("ix_contacts_deleted", "name_key", "id", "deleted_at", where="deleted_at IS NOT NULL")
    _index_contacts("ix_contacts_blocked", "name_key", "id", "blocked_at", where="blocked_at IS NOT NULL")
    op.create_index("ix_contacts_company", "contacts", ["company_id", "name_key", "id"])


def _index_searches() -> None:
    asked = ["deleted_at", "merged_into", "is_agent"]
    searched = "deleted_at IS NULL AND merged_into IS NULL AND NOT is_agent"
    _index_contacts("ix_contacts_without_email", "email", "id", *asked, where=f"email IS NULL AND {searched}")
    for column in ("created_at", "updated_at"):
        op.create_index(f"ix_contacts_{column}", "contacts", [column, "id", *asked])
    _index_each("contacts", ["active", "language", "time_zone", "company_id"], [], searched, asked)
    columns = ["status", "priority", "type", "group_id", "responder_id"]
    _index_each("tickets", columns, ["due_by", "fr_due_by"], "deleted_at IS NULL", ["deleted_at"])


def _index_each(table: str, columns: list[str], more: list[str], where: str, asked: list[str]) -> None:
    beside = [*columns, *more, "created_at", "updated_at", *asked]
    rows = sa.text(where)
    for column in columns:
        kept = [column, "id", *(other for other in beside if other != column)]
        name = f"ix_{table}_searched_{column}"
        op.create_index(name, table, kept, sqlite_where=rows, postgresql_where=rows)


def _index_contacts(name: str, *columns: str, where: str) -> None:
    rows = sa.text(where)
    op.create_index(name, "contacts", list(columns), sqlite_where=rows, postgresql_where=rows)


def _extend_merge_suggestions() -> None:
    """A pair can be suggested for several reasons; SQLite changes a primary key by making the table again."""
    contact = "contacts.id"
    op.create_table(
        "newer_suggestions",
        sa.Column("contact_id", ID, sa.ForeignKey(contact, ondelete="CASCADE"), primary_key=True),
        sa.Column("other_id", ID, sa.ForeignKey(contact, ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("dismissed_at", sa.BigInteger),
        sa.Column("dismissed_by", ID),
    )
    columns = "contact_id, other_id, kind, created_at"
    op.execute(f"INSERT INTO newer_suggestions ({columns}) SELECT {columns} FROM merge_suggestions")  # noqa: S608
    op.drop_table("merge_suggestions")
    op.rename_table("newer_suggestions", "merge_suggestions")
    op.create_index("ix_merge_suggestions_other_id", "merge_suggestions", ["other_id"])


def _extend_agents() -> None:
    op.add_column("agents", sa.Column("updated_at", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("agents", sa.Column("ticket_scope", sa.Integer, nullable=False, server_default="1"))
    op.add_column("agents", sa.Column("occasional", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("agents", sa.Column("available", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("agents", sa.Column("available_since", sa.BigInteger))
    op.add_column("agents", sa.Column("signature", sa.Text))
    op.add_column("agents", sa.Column("focus_mode", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("agents", sa.Column("deactivated_at", sa.BigInteger))
    op.add_column("agents", sa.Column("last_active_at", sa.BigInteger))
    op.add_column("agents", sa.Column("last_login_at", sa.BigInteger))


def _create_companies() -> None:
    op.create_table(
        "companies",
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
    op.create_table(
        "company_domains",
        sa.Column("domain", sa.Text, primary_key=True),
        sa.Column(
            "company_id", ID, sa.ForeignKey("companies.id", ondelete="CASCADE"), nullable=False, index=True
        ),
    )
    op.create_table(
        "contact_companies",
        sa.Column("contact_id", ID, sa.ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column(
            "company_id", ID, sa.ForeignKey("companies.id", ondelete="CASCADE"), primary_key=True, index=True
        ),
        sa.Column("view_all_tickets", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "contact_merges",
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
    op.create_table(
        "erasures",
        sa.Column("id", ID, primary_key=True),
        sa.Column("homes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("done_at", sa.BigInteger, index=True),
        sqlite_autoincrement=True,
    )


def _create_lookups() -> None:
    op.create_table(
        "custom_fields",
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
    op.create_table(
        "custom_values",
        sa.Column("object", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", KEY, primary_key=True),
        sa.Column("record_id", ID, primary_key=True),
        sa.Index("ix_custom_values_record", "object", "record_id", "name"),
    )
    op.create_table(
        "record_tags",
        sa.Column("object", sa.Text, primary_key=True),
        sa.Column("tag_key", KEY, primary_key=True),
        sa.Column("record_id", ID, primary_key=True),
        sa.Index("ix_record_tags_record", "object", "record_id"),
    )
    op.create_table(
        "name_words",
        sa.Column("object", sa.Text, primary_key=True),
        sa.Column("word", KEY, primary_key=True),
        sa.Column("record_id", ID, primary_key=True),
        sa.Index("ix_name_words_record", "object", "record_id"),
    )


def _create_tickets() -> None:
    op.create_table(
        "tickets",
        sa.Column("id", ID, primary_key=True),
        sa.Column("subject", sa.Text),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
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
        sa.Column("thread_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Index("ix_tickets_requester", "requester_id", "created_at", "id"),
        sa.Index("ix_tickets_responder", "responder_id", "status", "created_at", "id"),
        sa.Index("ix_tickets_status", "status", "created_at", "id"),
        sa.Index("ix_tickets_company", "company_id", "created_at", "id"),
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
        sa.Index(
            "ix_tickets_deleted",
            "created_at",
            "id",
            "deleted_at",
            sqlite_where=sa.text("deleted_at IS NOT NULL"),
            postgresql_where=sa.text("deleted_at IS NOT NULL"),
        ),
        sa.Index(
            "ix_tickets_spam",
            "created_at",
            "id",
            "deleted_at",
            "spam",
            sqlite_where=sa.text("spam IS true"),
            postgresql_where=sa.text("spam IS true"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "conversations",
        sa.Column("id", ID, primary_key=True),
        sa.Column("ticket_id", ID, sa.ForeignKey("tickets.id", ondelete="CASCADE"), nullable=False),
        sa.Column("user_id", ID),
        sa.Column("body", sa.Text, nullable=False),
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
        sa.Column("delivery", sa.Text),
        sa.Column("delivery_error", sa.Text),
        sa.Column("failure_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_edited_at", sa.BigInteger),
        sa.Column("last_edited_user_id", ID),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Index("ix_conversations_ticket", "ticket_id", "created_at", "id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ticket_watchers",
        sa.Column("ticket_id", ID, sa.ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("agent_id", ID, primary_key=True, index=True),
    )
    op.create_table(
        "drafts",
        sa.Column("ticket_id", ID, sa.ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("agent_id", ID, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "attachments",
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


def _create_access() -> None:
    op.create_table(
        "groups",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("description", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", ID, sa.ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("agent_id", ID, primary_key=True, index=True),
    )
    op.create_table(
        "sessions",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("agent_id", ID, sa.ForeignKey("agents.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("preferences", sa.JSON, nullable=False, server_default=EMPTY_OBJECT),
    )
    op.create_table(
        "sign_in_failures",
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False, index=True),
    )


def _create_work() -> None:
    op.create_table(
        "sources",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("minor_units", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pins",
        sa.Column("contact_id", ID, sa.ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("activity_id", sa.Text, primary_key=True),
        sa.Column("agent_id", ID),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False, index=True),
        sa.Column("agent_id", ID),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False, server_default="0"),
        sa.Column("total", sa.Integer),
        sa.Column("result", sa.JSON),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "outgoing_mail",
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


def _make_agents_contacts() -> None:
    """Agents and contacts share their numbers: an agent of an older database becomes a contact with its number."""
    connection = op.get_bind()
    agents = _table("agents", "id", "email", "email_key", "name", "created_at")
    rows = connection.execute(sa.select(agents).order_by(agents.c.id)).all()
    if not rows:
        return
    keys = _table("api_keys", "agent_id")
    held = connection.dialect.name != "sqlite"
    if held:  # by a constraint that cannot wait for the end of the transaction
        op.drop_constraint("api_keys_agent_id_fkey", "api_keys")
    else:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    # Out of the way first: a contact's number may be another agent's old one.
    connection.execute(agents.update().values(id=-agents.c.id))
    connection.execute(keys.update().values(agent_id=-keys.c.agent_id))
    for row in rows:
        number = _contact_of(connection, row)
        connection.execute(agents.update().where(agents.c.id == -row.id).values(id=number))
        connection.execute(keys.update().where(keys.c.agent_id == -row.id).values(agent_id=number))
    if held:
        op.create_foreign_key(
            "api_keys_agent_id_fkey", "api_keys", "agents", ["agent_id"], ["id"], ondelete="CASCADE"
        )


def _contact_of(connection: sa.Connection, agent: sa.Row[Any]) -> int:
    """The number of the contact who has an agent's email, made where there is none."""
    contacts = _table(
        "contacts", "id", "key", "name", "named", "email", "is_agent", "created_at", "updated_at"
    )
    identifiers = _table("identifiers", "key", "kind", "value", "contact_id", "created_at")
    key = f"email:{agent.email_key}"
    number = connection.scalar(sa.select(identifiers.c.contact_id).where(identifiers.c.key == key))
    if number is not None:
        connection.execute(contacts.update().where(contacts.c.id == number).values(is_agent=True))
        return int(number)
    made = {"created_at": agent.created_at, "updated_at": agent.created_at, "is_agent": True, "named": True}
    made |= {"key": secrets.token_bytes(16), "name": agent.name, "email": agent.email}
    connection.execute(contacts.insert().values(made))
    number = int(connection.scalar(sa.select(sa.func.max(contacts.c.id))) or 0)
    row = {"key": key, "kind": "email", "value": agent.email, "contact_id": number}
    connection.execute(identifiers.insert().values(**row, created_at=agent.created_at))
    return number


def _index_names() -> None:
    """Contacts of an older database get what lists order them by and what their names are found by."""
    connection = op.get_bind()
    contacts = _table("contacts", "id", "name", "name_key")
    words = _table("name_words", "object", "word", "record_id")
    last = 0
    while rows := connection.execute(
        sa.select(contacts.c.id, contacts.c.name)
        .where(contacts.c.id > last)
        .order_by(contacts.c.id)
        .limit(1_000)
    ).all():
        last = rows[-1].id
        keys = [{"number": row.id, "key": name_key(row.name)} for row in rows]
        ours = contacts.c.id == sa.bindparam("number")
        connection.execute(contacts.update().where(ours).values(name_key=sa.bindparam("key")), keys)
        found = [
            {"object": "contact", "word": word, "record_id": row.id}
            for row in rows
            for word in dict.fromkeys(split_words(row.name))
        ]
        if found:
            connection.execute(words.insert(), found)


def _table(name: str, *columns: str) -> sa.TableClause:
    """A table as this migration knows it, whatever becomes of it later."""
    return sa.table(name, *(sa.column(column) for column in columns))
