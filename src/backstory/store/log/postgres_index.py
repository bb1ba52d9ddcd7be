"""The search index of the PostgreSQL log: built behind a durable watermark, in bulk, by one of the server processes.

Every process has a follower: it listens for what any of them committed, and wakes the live viewers. The one that holds
the index's lock also builds the index; when it ends, the next one takes over. Deletions are followed like activities:
a deleted one leaves the index when the watermark passes its deletion, so neither side has to wait for the other.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec
import structlog

from backstory.errors import BackstoryError
from backstory.model.ids import Position
from backstory.model.moment import now
from backstory.store.frames import frame
from backstory.store.postgres_database import PostgresDatabase, explain

INDEX_RULES = "1"
"""Raise it with every change of model/words.py, model/refs.py or model/searched.py that gives a text other entries."""

FIRST_RULES = "1"
"""Of an index that does not say by which it was made."""

LAG_SECONDS = 0.35
"""How old the oldest missing entry becomes before the index follows: bulk is far cheaper than one at a time."""

POLL_SECONDS = 0.25
"""How often it looks although nobody told it anything."""

PIECE_ROWS = 2_500
PIECE_BYTES = 4 * 1024 * 1024
RETRY_SECONDS = 1.0
INDEX_LOCK = 4870020391872134148
ANSWER_SECONDS = 30.0

log = structlog.get_logger(__name__)

_READ_PIECE = """
WITH piece AS MATERIALIZED (
     SELECT position, encode(contact_key, 'hex') AS home, timestamp, body,
            sum(length(body)) OVER (ORDER BY position) AS size
       FROM (SELECT * FROM activities WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3) AS rows)
SELECT position, home, timestamp, body FROM piece WHERE size - length(body) < $4 ORDER BY position
"""
_INSERT = """
INSERT INTO activity_index
SELECT position, timestamp, name_term, source_term, type_term, terms::bigint[]
  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
    AS sent (position, timestamp, name_term, source_term, type_term, terms)
    ON CONFLICT DO NOTHING
"""
_MORE = "SELECT EXISTS (SELECT FROM activities WHERE position > $1 AND position <= $2)"
_REMOVE = """
DELETE FROM activity_index USING deletions
 WHERE deletions.position > $1 AND deletions.position <= $2 AND activity_index.position = deletions.deleted
"""
_STATE = """
SELECT (SELECT value::bigint FROM log_state WHERE name = 'indexed'),
       greatest((SELECT max(position) FROM activities), (SELECT max(position) FROM deletions), 0)
"""
_MOVE = "UPDATE log_state SET value = $1::text WHERE name = 'indexed'"
_NOTE_RULES = """
INSERT INTO log_state VALUES ('index_rules', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
_DROP_EXPIRED = """
DELETE FROM event_keys WHERE hash IN
       (SELECT hash FROM event_keys WHERE expires IS NOT NULL AND expires <= $1 LIMIT 2500)
"""

_Columns = tuple[list[int], list[int], list[int], list[int], list[int | None], list[str]]
_decode = msgspec.json.Decoder(_Columns).decode


class Follower:
    """What a server process does by itself while it serves."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self._told = asyncio.Event()
        self._appended: Position = 0
        self._indexed: Position = 0
        self._missing_since: float | None = None
        self.arrived: Callable[[], None] = lambda: None
        """Called when somebody, maybe in another process, has committed something."""

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._run())

    def note_append(self, position: Position) -> None:
        """This process has appended up to here."""
        self._appended = max(self._appended, position)
        if self._missing_since is None:
            self._missing_since = now() / 1_000_000

    @property
    def lag(self) -> float:
        """Seconds since the oldest activity that may not be indexed yet arrived; 0 where all are."""
        since = self._missing_since
        return 0.0 if since is None else max(0.001, now() / 1_000_000 - since)

    def _note_state(self, indexed: Position, last: Position) -> None:
        """The index is so far, and the log so far."""
        self._indexed, self._appended = indexed, max(self._appended, last)
        if indexed >= self._appended:
            self._missing_since = None
        elif self._missing_since is not None:
            self._missing_since = max(self._missing_since, (indexed >> 12) / 1000)

    async def _run(self) -> None:
        while True:
            try:
                connection = await self._database.listener()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("follower_waits", error=explain(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            indexing = _Indexing(connection)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await connection.add_listener("backstory_log", self._hear)
                await self._follow(connection, indexing)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, EOFError) as error:
                log.warning("follower_failed", error=explain(error))
            except BackstoryError as error:
                log.warning("follower_failed", error=str(error))
            except Exception:  # whatever it is, viewers must hear of what comes next, and searches find it
                log.exception("follower_failed")
            finally:
                connection.terminate()
                await indexing.close()
            await asyncio.sleep(RETRY_SECONDS)

    def _hear(self, *_: object) -> None:
        self._told.set()
        self.arrived()

    async def _follow(self, connection: asyncpg.Connection[Any], indexing: _Indexing) -> None:
        while True:
            self._told.clear()
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._database.keep_time(connection)
                ours = await indexing.is_ours()  # first: who begins may throw the index away
                ((indexed, last),) = await connection.fetch(_STATE)
                self._note_state(indexed, last)
                due = ours and indexed < last
            if due:
                age = now() / 1_000_000 - (indexed >> 12) / 1000
                await asyncio.sleep(min(LAG_SECONDS, max(0.0, LAG_SECONDS - age)))
                async with asyncio.timeout(ANSWER_SECONDS):
                    self._note_state(await indexing.advance(indexed, last), last)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._told.wait()

    async def close(self) -> None:
        """Stop; what was begun is done again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class _Indexing:
    """The one process that builds the index, where it is this one: the lock goes with the connection."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection
        self._holds = False
        self._worker: asyncio.subprocess.Process | None = None

    async def is_ours(self) -> bool:
        """Take the lock where it is free."""
        if not self._holds:
            self._holds = await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", INDEX_LOCK)
            if self._holds:
                await self._renew()
        return self._holds

    async def _renew(self) -> None:
        """Throw the index away where other rules of words and references made it; it is built again from the log."""
        made = await self._connection.fetchval("SELECT value FROM log_state WHERE name = 'index_rules'")
        if (FIRST_RULES if made is None else made) == INDEX_RULES:
            return
        log.info("index_renewed", rules=INDEX_RULES)
        async with self._connection.transaction():
            await self._connection.execute("TRUNCATE activity_index")
            await self._connection.execute(_MOVE, "0")
            await self._connection.execute(_NOTE_RULES, INDEX_RULES)

    async def advance(self, behind: Position, last: Position) -> Position:
        """Index the next piece of what lies behind one position, up to another; the new watermark."""
        rows = await self._connection.fetch(_READ_PIECE, behind, last, PIECE_ROWS, PIECE_BYTES)
        piece = b",".join(b'[%d,"%s",%d,%s]' % (row[0], row[1].encode(), *row[2:]) for row in rows)
        columns = _decode(await self._ask(b"[%s]" % piece)) if rows else None
        more = bool(rows) and await self._connection.fetchval(_MORE, rows[-1][0], last)
        mark = rows[-1][0] if more else last
        async with self._connection.transaction():
            if columns is not None:
                await self._connection.execute(_INSERT, *columns)
            await self._connection.execute(_REMOVE, behind, mark)
            await self._connection.execute(_MOVE, str(mark))
            await self._connection.execute(_DROP_EXPIRED, now())
        return mark

    async def _ask(self, piece: bytes) -> bytes:
        if self._worker is None:
            self._worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "backstory.store.log.postgres_index_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C is for the server, which stops its worker itself
            )
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(frame(piece))
        await self._worker.stdin.drain()
        (size,) = struct.unpack(">Q", await self._worker.stdout.readexactly(8))
        return await self._worker.stdout.readexactly(size)

    async def close(self) -> None:
        """Let the worker go."""
        if self._worker is not None:
            if self._worker.returncode is None:
                self._worker.kill()  # it holds nothing that could be lost
            await self._worker.wait()
