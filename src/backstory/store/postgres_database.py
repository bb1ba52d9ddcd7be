"""Connections to one PostgreSQL database: asyncpg for the log, SQLAlchemy over asyncpg for the records.

Nothing waits for ever: every call has a deadline on both sides, a server that is away is found again by the next call,
and a driver's error becomes one of ours here.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from backstory.errors import BackstoryError, StorageError, Unavailable
from backstory.model.activity import Event
from backstory.model.identity import Resolved, Sought
from backstory.model.moment import go_by
from backstory.store import migrations
from backstory.store.base import RecordsTransaction

T = TypeVar("T")

MIN_VERSION = 15
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 8.0
"""How long the server works on one statement before it gives up: then nothing was done, and that is known."""

CALL_SECONDS = 10.0
"""How long a call waits for everything together: behind it the connection is given up."""

WRITE_SECONDS = 30.0
"""The same for a change of the records, which has many statements."""

MIGRATION_SECONDS = 600.0
LOG_CONNECTIONS = 8
RECORDS_CONNECTIONS = 8
WRITERS = 2
"""Changes of the records of one process that are under way together; each waits for the lock of all."""

ATTEMPTS = 12

CLOCK_SECONDS = 60.0
"""How often the database's clock is looked at."""

CLOCK_TOLERANCE = 1.0
"""What clocks may differ by, in seconds; and how long a look may take to be worth something."""

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"

RECORDS_LOCK = 4870020391872134146
"""The lock that every change of the records holds, as the one writer of SQLite: two never see half of each other."""

MIGRATION_LOCK = 4870020391872134147

SERVER = "backstory server"

_PINNED = {  # what is read by index is to be read by index, whatever the statistics of a young table say
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
_SESSION = {
    "application_name": "backstory",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": "20s",  # a process that is gone must not keep the locks
    "client_connection_check_interval": "2s",
    "jit": "off",
}

_KEEP_DURABLE = """
SELECT set_config('synchronous_commit', CASE setting WHEN 'off' THEN 'on' ELSE setting END, false)
  FROM pg_settings WHERE name = 'synchronous_commit'
"""
"""An answer of 200 means durable: what the server is told of commits later has no say in a session that has its own."""

RACED = frozenset({"BS001", "40001", "40P01", "23505", "23503"})
"""Somebody else was faster: the same work is worth doing again at once."""

_PASSING_CLASSES = frozenset({"08", "53", "57", "58"})
"""Connection, resources, operator intervention, system error."""
_PASSING = frozenset(
    {"25006", "25P03", "28P01", "28000", "3D000", "42501", "55P03", "BS001", "40001", "40P01"}
)

_DRIVER_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

log = structlog.get_logger(__name__)


class Transaction(NamedTuple):
    """See `store.base.RecordsTransaction`."""

    records: sa.Connection
    append: Callable[[Sequence[Event]], None]
    resolve: Callable[[Sought], Resolved]


class Refusal(NamedTuple):
    """A question whose answer "true" means that the database is not to be used so, and what is said then."""

    question: str
    message: str


CANNOT = "The storage cannot take this now; nothing was kept. Send it again."
UNKNOWN = "The storage went away before it answered: it is not known whether this was kept."


class PostgresDatabase:
    """One database. Open it, use it on one event loop, close it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.shown = shown_url(url)
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._records: AsyncEngine | None = None
        self._writers = asyncio.Semaphore(WRITERS)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._clock_read = float("-inf")
        self.risks: list[str] = []
        """What `open` found that a server should say."""
        self.appender: Callable[[sa.Connection, Sequence[Event]], None] = _refuse_events
        """How events get into the log. Set it before `open`."""
        self.resolver: Callable[[sa.Connection, Sought], Resolved] = _refuse_to_resolve
        """How contacts are found and made. Set it before `open`."""

    def open(self, refusal: Refusal) -> None:
        """Look whether the database can be used, also by `refusal`, and bring its schema up to date.

        Raises:
            StorageError: it cannot be reached, is not ours to use, is too old, or newer than this program.
        """
        run_apart(self._prepare(refusal))

    def prepare_alone(self, statement: str, work: Callable[[], None]) -> None:
        """Run a statement and some work while no other process does the same or migrates.

        Raises:
            StorageError: it cannot be reached, or is not ours to use.
        """

        async def run() -> None:
            try:
                # The wait for the others is no statement that takes too long.
                connection = await self._connect(
                    statement_timeout="0", idle_in_transaction_session_timeout="0"
                )
                try:
                    async with connection.transaction():
                        await connection.execute(
                            f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})", timeout=MIGRATION_SECONDS
                        )
                        await connection.execute(statement, timeout=CALL_SECONDS)
                        await asyncio.to_thread(work)
                finally:
                    await connection.close(timeout=CONNECT_SECONDS)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise StorageError(f"{self.shown}: {explain(error)}") from error

        run_apart(run())

    async def _prepare(self, refusal: Refusal) -> None:
        try:
            async with asyncio.timeout(MIGRATION_SECONDS):
                await self._examine()
                await self._migrate()
                await self._refuse(refusal)
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            sa.exc.DBAPIError,
        ) as error:
            raise StorageError(f"{self.shown}: {explain(error)}") from error

    async def _examine(self) -> None:
        connection = await self._connect()
        try:
            await self.keep_time(connection)
            version = connection.get_server_version()
            if version.major < MIN_VERSION:
                raise StorageError(
                    f"{self.shown} is PostgreSQL {version.major}; {MIN_VERSION} or newer is needed"
                )
            ((encoding, recovering, read_only, fsync, synchronous),) = await connection.fetch(
                "SELECT pg_encoding_to_char(encoding), pg_is_in_recovery(),"
                " current_setting('transaction_read_only'), current_setting('fsync'),"
                " (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit')"
                " FROM pg_database WHERE datname = current_database()"
            )
        finally:
            await connection.close(timeout=CONNECT_SECONDS)
        if encoding != "UTF8":
            raise StorageError(f"{self.shown} has the encoding {encoding}; make a database with UTF8")
        if recovering:
            raise StorageError(f"{self.shown} is a replica, which only reads; give the primary's address")
        if read_only == "on":
            raise StorageError(
                f"{self.shown} only reads (default_transaction_read_only): writes must be possible"
            )
        if synchronous == "off":
            self.risks.append("synchronous_commit is off; Backstory's sessions turn it on")
        if fsync == "off":
            self.risks.append("fsync is off: a crash of the database's machine loses what was answered")

    async def _refuse(self, refusal: Refusal) -> None:
        connection = await self._connect()
        try:
            if await connection.fetchval(refusal.question):
                raise StorageError(f"{self.shown}: {refusal.message}")
        finally:
            await connection.close()

    async def _migrate(self) -> None:
        """Starts that meet wait for each other; a schema that is current costs one look."""
        engine = self._engine({"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"})
        try:
            async with engine.connect() as connection:
                if await connection.run_sync(migrations.is_current_on):
                    return
            async with engine.begin() as connection:
                await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
                if not await connection.run_sync(migrations.is_current_on):
                    await connection.run_sync(migrations.run)
        finally:
            await engine.dispose()

    async def _connect(self, **settings: str) -> asyncpg.Connection[asyncpg.Record]:
        connection = await asyncpg.connect(
            self._url, timeout=CONNECT_SECONDS, server_settings={**_SESSION, **settings}
        )
        try:
            await connection.execute(_KEEP_DURABLE, timeout=CONNECT_SECONDS)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _engine(self, settings: dict[str, str], **options: Any) -> AsyncEngine:
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(self._connect, **settings),
            hide_parameters=True,  # errors are logged with their cause, and values are personal
            **options,
        )

    @property
    def _reading(self) -> AsyncEngine:
        return self._opened().execution_options(isolation_level="AUTOCOMMIT")

    def _opened(self) -> AsyncEngine:
        if self._records is None:
            self._records = self._engine(
                {}, pool_size=RECORDS_CONNECTIONS, max_overflow=0, pool_timeout=CALL_SECONDS
            )
            sa.event.listen(self._records.sync_engine, "before_cursor_execute", _without_nul, retval=True)
            sa.event.listen(self._records.sync_engine, "checkout", _refuse_closed)
        return self._records

    @asynccontextmanager
    async def connection(
        self, lost: str = CANNOT
    ) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
        """A connection for the log, within the deadline; errors of the driver become ours.

        Raises:
            Unavailable: the server cannot be reached, or cannot do it now; saying `lost` where it was reached, and then
                no more.
        """
        if self._closing:
            raise Unavailable("The service is stopping.")
        acquired = None
        try:
            async with asyncio.timeout(CALL_SECONDS):
                acquired = await (await self._connections()).acquire()
                yield acquired
        except BaseException as error:
            was_lost = acquired is not None and _is_lost(error)
            if was_lost and acquired is not None:
                with suppress(asyncpg.InterfaceError):  # the pool has noticed, and let go of it
                    acquired.terminate()
            answer = translate(error, lost if was_lost else CANNOT)
            if answer is error:
                raise
            raise answer from error
        finally:
            if acquired is not None and self._pool is not None:
                with suppress(*_DRIVER_ERRORS):  # it is lost, and the pool has let go of it
                    await self._pool.release(acquired, timeout=1)

    async def _connections(self) -> asyncpg.Pool[asyncpg.Record]:
        if self._pool is None:
            # It opens no connection yet, so nobody else comes in between.
            self._pool = await asyncpg.create_pool(
                connect=lambda *_, **__: self._connect(**_PINNED),
                min_size=0,
                max_size=LOG_CONNECTIONS,
                reset=_leave_as_it_is,
            )
        return self._pool

    async def listener(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection of its own, to listen and to hold a lock on. By its name others know that a server is here."""
        return await self._connect(**_PINNED, application_name=SERVER)

    async def session(
        self, begin: Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[T]]
    ) -> tuple[asyncpg.Connection[asyncpg.Record], T]:
        """A connection of its own, to hold a lock on; and what `begin` got, which takes it.

        Raises:
            Unavailable: it cannot be had.
        """

        async def open_it() -> tuple[asyncpg.Connection[asyncpg.Record], T]:
            async with asyncio.timeout(CALL_SECONDS):
                connection = await self._connect(**_PINNED)
                try:
                    return connection, await begin(connection)
                except BaseException:
                    connection.terminate()
                    raise

        return await self._translated(open_it)

    async def keep_time(
        self,
        connection: asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
    ) -> None:
        """Go by the database's clock where this machine's differs, so that all servers have one; looks now and then.

        What one server writes down another one compares with its time: leases of jobs and mails, what expires.
        """
        if time.monotonic() - self._clock_read < CLOCK_SECONDS:
            return
        before = time.time()
        told = await connection.fetchval(_CLOCK, timeout=CALL_SECONDS)
        after = time.time()
        if after - before > CLOCK_TOLERANCE:
            return  # it says nothing of this moment
        self._clock_read = time.monotonic()
        ahead = told - (before + after) / 2
        if abs(ahead) <= CLOCK_TOLERANCE:
            ahead = 0.0
        else:
            log.warning("clock_differs_from_database", seconds=round(ahead, 3))
        go_by(ahead)

    async def read_records(self, work: Callable[[sa.Connection], T]) -> T:
        """See `Records.read`."""

        async def read() -> T:
            async with asyncio.timeout(CALL_SECONDS), self._reading.connect() as connection:
                return await connection.run_sync(work)

        return await self._translated(read)

    async def write(self, work: Callable[[RecordsTransaction], T]) -> T:
        """See `Records.write`. A caller that goes away changes nothing: the work is done all the same."""

        def run(connection: sa.Connection) -> T:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({RECORDS_LOCK})")
            events: list[Event] = []
            result = work(Transaction(connection, events.extend, partial(self.resolver, connection)))
            if events:  # last, because from here on the log waits for the end of this transaction
                self.appender(connection, events)
            return result

        async def write() -> T:
            committing = False
            try:
                # The wait for one's turn counts: where nothing is answered, it would be as long as that of all before.
                async with (
                    asyncio.timeout(WRITE_SECONDS),
                    self._writers,
                    self._opened().begin() as connection,
                ):
                    result = await connection.run_sync(run)
                    committing = True
            except (*_DRIVER_ERRORS, sa.exc.SQLAlchemyError) as error:
                if committing and (sqlstate(error) is None or _is_lost(error)):
                    raise translate(error, UNKNOWN) from error
                raise
            return result

        return await self.to_its_end(self._translated(partial(self._repeated, write)))

    async def _repeated(self, write: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return await write()
            except sa.exc.DBAPIError as error:
                if sqlstate(error) not in RACED or attempt + 1 == ATTEMPTS:
                    raise
                await asyncio.sleep(random.random() * 0.002 * 2**attempt)  # noqa: S311 - two that race must part
        raise AssertionError("the last attempt returns or raises")

    async def _translated(self, call: Callable[[], Awaitable[T]]) -> T:
        if self._closing:
            raise Unavailable("The service is stopping.")
        try:
            return await call()
        except (*_DRIVER_ERRORS, sa.exc.SQLAlchemyError) as error:
            raise translate(error) from error

    async def to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work, whether or not the caller stays."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Finish what was taken, and let go of the connections. A second time does nothing."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        self._closing = True
        if self._pool is not None:
            self._pool.terminate()
        if self._records is not None:
            await self._records.dispose()


async def _leave_as_it_is(connection: object) -> None:
    """Nothing that is done here leaves traces in a session, and resetting it would cost a round trip."""


def _refuse_events(connection: sa.Connection, events: Sequence[Event]) -> None:
    raise StorageError("events belong into a store's log, and this database was opened without one")


def _refuse_to_resolve(connection: sa.Connection, sought: Sought) -> Resolved:
    raise StorageError("contacts belong into a store, and this database was opened without one")


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run some work to its end on an event loop of its own, whether or not one is running here."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # whatever it is belongs to the caller
            failures.append(error)

    thread = threading.Thread(target=run, name="prepare")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _refuse_closed(connection: Any, record: object, proxy: object) -> None:
    """A connection whose end was noticed while nobody used it: the pool opens another one, and nobody is refused."""
    if connection.driver_connection.is_closed():
        raise sa.exc.DisconnectionError


def _without_nul(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    """PostgreSQL keeps no U+0000 in texts: nothing that is stored has one, so nothing is found by one either."""
    return statement, [tuple(map(_clean, row)) for row in parameters] if executemany else tuple(
        map(_clean, parameters)
    )


def _clean(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def shown_url(url: str) -> str:
    """A URL as it may be shown: without the password."""
    return sa.engine.make_url(url).render_as_string(hide_password=True)


def sqlstate(error: BaseException | None) -> str | None:
    """PostgreSQL's code of an error, also where SQLAlchemy has wrapped it."""
    while error is not None:
        code = getattr(error, "sqlstate", None)
        if code:
            return str(code)
        error = getattr(error, "orig", None) or error.__cause__
    return None


def _is_lost(error: BaseException) -> bool:
    """Whether an error leaves it open what the server did."""
    code = sqlstate(error)
    if code is not None:
        return code[:2] == "08" or code in ("57P01", "57P02", "57P03")
    return isinstance(error, (*_DRIVER_ERRORS, asyncio.CancelledError))


def translate(error: BaseException, message: str = CANNOT) -> BaseException:
    """A driver's error as ours: what passes is `Unavailable`; the rest is a fault of ours."""
    if isinstance(error, BackstoryError) or not isinstance(error, Exception):
        return error
    code = sqlstate(error)
    if code is None:
        if not isinstance(error, (*_DRIVER_ERRORS, sa.exc.SQLAlchemyError)):
            return error
        passes = True
    else:
        passes = code[:2] in _PASSING_CLASSES or code in _PASSING
    if passes:
        log.error("storage_error", error=explain(error), code=code)
        return Unavailable(message, retry_after=2)
    return StorageError(f"storage failed: {explain(error)}")


def explain(error: BaseException) -> str:
    """What is wrong, and what would mend it, in one line."""
    code = sqlstate(error)
    original = getattr(error, "orig", None) or error
    advice = {
        "28P01": "the user or the password is wrong",
        "28000": "this user may not connect: see the server's pg_hba.conf",
        "3D000": "there is no such database; its administrator makes it: CREATE DATABASE NAME OWNER USER"
        " ENCODING 'UTF8' TEMPLATE template0",
        "42501": "this user lacks a right that is needed; let it own the database",
        "25006": "it only reads, as a replica does; give the primary's address",
        "53300": "it has no connection left: raise its max_connections, or stop other clients",
        "53100": "its disk is full",
    }.get(code or "")
    if advice is not None:
        return advice
    if isinstance(original, TimeoutError):
        return "it does not answer in time"
    if isinstance(original, OSError):
        return f"it cannot be reached ({original.strerror or original})"
    return " ".join(str(original).split()) or type(original).__name__
