"""Talking to the cluster: an address, a session whose every call has a deadline, and the driver's errors as ours.

Each statement that is sent here may be sent again: rows are written with write timestamps of their own, and who was
first is decided with the writer's id. So a call whose outcome is unknown is repeated until it is known or its deadline
has passed, and then answered 503, never 200.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import statistics
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import cassandra
import structlog
from cassandra import ConsistencyLevel, UnresolvableContactPoints
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    ResponseFuture,
    ResultSet,
    Session,
)
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.policies import (
    ConstantReconnectionPolicy,
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
)
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, ServerError, TruncateError
from cassandra.query import (
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
    Statement,
    dict_factory,
    tuple_factory,
)
from msgspec import Struct

from backstory.errors import BackstoryError, SettingError, StorageError, Unavailable
from backstory.store.log.cassandra_nodes import Suspects, WaryPolicy

SCHEMA_VERSION = 1
SCAN_PAGE = 1_000
PORT = 9042
READ_SECONDS = 6.0
SCAN_SECONDS = 60.0
WRITE_SECONDS = 10.0
ATTEMPT_SECONDS = 2.5
SPECULATE_SECONDS = 0.2
"""After so long another node is asked as well."""

CAS_SPECULATE_SECONDS = 0.8
AGAIN_SECONDS = 0.05
CONNECT_SECONDS = 5.0
CLOCKS = 5
"""So many nodes are asked for their clocks."""

CLOCK_SECONDS = 1.0
CLOCK_TOLERANCE = 1.0


class Limit(NamedTuple):
    """How much a batch may hold at most: rows, and bytes of their values."""

    statements: int
    size: int


PARTITION_BATCH = Limit(1_000, 65_536)
MIXED_BATCH = Limit(24, 4_096)
"""A node warns of batches over several partitions with 5 KiB, and refuses those with 50."""

BATCHES_AT_ONCE = 64
"""So many batches of a bulk are under way: a node waits for its disk after each change, and idles with fewer."""

_CAS = "compare and set"
_BULK = "bulk"
_FORM = "cassandra://[USER:PASSWORD@]HOST[:PORT][,HOST...]/KEYSPACE[?OPTIONS]"
_CONSISTENCIES = {"local_quorum": ConsistencyLevel.LOCAL_QUORUM, "quorum": ConsistencyLevel.QUORUM}
_OPTIONS = ("dc", "consistency", "replication", "installation", "tls")
_NOT_NOW = (
    *(NoHostAvailable, cassandra.Unavailable, cassandra.Timeout, cassandra.CoordinationFailure),
    *(cassandra.OperationTimedOut, ConnectionException, ConnectionBusy, NoConnectionsAvailable),
    *(OverloadedErrorMessage, IsBootstrappingErrorMessage, ServerError, TruncateError),
)

_REFUSALS = (NoHostAvailable, cassandra.AuthenticationFailed, UnresolvableContactPoints)

_CLOCK = "SELECT toUnixTimestamp(now()) FROM system.local"


class _Page(NamedTuple):
    """Rows, and where the next ones begin, if there are more."""

    rows: list[Any]
    next: bytes | None


Write = tuple[str, Sequence[Any]]
"""A statement and its values."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class CassandraAddress(Struct, frozen=True):
    """A BACKSTORY_ACTIVITY_LOG, taken apart."""

    hosts: tuple[tuple[str, int], ...]
    keyspace: str
    user: str | None = None
    password: str | None = None
    datacenter: str | None = None
    consistency: str = "local_quorum"
    replication: int = 3
    installation: str = "main"
    tls: bool = False


def read_address(url: str) -> CassandraAddress:
    """Take an address apart.

    Raises:
        SettingError: naming what is wrong with it; the password is not repeated.
    """
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    keyspace = parts.path.removeprefix("/")
    if parts.scheme != "cassandra" or not hosts:
        raise _wrong(f"expected {_FORM}")
    if not (keyspace.isascii() and keyspace.replace("_", "a").isalnum() and len(keyspace) <= 48):
        raise _wrong(f"the keyspace is '{keyspace[:60]}'; expected letters, digits and _, at most 48")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise _wrong(f"there is no option '{name}'; known: {', '.join(_OPTIONS)}")
    consistency = options.get("consistency", "local_quorum").lower()
    if consistency not in _CONSISTENCIES:
        raise _wrong(f"the consistency is '{consistency}'; expected {' or '.join(_CONSISTENCIES)}")
    replication = options.get("replication", "3")
    if replication not in tuple("123456789"):
        raise _wrong(
            f"the replication is '{replication}'; expected a number from 1 to 9, and 3 to lose a node"
        )
    tls = options.get("tls", "no").lower()
    if tls not in ("yes", "no"):
        raise _wrong(f"tls is '{tls}'; expected yes or no")
    return CassandraAddress(
        tuple(_host(each) for each in hosts.split(",")),
        keyspace.lower(),
        unquote(user) or None,
        unquote(password) or None,
        options.get("dc"),
        consistency,
        int(replication),
        options.get("installation", "main"),
        tls == "yes",
    )


def _host(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _wrong(f"'{text}' is no HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def _wrong(what: str) -> SettingError:
    return SettingError(f"the setting activity_log (BACKSTORY_ACTIVITY_LOG): {what}")


def new_cluster(
    address: CassandraAddress, hosts: Sequence[tuple[str, int]], profiles: dict[object, ExecutionProfile]
) -> Cluster:
    """The driver's entry to a cluster, through some hosts, which nothing was asked of yet."""
    # The driver tells of every attempt to connect again; what matters is told by the calls that fail.
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    auth = PlainTextAuthProvider(address.user, address.password or "") if address.user else None
    return Cluster(
        hosts,
        address.hosts[0][1],
        auth_provider=auth,
        ssl_context=ssl.create_default_context() if address.tls else None,
        execution_profiles=profiles,
        protocol_version=4,  # the newest that ScyllaDB speaks too
        reconnection_policy=ConstantReconnectionPolicy(1.0, None),
        connect_timeout=CONNECT_SECONDS,
        idle_heartbeat_interval=3,
        idle_heartbeat_timeout=3,
        monitor_reporting_enabled=False,
        application_name="backstory",
    )


def agreed_clock(told: Mapping[str, float]) -> float | None:
    """What nodes agree on, of how far each says that it is ahead of us; None where none says anything."""
    if not told:
        return None
    agreed = statistics.median(told.values())
    for address, ahead in told.items():
        if abs(ahead - agreed) > CLOCK_TOLERANCE:
            log.warning("node_clock_is_wrong", node=address, seconds=round(ahead - agreed, 3))
    return agreed


class CassandraSession:
    """One process's connections to the cluster."""

    def __init__(self, address: CassandraAddress) -> None:
        self.address = address
        self._cluster: Cluster | None = None
        self._session: Session | None = None
        self._prepared: dict[str, PreparedStatement] = {}
        self._many = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._suspects = Suspects()

    def open(self) -> None:
        """Connect, and bring the keyspace and its tables where they are missing. Within `naming_faults`.

        Of several processes that start at once only one may do that: whoever calls this sees to it.
        """
        self._connect()
        self._bring_schema()

    @contextmanager
    def naming_faults(self) -> Iterator[None]:
        """While a log is opened: what is wrong is named, and the connections are let go.

        Raises:
            StorageError: naming what is wrong.
        """
        where = ", ".join(f"{host}:{port}" for host, port in self.address.hosts)
        try:
            yield
        except _REFUSALS as error:
            self.close()
            raise StorageError(f"Cassandra at {where}: {explain(error)}") from error
        except (*_NOT_NOW, cassandra.DriverException) as error:
            self.close()
            raise StorageError(
                f"Cassandra at {where}, keyspace {self.address.keyspace}: {explain(error)}"
            ) from error
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        self._cluster = new_cluster(
            self.address,
            self.address.hosts,
            {
                EXEC_PROFILE_DEFAULT: self._profile(tuple_factory, SPECULATE_SECONDS),
                _CAS: self._profile(dict_factory, CAS_SPECULATE_SECONDS),
                _BULK: self._profile(tuple_factory, None),
            },
        )
        self._session = self._cluster.connect()
        self._session.default_fetch_size = None  # every query says how many rows it wants

    def _profile(self, rows: Callable[..., Any], speculate: float | None) -> ExecutionProfile:
        consistency = _CONSISTENCIES[self.address.consistency]
        local = self.address.consistency == "local_quorum"
        return ExecutionProfile(
            load_balancing_policy=WaryPolicy(
                DCAwareRoundRobinPolicy(self.address.datacenter or ""), self._suspects
            ),
            consistency_level=consistency,
            serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL if local else ConsistencyLevel.SERIAL,
            request_timeout=ATTEMPT_SECONDS,
            row_factory=rows,
            speculative_execution_policy=None
            if speculate is None
            else ConstantSpeculativeExecutionPolicy(speculate, 2),
        )

    @property
    def session(self) -> Session:
        """The driver's session."""
        if self._session is None:
            raise Unavailable("The activity log is closed.")
        return self._session

    def _bring_schema(self) -> None:
        assert self._cluster is not None
        session, keyspace = self.session, self.address.keyspace
        found = session.execute(
            "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", (keyspace,)
        ).one()
        if found is None:
            session.execute(
                f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication ="
                f" {{'class': 'NetworkTopologyStrategy', '{self._local_datacenter()}': {self.address.replication}}}",
                timeout=60,
            )
        session.set_keyspace(keyspace)
        tables = session.execute(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,)
        ).all()
        if ("log_state",) not in tables or session.execute(
            "SELECT value FROM log_state WHERE installation = '' AND name = 'schema'"
        ).one() is None:
            self._create_tables()
        version = session.execute(
            "SELECT value FROM log_state WHERE installation = '' AND name = 'schema'"
        ).one()[0]
        if int(version) != SCHEMA_VERSION:
            newer = "newer" if int(version) > SCHEMA_VERSION else "older"
            raise StorageError(
                f"the keyspace {keyspace} has schema {version}, which is {newer} than this Backstory's"
                f" {SCHEMA_VERSION}; run the Backstory that goes with it"
            )

    def _local_datacenter(self) -> str:
        assert self._cluster is not None
        if self.address.datacenter is not None:
            return self.address.datacenter
        names = {host.datacenter for host in self._cluster.metadata.all_hosts() if host.datacenter}
        if len(names) != 1:
            raise _wrong(
                f"the cluster has the data centres {', '.join(sorted(names))}; say which with ?dc=NAME"
            )
        return names.pop()

    def _create_tables(self) -> None:
        text = Path(__file__).with_name("cassandra_schema.cql").read_text()
        lines = [line.partition("--")[0].rstrip() for line in text.splitlines()]
        for statement in "\n".join(lines).split(";\n"):
            if statement.strip():
                self.session.execute(statement.strip(), timeout=60)
        # Last: with it the schema is complete.
        self.session.execute(
            "INSERT INTO log_state (installation, name, value) VALUES ('', 'schema', %s)",
            (str(SCHEMA_VERSION),),
        )

    def clock_offset(self) -> float | None:
        """By how many seconds the cluster's clock is ahead of ours; None where no node tells. It blocks.

        The same nodes are asked by every process, so that all go by the same clock, and one that is wrong alone is not
        the one.
        """
        told = {}
        hosts = self._cluster.metadata.all_hosts() if self._cluster else []
        near = [host for host in hosts if host.is_up and host.datacenter == self._local_datacenter()]
        for host in sorted(near, key=lambda host: host.address)[:CLOCKS]:
            before = time.time()
            try:
                moment = self.session.execute(_CLOCK, timeout=CLOCK_SECONDS, host=host).one()[0] / 1000
            except (*_NOT_NOW, BackstoryError):
                continue  # it does not answer, and others do
            told[host.address] = moment - (before + time.time()) / 2
        return agreed_clock(told)

    def read_now(self, text: str, values: Sequence[Any], column: int) -> Any:
        """A number from a row, at the start; 0 where there is none."""
        row = self.session.execute(self.statement(text), values).one()
        return (row and row[column]) or 0

    def first_value(self, put: str, get: str, installation: str, name: str, value: str) -> str:
        """Keep a value unless there is one; the one that is kept."""
        self.session.execute(self.statement(put), (installation, value), execution_profile=_CAS)
        return str(self.session.execute(self.statement(get), (installation, name)).one()[0])

    def statement(self, text: str) -> PreparedStatement:
        """A prepared statement."""
        found = self._prepared.get(text)
        if found is None:
            found = self._prepared[text] = self.session.prepare(text)
            found.is_idempotent = True
        return found

    async def read(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows."""
        return (await self._run(self.statement(text).bind(values), READ_SECONDS)).rows

    async def pages(self, text: str) -> AsyncGenerator[list[tuple[Any, ...]]]:
        """All rows that a statement without values finds, a page at a time, in no order.

        The next page is under way while the caller is at one.
        """
        statement = self.statement(text).bind(())
        statement.fetch_size = SCAN_PAGE
        page = await self._run(statement, SCAN_SECONDS, _BULK)
        while page.next is not None:
            following = asyncio.create_task(self._run(statement, SCAN_SECONDS, _BULK, page.next))
            try:
                yield page.rows
                page = await following
            finally:
                following.cancel()
        yield page.rows

    async def write(self, text: str, values: Sequence[Any]) -> None:
        """Write something; it is durable on a quorum."""
        await self._run(self.statement(text).bind(values), WRITE_SECONDS)

    async def write_together(self, writes: Sequence[Write]) -> None:
        """Write several small rows with one request; they are durable when it returns, not all at one moment."""
        await self._write_batch([self.statement(text).bind(values) for text, values in writes])

    async def write_many(self, writes: Sequence[Write]) -> None:
        """Write any number of rows, in no order, with few requests: what goes into one partition together.

        To a node that is one change, however many rows it has. What is alone in its partition shares a request, too;
        the node then has as many changes, and takes no more than a small number of bytes.
        """
        partitions: dict[tuple[str, bytes], list[BoundStatement]] = {}
        for text, values in writes:
            bound = self.statement(text).bind(values)
            partitions.setdefault((text, bound.routing_key), []).append(bound)
        alone = [rows[0] for rows in partitions.values() if len(rows) == 1]
        batches = [*_divide(alone, MIXED_BATCH)]
        for rows in partitions.values():
            if len(rows) > 1:
                batches.extend(_divide(rows, PARTITION_BATCH))

        async def send(batch: Sequence[BoundStatement]) -> None:
            async with self._many:
                await self._write_batch(batch, _BULK)

        await asyncio.gather(*map(send, batches))

    async def _write_batch(
        self, statements: Sequence[BoundStatement], profile: object = EXEC_PROFILE_DEFAULT
    ) -> None:
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.is_idempotent = True
        for statement in statements:
            batch.add(statement)
        await self._run(batch, WRITE_SECONDS, profile)

    async def compare_and_set(self, text: str, values: Sequence[Any]) -> dict[str, Any] | None:
        """Write if the condition holds; None where it did, else what is there.

        Where the outcome of one try is unknown it is tried again, so a caller must recognise its own write.
        """
        page = await self._run(self.statement(text).bind(values), WRITE_SECONDS, _CAS)
        found: dict[str, Any] = page.rows[0]
        return None if found.pop("[applied]", found.pop("applied", None)) else found

    async def _run(
        self,
        statement: Statement,
        seconds: float,
        profile: object = EXEC_PROFILE_DEFAULT,
        place: bytes | None = None,
    ) -> _Page:
        deadline = time.monotonic() + seconds
        pause = AGAIN_SECONDS
        while True:
            try:
                return await self._send(statement, profile, place)
            except _NOT_NOW as error:
                if time.monotonic() + pause > deadline:
                    raise _unavailable(error, retry_after=2) from error
                log.info("cassandra_again", error=explain(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            except cassandra.Unauthorized as error:
                raise _unavailable(error, retry_after=30) from error
            except (cassandra.RequestValidationException, BackstoryError):
                raise  # a fault of ours, or already said
            except Exception as error:  # a connection may fail in more ways than the driver names
                if time.monotonic() + pause > deadline:
                    raise _unavailable(error, retry_after=2) from error
                log.warning("cassandra_failed", error=explain(error))
                await asyncio.sleep(pause)

    def _send(self, statement: Statement, profile: object, place: bytes | None) -> asyncio.Future[_Page]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Page] = loop.create_future()
        response = self.session.execute_async(
            statement, execution_profile=profile, timeout=ATTEMPT_SECONDS, paging_state=place
        )

        def answered(rows: Any) -> None:
            self._suspects.note(response.attempted_hosts, response.coordinator_host)
            _hand_over(loop, future, future.set_result, _page(response, rows))

        def failed(error: BaseException) -> None:
            if isinstance(error, cassandra.OperationTimedOut):
                self._suspects.note(response.attempted_hosts, None)
            _hand_over(loop, future, future.set_exception, error)

        response.add_callbacks(answered, failed)
        return future

    def close(self) -> None:
        """Let go of every connection."""
        if self._cluster is not None:
            self._cluster.shutdown()
        self._cluster = self._session = None


def _unavailable(error: BaseException, retry_after: int) -> Unavailable:
    """What a client is told, which is nothing of the cluster; an operator finds that in the log."""
    log.error("storage_error", error=explain(error))
    return Unavailable("The activity log cannot answer now. Send it again.", retry_after=retry_after)


def _divide(statements: Sequence[BoundStatement], most: Limit) -> Iterator[list[BoundStatement]]:
    """Batches of a bounded size, in order; what is larger by itself is alone."""
    batch: list[BoundStatement] = []
    size = 0
    for statement in statements:
        its = sum(len(value) for value in statement.values if value is not None)
        if batch and (len(batch) == most.statements or size + its > most.size):
            yield batch
            batch, size = [], 0
        batch.append(statement)
        size += its
    if batch:
        yield batch


def _page(response: ResponseFuture, rows: Any) -> _Page:
    if rows is None:
        return _Page([], None)
    return _Page(list(rows), ResultSet(response, rows).paging_state if response.has_more_pages else None)


def _hand_over(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[_Page], put: Callable[[Any], None], value: Any
) -> None:
    """From the driver's thread to ours."""

    def give() -> None:
        if not future.done():
            put(value)

    if not loop.is_closed():
        loop.call_soon_threadsafe(give)


def explain(error: BaseException) -> str:
    """What a driver's error comes down to, and what would mend it, in a line."""
    failures: list[BaseException] = [error]
    if isinstance(error, NoHostAvailable):
        if not isinstance(error.errors, dict):  # none was even tried
            return "no node of it may be used: is the data centre (?dc=NAME) right?"
        failures = list(error.errors.values())
    if isinstance(error, UnresolvableContactPoints):
        return "none of these names is known: is the address right?"
    if isinstance(error, cassandra.Unauthorized) and not _lacks_nodes(str(error)):
        return f"this user lacks a right ({_told(error)}): an administrator grants it (GRANT)"
    reasons = "; ".join(dict.fromkeys(map(_told, failures)))[:500]
    refused = [
        each for each in failures if isinstance(each, cassandra.AuthenticationFailed | cassandra.Unauthorized)
    ]
    if any(_lacks_nodes(str(each)) for each in refused):
        advice = "too few of the nodes answer that keep the logins (keyspace system_auth): start them"
        return f"the login cannot be checked ({reasons}): {advice}"
    if refused:
        return f"the login failed: {reasons}"
    return f"no node answers: {reasons}".removesuffix(": ") if isinstance(error, NoHostAvailable) else reasons


def _lacks_nodes(told: str) -> bool:
    """Whether a login or a right could not be looked up, which is told as if it were wrong."""
    return "Cannot achieve consistency" in told or "timed out" in told


def _told(error: BaseException) -> str:
    """The part of an error that tells something: what the node says, or the system."""
    text = str(error)
    if says := re.search(r'message="(.*)"', text):
        return says[1].replace('\\"', '"')
    _, last, tells = text.rpartition("Last error: ")
    return tells if last else f"{type(error).__name__}: {text}"
