"""Files: names and types that mean nothing to a system, and addresses that cannot be made up."""

from __future__ import annotations

import pytest

from backstory.model.attachment import ADDRESS_SECONDS, Attachment, safe_name, safe_type

NOON = 1_700_000_000_000_000
FILE = Attachment(7, "ticket", 1, "a.txt", "text/plain", 1, "ab" * 16, NOON, NOON)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        (".hidden", "hidden"),
        ("a\r\nSet-Cookie: x.txt", "a_Set-Cookie_ x.txt"),
        ('a"b<c>|?.txt', "a_b_c_.txt"),
        ("..", "file"),
        ("", "file"),
        ("Füße ☂.txt", "Füße ☂.txt"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("x" * 300, "x" * 255),
        ("x" * 300 + "." + "y" * 30, "x" * 255),
    ],
)
def test_names(sent: str, kept: str) -> None:
    assert safe_name(sent) == kept


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("image/png", "image/png"),
        ("Text/HTML; charset=utf-8", "text/html"),
        ("", "application/octet-stream"),
        ("text", "application/octet-stream"),
        ("text/plain\r\nX: y", "application/octet-stream"),
        ("*/*", "application/octet-stream"),
    ],
)
def test_types(sent: str, kept: str) -> None:
    assert safe_type(sent) == kept


def test_an_address_works_for_a_day_and_is_the_same_for_an_hour() -> None:
    hour = NOON - NOON % 3_600_000_000
    expires, signature = FILE.sign(hour)
    assert FILE.sign(hour + 3_599_999_999) == (expires, signature)
    assert FILE.sign(hour + 3_600_000_000) != (expires, signature)
    assert expires - (hour + 3_599_999_999) // 1_000_000 >= ADDRESS_SECONDS
    assert FILE.is_signed(expires, signature, hour)
    assert FILE.is_signed(expires, signature, (expires - 1) * 1_000_000)
    assert not FILE.is_signed(expires, signature, expires * 1_000_000)


def test_a_signature_is_of_one_file_and_one_time() -> None:
    expires, signature = FILE.sign(NOON)
    other = Attachment(8, "ticket", 1, "b.txt", "text/plain", 1, "cd" * 16, NOON, NOON)
    assert not other.is_signed(expires, signature, NOON)
    assert not FILE.is_signed(expires + 1, signature, NOON)
    assert not FILE.is_signed(expires, signature.upper(), NOON)
    assert not FILE.is_signed(expires, "", NOON)
