"""The embedded store: activity log and records in one SQLite file, written in one transaction, and a search file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

import pysqlite3 as sqlite3

from backstory.errors import Unavailable
from backstory.model.activity import Event, Publication, Published
from backstory.model.identity import Resolved, Sought
from backstory.model.moment import now
from backstory.model.page import Filters, Place
from backstory.store.base import Bookmark, PublishResult, StoreStats, TimelineRead, WrittenPage
from backstory.store.frames import read_frame, write_frame
from backstory.store.log.sqlite import (
    Appender,
    Known,
    SqliteLog,
    look_up,
    read_page,
    read_stream_position,
    write_page,
)
from backstory.store.log.sqlite_index import Keeper
from backstory.store.log.sqlite_search import SearchFile
from backstory.store.publish import Group, event_row, replayed
from backstory.store.records import sql
from backstory.store.records.relational import RelationalRecords
from backstory.store.records.resolve import unique_keys
from backstory.store.records.sqlite_homes import read_contact_id, read_homes
from backstory.store.records.sqlite_resolve import SqliteResolution
from backstory.store.sqlite_commits import (
    CommitProcess,
    Reply,
    decode_group,
    encode_reply,
    reply_of,
    reply_with,
)
from backstory.store.sqlite_database import Ownership, SqliteDatabase, Transaction

READY_SECONDS = 1.0
"""For how long storage that was just proven is taken as ready."""

PROOF_BYTES = 512 * 1024


class SqliteStore:
    """One installation in one file. See `store.base.Store`."""

    atomic = True

    def __init__(
        self,
        path: Path,
        *,
        ownership: Ownership = Ownership.REQUIRED,
        committer: Sequence[str] = (),
        indexer: Sequence[str] = (),
    ) -> None:
        """`committer` and `indexer` are the commands of processes: one commits what is published, one indexes it.

        See `sqlite_commits.py` and `log/sqlite_index.py`. Without a committer it is done here; without an indexer the
        search index waits for a store that has one.
        """
        self.commits = CommitProcess(committer) if committer else None
        self.database = SqliteDatabase(path, ownership, lends=self.commits is not None)
        self._appender = Appender()
        self._search = SearchFile(path)
        self.database.companion = self._search
        self.database.chore = Keeper(self._search, indexer) if indexer else None
        self._ready_until = 0.0
        self._refusing = False
        self.log = SqliteLog(self.database, self._search)
        self.records = RelationalRecords(self.database)

    def open(self) -> None:
        """Open the file; see `SqliteDatabase.open`."""
        self.database.appender = self._append_events
        self.database.resolver = _resolve
        self.database.open()
        if self.commits is not None:
            self.commits.start()

    async def start(self, arrived: Callable[[], None]) -> None:
        """See `Store.start`. The writer has begun with `open`, and other processes are few: they are polled for."""

    async def publish(
        self, publications: Sequence[Publication], bookmark: Bookmark | None = None
    ) -> list[PublishResult]:
        """See `Store.publish`."""
        try:
            if self.commits is not None and bookmark is None:
                await self.database.give_way()
                results = await self.commits.publish(publications)
            else:
                results = await self.database.write(
                    lambda transaction: self._publish(transaction, publications, bookmark)
                )
        except Unavailable:
            self._refusing = True
            raise
        self._refusing = False
        return results

    def _publish(
        self, transaction: Transaction, publications: Sequence[Publication], bookmark: Bookmark | None
    ) -> list[PublishResult]:
        raw, moment = transaction.raw, now()
        hashes = [item.idempotency for item in publications if item.idempotency is not None]
        found = look_up(raw, hashes, unique_keys(publications), moment)
        group = Group(publications)
        resolution = SqliteResolution(raw, publications, found.owners, moment)
        group.sort_out(found.known, partial(self._replay, raw), resolution)
        results = group.results(self._appender.append(raw, group.rows, found.last))
        if bookmark is not None:
            sql.save_bookmark(transaction.records, bookmark)
        return results

    def _replay(self, raw: sqlite3.Connection, item: Publication, known: Known) -> Published:
        """A replay's answer: the first one's id, and the contact that has it now."""
        activity_id, contact_key, origin = self._appender.original(raw, known.position)
        return replayed(item, activity_id, read_contact_id(raw, contact_key), origin, known.digest)

    def _append_events(self, raw: sqlite3.Connection, events: Sequence[Event]) -> None:
        """See `RecordsTransaction.append`."""
        rows = [event_row(event) for event in events]
        self._appender.append(raw, rows, read_stream_position(raw).position)

    def serve_commits(self, receive: IO[bytes], send: IO[bytes]) -> None:
        """Be the committer of a server until its stream ends: commit each group that comes, in order."""

        def commit(group: bytes, transaction: Transaction) -> Reply:
            return reply_with(self._publish(transaction, decode_group(group), None))

        def done(reply: Reply | None, error: BaseException | None) -> None:
            with suppress(OSError):  # the server has ended; what is taken is finished all the same
                write_frame(send, encode_reply(reply or reply_of(error)))

        with suppress(EOFError):
            while True:
                self.database.hand_over(partial(commit, read_frame(receive)), done)

    async def read_timeline(
        self, contact_id: int, filters: Filters, after: Place | None, limit: int
    ) -> TimelineRead | None:
        """See `Store.read_timeline`."""
        search = self._search

        def work(raw: sqlite3.Connection) -> TimelineRead | None:
            homes = read_homes(raw, contact_id)
            if homes is None:
                return None
            # Taken before the read: what arrives between the two is sent again by the stream, never missed.
            position = read_stream_position(raw) if after is None else None
            return TimelineRead(homes, read_page(raw, search, homes.keys, filters, after, limit), position)

        return await self.database.read(work)

    async def write_timeline(
        self, contact_id: int, filters: Filters, after: Place | None, limit: int
    ) -> WrittenPage | None:
        """See `WritesPages.write_timeline`."""
        search = self._search

        def work(raw: sqlite3.Connection) -> WrittenPage | None:
            homes = read_homes(raw, contact_id)
            if homes is None:
                return None
            position = read_stream_position(raw) if after is None else None  # before the page, as above
            return WrittenPage(*write_page(raw, search, homes, filters, after, limit), position, homes)

        return await self.database.read(work)

    async def bookmark(self, name: str) -> Bookmark | None:
        """See `Store.bookmark`."""
        return await self.database.read_records(lambda records: sql.select_bookmark(records, name))

    async def ready(self) -> None:
        """See `Store.ready`: commits something, and reads. At most once a second: anybody may ask, without a key."""
        if time.monotonic() < self._ready_until and not self._refusing:
            return
        # A little fits into the last free pages of a full disk: where publishing is refused, more must fit.
        size = PROOF_BYTES if self._refusing else 16
        await self.database.write(lambda transaction: self._appender.prove_writable(transaction.raw, size))
        await self.log.stream_position()
        self._refusing = False
        self._ready_until = time.monotonic() + READY_SECONDS

    def stats(self) -> StoreStats:
        """See `Store.stats`."""
        lag = self.database.read_at_once(self._search.read_lag)
        return StoreStats(lag, self._search.count_renewals())

    async def close(self) -> None:
        """See `Store.close`."""
        if self.commits is not None:
            await self.commits.close()
        await self.database.close()


def _resolve(raw: sqlite3.Connection, sought: Sought) -> Resolved:
    """See `RecordsTransaction.resolve`."""
    moment = now()
    owners = look_up(raw, [], unique_keys([sought]), moment).owners
    return SqliteResolution(raw, [sought], owners, moment).resolve(sought)
