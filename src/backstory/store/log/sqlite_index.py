"""What fills the search index of the SQLite log: an indexer behind a durable watermark, and who keeps it running.

The indexer is a process of its own (`backstory.indexer`): in the server's or the committer's it would take the
interpreter from them, and with the entries in the log's own file it would take the write lock from publishers.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import pysqlite3 as sqlite3
import structlog

from backstory.model.ids import Position
from backstory.model.moment import now
from backstory.store.log.sqlite_search import (
    NoIndex,
    Row,
    SearchFile,
    add_entries,
    entries_of,
    generation_of,
    oldest_missing,
    seconds_since,
    transaction,
    watermark,
)
from backstory.store.sqlite_database import Transaction, open_file

PIECE_ROWS = 4_000
PIECE_BYTES = 4 * 1024 * 1024
LAG_SECONDS = 0.35
"""How old the oldest missing entry becomes before the index follows: bulk is far cheaper than one at a time."""

POLL_SECONDS = 0.1
"""How often it looks whether something has arrived."""

KEEP_SECONDS = 0.25
"""How often the keeper looks after the indexer and at what has expired."""

RESTART_SECONDS = 1.0
MAX_RESTART_SECONDS = 60.0
STEADY_SECONDS = 30.0
"""An indexer that ends is started again after a second, or twice as long each time where it never gets this old."""

RENEW_SECONDS = 60.0
"""An index that is damaged is begun again at once, and not more often than so."""

RETRY_SECONDS = 1.0
EXPIRED_ROWS = 1_000
STOP_SECONDS = 5.0

_ROW = "position, contact_key, timestamp, body"
_MARKS = "SELECT position FROM removed WHERE position <= ?"

log = structlog.get_logger(__name__)


class LogUnreadable(Exception):
    """The log cannot be read now."""


class Indexer:
    """Brings the index up to date, a piece at a time. Another one beside it, for a moment, does no harm."""

    def __init__(self, database: Path) -> None:
        """The log must be there, and the index, as a store that is open has made them."""
        self._log = open_file(database)
        self._file = SearchFile(database, indexing=True)

    def step(self) -> float:
        """Do what is due; seconds until something may be.

        Raises:
            sqlite3.Error, LogUnreadable: not now; what was begun has not happened.
        """
        try:
            return self._file.use(self._step)
        except NoIndex:
            return POLL_SECONDS  # who keeps it begins another one

    def _step(self, search: sqlite3.Connection) -> float:
        self._settle(search)
        indexed = watermark(search)
        with _reading_the_log():
            position = oldest_missing(self._log, indexed)
        if position is None:
            return POLL_SECONDS
        early = LAG_SECONDS - seconds_since(position)
        if early > 0:
            return min(early, POLL_SECONDS)
        self._index(search, indexed)
        return 0.0

    def _index(self, search: sqlite3.Connection, indexed: Position) -> None:
        with _reading_the_log():
            rows = list(self._piece(indexed))
        entries = entries_of(
            rows
        )  # before the transaction: a deletion waits for that, and publishers for the deletion
        with transaction(search):
            if watermark(search) != indexed:
                return  # another one did it
            last = rows[-1][0]
            removed = _marks(search, last)
            add_entries(search, [entry for entry in entries if entry.position not in removed])
            search.execute("UPDATE index_state SET value = ? WHERE name = 'indexed'", (str(last),))

    def _piece(self, indexed: Position) -> Iterator[Row]:
        size = 0
        query = f"SELECT {_ROW} FROM activities WHERE position > ? ORDER BY position LIMIT ?"  # noqa: S608 - ours
        for row in self._log.execute(query, (indexed, PIECE_ROWS)):
            yield row
            size += len(row[3])
            if size >= PIECE_BYTES:
                return

    def _settle(self, search: sqlite3.Connection) -> None:
        """Forget the marks of deletions that are done, and put back the entries of those that failed.

        A mark ahead of the watermark stays until its piece has passed it over.
        """
        marks = _marks(search, watermark(search))
        if not marks:
            return
        unclear = any(self._row(position) for position in marks)  # a deletion is under way, or has failed
        with self._nobody_writing() if unclear else nullcontext():
            marks &= _marks(search, max(marks))  # another indexer may have settled some meanwhile
            entries = entries_of(row for row in map(self._row, marks) if row is not None)
            with transaction(search):
                add_entries(search, entries)
                search.executemany(
                    "DELETE FROM removed WHERE position = ?", [(position,) for position in marks]
                )

    def _row(self, position: Position) -> Row | None:
        query = f"SELECT {_ROW} FROM activities WHERE position = ?"  # noqa: S608 - columns are ours
        with _reading_the_log():
            row: Row | None = self._log.execute(query, (position,)).fetchone()
        return row

    @contextmanager
    def _nobody_writing(self) -> Iterator[None]:
        """Hold the log's write lock, as a deletion does from its mark to its commit."""
        with _reading_the_log():
            self._log.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self._log.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of the files."""
        self._log.close()
        self._file.close()


@contextmanager
def _reading_the_log() -> Iterator[None]:
    """Keep the log's errors from being taken for the index's."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LogUnreadable(str(error)) from error


def _marks(search: sqlite3.Connection, last: Position) -> set[Position]:
    """What deletions have marked, up to a position."""
    return {row[0] for row in search.execute(_MARKS, (last,))}


def follow(database: Path, ended: Callable[[float], bool]) -> None:
    """Index what arrives until `ended`, which takes how many seconds to wait for the end, says so."""
    with closing(Indexer(database)) as indexer:
        rest = 0.0
        while not ended(rest):
            try:
                rest = indexer.step()
            except (sqlite3.Error, LogUnreadable) as error:  # the disk is full, say: it comes again
                log.warning("index_failed", error=str(error))
                rest = RETRY_SECONDS


class Keeper:
    """The writer's chore, in the process that owns the log: from the first thing to index on, an indexer runs.

    It also begins another index where the one that was there is damaged, or gone.
    """

    def __init__(self, search: SearchFile, command: Sequence[str]) -> None:
        """`command` starts an indexer that ends when its standard input does."""
        self._search = search
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._next = self._started = self._renew_from = 0.0  # on the monotonic clock
        self._pause = RESTART_SECONDS

    def due_in(self) -> float:
        """See `Chore.due_in`."""
        return max(0.0, self._next - time.monotonic())

    def do(self, raw: sqlite3.Connection, begin: Callable[[], AbstractContextManager[Transaction]]) -> None:
        """See `Chore.do`."""
        self._next = time.monotonic() + KEEP_SECONDS
        moment = now()
        if raw.execute("SELECT EXISTS (SELECT 1 FROM event_keys WHERE expires <= ?)", (moment,)).fetchone()[
            0
        ]:
            with begin() as writing:
                writing.raw.execute(
                    "DELETE FROM event_keys WHERE hash IN"
                    " (SELECT hash FROM event_keys WHERE expires <= ? LIMIT ?)",
                    (moment, EXPIRED_ROWS),
                )
        self._renew_index(raw, begin)
        self._keep_indexer(raw)

    def _renew_index(
        self, raw: sqlite3.Connection, begin: Callable[[], AbstractContextManager[Transaction]]
    ) -> None:
        there, usable = self._search.look()
        if usable or time.monotonic() < self._renew_from:
            return
        self._renew_from = time.monotonic() + RENEW_SECONDS
        with begin():
            try:
                self._search.renew(generation_of(raw), there)
            except (OSError, sqlite3.Error) as error:
                log.error("index_not_renewed", file=str(self._search.path), error=str(error))
                return
        log.warning("index_renewed", reason="it was gone" if there is None else "it was damaged")

    def _keep_indexer(self, raw: sqlite3.Connection) -> None:
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            log.error("indexer_lost", status=status)
            self.close()
            ran = time.monotonic() - self._started
            self._pause = (
                RESTART_SECONDS if ran > STEADY_SECONDS else min(2 * self._pause, MAX_RESTART_SECONDS)
            )
            self._next = time.monotonic() + self._pause
            return
        if self._search.is_behind(raw):
            self._started = time.monotonic()
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for the server, which ends it
            )

    def close(self) -> None:
        """Let the indexer end; what it was doing is done again at the next start."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:  # what it holds is not lost
            self._process.kill()
            self._process.wait()
        self._process = None
