"""A contact as the API answers it (contract 5), and what can be written about one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from backstory.model.attachment import Attachment
from backstory.model.identity import Kind, email_key, external_id_key, facebook_key, twitter_key
from backstory.model.ids import ContactKey
from backstory.model.moment import Microseconds, format_second
from backstory.model.words import split_words

DEFAULT_LANGUAGE = "en"
MAX_NAME_KEY = 255

UNIQUE_FIELDS = {
    "email": (Kind.EMAIL, email_key),
    "twitter_id": (Kind.TWITTER, twitter_key),
    "facebook_id": (Kind.FACEBOOK, facebook_key),
    "unique_external_id": (Kind.EXTERNAL_ID, external_id_key),
}
"""The fields whose values only one contact can have: their kind of identifier, and how they are compared."""

NOT_LISTED = ("avatar", "other_emails", "tags")
"""Keys that lists leave out."""


def name_key(name: str) -> str:
    """A name as lists are ordered by it: its words without case and accents."""
    return (" ".join(split_words(name)) or name.casefold())[:MAX_NAME_KEY]


class OtherCompany(Struct, frozen=True):
    """A further company of a contact, and whether the contact sees the tickets of everybody there."""

    company_id: int
    view_all_tickets: bool = False


class NewContact(Struct, frozen=True):
    """A contact to create, checked."""

    name: str
    email: str | None = None
    phone: str | None = None
    mobile: str | None = None
    twitter_id: str | None = None
    facebook_id: str | None = None
    unique_external_id: str | None = None
    address: str | None = None
    description: str | None = None
    job_title: str | None = None
    language: str | None = None
    time_zone: str | None = None
    company_id: int | None = None
    view_all_tickets: bool = False
    other_companies: tuple[OtherCompany, ...] = ()
    other_emails: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    custom_fields: Mapping[str, Any] = {}


class State(StrEnum):
    """What a list of contacts can be narrowed to."""

    BLOCKED = "blocked"
    DELETED = "deleted"
    UNVERIFIED = "unverified"
    VERIFIED = "verified"


class ContactFilters(Struct, frozen=True):
    """What a list of contacts is narrowed to; all that is given must hold."""

    email: str | None = None
    mobile: str | None = None
    phone: str | None = None
    company_id: int | None = None
    unique_external_id: str | None = None
    state: State | None = None
    updated_since: Microseconds | None = None


class Contact(Struct, frozen=True):
    """A stored contact. `key` is its name in the activity log; `named` is false while its name was made from an id."""

    id: int
    key: ContactKey
    name: str
    named: bool
    email: str | None
    phone: str | None
    mobile: str | None
    twitter_id: str | None
    facebook_id: str | None
    unique_external_id: str | None
    address: str | None
    description: str | None
    job_title: str | None
    language: str
    time_zone: str | None
    deleted: bool
    created_at: Microseconds
    updated_at: Microseconds
    active: bool = False
    blocked: bool = False
    is_agent: bool = False
    company_id: int | None = None
    view_all_tickets: bool = False
    other_companies: tuple[OtherCompany, ...] = ()
    other_emails: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    custom_fields: Mapping[str, Any] = {}
    avatar: Attachment | None = None

    def answer(self, *, avatar: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The contact with the key set of the contract; `avatar` is its picture as it is answered."""
        first, _, last = self.name.partition(" ")
        shown: dict[str, Any] = {
            "id": self.id,
            "active": self.active,
            "name": self.name,
            "first_name": first,
            "last_name": last or None,
            "email": self.email,
            "phone": self.phone,
            "mobile": self.mobile,
            "twitter_id": self.twitter_id,
            "facebook_id": self.facebook_id,
            "unique_external_id": self.unique_external_id,
            "address": self.address,
            "description": self.description,
            "job_title": self.job_title,
            "language": self.language,
            "time_zone": self.time_zone,
            "company_id": self.company_id,
            "view_all_tickets": self.view_all_tickets,
            "other_companies": [msgspec.to_builtins(other) for other in self.other_companies],
            "other_emails": list(self.other_emails),
            "social_handler": None,
            "contact_type": None,
            "tags": list(self.tags),
            "custom_fields": dict(self.custom_fields),
            "avatar": avatar,
            "csat_rating": None,
            "preferred_source": None,
            "created_at": format_second(self.created_at),
            "updated_at": format_second(self.updated_at),
        }
        return shown | {"deleted": True} if self.deleted else shown

    def listed(self) -> dict[str, Any]:
        """The contact as lists answer it."""
        return {name: value for name, value in self.answer().items() if name not in NOT_LISTED}
