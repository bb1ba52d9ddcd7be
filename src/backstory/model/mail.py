"""Mail that goes out: what is kept of it until it was sent, and how it becomes a message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate

import msgspec
from msgspec import Struct

from backstory.model.moment import Microseconds

_PLAIN_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)*", re.ASCII)

MAX_REFERENCES = 20
LOCAL_DOMAIN = "backstory.invalid"


class Sender(Struct, frozen=True):
    """An address that mail is sent from, and the name that stands beside it."""

    email: str
    name: str = ""

    @property
    def domain(self) -> str:
        """What stands behind the @."""
        return self.email.rpartition("@")[2].lower()


class Mail(Struct, frozen=True):
    """A mail to send, but for its attachments, which are those of its conversation."""

    message_id: str
    sender: Sender
    subject: str
    html: str
    text: str
    created_at: Microseconds
    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def recipients(self) -> tuple[str, ...]:
        """Everybody who gets it, each once."""
        return tuple({each.lower(): each for each in (*self.to, *self.cc, *self.bcc)}.values())


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Mail)


def encode_mail(mail: Mail) -> bytes:
    """A mail as it is kept."""
    return _ENCODER.encode(mail)


def decode_mail(kept: bytes) -> Mail:
    """A mail as it was kept."""
    return _DECODER.decode(kept)


class AttachedFile(Struct, frozen=True):
    """A file that goes along with a mail."""

    name: str
    content_type: str
    content: bytes


def build_message(mail: Mail, files: Iterable[AttachedFile]) -> EmailMessage:
    """The message, as text and as HTML, with its files. Built twice it is the same mail: the Message-ID stays.

    Raises:
        ValueError: an address cannot stand in a message.
    """
    message = EmailMessage()
    message["Message-ID"] = mail.message_id
    message["Date"] = formatdate(mail.created_at // 1_000_000)
    message["From"] = _address(mail.sender.email, mail.sender.name)
    message["To"] = [_address(each) for each in mail.to]
    if mail.cc:
        message["Cc"] = [_address(each) for each in mail.cc]
    message["Subject"] = " ".join(mail.subject.split())
    if mail.references:
        message["In-Reply-To"] = mail.references[-1]
        message["References"] = " ".join(mail.references)
    message.set_content(mail.text or " ")
    message.add_alternative(mail.html, subtype="html")
    for file in files:
        main, _, sub = file.content_type.partition("/")
        if main in ("message", "multipart"):  # these would have to be messages themselves
            main, sub = "application", "octet-stream"
        message.add_attachment(file.content, maintype=main, subtype=sub, filename=file.name)
    return message


def _address(email: str, name: str = "") -> Address:
    if not can_be_sent_to(email):
        raise ValueError(f"'{email[:100]}' cannot be an address of a mail")
    user, _, domain = email.strip().rpartition("@")
    return Address(name, user, domain)


def can_be_sent_to(email: str) -> bool:
    """Whether an address can stand in a message: some that contacts have cannot."""
    return _PLAIN_ADDRESS.fullmatch(email.strip()) is not None
