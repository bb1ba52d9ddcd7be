"""One SQLite file: a thread that owns the write connection and the checkpoints, and readers beside it.

Why one writer: SQLite has one write lock anyway. A thread that owns it needs no retries, gathers work between two
commits, and gives positions out in the order of the commits.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pysqlite3 as sqlite3
import sqlalchemy as sa
import structlog
from sqlalchemy.pool import StaticPool

from backstory.errors import BackstoryError, StorageError, Unavailable
from backstory.model.activity import Event
from backstory.model.identity import Resolved, Sought
from backstory.store import migrations

T = TypeVar("T")

APPLICATION_ID = 0x42535459
MIN_SQLITE = (3, 51, 3)
"""Older ones can corrupt a WAL database when two connections checkpoint at the same moment."""

READERS = 3
CHECKPOINT_SECONDS = 0.5
"""How often a thread of the owner copies what was committed from the log into the file, beside the writer."""

CHECKPOINT_PAGES = 16 * 1024
"""From how many pages on the writer copies the rest, so that the log begins afresh: under load it never rests."""

CHORE_PAUSE = 0.001
"""Seconds that the jobs have between two pieces of the chore, so that a failing chore does not spin."""

_WRITER_CACHE_KIB = 48 * 1024
_READER_CACHE_KIB = 12 * 1024
_BUSY_SECONDS = 10
_TOOL_SECONDS = 3
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)

log = structlog.get_logger(__name__)


class Ownership(Enum):
    """Who may serve a file: one process, which also checkpoints it."""

    REQUIRED = "a server: refuse to open where another one serves"
    LENT = "a server's committer: do the owner's work, the server holds the file"
    IF_FREE = "a long tool: own the file where no server does"
    NEVER = "a short tool: leave the checkpoints to the server"


class Transaction(NamedTuple):
    """What work is done with: the driver's connection for the log, SQLAlchemy's over it for the records.

    For a write a transaction is under way; a reader has none, each query sees what is committed then.
    """

    raw: sqlite3.Connection
    records: sa.Connection
    append: Callable[[Sequence[Event]], None]
    resolve: Callable[[Sought], Resolved]


class _Job(NamedTuple):
    work: Callable[[Transaction], Any]
    done: Callable[[Any, BaseException | None], None]


class _HandedToTheLast:
    """Jobs for several threads: the next one is for who finished last, who has the most in its caches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[queue.SimpleQueue[_Job | None]] = []
        self._waiting: deque[_Job | None] = deque()

    def put(self, item: _Job | None) -> None:
        """Hand a job to a thread, or keep it until one is free."""
        with self._lock:
            if self._free:
                self._free.pop().put(item)
            else:
                self._waiting.append(item)

    def get(self, own: queue.SimpleQueue[_Job | None]) -> _Job | None:
        """The next job of a thread, which has `own` to wait at."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free.append(own)
        return own.get()


async def _submit(put: Callable[[_Job], None], work: Callable[[Transaction], T]) -> T:
    """Have a thread do some work; its result. A caller that goes away changes nothing."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def done(result: Any, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(settle, result, error)

    put(_Job(work, done))
    return await future


class Chore(Protocol):
    """Work that follows the jobs, a piece at a time, between them, on the writer's thread."""

    def due_in(self) -> float:
        """Seconds until a piece should be done, 0 for now."""

    def do(self, raw: sqlite3.Connection, begin: Callable[[], AbstractContextManager[Transaction]]) -> None:
        """Do a piece: read with the writer's connection, write in a transaction that `begin` begins."""

    def close(self) -> None:
        """There will be no more."""


class Companion(Protocol):
    """A file beside the database. The writer's connection does not have it, or each transaction would lock it."""

    def prepare(self, raw: sqlite3.Connection, *, owned: bool) -> None:
        """Have it ready for a database that is open; `owned`: this process is the owner, or does its work."""

    def close(self) -> None:
        """Let go of it."""


class SqliteDatabase:
    """Connections to one file. Open it, use `read` and `write` from an event loop, close it."""

    def __init__(self, path: Path, ownership: Ownership = Ownership.REQUIRED, *, lends: bool = False) -> None:
        """`lends`: hold the file, and leave the owner's work (checkpoints, the chore) to a process beside this one."""
        self.path = path
        self._ownership = ownership
        self._lends = lends
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reads = _HandedToTheLast()
        self._readers = [
            threading.Thread(target=self._run_reader, name=f"reader-{number}", daemon=True)
            for number in range(READERS)
        ]
        self._writer = threading.Thread(target=self._run_writer, name="writer", daemon=True)
        self._checkpointer = threading.Thread(target=self._run_checkpoints, name="checkpoints", daemon=True)
        self._stopping = threading.Event()
        self._at_once: Transaction | None = None
        self._at_once_lock = threading.Lock()
        self._written: asyncio.Future[None] | None = None  # of the last write that was asked for
        self._closing = False
        self.companion: Companion | None = None
        """A file that goes with it. Set it before `open`."""
        self.chore: Chore | None = None
        """What the writer does between jobs, in the process that owns the file. Set it before `open`."""
        self.appender: Callable[[sqlite3.Connection, Sequence[Event]], None] = _refuse_events
        """How events get into the log. Set it before `open`."""
        self.resolver: Callable[[sqlite3.Connection, Sought], Resolved] = _refuse_to_resolve
        """How contacts are found and made. Set it before `open`."""

    def open(self) -> None:
        """Take the file, bring its schema up to date, start the writer.

        Raises:
            StorageError: another server has it, it is not ours, it is newer than this program, or it cannot be opened.
        """
        if sqlite3.sqlite_version_info < MIN_SQLITE:
            raise StorageError(
                f"SQLite {sqlite3.sqlite_version} is too old; install the locked pysqlite3 wheel"
            )
        if not self.path.parent.is_dir():
            raise StorageError(
                f"the folder {self.path.parent} does not exist; make it, or set another database"
            )
        self._lock = _lock_owner(self.path, self._ownership)
        self.owned = self._lock is not None or self._ownership is Ownership.LENT
        self._keeps = self.owned and not self._lends
        if not self._keeps:
            self.chore = None  # another process does it, also for what this one writes
        try:
            self._connection = self._connect()
            self._prepare(self._connection)
            if self.companion is not None:
                self.companion.prepare(self._connection, owned=self.owned)
        except (sqlite3.Error, sa.exc.DBAPIError, OSError) as error:
            self._release()
            raise StorageError(f"{self.path} cannot be opened as a database: {error}") from error
        except StorageError:
            self._release()
            raise
        self._transaction = self._over(self._connection)
        keepers = (self._checkpointer,) if self._keeps else ()
        for thread in (self._writer, *self._readers, *keepers):
            thread.start()

    @contextmanager
    def owning(self) -> Iterator[None]:
        """Hold the owner's lock without opening the file: nobody serves it meanwhile.

        Raises:
            StorageError: another process has it.
        """
        lock = _lock_owner(self.path, Ownership.REQUIRED)
        try:
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def is_owned(self) -> bool:
        """Whether another process serves it.

        Raises:
            StorageError: that cannot be told.
        """
        lock = _lock_owner(self.path, Ownership.IF_FREE)
        if lock is not None:
            os.close(lock)
        return lock is None

    def _connect(self) -> sqlite3.Connection:
        connection = open_file(self.path)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # In this order: another process that is making the database has marked it before there is any table.
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and application_id != APPLICATION_ID:
            raise StorageError(f"{self.path} is a database of another program; set another one")
        switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES if self._keeps else 0}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if migrations.is_current(connection):
            return
        if self.owned:
            migrations.upgrade(_records_over(connection))
            return
        self._upgrade_beside(connection)

    def _upgrade_beside(self, connection: sqlite3.Connection) -> None:
        """Upgrade for a short tool: other tools that begin at the same moment are waited for, a server is not."""
        deadline = time.monotonic() + _TOOL_SECONDS
        while not migrations.is_current(connection):
            try:
                with self.owning():
                    migrations.upgrade(_records_over(connection))
            except StorageError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query on a reader's connection, off the event loop."""
        return await _submit(self._reads.put, lambda reader: work(reader.raw))

    async def read_records(self, work: Callable[[sa.Connection], T]) -> T:
        """Run SQLAlchemy Core queries on a reader's connection, off the event loop."""
        return await _submit(self._reads.put, lambda reader: work(reader.records))

    def read_at_once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a tiny query here and now, on a connection of its own, whatever thread this is."""
        with self._at_once_lock:
            if self._at_once is None:
                self._at_once = self._open_reader()
            return work(self._at_once.raw)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction of its own on the writer's thread; answer once it is durable.

        A caller that goes away changes nothing: the work is done all the same.

        Raises:
            Unavailable: storage cannot take it now (full, busy, closing); nothing was changed.
        """
        if self._closing:
            raise Unavailable("The service is stopping.")
        self._written = written = asyncio.get_running_loop().create_future()
        try:
            return await _submit(self._jobs.put, work)
        finally:
            written.set_result(None)

    async def give_way(self) -> None:
        """Let what was asked of `write` so far be done: for who is about to have another process write.

        SQLite's lock has no queue; between the groups of a busy committer a writer would find it free by chance alone.
        """
        if self._written is not None and not self._written.done():
            await asyncio.wait([self._written])

    def hand_over(
        self, work: Callable[[Transaction], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """As `write`, without an event loop: `done` is called on the writer's thread, with the result or the error."""
        self._jobs.put(_Job(work, done))

    def _run_reader(self) -> None:
        """Read for whoever asks, over a connection of this thread's own that is opened when it is first needed."""
        reader: Transaction | None = None
        own: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        while (job := self._reads.get(own)) is not None:
            try:
                reader = reader or self._open_reader()
                result = job.work(reader)
            except BaseException as error:  # whatever it is belongs to the caller
                job.done(None, _as_answer(error))
            else:
                job.done(result, None)
        if reader is not None:
            reader.raw.close()

    def _open_reader(self) -> Transaction:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        return self._over(connection, autocommit=True)

    def _over(self, connection: sqlite3.Connection, *, autocommit: bool = False) -> Transaction:
        return Transaction(
            connection,
            _records_over(connection, autocommit=autocommit),
            partial(self.appender, connection),
            partial(self.resolver, connection),
        )

    def _run_writer(self) -> None:
        while True:
            wait = self.chore.due_in() if self.chore else None
            if self.chore and wait == 0:
                self._do_chore(self.chore)
                wait = CHORE_PAUSE
            try:
                job = self._jobs.get(timeout=wait)
            except queue.Empty:
                continue
            if job is None:
                return
            self._run_job(job)

    def _run_checkpoints(self) -> None:
        """Copy pages beside the writer, who would stand still for the disk: to random places, where there is much."""
        connection = self._connect()
        while not self._stopping.wait(CHECKPOINT_SECONDS):
            with suppress(sqlite3.Error):  # the disk is full, say: the writer meets it too, and tells
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        connection.close()

    def _run_job(self, job: _Job) -> None:
        try:
            with self._begin() as transaction:
                result = job.work(transaction)
        except BaseException as error:  # whatever it is belongs to the caller, and the writer lives on
            job.done(None, _as_answer(error))
        else:
            job.done(result, None)

    def _do_chore(self, chore: Chore) -> None:
        try:
            chore.do(self._connection, self._begin)
        except (
            sqlite3.Error
        ) as error:  # the storage is full, say: publishers are told so, and the chore comes again
            log.warning("chore_failed", error=str(error))
        except Exception:  # whatever it is, the writer lives on
            log.exception("chore_failed")

    @contextmanager
    def _begin(self) -> Iterator[Transaction]:
        """BEGIN IMMEDIATE, so that the write lock is taken before anything is read; COMMIT or ROLLBACK behind."""
        raw = self._connection
        raw.execute("BEGIN IMMEDIATE")
        try:
            yield self._transaction
            raw.execute("COMMIT")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise

    async def close(self) -> None:
        """Finish the jobs that were taken, checkpoint, let go of the file. A second time does nothing."""
        if self._closing:
            return
        self._closing = True
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        self._stopping.set()
        if self._keeps:
            await asyncio.to_thread(self._checkpointer.join)
        if self.chore is not None:
            await asyncio.to_thread(self.chore.close)
        for _ in self._readers:
            self._reads.put(None)
        for thread in self._readers:
            await asyncio.to_thread(thread.join)
        if self._at_once is not None:
            self._at_once.raw.close()
        self._connection.close()
        if self.companion is not None:
            self.companion.close()
        self._release()

    def _release(self) -> None:
        """Let another process own the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _refuse_events(raw: sqlite3.Connection, events: Sequence[Event]) -> None:
    raise StorageError("events belong into a store's log, and this database was opened without one")


def _refuse_to_resolve(raw: sqlite3.Connection, sought: Sought) -> Resolved:
    raise StorageError("contacts belong into a store, and this database was opened without one")


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to a file of ours, which only its owner may read where it is made now."""
    if not path.exists():
        path.touch(mode=0o600)
    connection = sqlite3.connect(
        str(path),
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA secure_delete = FAST")
    return connection


def switch_to_wal(connection: sqlite3.Connection) -> None:
    """Two processes that open a new file at once meet here, where SQLite itself does not wait."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _lock_owner(path: Path, ownership: Ownership) -> int | None:
    """Take the owner's lock; None where it is not asked for, or free for the asking."""
    if ownership in (Ownership.NEVER, Ownership.LENT):
        return None
    try:
        lock = os.open(f"{path}-owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{path}-owner cannot be written by this user: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        if ownership is Ownership.IF_FREE:
            return None
        raise StorageError(
            f"another server is using {path}: stop it first; one SQLite file serves one process"
        ) from None
    return lock


def _records_over(connection: sqlite3.Connection, *, autocommit: bool = False) -> sa.Connection:
    """SQLAlchemy over a connection whose transactions somebody else begins and ends."""
    engine = sa.create_engine(
        "sqlite://",
        module=sqlite3,
        creator=lambda: connection,
        poolclass=StaticPool,
        isolation_level="AUTOCOMMIT" if autocommit else None,
        skip_autocommit_rollback=True,
        hide_parameters=True,  # errors are logged with their cause, and values are personal
    )
    return engine.connect()


def _as_answer(error: BaseException) -> BaseException:
    if not isinstance(error, sqlite3.Error | sa.exc.DBAPIError):
        return error
    answer = translate(error)
    answer.__cause__ = error
    return answer


def translate(error: Exception) -> BackstoryError:
    """A driver's error as ours: what passes (full, busy, I/O) is `Unavailable`; the rest is a fault of ours."""
    original = getattr(error, "orig", None) or error
    if getattr(original, "sqlite_errorcode", 0) & 0xFF in _PASSING:
        log.error("storage_error", error=str(original))
        return Unavailable(
            "The storage cannot take this now; nothing was kept. Send it again.", retry_after=2
        )
    return StorageError(f"storage failed: {original}")
