"""A store with its log on Cassandra, where PostgreSQL beside it hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from backstory.errors import Unavailable
from backstory.store import postgres_database
from backstory.store.cassandra import CassandraStore
from tests.servers.cassandra import CassandraCluster
from tests.servers.postgres import PostgresServer
from tests.store.support import publish_one

EMAIL = {"email": "a@example.com"}


@pytest.fixture
async def store(
    own_postgres: PostgresServer, cassandra_cluster: CassandraCluster
) -> AsyncIterator[CassandraStore]:
    """A store on a PostgreSQL that may be harmed."""
    store = CassandraStore(own_postgres.create_database(), cassandra_cluster.new_installation())
    store.open()
    yield store
    await store.close()


async def test_a_database_that_hangs_when_a_lane_is_taken(
    store: CassandraStore, own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as moment:
        moment.setattr(postgres_database, "CALL_SECONDS", 0.5)
        connect = store.database._connect

        async def connect_and_hang(**settings: str) -> asyncpg.Connection[asyncpg.Record]:
            connection = await connect(**settings)
            own_postgres.pause()
            return connection

        moment.setattr(store.database, "_connect", connect_and_hang)
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable):
                await publish_one(store, EMAIL)
    own_postgres.resume()
    await publish_one(store, EMAIL)
