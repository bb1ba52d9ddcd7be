"""A batch of far too many items is refused at the price of one that is a little too long."""

from __future__ import annotations

import tracemalloc

import pytest

from backstory.errors import BackstoryError, Code, FieldErrors, InvalidJson
from backstory.http.activities import read_items
from backstory.http.message import NDJSON_TYPE

JSON = "application/json"
MEBI = 1024 * 1024
MANY = b",".join([b"0"] * 1_000_000)


def refusal(body: bytes, kind: str) -> BackstoryError:
    """What a body is refused with, having taken little memory beside it."""
    tracemalloc.start()
    try:
        with pytest.raises(BackstoryError) as caught:
            read_items(body, kind)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEBI, f"{peak:,} bytes"
    return caught.value


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"activities":[%s]}' % MANY, JSON),
        (b'{"\\u0061ctivities":[%s]}' % MANY, JSON),
        (b'{"activities":[],"activities":[%s]}' % MANY, JSON),
        (b'{"activities":[%s' % MANY, JSON),
        (b"x\n" * 1_000_000, NDJSON_TYPE),
        (b"\n" * 1_000_000 + b"x\n" * 1_001, NDJSON_TYPE),
    ],
)
def test_too_many_items_are_not_taken_apart(body: bytes, kind: str) -> None:
    error = refusal(body, kind)
    assert isinstance(error, FieldErrors)
    assert [(fault.field, fault.code) for fault in error.faults] == [("activities", Code.INVALID_VALUE)]
    assert "more than 1,000" in error.faults[0].message


@pytest.mark.parametrize(
    "body", [b"[%s]" % MANY, b'{"other":[%s]}' % MANY, b'{"activities":{"a":[%s]}}' % MANY]
)
def test_what_is_long_and_no_batch_is_not_taken_apart(body: bytes) -> None:
    error = refusal(body, JSON)
    assert isinstance(error, FieldErrors)
    assert [fault.field for fault in error.faults] == ["body"]


def test_what_is_long_and_not_json_is_said_to_be_that() -> None:
    assert isinstance(refusal(b'{"activities":x%s' % MANY, JSON), InvalidJson)


def test_long_items_are_no_more_than_they_are() -> None:
    item = b'{"a":[%s]}' % b",".join([b"0"] * 100)
    assert read_items(b'{"activities":[%s]}' % b",".join([item] * 1_000), JSON) == [item] * 1_000
