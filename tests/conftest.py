"""Fixtures: real installations, served by real processes that end with the tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import hypothesis
import pytest

from backstory.store.postgres import PostgresStore
from tests.servers.cassandra import CassandraCluster
from tests.servers.engines import Maker
from tests.servers.postgres import PostgresServer
from tests.support import Installation

# The same examples in every run, so that a red run is red again; `--hypothesis-profile=explore` looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile("repeatable")

ENGINES = ("sqlite", "postgres", "cassandra")
CLUSTER_TIMEOUT = 300
"""Seconds for a test on the cluster: the first one waits for three nodes, which start one after another."""

SEED = Path(__file__).parent / "data" / "seed-request.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=ENGINES,
        help="where installations are kept, whatever a test says (default: sqlite)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module marked `every_engine` has its installations on each of them (`cluster=False`: on each kind of records).

    Without --engine a test in it that is marked `engine_neutral` has the first one.
    """
    definition = metafunc.definition
    every = definition.get_closest_marker("every_engine")
    if "engine" in metafunc.fixturenames and every:
        given = metafunc.config.getoption("--engine")
        only = definition.get_closest_marker("engine")
        wanted: Sequence[str] = ENGINES if every.kwargs.get("cluster", True) else ENGINES[:2]
        if definition.get_closest_marker("engine_neutral"):
            wanted = ENGINES[:1]
        engines = [given] if given else only.args if only else wanted
        metafunc.parametrize("engine", engines, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test marked `engine(name)` says nothing of the others; one that needs the cluster has time for its start."""
    for item in items:
        if _needs_cluster(item, config) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(CLUSTER_TIMEOUT))
        only = item.get_closest_marker("engine")
        if only is None or "engine" not in getattr(item, "fixturenames", ()):
            continue
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if parameters.get("engine", config.getoption("--engine") or ENGINES[0]) not in only.args:
            item.add_marker(pytest.mark.skip(reason=f"only on {', '.join(only.args)}"))


def _needs_cluster(item: pytest.Item, config: pytest.Config) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    names = getattr(item, "fixturenames", ())
    engine = parameters.get("engine", config.getoption("--engine") if "engine" in names else None)
    return engine == "cassandra" or "cassandra_cluster" in names


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """Where the test's installations are kept."""
    return str(getattr(request, "param", request.config.getoption("--engine") or ENGINES[0]))


@pytest.fixture(scope="session")
def make_installation(request: pytest.FixtureRequest, engine: str) -> Maker:
    """Makes installations for tests that want another than `shared_server` or `installation`; they end them."""
    postgres = None if engine == "sqlite" else request.getfixturevalue("postgres")
    return Maker(postgres, request.getfixturevalue("cassandra_cluster") if engine == "cassandra" else None)


@pytest.fixture(scope="session")
def shared_server(
    make_installation: Maker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """One server for all tests that get along with each other's data."""
    installation = make_installation(tmp_path_factory.mktemp("shared")).start()
    yield installation
    installation.stop()


@pytest.fixture
def installation(
    request: pytest.FixtureRequest, engine: str, make_installation: Maker, tmp_path: Path
) -> Iterator[Installation]:
    """An installation of the test's own, not served yet."""
    url = None if engine == "sqlite" else request.getfixturevalue("postgres_url")
    installation = make_installation(tmp_path, url=url)
    yield installation
    installation.kill()


@pytest.fixture
def server(installation: Installation) -> Installation:
    """A server of the test's own."""
    return installation.start()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL of all tests that do not harm it: each takes a database of its own (`create_database`).

    Its commits do not wait for the disk: a suite of thousands would mostly do that, and nobody kills this one.
    """
    server = PostgresServer(durable=False)
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_database(postgres: PostgresServer) -> str:
    """The BACKSTORY_DATABASE of an installation that tests have one after the other."""
    url = postgres.create_database()
    PostgresStore(url).open()
    return url


@pytest.fixture
def postgres_url(postgres: PostgresServer, postgres_database: str) -> str:
    """The BACKSTORY_DATABASE of an empty installation, the test's own while it lasts."""
    postgres.empty(postgres_database)
    return postgres_database


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, started, which syncs to the disk: to kill, stop, pause or fill."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(scope="session")
def cassandra_cluster() -> Iterator[CassandraCluster]:
    """Three nodes for the whole session; each test takes a keyspace of its own (`new_keyspace`).

    A test that harms nodes takes `fragile_cassandra`.
    """
    cluster = CassandraCluster()
    try:
        yield cluster.start()
    finally:
        cluster.remove()


@pytest.fixture
def fragile_cassandra(cassandra_cluster: CassandraCluster) -> Iterator[CassandraCluster]:
    """The same three nodes, to kill and to pause; they run again afterwards."""
    yield cassandra_cluster
    cassandra_cluster.heal()


@pytest.fixture
def api(shared_server: Installation) -> Iterator[httpx.Client]:
    """An admin's client of the shared server."""
    with shared_server.client() as client:
        yield client


@pytest.fixture
def seed_request() -> bytes:
    """The canonical request, as its bytes."""
    return SEED.read_bytes()
