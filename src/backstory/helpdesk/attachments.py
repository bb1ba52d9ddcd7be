"""Attachments as they are read: what is known of one, and its bytes."""

from __future__ import annotations

from functools import partial

from backstory.helpdesk.files import AttachmentFiles
from backstory.model.attachment import Attachment
from backstory.store.base import Records
from backstory.store.records import attachments


class Attachments:
    """The attachments of an installation."""

    def __init__(self, records: Records, files: AttachmentFiles) -> None:
        self._records = records
        self._files = files

    async def find(self, attachment_id: int) -> Attachment | None:
        """One attachment; None where there is none."""
        return await self._records.read(partial(attachments.select_attachment, attachment_id=attachment_id))

    async def read(self, attachment: Attachment) -> bytes:
        """Its bytes.

        Raises:
            NotFound: they are not on the disk any more.
        """
        return await self._files.read(attachment.stored_as)
