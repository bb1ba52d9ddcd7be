"""The contract suite runs on every engine: add an engine to ENGINES, and every test here runs on it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from backstory.store.base import Store
from backstory.store.cassandra import CassandraStore
from backstory.store.log import postgres_index, sqlite_index
from backstory.store.log.sqlite_index import follow
from backstory.store.postgres import PostgresStore
from backstory.store.sqlite import SqliteStore
from tests.servers.cassandra import CassandraCluster

Opener = Callable[[pytest.FixtureRequest], Store]


def open_sqlite(request: pytest.FixtureRequest) -> SqliteStore:
    """The embedded store, in a file of its own."""
    path = request.getfixturevalue("tmp_path") / "backstory.db"
    store = SqliteStore(path)
    store.open()
    request.getfixturevalue("indexing")(path)
    return store


def open_postgres(request: pytest.FixtureRequest) -> PostgresStore:
    """A store in a PostgreSQL database of its own."""
    store = PostgresStore(request.getfixturevalue("postgres_url"))
    store.open()
    return store


def open_cassandra(request: pytest.FixtureRequest) -> CassandraStore:
    """Records in a PostgreSQL database of its own, the log in the tests' keyspace, as an installation of its own."""
    cluster: CassandraCluster = request.getfixturevalue("cassandra_cluster")
    store = CassandraStore(request.getfixturevalue("postgres_url"), cluster.new_installation())
    store.open()
    return store


ENGINES: dict[str, Opener] = {"sqlite": open_sqlite, "postgres": open_postgres, "cassandra": open_cassandra}


@pytest.fixture
def indexing() -> Iterator[Callable[[Path], None]]:
    """Takes the path of an open SQLite store and fills its search index, in a thread where a server has a process."""
    stopped, threads = threading.Event(), []

    def start(path: Path) -> None:
        thread = threading.Thread(target=follow, args=(path, lambda rest: stopped.wait(min(rest, 0.005))))
        thread.start()
        threads.append(thread)

    yield start
    stopped.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def prompt_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes that do not wait for entries to gather, where an engine does."""
    for each in (sqlite_index, postgres_index):
        monkeypatch.setattr(each, "LAG_SECONDS", 0.0)


@pytest.fixture(params=sorted(ENGINES))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store of each engine. A test marked `engine(name)` runs on that one only."""
    only = request.node.get_closest_marker("engine")
    if only is not None and request.param not in only.args:
        pytest.skip(f"only on {', '.join(only.args)}")
    opened = ENGINES[request.param](request)
    await opened.start(lambda: None)
    yield opened
    await opened.close()
