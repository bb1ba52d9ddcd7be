"""The search index of the SQLite log: postings and words, built behind a durable watermark, in sorted bulk.

The texts are read and split by a process of its own (`index_worker.py`): that is most of the work, and in this process
it would take the interpreter from the publishers. Rows go to it and come back as JSON text that SQLite writes and reads
itself, one statement each, so that the writer's thread never has to win the interpreter back row by row.
"""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, NamedTuple

import pysqlite3 as sqlite3
import structlog

from backstory.model.ids import Position
from backstory.model.moment import Microseconds, now
from backstory.store.frames import read_frame, write_frame
from backstory.store.sqlite_database import Transaction

INDEX_RULES = "2"
"""Raise it with every change of model/words.py, model/refs.py, model/searched.py or index_worker.py that gives a text
other entries: a deletion takes out what today's rules say, so the index must have been made by the same."""

FTS_SETTINGS = {"hashsize": 16 * 1024 * 1024, "automerge": 8}
"""A piece becomes one segment, not several, and segments are merged eight at a time: half as much writing as SQLite's
own settings make of it. A search looks into some ten segments."""

PIECE_ROWS = 2_500
PIECE_BYTES = 4 * 1024 * 1024
LAG_SECONDS = 0.35
"""How old the oldest missing entry becomes before the index follows: bulk is far cheaper than one at a time."""

POLL_SECONDS = 0.25
"""How often it looks for what other processes appended."""

REPLY_POLL_SECONDS = 0.002
RETRY_SECONDS = 1.0
ANSWER_SECONDS = 30.0
"""A worker that takes longer for a piece hangs: another one is started."""

log = structlog.get_logger(__name__)

_READ_PIECE = """
SELECT '[' || group_concat('[' || columns || ',' || body || ']') || ']', min(position), max(position) FROM (
    SELECT position, CAST(body AS TEXT) AS body,
           position || ',"' || hex(contact_key) || '",' || timestamp AS columns,
           sum(length(body)) OVER (ORDER BY position) - length(body) AS before
      FROM (SELECT position, contact_key, timestamp, body FROM activities WHERE position > ? ORDER BY position LIMIT ?)
) WHERE before < ?
"""
_NEXT_MISSING = "SELECT position FROM activities WHERE position > ? ORDER BY position LIMIT 1"
_MORE = "SELECT EXISTS (SELECT 1 FROM activities WHERE position > ?)"
_WRITE_POSTINGS = """
INSERT OR IGNORE INTO postings
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)
"""
_WRITE_WORDS = "INSERT INTO words (rowid, folded) SELECT value ->> 0, value ->> 1 FROM json_each(?)"


class _Piece(NamedTuple):
    """Rows that are with the worker: behind which watermark, up to where, and whether more wait behind them.

    `read_at` is the newest deletion's position when they were read, `erasures` what `note_erasure` had noted.
    """

    behind: Position
    last: Position
    more: bool
    read_at: Position
    erasures: str | None


class Indexer:
    """The writer's chore. One piece is with the worker at a time; what comes back is written in one transaction."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None
        self._piece: _Piece | None = None
        self._oldest_missing: float | None = None  # seconds since the epoch, as the next one
        self._first_behind_piece: float | None = None
        self._next_look = 0.0  # on the monotonic clock, as the next one
        self._not_before = 0.0
        self._asked = 0.0
        self._rules_checked = False

    def note_append(self) -> None:
        """There is something new to index."""
        if self._piece is not None and self._first_behind_piece is None:
            self._first_behind_piece = time.time()
        if self._oldest_missing is None:
            self._oldest_missing = time.time()

    @property
    def _lag(self) -> float:
        """Seconds since the oldest activity that is not indexed yet arrived; 0 where all are."""
        oldest = self._oldest_missing
        return 0.0 if oldest is None else max(0.0, time.time() - oldest)

    def due_in(self) -> float:
        """Seconds until there is something to do, 0 for now."""
        resting = self._not_before - time.monotonic()
        if resting > 0:
            return resting
        if self._piece is not None and self._worker is not None:
            overdue = time.monotonic() > self._asked + ANSWER_SECONDS
            return 0.0 if overdue or self._worker.has_answered() else REPLY_POLL_SECONDS
        until_look = max(0.0, self._next_look - time.monotonic())
        if self._oldest_missing is None:
            return until_look
        return min(until_look, max(0.0, LAG_SECONDS - self._lag))

    def do(self, raw: sqlite3.Connection, begin: Callable[[], AbstractContextManager[Transaction]]) -> None:
        """Take the worker's answer where there is one, and give it the next piece where there is more."""
        try:
            if not self._rules_checked:
                with begin() as transaction:
                    _set_up(transaction.raw)
                self._rules_checked = True
            if self._piece is not None:
                self._write(self._piece, begin)
            else:
                self._read(raw)
        except (OSError, EOFError) as error:
            log.warning("index_worker_lost", error=str(error))
            self._forget_worker()
            self._not_before = time.monotonic() + RETRY_SECONDS
        except sqlite3.Error:
            self._not_before = time.monotonic() + RETRY_SECONDS
            raise

    def _read(self, raw: sqlite3.Connection) -> None:
        self._next_look = time.monotonic() + POLL_SECONDS
        behind, read_at, erasures = watermark(raw), _last_deletion(raw), _erasures(raw)
        text, first, last = raw.execute(_READ_PIECE, (behind, PIECE_ROWS, PIECE_BYTES)).fetchone()
        if last is None:
            self._oldest_missing = None
            return
        self._oldest_missing = _arrived_at(first)
        if self._worker is None:
            self._worker = _Worker()
        self._first_behind_piece = None
        self._worker.ask(text.encode())
        self._asked = time.monotonic()
        more = bool(raw.execute(_MORE, (last,)).fetchone()[0])
        self._piece = _Piece(behind, last, more, read_at, erasures)

    def _write(self, piece: _Piece, begin: Callable[[], AbstractContextManager[Transaction]]) -> None:
        assert self._worker is not None, "a piece is with a worker"
        if not self._worker.has_answered():
            raise EOFError(f"no answer within {ANSWER_SECONDS:.0f} seconds")
        postings, words = self._worker.answer()
        self._piece = None
        with begin() as transaction:
            raw = transaction.raw
            current = _is_current(raw, piece)
            if current:
                _write_entries(raw, postings, words, piece.last)
            _drop_expired(raw, now())
        if current:  # else the same rows are read again
            self._oldest_missing = _arrived_at(piece.last) if piece.more else self._first_behind_piece

    def _forget_worker(self) -> None:
        self._piece = None
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def close(self) -> None:
        """Let the worker go; what it was doing is done again at the next start."""
        self._forget_worker()


def _set_up(raw: sqlite3.Connection) -> None:
    """Throw the index away where other rules of words and references made it; it is built again from the log."""
    for setting in FTS_SETTINGS.items():
        raw.execute("INSERT INTO words (words, rank) VALUES (?, ?)", setting)
    row = raw.execute("SELECT value FROM log_state WHERE name = 'index_rules'").fetchone()
    if row is not None and row[0] == INDEX_RULES:
        return
    if watermark(raw):
        log.info("index_renewed", rules=INDEX_RULES)
    raw.execute("DELETE FROM postings")
    raw.execute("INSERT INTO words (words) VALUES ('delete-all')")
    raw.execute("UPDATE log_state SET value = '0' WHERE name = 'indexed'")
    raw.execute("INSERT OR REPLACE INTO log_state VALUES ('index_rules', ?)", (INDEX_RULES,))


def _arrived_at(position: Position) -> float:
    """When a position was given out, in seconds since the epoch."""
    return (position >> 12) / 1000


def watermark(raw: sqlite3.Connection) -> Position:
    """The position up to which everything is indexed."""
    return int(raw.execute("SELECT value FROM log_state WHERE name = 'indexed'").fetchone()[0])


def read_lag(raw: sqlite3.Connection) -> float:
    """Seconds since the oldest activity that is not indexed yet arrived; 0 where all are."""
    row = raw.execute(_NEXT_MISSING, (watermark(raw),)).fetchone()
    return max(0.0, time.time() - _arrived_at(row[0])) if row else 0.0


def _last_deletion(raw: sqlite3.Connection) -> Position:
    return int(raw.execute("SELECT coalesce(max(position), 0) FROM deletions").fetchone()[0])


def note_erasure(raw: sqlite3.Connection) -> None:
    """Something that is not indexed yet is being erased: a piece that has it must not be written."""
    raw.execute(
        "INSERT INTO log_state VALUES ('erasures', '1')"
        " ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )


def _erasures(raw: sqlite3.Connection) -> str | None:
    row = raw.execute("SELECT value FROM log_state WHERE name = 'erasures'").fetchone()
    return row[0] if row else None


def _is_current(raw: sqlite3.Connection, piece: _Piece) -> bool:
    """Whether a piece may be written: nobody else wrote it meanwhile, and nothing of it was deleted or erased."""
    gone = raw.execute(
        "SELECT count(*) FROM deletions WHERE position > ? AND deleted > ? AND deleted <= ?",
        (piece.read_at, piece.behind, piece.last),
    ).fetchone()[0]
    return watermark(raw) == piece.behind and not gone and _erasures(raw) == piece.erasures


def _write_entries(raw: sqlite3.Connection, postings: bytes, words: bytes, last: Position) -> None:
    raw.execute(_WRITE_POSTINGS, (postings.decode(),))
    raw.execute(_WRITE_WORDS, (words.decode(),))
    raw.execute("UPDATE log_state SET value = ? WHERE name = 'indexed'", (str(last),))


def _drop_expired(raw: sqlite3.Connection, moment: Microseconds) -> None:
    """Forget some idempotency keys whose time is over."""
    raw.execute(
        "DELETE FROM event_keys WHERE hash IN"
        " (SELECT hash FROM event_keys WHERE expires IS NOT NULL AND expires <= ? LIMIT 2500)",
        (moment,),
    )


class _Worker:
    """The process that reads and splits texts. It ends by itself when this process does: its input ends then."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backstory.store.log.index_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=True,
            start_new_session=True,  # a Ctrl-C is for the server, which stops its worker itself
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self._output: IO[bytes] = self._process.stdout

    def ask(self, text: bytes) -> None:
        """Send a piece."""
        write_frame(self._input, text)

    def has_answered(self) -> bool:
        """Whether the answer has begun to arrive (or the worker has died, which reading it will tell)."""
        return bool(select.select([self._output], [], [], 0)[0])

    def answer(self) -> tuple[bytes, bytes]:
        """The piece's postings and words, as JSON."""
        return read_frame(self._output), read_frame(self._output)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._input.close()
        self._output.close()
        try:
            self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:  # it holds nothing that could be lost
            self._process.kill()
            self._process.wait()
