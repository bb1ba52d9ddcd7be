"""By what a contact is known, and how activities find theirs (contract 1.1, "Which contact"): the rules alone."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec
import phonenumbers


class Kind(StrEnum):
    """The kinds of identifier, strongest first: the order in which they are looked for."""

    ID = "id"
    EXTERNAL_ID = "unique_external_id"
    IDENTITY = "identities"
    EMAIL = "email"
    FACEBOOK = "facebook_id"
    TWITTER = "twitter_id"
    PHONE = "phone"
    MOBILE = "mobile"

    @property
    def is_number(self) -> bool:
        """Phone numbers are shared by people, so they match last and are never unique."""
        return self in (Kind.PHONE, Kind.MOBILE)


class Identifier(NamedTuple):
    """One identifier of a request.

    `key` is what is compared; `value` is what the sender wrote; `field` is the dotted path that errors name.
    """

    kind: Kind
    key: str
    value: str
    field: str


EMAIL = r'(?:"(?:\\[^\s\u0000-\u001f]|[^"\\\s\u0000-\u001f])*"|[^"@\s\u0000-\u001f])+@[^@\s\u0000-\u001f]+'
"""What is an email address, as a regular expression for Python and for JSON Schema."""

_EMAIL = re.compile(EMAIL)
_PUNCTUATION = re.compile(r"[^\w+]|_")


def email_key(email: str) -> str:
    """Emails match case-insensitively, and however an accent is written: as one character or as two."""
    text = email.strip().lower()
    return f"email:{text if text.isascii() else unicodedata.normalize('NFC', text)}"


def email_domain(email: str | None) -> str | None:
    """The domain of an email address as companies are found by it; None where there is none."""
    return (email or "").rpartition("@")[2].strip().lower() or None


def external_id_key(value: str) -> str:
    """External ids match exactly."""
    return f"external:{value}"


def identity_key(source: str, value: str) -> str:
    """An id in another system, unique by (source, id). The length makes the pair unambiguous."""
    return f"identity:{len(source)}:{source}:{value}"


def facebook_key(value: str) -> str:
    """Facebook ids match exactly."""
    return f"facebook:{value}"


def twitter_key(value: str) -> str:
    """Twitter ids match exactly."""
    return f"twitter:{value}"


def phone_only_key(number: str) -> str:
    """The contact that takes what is known by a shared number alone."""
    return f"phone-only:{number}"


@functools.lru_cache(maxsize=4096)
def phone_key(number: str, region: str | None = None) -> str:
    """A phone number in E.164 where it can be read as one (`region` for numbers without +), else bare of punctuation.

    Raises:
        ValueError: there is no digit in it.
    """
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        plain = "".join(str(unicodedata.decimal(char, char)) for char in number)
        # Letters stay: 1-800-FLOWERS and 1-800-CONTACTS must not become one.
        text = _PUNCTUATION.sub("", plain.lower())
        if not any(char.isdigit() for char in text):
            raise ValueError("a phone number needs digits") from None
        return text
    text = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return f"{text};ext={parsed.extension}" if parsed.extension else text


def is_email(text: str) -> bool:
    """Whether a text can be an email address: something, an @, something, and no white space.

    No legal address without white space is refused: another @, or a ", stands in a local part that is quoted, or
    nowhere (RFC 5322).
    """
    return _EMAIL.fullmatch(text.strip()) is not None


def is_phone(text: str) -> bool:
    """Whether a text can be compared as a phone number."""
    try:
        phone_key(text)
    except ValueError:
        return False
    return True


MAX_SHARERS = 20
"""How many holders of one number are looked at: more share a switchboard, which says nothing of who they are."""


class Holder(NamedTuple):
    """A contact as the rules need it: its public number, its key in the log, whether a person has named it.

    `survivor` is the contact that stands for it, where it was merged: what was its own (an identifier, a home in the
    log) stays its own, but both are one person.
    """

    contact_id: int
    contact_key: bytes
    named: bool
    survivor: int | None = None

    @property
    def person(self) -> int:
        """The number by which everybody knows this contact now."""
        return self.contact_id if self.survivor is None else self.survivor


class Sought(NamedTuple):
    """Whom a request is about: the identifiers that it gave, strongest first, and the name that it gave."""

    identifiers: tuple[Identifier, ...]
    contact_name: str | None = None


class Conflict(msgspec.Struct, frozen=True):
    """An identifier that was sent and belongs to another contact: never moved, always told."""

    field: str
    contact_id: int


class Match(NamedTuple):
    """What the rules decided for one request.

    `holder` is None where a contact must be created. `additions` are the identifiers that nobody has yet.
    `shared` is the number that several contacts hold, where nothing but numbers was sent: the activity belongs to
    the phone-only contact of that number. With anything stronger beside it, a person whom nobody knows yet is
    somebody new: one number in common must not mix two people's histories.
    """

    holder: Holder | None
    matched_by: str
    additions: tuple[Identifier, ...]
    conflicts: tuple[Conflict, ...]
    shared: str | None = None


CREATED = "created"


class Resolved(NamedTuple):
    """Whose a request is, how they were found, and what was in the way."""

    contact_id: int
    contact_key: bytes
    matched_by: str
    conflicts: tuple[Conflict, ...]


def decide(
    identifiers: Sequence[Identifier], owners: Mapping[str, Holder], numbers: Mapping[str, Sequence[Holder]]
) -> Match:
    """Which contact a request is about.

    Args:
        identifiers: those of the request, strongest first.
        owners: who owns each unique identifier (and `phone-only:` key), by key.
        numbers: who holds each phone number, by key.
    """
    for item in identifiers:
        if item.kind.is_number:
            holders = numbers.get(item.key, ())
            people = {other.person for other in holders}
            if len(people) > 1 and all(other.kind.is_number for other in identifiers):
                holder = owners.get(phone_only_key(item.key))
                unheld = tuple(other for other in identifiers if not numbers.get(other.key))
                return Match(holder, item.kind if holder else CREATED, unheld, (), item.key)
            # Several rows of one person: the one that stands for the others, where it has the number itself.
            holder = min(holders, key=_is_merged) if len(people) == 1 else None
        else:
            holder = owners.get(item.key)
        if holder is not None:
            return Match(holder, item.kind, *_compare(holder, identifiers, owners, numbers))
    return Match(None, CREATED, tuple(identifiers), ())


def _compare(
    holder: Holder,
    identifiers: Sequence[Identifier],
    owners: Mapping[str, Holder],
    numbers: Mapping[str, Sequence[Holder]],
) -> tuple[tuple[Identifier, ...], tuple[Conflict, ...]]:
    """Which identifiers nobody has yet, and which belong to somebody else than `holder`."""
    additions: list[Identifier] = []
    conflicts: list[Conflict] = []
    for item in identifiers:
        owner = owners.get(item.key)
        holders = numbers.get(item.key, ()) if item.kind.is_number else (owner,) if owner else ()
        if not holders:
            additions.append(item)
        elif len(holders) < MAX_SHARERS and holder.person not in (other.person for other in holders):
            conflicts.append(Conflict(item.field, holders[0].person))
    return tuple(additions), tuple(conflicts)


def _is_merged(holder: Holder) -> bool:
    return holder.survivor is not None


def given_name(name: str | None, identifiers: Sequence[Identifier]) -> tuple[str, bool]:
    """The name of a new contact, and whether a person gave it.

    A name made from an identifier counts as no name: the first real one replaces it.
    """
    if name:
        return name, True
    for item in identifiers:
        if item.kind is Kind.EMAIL:
            return item.value.partition("@")[0] or item.value, False
    return identifiers[0].value, False
