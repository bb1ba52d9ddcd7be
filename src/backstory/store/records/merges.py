"""Queries on merges.

A merge moves no identifier, no ticket and no activity: it notes who stands for whom, and what it wrote on the contact
that was kept (docs/decisions/0008-merges.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from backstory.model.contact import UNIQUE_FIELDS, Contact, name_key
from backstory.model.identity import phone_key
from backstory.model.merge import Merge, MergeChanges, MergeSuggestion
from backstory.model.moment import Microseconds
from backstory.store.records.contacts import CONTACT, keep_numbers, update_contact
from backstory.store.records.homes import select_home_ids, select_survivors
from backstory.store.records.lookups import replace_custom_values, replace_name_words, replace_tags
from backstory.store.records.tables import (
    LISTED,
    companies,
    contact_companies,
    contact_merges,
    contact_phones,
    contacts,
    erasures,
    identifiers,
    merge_suggestions,
)
from backstory.store.records.writing import insert_if_absent

FILLED = (
    "email",
    "phone",
    "mobile",
    "twitter_id",
    "facebook_id",
    "unique_external_id",
    "address",
    "description",
    "job_title",
    "time_zone",
    "company_id",
)
"""What the contact that is kept takes over where it has nothing itself."""

_MERGE = [contact_merges.c[name] for name in Merge.__struct_fields__]


def lock_contacts(connection: sa.Connection, contact_ids: Iterable[int]) -> dict[int, sa.Row[Any]]:
    """The rows of contacts by number, kept from others until the end of the transaction; missing ones are left out.

    In the order of their numbers: two merges of the same contacts wait for each other, and never both.
    """
    query = sa.select(contacts).where(contacts.c.id.in_(set(contact_ids))).order_by(contacts.c.id)
    return {row.id: row for row in connection.execute(query.with_for_update())}


def hindrance(row: sa.Row[Any]) -> str | None:
    """Why a contact can have no part in a merge; None where it can."""
    if row.merged_into is not None:
        return "was merged into another one"
    if row.deleted_at is not None:
        return "is deleted"
    if row.blocked_at is not None:
        return "is blocked"
    if row.is_agent:
        return "is an agent"
    return None


def insert_merge(
    connection: sa.Connection, primary_id: int, secondary_id: int, agent_id: int | None, now: Microseconds
) -> int:
    """Have one contact stand for another, and give it what it lacks; the number of the merge."""
    rows = lock_contacts(connection, (primary_id, secondary_id))
    primary, secondary = rows[primary_id], rows[secondary_id]
    connection.execute(contacts.update().where(contacts.c.id == secondary_id).values(merged_into=primary_id))
    changes = _fill(connection, primary, secondary, now)
    values = {"primary_id": primary_id, "secondary_id": secondary_id, "agent_id": agent_id}
    values |= {"changes": msgspec.to_builtins(changes), "merged_at": now}
    inserted = connection.execute(contact_merges.insert().values(values))
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def _fill(
    connection: sa.Connection, primary: sa.Row[Any], secondary: sa.Row[Any], now: Microseconds
) -> MergeChanges:
    """Write on a contact what it lacks and another has."""
    old, other = primary._asdict(), secondary._asdict()
    fields: dict[str, tuple[Any, Any]] = {
        name: (None, other[name]) for name in FILLED if old[name] is None and other[name] is not None
    }
    if secondary.named and not primary.named:
        fields |= {"name": (primary.name, secondary.name), "named": (False, True)}
    custom = {
        name: (None, value)
        for name, value in secondary.custom_fields.items()
        if primary.custom_fields.get(name) is None
    }
    tags = [tag for tag in secondary.tags if tag not in primary.tags]
    joined = _add_companies(connection, primary.id, secondary.id)
    values: dict[str, Any] = {name: after for name, (_, after) in fields.items()}
    if custom:
        values["custom_fields"] = {**primary.custom_fields, **{n: after for n, (_, after) in custom.items()}}
    if tags:
        values["tags"] = [*primary.tags, *tags]
    _write(connection, primary.id, values, now)
    return MergeChanges(fields, custom, tuple(tags), joined)


def _add_companies(connection: sa.Connection, primary_id: int, secondary_id: int) -> tuple[int, ...]:
    query = sa.select(contact_companies).where(contact_companies.c.contact_id.in_((primary_id, secondary_id)))
    rows = connection.execute(query).all()
    known = {row.company_id for row in rows if row.contact_id == primary_id}
    new = [row for row in rows if row.company_id not in known]
    insert_if_absent(
        connection, contact_companies, [row._asdict() | {"contact_id": primary_id} for row in new]
    )
    return tuple(row.company_id for row in new)


def _write(connection: sa.Connection, contact_id: int, values: Mapping[str, Any], now: Microseconds) -> None:
    """Write columns of a contact, with what it is looked up by."""
    columns = dict(values)
    if "name" in values:
        columns["name_key"] = name_key(values["name"])
    connection.execute(contacts.update().where(contacts.c.id == contact_id).values(**columns, updated_at=now))
    if "name" in values:
        replace_name_words(connection, CONTACT, contact_id, values["name"])
    if "tags" in values:
        replace_tags(connection, CONTACT, contact_id, values["tags"])
    if "custom_fields" in values:
        replace_custom_values(connection, CONTACT, contact_id, values["custom_fields"])


def choose_values(
    connection: sa.Connection,
    merge_id: int,
    contact: Contact,
    values: Mapping[str, Any],
    region: str | None,
    now: Microseconds,
) -> None:
    """Write values that were chosen for a merge, and note with it what was there before. No identifier is given up.

    Raises:
        FieldErrors: as `update_contact`.
    """
    held = set(connection.scalars(_identifiers_of(connection, contact.id)))
    changed = update_contact(connection, contact, values, region, now, give_up=False)
    claimed = set(connection.scalars(_identifiers_of(connection, contact.id))) - held
    before, after = msgspec.to_builtins(contact), msgspec.to_builtins(changed)
    plain = [name for name in values if name in (*FILLED, "name", "language", "view_all_tickets")]
    chosen = MergeChanges(
        {name: (before[name], after[name]) for name in plain if before[name] != after[name]},
        {
            name: (contact.custom_fields.get(name), value)
            for name, value in changed.custom_fields.items()
            if contact.custom_fields.get(name) != value
        },
        tuple(tag for tag in changed.tags if tag not in contact.tags),
        tuple(
            each.company_id
            for each in changed.other_companies
            if each.company_id not in {other.company_id for other in contact.other_companies}
        ),
        tuple(sorted(claimed)),
    )
    row = connection.execute(sa.select(contact_merges).where(contact_merges.c.id == merge_id)).one()
    changes = _joined(msgspec.convert(row.changes, MergeChanges), chosen)
    written = contact_merges.update().where(contact_merges.c.id == merge_id)
    connection.execute(written.values(changes=msgspec.to_builtins(changes)))


def _identifiers_of(connection: sa.Connection, contact_id: int) -> sa.Select[Any]:
    homes = select_home_ids(connection, contact_id)
    return sa.select(identifiers.c.key).where(identifiers.c.contact_id.in_(homes))


def _joined(first: MergeChanges, second: MergeChanges) -> MergeChanges:
    """What two steps changed together: from before the first to after the second."""

    def pairs(
        one: Mapping[str, tuple[Any, Any]], two: Mapping[str, tuple[Any, Any]]
    ) -> dict[str, tuple[Any, Any]]:
        return {**one, **{name: (one.get(name, pair)[0], pair[1]) for name, pair in two.items()}}

    return MergeChanges(
        pairs(first.fields, second.fields),
        pairs(first.custom_fields, second.custom_fields),
        (*first.tags, *second.tags),
        (*first.other_companies, *second.other_companies),
        (*first.claimed, *second.claimed),
    )


# Undoing.


def lock_merge(connection: sa.Connection, merge_id: int) -> Merge | None:
    """One merge, kept from others until the end of the transaction; None where there is none."""
    query = sa.select(*_MERGE).where(contact_merges.c.id == merge_id).with_for_update()
    row = connection.execute(query).one_or_none()
    return Merge(*row) if row else None


def undo_merge(
    connection: sa.Connection, merge: Merge, region: str | None, agent_id: int | None, now: Microseconds
) -> None:
    """Let both contacts stand for themselves again, as they were; what was edited since stays with the primary."""
    rows = lock_contacts(connection, (merge.primary_id, merge.secondary_id))
    query = sa.select(contact_merges.c.changes).where(contact_merges.c.id == merge.id)
    changes = msgspec.convert(connection.scalar(query), MergeChanges)
    released = contacts.update().where(contacts.c.id == merge.secondary_id)
    connection.execute(released.values(merged_into=None, updated_at=now))
    _take_back(connection, rows[merge.primary_id], changes, now)
    _keep_shown(connection, merge, region)
    written = contact_merges.update().where(contact_merges.c.id == merge.id)
    connection.execute(written.values(undone_at=now, undone_by=agent_id))
    dismiss_suggestions(connection, merge.primary_id, merge.secondary_id, agent_id, now)


def _take_back(
    connection: sa.Connection, primary: sa.Row[Any], changes: MergeChanges, now: Microseconds
) -> None:
    """Give a contact back what it had, where it still has what the merge put there."""
    old = primary._asdict()
    values: dict[str, Any] = {
        name: _given_back(connection, primary.id, name, before, after, now)
        for name, (before, after) in changes.fields.items()
        if old[name] == after
    }
    custom = dict(primary.custom_fields)
    for name, (before, after) in changes.custom_fields.items():
        if custom.get(name) == after:
            custom[name] = before
    if changes.custom_fields:
        values["custom_fields"] = {name: value for name, value in custom.items() if value is not None}
    if changes.tags:
        values["tags"] = [tag for tag in primary.tags if tag not in changes.tags]
    _write(connection, primary.id, values, now)
    of_primary = contact_companies.c.contact_id == primary.id
    added = contact_companies.c.company_id.in_(changes.other_companies)
    connection.execute(contact_companies.delete().where(of_primary, added))
    shown = {key(value) for name, (_, key) in UNIQUE_FIELDS.items() if (value := (old | values)[name])}
    claimed = identifiers.c.key.in_(set(changes.claimed) - shown)
    connection.execute(identifiers.delete().where(claimed, identifiers.c.contact_id == primary.id))


def _given_back(
    connection: sa.Connection, contact_id: int, name: str, before: Any, after: Any, now: Microseconds
) -> Any:
    """What a field had before a merge, or the next best where that is not to be had any more."""
    if name == "company_id" and before is not None:
        return connection.scalar(sa.select(companies.c.id).where(companies.c.id == before))
    if name not in UNIQUE_FIELDS or before is None:
        return before
    kind, key = UNIQUE_FIELDS[name]
    row = {"key": key(before), "kind": kind, "value": before, "contact_id": contact_id, "created_at": now}
    insert_if_absent(connection, identifiers, [row])  # it may have been given up since, and be free
    held = set(connection.scalars(_identifiers_of(connection, contact_id)))
    if key(before) in held:
        return before
    return after if key(after) in held else None


def _keep_shown(connection: sa.Connection, merge: Merge, region: str | None) -> None:
    """Give the primary the identifiers that it still shows and that were the secondary's: they were chosen since.

    Numbers that were given up since are the secondary's again: several contacts may have one.
    """
    primary = connection.execute(sa.select(contacts).where(contacts.c.id == merge.primary_id)).one()._asdict()
    homes = select_home_ids(connection, merge.secondary_id)
    for name, (_, key) in UNIQUE_FIELDS.items():
        if primary[name] is None:
            continue
        theirs = sa.and_(identifiers.c.key == key(primary[name]), identifiers.c.contact_id.in_(homes))
        moved = connection.execute(identifiers.update().where(theirs).values(contact_id=merge.primary_id))
        if moved.rowcount:
            same = sa.and_(contacts.c.id.in_(homes), contacts.c[name] == primary[name])
            connection.execute(contacts.update().where(same).values({name: None}))
    shown = sa.select(contacts).where(contacts.c.id.in_((merge.primary_id, *homes)))
    for row in connection.execute(shown).all():
        numbers = {phone_key(number, region) for number in (row.phone, row.mobile) if number}
        query = sa.select(contact_phones.c.number).where(contact_phones.c.contact_id == row.id)
        keep_numbers(connection, row.id, numbers - set(connection.scalars(query)))


def select_merges(connection: sa.Connection, contact_id: int, limit: int, offset: int) -> list[Merge]:
    """The merges that a contact had a part in, undone ones too, newest first."""
    homes = select_home_ids(connection, contact_id)
    either = sa.or_(contact_merges.c.primary_id.in_(homes), contact_merges.c.secondary_id.in_(homes))
    query = sa.select(*_MERGE).where(either).order_by(contact_merges.c.id.desc())
    return [Merge(*row) for row in connection.execute(query.limit(limit).offset(offset))]


# Suggestions.


def select_suggestions(connection: sa.Connection, contact_id: int) -> list[MergeSuggestion]:
    """Who may be the same person as a contact, and was not said to be somebody else; the oldest first."""
    homes = select_home_ids(connection, contact_id)
    found: dict[int, dict[str, Microseconds]] = {}
    dismissed: set[tuple[int, str]] = set()
    rows = _suggestions_of(connection, homes)
    survivors = select_survivors(connection, [other for other, _ in rows])
    for other, row in rows:
        person = survivors[other]
        if row.dismissed_at is not None:
            dismissed.add((person, row.kind))
        elif person != homes[0]:
            found.setdefault(person, {}).setdefault(row.kind, row.created_at)
    query = sa.select(contacts).where(contacts.c.id.in_(found), sa.text(LISTED))
    suggestions = [
        MergeSuggestion(
            row.id, row.name, row.email, row.phone, row.mobile, tuple(sorted(kinds)), min(kinds.values())
        )
        for row in connection.execute(query)
        if (kinds := {kind: at for kind, at in found[row.id].items() if (row.id, kind) not in dismissed})
    ]
    return sorted(suggestions, key=lambda each: (each.created_at, each.contact_id))


def _suggestions_of(connection: sa.Connection, homes: Sequence[int]) -> list[tuple[int, sa.Row[Any]]]:
    """Suggestions that concern a contact, each with the number of the other one."""
    table = merge_suggestions
    either = sa.or_(table.c.contact_id.in_(homes), table.c.other_id.in_(homes))
    rows = connection.execute(sa.select(table).where(either))
    return [(row.other_id if row.contact_id in homes else row.contact_id, row) for row in rows]


def dismiss_suggestions(
    connection: sa.Connection, one_id: int, other_id: int, agent_id: int | None, now: Microseconds
) -> int:
    """Note that two contacts are different people, for the reasons that there were; how many those were."""
    one, other = select_home_ids(connection, one_id), select_home_ids(connection, other_id)
    table = merge_suggestions
    pair = sa.or_(
        sa.and_(table.c.contact_id.in_(one), table.c.other_id.in_(other)),
        sa.and_(table.c.contact_id.in_(other), table.c.other_id.in_(one)),
    )
    change = table.update().where(pair, table.c.dismissed_at.is_(None))
    return connection.execute(change.values(dismissed_at=now, dismissed_by=agent_id)).rowcount


def select_standing(connection: sa.Connection) -> tuple[int | None, ...]:
    """What changes whenever somebody begins or ceases to stand for others, or is erased."""
    newest = (
        sa.func.max(contact_merges.c.id),
        sa.func.max(contact_merges.c.undone_at),
        sa.func.max(erasures.c.id),
    )
    return tuple(connection.scalar(sa.select(each)) for each in newest)
