"""Checks: what they refuse, with which code and where, and what they answer; JSON is strict, forms are all text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backstory.errors import Fault
from backstory.model.checks import (
    HIGHEST_ID,
    MAX_UNKNOWN,
    Check,
    Field,
    check_bool,
    check_choice,
    check_date,
    check_decimal,
    check_email,
    check_given_email,
    check_id,
    check_integer,
    check_list,
    check_moment,
    check_number,
    check_object,
    check_text,
    for_change,
)
from backstory.model.form import FormText
from backstory.model.json_text import parse_exact

STATUS = check_number({2: "Open", 3: "Pending"})
TAGS = check_list(check_text(32, blank=False), 3, unique=True)


def from_json(check: Check, value: Any) -> tuple[Any, list[str]]:
    """What a check answers for a JSON value, and the codes of its faults."""
    faults: list[Fault] = []
    taken = check(parse_exact(json.dumps(value).encode()), "x", faults)
    return taken, [f"{fault.field} {fault.code}" for fault in faults]


def from_form(check: Check, value: str) -> tuple[Any, list[str]]:
    """The same for the text of a form."""
    faults: list[Fault] = []
    taken = check(FormText(value), "x", faults)
    return taken, [f"{fault.field} {fault.code}" for fault in faults]


@pytest.mark.parametrize("check", [check_id, STATUS, check_decimal, check_bool])
def test_a_form_is_told_that_it_sent_a_text(check: Check) -> None:
    faults: list[Fault] = []
    check(FormText("many"), "x", faults)
    assert 'a string "many" was sent' in faults[0].message


def test_an_object_without_fields_lists_none() -> None:
    faults: list[Fault] = []
    check_object({})({"a": 1}, "custom_fields", faults)
    assert faults[0].message == "There is no such field; there are none here."


@pytest.mark.parametrize(
    ("check", "value", "taken"),
    [
        (check_id, 7, 7),
        (check_id, HIGHEST_ID, HIGHEST_ID),
        (check_integer(-5, 5), -5, -5),
        (STATUS, 3, 3),
        (check_decimal, 1.5, 1.5),
        (check_decimal, 3, 3),
        (check_bool, False, False),
        (check_choice(["a", "b"]), "b", "b"),
        (check_text(5), " ab ", "ab"),
        (check_text(5), "  ", None),
        (check_email, "", None),
        (check_email, " A@example.com", "A@example.com"),
        (check_date, "2026-02-28", "2026-02-28"),
        (check_date, "2026-02-28T12:00:00Z", "2026-02-28"),
        (check_moment, "1970-01-01T00:00:01Z", 1_000_000),
        (check_moment, "", None),
        (TAGS, ["a", " a ", "b"], ["a", "b"]),
        (TAGS, [], []),
    ],
)
def test_good_json(check: Check, value: Any, taken: Any) -> None:
    assert from_json(check, value) == (taken, [])


@pytest.mark.parametrize(
    ("check", "value", "fault"),
    [
        (check_id, "7", "x datatype_mismatch"),
        (check_id, 7.0, "x datatype_mismatch"),
        (check_id, True, "x datatype_mismatch"),
        (check_id, 0, "x invalid_value"),
        (check_id, -1, "x invalid_value"),
        (check_id, HIGHEST_ID + 1, "x invalid_value"),
        (check_id, 10**400, "x invalid_value"),
        (STATUS, "2", "x datatype_mismatch"),
        (STATUS, 99, "x invalid_value"),
        (check_decimal, "1.5", "x datatype_mismatch"),
        (check_decimal, 10**15, "x invalid_value"),
        (check_bool, "true", "x datatype_mismatch"),
        (check_bool, 1, "x datatype_mismatch"),
        (check_choice(["a"]), "b", "x invalid_value"),
        (check_choice(["a"]), 1, "x datatype_mismatch"),
        (check_text(5), 1, "x datatype_mismatch"),
        (check_text(5), "abcdef", "x invalid_value"),
        (check_text(5), "a\0", "x invalid_value"),
        (check_text(5, blank=False), " ", "x invalid_value"),
        (check_email, "nobody", "x invalid_value"),
        (check_given_email, "", "x invalid_value"),
        (check_date, "2026-02-30", "x invalid_value"),
        (check_date, "28.2.2026", "x invalid_value"),
        (check_date, 20260228, "x datatype_mismatch"),
        (check_moment, "soon", "x invalid_value"),
        (check_moment, 1767225600, "x datatype_mismatch"),
        (TAGS, "a", "x datatype_mismatch"),
        (TAGS, ["a", 1], "x.1 datatype_mismatch"),
        (TAGS, ["a", "b", "c", "d"], "x invalid_value"),
    ],
)
def test_json_at_fault(check: Check, value: Any, fault: str) -> None:
    assert from_json(check, value)[1] == [fault]


@pytest.mark.parametrize(
    ("check", "value", "taken"),
    [
        (check_id, " 7 ", 7),
        (check_id, "", None),
        (STATUS, "3", 3),
        (STATUS, "", None),
        (check_decimal, "1.5", 1.5),
        (check_decimal, "", None),
        (check_decimal, "0" * 5_000, 0),
        (check_decimal, "-999999999999999", -999_999_999_999_999),
        (check_bool, "True", True),
        (check_bool, "0", False),
        (check_bool, "", None),
        (check_choice(["a"]), "", None),
        (check_text(5), "1", "1"),
        (TAGS, "a", ["a"]),
        (TAGS, "", []),
    ],
)
def test_good_texts_of_forms(check: Check, value: str, taken: Any) -> None:
    assert from_form(check, value) == (taken, [])


@pytest.mark.parametrize(
    ("check", "value", "code"),
    [
        (check_id, "seven", "datatype_mismatch"),
        (check_id, "0", "invalid_value"),
        (check_id, "٧", "datatype_mismatch"),
        (STATUS, "9", "invalid_value"),
        (check_decimal, "NaN", "datatype_mismatch"),
        (check_bool, "yes", "datatype_mismatch"),
    ],
)
def test_texts_of_forms_at_fault(check: Check, value: str, code: str) -> None:
    assert from_form(check, value)[1] == [f"x {code}"]


FIELDS = {"name": Field(check_text(9, blank=False), required=True), "size": Field(check_integer(1, 9))}
NEW, CHANGE = check_object(FIELDS, {"id"}), check_object(for_change(FIELDS), {"id"})


def test_an_object_answers_what_was_sent() -> None:
    assert from_json(NEW, {"name": " a "}) == ({"name": "a"}, [])
    assert from_json(NEW, {"name": "a", "size": None}) == ({"name": "a", "size": None}, [])
    assert from_json(CHANGE, {}) == ({}, [])
    assert from_json(CHANGE, {"size": None}) == ({"size": None}, [])


def test_every_fault_of_an_object_at_once() -> None:
    values, faults = from_json(NEW, {"size": 10, "id": 1, "colour": "red"})
    assert faults == [
        "x.name missing_field",
        "x.size invalid_value",
        "x.id readonly_field",
        "x.colour invalid_field",
    ]
    assert values == {"size": "10"}, "what is at fault stays as it was sent"


def test_what_must_be_there_cannot_be_taken_away() -> None:
    assert from_json(CHANGE, {"name": None})[1] == ["x.name invalid_value"]
    assert from_json(NEW, {"name": None})[1] == ["x.name missing_field"]


def test_not_an_object() -> None:
    assert from_json(NEW, [1]) == ({}, ["x datatype_mismatch"])


def test_a_flood_of_unknown_fields_is_counted() -> None:
    _, faults = from_json(CHANGE, {f"f{n}": 1 for n in range(500)})
    assert len(faults) == MAX_UNKNOWN + 1


def test_a_check_describes_itself() -> None:
    assert NEW.schema == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 9, "minLength": 1, "pattern": r"\S"},
            "size": {"type": ["integer", "null"], "minimum": 1, "maximum": 9},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    assert CHANGE.schema["required"] == []
    assert CHANGE.schema["properties"]["name"]["type"] == "string"
