"""Finding and making the contacts of a group of publications, on the commit path of every relational engine.

The rules are `model.identity.decide`; here they are carried out. What is written, and when, is the engine's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.activity import Publication
from backstory.model.contact import name_key
from backstory.model.identity import (
    Holder,
    Identifier,
    Kind,
    Match,
    Resolved,
    Sought,
    decide,
    email_domain,
    given_name,
    phone_only_key,
)
from backstory.model.ids import new_contact_key
from backstory.model.moment import Microseconds
from backstory.model.words import split_words

_COLUMNS = {
    Kind.EXTERNAL_ID: "unique_external_id",
    Kind.EMAIL: "email",
    Kind.FACEBOOK: "facebook_id",
    Kind.TWITTER: "twitter_id",
    Kind.PHONE: "phone",
    Kind.MOBILE: "mobile",
}

_NOT_UNIQUE = frozenset({Kind.ID, Kind.PHONE, Kind.MOBILE})


class Suggestion(NamedTuple):
    """Two contacts that an agent should look at, the lower number first, and the kind of what both claim."""

    contact_id: int
    other_id: int
    kind: str


class Resolution(ABC):
    """One group's resolution. What it finds and makes is seen by the later publications of the group."""

    def __init__(
        self, owners: dict[str, Holder], numbers: Mapping[str, Sequence[Holder]], moment: Microseconds
    ) -> None:
        """`owners` hold what `unique_keys` and `sent_ids` say, by key; `numbers` what `sent_numbers` says, each."""
        self._owners = owners
        self._numbers = dict(numbers)
        self._now = moment

    @abstractmethod
    def _insert_contact(self, row: Mapping[str, Any]) -> int:
        """Write a new contact; its number."""

    @abstractmethod
    def _insert_identifier(self, contact_id: int, key: str, kind: str, value: str) -> None:
        """Write an identifier that nobody has."""

    @abstractmethod
    def _insert_number(self, contact_id: int, number: str) -> None:
        """Write that a contact holds a phone number; it may hold it already."""

    @abstractmethod
    def _fill_contact(self, contact_id: int, fields: Mapping[str, str]) -> None:
        """Write fields of a contact where they are empty; overwrite none."""

    @abstractmethod
    def _rename_contact(self, contact_id: int, name: str, key: str) -> None:
        """Write the name that a person gave a contact, with its `name_key`, and drop the words of the old one."""

    @abstractmethod
    def _insert_words(self, contact_id: int, words: Collection[str]) -> None:
        """Write the words of a contact's name (`name_words`, object "contact"); it has none yet."""

    @abstractmethod
    def _company_of(self, domain: str) -> int | None:
        """The company that has a domain (`company_domains`); None where none has."""

    @abstractmethod
    def _insert_suggestions(self, suggestions: Sequence[Suggestion]) -> None:
        """Write merge suggestions; they may be there already."""

    def resolve(self, publication: Publication | Sought) -> Resolved:
        """Find or make the contact of one publication.

        Raises:
            FieldErrors: `contact.id` names nobody.
        """
        identifiers = publication.identifiers
        if identifiers[0].kind is Kind.ID and identifiers[0].key not in self._owners:
            message = f"There is no contact {identifiers[0].value}."
            raise FieldErrors([Fault("contact.id", message, Code.INVALID_VALUE)])
        if (
            len(identifiers) == 1
        ):  # most requests, and most of their contacts are known: nothing is to be decided
            (only,) = identifiers
            known = None if only.kind.is_number else self._owners.get(only.key)
            if known is not None and (known.named or not publication.contact_name):
                return Resolved(known.person, known.contact_key, only.kind, ())
        match = decide(identifiers, self._owners, self._numbers)
        holder = match.holder or self._create(publication, match)
        if match.holder and match.additions:
            self._add(holder, match.additions)
            fields = _fields(match.additions)
            if fields:
                self._fill_contact(holder.contact_id, fields)
        if publication.contact_name and not holder.named:
            holder = self._name(holder, publication.contact_name)
        self._suggest(holder, match, identifiers)
        return Resolved(holder.person, holder.contact_key, match.matched_by, match.conflicts)

    def _create(self, publication: Publication | Sought, match: Match) -> Holder:
        name, named = given_name(publication.contact_name, publication.identifiers)
        row = {"key": new_contact_key(), "name": name, "named": named, **_fields(publication.identifiers)}
        row |= {"name_key": name_key(name), "created_at": self._now, "updated_at": self._now}
        if domain := email_domain(row.get("email")):
            row["company_id"] = self._company_of(domain)
        holder = Holder(self._insert_contact(row), row["key"], named)
        self._insert_words(holder.contact_id, set(split_words(name)))
        self._add(holder, match.additions)
        if match.shared is not None:
            self._claim(holder, phone_only_key(match.shared), "phone-only", match.shared)
        return holder

    def _add(self, holder: Holder, additions: Sequence[Identifier]) -> None:
        """Give a contact identifiers that nobody has."""
        for item in additions:
            if item.kind.is_number:
                self._insert_number(holder.contact_id, item.key)
                holders = self._numbers.get(item.key, ())
                if holder not in holders:  # phone and mobile may be the same number
                    self._numbers[item.key] = [*holders, holder]
            else:
                self._claim(holder, item.key, item.kind, item.value)

    def _claim(self, holder: Holder, key: str, kind: str, value: str) -> None:
        self._insert_identifier(holder.contact_id, key, kind, value)
        self._owners[key] = holder

    def _name(self, holder: Holder, name: str) -> Holder:
        self._rename_contact(holder.contact_id, name, name_key(name))
        self._insert_words(holder.contact_id, set(split_words(name)))
        named = holder._replace(named=True)
        for key, owner in self._owners.items():
            if owner == holder:
                self._owners[key] = named
        for key, holders in self._numbers.items():
            if holder in holders:
                self._numbers[key] = [named if other == holder else other for other in holders]
        return named

    def _suggest(self, holder: Holder, match: Match, identifiers: Sequence[Identifier]) -> None:
        """Record the pairs that an agent should look at: both claim an identifier, or a new contact shares a number."""
        others = {conflict.contact_id: conflict.field for conflict in match.conflicts}
        if match.shared is not None or match.holder is None:
            numbers = [item for item in identifiers if item.kind.is_number]
            others |= {other.person: item.field for item in numbers for other in self._numbers[item.key]}
        suggestions = [
            Suggestion(min(holder.person, other), max(holder.person, other), field.split(".")[1])
            for other, field in others.items()
            if other != holder.person
        ]
        if suggestions:
            self._insert_suggestions(suggestions)


def _fields(identifiers: Iterable[Identifier]) -> dict[str, Any]:
    """The fields of a contact that identifiers belong into."""
    return {_COLUMNS[item.kind]: item.value for item in identifiers if item.kind in _COLUMNS}


def unique_keys(publications: Iterable[Publication | Sought]) -> set[str]:
    """The keys in `identifiers` whose owners a resolution of these publications needs to know."""
    publications = tuple(publications)
    keys = {item.key for each in publications for item in each.identifiers if item.kind not in _NOT_UNIQUE}
    return keys.union(map(phone_only_key, sent_numbers(publications)))


def sent_numbers(publications: Iterable[Publication | Sought]) -> set[str]:
    """The phone numbers whose holders a resolution of these publications needs to know."""
    return {item.key for each in publications for item in each.identifiers if item.kind.is_number}


def sent_ids(publications: Iterable[Publication | Sought]) -> set[str]:
    """The contacts' numbers that were sent, as keys: each is its owner's, where there is one."""
    return {item.key for each in publications for item in each.identifiers if item.kind is Kind.ID}
