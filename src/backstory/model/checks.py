"""Checks of what was sent, JSON or form: every fault at once, each with its dotted path.

A check says what is wrong with a value, answers the value as our code takes it, and describes itself as JSON Schema:
a field is declared once, for the reading, for its faults and for the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from backstory.errors import Code, Fault
from backstory.model.form import FormText, Upload
from backstory.model.identity import EMAIL, is_email, is_phone
from backstory.model.json_text import Number, shorten
from backstory.model.moment import ACCEPTED_FORMS, parse_moment

MAX_IDENTIFIER = 255
MAX_UNKNOWN = 20
"""So many unknown fields of one object are named, the rest are counted: a fault must not be larger than its cause."""

HIGHEST_ID = 2**63 - 1
EMAIL_PATTERN = rf"^\s*({EMAIL})?\s*$"
PHONE_PATTERN = r"[0-9]|^\s*$"
DATE_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

_INTEGER = re.compile(r"-?\d+", re.ASCII)
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(DATE_PATTERN, re.ASCII)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Check(NamedTuple):
    """How a value is read: `read(value, path, faults)` adds what is wrong to the faults.

    It answers the value as our code takes it: text trimmed and blank text as None, numbers as int, times in
    microseconds. What it answers for a value at fault means nothing.
    """

    read: Callable[[Any, str, list[Fault]], Any]
    schema: Mapping[str, Any] = {}

    def __call__(self, value: Any, path: str, faults: list[Fault]) -> Any:
        """Read a value."""
        return self.read(value, path, faults)


class Field(NamedTuple):
    """One key of an object: how its value is checked, whether it must be there, and whether null can be written.

    Null counts as absent where something new is made; in a change it takes the value away.
    """

    check: Check
    required: bool = False
    nullable: bool = True


def json_type(value: Any) -> str:
    """How a message calls a value's JSON type."""
    if isinstance(value, Number):
        return "number"
    if isinstance(value, str):
        return "string"
    names = {bool: "boolean", dict: "object", list: "array", type(None): "null", Upload: "file"}
    return names[type(value)]


def fault(faults: list[Fault], path: str, code: Code, message: str) -> None:
    """Add a fault at a path; the whole body has the path ""."""
    faults.append(Fault(path or "body", message, code))


def mismatch(faults: list[Fault], path: str, value: Any, wanted: str) -> None:
    """Add the fault of a wrong JSON type."""
    shown = value.name if isinstance(value, Upload) else value
    kind = json_type(value)
    article = "an" if kind in ("array", "object") else "a"
    message = f"It should be of type {wanted}; {article} {kind} {shorten(shown)} was sent."
    fault(faults, path, Code.DATATYPE_MISMATCH, message)


# Objects.


def check_object(fields: Mapping[str, Field], readonly: Collection[str] = ()) -> Check:
    """An object with these keys and no others; those of `readonly` exist, but are not for writing.

    Answers the keys that were sent, with None for those that were sent as null. A value at fault stays as it was sent.
    """

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        if not isinstance(value, dict):
            mismatch(faults, path, value, "object")
            return {}
        before = f"{path}." if path else ""
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if value.get(name) is not None:
                good = len(faults)
                taken = field.check(value[name], f"{before}{name}", faults)
                values[name] = taken if len(faults) == good else value[name]
            elif field.required:
                fault(faults, f"{before}{name}", Code.MISSING_FIELD, "It is mandatory and was not sent.")
            elif name in value:
                values[name] = None
                if not field.nullable:
                    fault(faults, f"{before}{name}", Code.INVALID_VALUE, "It cannot be taken away.")
        _refuse_unknown([name for name in value if name not in fields], fields, readonly, path, faults)
        return values

    return Check(read, _object_schema(fields))


def _refuse_unknown(
    names: Sequence[str],
    fields: Mapping[str, Field],
    readonly: Collection[str],
    path: str,
    faults: list[Fault],
) -> None:
    before = f"{path}." if path else ""
    for name in names[:MAX_UNKNOWN]:
        inner = f"{before}{name[:100]}"
        if name in readonly:
            fault(faults, inner, Code.READONLY_FIELD, "It is answered, and cannot be written.")
        else:
            known = f"known here: {', '.join(fields)}" if fields else "there are none here"
            fault(faults, inner, Code.INVALID_FIELD, f"There is no such field; {known}.")
    if len(names) > MAX_UNKNOWN:
        rest = f"There are {len(names) - MAX_UNKNOWN:,} more fields that do not exist here."
        fault(faults, path, Code.INVALID_FIELD, rest)


def _object_schema(fields: Mapping[str, Field]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            name: dict(field.check.schema) if field.required or not field.nullable else nullable(field.check)
            for name, field in fields.items()
        },
        "required": [name for name, field in fields.items() if field.required],
        "additionalProperties": False,
    }


def nullable(check: Check) -> dict[str, Any]:
    """The schema of a check's values, or null."""
    schema = dict(check.schema)
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema


def for_change(fields: Mapping[str, Field]) -> dict[str, Field]:
    """The fields of something new as those of a change of it: none must be there, and what must be stays there."""
    return {
        name: field._replace(required=False, nullable=field.nullable and not field.required)
        for name, field in fields.items()
    }


def check_list(item: Check, limit: int, *, unique: bool = False) -> Check:
    """A list of at most `limit` items. A single value of a form is a list of one, and a blank one an empty list."""

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        if isinstance(value, FormText):
            value = [value] if value.strip() else []
        if not isinstance(value, list):
            mismatch(faults, path, value, "array")
            return []
        if len(value) > limit:
            message = f"It has {len(value):,} entries; at most {limit:,} are possible."
            fault(faults, path, Code.INVALID_VALUE, message)
        sent = [each for each in value[:limit] if not (isinstance(each, FormText) and not each.strip())]
        items = [item(each, f"{path}.{index}", faults) for index, each in enumerate(sent)]
        return list(dict.fromkeys(items)) if unique else items

    return Check(read, {"type": "array", "items": dict(item.schema), "maxItems": limit})


# Texts.


def check_text(limit: int, *, blank: bool = True, trim: bool = False) -> Check:
    """A string of at most `limit` characters; without `blank` it must have something visible."""

    def read(value: Any, path: str, faults: list[Fault]) -> str | None:
        if not isinstance(value, str) or isinstance(value, Number):
            mismatch(faults, path, value, "string")
            return None
        if not blank and not value.strip():
            fault(faults, path, Code.INVALID_VALUE, "It is blank; it needs at least one visible character.")
        elif (length := len(value.strip() if trim else value)) > limit:
            message = f"It has {length:,} characters; at most {limit:,} are possible."
            fault(faults, path, Code.INVALID_VALUE, message)
        elif "\0" in value:
            message = "It contains the character U+0000, which is possible only in context."
            fault(faults, path, Code.INVALID_VALUE, message)
        return str(value).strip() or None

    schema = {"type": "string", "maxLength": limit}
    return Check(read, schema if blank else schema | {"minLength": 1, "pattern": r"\S"})


def check_pattern(
    test: Callable[[str], bool], wanted: str, pattern: str, *, blank: bool = True, limit: int = MAX_IDENTIFIER
) -> Check:
    """A string that passes a test; a blank one counts as absent, or is at fault without `blank`."""
    text = check_text(limit, blank=blank)

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        before = len(faults)
        taken = text(value, path, faults)
        if len(faults) == before and value.strip() and not test(value):
            fault(faults, path, Code.INVALID_VALUE, f"{shorten(value)} is not {wanted}.")
        return taken

    return Check(read, {**text.schema, "pattern": pattern})


check_email = check_pattern(is_email, "an email address", EMAIL_PATTERN)
"""An email address; a blank one counts as absent."""

check_given_email = check_pattern(is_email, "an email address", EMAIL_PATTERN.replace(")?", ")"), blank=False)
"""An email address that is one."""

check_phone = check_pattern(is_phone, "a phone number: it has no digit", PHONE_PATTERN)
"""A phone number; a blank one counts as absent."""


def check_choice(choices: Collection[str]) -> Check:
    """One of these texts."""

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        if not isinstance(value, str) or isinstance(value, Number):
            mismatch(faults, path, value, "string")
        elif isinstance(value, FormText) and not value.strip():
            return None
        elif value not in choices:
            _not_among(value, choices, path, faults)
        return value

    return Check(read, {"type": "string", "enum": list(choices)})


def _not_among(value: Any, choices: Collection[Any], path: str, faults: list[Fault]) -> None:
    listed = ", ".join(str(choice) for choice in choices)
    message = f"{shorten(value)} is none of the values that are possible: {listed[:1_000]}."
    fault(faults, path, Code.INVALID_VALUE, message)


# Numbers, booleans, times.


def check_integer(low: int = 1, high: int = HIGHEST_ID) -> Check:
    """A whole number from `low` to `high`."""

    def read(value: Any, path: str, faults: list[Fault]) -> int | None:
        sent = value
        if isinstance(value, FormText):
            if not value.strip():
                return None
            value = Number(value.strip())
        if not isinstance(value, Number) or not _INTEGER.fullmatch(value):
            mismatch(faults, path, sent, "integer")
        elif len(value) > len(str(HIGHEST_ID)) + 1 or not low <= int(value) <= high:
            _out_of_range(value, low, high, path, faults)
        else:
            return int(value)
        return 0

    return Check(read, {"type": "integer", "minimum": low, "maximum": high})


def _out_of_range(value: Any, low: int, high: int, path: str, faults: list[Fault]) -> None:
    wanted = f"a whole number from {low:,} to {high:,}"
    fault(faults, path, Code.INVALID_VALUE, f"{shorten(value)} is not {wanted}.")


check_id = check_integer()
"""The number of a record."""


def check_number(choices: Mapping[int, str]) -> Check:
    """One of these numbers, each with its meaning."""
    integer = check_integer(0, HIGHEST_ID)

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        before = len(faults)
        number = integer(value, path, faults)
        if number is not None and len(faults) == before and number not in choices:
            _not_among(number, [f"{choice} ({meaning})" for choice, meaning in choices.items()], path, faults)
        return number

    return Check(read, {"type": "integer", "enum": list(choices)})


def _read_decimal(value: Any, path: str, faults: list[Fault]) -> float | int | None:
    sent = value
    if isinstance(value, FormText):
        if not value.strip():
            return None
        value = Number(value.strip())
    if not isinstance(value, Number) or not _DECIMAL.fullmatch(value):
        mismatch(faults, path, sent, "number")
    elif abs(number := float(value)) >= 1e15:
        fault(faults, path, Code.INVALID_VALUE, f"{shorten(value)} has more than 15 digits before the point.")
    else:
        return int(number) if _INTEGER.fullmatch(value) else number  # a float holds 15 digits exactly
    return 0


check_decimal = Check(_read_decimal, {"type": "number", "exclusiveMinimum": -1e15, "exclusiveMaximum": 1e15})
"""A number, whole or not."""


def _read_bool(value: Any, path: str, faults: list[Fault]) -> bool | None:
    if isinstance(value, FormText):
        if not value.strip():
            return None
        value = _BOOLEANS.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        mismatch(faults, path, value, "boolean")
        return None
    return value


check_bool = Check(_read_bool, {"type": "boolean"})
"""True or false."""


def _read_date(value: Any, path: str, faults: list[Fault]) -> str | None:
    if not isinstance(value, str) or isinstance(value, Number):
        mismatch(faults, path, value, "string")
        return None
    text = value.strip()
    if text:
        try:
            if not _DATE.fullmatch(text[:10]):
                raise ValueError
            parse_moment(text)
            date.fromisoformat(text[:10])
        except ValueError:
            fault(faults, path, Code.INVALID_VALUE, f"{shorten(value)} is not a date: YYYY-MM-DD.")
    return text[:10] or None


check_date = Check(_read_date, {"type": "string", "pattern": DATE_PATTERN})
"""A day, as YYYY-MM-DD; the time of a longer text is cut off. A blank one counts as absent."""


def _read_moment(value: Any, path: str, faults: list[Fault]) -> int | None:
    if not isinstance(value, str) or isinstance(value, Number):
        mismatch(faults, path, value, "string, such as 2026-03-14T09:26:53Z")
    elif value.strip():
        try:
            return parse_moment(value.strip())
        except ValueError:
            message = f"{shorten(value)} is not a time that is accepted: {ACCEPTED_FORMS}."
            fault(faults, path, Code.INVALID_VALUE, message)
    return None


check_moment = Check(_read_moment, {"type": "string", "format": "date-time"})
"""A time, as microseconds. A blank one counts as absent."""


# Files.

_FILE = {"type": "string", "format": "binary"}


def _read_file(value: Any, path: str, faults: list[Fault]) -> Any:
    if not isinstance(value, Upload):
        mismatch(faults, path, value, "file")
    return value


check_file = Check(_read_file, _FILE)
"""A file, which only a form can carry."""

check_files = check_list(check_file, 50)
"""Files, which only a form can carry."""


def check_image(limit: int) -> Check:
    """A picture (JPEG or PNG, told by its first bytes) of at most `limit` bytes."""

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        if not isinstance(value, Upload):
            if isinstance(value, FormText) and not value.strip():
                return None
            mismatch(faults, path, value, "file")
        elif value.size > limit:
            message = f"It has {value.size:,} bytes; at most {limit:,} are possible."
            fault(faults, path, Code.INVALID_VALUE, message)
        elif not _is_image(value):
            fault(faults, path, Code.INVALID_VALUE, f"{shorten(value.name)} is neither a JPEG nor a PNG.")
        return value

    return Check(read, _FILE)


def _is_image(upload: Upload) -> bool:
    start = upload.content.read(8)
    upload.content.seek(0)
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))
