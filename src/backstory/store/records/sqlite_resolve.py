"""Finding and making the contacts of a group of publications on SQLite, on the commit path.

The rules are `model.identity.decide`; here are its queries. It runs inside the write transaction, so what it reads
cannot change before what it writes: requests that race to create a contact give one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pysqlite3 as sqlite3

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.activity import Publication
from backstory.model.identity import (
    MAX_SHARERS,
    Holder,
    Identifier,
    Kind,
    Match,
    Resolved,
    Sought,
    decide,
    given_name,
    phone_only_key,
)
from backstory.model.ids import new_contact_key
from backstory.model.moment import Microseconds

_COLUMNS = {
    Kind.EXTERNAL_ID: "unique_external_id",
    Kind.EMAIL: "email",
    Kind.FACEBOOK: "facebook_id",
    Kind.TWITTER: "twitter_id",
    Kind.PHONE: "phone",
    Kind.MOBILE: "mobile",
}


_LOOKED_UP_HERE = frozenset({Kind.ID, Kind.PHONE, Kind.MOBILE})
"""What few publications have; owners of everything else come in with the group's one look-up."""


class Resolution:
    """One group's resolution. What it finds and makes is seen by the later publications of the group."""

    def __init__(
        self,
        raw: sqlite3.Connection,
        publications: Iterable[Publication | Sought],
        owners: dict[str, Holder],
        moment: Microseconds,
    ) -> None:
        """`owners` are the holders of what `unique_keys` says of the same publications, by key."""
        self._raw = raw
        self._now = moment
        self._owners = owners
        weak = {item for each in publications for item in each.identifiers if item.kind in _LOOKED_UP_HERE}
        ids = [item.key for item in weak if item.kind is Kind.ID]
        self._owners |= _select_by_id(raw, ids)
        self._numbers = {item.key: _select_sharers(raw, item.key) for item in weak if item.kind.is_number}

    def resolve(self, publication: Publication | Sought) -> Resolved:
        """Find or make the contact of one publication.

        Raises:
            FieldErrors: `contact.id` names nobody.
        """
        identifiers = publication.identifiers
        if identifiers[0].kind is Kind.ID and identifiers[0].key not in self._owners:
            message = f"there is no contact {identifiers[0].value}"
            raise FieldErrors([Fault("contact.id", message, Code.INVALID_VALUE)])
        match = decide(identifiers, self._owners, self._numbers)
        holder = match.holder or self._create(publication, match)
        if match.holder and match.additions:
            self._add(holder, match.additions)
            self._fill(holder, match.additions)
        if publication.contact_name and not holder.named:
            holder = self._name(holder, publication.contact_name)
        self._suggest(holder, match, identifiers)
        return Resolved(holder.contact_id, holder.contact_key, match.matched_by, match.conflicts)

    def _create(self, publication: Publication | Sought, match: Match) -> Holder:
        name, named = given_name(publication.contact_name, publication.identifiers)
        fields = _fields(publication.identifiers)
        row = {"key": new_contact_key(), "name": name, "named": named, **fields}
        row |= {"created_at": self._now, "updated_at": self._now}
        marks = ",".join("?" * len(row))
        cursor = self._raw.execute(
            f"INSERT INTO contacts ({','.join(row)}) VALUES ({marks})",  # noqa: S608 - columns are ours
            list(row.values()),
        )
        holder = Holder(int(cursor.lastrowid or 0), row["key"], named)
        self._add(holder, match.additions)
        if match.shared is not None:
            self._claim(holder, phone_only_key(match.shared), "phone-only", match.shared)
        return holder

    def _add(self, holder: Holder, additions: Sequence[Identifier]) -> None:
        """Give a contact identifiers that nobody has."""
        for item in additions:
            if item.kind.is_number:
                self._raw.execute(
                    "INSERT OR IGNORE INTO contact_phones VALUES (?, ?)", (item.key, holder.contact_id)
                )
                holders = self._numbers.get(item.key, ())
                if holder not in holders:  # phone and mobile may be the same number
                    self._numbers[item.key] = [*holders, holder]
            else:
                self._claim(holder, item.key, item.kind, item.value)

    def _claim(self, holder: Holder, key: str, kind: str, value: str) -> None:
        self._raw.execute(
            "INSERT INTO identifiers (key, kind, value, contact_id, created_at) VALUES (?, ?, ?, ?, ?)",
            (key, kind, value, holder.contact_id, self._now),
        )
        self._owners[key] = holder

    def _fill(self, holder: Holder, identifiers: Sequence[Identifier]) -> None:
        """Fill a contact's fields where they are empty; overwrite none."""
        fields = _fields(identifiers)
        if not fields:
            return
        assignments = ", ".join(f"{column} = coalesce({column}, ?)" for column in fields)
        self._raw.execute(
            f"UPDATE contacts SET {assignments}, updated_at = ? WHERE id = ?",  # noqa: S608 - columns are ours
            (*fields.values(), self._now, holder.contact_id),
        )

    def _name(self, holder: Holder, name: str) -> Holder:
        self._raw.execute(
            "UPDATE contacts SET name = ?, named = 1, updated_at = ? WHERE id = ?",
            (name, self._now, holder.contact_id),
        )
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
            others |= {other.contact_id: item.field for item in numbers for other in self._numbers[item.key]}
        if not others:
            return
        self._raw.executemany(
            "INSERT OR IGNORE INTO merge_suggestions VALUES (?, ?, ?, ?)",
            [
                (*sorted((holder.contact_id, other)), field.removeprefix("contact."), self._now)
                for other, field in others.items()
                if other != holder.contact_id
            ],
        )


def _fields(identifiers: Iterable[Identifier]) -> dict[str, Any]:
    """The fields of a contact that identifiers belong into."""
    return {_COLUMNS[item.kind]: item.value for item in identifiers if item.kind in _COLUMNS}


def unique_keys(publications: Iterable[Publication | Sought]) -> set[str]:
    """The keys whose owners a resolution of these publications needs to know."""
    keys = {
        item.key for each in publications for item in each.identifiers if item.kind not in _LOOKED_UP_HERE
    }
    numbers = {item.key for each in publications for item in each.identifiers if item.kind.is_number}
    return keys.union(map(phone_only_key, numbers))


def _select_by_id(raw: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Holder]:
    if not ids:
        return {}
    marks = ",".join("?" * len(ids))
    query = f"SELECT id, key, named FROM contacts WHERE id IN ({marks})"  # noqa: S608 - only marks
    rows = raw.execute(query, [int(each) for each in ids]).fetchall()
    return {str(row[0]): Holder(row[0], row[1], bool(row[2])) for row in rows}


def _select_sharers(raw: sqlite3.Connection, number: str) -> Sequence[Holder]:
    rows = raw.execute(
        "SELECT c.id, c.key, c.named FROM contact_phones p JOIN contacts c ON c.id = p.contact_id"
        " WHERE p.number = ? ORDER BY c.id LIMIT ?",
        (number, MAX_SHARERS),
    )
    return [Holder(row[0], row[1], bool(row[2])) for row in rows]
