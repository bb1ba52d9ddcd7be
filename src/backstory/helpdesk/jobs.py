"""Work behind an answer: durable before it is promised, done one after another, gone on with after a restart."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog

from backstory.errors import BackstoryError, NotFound, Unavailable
from backstory.helpdesk.worker import Worker
from backstory.model.job import Job, JobStatus
from backstory.model.moment import now
from backstory.store.base import Records
from backstory.store.records import jobs

LOOK_SECONDS = 5
"""How often it looks for what other processes have begun, or left."""

HEARTBEAT_SECONDS = 3
STALE_SECONDS = 15
"""A job of which nothing was heard for so long was left by a process that ended; somebody else goes on with it."""

KEEP_SECONDS = 30 * 24 * 3600
"""For how long it can be asked what became of a job."""

TIDY_SECONDS = 3600

_SECOND = 1_000_000

Handler = Callable[[Job], Awaitable[Mapping[str, Any] | None]]
"""Does a job from its `progress` on and answers its result. It notes its progress with its changes (`jobs.advance`),
so that what was done is not done again. It may be run again from there at any time."""

log = structlog.get_logger(__name__)


class Jobs(Worker):
    """The jobs of an installation. Tell it who does which kind, `start` it on an event loop, `close` it at the end."""

    def __init__(self, records: Records) -> None:
        super().__init__("job", LOOK_SECONDS)
        self._records = records
        self._handlers: dict[str, Handler] = {}
        self._tidy_at = 0.0

    def handle(self, kind: str, handler: Handler) -> None:
        """Have jobs of a kind done by a handler."""
        self._handlers[kind] = handler

    async def begin(
        self, kind: str, request: Mapping[str, Any], *, agent_id: int | None, total: int | None = None
    ) -> Job:
        """Promise a job: it is durable when this returns, and will be done."""
        at = now()
        job = Job(
            secrets.token_hex(12), kind, JobStatus.QUEUED, agent_id, dict(request), 0, total, None, at, at
        )
        await self._records.write(lambda transaction: jobs.insert_job(transaction.records, job))
        self.wake()
        return job

    async def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: there is none with this id.
        """
        job = await self._records.read(partial(jobs.select_job, job_id=job_id))
        if job is None:
            raise NotFound(f"There is no job {job_id[:60]}.")
        return job

    async def work(self) -> bool:
        """See `Worker.work`: one job after another."""
        await self._tidy()
        return await self._do_next()

    async def _tidy(self) -> None:
        """Forget what ended long ago, now and then."""
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + TIDY_SECONDS
        before = now() - KEEP_SECONDS * _SECOND
        await self._records.write(lambda transaction: jobs.delete_ended(transaction.records, before))

    async def _do_next(self) -> bool:
        """Do a job; whether there was one."""
        stale = now() - STALE_SECONDS * _SECOND
        job = await self._records.read(partial(jobs.select_waiting, stale=stale))
        if job is None:
            return False
        found, at = job, now()
        if await self._records.write(lambda transaction: jobs.claim(transaction.records, found, at)):
            await self._do(job)
        return True

    async def _do(self, job: Job) -> None:
        heartbeat = asyncio.create_task(self._beat(job))
        try:
            status, result = JobStatus.COMPLETED, await self._handlers[job.kind](job)
        except Unavailable:
            raise
        except Exception:
            log.exception("job_failed", job=job.id, kind=job.kind)
            status, result = (
                JobStatus.FAILED,
                {"error": "Something went wrong here; the log has it under the job's id."},
            )
        finally:
            heartbeat.cancel()
            await asyncio.gather(heartbeat, return_exceptions=True)
        await self._records.write(
            lambda transaction: jobs.finish(transaction.records, job.id, status, result, now())
        )

    async def _beat(self, job: Job) -> None:
        """Say that somebody is at it, also where one step takes long."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self._records.write(lambda transaction: jobs.touch(transaction.records, job.id, now()))
            except BackstoryError as error:  # the next one may come through, before somebody else takes over
                log.warning("heartbeat_failed", job=job.id, error=str(error))
