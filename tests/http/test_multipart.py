"""Forms: their texts as a tree like JSON's, their files on the disk, in whatever pieces they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.errors import FieldErrors, InvalidJson, RequestTooLarge
from backstory.http.body import BodyRule
from backstory.http.message import FORM_TYPE
from backstory.http.multipart import MAX_PARTS, Form, read_multipart
from backstory.model.form import FormText

RULE = BodyRule((FORM_TYPE,), 1_000, files=100_000)
BOUNDARY = b"----backstory"


def part(name: str, value: bytes, *more: str) -> bytes:
    lines = [f'Content-Disposition: form-data; name="{name}"{"".join(more[:1])}', *more[1:]]
    head = "\r\n".join(lines).encode()
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


def form_of(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def read(body: bytes, sizes: list[int] | None = None, rule: BodyRule = RULE) -> Form:
    """The form that a body is, arriving in pieces of these sizes."""

    def pieces() -> Iterator[bytes]:
        rest = body
        for size in sizes or ():
            yield rest[:size]
            rest = rest[size:]
        yield rest

    arriving = list(pieces())

    async def receive() -> MutableMapping[str, Any]:
        piece = arriving.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(arriving)}

    headers = {b"content-type": b"multipart/form-data; boundary=" + BOUNDARY}
    return asyncio.run(read_multipart(receive, headers, rule))


WHOLE = form_of(
    part("email", b"rachel@example.com"),
    part("tags[]", b"vip"),
    part("tags[]", "größer".encode()),
    part("custom_fields[cf_floor]", b"3"),
    part("other_companies[][company_id]", b"1"),
    part("other_companies[][view_all_tickets]", b"true"),
    part("other_companies[][company_id]", b"2"),
    part("attachments[]", b"\r\n--\x00\xff" * 20_00, '; filename="a b.txt"', "Content-Type: text/plain"),
    part("attachments[]", b"", '; filename="empty"'),
)


@given(st.lists(st.integers(0, 400), max_size=60))
def test_a_form_is_the_same_in_whatever_pieces_it_arrives(sizes: list[int]) -> None:
    form = read(WHOLE, sizes)
    try:
        uploads = form.tree.pop("attachments")
        assert form.tree == {
            "email": "rachel@example.com",
            "tags": ["vip", "größer"],
            "custom_fields": {"cf_floor": "3"},
            "other_companies": [{"company_id": "1", "view_all_tickets": "true"}, {"company_id": "2"}],
        }
        assert all(type(tag) is FormText for tag in form.tree["tags"])
        first, second = uploads
        assert (first.name, first.content_type, first.size) == ("a b.txt", "text/plain", 12_000)
        assert first.content.read() == b"\r\n--\x00\xff" * 20_00
        assert (second.name, second.content_type, second.size) == ("empty", "application/octet-stream", 0)
    finally:
        form.close()


PREAMBLES = [
    b"This is a message in MIME format.\r\n",
    b"\r\n",
    b"\n",
    b"-- not --" + BOUNDARY + b"\r\n-\r\n--" + BOUNDARY[:-1] + b"\r\n",
    b"x" * 3_000 + b"\r\n",
]


@pytest.mark.parametrize("before", PREAMBLES)
@pytest.mark.parametrize("behind", [b"", b"\r\nThe end.\r\n--", part("email", b"nobody@example.com")])
@pytest.mark.parametrize("sizes", [[], [1] * 200, [5, 9] * 20])
def test_what_stands_before_and_behind_the_parts_is_nothing(
    before: bytes, behind: bytes, sizes: list[int]
) -> None:
    """RFC 2046: a preamble and an epilogue are for whoever reads the message without a program."""
    form = read(before + form_of(part("email", b"rachel@example.com")) + behind, sizes)
    form.close()
    assert form.tree == {"email": "rachel@example.com"}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('; filename="../../etc/passwd"', "passwd"),
        ('; filename="C:\\\\folder\\\\report.pdf"', "report.pdf"),
        ('; filename="Rechnung ü.pdf"', "Rechnung ü.pdf"),
        ("; filename*=utf-8''Rechnung%20%C3%BC.pdf", "Rechnung ü.pdf"),
        ('; filename="a%22b.txt"', 'a"b.txt'),
        (f'; filename="{"x" * 300}.txt"', "x" * 251 + ".txt"),
    ],
)
def test_names_of_files_are_names_alone(disposition: str, name: str) -> None:
    form = read(form_of(part("avatar", b"x", disposition)))
    assert form.tree["avatar"].name == name
    form.close()


def test_an_input_that_nobody_filled_is_blank() -> None:
    form = read(form_of(part("avatar", b"", '; filename=""')))
    form.close()
    assert form.tree == {"avatar": ""}


def test_a_large_file_is_not_kept_in_memory() -> None:
    form = read(form_of(part("avatar", b"x" * 90_000, '; filename="a"')))
    assert form.tree["avatar"].content.fileno() > 0  # one that is in memory has none
    form.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        WHOLE[:-10],
        form_of(part("a", b"1")).replace(b"name=", b"nam="),
        form_of(*[part(f"a{n}", b"") for n in range(MAX_PARTS + 1)]),
        form_of(part("a", b"1", "", f"X-Long: {'x' * 10_000}")),
    ],
    ids=["empty", "JSON", "cut off", "no name", "many parts", "long header"],
)
def test_what_is_no_form(body: bytes) -> None:
    with pytest.raises(InvalidJson, match="multipart"):
        read(body)


def test_a_form_without_a_boundary() -> None:
    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing is read")

    with pytest.raises(InvalidJson, match="boundary"):
        asyncio.run(read_multipart(receive, {b"content-type": b"multipart/form-data"}, RULE))


@pytest.mark.parametrize("name", ["a[", "a[]b", "[a]", "a[b][]", "a[b][c][d][e]", ""])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(FieldErrors):
        read(form_of(part(name, b"1")))


@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "a[]"), ("a[b]", "a[]"), ("a[]", "a"), ("a[b]", "a[b]"), ("a[]", "a[][b]")]
)
def test_a_field_that_is_sent_twice(names: tuple[str, str]) -> None:
    with pytest.raises(FieldErrors) as caught:
        read(form_of(*[part(name, b"1") for name in names]))
    assert [fault.code for fault in caught.value.faults] == ["invalid_value"]


@pytest.mark.parametrize("more", ["", '; filename="a.txt"'])
def test_a_list_of_values_and_of_objects(more: str) -> None:
    with pytest.raises(FieldErrors) as caught:
        read(form_of(part("a[]", b"b", more), part("a[][b]", b"1")))
    assert [(fault.field, fault.code) for fault in caught.value.faults] == [("a[][b]", "invalid_value")]


def test_a_text_that_is_not_utf8() -> None:
    with pytest.raises(FieldErrors):
        read(form_of(part("a", b"\xff")))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (form_of(part("a", b"x" * 1_001)), "texts"),
        (form_of(part("a", b"x" * 600), part("b", b"x" * 600)), "texts"),
        (
            form_of(part("a", b"x" * 99_000, '; filename="a"'), part("b", b"x" * 1_001, '; filename="b"')),
            "files",
        ),
        (form_of(*[part(f"{'a' * 100}{n}", b"") for n in range(999)]), "body"),
    ],
)
def test_limits(body: bytes, what: str) -> None:
    with pytest.raises(RequestTooLarge, match=what):
        read(body, [500] * 300)
