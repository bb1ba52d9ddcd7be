"""Erasing contacts: they and their identifiers are gone at once, their tickets and activities piece by piece."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors, MethodNotAllowed
from backstory.helpdesk.contacts import existing, refuse_merged
from backstory.helpdesk.files import AttachmentFiles
from backstory.helpdesk.worker import Worker
from backstory.model.access import AuditEntry
from backstory.model.attachment import StoredFile
from backstory.model.moment import now
from backstory.store.base import ActivityLog, Records, RecordsTransaction
from backstory.store.records import erasing, sql
from backstory.store.records.erasing import Erasure
from backstory.store.records.homes import select_home_ids

PIECE = 200
TICKETS_PIECE = 50
REST = 2.0
"""After a piece it rests so many times as long as the piece took: publishing goes before."""

PATIENCE_SECONDS = 1.0
"""For so long an answer waits for the end, which for most contacts comes sooner."""

LOOK_SECONDS = 5.0
"""How often it looks for what other processes have begun, or left."""


class Eraser(Worker):
    """Erases contacts. `start` it on an event loop, `close` it at the end; what it left it goes on with."""

    def __init__(self, records: Records, activities: ActivityLog, files: AttachmentFiles) -> None:
        super().__init__("erasure", LOOK_SECONDS)
        self._records = records
        self._activities = activities
        self._files = files
        self._idle = asyncio.Event()
        self._begun: dict[int, float] = {}
        """When an erasure was gone through for the first time, by its number, while something may still appear."""

    async def erase(self, contact_id: int, *, force: bool, entry: AuditEntry) -> None:
        """Erase a contact with everything that it did and said, and all contacts that were merged into it.

        When it returns nobody finds it any more, and its identifiers are free. Most contacts are gone from the disk by
        then, too; of one with a long history the rest follows, also after a restart.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it is an agent.
            FieldErrors: 400, it is not deleted and `force` was not said; 409, it was merged into another one.
        """

        def work(transaction: RecordsTransaction) -> list[str]:
            connection = transaction.records
            contact = existing(connection, contact_id)
            refuse_merged(contact, contact_id)
            if contact.is_agent:
                raise MethodNotAllowed("Erasing an agent as a contact", ("GET",))
            if not (contact.deleted or force):
                message = "The contact is not deleted; delete it first, or say force=true."
                raise FieldErrors([Fault("force", message, Code.INVALID_VALUE)])
            files = erasing.erase_contact(connection, select_home_ids(connection, contact_id), now())
            sql.add_audit(connection, replace(entry, target=f"contact:{contact_id}"))
            return files

        files = await self._records.write(work)
        self._idle.clear()
        self.wake()
        await self._discard(files)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), PATIENCE_SECONDS)

    async def work(self) -> bool:
        """See `Worker.work`: all erasures that something can be done for."""
        erasures = await self._records.read(erasing.select_erasures)
        open_ids = {erasure.id for erasure in erasures}
        self._begun = {number: when for number, when in self._begun.items() if number in open_ids}
        busy = any([await self._go_on(erasure) for erasure in erasures])
        if not busy:
            self._idle.set()
        return busy

    async def _go_on(self, erasure: Erasure) -> bool:
        """Erase what there is; once more, where something may have appeared since, and only then it is done."""
        late, began = self._activities.late_seconds, time.monotonic()
        before = self._begun.get(erasure.id)
        if before is not None and began < before + late:
            return False
        await self._erase_rest(erasure)
        if late and before is None:
            self._begun[erasure.id] = began
        else:
            done = partial(erasing.finish_erasure, erasure_id=erasure.id, now=now())
            await self._records.write(lambda transaction: done(transaction.records))
        return True

    async def _erase_rest(self, erasure: Erasure) -> None:
        while await self._erase_tickets(erasure):
            continue
        more = True
        while more:
            began = time.monotonic()
            more = await self._activities.erase(erasure.keys, PIECE) == PIECE
            if more:
                await asyncio.sleep(REST * (time.monotonic() - began))

    async def _erase_tickets(self, erasure: Erasure) -> bool:
        """Erase some tickets; whether there were any."""

        def work(transaction: RecordsTransaction) -> tuple[int, list[str]]:
            return erasing.erase_tickets(transaction.records, erasure.contact_ids, TICKETS_PIECE)

        count, files = await self._records.write(work)
        await self._discard(files)
        return count > 0

    async def _discard(self, files: list[str]) -> None:
        """Remove files from the disk; one that is left by a crash is an orphan, and is removed as such."""
        await self._files.discard([StoredFile("", "", 0, name) for name in files])
