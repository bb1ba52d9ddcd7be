"""Migrations on PostgreSQL: the tables are what the program says, older data is kept, starts that race all end well."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from backstory.store import migrations
from backstory.store.postgres import PostgresStore
from backstory.store.records.tables import metadata
from tests.servers.postgres import PostgresServer

T = TypeVar("T")
LOG_TABLES = {
    "activities",
    "activity_index",
    "deletions",
    "event_keys",
    "log_state",
}  # log/postgres_schema.sql
STARTS = 4


def ask(url: str, work: Callable[[asyncpg.Connection[Any]], Coroutine[Any, Any, T]]) -> T:
    """Do something with a connection."""

    async def run() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in ask(url, lambda connection: connection.fetch(query))]


def defaults_differ(
    context: object, there: object, ours: sa.Column[Any], found: str | None, _: object, wanted: str | None
) -> bool | None:
    """Alembic has PostgreSQL compare them, which cannot compare JSON."""
    if isinstance(ours.type, sa.JSON):
        return found != (None if wanted is None else f"'{wanted}'::json")
    return None


def differences(url: str) -> list[Any]:
    """In what a database differs from the program's tables."""

    def compare(connection: sa.Connection) -> list[Any]:
        options = {"include_name": is_ours, "compare_type": True, "compare_server_default": defaults_differ}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or name not in LOG_TABLES

    async def run() -> list[Any]:
        engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(compare)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def check_schema(url: str) -> None:
    """A database has the program's schema, once."""
    assert differences(url) == []
    there = {name for (name,) in rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert there == set(metadata.tables) | LOG_TABLES | {"alembic_version"}
    assert rows(url, "SELECT version_num FROM alembic_version") == [(migrations.HEAD,)]


def test_the_schema_is_the_tables(postgres: PostgresServer) -> None:
    url = postgres.create_database()  # the one that tests share has a cluster's outbox, too
    make(url)
    check_schema(url)


def test_a_wrong_schema_would_be_noticed(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    make(url)
    for statement in (
        "ALTER TABLE contacts ADD COLUMN shoe_size integer",
        "DROP INDEX ix_contacts_created_at",
        "ALTER TABLE contacts ALTER COLUMN language DROP DEFAULT",
    ):
        before = len(differences(url))
        ask(url, lambda connection, statement=statement: connection.execute(statement))  # type: ignore[misc]
        assert len(differences(url)) > before, statement


def make(url: str) -> None:
    """Bring a database to the program's schema."""
    store = PostgresStore(url)
    store.open()
    asyncio.run(store.close())


OLDEST = """
INSERT INTO contacts (key, name, named, email, language, created_at, updated_at)
  VALUES ('\\x01', 'Zoë Grün', true, 'zoe@example.com', 'en', 1, 1),
         ('\\x02', 'Admin', true, 'admin@example.com', 'en', 1, 1);
INSERT INTO identifiers (key, kind, value, contact_id, created_at)
  VALUES ('email:zoe@example.com', 'email', 'zoe@example.com', 1, 1),
         ('email:admin@example.com', 'email', 'admin@example.com', 2, 1);
INSERT INTO agents (email, email_key, name, role, password_hash, created_at)
  VALUES ('admin@example.com', 'admin@example.com', 'Admin', 'admin', 'x', 1),
         ('Agent@example.com', 'agent@example.com', 'Agent', 'agent', 'x', 1);
INSERT INTO api_keys (hash, hint, agent_id, sources, created_at)
  VALUES ('\\x0a', 'a', 1, '[]', 1), ('\\x0b', 'b', 2, '[]', 1), ('\\x0c', 'c', NULL, '["shopify"]', 1);
INSERT INTO merge_suggestions (contact_id, other_id, kind, created_at) VALUES (1, 2, 'email', 1);
INSERT INTO audit_log (at, actor, action, target, origin, details) VALUES (1, 'cli', 'x', 'y', 'z', '{}');
"""
ALWAYS = """
INSERT INTO activities VALUES (4096, 1, '\\x01', 1, 'shopify', 'Paid', NULL, 'shopper', '{}', '{}');
INSERT INTO event_keys VALUES ('\\x0f', 4096, '\\x0f', NULL);
"""
SECOND = """
INSERT INTO contacts (key, name, name_key, named, email, language, is_agent, created_at, updated_at)
  VALUES ('\\x01', 'Zoë Grün', 'zoe grun', true, 'zoe@example.com', 'en', false, 1, 1),
         ('\\x02', 'Admin', 'admin', true, 'admin@example.com', 'en', true, 1, 1),
         ('\\x03', 'Agent', 'agent', true, 'agent@example.com', 'en', true, 1, 1);
INSERT INTO name_words VALUES ('contact', 'zoe', 1), ('contact', 'grun', 1);
INSERT INTO agents (id, email, email_key, name, role, password_hash, created_at)
  VALUES (2, 'admin@example.com', 'admin@example.com', 'Admin', 'admin', 'x', 1),
         (3, 'Agent@example.com', 'agent@example.com', 'Agent', 'agent', 'x', 1);
INSERT INTO api_keys (hash, hint, agent_id, sources, created_at)
  VALUES ('\\x0a', 'a', 2, '[]', 1), ('\\x0b', 'b', 3, '[]', 1), ('\\x0c', 'c', NULL, '["shopify"]', 1);
INSERT INTO merge_suggestions (contact_id, other_id, kind, created_at) VALUES (1, 2, 'email', 1);
INSERT INTO audit_log (at, actor, action, target, origin, details) VALUES (1, 'cli', 'x', 'y', 'z', '{}');
"""


@pytest.fixture(params=["0001", "0002", "0003"])
def older(request: pytest.FixtureRequest, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database as an older program left it, with data."""
    url = postgres.create_database()
    with monkeypatch.context() as past:
        past.setattr(migrations, "HEAD", request.param)
        make(url)
    data = {"0001": OLDEST, "0002": SECOND, "0003": SECOND}[request.param] + ALWAYS
    ask(url, lambda connection: connection.execute(data))
    return url


def check_data(url: str) -> None:
    """What was there before is there."""
    assert rows(url, "SELECT id, name, role FROM agents ORDER BY id") == [
        (2, "Admin", "admin"),
        (3, "Agent", "agent"),
    ]
    assert rows(url, "SELECT hint, agent_id FROM api_keys ORDER BY hint") == [("a", 2), ("b", 3), ("c", None)]
    people = rows(url, "SELECT id, name_key, is_agent FROM contacts ORDER BY id")
    assert people == [(1, "zoe grun", False), (2, "admin", True), (3, "agent", True)]
    words = rows(url, "SELECT word FROM name_words WHERE record_id = 1 ORDER BY word")
    assert words == [("grun",), ("zoe",)]
    assert rows(url, "SELECT contact_id, other_id, kind FROM merge_suggestions") == [(1, 2, "email")]
    assert rows(url, "SELECT position, contact_key, name FROM activities") == [(4096, b"\x01", "Paid")]
    assert rows(url, "SELECT hash, position FROM event_keys") == [(b"\x0f", 4096)]
    assert rows(url, "SELECT at, actor FROM audit_log") == [(1, "cli")]


def test_every_older_schema_is_brought_up_with_its_data(older: str) -> None:
    make(older)
    check_schema(older)
    check_data(older)


def start(url: str) -> subprocess.Popen[str]:
    """`backstory migrate`, begun."""
    command = [sys.executable, "-m", "backstory", "migrate", "--database", url]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def race(url: str) -> None:
    """Several migrations of one database at once, which all end well."""
    for process in [start(url) for _ in range(STARTS)]:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, "is up to date" in errors) == (0, True), errors


def test_migrations_that_race_for_a_new_database(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    race(url)
    check_schema(url)


def test_migrations_that_race_for_an_older_database(older: str) -> None:
    race(older)
    check_schema(older)
    check_data(older)


def test_a_migration_that_fails_leaves_nothing_half_done(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create_database()
    with monkeypatch.context() as wrong:
        wrong.setattr(migrations, "HEAD", "no such revision")
        with pytest.raises(Exception, match="no such revision"):
            PostgresStore(url).open()
    assert rows(url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    make(url)
    check_schema(url)
