"""The query language: what it means, and refusals that point at the place of the fault."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.errors import FieldErrors
from backstory.model.custom_field import CustomField, FieldType
from backstory.model.moment import parse_moment
from backstory.model.search import (
    MAX_QUERY,
    AllOf,
    AnyOf,
    Comparison,
    Kind,
    Query,
    Term,
    kinds_with,
    read_query,
)

CUSTOM = [CustomField(1, f"cf_{kind.name.lower()}", kind, kind, False, ("a",), 1, 0, 0) for kind in FieldType]
KINDS = kinds_with(
    {
        "priority": Kind.INTEGER,
        "status": Kind.INTEGER,
        "tag": Kind.TEXT,
        "active": Kind.BOOLEAN,
        "created_at": Kind.DATE,
    },
    CUSTOM,
)


def read(text: str) -> Query:
    return read_query(f'"{text}"', KINDS)


def term(field: str, value: object, comparison: Comparison = Comparison.EQUAL) -> Term:
    return Term(field, comparison, value, KINDS[field])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("priority:3", term("priority", 3)),
        ("  priority : 3 ", term("priority", 3)),
        ("priority:-3", term("priority", -3)),
        ("priority:>3", term("priority", 3, Comparison.AT_LEAST)),
        ("priority:<3", term("priority", 3, Comparison.AT_MOST)),
        ("priority:null", term("priority", None)),
        ("tag:'VIP'", term("tag", "VIP")),
        ("tag:''", term("tag", "")),
        ("tag:'null'", term("tag", "null")),
        (r"tag:'it\'s'", term("tag", "it's")),
        (r"tag:'a\\'", term("tag", "a\\")),
        ("tag:'a AND (b OR c)'", term("tag", "a AND (b OR c)")),
        ("active:true", term("active", True)),
        ("active:false", term("active", False)),
        ("created_at:'2026-02-28'", term("created_at", parse_moment("2026-02-28"))),
        ("cf_text:'x'", term("cf_text", "x")),
        ("cf_dropdown:'x'", term("cf_dropdown", "x")),
        ("cf_number:7", term("cf_number", 7)),
        ("cf_decimal:>1.5", term("cf_decimal", 1.5, Comparison.AT_LEAST)),
        ("cf_checkbox:true", term("cf_checkbox", True)),
        ("cf_date:'2026-02-28'", term("cf_date", parse_moment("2026-02-28"))),
        ("(((priority:3)))", term("priority", 3)),
    ],
)
def test_terms(text: str, expected: Term) -> None:
    assert read(text) == expected


def test_and_binds_more_tightly_than_or() -> None:
    one, two, three = (term("priority", number) for number in (1, 2, 3))
    assert read("priority:1 OR priority:2 AND priority:3") == AnyOf((one, AllOf((two, three))))
    assert read("(priority:1 OR priority:2) AND priority:3") == AllOf((AnyOf((one, two)), three))
    assert read("priority:1 OR (priority:2 OR priority:3)") == AnyOf((one, two, three))
    assert read("priority:1 AND (priority:2 AND priority:3)") == AllOf((one, two, three))


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("priority:3 AND", None, "ends too early"),
        ("(priority:3", None, "closing parenthesis"),
        ("priority:", None, "ends too early"),
        ("priority:3)", 11, "AND, OR or the end"),
        ("tag:'open", 5, "not closed"),
        ("priority:3 AND tag:'open", 20, "not closed"),
        ("priority:3 tag:'a'", 12, "AND, OR or the end"),
        ("priority:3 and tag:'a'", 12, "AND, OR or the end"),
        ("AND priority:3", 1, "a field and a colon"),
        ("priority 3", 1, "a field and a colon"),
        ("priority:>>3", 11, "a value"),
        ("priority:red", 10, "a value"),
        ("priority=3", 1, "a field and a colon"),
        ("()", 2, "a field and a colon"),
        ("tag:NOT", 5, "a value"),
        ("priority:3;", 11, "AND, OR or the end"),
    ],
)
def test_syntax_at_fault(text: str, place: int | None, what: str) -> None:
    with pytest.raises(FieldErrors) as caught:
        read(text)
    (fault,) = caught.value.faults
    assert (fault.field, fault.code) == ("query", "invalid_value")
    assert what in fault.message
    if place is not None:
        assert f"At character {place}, " in fault.message


@pytest.mark.parametrize(
    ("text", "place", "code"),
    [
        ("colour:'red'", 1, "invalid_field"),
        ("priority:3 AND colour:'red'", 16, "invalid_field"),
        ("priority:'3'", 10, "invalid_value"),
        ("priority:3.5", 10, "invalid_value"),
        ("priority:true", 10, "invalid_value"),
        ("priority:99999999999999999999", 10, "invalid_value"),
        ("tag:3", 5, "invalid_value"),
        ("tag:>'a'", 5, "invalid_value"),
        ("active:1", 8, "invalid_value"),
        ("active:>true", 8, "invalid_value"),
        ("created_at:'soon'", 12, "invalid_value"),
        ("created_at:'2026-02-30'", 12, "invalid_value"),
        ("created_at:'2026-02-28T10:00:00Z'", 12, "invalid_value"),
        ("created_at:20260228", 12, "invalid_value"),
        ("priority:>null", 10, "invalid_value"),
    ],
)
def test_fields_and_values_at_fault(text: str, place: int, code: str) -> None:
    with pytest.raises(FieldErrors) as caught:
        read(text)
    (fault,) = caught.value.faults
    assert (fault.field, fault.code) == ("query", code)
    assert f"At character {place}, " in fault.message


def test_every_field_at_fault_is_told_at_once() -> None:
    with pytest.raises(FieldErrors) as caught:
        read("colour:'red' OR priority:'x' AND shape:null")
    assert [fault.code for fault in caught.value.faults] == [
        "invalid_field",
        "invalid_value",
        "invalid_field",
    ]


@pytest.mark.parametrize(
    "text", ["priority:3", "'priority:3'", '"priority:3', '"', "", '""', '" "', f'"{"x" * (MAX_QUERY + 1)}"']
)
def test_what_is_no_query_at_all(text: str) -> None:
    with pytest.raises(FieldErrors):
        read_query(text, KINDS)


def test_the_longest_query() -> None:
    assert isinstance(read(" OR ".join(["priority:1"] * 36) + " " * 12), AnyOf)
    nested = "(" * 250 + "priority:1" + ")" * 250
    assert read(nested) == term("priority", 1)
    deep = "(priority:1 OR (priority:1 AND " * 15 + "priority:2" + "))" * 15
    assert isinstance(read(deep), AnyOf)


@given(st.text(alphabet="():><' ANDORnul\\pritya1-9.", max_size=60))
def test_nothing_but_a_query_or_a_refusal(text: str) -> None:
    with contextlib.suppress(FieldErrors):
        assert isinstance(read(text), Term | AllOf | AnyOf)
