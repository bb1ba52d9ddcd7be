"""Faults: every field of the contract with its code and its path, and all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backstory.errors import Code, FieldErrors
from backstory.ingest.admit import admit
from backstory.ingest.validate import collect_faults
from backstory.model.json_text import parse_exact
from tests.ingest.requests import ARRIVAL, Literal, request, write

MISSING, INVALID, TYPE, UNKNOWN = (
    Code.MISSING_FIELD,
    Code.INVALID_VALUE,
    Code.DATATYPE_MISMATCH,
    Code.INVALID_FIELD,
)


def faults_of(tree: Any) -> list[tuple[str, Code]]:
    """What `admit` refuses a request for."""
    body = write(tree).encode()
    with pytest.raises(FieldErrors) as caught:
        admit(body, ARRIVAL)
    faults = [(fault.field, fault.code) for fault in caught.value.faults]
    assert faults == [(fault.field, fault.code) for fault in collect_faults(parse_exact(body))]
    assert all(len(fault.message) > 10 for fault in caught.value.faults)
    return faults


def put(path: str, value: Any) -> dict[str, Any]:
    """A request that is good but for this value at this path."""
    tree = request(
        {"email": "rachel@example.com", "identities": [{"source": "stripe", "id": "cus_9"}]}, object={}
    )
    place: Any = tree
    *parents, last = path.split(".")
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    place[int(last) if isinstance(place, list) else last] = value
    return tree


STRINGS = {  # path: longest
    "activity.name": 255,
    "activity.description": 4_096,
    "activity.link": 2_048,
    "activity.id": 255,
    "activity.actor.type": 255,
    "activity.actor.id": 1_024,
    "activity.actor.name": 1_024,
    "activity.source.name": 255,
    "activity.source.id": 1_024,
    "activity.object.type": 255,
    "activity.object.id": 1_024,
    "activity.object.link": 2_048,
    "activity.object.name": 1_024,
    "contact.unique_external_id": 255,
    "contact.facebook_id": 255,
    "contact.twitter_id": 255,
    "contact.name": 255,
    "contact.identities.0.source": 255,
    "contact.identities.0.id": 255,
}
SPECIAL = {
    "activity.timestamp": "2024-05-17",
    "contact.email": "a@b",
    "contact.phone": "+447700900123",
    "contact.mobile": "1",
}
NO_STRINGS: tuple[Any, ...] = (Literal("5"), Literal("1.5"), True, {}, ["x"])
OBJECTS = (
    "activity",
    "contact",
    "activity.actor",
    "activity.source",
    "activity.object",
    "contact.identities.0",
)
MANDATORY = (
    *("activity.name", "activity.actor", "activity.actor.type", "activity.source", "activity.source.name"),
    *("contact.identities.0.source", "contact.identities.0.id", "activity", "contact"),
)
NOT_BLANK = (
    "activity.name",
    "activity.actor.type",
    "activity.source.name",
    "contact.identities.0.source",
)


@pytest.mark.parametrize(("path", "limit"), STRINGS.items())
def test_strings(path: str, limit: int) -> None:
    admit(write(put(path, "😀" * limit)).encode(), ARRIVAL)
    assert faults_of(put(path, "x" * (limit + 1))) == [(path, INVALID)]
    assert faults_of(put(path, "a\0b")) == [(path, INVALID)]
    for value in (*NO_STRINGS, []):
        assert faults_of(put(path, value)) == [(path, TYPE)]


@pytest.mark.parametrize(("path", "good"), SPECIAL.items())
def test_strings_of_a_form(path: str, good: str) -> None:
    admit(write(put(path, good)).encode(), ARRIVAL)
    for value in NO_STRINGS:
        assert faults_of(put(path, value)) == [(path, TYPE)]
    for text in (f"{good}\0", "nothing of the kind"):
        assert faults_of(put(path, text)) == [(path, INVALID)]


@pytest.mark.parametrize("path", NOT_BLANK)
@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0\u3000", "\u2028"])
def test_blank_where_something_must_be(path: str, blank: str) -> None:
    assert faults_of(put(path, blank)) == [(path, INVALID)]


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in (*STRINGS, "contact.email", "contact.phone", "contact.mobile")
        if path not in NOT_BLANK
    ],
)
def test_blank_elsewhere_is_possible(path: str) -> None:
    admit(write(put(path, "")).encode(), ARRIVAL)


@pytest.mark.parametrize("path", OBJECTS)
@pytest.mark.parametrize("value", [True, "x", Literal("5"), []])
def test_what_should_be_an_object(path: str, value: Any) -> None:
    assert faults_of(put(path, value)) == [(path, TYPE)]


@pytest.mark.parametrize("path", OBJECTS)
@pytest.mark.parametrize("value", [None, 1, {"x": []}])
def test_a_field_that_the_contract_does_not_have(path: str, value: Any) -> None:
    assert faults_of(put(f"{path}.colour", value)) == [(f"{path}.colour", UNKNOWN)]


def test_an_unknown_field_at_the_top() -> None:
    assert faults_of(request() | {"colour": 1}) == [("colour", UNKNOWN)]


def without(path: str) -> Iterator[dict[str, Any]]:
    """A request with null at a path, and one where the key is not there."""
    yield put(path, None)
    tree = put(path, None)
    place: Any = tree
    *parents, last = path.split(".")
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    del place[last]
    yield tree


@pytest.mark.parametrize("path", MANDATORY)
def test_an_absent_mandatory_field_is_one_fault_and_null_is_absent(path: str) -> None:
    for tree in without(path):
        assert faults_of(tree) == [(path, MISSING)]


@pytest.mark.parametrize(
    "path",
    [*(path for path in STRINGS if path not in MANDATORY), "activity.context", "activity.object", *SPECIAL],
)
def test_null_is_absent_where_nothing_is_mandatory(path: str) -> None:
    for tree in without(path):
        admit(write(tree).encode(), ARRIVAL)


@pytest.mark.parametrize("body", ["null", "1", '"x"', "[]", "true", "1.5"])
def test_the_body_should_be_an_object(body: str) -> None:
    assert faults_of(Literal(body)) == [("body", TYPE)]


def test_the_empty_object() -> None:
    assert faults_of({}) == [("activity", MISSING), ("contact", MISSING)]


@pytest.mark.parametrize("name", ["backstory", "Backstory", " BACKSTORY\t"])
def test_the_reserved_source(name: str) -> None:
    assert faults_of(put("activity.source.name", name)) == [("activity.source.name", INVALID)]


def test_a_name_is_measured_after_trimming() -> None:
    admit(write(put("activity.name", f"  {'x' * 255}\n")).encode(), ARRIVAL)
    assert faults_of(put("activity.name", f" {'x' * 256} ")) == [("activity.name", INVALID)]


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2016-12-31T23:59:60Z", "0000-01-01", "0001-01-01T00:00+00:01"]
)
def test_times(value: str) -> None:
    assert faults_of(put("activity.timestamp", value)) == [("activity.timestamp", INVALID)]


@pytest.mark.parametrize("value", [True, "x", Literal("5"), [], [{}]])
def test_context_should_be_an_object(value: Any) -> None:
    assert faults_of(put("activity.context", value)) == [("activity.context", TYPE)]


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ('{"a":[', "]}")])
def test_context_is_32_levels_deep_at_most(opening: str, closing: str) -> None:
    levels = 32 // opening.count("[") // 2 if "[" in opening else 32
    admit(
        write(put("activity.context", Literal(opening * levels + "1" + closing * levels))).encode(), ARRIVAL
    )
    deeper = Literal(opening * levels + "[1]" + closing * levels)
    assert faults_of(put("activity.context", deeper)) == [("activity.context", INVALID)]


# The contact.


@pytest.mark.parametrize(
    ("literal", "code"),
    [
        *(
            ("0", INVALID),
            ("-1", INVALID),
            ("-0", INVALID),
            ("9223372036854775808", INVALID),
            ("9" * 40, INVALID),
        ),
        *(
            ("1.0", TYPE),
            ("5.5", TYPE),
            ("1e3", TYPE),
            ('"7"', TYPE),
            ("true", TYPE),
            ("[]", TYPE),
            ("{}", TYPE),
        ),
    ],
)
def test_contact_ids(literal: str, code: Code) -> None:
    assert faults_of(put("contact.id", Literal(literal))) == [("contact.id", code)]


@pytest.mark.parametrize("literal", ["1", "80001", "9223372036854775807"])
def test_contact_ids_that_can_be(literal: str) -> None:
    assert admit(write(request({"id": Literal(literal)})).encode(), ARRIVAL).identifiers[0].key == literal


@pytest.mark.parametrize("value", ["nobody", "@b", "a@", "a b@c", "x" * 254 + "@b"])
def test_emails(value: str) -> None:
    assert faults_of(put("contact.email", value)) == [("contact.email", INVALID)]


@pytest.mark.parametrize("field", ["phone", "mobile"])
@pytest.mark.parametrize("value", ["none", "+", "1" * 256])
def test_numbers(field: str, value: str) -> None:
    assert faults_of(put(f"contact.{field}", value)) == [(f"contact.{field}", INVALID)]


@pytest.mark.parametrize("value", ["true", Literal("1"), Literal("0"), [], {}])
def test_is_actor(value: Any) -> None:
    assert faults_of(put("contact.is_actor", value)) == [("contact.is_actor", TYPE)]


@pytest.mark.parametrize("value", [True, "x", Literal("5"), {}])
def test_identities_should_be_an_array(value: Any) -> None:
    assert faults_of(put("contact.identities", value)) == [("contact.identities", TYPE)]


def test_identities_each_with_its_place() -> None:
    good, many = {"source": "s", "id": "1"}, [{"source": "s", "id": str(number)} for number in range(20)]
    admit(write(put("contact.identities", many)).encode(), ARRIVAL)
    assert faults_of(put("contact.identities", [*many, good])) == [("contact.identities", INVALID)]
    assert faults_of(put("contact.identities", [good, {"source": "", "id": None}, "x", None])) == [
        ("contact.identities.1.source", INVALID),
        ("contact.identities.1.id", MISSING),
        ("contact.identities.2", TYPE),
        ("contact.identities.3", TYPE),
    ]


@pytest.mark.parametrize(
    "contact",
    [
        {},
        {"name": "Rachel"},
        {"is_actor": True, "name": "Rachel"},
        {"email": ""},
        {"email": None, "phone": " ", "identities": []},
        {"identities": None},
        {"unique_external_id": "\t"},
    ],
)
def test_a_contact_that_names_nobody(contact: Any) -> None:
    assert faults_of(request(contact)) == [("contact", MISSING)]


@pytest.mark.parametrize(
    "contact",
    [
        {"id": Literal("1")},
        {"unique_external_id": "x"},
        {"identities": [{"source": "s", "id": "1"}]},
        {"email": "a@b"},
        {"facebook_id": "f"},
        {"twitter_id": "t"},
        {"phone": "+447700900123"},
        {"mobile": "07700 900123"},
    ],
)
def test_each_identifier_is_enough(contact: Any) -> None:
    assert len(admit(write(request(contact)).encode(), ARRIVAL).identifiers) == 1


# All at once.


def test_every_fault_is_reported_at_once_in_the_order_of_the_contract() -> None:
    tree = {
        "activity": {
            "colour": "red",
            "name": " ",
            "timestamp": "soon",
            "description": "x" * 4_097,
            "link": 5,
            "actor": {"type": None, "id": Literal("7"), "age": 3},
            "source": {"name": "backstory", "id": []},
            "object": {"type": True, "link": "x" * 2_049},
            "context": [],
            "id": "\0",
        },
        "contact": {
            "id": "7",
            "email": "nobody",
            "phone": "none",
            "identities": [{"source": "s"}],
            "is_actor": "yes",
            "shoe size": 42,
        },
        "b": 1,
        "a": 2,
    }
    assert faults_of(tree) == [
        ("activity.name", INVALID),
        ("activity.timestamp", INVALID),
        ("activity.description", INVALID),
        ("activity.link", TYPE),
        ("activity.actor.type", MISSING),
        ("activity.actor.id", TYPE),
        ("activity.actor.age", UNKNOWN),
        ("activity.source.name", INVALID),
        ("activity.source.id", TYPE),
        ("activity.object.type", TYPE),
        ("activity.object.link", INVALID),
        ("activity.context", TYPE),
        ("activity.id", INVALID),
        ("activity.colour", UNKNOWN),
        ("contact.id", TYPE),
        ("contact.identities.0.id", MISSING),
        ("contact.email", INVALID),
        ("contact.phone", INVALID),
        ("contact.is_actor", TYPE),
        ("contact.shoe size", UNKNOWN),
        ("b", UNKNOWN),
        ("a", UNKNOWN),
    ]


def test_messages_show_what_was_sent_shortened() -> None:
    with pytest.raises(FieldErrors) as caught:
        admit(write(request(name=["x" * 10_000])).encode(), ARRIVAL)
    (fault,) = caught.value.faults
    assert "array" in fault.message
    assert "xxxx" in fault.message
    assert len(fault.message) < 200
