"""The same change of many tickets, as a job: one ticket after another, each in a transaction with its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from backstory.errors import BackstoryError, FieldErrors, RequestError, Unavailable
from backstory.helpdesk.acting import Acting
from backstory.helpdesk.jobs import Jobs
from backstory.helpdesk.tickets import Tickets
from backstory.model.access import AuditEntry
from backstory.model.job import Job
from backstory.model.moment import now
from backstory.store.base import Records, RecordsTransaction
from backstory.store.records import jobs

UPDATE, DELETE = "tickets.bulk_update", "tickets.bulk_delete"

Also = Callable[[RecordsTransaction], None]


class BulkTickets:
    """Begins such jobs, and does them."""

    def __init__(self, records: Records, tickets: Tickets, queue: Jobs) -> None:
        self._records = records
        self._tickets = tickets
        self._queue = queue
        queue.handle(UPDATE, self._do)
        queue.handle(DELETE, self._do)

    async def update(self, ids: Sequence[int], changes: Mapping[str, Any], acting: Acting) -> Job:
        """Change tickets, soon. `changes` are as for one ticket, and fit for JSON."""
        return await self._begin(UPDATE, ids, changes, acting)

    async def delete(self, ids: Sequence[int], acting: Acting) -> Job:
        """Delete tickets, soon."""
        return await self._begin(DELETE, ids, {}, acting)

    async def _begin(self, kind: str, ids: Sequence[int], changes: Mapping[str, Any], acting: Acting) -> Job:
        request = {
            "ids": list(ids),
            "changes": dict(changes),
            "entry": msgspec.to_builtins(acting.entry),
        }
        return await self._queue.begin(kind, request, agent_id=acting.agent_id, total=len(ids))

    async def _do(self, job: Job) -> Mapping[str, Any]:
        acting = Acting(job.agent_id or 0, msgspec.convert(job.request["entry"], AuditEntry))
        failed: list[dict[str, Any]] = list((job.result or {}).get("failed", ()))
        for done, ticket_id in enumerate(job.request["ids"][job.progress :], job.progress + 1):
            also = _advance(job, done, failed)
            try:
                await self._do_one(job, ticket_id, acting, also)
            except Unavailable:
                raise
            except (FieldErrors, RequestError) as error:
                failed.append({"id": ticket_id, "reason": _reason(error)})
                await self._records.write(also)
        return {"succeeded": len(job.request["ids"]) - len(failed), "failed": failed}

    async def _do_one(self, job: Job, ticket_id: int, acting: Acting, also: Also) -> None:
        if job.kind == DELETE:
            await self._tickets.delete(ticket_id, acting, also)
        else:
            await self._tickets.update(ticket_id, job.request["changes"], acting, also=also)


def _advance(job: Job, done: int, failed: list[dict[str, Any]]) -> Also:
    def work(transaction: RecordsTransaction) -> None:
        result = {"succeeded": done - len(failed), "failed": failed}
        jobs.advance(transaction.records, job.id, done, result, now())

    return work


def _reason(error: BackstoryError) -> str:
    return str(error)
