"""Every fault of a publish request at once, each with its dotted path (contract 1.1 and section 3).

Good requests never come here: msgspec admits them in one pass (`admit.py`). It stops at the first fault, so what it
refuses is read again here. The two agree: `tests/ingest/test_validate.py` holds them together.
"""

from __future__ import annotations

from typing import Any

from backstory.errors import Code, Fault
from backstory.model.activity import (
    MAX_CONTEXT_BYTES,
    MAX_CONTEXT_DEPTH,
    MAX_DESCRIPTION,
    MAX_IDENTIFIER,
    MAX_IDENTITIES,
    MAX_LINK,
    MAX_NAME,
    MAX_TEXT,
    MAX_TYPE,
    RESERVED_SOURCE,
    is_reserved_source,
)
from backstory.model.checks import (
    Check,
    Field,
    check_bool,
    check_email,
    check_object,
    check_phone,
    check_text,
    fault,
    mismatch,
)
from backstory.model.json_text import Number, depth_exceeds, shorten
from backstory.model.moment import parse_moment

IDENTIFIERS = (
    "id",
    "unique_external_id",
    "identities",
    "email",
    "facebook_id",
    "twitter_id",
    "phone",
    "mobile",
)


def collect_faults(tree: Any) -> list[Fault]:
    """Every fault of one publish request, in the order of the contract; none where it is good.

    Args:
        tree: the body as `json_text.parse_exact` read it.
    """
    faults: list[Fault] = []
    check_object(_REQUEST)(tree, "", faults)
    return faults


def _check_source(value: Any, path: str, faults: list[Fault]) -> None:
    before = len(faults)
    check_text(MAX_TYPE, blank=False)(value, path, faults)
    if len(faults) == before and is_reserved_source(value):
        fault(
            faults,
            path,
            Code.INVALID_VALUE,
            f"The source name '{RESERVED_SOURCE}' is reserved for the service itself.",
        )


def _check_timestamp(value: Any, path: str, faults: list[Fault]) -> None:
    if type(value) is not str:
        mismatch(faults, path, value, "string")
        return
    try:
        parse_moment(value)
    except ValueError as error:
        fault(faults, path, Code.INVALID_VALUE, f"{shorten(value)} is not a time that is accepted: {error}.")


def _check_context(value: Any, path: str, faults: list[Fault]) -> None:
    # Its size is checked on the text as it was sent, by `admit`.
    if not isinstance(value, dict):
        mismatch(faults, path, value, "object")
    elif depth_exceeds(value, MAX_CONTEXT_DEPTH):
        fault(faults, path, Code.INVALID_VALUE, f"It is nested more than {MAX_CONTEXT_DEPTH} levels deep.")


def context_too_large(size: int) -> Fault:
    """The fault of a context whose text has `size` bytes."""
    message = f"It has {size:,} bytes of JSON; at most {MAX_CONTEXT_BYTES:,} are possible."
    return Fault("activity.context", message, Code.INVALID_VALUE)


def _check_contact_id(value: Any, path: str, faults: list[Fault]) -> None:
    if not isinstance(value, Number) or not value.lstrip("-").isdigit():
        mismatch(faults, path, value, "integer")
    elif value.startswith("-") or len(value) > 19 or not 1 <= int(value) < 2**63:
        fault(faults, path, Code.INVALID_VALUE, f"{shorten(value)} cannot be the id of a contact.")


def _check_identities(value: Any, path: str, faults: list[Fault]) -> None:
    if not isinstance(value, list):
        mismatch(faults, path, value, "array")
        return
    if len(value) > MAX_IDENTITIES:
        fault(
            faults,
            path,
            Code.INVALID_VALUE,
            f"It has {len(value)} entries; at most {MAX_IDENTITIES} are possible.",
        )
    for index, item in enumerate(value[:MAX_IDENTITIES]):
        check_object(_IDENTITY)(item, f"{path}.{index}", faults)


def _check_contact(value: Any, path: str, faults: list[Fault]) -> None:
    check_object(_CONTACT)(value, path, faults)
    if isinstance(value, dict) and not any(_is_given(value.get(name)) for name in IDENTIFIERS):
        listed = ", ".join(IDENTIFIERS)
        fault(faults, path, Code.MISSING_FIELD, f"It names nobody; one of these is mandatory: {listed}.")


def _is_given(value: Any) -> bool:
    """Whether a value names somebody, or is at fault itself: then it is not told that it names nobody."""
    if isinstance(value, list):
        return any(_is_given(item.get("id")) if _is_whole(item) else True for item in value)
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _is_whole(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str)


_TYPE = check_text(MAX_TYPE, blank=False)
_TEXT = check_text(MAX_TEXT)
_KEY = check_text(MAX_IDENTIFIER)
_IDENTITY = {
    "source": Field(check_text(MAX_IDENTIFIER, blank=False), required=True),
    "id": Field(_KEY, required=True),
}
_CONTACT = {
    "id": Field(Check(_check_contact_id)),
    "unique_external_id": Field(_KEY),
    "identities": Field(Check(_check_identities)),
    "email": Field(check_email),
    "facebook_id": Field(_KEY),
    "twitter_id": Field(_KEY),
    "phone": Field(check_phone),
    "mobile": Field(check_phone),
    "name": Field(check_text(MAX_NAME)),
    "is_actor": Field(check_bool),
}
_ACTOR = {"type": Field(_TYPE, required=True), "id": Field(_TEXT), "name": Field(_TEXT)}
_SOURCE = {"name": Field(Check(_check_source), required=True), "id": Field(_TEXT)}
_OBJECT = {
    "type": Field(check_text(MAX_TYPE)),
    "id": Field(_TEXT),
    "link": Field(check_text(MAX_LINK)),
    "name": Field(_TEXT),
}
_ACTIVITY = {
    "name": Field(check_text(MAX_NAME, blank=False, trim=True), required=True),
    "timestamp": Field(Check(_check_timestamp)),
    "description": Field(check_text(MAX_DESCRIPTION)),
    "link": Field(check_text(MAX_LINK)),
    "actor": Field(check_object(_ACTOR), required=True),
    "source": Field(check_object(_SOURCE), required=True),
    "object": Field(check_object(_OBJECT)),
    "context": Field(Check(_check_context)),
    "id": Field(_KEY),
}
_REQUEST = {
    "activity": Field(check_object(_ACTIVITY), required=True),
    "contact": Field(Check(_check_contact), required=True),
}
