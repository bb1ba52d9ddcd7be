"""Tickets, conversations, drafts, mail and jobs on every engine: the helpdesk's own functions over each store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from backstory.errors import FieldErrors, MethodNotAllowed, NotFound
from backstory.helpdesk import jobs as job_rules
from backstory.helpdesk.acting import Acting
from backstory.helpdesk.bulk import BulkTickets
from backstory.helpdesk.conversations import Conversations
from backstory.helpdesk.files import AttachmentFiles
from backstory.helpdesk.jobs import Jobs
from backstory.helpdesk.ticket_merge import TicketMerge
from backstory.helpdesk.tickets import Tickets
from backstory.model.access import Role
from backstory.model.activity import SentContact
from backstory.model.conversation import Delivery, DraftKind, NewNote, NewReply
from backstory.model.job import Job, JobStatus
from backstory.model.mail import Sender
from backstory.model.moment import now
from backstory.model.ticket import NewTicket, Order, Priority, Status, Ticket, TicketFilters, View
from backstory.store.base import Store
from backstory.store.records import jobs, outgoing_mail
from backstory.store.records.tables import tickets as tickets_table
from tests.store.support import ENTRY, NONE

REFUSE_HEARTBEATS = """
CREATE TRIGGER refuse_heartbeats BEFORE UPDATE ON jobs WHEN NEW.status = OLD.status
 BEGIN SELECT RAISE (ABORT, 'no heartbeat now'); END
"""
SENDER = Sender("support@acme.example", "Acme")


class Desk:
    """The helpdesk over a store, with two agents."""

    def __init__(self, store: Store, folder: Path) -> None:
        files = AttachmentFiles(folder)
        self.store = store
        self.commits = 0
        self.tickets = Tickets(store.records, files, self._note)
        self.conversations = Conversations(store.records, files, [SENDER], self._note)
        self.jobs = Jobs(store.records)
        self.bulk = BulkTickets(store.records, self.tickets, self.jobs)
        self.me = self.other = Acting(0, ENTRY)

    def _note(self) -> None:
        self.commits += 1

    async def hire(self) -> None:
        agents = [
            await self.store.records.create_agent(f"{name}@acme.example", name, Role.AGENT, "", ENTRY)
            for name in ("Ursula", "Phoebe")
        ]
        self.me, self.other = (Acting(agent.id, ENTRY) for agent in agents)

    async def open(self, email: str = "rachel@example.com", **fields: Any) -> Ticket:
        new = NewTicket(requester=SentContact(email=email), **fields)
        return await self.tickets.create(new, self.me)

    async def listed(self, view: View | None = None, **filters: Any) -> list[int]:
        order = filters.pop("order", Order.CREATED)
        found = await self.tickets.page(
            TicketFilters(view=view, **filters), viewer=self.me.agent_id, order=order, limit=100
        )
        return [ticket.id for ticket in found]

    async def told(self, ticket: Ticket) -> list[Mapping[str, Any]]:
        """What the requester's timeline tells, oldest first, once the log has it."""
        homes = await self.store.records.homes(ticket.requester_id)
        assert homes is not None
        page = await self.store.log.page(homes.keys, NONE, None, 100)
        return [json.loads(each.answer(1)) for each in page.activities[::-1]]


@pytest.fixture
async def desk(store: Store, tmp_path: Path) -> Desk:
    desk = Desk(store, tmp_path / "attachments")
    await desk.hire()
    return desk


async def test_a_ticket_is_opened_and_told_of_together(desk: Desk) -> None:
    ticket = await desk.open(subject="Where?", description="<p>Here</p>", tags=("a",), priority=Priority.HIGH)
    assert desk.commits == 1
    assert await desk.tickets.get(ticket.id) == ticket
    assert (ticket.description_text, ticket.tags, ticket.home_id) == ("Here", ("a",), ticket.requester_id)
    told = await _told(desk, ticket, 1)
    assert (told[0]["name"], told[0]["object"]["id"]) == ("Ticket opened", str(ticket.id))


async def _told(desk: Desk, ticket: Ticket, count: int) -> list[Mapping[str, Any]]:
    """Where the log is kept elsewhere, events follow a moment later."""
    deadline = time.monotonic() + 10
    while len(told := await desk.told(ticket)) < count:
        assert time.monotonic() < deadline, f"there are not {count} events: {told}"
        await asyncio.sleep(0.02)
    return told


async def test_lists_and_views(desk: Desk) -> None:
    me, other = desk.me.agent_id, desk.other.agent_id
    new = await desk.open()
    mine = await desk.open(responder_id=me, status=Status.OPEN)
    pending = await desk.open(responder_id=me, status=Status.PENDING)
    theirs = await desk.open(email="monica@example.com", responder_id=other)
    spam, gone = await desk.open(), await desk.open()
    await desk.tickets.mark_spam(spam.id, True, desk.me)
    await desk.tickets.delete(gone.id, desk.me)
    await desk.tickets.watch(theirs.id, me)
    await desk.tickets.watch(theirs.id, me)
    assert await desk.listed() == [theirs.id, pending.id, mine.id, new.id]
    assert await desk.listed(View.NEW_AND_MY_OPEN) == [mine.id, new.id]
    assert await desk.listed(View.MY_OPEN) == [mine.id]
    assert await desk.listed(View.UNASSIGNED) == [new.id]
    assert await desk.listed(View.SPAM) == [spam.id]
    assert await desk.listed(View.DELETED) == [gone.id]
    assert await desk.listed(View.WATCHING) == [theirs.id]
    assert await desk.listed(statuses=(Status.PENDING, Status.CLOSED)) == [pending.id]
    assert await desk.listed(homes={theirs.home_id}) == [theirs.id]
    assert await desk.listed(homes=set()) == []
    assert await desk.tickets.homes_of(email="MONICA@example.com") == {theirs.home_id}
    assert await desk.tickets.watchers(theirs.id) == [me]
    await desk.tickets.watch(theirs.id, me, watching=False)
    assert await desk.listed(View.WATCHING) == []


async def test_orders_hold_on_every_page(desk: Desk) -> None:
    urgency = (Priority.LOW, Priority.URGENT, Priority.MEDIUM, Priority.HIGH)
    made = [
        await desk.open(priority=each, status=status)
        for status in (Status.OPEN, Status.CLOSED)
        for each in urgency
    ]
    for order in Order:
        for filters in (TicketFilters(), TicketFilters(updated_since=made[0].created_at)):
            for descending in (True, False):
                found = [
                    await desk.tickets.page(
                        filters, viewer=0, order=order, descending=descending, offset=offset, limit=3
                    )
                    for offset in (0, 3, 6, 9)
                ]
                flat = [ticket for page in found for ticket in page]
                assert {ticket.id for ticket in flat} == {ticket.id for ticket in made}
                values = [getattr(ticket, order.value) for ticket in flat]
                assert values == sorted(values, reverse=descending)


async def test_old_tickets_are_listed_since_a_change_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await desk.open(), await desk.open()
    long_ago = now() - 40 * 24 * 3600 * 1_000_000
    await desk.store.records.write(
        lambda transaction: transaction.records.execute(
            tickets_table.update().where(tickets_table.c.id == old.id).values(created_at=long_ago)
        )
    )
    assert await desk.listed() == [new.id]
    for few in (0, 1_000):  # however it is looked for
        monkeypatch.setattr("backstory.store.records.tickets.FEW_CHANGED", few)
        assert await desk.listed(updated_since=long_ago) == [new.id, old.id]
        assert await desk.listed(updated_since=now() + 1) == []


async def test_a_change_that_is_refused_changes_nothing(desk: Desk) -> None:
    ticket = await desk.open()
    with pytest.raises(FieldErrors):
        await desk.tickets.update(ticket.id, {"subject": "New", "group_id": 99}, desk.me)
    await desk.tickets.mark_spam(ticket.id, True, desk.me)
    for change in (
        desk.tickets.update(ticket.id, {"subject": "New"}, desk.me),
        desk.conversations.note(ticket.id, NewNote("x"), desk.me),
        desk.conversations.reply(ticket.id, NewReply("x"), desk.me),
    ):
        with pytest.raises(MethodNotAllowed):
            await change
    assert (await desk.tickets.get(ticket.id)).subject is None
    with pytest.raises(NotFound):
        await desk.tickets.get(4711)


async def test_changes_at_once_are_all_kept(desk: Desk) -> None:
    ticket = await desk.open()
    changes: list[dict[str, Any]] = [
        {"subject": "S"},
        {"type": "T"},
        {"status": Status.PENDING},
        {"tags": ["x"]},
    ]
    await asyncio.gather(*(desk.tickets.update(ticket.id, each, desk.me) for each in changes))
    after = await desk.tickets.get(ticket.id)
    assert (after.subject, after.type, after.status, after.tags) == ("S", "T", Status.PENDING, ("x",))


async def test_merges_in_a_circle_leave_one(desk: Desk) -> None:
    made = [(await desk.open()).id for _ in range(3)]
    circle = [TicketMerge(made[index], (made[(index + 1) % 3],)) for index in range(3)]
    outcomes = await asyncio.gather(
        *(desk.tickets.merge(each, desk.me) for each in circle), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} <= {type(None), FieldErrors}
    left = [each for each in made if (await desk.tickets.get(each)).merged_into is None]
    assert len(left) == 3 - outcomes.count(None)
    assert 1 <= len(left) <= 2


async def test_a_reply_and_its_mail_are_queued_together(desk: Desk) -> None:
    ticket = await desk.open(subject="Where?")
    first = await desk.conversations.reply(
        ticket.id, NewReply("<b>Here</b>", cc_emails=("c@d.example",)), desk.me
    )
    second = await desk.conversations.reply(ticket.id, NewReply("There"), desk.other)
    assert (first.delivery, first.to_emails, second.user_id) == (
        Delivery.QUEUED, ("rachel@example.com",), desk.other.agent_id
    )  # fmt: skip
    due = await _due(desk)
    assert [waiting.conversation_id for waiting in due] == [first.id, second.id]
    mail = due[1].mail
    assert (mail.sender, mail.text, mail.references[-1]) == (SENDER, "There", first.message_id)
    assert due[0].mail.recipients == ("rachel@example.com", "c@d.example")
    claim = partial(outgoing_mail.claim, waiting=due[0], until=now() + 1_000_000)
    claims = [await desk.store.records.write(lambda t: claim(t.records)) for _ in range(2)]
    assert claims == [True, False]
    await desk.store.records.write(
        lambda t: outgoing_mail.postpone(t.records, due[0], now() + 3_600_000_000, "later", now())
    )
    waiting = await desk.conversations.get(first.id)
    assert (waiting.delivery, waiting.delivery_error, waiting.failure_count) == (Delivery.QUEUED, "later", 1)
    await desk.store.records.write(
        lambda t: outgoing_mail.settle(t.records, due[1], Delivery.SENT, None, now())
    )
    assert (await desk.conversations.get(second.id)).delivery is Delivery.SENT
    assert await _due(desk) == []
    assert await desk.store.records.read(outgoing_mail.count_waiting) == 1
    await desk.conversations.delete(first.id, desk.me)
    assert await desk.store.records.read(outgoing_mail.count_waiting) == 0


async def test_what_was_not_sent_can_be_sent_again(desk: Desk) -> None:
    ticket = await desk.open()
    reply = await desk.conversations.reply(ticket.id, NewReply("Here", bcc_emails=("b@c.example",)), desk.me)
    again = await desk.conversations.send_again(reply.id, desk.me)
    assert (again.delivery, len(await _due(desk))) == (Delivery.QUEUED, 1)  # it waits already
    (waiting,) = await _due(desk)
    await desk.store.records.write(
        lambda t: outgoing_mail.settle(t.records, waiting, Delivery.NOT_SENT, "refused", now())
    )
    again = await desk.conversations.send_again(reply.id, desk.me)
    assert (again.delivery, again.delivery_error, again.message_id) == (
        Delivery.QUEUED,
        None,
        reply.message_id,
    )
    (queued,) = await _due(desk)
    assert queued.mail.message_id == waiting.mail.message_id
    assert (queued.mail.recipients, queued.mail.references) == (
        waiting.mail.recipients,
        waiting.mail.references,
    )
    nobody = await desk.tickets.create(
        NewTicket(requester=SentContact(twitter_id="@nobody", name="Nobody")), desk.me
    )
    unsent = await desk.conversations.reply(nobody.id, NewReply("Here"), desk.me)
    assert (await desk.conversations.send_again(unsent.id, desk.me)).delivery is Delivery.NOT_SENT


async def _due(desk: Desk) -> list[outgoing_mail.Waiting]:
    return await desk.store.records.read(partial(outgoing_mail.select_due, now=now(), limit=10))


async def test_an_agent_has_drafts_of_their_own(desk: Desk) -> None:
    ticket = await desk.open()
    mine, theirs = desk.me.agent_id, desk.other.agent_id
    for body in ("Dear", "Dear Rachel"):
        await desk.conversations.save_draft(ticket.id, mine, DraftKind.REPLY, body)
    await desk.conversations.save_draft(ticket.id, mine, DraftKind.NOTE, "Hm")
    draft = await desk.conversations.draft(ticket.id, mine, DraftKind.REPLY)
    assert draft is not None
    assert draft.body == "Dear Rachel"
    assert await desk.conversations.draft(ticket.id, theirs, DraftKind.REPLY) is None
    await desk.conversations.reply(ticket.id, NewReply("Dear Rachel"), desk.me)  # it is not a draft any more
    assert await desk.conversations.draft(ticket.id, mine, DraftKind.REPLY) is None
    assert await desk.conversations.draft(ticket.id, mine, DraftKind.NOTE) is not None
    await desk.conversations.save_draft(ticket.id, mine, DraftKind.NOTE, " ")
    assert await desk.conversations.draft(ticket.id, mine, DraftKind.NOTE) is None
    with pytest.raises(NotFound):
        await desk.conversations.save_draft(4711, mine, DraftKind.NOTE, "x")


async def test_jobs_are_taken_by_one_and_finished(desk: Desk) -> None:
    made = [(await desk.open()).id for _ in range(3)]
    promised = await desk.bulk.update([*made, 4711], {"status": 5}, desk.me)
    assert (await desk.jobs.get(promised.id)).status is JobStatus.QUEUED
    second = Jobs(desk.store.records)  # of another process
    BulkTickets(desk.store.records, desk.tickets, second)
    desk.jobs.start()
    second.start()
    deadline = time.monotonic() + 10
    while (job := await desk.jobs.get(promised.id)).status is not JobStatus.COMPLETED:
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.02)
    await desk.jobs.close()
    await second.close()
    assert (job.status, job.progress, job.total) == (JobStatus.COMPLETED, 4, 4)
    assert job.result is not None
    assert (job.result["succeeded"], [each["id"] for each in job.result["failed"]]) == (3, [4711])
    for each in made:
        assert (await desk.tickets.get(each)).status is Status.CLOSED
    with pytest.raises(NotFound):
        await desk.jobs.get("nothing")


@pytest.mark.engine("sqlite")  # where a test can refuse one kind of change
async def test_heartbeats_go_on_behind_one_that_failed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_rules, "HEARTBEAT_SECONDS", 0.01)
    ended = asyncio.Event()

    async def wait(job: Job) -> None:
        await ended.wait()

    async def change(statement: str) -> None:
        await desk.store.records.write(lambda t: t.records.exec_driver_sql(statement).close())

    async def reach(is_reached: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + 10
        while not is_reached(job := await desk.jobs.get(promised.id)):
            assert time.monotonic() < deadline, job
            await asyncio.sleep(0.005)
        return job

    desk.jobs.handle("wait", wait)
    promised = await desk.jobs.begin("wait", {}, agent_id=None)
    desk.jobs.start()
    await reach(lambda job: job.status is JobStatus.IN_PROGRESS)
    with structlog.testing.capture_logs() as logs:
        await change(REFUSE_HEARTBEATS)
        await reach(lambda job: any(each["event"] == "heartbeat_failed" for each in logs))
    await change("DROP TRIGGER refuse_heartbeats")
    before = await desk.jobs.get(promised.id)
    await reach(lambda job: job.updated_at > before.updated_at)
    ended.set()
    await reach(lambda job: job.status is JobStatus.COMPLETED)
    await desk.jobs.close()


async def test_what_ended_long_ago_is_forgotten(desk: Desk) -> None:
    ended = await desk.bulk.delete([4711], desk.me)
    desk.jobs.start()
    deadline = time.monotonic() + 10
    while (await desk.jobs.get(ended.id)).status is not JobStatus.COMPLETED:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await desk.jobs.close()
    waiting = await desk.bulk.delete([4711], desk.me)
    await desk.store.records.write(lambda t: jobs.delete_ended(t.records, now() + 1))
    assert (await desk.jobs.get(waiting.id)).status is JobStatus.QUEUED
    with pytest.raises(NotFound):
        await desk.jobs.get(ended.id)


async def test_who_changes_what_is_audited(desk: Desk) -> None:
    ticket = await desk.open()
    entry = replace(ENTRY, action="ticket.update", actor="agent:7")
    await desk.tickets.update(ticket.id, {"type": "T"}, Acting(desk.me.agent_id, entry))
    (_, newest), *_ = await desk.store.records.audit_page(None, 1)
    assert (newest.action, newest.actor, newest.target) == ("ticket.update", "agent:7", f"ticket:{ticket.id}")
