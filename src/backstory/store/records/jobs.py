"""Queries on jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from backstory.model.job import Job, JobStatus
from backstory.model.moment import Microseconds
from backstory.store.records.tables import jobs

_COLUMNS = [jobs.c[name] for name in Job.__struct_fields__]


def insert_job(connection: sa.Connection, job: Job) -> None:
    """Have something done, once this transaction is durable."""
    connection.execute(jobs.insert().values(**{name: getattr(job, name) for name in job.__struct_fields__}))


def select_job(connection: sa.Connection, job_id: str) -> Job | None:
    """One job; None where there is none."""
    row = connection.execute(sa.select(*_COLUMNS).where(jobs.c.id == job_id)).one_or_none()
    return _job(row) if row else None


def select_waiting(connection: sa.Connection, stale: Microseconds) -> Job | None:
    """The job that waits longest: for its beginning, or since whoever did it was last heard of before `stale`."""
    left = sa.and_(jobs.c.status == JobStatus.IN_PROGRESS, jobs.c.updated_at < stale)
    row = connection.execute(
        sa.select(*_COLUMNS)
        .where(sa.or_(jobs.c.status == JobStatus.QUEUED, left))
        .order_by(jobs.c.created_at, jobs.c.id)
        .limit(1)
    ).one_or_none()
    return _job(row) if row else None


def _job(row: sa.Row[Any]) -> Job:
    fields = row._asdict()
    return Job(**fields | {"status": JobStatus(row.status)})


def claim(connection: sa.Connection, job: Job, now: Microseconds) -> bool:
    """Take a job; False where somebody else has it meanwhile."""
    taken = connection.execute(
        jobs.update()
        .where(jobs.c.id == job.id, jobs.c.status == job.status, jobs.c.updated_at == job.updated_at)
        .values(status=JobStatus.IN_PROGRESS, updated_at=now)
    )
    return taken.rowcount == 1


def touch(connection: sa.Connection, job_id: str, now: Microseconds) -> None:
    """Whoever does a job is still there."""
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(updated_at=now))


def advance(
    connection: sa.Connection,
    job_id: str,
    progress: int,
    result: Mapping[str, Any] | None,
    now: Microseconds,
) -> None:
    """Note how far a job has come, with the change that brought it there."""
    connection.execute(
        jobs.update()
        .where(jobs.c.id == job_id)
        .values(progress=progress, result=None if result is None else dict(result), updated_at=now)
    )


def finish(
    connection: sa.Connection,
    job_id: str,
    status: JobStatus,
    result: Mapping[str, Any] | None,
    now: Microseconds,
) -> None:
    """A job has ended."""
    connection.execute(
        jobs.update()
        .where(jobs.c.id == job_id)
        .values(status=status, result=None if result is None else dict(result), updated_at=now)
    )


def delete_ended(connection: sa.Connection, before: Microseconds) -> None:
    """Forget jobs that ended before a moment."""
    ended = (JobStatus.COMPLETED, JobStatus.FAILED)
    connection.execute(jobs.delete().where(jobs.c.status.in_(ended), jobs.c.updated_at < before))
