"""The records over any relational engine: the queries of `sql.py`, run where the engine runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import sqlalchemy as sa
from msgspec.structs import replace

from backstory.model.access import Agent, AuditEntry, KeyInfo, Principal, Rejection, Role
from backstory.model.contact import Contact
from backstory.model.ids import ContactKey
from backstory.model.moment import Microseconds, now
from backstory.store.base import Homes, RecordsTransaction
from backstory.store.records import sql
from backstory.store.records.contacts import select_contact
from backstory.store.records.homes import select_contact_ids, select_homes

T = TypeVar("T")


class RelationalDatabase(Protocol):
    """What an engine gives the records: a way to read, and transactions. See `Records.read` and `Records.write`."""

    async def read_records(self, work: Callable[[sa.Connection], T]) -> T:
        """Run queries off the event loop."""

    async def write(self, work: Callable[[RecordsTransaction], T]) -> T:
        """Run `work` in a transaction of its own."""


class RelationalRecords:
    """The records of a relational database. See `store.base.Records`."""

    def __init__(self, database: RelationalDatabase) -> None:
        self._database = database

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """See `Records.read`."""
        return await self._database.read_records(work)

    async def write(self, work: Callable[[RecordsTransaction], T]) -> T:
        """See `Records.write`."""
        return await self._database.write(work)

    async def contact(self, contact_id: int) -> Contact | None:
        """See `Records.contact`."""
        return await self._database.read_records(lambda records: select_contact(records, contact_id))

    async def homes(self, contact_id: int) -> Homes | None:
        """See `Records.homes`."""
        return await self._database.read_records(lambda records: select_homes(records, contact_id))

    async def contact_ids(self, keys: Sequence[ContactKey]) -> dict[ContactKey, int]:
        """See `Records.contact_ids`."""
        return await self._database.read_records(lambda records: select_contact_ids(records, keys))

    async def principal(self, key_hash: bytes) -> Principal | None:
        """See `Records.principal`."""
        return await self._database.read_records(lambda records: sql.select_principal(records, key_hash))

    async def create_agent(
        self, email: str, name: str, role: Role, password_hash: str, entry: AuditEntry
    ) -> Agent:
        """See `Records.create_agent`."""

        def work(transaction: RecordsTransaction) -> Agent:
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

        def work(transaction: RecordsTransaction) -> int:
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

        def work(transaction: RecordsTransaction) -> bool:
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

    async def rejections(
        self, before: int | None, limit: int, source: str | None = None
    ) -> list[tuple[int, Rejection]]:
        """See `Records.rejections`."""
        return await self._database.read_records(
            lambda records: sql.select_rejections(records, before, limit, source)
        )
