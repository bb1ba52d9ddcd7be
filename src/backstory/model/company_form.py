"""What can be written about a company: every field with its check, for JSON and CSV alike."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from backstory.model.activity import MAX_DESCRIPTION, MAX_NAME
from backstory.model.checks import (
    Check,
    Field,
    check_date,
    check_list,
    check_object,
    check_pattern,
    check_text,
    for_change,
)
from backstory.model.company import DOMAIN_PATTERN, NewCompany, is_domain
from backstory.model.custom_field import ANY_CUSTOM_FIELDS, CustomField, custom_fields_field

MAX_DOMAINS = 100
READONLY = ("id", "created_at", "updated_at")

_DOMAIN = check_pattern(is_domain, "a domain such as example.com", DOMAIN_PATTERN, blank=False)
_FIELDS = {
    "name": Field(check_text(MAX_NAME, blank=False), required=True),
    "description": Field(check_text(MAX_DESCRIPTION)),
    "note": Field(check_text(MAX_DESCRIPTION)),
    "domains": Field(check_list(_DOMAIN, MAX_DOMAINS, unique=True)),
    "health_score": Field(check_text(MAX_NAME)),
    "account_tier": Field(check_text(MAX_NAME)),
    "renewal_date": Field(check_date),
    "industry": Field(check_text(MAX_NAME)),
}
NEW_COMPANY = check_object(_FIELDS | {"custom_fields": ANY_CUSTOM_FIELDS}, READONLY)
COMPANY_CHANGE = check_object(for_change(_FIELDS) | {"custom_fields": ANY_CUSTOM_FIELDS}, READONLY)


@functools.lru_cache(maxsize=16)
def company_check(fields: tuple[CustomField, ...], *, change: bool) -> Check:
    """The check of a company on an installation with these custom fields."""
    custom = {"custom_fields": custom_fields_field(fields, change=change)}
    return check_object((for_change(_FIELDS) if change else _FIELDS) | custom, READONLY)


def new_company(values: Mapping[str, Any]) -> NewCompany:
    """A company of checked values."""
    given = {name: value for name, value in values.items() if value is not None}
    return NewCompany(**given | {"domains": tuple(given.get("domains", ()))})
