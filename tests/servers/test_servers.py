"""The servers that tests run on do what their fault tests rely on."""

from __future__ import annotations

import asyncpg
import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from tests.servers.cassandra import CassandraCluster, Node
from tests.servers.postgres import PostgresServer
from tests.support import wait_until


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


def is_up(session: Session, node: Node) -> bool:
    host = session.cluster.metadata.get_host(node.host, node.port)
    return host is not None and bool(host.is_up)


def test_three_nodes_survive_the_death_of_one(fragile_cassandra: CassandraCluster) -> None:
    keyspace, third = fragile_cassandra.new_keyspace(), fragile_cassandra.nodes[2]
    with fragile_cassandra.session() as session:
        session.execute(
            f"CREATE KEYSPACE {keyspace}"
            " WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': 3}"
        )
        session.execute(f"CREATE TABLE {keyspace}.things (id int PRIMARY KEY)")
        third.kill()
        insert = SimpleStatement(
            f"INSERT INTO {keyspace}.things (id) VALUES (7)", consistency_level=ConsistencyLevel.QUORUM
        )
        session.execute(insert)
        third.start()
        wait_until(lambda: is_up(session, third), seconds=30)
        select = SimpleStatement(
            f"SELECT id FROM {keyspace}.things", consistency_level=ConsistencyLevel.QUORUM
        )
        assert session.execute(select).one() == (7,)
