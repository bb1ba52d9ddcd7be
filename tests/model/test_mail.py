"""Mail as a message: the same each time, and no address or subject adds a header."""

from __future__ import annotations

import email
import email.policy

import pytest
from msgspec.structs import replace

from backstory.model.mail import (
    AttachedFile,
    Mail,
    Sender,
    build_message,
    can_be_sent_to,
    decode_mail,
    encode_mail,
)

MAIL = Mail(
    message_id="<1@acme.example>",
    sender=Sender("support@acme.example", "Acme, Support"),
    subject="Re: Grüße",
    html="<p>Grüße</p>",
    text="Grüße",
    created_at=1_700_000_000_000_000,
    to=("rachel@example.com",),
    cc=("RACHEL@example.com", "monica@example.com"),
    bcc=("boss@example.com",),
    references=("<0@acme.example>", "<00@acme.example>"),
)


def test_it_is_kept_as_it_is() -> None:
    assert decode_mail(encode_mail(MAIL)) == MAIL
    assert MAIL.recipients == ("RACHEL@example.com", "monica@example.com", "boss@example.com")


def test_the_message_can_be_read_again() -> None:
    files = [AttachedFile("ü.txt", "text/plain", b"x"), AttachedFile("m.eml", "message/rfc822", b"y")]
    raw = build_message(MAIL, files).as_bytes(policy=email.policy.SMTP)
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert str(message["Subject"]) == "Re: Grüße"
    assert str(message["From"]) == '"Acme, Support" <support@acme.example>'
    assert (message["Bcc"], str(message["In-Reply-To"])) == (None, "<00@acme.example>")
    assert str(message["References"]) == "<0@acme.example> <00@acme.example>"
    assert str(message["Date"]) == "Tue, 14 Nov 2023 22:13:20 -0000"
    names = [(part.get_filename(), part.get_content_type()) for part in message.iter_attachments()]
    assert names == [("ü.txt", "text/plain"), ("m.eml", "application/octet-stream")]
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "Grüße"


def test_a_subject_stays_one_line() -> None:
    message = build_message(replace(MAIL, subject="Hi\r\nBcc: evil@example.com"), [])
    assert str(message["Subject"]) == "Hi Bcc: evil@example.com"
    assert message["Bcc"] is None


@pytest.mark.parametrize(
    ("address", "can"),
    [
        ("a@b.example", True),
        ("a.b+c@d.example", True),
        ("ödd@b.example", False),
        ("a b@c.example", False),
        ("a@b\r\nBcc: c@d.example", False),
        ('"a"x@b.example', False),
        ("a@@b", False),
        ("a..b@c.example", True),
        (" a@b.example ", True),
        ("a@[127.0.0.1]", False),
        ("", False),
    ],
)
def test_to_which_addresses_mail_can_go(address: str, can: bool) -> None:
    assert can_be_sent_to(address) is can
    if can:
        message = build_message(replace(MAIL, to=(address,)), []).as_bytes(policy=email.policy.SMTP)
        assert address.strip().encode() in message
    else:
        with pytest.raises(ValueError, match="cannot be an address"):
            build_message(replace(MAIL, to=(address,)), [])
