"""Files that belong to a ticket, a conversation or a contact, and the signed addresses that they are read at."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

from msgspec import Struct

from backstory.model.moment import Microseconds, format_second

MAX_ATTACHMENTS = 20 * 1024 * 1024
"""The files of one ticket or conversation together."""

MAX_FILE_NAME = 255
ADDRESS_SECONDS = 24 * 3600
"""For how long, at least, an attachment's address works."""

_ROUND = 3600
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
PLAIN_TYPE = "application/octet-stream"


class StoredFile(Struct, frozen=True):
    """A file on the disk that no record has yet. `stored_as` is its name there, random and secret."""

    name: str
    content_type: str
    size: int
    stored_as: str


class Attachment(Struct, frozen=True):
    """A file of a record. `owner` is ticket, conversation or contact."""

    id: int
    owner: str
    owner_id: int
    name: str
    content_type: str
    size: int
    stored_as: str
    created_at: Microseconds
    updated_at: Microseconds

    def answer(self, address: str) -> dict[str, Any]:
        """The attachment with the key set of the contract. `address` is its own, signed and absolute."""
        return {
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": self.size,
            "attachment_url": address,
            "thumb_url": address if self.content_type.startswith("image/") else None,
            "created_at": format_second(self.created_at),
            "updated_at": format_second(self.updated_at),
        }

    def sign(self, moment: Microseconds) -> tuple[int, str]:
        """Until when (seconds since the epoch) an address that is made now works, and its signature.

        The same for an hour, so that what is shown again need not be fetched again.
        """
        seconds = moment // 1_000_000
        expires = seconds - seconds % _ROUND + _ROUND + ADDRESS_SECONDS
        return expires, self._signature(expires)

    def is_signed(self, expires: int, signature: str, moment: Microseconds) -> bool:
        """Whether a signature is ours, and still in force."""
        ours = self._signature(expires)
        return hmac.compare_digest(ours.encode(), signature.encode()) and expires > moment // 1_000_000

    def _signature(self, expires: int) -> str:
        # The name on the disk is random and told to nobody, so every file has a secret of its own.
        return hmac.new(self.stored_as.encode(), f"{self.id}:{expires}".encode(), hashlib.sha256).hexdigest()


def safe_name(name: str) -> str:
    """A file's name without what means something to a system: no folders, no control characters, not hidden."""
    cleaned = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip(" .")
    if len(cleaned) <= MAX_FILE_NAME:
        return cleaned or "file"
    stem, dot, ending = cleaned.rpartition(".")
    if not dot or len(ending) > 20:
        return cleaned[:MAX_FILE_NAME]
    return f"{stem[: MAX_FILE_NAME - len(ending) - 1]}.{ending}"


def safe_type(content_type: str) -> str:
    """A file's media type without parameters; what is none is bytes."""
    media = content_type.partition(";")[0].strip().lower()
    return media if _MEDIA_TYPE.fullmatch(media) else PLAIN_TYPE
