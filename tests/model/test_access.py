"""Keys: what is read from a header, and who may what."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.access import Principal, Right, Role, hash_key, new_key, read_authorization

ADMIN = Principal(1, 1, Role.ADMIN, frozenset(), None)
AGENT = Principal(2, 2, Role.AGENT, frozenset(), None)
SOURCE = Principal(3, None, None, frozenset({"shopify", "stripe"}), None)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        f"Basic {b64('KEY:X')}",
        f"basic {b64('KEY:')}",
        f"BASIC  {b64('KEY:any:thing')}",
        f"Basic {b64('KEY')}",
        b64("KEY:X"),
        f"  {b64('KEY:X')} ",
        "Bearer KEY",
        "bearer   KEY ",
    ],
)
def test_a_key_is_read(header: str) -> None:
    assert read_authorization(header.encode()) == "KEY"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Bearer",
        "Bearer ",
        "Basic !!!",
        f"Basic {b64(':X')}",
        f"Digest {b64('KEY:X')}",
        "KEY",
        "Basic " + base64.b64encode(b"\xff\xfe:X").decode(),
        "Basic S0VZOlg",  # no padding
    ],
)
def test_no_key_is_read(header: str) -> None:
    assert read_authorization(header.encode()) is None


@given(st.binary(max_size=60))
def test_no_header_makes_an_error(header: bytes) -> None:
    assert read_authorization(header) is None or read_authorization(header)


@pytest.mark.parametrize(
    ("principal", "rights"),
    [
        (ADMIN, {Right.NONE, Right.PUBLISH, Right.READ, Right.ADMIN}),
        (AGENT, {Right.NONE, Right.PUBLISH, Right.READ}),
        (SOURCE, {Right.NONE, Right.PUBLISH}),
    ],
)
def test_rights(principal: Principal, rights: set[Right]) -> None:
    assert {right for right in Right if principal.may(right)} == rights


def test_an_application_publishes_under_its_own_names_only() -> None:
    assert SOURCE.may_publish("shopify")
    assert SOURCE.may_publish("stripe")
    assert not any(SOURCE.may_publish(name) for name in ("Shopify", " shopify", "shopify ", "other", ""))
    assert ADMIN.may_publish("anything")
    assert AGENT.may_publish("anything")


def test_keys_are_random_and_kept_as_hashes() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert len({hash_key(key) for key in keys}) == 100
    assert all(key.encode() not in hash_key(key) and len(hash_key(key)) == 32 for key in keys)


def test_the_audit_log_knows_whose_key_it_was() -> None:
    assert (ADMIN.actor, SOURCE.actor) == ("agent:1", "key:3")
