"""Admission: the fast path and the slow path agree, and what is admitted is what was sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backstory.errors import AccessDenied, Code, FieldErrors, InvalidJson
from backstory.ingest.admit import IDEMPOTENCY_KEY_LIFETIME, Arrival, admit
from backstory.ingest.validate import collect_faults
from backstory.model.access import Principal
from backstory.model.activity import MAX_CONTEXT_BYTES, Publication
from backstory.model.identity import Kind
from backstory.model.json_text import parse_exact
from backstory.model.moment import format_moment, parse_moment
from tests.ingest.requests import ADMIN, ARRIVAL, GOOD_REQUESTS, RECEIVED, REQUESTS, Literal, request, write

SHOP = Principal(9, None, None, frozenset({"shopify"}), None)


def admitted(body: str | bytes, arrival: Arrival = ARRIVAL) -> Publication | None:
    """The publication; None where the request has faults."""
    try:
        return admit(body.encode() if isinstance(body, str) else body, arrival)
    except FieldErrors as refused:
        if not refused.faults:
            raise AssertionError("refused without a reason") from refused
        return None


def body_of(publication: Publication) -> dict[str, Any]:
    """The kept body, parsed; its context as text."""
    kept: dict[str, Any] = msgspec.json.decode(publication.body, type=dict[str, msgspec.Raw])
    return {
        name: bytes(raw).decode() if name == "context" else json.loads(bytes(raw))
        for name, raw in kept.items()
    }


@settings(max_examples=1_500)
@given(REQUESTS, st.booleans())
@example(request({"id": Literal("5.0")}), False)
@example(request({"email": []}), False)
@example(request({"identities": [{"source": "s", "id": "1"}] * 21}), True)
@example(request(name="\x1c"), True)
@example(request(context={"a\0b": "c\0d"}), True)
@example({"activity": request()["activity"], "contact": None}, False)
def test_the_two_paths_agree(tree: Any, ascii_only: bool) -> None:
    body = write(tree, ascii_only=ascii_only)
    faults = collect_faults(parse_exact(body.encode()))
    assert (admitted(body) is None) == bool(faults), faults


@settings(max_examples=400)
@given(GOOD_REQUESTS, st.booleans())
def test_a_good_request_is_admitted_and_kept_exactly(tree: dict[str, Any], ascii_only: bool) -> None:
    publication = admitted(write(tree, ascii_only=ascii_only))
    assert publication is not None
    sent, contact = tree["activity"], tree["contact"]
    timestamp = RECEIVED if sent.get("timestamp") is None else parse_moment(sent["timestamp"])
    described = sent.get("object")
    assert body_of(publication) == {
        "external_id": sent.get("id") or None,
        "name": sent["name"].strip(),
        "timestamp": format_moment(timestamp),
        "description": sent.get("description"),
        "link": sent.get("link") or None,
        "actor": {"type": None, "id": None, "name": None} | sent["actor"],
        "source": {"name": None, "id": None} | sent["source"],
        "object": None
        if described is None
        else {"type": None, "id": None, "name": None} | described | {"link": described.get("link") or None},
        "context": write(sent.get("context"), ascii_only=ascii_only),
        "is_actor": contact.get("is_actor") is not False,
        "received_at": format_moment(RECEIVED),
    }
    assert (publication.timestamp, publication.received, publication.key_id) == (timestamp, RECEIVED, 1)
    assert (publication.name, publication.source) == (sent["name"].strip(), sent["source"]["name"])
    assert publication.actor_type == sent["actor"]["type"]
    assert publication.contact.unique_external_id == contact["unique_external_id"]


def test_the_canonical_request_is_admitted(seed_request: bytes) -> None:
    publication = admitted(seed_request)
    assert publication is not None
    sent = json.loads(seed_request)["activity"]
    assert json.loads(body_of(publication)["context"]) == sent["context"]
    assert list(json.loads(body_of(publication)["context"])) == list(sent["context"])


@pytest.mark.parametrize(
    "context",
    [
        "{}",
        "{ }",
        '{"a":1.10,"b":12345678901234567890,"c":1e400,"d":-0,"e":1E+2}',
        '{"z": 1,\n\t"a": {"b" : [ ]},\r\n "":null}',
        '{"text":"\\u0000 \\ud83d\\ude00 \\u00e9 \\/ \\"", "\\u0000": "\\n"}',
        '{"rtl":"\u202eשלום مرحبا", "emoji":"👩‍👩‍👧", "line":"\u2028"}',
        '{"a":' * 32 + "1" + "}" * 32,
        '{"wide":[' + ",".join("[]" for _ in range(1000)) + "]}",
    ],
)
def test_context_is_kept_byte_for_byte(context: str) -> None:
    body = write(request(context=Literal(context)))
    publication = admitted(body)
    assert publication is not None
    assert body_of(publication)["context"] == context


@pytest.mark.parametrize("padding", ["", " ", "\n\t "])
def test_space_around_the_context_makes_no_difference(padding: str) -> None:
    body = write(request(context=Literal(padding + '{"a": 1}' + padding)))
    publication = admitted(body)
    assert publication is not None
    assert body_of(publication)["context"].strip() == '{"a": 1}'


@pytest.mark.parametrize("extra", [0, 1])
def test_the_largest_context(extra: int) -> None:
    value = "é" * 1_000 + "x" * (MAX_CONTEXT_BYTES - len('{"a":""}') - 2_000 + extra)
    body = write(request(context=Literal(f'{{"a":"{value}"}}')))
    if extra:
        with pytest.raises(FieldErrors) as caught:
            admit(body.encode(), ARRIVAL)
        assert [(fault.field, fault.code) for fault in caught.value.faults] == [
            ("activity.context", Code.INVALID_VALUE)
        ]
    else:
        assert admitted(body) is not None


def test_a_context_that_is_too_large_is_reported_beside_everything_else() -> None:
    body = write(request({}, name="", context={"a": "x" * MAX_CONTEXT_BYTES}))
    with pytest.raises(FieldErrors) as caught:
        admit(body.encode(), ARRIVAL)
    assert {fault.field for fault in caught.value.faults} == {"activity.name", "activity.context", "contact"}


@pytest.mark.parametrize("levels", [*range(28, 36), 100, 500, *range(940, 1_000), 10_000])
@pytest.mark.parametrize("place", ["name", "context", "contact"])
def test_every_depth_has_a_documented_answer(levels: int, place: str) -> None:
    deep = Literal("[" * levels + '"\\ud83d\\ude00"' + "]" * levels)
    tree = {"name": request(name=deep), "context": request(context={"a": deep}), "contact": request(deep)}[
        place
    ]
    fields: list[str] | None = []
    try:
        admit(write(tree).encode(), ARRIVAL)
    except FieldErrors as refused:
        fields = [fault.field for fault in refused.faults]
    except InvalidJson:
        fields = None
    at = {"name": "activity.name", "context": "activity.context", "contact": "contact"}[place]
    if place == "context" and levels < 32:
        assert fields == []
    else:
        assert fields == [at] or (fields is None and levels > 500)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b'{"activity": {}, "activity": {}}',
        b"[" * 100_000,
        b'{"a":"\\ud800"}',
        b"\xff",
        b"NaN",
    ],
)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        admit(body, ARRIVAL)


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_an_unforeseen_error(body: bytes) -> None:
    with pytest.raises((InvalidJson, FieldErrors)):
        admit(body, ARRIVAL)


# Rights.


def test_rights_come_before_faults() -> None:
    bad = write(request({}, name="", source={"name": "stripe"}))
    with pytest.raises(AccessDenied):
        admit(bad.encode(), Arrival(SHOP, RECEIVED))
    with pytest.raises(AccessDenied):
        admit(write(request(source={"name": "stripe"})).encode(), Arrival(SHOP, RECEIVED))
    with pytest.raises(FieldErrors):
        admit(write(request({}, name="")).encode(), Arrival(SHOP, RECEIVED))
    with pytest.raises(FieldErrors):
        admit(write(request(source={})).encode(), Arrival(SHOP, RECEIVED))
    assert admitted(write(request()), Arrival(SHOP, RECEIVED)) is not None


# Identifiers.


def test_identifiers_come_in_the_order_of_their_strength() -> None:
    contact = {
        "mobile": "+44 7700 900124",
        "phone": "07700 900123",
        "twitter_id": "@r",
        "facebook_id": "fb",
        "email": " Rachel@Example.com",
        "identities": [{"source": "stripe", "id": "cus_9"}, {"source": "shop", "id": "7"}],
        "unique_external_id": " X1 ",
        "id": 80001,
    }
    publication = admitted(write(request(contact)), Arrival(ADMIN, RECEIVED, None, "GB"))
    assert publication is not None
    assert [(each.kind, each.value, each.field) for each in publication.identifiers] == [
        (Kind.ID, "80001", "contact.id"),
        (Kind.EXTERNAL_ID, " X1 ", "contact.unique_external_id"),
        (Kind.IDENTITY, "cus_9", "contact.identities.0"),
        (Kind.IDENTITY, "7", "contact.identities.1"),
        (Kind.EMAIL, "Rachel@Example.com", "contact.email"),
        (Kind.FACEBOOK, "fb", "contact.facebook_id"),
        (Kind.TWITTER, "@r", "contact.twitter_id"),
        (Kind.PHONE, "07700 900123", "contact.phone"),
        (Kind.MOBILE, "+44 7700 900124", "contact.mobile"),
    ]
    assert [each.key for each in publication.identifiers][-2:] == ["+447700900123", "+447700900124"]


def test_blank_identifiers_count_as_absent() -> None:
    names = ("unique_external_id", "email", "facebook_id", "twitter_id", "phone", "mobile")
    for blank in ("", "  ", "\t"):
        assert admitted(write(request(dict.fromkeys(names, blank)))) is None
        publication = admitted(write(request(dict.fromkeys(names, blank) | {"id": 1, "name": blank})))
        assert publication is not None
        assert [each.kind for each in publication.identifiers] == [Kind.ID]
        assert publication.contact_name is None


@pytest.mark.parametrize("blank", ["", " \t"])
def test_an_identity_without_an_id_counts_as_absent(blank: str) -> None:
    one, nobody = {"source": "stripe", "id": "1"}, {"source": "stripe", "id": blank}
    assert admitted(write(request({"identities": [nobody]}))) is None
    publication = admitted(write(request({"identities": [nobody, one]})))
    assert publication is not None
    assert [each.field for each in publication.identifiers] == ["contact.identities.1"]


def test_an_identity_sent_twice_counts_once() -> None:
    one, other = {"source": "s", "id": "1"}, {"source": "s", "id": "2"}
    publication = admitted(write(request({"identities": [one, one, other, one]})))
    assert publication is not None
    assert [each.field for each in publication.identifiers] == [
        "contact.identities.0",
        "contact.identities.2",
    ]


# Replays.


def hash_of(tree: Any, arrival: Arrival = ARRIVAL) -> tuple[bytes | None, int | None]:
    publication = admitted(write(tree), arrival)
    assert publication is not None
    return publication.idempotency, publication.expires


def test_what_makes_a_replay() -> None:
    def sent(
        source: str, id_: str, key: str | None = None, principal: Principal = ADMIN
    ) -> tuple[bytes | None, int | None]:
        return hash_of(request(source={"name": source}, id=id_), Arrival(principal, RECEIVED, key))

    assert sent("shopify", "1") == sent("shopify", "1", "header") == sent("shopify", "1", None, SHOP)
    assert sent("shopify", "1")[1] is None
    assert sent("shopify", "1") != sent("stripe", "1")
    assert sent("shopify", "1") != sent("shopify", "2")
    assert sent("shopify", "1") != sent("Shopify", "1")
    assert sent("a", "b") != sent("ab", "")
    assert sent("shopify", "") == (None, None)
    keyed = sent("shopify", "", "header")
    assert keyed[1] == RECEIVED + IDEMPOTENCY_KEY_LIFETIME == RECEIVED + 24 * 3600 * 1_000_000
    assert keyed == sent("stripe", "", "header")
    assert keyed != sent("shopify", "", "other")
    assert keyed != sent("shopify", "", "header", SHOP)


def test_the_digest_is_of_the_activity_alone() -> None:
    def digest_of(tree: Any) -> bytes | None:
        publication = admitted(write(tree))
        return publication.digest if publication else None

    first = digest_of(request(id="1", context={"a": 1, "b": 2}))
    assert first == digest_of(request({"twitter_id": "@other"}, id="1", context={"b": 2, "a": 1}))
    assert first != digest_of(request(id="1", context={"a": "1", "b": 2}))
    assert first != digest_of(request(id="1", context={"a": 1, "b": 2}, description=""))
