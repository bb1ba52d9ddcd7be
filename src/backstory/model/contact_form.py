"""What can be written about a contact: every field with its check, for JSON, forms and CSV alike."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from backstory.model.activity import MAX_DESCRIPTION, MAX_IDENTIFIER, MAX_NAME, MAX_TEXT
from backstory.model.checks import (
    Check,
    Field,
    check_bool,
    check_email,
    check_given_email,
    check_id,
    check_image,
    check_list,
    check_object,
    check_phone,
    check_text,
    for_change,
)
from backstory.model.contact import OtherCompany
from backstory.model.custom_field import ANY_CUSTOM_FIELDS, CustomField, custom_fields_field

MAX_TAG = 255
MAX_AVATAR = 5 * 1024 * 1024
MAX_TAGS = 100
MAX_OTHER_EMAILS = 50
MAX_OTHER_COMPANIES = 300

READONLY = (
    "id",
    "active",
    "first_name",
    "last_name",
    "social_handler",
    "contact_type",
    "csat_rating",
    "preferred_source",
    "created_at",
    "updated_at",
    "deleted",
)
"""Keys that a contact is answered with and that cannot be written."""

_KEY = check_text(MAX_IDENTIFIER)
_OTHER_COMPANY = check_object(
    {"company_id": Field(check_id, required=True), "view_all_tickets": Field(check_bool)}
)
_FIELDS = {
    "name": Field(check_text(MAX_NAME, blank=False), required=True),
    "email": Field(check_email),
    "phone": Field(check_phone),
    "mobile": Field(check_phone),
    "twitter_id": Field(_KEY),
    "facebook_id": Field(_KEY),
    "unique_external_id": Field(_KEY),
    "other_emails": Field(check_list(check_given_email, MAX_OTHER_EMAILS)),
    "address": Field(check_text(MAX_TEXT)),
    "description": Field(check_text(MAX_DESCRIPTION)),
    "job_title": Field(check_text(MAX_NAME)),
    "language": Field(check_text(MAX_NAME)),
    "time_zone": Field(check_text(MAX_NAME)),
    "company_id": Field(check_id),
    "view_all_tickets": Field(check_bool),
    "other_companies": Field(check_list(_OTHER_COMPANY, MAX_OTHER_COMPANIES)),
    "tags": Field(check_list(check_text(MAX_TAG, blank=False), MAX_TAGS, unique=True)),
    "avatar": Field(check_image(MAX_AVATAR)),
}
NEW_CONTACT = check_object(_FIELDS | {"custom_fields": ANY_CUSTOM_FIELDS}, READONLY)
CONTACT_CHANGE = check_object(for_change(_FIELDS) | {"custom_fields": ANY_CUSTOM_FIELDS}, READONLY)


_UNITED = ("tags", "other_companies", "avatar")
MERGE_FIELDS = {
    **{name: field for name, field in for_change(_FIELDS).items() if name not in _UNITED},
    "company_ids": Field(check_list(check_id, MAX_OTHER_COMPANIES)),
}
"""The values that can be chosen for a merge; lists that both have are united anyway."""


@functools.lru_cache(maxsize=16)
def contact_check(fields: tuple[CustomField, ...], *, change: bool) -> Check:
    """The check of a contact on an installation with these custom fields."""
    custom = {"custom_fields": custom_fields_field(fields, change=change)}
    return check_object((for_change(_FIELDS) if change else _FIELDS) | custom, READONLY)


def as_taken(values: Mapping[str, Any]) -> dict[str, Any]:
    """Checked values as the fields of a `NewContact`."""
    taken = dict(values)
    for name in ("other_emails", "tags"):
        if taken.get(name) is not None:
            taken[name] = tuple(taken[name])
    if taken.get("other_companies") is not None:
        taken["other_companies"] = tuple(_other_companies(taken["other_companies"]))
    return taken


def _other_companies(sent: Sequence[Mapping[str, Any]]) -> Sequence[OtherCompany]:
    return [OtherCompany(each["company_id"], bool(each.get("view_all_tickets"))) for each in sent]
