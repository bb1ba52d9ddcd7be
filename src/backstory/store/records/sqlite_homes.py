"""Who stands for whom, read over the driver itself: on the commit path and for a page, where microseconds count.

The same as `homes.py`, where it is explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pysqlite3 as sqlite3

from backstory.model.identity import Holder
from backstory.store.base import Homes

_HOMES = """
WITH RECURSIVE
  up (id, above) AS (
    SELECT id, merged_into FROM contacts WHERE id = ?
    UNION ALL SELECT c.id, c.merged_into FROM contacts c JOIN up ON c.id = up.above),
  down (id, key) AS (
    SELECT c.id, c.key FROM contacts c JOIN up ON c.id = up.id WHERE up.above IS NULL
    UNION ALL SELECT c.id, c.key FROM contacts c JOIN down ON c.merged_into = down.id)
SELECT id, key FROM down
"""  # the rows come in the order in which they are found: who stands for all is the first
_SURVIVOR = """
WITH RECURSIVE up (id, above) AS (
    SELECT id, merged_into FROM contacts WHERE id = ?
    UNION ALL SELECT c.id, c.merged_into FROM contacts c JOIN up ON c.id = up.above)
SELECT id FROM up WHERE above IS NULL
"""


def read_homes(raw: sqlite3.Connection, contact_id: int) -> Homes | None:
    """See `homes.select_homes`."""
    rows = raw.execute(_HOMES, (contact_id,)).fetchall()
    return Homes(rows[0][0], tuple(row[1] for row in rows)) if rows else None


def read_holder(raw: sqlite3.Connection, row: Sequence[Any]) -> Holder:
    """A holder from the columns id, key, named and merged_into of its row."""
    contact_id, key, named, merged_into = row
    if merged_into is None:  # nearly always
        return Holder(contact_id, key, bool(named))
    (survivor,) = raw.execute(_SURVIVOR, (merged_into,)).fetchone()
    return Holder(contact_id, key, bool(named), survivor)


def read_contact_id(raw: sqlite3.Connection, key: bytes | None) -> int | None:
    """The number of the contact that stands for a home; None where it was erased."""
    row = raw.execute("SELECT id, key, named, merged_into FROM contacts WHERE key = ?", (key,)).fetchone()
    return read_holder(raw, row).person if row else None
