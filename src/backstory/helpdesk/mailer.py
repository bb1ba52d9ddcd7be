"""Mail goes out in the background: what a change has queued is sent, as often as it takes, and nothing is lost.

A crash between sending and noting it sends a mail twice; its Message-ID is the same, and mail programs show it once.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import NamedTuple

import aiosmtplib
import structlog

from backstory.config import MailServer
from backstory.errors import NotFound
from backstory.helpdesk.files import AttachmentFiles
from backstory.helpdesk.worker import Worker
from backstory.model.conversation import Delivery
from backstory.model.mail import AttachedFile, build_message
from backstory.model.moment import now
from backstory.observe import Metrics
from backstory.store.base import Records
from backstory.store.records import attachments, conversations, outgoing_mail
from backstory.store.records.outgoing_mail import Waiting

SEND_SECONDS = 60
"""For each step of the conversation with the mail server."""

WHOLE_SECONDS = 240
"""For all of them."""

FIRST_PAUSE = 30
LONGEST_PAUSE = 3600
GIVE_UP_SECONDS = 2 * 24 * 3600
LOOK_SECONDS = 5
"""How often it looks for what other processes have queued."""

LEASE_SECONDS = 300
"""For how long a mail that is being sent is left alone by other processes."""

_PIECE = 20
_SECOND = 1_000_000

log = structlog.get_logger(__name__)


class Outcome(NamedTuple):
    """What came of a try: sent, or why not and whether trying again can help."""

    sent: bool
    error: str | None = None
    final: bool = False


class Mailer(Worker):
    """Sends what waits. `start` it on an event loop, `wake` it behind a commit, `close` it at the end."""

    def __init__(
        self, records: Records, files: AttachmentFiles, server: MailServer, metrics: Metrics
    ) -> None:
        super().__init__("mail", LOOK_SECONDS)
        self._records = records
        self._files = files
        self._server = server
        self._metrics = metrics

    async def work(self) -> bool:
        """See `Worker.work`: send what is due."""
        due = await self._records.read(partial(outgoing_mail.select_due, now=now(), limit=_PIECE))
        for waiting in due:
            if await self._claim(waiting):
                await self._note(waiting, await self._send(waiting))
        self._metrics.mail_waiting.set(await self._records.read(outgoing_mail.count_waiting))
        return bool(due)

    async def _claim(self, waiting: Waiting) -> bool:
        until = now() + LEASE_SECONDS * _SECOND
        return await self._records.write(
            lambda transaction: outgoing_mail.claim(transaction.records, waiting, until)
        )

    async def _send(self, waiting: Waiting) -> Outcome:
        mail, server = waiting.mail, self._server
        try:
            message = build_message(mail, await self._attached(waiting.conversation_id))
            async with asyncio.timeout(WHOLE_SECONDS):  # well within the lease
                refused, _ = await aiosmtplib.send(
                    message,
                    sender=mail.sender.email,
                    recipients=list(mail.recipients),
                    hostname=server.host,
                    port=server.port,
                    username=server.user or None,
                    password=server.password or None,
                    use_tls=server.tls == "tls",
                    start_tls=server.tls == "starttls",
                    timeout=SEND_SECONDS,
                )
        except (aiosmtplib.SMTPException, OSError, ValueError, NotFound) as error:
            return Outcome(False, _reason(error), _is_final(error))
        return Outcome(True, _refusals(refused))

    async def _attached(self, conversation_id: int) -> list[AttachedFile]:
        found = await self._records.read(
            partial(attachments.select_by_owners, owner=conversations.OWNER, owner_ids=[conversation_id])
        )
        return [
            AttachedFile(each.name, each.content_type, await self._files.read(each.stored_as))
            for each in found.get(conversation_id, ())
        ]

    async def _note(self, waiting: Waiting, outcome: Outcome) -> None:
        at = now()
        expired = at - waiting.created_at > GIVE_UP_SECONDS * _SECOND
        if outcome.sent or outcome.final or expired:
            delivery = Delivery.SENT if outcome.sent else Delivery.NOT_SENT
            await self._records.write(
                lambda transaction: outgoing_mail.settle(
                    transaction.records, waiting, delivery, outcome.error, at
                )
            )
        else:
            pause = min(FIRST_PAUSE * 2**waiting.attempts, LONGEST_PAUSE)
            until = at + int(pause * _SECOND)
            await self._records.write(
                lambda transaction: outgoing_mail.postpone(
                    transaction.records, waiting, until, outcome.error or "", at
                )
            )
        self._metrics.mail_tries.labels("sent" if outcome.sent else "failed").inc()
        if not outcome.sent:
            # The reason may quote addresses, and logs hold nobody's.
            log.warning("mail_not_sent", conversation=waiting.conversation_id, tries=waiting.attempts + 1)


def _is_final(error: Exception) -> bool:
    """Whether trying again cannot help: the recipients or the mail itself are refused, not we."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(each.code >= 500 for each in error.recipients)
    if isinstance(error, aiosmtplib.SMTPDataError):
        return error.code >= 500
    return isinstance(error, ValueError | NotFound)


def _reason(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return "; ".join(f"{each.recipient}: {each.code} {each.message}" for each in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"The mail server answered {error.code} {error.message}"
    if isinstance(error, aiosmtplib.SMTPException | OSError):
        return f"The mail server cannot be reached: {error}"
    return str(error)


def _refusals(refused: dict[str, aiosmtplib.SMTPResponse]) -> str | None:
    """Whom a mail that was sent did not reach."""
    return "; ".join(f"{each}: {answer.code} {answer.message}" for each, answer in refused.items()) or None
