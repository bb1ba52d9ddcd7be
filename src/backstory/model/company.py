"""A company as the API answers it (contract 9), and what can be written about one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from backstory.model.moment import Microseconds, format_second

DOMAIN_PATTERN = r"^\s*(?:[^\s@/:.]+\.)+[^\s@/:.]+\s*$"
_DOMAIN = re.compile(DOMAIN_PATTERN)


def is_domain(text: str) -> bool:
    """Whether a text can be the part of an email behind the @."""
    return _DOMAIN.fullmatch(text) is not None


def company_name_key(name: str) -> str:
    """Names match case-insensitively."""
    return name.strip().casefold()


def domain_key(text: str) -> str:
    """Domains match case-insensitively."""
    return text.strip().lower()


class NewCompany(Struct, frozen=True):
    """A company to create, checked. `renewal_date` is a day, `YYYY-MM-DD`."""

    name: str
    description: str | None = None
    note: str | None = None
    domains: tuple[str, ...] = ()
    health_score: str | None = None
    account_tier: str | None = None
    renewal_date: str | None = None
    industry: str | None = None
    custom_fields: Mapping[str, Any] = {}


class Company(Struct, frozen=True):
    """A stored company."""

    id: int
    name: str
    description: str | None
    note: str | None
    health_score: str | None
    account_tier: str | None
    renewal_date: str | None
    industry: str | None
    created_at: Microseconds
    updated_at: Microseconds
    domains: tuple[str, ...] = ()
    custom_fields: Mapping[str, Any] = {}

    def answer(self) -> dict[str, Any]:
        """The company with the key set of the contract."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "note": self.note,
            "domains": list(self.domains),
            "health_score": self.health_score,
            "account_tier": self.account_tier,
            "renewal_date": f"{self.renewal_date}T00:00:00Z" if self.renewal_date else None,
            "industry": self.industry,
            "custom_fields": dict(self.custom_fields),
            "created_at": format_second(self.created_at),
            "updated_at": format_second(self.updated_at),
        }
