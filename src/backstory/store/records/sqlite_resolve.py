"""What a resolution writes on SQLite: at once, on the commit path.

It runs inside the write transaction, so what it reads cannot change before what it writes: requests that race to create
a contact give one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pysqlite3 as sqlite3

from backstory.model.activity import Publication
from backstory.model.identity import MAX_SHARERS, Holder, Sought
from backstory.model.moment import Microseconds
from backstory.store.records.resolve import Resolution, Suggestion, sent_ids, sent_numbers
from backstory.store.records.sqlite_homes import read_holder


class SqliteResolution(Resolution):
    """See `Resolution`."""

    def __init__(
        self,
        raw: sqlite3.Connection,
        publications: Sequence[Publication | Sought],
        owners: dict[str, Holder],
        moment: Microseconds,
    ) -> None:
        """`owners` are the holders of what `unique_keys` says of the same publications, by key."""
        # Few publications have an id or a number; owners of everything else come in with the group's one look-up.
        numbers = {number: _select_sharers(raw, number) for number in sent_numbers(publications)}
        super().__init__(owners | _select_by_id(raw, sent_ids(publications)), numbers, moment)
        self._raw = raw

    def _insert_contact(self, row: Mapping[str, Any]) -> int:
        marks = ",".join("?" * len(row))
        cursor = self._raw.execute(
            f"INSERT INTO contacts ({','.join(row)}) VALUES ({marks})",  # noqa: S608 - columns are ours
            list(row.values()),
        )
        return int(cursor.lastrowid or 0)

    def _insert_identifier(self, contact_id: int, key: str, kind: str, value: str) -> None:
        self._raw.execute(
            "INSERT INTO identifiers (key, kind, value, contact_id, created_at) VALUES (?, ?, ?, ?, ?)",
            (key, kind, value, contact_id, self._now),
        )

    def _insert_number(self, contact_id: int, number: str) -> None:
        self._raw.execute("INSERT OR IGNORE INTO contact_phones VALUES (?, ?)", (number, contact_id))

    def _fill_contact(self, contact_id: int, fields: Mapping[str, str]) -> None:
        assignments = ", ".join(f"{column} = coalesce({column}, ?)" for column in fields)
        self._raw.execute(
            f"UPDATE contacts SET {assignments}, updated_at = ? WHERE id = ?",  # noqa: S608 - columns are ours
            (*fields.values(), self._now, contact_id),
        )

    def _rename_contact(self, contact_id: int, name: str, key: str) -> None:
        self._raw.execute(
            "UPDATE contacts SET name = ?, name_key = ?, named = 1, updated_at = ? WHERE id = ?",
            (name, key, self._now, contact_id),
        )
        self._raw.execute("DELETE FROM name_words WHERE object = 'contact' AND record_id = ?", (contact_id,))

    def _insert_words(self, contact_id: int, words: Collection[str]) -> None:
        for word in words:  # one or two, mostly
            self._raw.execute("INSERT INTO name_words VALUES ('contact', ?, ?)", (word, contact_id))

    def _company_of(self, domain: str) -> int | None:
        row = self._raw.execute(
            "SELECT company_id FROM company_domains WHERE domain = ?", (domain,)
        ).fetchone()
        return row[0] if row else None

    def _insert_suggestions(self, suggestions: Sequence[Suggestion]) -> None:
        self._raw.executemany(
            "INSERT OR IGNORE INTO merge_suggestions (contact_id, other_id, kind, created_at) VALUES (?, ?, ?, ?)",
            [(*each, self._now) for each in suggestions],
        )


def _select_by_id(raw: sqlite3.Connection, ids: Collection[str]) -> dict[str, Holder]:
    if not ids:
        return {}
    marks = ",".join("?" * len(ids))
    query = f"SELECT id, key, named, merged_into FROM contacts WHERE id IN ({marks})"  # noqa: S608 - only marks
    rows = raw.execute(query, [int(each) for each in ids]).fetchall()
    return {str(row[0]): read_holder(raw, row) for row in rows}


def _select_sharers(raw: sqlite3.Connection, number: str) -> Sequence[Holder]:
    rows = raw.execute(
        "SELECT c.id, c.key, c.named, c.merged_into FROM contact_phones p JOIN contacts c ON c.id = p.contact_id"
        " WHERE p.number = ? ORDER BY c.id LIMIT ?",
        (number, MAX_SHARERS),
    ).fetchall()
    return [read_holder(raw, row) for row in rows]
