"""Fields that an installation adds to contacts, companies and tickets (`cf_*`): their types, checks and comparison."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from backstory.errors import Code, Fault
from backstory.model.checks import (
    Check,
    Field,
    check_bool,
    check_choice,
    check_date,
    check_decimal,
    check_integer,
    check_object,
    check_pattern,
    check_phone,
    check_text,
    for_change,
)
from backstory.model.moment import Microseconds
from backstory.model.words import split_words

PREFIX = "cf_"
MAX_FIELDS = 200
MAX_LABEL = 255
MAX_CHOICES = 500
MAX_CHOICE = 255
MAX_LINE = 255
MAX_PARAGRAPH = 8_192
MAX_URL = 2_048
MAX_SEARCHED = 255
"""So many characters of a value are compared by searches."""

WEB_PATTERN = r"^\s*([hH][tT][tT][pP][sS]?://[^\s\u0000-\u001f]+)?\s*$"

_HIGHEST = 10**15
_WEB_ADDRESS = re.compile(r"https?://[^\s\x00-\x1f]+", re.IGNORECASE)


def is_web_address(text: str) -> bool:
    """Whether a text can be the address of a page."""
    return _WEB_ADDRESS.fullmatch(text.strip()) is not None


class FieldType(StrEnum):
    """What a custom field holds, by the names of the Freshdesk API."""

    TEXT = "custom_text"
    PARAGRAPH = "custom_paragraph"
    NUMBER = "custom_number"
    DECIMAL = "custom_decimal"
    DATE = "custom_date"
    CHECKBOX = "custom_checkbox"
    DROPDOWN = "custom_dropdown"
    URL = "custom_url"
    PHONE = "custom_phone_number"


class NewField(Struct, frozen=True):
    """A field to add; its name is made from its label."""

    label: str
    type: FieldType
    required: bool = False
    choices: tuple[str, ...] = ()


class CustomField(Struct, frozen=True):
    """A field that an installation has added; `choices` are those of a dropdown."""

    id: int
    name: str
    label: str
    type: FieldType
    required: bool
    choices: tuple[str, ...]
    position: int
    created_at: Microseconds
    updated_at: Microseconds

    @property
    def check(self) -> Check:
        """The check of its values."""
        if self.type is FieldType.DROPDOWN:
            return check_choice(self.choices)
        return _CHECKS[self.type]


_CHECKS = {
    FieldType.TEXT: check_text(MAX_LINE),
    FieldType.PARAGRAPH: check_text(MAX_PARAGRAPH),
    FieldType.NUMBER: check_integer(1 - _HIGHEST, _HIGHEST - 1),
    FieldType.DECIMAL: check_decimal,
    FieldType.DATE: check_date,
    FieldType.CHECKBOX: check_bool,
    FieldType.URL: check_pattern(is_web_address, "a web address: https://…", WEB_PATTERN, limit=MAX_URL),
    FieldType.PHONE: check_phone,
}


def custom_fields_field(fields: Sequence[CustomField], *, change: bool = False) -> Field:
    """The key `custom_fields` of something new, or of a change of it, on an installation with these fields."""
    known = {
        field.name: Field(_filled(field.check) if field.required else field.check, required=field.required)
        for field in fields
    }
    if change:
        return Field(check_object(for_change(known)), nullable=False)
    return Field(check_object(known), required=any(field.required for field in fields))


def _filled(check: Check) -> Check:
    """The same check of a field that must have a value: a blank one is at fault."""

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        before = len(faults)
        taken = check(value, path, faults)
        if taken is None and len(faults) == before:
            faults.append(Fault(path, "It is blank, and must have a value.", Code.INVALID_VALUE))
        return taken

    return Check(read, check.schema)


ANY_CUSTOM_FIELDS = Field(Check(check_object({}).read, {"type": "object"}))
"""How the documentation describes `custom_fields`, without an installation."""


def shown_custom_fields(fields: Sequence[CustomField], values: Mapping[str, Any]) -> dict[str, Any]:
    """Every field, null where it has no value."""
    return {field.name: values.get(field.name) for field in fields}


def kept_custom_fields(values: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The values to keep, as `changes` leave them: a field without a value is not kept."""
    return {name: value for name, value in {**values, **(changes or {})}.items() if value is not None}


def field_name(label: str) -> str:
    """The name that a field gets from its label: `cf_shoe_size`. Empty but for the prefix where no word is in it."""
    return PREFIX + "_".join(split_words(label))


def searched_value(value: str | float | bool) -> str:
    """A value as searches compare it: text folded, numbers so that they sort as text, days as they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _sortable(float(value))
    return value.casefold()[:MAX_SEARCHED]


def _sortable(number: float) -> str:
    """The bits of a double, so arranged that their order as text is that of the numbers."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))
    arranged = bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63)
    return f"{arranged:016x}"
