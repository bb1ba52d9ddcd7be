"""Who stands for whom: a merged contact points to the one that stands for it, and so on (`contacts.merged_into`).

A contact's homes are its own row and all that were merged into it, directly or through others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from backstory.model.ids import ContactKey
from backstory.store.base import Homes
from backstory.store.records.tables import contacts


def _homes_query() -> sa.Select[tuple[int, bytes]]:
    """Up from a contact to the one that stands for it, then down to everybody who was merged into that one."""
    asked = sa.bindparam("contact_id", type_=contacts.c.id.type)
    up = (
        sa.select(contacts.c.id, contacts.c.merged_into)
        .where(contacts.c.id == asked)
        .cte("up", recursive=True)
    )
    above = contacts.alias("above")
    up = up.union_all(sa.select(above.c.id, above.c.merged_into).where(above.c.id == up.c.merged_into))
    own = contacts.alias("own")
    down = (
        sa.select(own.c.id, own.c.key, sa.literal(0).label("depth"))
        .where(own.c.id == up.c.id, up.c.merged_into.is_(None))
        .cte("down", recursive=True)
    )
    below = contacts.alias("below")
    down = down.union_all(
        sa.select(below.c.id, below.c.key, down.c.depth + 1).where(below.c.merged_into == down.c.id)
    )
    return sa.select(down.c.id, down.c.key).order_by(down.c.depth, down.c.id)


_HOMES = _homes_query()


def select_homes(connection: sa.Connection, contact_id: int) -> Homes | None:
    """The contact that stands for this one and its homes, its own first; None where there is no such number."""
    rows = connection.execute(_HOMES, {"contact_id": contact_id}).all()
    return Homes(rows[0].id, tuple(row.key for row in rows)) if rows else None


def select_home_ids(connection: sa.Connection, contact_id: int) -> tuple[int, ...]:
    """The numbers of a contact's homes, the one that stands for all first; empty where there is no such number."""
    return tuple(row.id for row in connection.execute(_HOMES, {"contact_id": contact_id}))


def select_survivors(connection: sa.Connection, contact_ids: Iterable[int]) -> dict[int, int]:
    """Which contact stands for each of these; numbers that do not exist are left out."""
    stands_for: dict[int, int] = {}
    seen: dict[int, int | None] = {}
    asked = set(contact_ids)
    wanted = asked
    while wanted:
        rows = connection.execute(
            sa.select(contacts.c.id, contacts.c.merged_into).where(contacts.c.id.in_(wanted))
        )
        seen |= {row.id: row.merged_into for row in rows}
        wanted = {above for above in seen.values() if above is not None and above not in seen}
    for contact_id in asked & seen.keys():
        current = contact_id
        while (above := seen[current]) is not None:
            current = above
        stands_for[contact_id] = current
    return stands_for


def select_contact_ids(connection: sa.Connection, keys: Sequence[ContactKey]) -> dict[ContactKey, int]:
    """The public numbers of the contacts that stand for these homes, by their key in the log."""
    rows = connection.execute(
        sa.select(contacts.c.key, contacts.c.id, contacts.c.merged_into).where(contacts.c.key.in_(keys))
    ).all()
    survivors = select_survivors(connection, [row.id for row in rows if row.merged_into is not None])
    return {row.key: survivors.get(row.id, row.id) for row in rows}
