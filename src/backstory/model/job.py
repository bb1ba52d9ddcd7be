"""Work that goes on behind an answer: what is known of it while it does, and after."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from backstory.model.moment import Microseconds, format_second


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Job(Struct, frozen=True):
    """A job. `request` is what is to be done, `progress` how much of `total` is; `result` grows with it."""

    id: str
    kind: str
    status: JobStatus
    agent_id: int | None
    request: Mapping[str, Any]
    progress: int
    total: int | None
    result: Mapping[str, Any] | None
    created_at: Microseconds
    updated_at: Microseconds

    def answer(self) -> dict[str, Any]:
        """The job as the API answers it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status.value,
            "progress": self.progress,
            "total": self.total,
            "result": self.result,
            "created_at": format_second(self.created_at),
            "updated_at": format_second(self.updated_at),
        }
