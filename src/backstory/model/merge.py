"""Merges of contacts: what one changed, so that undoing gives back exactly that, and which ones are suggested."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from backstory.model.moment import Microseconds, format_second


class MergeChanges(Struct, frozen=True, omit_defaults=True):
    """What a merge wrote on the contact that was kept.

    `fields` and `custom_fields` are each what was there before and what the merge put there; `tags` and
    `other_companies` are what it added; `claimed` are keys of identifiers that nobody had before.
    """

    fields: dict[str, tuple[Any, Any]] = {}
    custom_fields: dict[str, tuple[Any, Any]] = {}
    tags: tuple[str, ...] = ()
    other_companies: tuple[int, ...] = ()
    claimed: tuple[str, ...] = ()


class Merge(Struct, frozen=True):
    """One contact that was merged into another, and whether that was undone."""

    id: int
    primary_id: int
    secondary_id: int
    agent_id: int | None
    merged_at: Microseconds
    undone_at: Microseconds | None
    undone_by: int | None

    def answer(self) -> dict[str, Any]:
        """The merge as the API answers it."""
        return {
            "id": self.id,
            "primary_contact_id": self.primary_id,
            "secondary_contact_id": self.secondary_id,
            "merged_at": format_second(self.merged_at),
            "merged_by": self.agent_id,
            "undone_at": None if self.undone_at is None else format_second(self.undone_at),
            "undone_by": self.undone_by,
        }


class MergeSuggestion(Struct, frozen=True):
    """A contact who may be the same person; `reasons` are the kinds of identifier that both claimed."""

    contact_id: int
    name: str
    email: str | None
    phone: str | None
    mobile: str | None
    reasons: tuple[str, ...]
    created_at: Microseconds

    def answer(self) -> dict[str, Any]:
        """The suggestion as the API answers it."""
        return {
            "contact_id": self.contact_id,
            "name": self.name,
            "email": self.email,
            "phone": self.phone,
            "mobile": self.mobile,
            "reasons": list(self.reasons),
            "created_at": format_second(self.created_at),
        }
