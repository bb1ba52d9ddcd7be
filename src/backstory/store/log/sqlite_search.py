"""The search index of the SQLite log: a file of its own beside the log's, so that building it holds up no publisher.

One process writes entries into it (`sqlite_index.py`), whoever deletes activities takes theirs out, readers attach it.
It belongs to one log in one state: where it does not fit, after a restore say, it is thrown away and built again. So is
one that is damaged, while everything goes on: whoever meets the damage marks it, who keeps the index puts an empty one
in its place, and each connection is opened anew where it is of another file than the one that is there.

A deletion takes the log's write lock, marks and removes here, commits here, and then commits in the log. So nothing of
what is gone can be left here, but in a write-ahead log until that begins afresh. Where it fails in between, the mark
tells the indexer to put the entries back.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pysqlite3 as sqlite3
import structlog

from backstory.model.ids import Position
from backstory.model.searched import read_searched
from backstory.store.log.index_entries import folded_text, terms_of
from backstory.store.sqlite_database import open_file, switch_to_wal

INDEX_RULES = "2"
"""Raise it with every change of model/words.py, model/refs.py, model/searched.py or index_entries.py that gives a text
other entries: a deletion takes out what today's rules say, so the index must have been made by the same."""

CHECKPOINT_PAGES = 4 * 1024
_CACHE_KIB = 16 * 1024
_READER_CACHE_KIB = 4 * 1024

T = TypeVar("T")

Row = Sequence[Any]
"""Position, contact key, timestamp and body of an activity."""

Inode = int
"""What tells one file from another in its place, as long as somebody has it open."""

_NEXT_MISSING = "SELECT position FROM activities WHERE position > ? ORDER BY position LIMIT 1"

log = structlog.get_logger(__name__)


class NoIndex(Exception):
    """There is no index to be asked: it is damaged, or not there, and will be begun again."""


def search_file(database: Path) -> Path:
    """Where the search index of a database is."""
    return database.with_name(f"{database.name}-search")


def generation_of(raw: sqlite3.Connection) -> str:
    """Which state of a log this is: another one after a restore."""
    return str(raw.execute("SELECT value FROM log_state WHERE name = 'generation'").fetchone()[0])


def belongs_to(raw: sqlite3.Connection, generation: str) -> bool:
    """Whether an index is of a log in this state, and made by today's rules."""
    state = dict(raw.execute("SELECT name, value FROM index_state"))
    return (state.get("generation"), state.get("rules")) == (generation, INDEX_RULES)


def watermark(raw: sqlite3.Connection) -> Position:
    """The position up to which everything is indexed, on a connection that has the index."""
    return int(raw.execute("SELECT value FROM index_state WHERE name = 'indexed'").fetchone()[0])


def oldest_missing(raw: sqlite3.Connection, indexed: Position) -> Position | None:
    """The first position of the log behind the watermark; None where there is none."""
    row = raw.execute(_NEXT_MISSING, (indexed,)).fetchone()
    return row[0] if row else None


def seconds_since(position: Position) -> float:
    """How long ago a position was given out; 0 where a clock went back meanwhile."""
    return max(0.0, time.time() - (position >> 12) / 1000)


class Entry(NamedTuple):
    """What an activity has in the index."""

    position: Position
    postings: list[tuple[int, int, int]]
    text: str


def entries_of(rows: Iterable[Row]) -> list[Entry]:
    """The entries of activities. One whose text cannot be read has none, and is told."""
    entries: list[Entry] = []
    for position, contact_key, timestamp, body in rows:
        try:
            searched = read_searched(bytes(body))
        except Exception:  # one text that cannot be read must not keep everybody else's from being found
            log.exception("activity_not_indexed", position=position)
            continue
        postings = [(each, timestamp, position) for each in terms_of(searched)]
        entries.append(Entry(position, postings, folded_text(contact_key.hex(), searched)))
    return entries


def add_entries(raw: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Put entries into the index, in a transaction that is under way."""
    postings = sorted(chain.from_iterable(entry.postings for entry in entries))
    raw.executemany("INSERT OR IGNORE INTO postings VALUES (?, ?, ?)", postings)
    texts = [(entry.position, entry.text) for entry in entries]
    raw.executemany("INSERT INTO words (rowid, folded) VALUES (?, ?)", texts)


def _drop_entries(raw: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    postings = sorted(chain.from_iterable(entry.postings for entry in entries))
    raw.executemany("DELETE FROM postings WHERE (term, timestamp, position) = (?, ?, ?)", postings)
    texts = [(entry.position, entry.text) for entry in entries]
    raw.executemany("INSERT INTO words (words, rowid, folded) VALUES ('delete', ?, ?)", texts)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether an error says that a file is no sound database, cannot be read, or lacks what it was made with.

    The driver does not tell an I/O error of reading from one of writing. A full disk is neither.
    """
    code = getattr(error, "sqlite_errorcode", 0)  # the driver's own errors have none
    damaged = code & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR)
    return damaged or "no such table" in str(error)


@contextmanager
def transaction(raw: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE; COMMIT or ROLLBACK behind."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        yield
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise


@contextmanager
def opening(folder: Path, how: int = fcntl.LOCK_SH) -> Iterator[int]:
    """Hold a folder's lock: shared by who opens an index in it, alone by who puts another one in its place.

    SQLite finds a write-ahead log by its name when a connection first reads; it must be the one of that very file.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


class SearchFile:
    """The index of one database, for who has the database open. Its connection is the writer's thread's."""

    def __init__(self, database: Path, *, indexing: bool = False) -> None:
        """`indexing`: for the indexer, who copies pages into the file, and need not wait for the disk.

        What a crash of the machine takes away, the watermark knows: it is indexed again.
        """
        self.path = search_file(database)
        self._indexing = indexing
        self._connection: sqlite3.Connection | None = None
        self._inode: Inode | None = None
        self._attached: dict[sqlite3.Connection, Inode] = {}
        self._seen: Inode | None = None
        self._renewals = 0

    def prepare(self, raw: sqlite3.Connection, *, owned: bool) -> None:
        """Have an index for a log that is open; who owns that throws away one that does not belong to it.

        Where there can be none now, the log is served without: who keeps the index tries again.
        """
        generation, there = generation_of(raw), self._there()
        if there is None or (owned and not self._belongs_to(generation)):
            with transaction(raw):
                try:
                    self.renew(generation, there)
                except (OSError, sqlite3.Error) as error:
                    log.error("index_not_renewed", file=str(self.path), error=str(error))
                    if there is not None:
                        self._mark()  # another database's may not be asked
                else:
                    if there is not None:
                        log.info("index_renewed", reason="it did not fit the database", rules=INDEX_RULES)
        self._seen = self._there()

    def _belongs_to(self, generation: str) -> bool:
        if self._damaged.exists():
            return False
        try:
            with opening(self.path.parent), closing(open_file(self.path)) as connection:
                return belongs_to(connection, generation)
        except sqlite3.DatabaseError as error:  # also one that this user may not read, or a folder
            log.error("search_file_unreadable", file=str(self.path), error=str(error))
            return False

    def renew(self, generation: str, there: Inode | None) -> None:
        """Put an empty index in the place of the one that was met, in a transaction of the log.

        So no deletion is half done that has marked its activity in the old one. Others have that open; they notice when
        they come again. Its pages are given back, and its texts are gone, at once.
        """
        fresh = Path(f"{self.path}-new")
        with opening(self.path.parent, fcntl.LOCK_EX) as folder:
            if self._there() != there:
                return  # another process did it
            for suffix in ("", "-wal", "-shm"):  # of one that was cut off
                Path(f"{fresh}{suffix}").unlink(missing_ok=True)
            with closing(self._connect(fresh)) as connection:
                switch_to_wal(connection)
                with transaction(connection):
                    _create(connection, generation)
            if there is not None:
                with suppress(OSError):  # it cannot be written: it goes all the same
                    os.truncate(self.path, 0)
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            fresh.replace(self.path)
            os.fsync(folder)
            self._damaged.unlink(missing_ok=True)

    def _there(self) -> Inode | None:
        """Which file is there now."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return None

    @property
    def _damaged(self) -> Path:
        """Is there where the index is damaged."""
        return Path(f"{self.path}-damaged")

    def look(self) -> tuple[Inode | None, bool]:
        """Which file is there, and whether it can be used."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None, False
        return found.st_ino, stat.S_ISREG(found.st_mode) and not self._damaged.exists()

    def _usable(self) -> Inode:
        inode, usable = self.look()
        if inode is None or not usable:
            raise NoIndex
        return inode

    def _note(self, error: sqlite3.DatabaseError, inode: Inode | None) -> bool:
        """Whether an error says that a file is damaged. If it is the one that is there, it is marked, durably."""
        if not is_damage(error):
            return False
        if self._there() == inode and not self._damaged.exists():
            log.error("search_file_damaged", error=str(error))
            self._mark()
        return True

    def _mark(self) -> None:
        with opening(self.path.parent) as folder:
            self._damaged.touch(mode=0o600)
            os.fsync(folder)

    def use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the connection that writes the index.

        Raises:
            NoIndex: there is none, or it is damaged; then it is marked.
        """
        try:
            return work(self._open())
        except sqlite3.DatabaseError as error:
            if not self._note(error, self._inode):
                raise
            raise NoIndex from error

    def _open(self) -> sqlite3.Connection:
        if self._usable() != self._inode:
            self.close()
        if self._connection is None:
            with opening(self.path.parent):
                self._inode = self._usable()
                self._connection = self._connect(self.path)
                watermark(self._connection)
        return self._connection

    def _connect(self, path: Path) -> sqlite3.Connection:
        connection = open_file(path)
        try:
            connection.execute(f"PRAGMA synchronous = {'NORMAL' if self._indexing else 'FULL'}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # The indexer does it: behind a deletion publishers would wait.
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES if self._indexing else 0}")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA secure_delete = ON")  # also of pages that a merge of segments leaves
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._inode = None

    def attach(self, reader: sqlite3.Connection) -> Inode:
        """Let a reader's connection to the log read the index that is there now; which one that is.

        Raises:
            NoIndex: as `use`.
        """
        if self._attached.get(reader) == (inode := self._usable()):
            return inode
        if self._attached.pop(reader, None) is not None:
            reader.execute("DETACH search")
        with opening(self.path.parent):
            inode = self._usable()
            try:
                reader.execute("ATTACH ? AS search", (str(self.path),))
                self._attached[reader] = inode
                reader.execute(f"PRAGMA search.cache_size = -{_READER_CACHE_KIB}")
                watermark(reader)
            except sqlite3.DatabaseError as error:
                if self._note(error, inode):
                    raise NoIndex from error
                raise
        return inode

    def read(
        self, reader: sqlite3.Connection, work: Callable[[], T], alone: Callable[[], object] | None = None
    ) -> T:
        """Run a query that needs the index, on a reader's connection.

        Where `work` reads the log too, `alone` is what of it reads the index alone: it tells whose the damage is.

        Raises:
            NoIndex: as `use`.
        """
        inode = self.attach(reader)
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if alone is not None and is_damage(error) and not _fails(alone):
                raise
            if not self._note(error, inode):
                raise
            raise NoIndex from error

    def read_lag(self, reader: sqlite3.Connection) -> float:
        """Seconds since the oldest activity that is not indexed yet arrived; 0 where all are."""
        try:
            indexed = self.read(reader, lambda: watermark(reader))
        except (NoIndex, sqlite3.DatabaseError):  # whatever it is, the other metrics are told
            indexed = 0
        position = oldest_missing(reader, indexed)
        return 0.0 if position is None else seconds_since(position)

    def count_renewals(self) -> int:
        """How often another index was found in the place of one, since `prepare`."""
        there = self._there()
        if there is not None and there != self._seen:
            self._seen = there
            self._renewals += 1
        return self._renewals

    def remove(self, rows: Sequence[Row]) -> None:
        """Take entries out, durably, for the log's transaction under way, which is about to delete the activities.

        An index that is damaged keeps them, until it is thrown away; that has to wait for this transaction.
        """
        if rows:
            entries, positions = entries_of(rows), [row[0] for row in rows]
            with suppress(NoIndex):
                self.use(lambda raw: _remove(raw, entries, positions))

    def is_behind(self, raw: sqlite3.Connection) -> bool:
        """Whether the indexer has something to do, asked by who has the log open."""

        def look(own: sqlite3.Connection) -> tuple[bool, Position]:
            return bool(own.execute("SELECT EXISTS (SELECT 1 FROM removed)").fetchone()[0]), watermark(own)

        try:
            marked, indexed = self.use(look)
        except NoIndex:
            return False
        return marked or oldest_missing(raw, indexed) is not None


def _fails(work: Callable[[], object]) -> bool:
    try:
        work()
    except sqlite3.DatabaseError:
        return True
    return False


def _remove(raw: sqlite3.Connection, entries: Sequence[Entry], positions: Sequence[Position]) -> None:
    with transaction(raw):
        indexed = watermark(raw)
        marked = {
            position
            for position in positions
            if raw.execute("INSERT OR IGNORE INTO removed VALUES (?)", (position,)).rowcount
        }
        _drop_entries(raw, [each for each in entries if each.position in marked and each.position <= indexed])


def _create(raw: sqlite3.Connection, generation: str) -> None:
    for statement in files("backstory.store.log").joinpath("sqlite_search.sql").read_text().split(";\n"):
        if statement.strip():
            raw.execute(statement)
    state = (("generation", generation), ("rules", INDEX_RULES))
    raw.executemany("INSERT INTO index_state VALUES (?, ?)", state)
