"""A contact as the API answers it (contract 5), and what can be written when one is created."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from backstory.model.ids import ContactKey
from backstory.model.moment import Microseconds, format_moment


class NewContact(Struct, frozen=True):
    """A contact to create, checked."""

    name: str
    email: str | None = None
    phone: str | None = None
    mobile: str | None = None
    twitter_id: str | None = None
    unique_external_id: str | None = None
    address: str | None = None
    description: str | None = None
    job_title: str | None = None
    language: str | None = None
    time_zone: str | None = None


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
    other_emails: tuple[str, ...] = ()

    def answer(self) -> dict[str, Any]:
        """The contact with the key set of the contract."""
        first, _, last = self.name.partition(" ")
        shown: dict[str, Any] = {
            "id": self.id,
            "active": False,
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
            "company_id": None,
            "view_all_tickets": False,
            "other_companies": [],
            "other_emails": list(self.other_emails),
            "social_handler": None,
            "contact_type": None,
            "tags": [],
            "custom_fields": {},
            "avatar": None,
            "csat_rating": None,
            "preferred_source": None,
            "created_at": format_moment(self.created_at - self.created_at % 1_000_000),
            "updated_at": format_moment(self.updated_at - self.updated_at % 1_000_000),
        }
        return shown | {"deleted": True} if self.deleted else shown
