"""Values of custom fields: each type's check, faults with their place, and what is mandatory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backstory.errors import Fault
from backstory.model.checks import check_object
from backstory.model.custom_field import (
    CustomField,
    FieldType,
    custom_fields_field,
    field_name,
    shown_custom_fields,
)
from backstory.model.json_text import parse_exact


def field(name: str, kind: FieldType, required: bool = False) -> CustomField:
    choices = ("a", "b") if kind is FieldType.DROPDOWN else ()
    return CustomField(1, name, name, kind, required, choices, 1, 0, 0)


FIELDS = [field(f"cf_{kind.name.lower()}", kind) for kind in FieldType]


def read(
    values: Any, *, change: bool = False, fields: list[CustomField] = FIELDS
) -> tuple[Any, dict[str, str]]:
    faults: list[Fault] = []
    check = check_object({"custom_fields": custom_fields_field(fields, change=change)})
    taken = check(parse_exact(json.dumps(values).encode()), "", faults)
    return taken.get("custom_fields"), {fault.field: fault.code for fault in faults}


def test_good_values() -> None:
    values = {
        "cf_text": "x",
        "cf_paragraph": "long",
        "cf_number": 7,
        "cf_decimal": 1.5,
        "cf_date": "2026-02-28",
        "cf_checkbox": True,
        "cf_dropdown": "b",
        "cf_url": "https://shop.example/a?b=c",
        "cf_phone": "+44 20 7946 0000",
    }
    assert read({"custom_fields": values}) == (values, {})
    assert shown_custom_fields(FIELDS, {"cf_number": 7})["cf_text"] is None
    assert list(shown_custom_fields(FIELDS, {})) == list(values)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("cf_text", 1, "datatype_mismatch"),
        ("cf_number", "7", "datatype_mismatch"),
        ("cf_number", 1.5, "datatype_mismatch"),
        ("cf_decimal", "1.5", "datatype_mismatch"),
        ("cf_date", "soon", "invalid_value"),
        ("cf_checkbox", "true", "datatype_mismatch"),
        ("cf_dropdown", "c", "invalid_value"),
        ("cf_url", "javascript:alert(1)", "invalid_value"),
        ("cf_url", "https://a b", "invalid_value"),
        ("cf_phone", "none", "invalid_value"),
        ("cf_unknown", "c", "invalid_field"),
    ],
)
def test_faults_have_their_place(name: str, value: Any, code: str) -> None:
    assert read({"custom_fields": {name: value}})[1] == {f"custom_fields.{name}": code}


def test_what_is_mandatory() -> None:
    fields = [field("cf_text", FieldType.TEXT, required=True)]
    assert read({}, fields=fields)[1] == {"custom_fields": "missing_field"}
    assert read({"custom_fields": {}}, fields=fields)[1] == {"custom_fields.cf_text": "missing_field"}
    assert read({}, fields=fields, change=True)[1] == {}
    assert read({"custom_fields": {}}, fields=fields, change=True) == ({}, {})
    taken_away = read({"custom_fields": {"cf_text": None}}, fields=fields, change=True)
    assert taken_away[1] == {"custom_fields.cf_text": "invalid_value"}
    for change in (False, True):
        blank = read({"custom_fields": {"cf_text": " "}}, fields=fields, change=change)
        assert blank[1] == {"custom_fields.cf_text": "invalid_value"}


@pytest.mark.parametrize(
    ("label", "name"),
    [("Shoe size", "cf_shoe_size"), ("  VIP? ", "cf_vip"), ("尺码", "cf_尺码"), ("?", "cf_")],
)
def test_names(label: str, name: str) -> None:
    assert field_name(label) == name
