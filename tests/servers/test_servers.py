"""The servers that tests run on do what their fault tests rely on."""

from __future__ import annotations

import asyncpg
import pytest

from tests.servers.postgres import PostgresServer


def test_databases_of_their_own(postgres: PostgresServer) -> None:
    one, other = postgres.create_database(), postgres.create_database()
    assert one != other
    name = one.rpartition("/")[2]
    postgres.sql("CREATE TABLE things (id int); INSERT INTO things VALUES (7)", name, "backstory")
    copy = postgres.create_database(template=name).rpartition("/")[2]
    assert postgres.sql("SELECT id FROM things", copy, "backstory") == "7"


async def test_a_killed_postgres_keeps_what_was_committed(own_postgres: PostgresServer) -> None:
    url = own_postgres.create_database()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE things (id int)")
    await connection.execute("INSERT INTO things VALUES (7)")
    own_postgres.kill()
    connection.terminate()
    own_postgres.start()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT id FROM things") == 7
    await connection.close()
    own_postgres.set_read_only(True)
    connection = await asyncpg.connect(url)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute("INSERT INTO things VALUES (8)")
    await connection.close()
    own_postgres.stop()
    own_postgres.start()


async def test_a_wrong_password_is_refused(postgres: PostgresServer) -> None:
    postgres.create_database()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.url("postgres", password="wrong"))
