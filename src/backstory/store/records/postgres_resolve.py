"""A resolution on PostgreSQL: looked up with one statement, decided in memory, written with one call.

Nothing is locked between the look and the write. The write (`write_contacts` in log/postgres_schema.sql) holds the
log's lock and finds out whether what was read still holds; where not, it is all done again. So requests that race to
create a contact give one, in however many processes they run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from backstory.model.activity import Publication
from backstory.model.identity import MAX_SHARERS, Holder, Kind, Sought, email_domain
from backstory.model.ids import ActivityId
from backstory.model.moment import Microseconds
from backstory.store.records.resolve import Resolution, Suggestion, sent_ids, sent_numbers, unique_keys

_LARGEST_ID = 2**63 - 1

_TABLES = ("contacts", "name_words", "contact_phones", "merge_suggestions", "identifiers")
"""What is inserted into, in this order."""

_HOLDER = "c.id, c.key, c.named, CASE WHEN c.merged_into IS NOT NULL THEN survivor_of(c.merged_into) END"

LOOK_UP = f"""
SELECT 'owner', i.key, {_HOLDER}, NULL::bytea, NULL::bigint, NULL::bigint, NULL::bytea, NULL::bytea
  FROM unnest($1::text[]) AS wanted JOIN identifiers i ON i.key = wanted JOIN contacts c ON c.id = i.contact_id
UNION ALL
SELECT 'owner', c.id::text, {_HOLDER}, NULL, NULL, NULL, NULL, NULL
  FROM contacts c WHERE c.id = ANY ($2::bigint[])
UNION ALL
SELECT 'number', wanted, {_HOLDER}, NULL, NULL, NULL, NULL, NULL
  FROM unnest($3::text[]) AS wanted CROSS JOIN LATERAL (
       SELECT contact_id FROM contact_phones WHERE number = wanted ORDER BY number, contact_id LIMIT {MAX_SHARERS}) p
       JOIN contacts c ON c.id = p.contact_id
UNION ALL
SELECT 'company', domain, company_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM company_domains WHERE domain = ANY ($4::text[])
UNION ALL
SELECT 'known', NULL, survivor_of(c.id), NULL, NULL, NULL,
       e.hash, e.position, coalesce(a.tail, d.tail), e.digest, a.origin
  FROM event_keys e LEFT JOIN activities a ON a.position = e.position LEFT JOIN deletions d ON d.deleted = e.position
       LEFT JOIN contacts c ON c.key = coalesce(a.contact_key, d.contact_key)
 WHERE e.hash = ANY ($5::bytea[]) AND (e.expires IS NULL OR e.expires > $6)
"""  # noqa: S608 - the parts are ours
"""What is known of identifiers, contacts' numbers, phone numbers, email domains and idempotency hashes at a moment."""


class Original(NamedTuple):
    """A replay's original; no contact where that is gone, no origin where it was deleted since."""

    id: ActivityId
    contact_id: int | None
    digest: bytes
    origin: bytes | None


class Found(NamedTuple):
    """What a resolution needs to know."""

    owners: dict[str, Holder]
    numbers: dict[str, list[Holder]]
    companies: dict[str, int]
    known: dict[bytes, Original]


def wanted(
    about: Sequence[Publication | Sought], hashes: Sequence[bytes], moment: Microseconds
) -> tuple[Any, ...]:
    """What `LOOK_UP` asks for."""
    ids = [int(each) for each in sent_ids(about)]
    possible = [each for each in ids if each <= _LARGEST_ID]
    emails = {item.value for each in about for item in each.identifiers if item.kind is Kind.EMAIL}
    domains = {domain for domain in map(email_domain, emails) if domain}
    return list(unique_keys(about)), possible, list(sent_numbers(about)), list(domains), hashes, moment


def read_found(rows: Iterable[Any]) -> Found:
    """What `LOOK_UP` answered."""
    found = Found({}, defaultdict(list), {}, {})
    for what, key, contact_id, contact_key, named, survivor, hashed, position, tail, digest, origin in rows:
        if what == "owner":
            found.owners[key] = Holder(contact_id, contact_key, named, survivor)
        elif what == "number":
            found.numbers[key].append(Holder(contact_id, contact_key, named, survivor))
        elif what == "company":
            found.companies[key] = contact_id
        else:
            found.known[hashed] = Original(ActivityId(position, tail), contact_id, digest, origin)
    return found


class PlannedResolution(Resolution):
    """Decides, and notes what is to be written. New contacts take their numbers from `ids`."""

    def __init__(self, found: Found, ids: Iterator[int], moment: Microseconds, sent: Iterable[str]) -> None:
        """`sent` are the phone numbers of the publications."""
        numbers = {number: found.numbers.get(number, ()) for number in sent}
        super().__init__(dict(found.owners), numbers, moment)
        self._ids = ids
        self._companies = found.companies
        self._read = {number: len(holders) for number, holders in numbers.items()}
        self._rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._fills: dict[int, dict[str, Any]] = {}
        self._names: dict[int, dict[str, Any]] = {}
        self.created: set[bytes] = set()
        """The keys of the contacts that are made."""

    def _insert_contact(self, row: Mapping[str, Any]) -> int:
        contact_id = next(self._ids)
        self.created.add(row["key"])
        self._rows["contacts"].append({"id": contact_id, **row, "key": f"\\x{row['key'].hex()}"})
        return contact_id

    def _insert_identifier(self, contact_id: int, key: str, kind: str, value: str) -> None:
        row = {"key": key, "kind": kind, "value": value, "contact_id": contact_id}
        self._rows["identifiers"].append(row | {"created_at": self._now})

    def _insert_number(self, contact_id: int, number: str) -> None:
        self._rows["contact_phones"].append({"number": number, "contact_id": contact_id})

    def _fill_contact(self, contact_id: int, fields: Mapping[str, str]) -> None:
        self._fills[contact_id] = {**fields, **self._fills.get(contact_id, {})}

    def _rename_contact(self, contact_id: int, name: str, key: str) -> None:
        row = {"id": contact_id, "name": name, "name_key": key, "updated_at": self._now}
        self._names[contact_id] = row
        words = self._rows["name_words"]
        words[:] = [word for word in words if word["record_id"] != contact_id]

    def _insert_words(self, contact_id: int, words: Collection[str]) -> None:
        self._rows["name_words"].extend(
            {"object": "contact", "word": word, "record_id": contact_id} for word in words
        )

    def _company_of(self, domain: str) -> int | None:
        return self._companies.get(domain)

    def _insert_suggestions(self, suggestions: Sequence[Suggestion]) -> None:
        self._rows["merge_suggestions"].extend(
            {**each._asdict(), "created_at": self._now} for each in suggestions
        )

    def plan(self) -> str | None:
        """What `write_contacts` shall write, as JSON; None where that is nothing."""
        if not (self._rows or self._fills or self._names):
            return None
        plan = {
            "tables": {table: _alike(self._rows[table]) for table in _TABLES if self._rows[table]},
            "fills": [{"id": each, **row, "updated_at": self._now} for each, row in self._fills.items()],
            "names": list(self._names.values()),
            "numbers": self._read,
            "most": MAX_SHARERS,
        }
        return msgspec.json.encode(plan).decode()


def _alike(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the same keys each."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]
