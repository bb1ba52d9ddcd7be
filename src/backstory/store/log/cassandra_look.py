"""A look at a cluster for `backstory doctor`, at each node by itself: it changes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cassandra
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import WhiteListRoundRobinPolicy

from backstory.errors import StorageError
from backstory.store.log.cassandra_session import CONNECT_SECONDS, CassandraAddress, explain, new_cluster

AT_ONCE = 8
MOST_NODES = 30
"""Of a larger cluster these are looked at; its own tools tell of the others."""

_LOCAL = "SELECT release_version, data_center, schema_version, toUnixTimestamp(now()) FROM system.local"
_KEYSPACE = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
_LOGINS = "system_auth"
_TABLE = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s AND table_name = 'log_state'"
_SCHEMA = "SELECT value FROM {}.log_state WHERE installation = '' AND name = 'schema'"

Place = tuple[str, int]
"""Host and port."""


class SeenNode(NamedTuple):
    """What there is to see on a node."""

    version: str
    datacenter: str
    schema: object
    clock_ahead: float
    others: frozenset[Place]
    replication: dict[str, int] | None
    """Copies by data centre ("" where they are not told apart); None where there is no keyspace."""
    tables: str | None
    """The version of the log's tables; None where there are none."""
    logins: dict[str, int]
    """Copies of the users and their passwords, as of the keyspace."""


class SeenCluster(NamedTuple):
    """What there is to see: nodes by their place, and why the others could not be looked at."""

    nodes: dict[Place, SeenNode]
    silent: dict[Place, str]


def look(address: CassandraAddress) -> SeenCluster:
    """Look at a cluster: at the nodes of the address, and at those that they know.

    Raises:
        StorageError: none of them answers.
    """
    nodes: dict[Place, SeenNode] = {}
    silent: dict[Place, str] = {}
    wanted: Sequence[Place] = address.hosts
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while wanted:
            for place, seen in zip(
                wanted, pool.map(lambda each: _look_at(address, each), wanted), strict=True
            ):
                if isinstance(seen, SeenNode):
                    nodes[place] = seen
                else:
                    silent[place] = seen
            known = frozenset[Place]().union(*(node.others for node in nodes.values()))
            wanted = sorted(known - nodes.keys() - silent.keys())[: MOST_NODES - len(nodes) - len(silent)]
    if not nodes:
        reasons = dict.fromkeys(silent.values())
        raise StorageError(
            f"no node of {', '.join(map(shown, silent))} can be looked at: {'; '.join(reasons)}"
        )
    return SeenCluster(nodes, silent)


def shown(place: Place) -> str:
    """A node as it is written in the address."""
    return f"{place[0]}:{place[1]}"


def _look_at(address: CassandraAddress, place: Place) -> SeenNode | str:
    """One node alone; or why not."""
    try:
        with _Alone(address, place) as (session, others):
            before = time.time()
            version, datacenter, schema, told = session.execute(_LOCAL, timeout=CONNECT_SECONDS).one()
            ahead = told / 1000 - (before + time.time()) / 2
            keyspace = _keyspace(session, address.keyspace)
            logins = session.execute(_KEYSPACE, (_LOGINS,), timeout=CONNECT_SECONDS).one()
            copies = _copies(logins[0]) if logins else {}
            return SeenNode(version, datacenter, schema, ahead, others, *keyspace, copies)
    except (NoHostAvailable, cassandra.DriverException, OSError) as error:
        return explain(error)


def _keyspace(session: Session, name: str) -> tuple[dict[str, int] | None, str | None]:
    found = session.execute(_KEYSPACE, (name,), timeout=CONNECT_SECONDS).one()
    if found is None:
        return None, None
    if session.execute(_TABLE, (name,), timeout=CONNECT_SECONDS).one() is None:
        return _copies(found[0]), None
    row = session.execute(_SCHEMA.format(name), timeout=CONNECT_SECONDS).one()
    return _copies(found[0]), None if row is None else str(row[0])


def _copies(replication: dict[str, str]) -> dict[str, int]:
    """By data centre; by "" where a strategy knows none."""
    return {
        "" if name == "replication_factor" else name: int(value.partition("/")[0])
        for name, value in replication.items()
        if name != "class"
    }


class _Alone:
    """A session with one node alone, and the other nodes that it knows."""

    def __init__(self, address: CassandraAddress, place: Place) -> None:
        only = ExecutionProfile(WhiteListRoundRobinPolicy([place[0]]), request_timeout=CONNECT_SECONDS)
        self._cluster = new_cluster(address, [place], {EXEC_PROFILE_DEFAULT: only})

    def __enter__(self) -> tuple[Session, frozenset[Place]]:
        try:
            session = self._cluster.connect()
        except BaseException:
            self._cluster.shutdown()
            raise
        hosts = self._cluster.metadata.all_hosts()
        return session, frozenset((host.endpoint.address, host.endpoint.port) for host in hosts)

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()
