"""The search index of the SQLite log: a file of its own beside the log's, so that building it holds up no publisher.

One process writes entries into it (`sqlite_index.py`), whoever deletes activities takes theirs out, readers attach it.
It belongs to one log in one state: where it does not fit, after a restore say, it is thrown away and built again.

A deletion takes the log's write lock, marks and removes here, commits here, and then commits in the log. So nothing of
what is gone can be left here, but in a write-ahead log until that begins afresh. Where it fails in between, the mark
tells the indexer to put the entries back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

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

Row = Sequence[Any]
"""Position, contact key, timestamp and body of an activity."""

_NEXT_MISSING = "SELECT position FROM activities WHERE position > ? ORDER BY position LIMIT 1"

log = structlog.get_logger(__name__)


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


def read_lag(raw: sqlite3.Connection) -> float:
    """Seconds since the oldest activity that is not indexed yet arrived; 0 where all are."""
    position = oldest_missing(raw, watermark(raw))
    return 0.0 if position is None else seconds_since(position)


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


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that a file is no sound database."""
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


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


class SearchFile:
    """The index of one database, for who has the database open. Its connection is the writer's thread's."""

    def __init__(self, database: Path) -> None:
        self.path = search_file(database)
        self._connection: sqlite3.Connection | None = None

    def prepare(self, raw: sqlite3.Connection, *, owned: bool) -> None:
        """Make the file where there is none; the owner of the log throws away one that does not belong to it."""
        generation = generation_of(raw)
        if owned and self.path.exists() and not self._belongs_to(generation):
            log.info("index_renewed", rules=INDEX_RULES)
            for suffix in ("-wal", "-shm", "", "-damaged"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        try:
            with closing(self.connect()) as connection, transaction(connection):
                if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
                    _create(connection, generation)
        except sqlite3.DatabaseError as error:
            if owned or not is_damage(error):
                raise
            log.error("search_file_damaged", error=str(error))  # what this process does needs no searches

    def _belongs_to(self, generation: str) -> bool:
        if self._damaged.exists():
            return False
        try:
            with closing(open_file(self.path)) as connection:
                return belongs_to(connection, generation)
        except sqlite3.DatabaseError as error:
            if (
                is_damage(error) or error.sqlite_errorcode == sqlite3.SQLITE_ERROR
            ):  # no such table: was cut off
                return False
            raise

    @property
    def _damaged(self) -> Path:
        return Path(f"{self.path}-damaged")

    def note(self, error: sqlite3.Error) -> None:
        """Where an error says that the file is damaged, have the next server throw it away."""
        if is_damage(error):
            log.error("search_file_damaged", error=str(error))
            self._damaged.touch(mode=0o600)

    def connect(self, synchronous: str = "FULL") -> sqlite3.Connection:
        """A connection that writes the index."""
        connection = open_file(self.path)
        switch_to_wal(connection)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute(
            "PRAGMA secure_delete = ON"
        )  # also of pages that a merge of segments leaves behind
        return connection

    def attach(self, reader: sqlite3.Connection) -> None:
        """Let a reader's connection to the log read the index, too; timelines do without one that is damaged."""
        if not self.path.exists():
            self.path.touch(mode=0o600)
        try:
            reader.execute("ATTACH ? AS search", (str(self.path),))
            reader.execute(f"PRAGMA search.cache_size = -{_READER_CACHE_KIB}")
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.note(error)

    def _own(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self.connect()
            self._connection.execute(
                "PRAGMA wal_autocheckpoint = 0"
            )  # the indexer does it, publishers wait here
        return self._connection

    def remove(self, rows: Sequence[Row]) -> None:
        """Take entries out, durably, for the log's transaction under way, which is about to delete the activities."""
        if not rows:
            return
        try:
            self._remove(entries_of(rows), [row[0] for row in rows])
        except sqlite3.DatabaseError as error:
            self.note(error)
            raise

    def _remove(self, entries: Sequence[Entry], positions: Sequence[Position]) -> None:
        with transaction(raw := self._own()):
            indexed = watermark(raw)
            marked = {
                position
                for position in positions
                if raw.execute("INSERT OR IGNORE INTO removed VALUES (?)", (position,)).rowcount
            }
            _drop_entries(
                raw, [each for each in entries if each.position in marked and each.position <= indexed]
            )

    def is_behind(self, raw: sqlite3.Connection) -> bool:
        """Whether the indexer has something to do, asked by who has the log open."""
        own = self._own()
        if own.execute("SELECT EXISTS (SELECT 1 FROM removed)").fetchone()[0]:
            return True
        return oldest_missing(raw, watermark(own)) is not None

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _create(raw: sqlite3.Connection, generation: str) -> None:
    for statement in files("backstory.store.log").joinpath("sqlite_search.sql").read_text().split(";\n"):
        if statement.strip():
            raw.execute(statement)
    state = (("generation", generation), ("rules", INDEX_RULES))
    raw.executemany("INSERT INTO index_state VALUES (?, ?)", state)
