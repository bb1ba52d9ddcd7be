"""Migrations: they make what the tables say, the newest is the program's, and starting is safe in every company."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3 as sqlite3
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from backstory.errors import StorageError
from backstory.store import migrations
from backstory.store.records.tables import metadata
from backstory.store.sqlite_database import Ownership, SqliteDatabase

LOG_TABLES = {
    "activities",
    "erased",
    "event_keys",
    "deletions",
    "log_state",
}  # log/sqlite_schema.sql


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database that was just made."""
    database = SqliteDatabase(tmp_path / "backstory.db")
    database.open()
    await database.close()
    return database.path


def script_directory() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return ScriptDirectory.from_config(config)


def test_the_program_works_with_the_newest_revision() -> None:
    assert script_directory().get_heads() == [migrations.HEAD]


def test_revisions_sort_as_they_follow() -> None:
    """`is_current` compares them as text to tell a newer database."""
    revisions = [script.revision for script in script_directory().walk_revisions()][::-1]
    assert revisions == sorted(revisions)
    assert {len(revision) for revision in revisions} == {len(migrations.HEAD)}


def test_the_schema_is_the_tables(path: Path) -> None:
    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or (name not in LOG_TABLES and not str(name).startswith("words"))

    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(str(path)), module=sqlite3)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": is_ours, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        names = set(sa.inspect(connection).get_table_names())
    engine.dispose()
    assert set(metadata.tables) <= names
    assert {name for name in names if not name.startswith("words")} == set(metadata.tables) | LOG_TABLES | {
        "alembic_version"
    }


def test_a_wrong_schema_would_be_noticed(path: Path) -> None:
    with closing(sqlite3.connect(str(path))) as connection:
        connection.execute("ALTER TABLE contacts ADD COLUMN shoe_size INTEGER")
    with pytest.raises(AssertionError):
        test_the_schema_is_the_tables(path)


async def test_opening_again_changes_nothing(path: Path) -> None:
    def schema() -> list[Any]:
        with closing(sqlite3.connect(str(path))) as connection:
            return [
                *connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2"),
                *connection.execute("SELECT * FROM log_state"),
                *connection.execute("SELECT * FROM alembic_version"),
            ]

    before = schema()
    database = SqliteDatabase(path)
    database.open()
    await database.close()
    assert schema() == before


@pytest.mark.parametrize("ownership", list(Ownership))
def test_a_newer_database_is_refused_and_left_alone(path: Path, ownership: Ownership) -> None:
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="newer than this program"):
        SqliteDatabase(path, ownership).open()
    with closing(sqlite3.connect(str(path))) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_migration_that_fails_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "HEAD", "no such revision")
    path = tmp_path / "backstory.db"
    with pytest.raises(Exception, match="no such revision"):
        SqliteDatabase(path).open()
    with closing(sqlite3.connect(str(path))) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)


OLDER = """
INSERT INTO contacts (id, key, name, named, email, language, created_at, updated_at)
  VALUES (1, x'01', 'Zoë Grün', 1, 'zoe@example.com', 'en', 1, 1),
         (2, x'02', 'Admin', 1, 'admin@example.com', 'en', 1, 1);
INSERT INTO identifiers (key, kind, value, contact_id, created_at)
  VALUES ('email:zoe@example.com', 'email', 'zoe@example.com', 1, 1),
         ('email:admin@example.com', 'email', 'admin@example.com', 2, 1);
INSERT INTO agents (id, email, email_key, name, role, password_hash, created_at)
  VALUES (1, 'admin@example.com', 'admin@example.com', 'Admin', 'admin', 'x', 1),
         (2, 'Agent@example.com', 'agent@example.com', 'Agent', 'agent', 'x', 1);
INSERT INTO api_keys (hash, hint, agent_id, sources, created_at)
  VALUES (x'0a', 'a', 1, '[]', 1), (x'0b', 'b', 2, '[]', 1), (x'0c', 'c', NULL, '["shopify"]', 1);
"""


async def test_agents_of_an_older_database_become_contacts_and_names_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "backstory.db"
    with monkeypatch.context() as older:
        older.setattr(migrations, "HEAD", "0001")
        database = SqliteDatabase(path)
        database.open()
        await database.close()
    with closing(sqlite3.connect(str(path))) as connection:
        connection.executescript(OLDER)
        connection.execute("DROP TABLE erased")  # which the first logs did not have
    database = SqliteDatabase(path)
    database.open()
    await database.close()
    with closing(sqlite3.connect(str(path))) as connection:
        agents = connection.execute("SELECT id, name, role FROM agents ORDER BY id").fetchall()
        assert agents == [(2, "Admin", "admin"), (3, "Agent", "agent")]
        keys = connection.execute("SELECT hint, agent_id FROM api_keys ORDER BY hint").fetchall()
        assert keys == [("a", 2), ("b", 3), ("c", None)]
        people = connection.execute("SELECT id, name_key, is_agent FROM contacts ORDER BY id").fetchall()
        assert people == [(1, "zoe grun", 0), (2, "admin", 1), (3, "agent", 1)]
        words = connection.execute("SELECT word FROM name_words WHERE record_id = 1 ORDER BY word").fetchall()
        assert words == [("grun",), ("zoe",)]
        assert connection.execute("SELECT position, tail FROM erased").fetchall() == []


START = """
import asyncio, sys
from pathlib import Path
from backstory.store.sqlite_database import Ownership, SqliteDatabase
from backstory.errors import StorageError
import alembic.command, alembic.config
print("ready", flush=True)
sys.stdin.readline()
database = SqliteDatabase(Path(sys.argv[1]), Ownership[sys.argv[2]])
try:
    database.open()
except StorageError as error:
    print(error)
else:
    print("opened", flush=True)
    sys.stdin.readline()
    asyncio.run(database.close())
"""


def start_together(path: Path, *ownerships: Ownership) -> list[str]:
    """Processes that open one file at the same moment, and stay until all have; what each says."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(path), ownership.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for ownership in ownerships
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.stdout.readline() for process in processes if process.stdout]
    for process in processes:
        _, errors = process.communicate("end\n", timeout=60)
        assert (process.returncode, errors) == (0, "")
    return said


def test_tools_that_start_together_on_a_new_file(tmp_path: Path) -> None:
    said = start_together(tmp_path / "backstory.db", *[Ownership.NEVER] * 4)
    assert said == ["opened\n"] * 4
    test_the_schema_is_the_tables(tmp_path / "backstory.db")


def test_servers_that_start_together_on_a_new_file(tmp_path: Path) -> None:
    said = start_together(tmp_path / "backstory.db", *[Ownership.REQUIRED] * 3, Ownership.NEVER)
    assert sorted(line.split()[0] for line in said[:3]) == ["another", "another", "opened"]
    assert said[3] == "opened\n"
    test_the_schema_is_the_tables(tmp_path / "backstory.db")
