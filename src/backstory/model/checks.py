"""Checks of JSON trees that report every fault at once, each with its dotted path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from backstory.errors import Code, Fault
from backstory.model.identity import is_email, is_phone
from backstory.model.json_text import Number, shorten

MAX_IDENTIFIER = 255
MAX_UNKNOWN = 20
"""So many unknown fields of one object are named, the rest are counted: a fault must not be larger than its cause."""

Check = Callable[[Any, str, list[Fault]], None]
"""Adds to the list what is wrong with a value at a path."""


class Field(NamedTuple):
    """One key of an object: how its value is checked, and whether it must be there."""

    check: Check
    required: bool = False


def json_type(value: Any) -> str:
    """How a message calls a value's JSON type."""
    if isinstance(value, Number):
        return "number"
    names = {bool: "boolean", str: "string", dict: "object", list: "array", type(None): "null"}
    return names[type(value)]


def fault(faults: list[Fault], path: str, code: Code, message: str) -> None:
    """Add a fault at a path; the whole body has the path ""."""
    faults.append(Fault(path or "body", message, code))


def mismatch(faults: list[Fault], path: str, value: Any, wanted: str) -> None:
    """Add the fault of a wrong JSON type."""
    sent = f"{json_type(value)} {shorten(value)}"
    fault(faults, path, Code.DATATYPE_MISMATCH, f"It should be of type {wanted}; a {sent} was sent.")


def check_object(fields: Mapping[str, Field]) -> Check:
    """An object with these keys and no others; null counts as absent."""

    def check(value: Any, path: str, faults: list[Fault]) -> None:
        if not isinstance(value, dict):
            mismatch(faults, path, value, "object")
            return
        for name, field in fields.items():
            inner = f"{path}.{name}" if path else name
            if value.get(name) is not None:
                field.check(value[name], inner, faults)
            elif field.required:
                fault(faults, inner, Code.MISSING_FIELD, "It is mandatory and was not sent.")
        unknown = [name for name in value if name not in fields]
        for name in unknown[:MAX_UNKNOWN]:
            inner = f"{path}.{name[:100]}" if path else name[:100]
            fault(
                faults, inner, Code.INVALID_FIELD, f"There is no such field; known here: {', '.join(fields)}."
            )
        if len(unknown) > MAX_UNKNOWN:
            rest = f"There are {len(unknown) - MAX_UNKNOWN:,} more fields that do not exist here."
            fault(faults, path, Code.INVALID_FIELD, rest)

    return check


def check_text(limit: int, *, blank: bool = True, trim: bool = False) -> Check:
    """A string of at most `limit` characters; without `blank` it must have something visible."""

    def check(value: Any, path: str, faults: list[Fault]) -> None:
        if type(value) is not str:
            mismatch(faults, path, value, "string")
        elif not blank and not value.strip():
            fault(faults, path, Code.INVALID_VALUE, "It is blank; it needs at least one visible character.")
        elif (length := len(value.strip() if trim else value)) > limit:
            fault(
                faults,
                path,
                Code.INVALID_VALUE,
                f"It has {length:,} characters; at most {limit:,} are possible.",
            )
        elif "\0" in value:
            fault(
                faults,
                path,
                Code.INVALID_VALUE,
                "It contains the character U+0000, which is possible only in context.",
            )

    return check


def check_email(value: Any, path: str, faults: list[Fault]) -> None:
    """An email address; a blank one counts as absent."""
    before = len(faults)
    check_text(MAX_IDENTIFIER)(value, path, faults)
    if len(faults) == before and value.strip() and not is_email(value):
        fault(faults, path, Code.INVALID_VALUE, f"{shorten(value)} is not an email address.")


def check_phone(value: Any, path: str, faults: list[Fault]) -> None:
    """A phone number; a blank one counts as absent."""
    before = len(faults)
    check_text(MAX_IDENTIFIER)(value, path, faults)
    if len(faults) == before and value.strip() and not is_phone(value):
        fault(faults, path, Code.INVALID_VALUE, f"{shorten(value)} is not a phone number: it has no digit.")


def check_bool(value: Any, path: str, faults: list[Fault]) -> None:
    """True or false."""
    if not isinstance(value, bool):
        mismatch(faults, path, value, "boolean")
