"""What handlers call: one object with the parts of a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from backstory.config import Settings
from backstory.errors import BackstoryError, FieldErrors, RequestError
from backstory.helpdesk.access import Authenticator
from backstory.helpdesk.agents import Agents
from backstory.helpdesk.attachments import Attachments
from backstory.helpdesk.bulk import BulkTickets
from backstory.helpdesk.companies import Companies
from backstory.helpdesk.contacts import Contacts
from backstory.helpdesk.conversations import Conversations
from backstory.helpdesk.csv_jobs import CsvJobs
from backstory.helpdesk.erasing import Eraser
from backstory.helpdesk.jobs import Jobs
from backstory.helpdesk.merges import Merges
from backstory.helpdesk.rejected import (
    MAX_KEPT_ERRORS,
    RejectedRequests,
    hide_keys,
    shorten_body,
    source_of,
)
from backstory.helpdesk.search import Search
from backstory.helpdesk.sessions import Sessions
from backstory.helpdesk.sources import Sources
from backstory.helpdesk.tickets import Tickets
from backstory.http.documentation import Documentation
from backstory.http.message import Request
from backstory.ingest.commit import GroupCommit
from backstory.live.hub import Hub
from backstory.model.access import Rejection
from backstory.model.activity import Published
from backstory.observe import Metrics
from backstory.store.base import PublishResult, Store
from backstory.timeline.facets import SourcesHeard
from backstory.timeline.read import Timeline


class Services(NamedTuple):
    """The parts of a running server, joined by `app.py`."""

    settings: Settings
    store: Store
    commit: GroupCommit
    timeline: Timeline
    hub: Hub
    authenticator: Authenticator
    rejected: RejectedRequests
    contacts: Contacts
    companies: Companies
    merges: Merges
    eraser: Eraser
    metrics: Metrics
    documentation: Documentation
    sessions: Sessions
    tickets: Tickets
    conversations: Conversations
    attachments: Attachments
    sources: Sources
    heard: SourcesHeard
    jobs: Jobs
    bulk: BulkTickets
    csv: CsvJobs
    search: Search
    agents: Agents
    batch_turn: asyncio.Lock
    """Batches are checked one after another: two that take turns would both be ready late, and until then the storage
    would have nothing to commit."""

    def count_published(self, results: Sequence[PublishResult]) -> None:
        """Count what became of publications."""
        kept = [result for result in results if isinstance(result, Published)]
        duplicates = sum(result.duplicate for result in kept)
        self.metrics.published.inc(len(kept) - duplicates)
        if duplicates:
            self.metrics.duplicates.inc(duplicates)
            self.metrics.differing.inc(sum(result.differs for result in kept))

    def note_rejection(self, request: Request, error: BackstoryError, body: bytes) -> None:
        """Count a refusal and keep it for an admin, soon."""
        status, errors = describe_refusal(error)
        for each in errors:
            self.metrics.rejected.labels(str(each["code"])).inc()
        key_id = request.principal.key_id if request.principal else None
        kept = tuple(hide_keys(each) for each in errors[:MAX_KEPT_ERRORS])
        source = source_of(body)
        self.rejected.add(
            Rejection(
                request.received, request.id, request.path, status, key_id, source, kept, shorten_body(body)
            )
        )


def describe_refusal(error: BackstoryError) -> tuple[int, list[dict[str, object]]]:
    """The status of a refusal, and what is at fault."""
    if isinstance(error, FieldErrors):
        return error.status, [
            {"field": fault.field, "code": fault.code, "message": fault.message} for fault in error.faults
        ]
    assert isinstance(error, RequestError)
    return error.status, [{"field": None, "code": error.code, "message": error.message}]
