"""The embedded store: activity log and records in one SQLite file, written in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pysqlite3 as sqlite3
from msgspec.structs import replace

from backstory.errors import FieldErrors, Unavailable
from backstory.model.activity import (
    RESERVED_SOURCE,
    Event,
    Origin,
    Publication,
    Published,
    SentContact,
)
from backstory.model.identity import Resolved, Sought
from backstory.model.moment import now
from backstory.model.page import Filters, Place
from backstory.store.base import Bookmark, Homes, PublishResult, StoreStats, TimelineRead
from backstory.store.log.sqlite import (
    Appender,
    Known,
    NewRow,
    SqliteLog,
    look_up,
    read_page,
    read_stream_position,
)
from backstory.store.log.sqlite_index import Indexer
from backstory.store.records import sql
from backstory.store.records.relational import RelationalRecords
from backstory.store.records.sqlite_resolve import Resolution, unique_keys
from backstory.store.sqlite_database import Ownership, SqliteDatabase, Transaction

READY_SECONDS = 1.0
"""For how long storage that was just proven is taken as ready."""

PROOF_BYTES = 512 * 1024

_ORIGIN_ENCODER = msgspec.json.Encoder()
_NO_ORIGIN = _ORIGIN_ENCODER.encode(Origin(SentContact(), RESERVED_SOURCE))
_ORIGIN_DECODER = msgspec.json.Decoder(Origin)


class SqliteStore:
    """One installation in one file. See `store.base.Store`."""

    def __init__(
        self, path: Path, *, ownership: Ownership = Ownership.REQUIRED, phone_region: str | None = None
    ) -> None:
        self.database = SqliteDatabase(path, ownership)
        self._appender = Appender()
        self._indexer = Indexer()
        self._ready_until = 0.0
        self._refusing = False
        self.log = SqliteLog(self.database)
        self.records = RelationalRecords(self.database, phone_region)

    def open(self) -> None:
        """Open the file (see `SqliteDatabase.open`); the index follows where it was left."""
        self.database.chore = self._indexer
        self.database.appender = self._append_events
        self.database.resolver = _resolve
        self.database.open()

    async def publish(
        self, publications: Sequence[Publication], bookmark: Bookmark | None = None
    ) -> list[PublishResult]:
        """See `Store.publish`."""
        try:
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
        group = _Group(transaction, self._appender, publications)
        results = group.publish()
        if bookmark is not None:
            sql.save_bookmark(transaction.records, bookmark)
        if group.appended:
            self._indexer.note_append()
        return results

    def _append_events(self, raw: sqlite3.Connection, events: Sequence[Event]) -> None:
        """See `RecordsTransaction.append`."""
        rows = [NewRow(event.publication, event.contact_key, _NO_ORIGIN) for event in events]
        self._appender.append(raw, rows, read_stream_position(raw).position)
        self._indexer.note_append()

    async def read_timeline(
        self, contact_id: int, filters: Filters, after: Place | None, limit: int
    ) -> TimelineRead | None:
        """See `Store.read_timeline`."""

        def work(raw: sqlite3.Connection) -> TimelineRead | None:
            homes = _select_homes(raw, contact_id)
            if homes is None:
                return None
            # Taken before the read: what arrives between the two is sent again by the stream, never missed.
            position = read_stream_position(raw) if after is None else None
            return TimelineRead(homes, read_page(raw, homes.keys, filters, after, limit), position)

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
        return StoreStats(self._indexer.lag)

    async def close(self) -> None:
        """See `Store.close`."""
        await self.database.close()


class _Group:
    """Publications that are committed together: what is a replay, whose each is, then one append."""

    def __init__(
        self, transaction: Transaction, appender: Appender, publications: Sequence[Publication]
    ) -> None:
        self._raw = transaction.raw
        self._appender = appender
        self._publications = publications
        moment = now()
        hashes = [item.idempotency for item in publications if item.idempotency is not None]
        found = look_up(self._raw, hashes, unique_keys(publications), moment)
        self._known = found.known
        self._last = found.last
        self._resolution = Resolution(self._raw, publications, found.owners, moment)
        self.appended = 0

    def publish(self) -> list[PublishResult]:
        """What became of each publication, in order."""
        answers: dict[int, PublishResult] = {}
        waiting: list[int] = []
        for index, item in enumerate(self._publications):
            if item.idempotency in self._known:
                answers[index] = self._replay(item, self._known[item.idempotency])
            else:
                waiting.append(index)
        while waiting:
            waiting = self._publish_firsts(waiting, answers)
        return [answers[index] for index in range(len(self._publications))]

    def _publish_firsts(self, waiting: Sequence[int], answers: dict[int, PublishResult]) -> list[int]:
        """Store the first of each idempotency key and answer its replays; those whose first was refused are left."""
        first_of: dict[bytes, int] = {}
        firsts: list[int] = []
        replays: list[tuple[int, int]] = []
        for index in waiting:
            idempotency = self._publications[index].idempotency
            first = index if idempotency is None else first_of.setdefault(idempotency, index)
            if first == index:
                firsts.append(index)
            else:
                replays.append((index, first))
        answers |= zip(firsts, self._store([self._publications[index] for index in firsts]), strict=True)
        left: list[int] = []
        for index, first in replays:
            original = answers[first]
            if isinstance(original, Published):
                differs = self._publications[index].digest != self._publications[first].digest
                answers[index] = replace(original, duplicate=True, differs=differs, conflicts=())
            else:
                left.append(index)
        return left

    def _store(self, publications: Sequence[Publication]) -> list[PublishResult]:
        resolved: list[Resolved | FieldErrors] = []
        rows: list[NewRow] = []
        for item in publications:
            try:
                whose = self._resolution.resolve(item)
            except FieldErrors as error:
                resolved.append(error)
                continue
            resolved.append(whose)
            origin = Origin(item.contact, whose.matched_by, item.key_id)
            rows.append(NewRow(item, whose.contact_key, _ORIGIN_ENCODER.encode(origin)))
        given = self._appender.append(self._raw, rows, self._last)
        if given:
            self._last = given[-1].position
        self.appended += len(rows)
        ids = iter(given)
        return [
            whose
            if isinstance(whose, FieldErrors)
            else Published(
                next(ids),
                whose.contact_id,
                item.external_id,
                whose.matched_by,
                conflicts=whose.conflicts,
            )
            for item, whose in zip(publications, resolved, strict=True)
        ]

    def _replay(self, item: Publication, known: Known) -> Published:
        """A replay's answer: the first one's id, and the contact that has it now."""
        activity_id, contact_key, origin = self._appender.original(self._raw, known.position)
        row = self._raw.execute("SELECT id FROM contacts WHERE key = ?", (contact_key,)).fetchone()
        matched_by = _ORIGIN_DECODER.decode(origin).matched_by if origin else None
        differs = item.digest != known.digest
        return Published(
            activity_id,
            row[0] if row else None,
            item.external_id,
            matched_by,
            duplicate=True,
            differs=differs,
        )


def _resolve(raw: sqlite3.Connection, sought: Sought) -> Resolved:
    """See `RecordsTransaction.resolve`."""
    moment = now()
    owners = look_up(raw, [], unique_keys([sought]), moment).owners
    return Resolution(raw, [sought], owners, moment).resolve(sought)


def _select_homes(raw: sqlite3.Connection, contact_id: int) -> Homes | None:
    row = raw.execute("SELECT id, key FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    return Homes(row[0], (row[1],)) if row else None
