"""The embedded store: activity log and records in one SQLite file, written in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pysqlite3 as sqlite3
from msgspec.structs import replace

from backstory.errors import FieldErrors, Unavailable
from backstory.model.access import Agent, AuditEntry, KeyInfo, Principal, Rejection, Role
from backstory.model.activity import Origin, Publication, Published
from backstory.model.contact import Contact, NewContact
from backstory.model.ids import ContactKey
from backstory.model.moment import Microseconds, now
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
from backstory.store.records.sqlite_resolve import Resolution, Resolved, unique_keys
from backstory.store.sqlite_database import Ownership, SqliteDatabase, Transaction

READY_SECONDS = 1.0
"""For how long storage that was just proven is taken as ready."""

PROOF_BYTES = 512 * 1024

_ORIGIN_ENCODER = msgspec.json.Encoder()
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
        self.records = SqliteRecords(self.database, phone_region)

    def open(self) -> None:
        """Open the file (see `SqliteDatabase.open`); the index follows where it was left."""
        self.database.chore = self._indexer
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


def _select_homes(raw: sqlite3.Connection, contact_id: int) -> Homes | None:
    row = raw.execute("SELECT id, key FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    return Homes(row[0], (row[1],)) if row else None


class SqliteRecords:
    """The records of one file. See `store.base.Records`."""

    def __init__(self, database: SqliteDatabase, phone_region: str | None) -> None:
        self._database = database
        self._region = phone_region

    async def contact(self, contact_id: int) -> Contact | None:
        """See `Records.contact`."""
        return await self._database.read_records(lambda records: sql.select_contact(records, contact_id))

    async def homes(self, contact_id: int) -> Homes | None:
        """See `Records.homes`."""
        return await self._database.read(lambda raw: _select_homes(raw, contact_id))

    async def contact_ids(self, keys: Sequence[ContactKey]) -> dict[ContactKey, int]:
        """See `Records.contact_ids`."""
        return await self._database.read_records(lambda records: sql.select_contact_ids(records, keys))

    async def create_contact(self, contact: NewContact, entry: AuditEntry) -> Contact:
        """See `Records.create_contact`."""

        def work(transaction: Transaction) -> Contact:
            created = sql.insert_contact(transaction.records, contact, self._region, now())
            sql.add_audit(transaction.records, replace(entry, target=f"contact:{created.id}"))
            return created

        return await self._database.write(work)

    async def principal(self, key_hash: bytes) -> Principal | None:
        """See `Records.principal`."""
        return await self._database.read_records(lambda records: sql.select_principal(records, key_hash))

    async def create_agent(
        self, email: str, name: str, role: Role, password_hash: str, entry: AuditEntry
    ) -> Agent:
        """See `Records.create_agent`."""

        def work(transaction: Transaction) -> Agent:
            agent = sql.insert_agent(transaction.records, email, name, role, password_hash, now())
            sql.add_audit(transaction.records, replace(entry, target=f"agent:{agent.id}"))
            return agent

        return await self._database.write(work)

    async def create_key(
        self,
        key_hash: bytes,
        hint: str,
        *,
        agent_email: str | None,
        sources: Sequence[str],
        expires: Microseconds | None,
        entry: AuditEntry,
    ) -> int:
        """See `Records.create_key`."""

        def work(transaction: Transaction) -> int:
            records = transaction.records
            key_id = sql.insert_key(records, key_hash, hint, agent_email, sources, expires, now())
            sql.add_audit(records, replace(entry, target=f"key:{key_id}"))
            return key_id

        return await self._database.write(work)

    async def keys(self) -> list[KeyInfo]:
        """See `Records.keys`."""
        return await self._database.read_records(sql.select_keys)

    async def revoke_key(self, key_id: int, entry: AuditEntry) -> bool:
        """See `Records.revoke_key`."""

        def work(transaction: Transaction) -> bool:
            revoked = sql.update_key_revoked(transaction.records, key_id, now())
            if revoked:
                sql.add_audit(transaction.records, entry)
            return revoked

        return await self._database.write(work)

    async def audit(self, entry: AuditEntry) -> None:
        """See `Records.audit`."""
        await self._database.write(lambda transaction: sql.add_audit(transaction.records, entry))

    async def audit_page(self, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
        """See `Records.audit_page`."""
        return await self._database.read_records(lambda records: sql.select_audit(records, before, limit))

    async def keep_rejections(self, rejections: Sequence[Rejection]) -> None:
        """See `Records.keep_rejections`."""
        await self._database.write(
            lambda transaction: sql.insert_rejections(transaction.records, rejections, now())
        )

    async def rejections(self, before: int | None, limit: int) -> list[tuple[int, Rejection]]:
        """See `Records.rejections`."""
        return await self._database.read_records(
            lambda records: sql.select_rejections(records, before, limit)
        )
