"""Queries on contacts: one, lists, and what is written about them.

A contact that others were merged into stands for all of them: it answers their emails, and their numbers find it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.exc import IntegrityError

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.attachment import Attachment, StoredFile
from backstory.model.contact import (
    DEFAULT_LANGUAGE,
    UNIQUE_FIELDS,
    Contact,
    ContactFilters,
    NewContact,
    OtherCompany,
    State,
    name_key,
)
from backstory.model.custom_field import kept_custom_fields
from backstory.model.identity import Kind, email_domain, email_key, external_id_key, phone_key
from backstory.model.ids import new_contact_key
from backstory.model.moment import Microseconds
from backstory.store.records.attachments import (
    delete_by_owners,
    insert_attachments,
    select_attachment,
    select_by_owners,
)
from backstory.store.records.homes import select_home_ids, select_survivors
from backstory.store.records.lookups import (
    named_like,
    replace_custom_values,
    replace_name_words,
    replace_tags,
)
from backstory.store.records.tables import (
    LISTED,
    companies,
    company_domains,
    contact_companies,
    contact_phones,
    contacts,
    identifiers,
)

CONTACT = "contact"
MAX_SUGGESTED = 100
FEW_CHANGED = 1_000
"""Up to so many contacts that changed since a moment are looked up; more are met often enough by walking the list."""

_STATES = {
    None: LISTED,
    State.VERIFIED: f"{LISTED} AND active",
    State.UNVERIFIED: f"{LISTED} AND NOT active",
    State.DELETED: "deleted_at IS NOT NULL",
    State.BLOCKED: "blocked_at IS NOT NULL",
}
_BY_NAME = (contacts.c.name_key, contacts.c.id)


# One contact.


def select_contact(connection: sa.Connection, contact_id: int) -> Contact | None:
    """The contact with this number, or the one that stands for it; None where there is none."""
    homes = select_home_ids(connection, contact_id)
    if not homes:
        return None
    row = connection.execute(sa.select(contacts).where(contacts.c.id == homes[0])).one()
    (contact,) = _contacts(connection, [row])
    first = email_key(row.email) if row.email else None
    emails = connection.scalars(
        sa.select(identifiers.c.value)
        .where(identifiers.c.contact_id.in_(homes), identifiers.c.kind == Kind.EMAIL)
        .order_by(identifiers.c.created_at, identifiers.c.key)
    )
    others = tuple(email for email in emails if email_key(email) != first)
    return replace(contact, other_emails=others, avatar=_select_avatar(connection, row.avatar_id))


def select_contacts(connection: sa.Connection, contact_ids: Sequence[int]) -> list[Contact]:
    """Contacts as lists show them, in the order of these numbers; those that do not exist are left out."""
    rows = connection.execute(sa.select(contacts).where(contacts.c.id.in_(contact_ids))).all()
    found = {contact.id: contact for contact in _contacts(connection, rows)}
    return [found[each] for each in contact_ids if each in found]


def _select_avatar(connection: sa.Connection, avatar_id: int | None) -> Attachment | None:
    return None if avatar_id is None else select_attachment(connection, avatar_id)


def _contacts(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Contact]:
    """Contacts from their rows, with their other companies."""
    others: dict[int, list[OtherCompany]] = {row.id: [] for row in rows}
    query = sa.select(contact_companies).where(contact_companies.c.contact_id.in_(others))
    for other in connection.execute(query.order_by(contact_companies.c.company_id)):
        others[other.contact_id].append(OtherCompany(other.company_id, other.view_all_tickets))
    return [_contact(row, others[row.id]) for row in rows]


def _contact(row: sa.Row[Any], others: Iterable[OtherCompany]) -> Contact:
    stored = row._asdict()
    fields = {name: stored[name] for name in Contact.__struct_fields__ if name in stored}
    fields |= {"tags": tuple(row.tags), "other_companies": tuple(others)}
    return Contact(**fields, deleted=row.deleted_at is not None, blocked=row.blocked_at is not None)


# Lists.


def select_page(
    connection: sa.Connection,
    filters: ContactFilters,
    region: str | None,
    limit: int,
    offset: int,
    after: tuple[str, int] | None = None,
) -> list[Contact]:
    """Contacts by name; without a state those that are neither deleted nor blocked, merged away or agents.

    `after` is a `name_key` and a number to go on behind, instead of an offset: as fast far behind as on the first page.
    """
    wanted = sa.select(contacts.c.id).where(sa.text(_STATES[filters.state]))
    if filters.company_id is not None:
        wanted = wanted.where(contacts.c.company_id == filters.company_id)
    if (known := _select_identified(connection, filters, region)) is not None:
        wanted = wanted.where(contacts.c.id.in_(known))
    if filters.updated_since is not None:
        wanted = _changed_since(connection, wanted, filters.updated_since)
    if after is not None:
        wanted = wanted.where(sa.tuple_(*_BY_NAME) > sa.tuple_(*after))
    # The numbers first, from an index alone: rows that a far page passes over are not read.
    page = wanted.order_by(*_BY_NAME).limit(limit).offset(0 if after else offset)
    rows = connection.execute(sa.select(contacts).where(contacts.c.id.in_(page)).order_by(*_BY_NAME)).all()
    return _contacts(connection, rows)


def _changed_since(
    connection: sa.Connection, wanted: sa.Select[tuple[int]], since: Microseconds
) -> sa.Select[tuple[int]]:
    few = sa.select(contacts.c.id).where(contacts.c.updated_at >= since).limit(FEW_CHANGED + 1)
    changed = connection.scalars(few).all()
    if len(changed) <= FEW_CHANGED:
        return wanted.where(contacts.c.id.in_(changed))
    return wanted.where(contacts.c.updated_at >= since)


def _select_identified(
    connection: sa.Connection, filters: ContactFilters, region: str | None
) -> set[int] | None:
    """The contacts that have all the identifiers of a filter; None where it names none."""
    keys = [
        key(value)
        for key, value in (
            (email_key, filters.email),
            (external_id_key, filters.unique_external_id),
        )
        if value is not None
    ]
    holder = sa.select(identifiers.c.contact_id)
    found = [set(connection.scalars(holder.where(identifiers.c.key == key))) for key in keys]
    found += [
        select_numbered(connection, field, number, region)
        for field, number in (("phone", filters.phone), ("mobile", filters.mobile))
        if number is not None
    ]
    if not found:
        return None
    survivors = select_survivors(connection, set.union(*found))
    return set.intersection(*({survivors[each] for each in holders} for holders in found))


def select_numbered(connection: sa.Connection, field: str, number: str, region: str | None) -> set[int]:
    """The contacts whose phone (or mobile) is this number, however they write it."""
    try:
        key = phone_key(number, region)
    except ValueError:
        return set()
    rows = connection.execute(
        sa.select(contacts.c.id, contacts.c[field])
        .join(contact_phones, contact_phones.c.contact_id == contacts.c.id)
        .where(contact_phones.c.number == key, contacts.c[field].is_not(None))
    )
    return {row[0] for row in rows if phone_key(row[1], region) == key}


def select_suggested(connection: sa.Connection, term: str) -> list[tuple[int, str]]:
    """The contacts (number and name) in whose name words begin with those of the term, by name; at most 100."""
    candidates = named_like(CONTACT, term)
    if candidates is None:
        return []
    rows = connection.execute(
        sa.select(contacts.c.id, contacts.c.name)
        .where(contacts.c.id.in_(candidates), sa.text(LISTED))
        .order_by(*_BY_NAME)
        .limit(MAX_SUGGESTED)
    )
    return [(row.id, row.name) for row in rows]


# Writing.


def insert_contact(
    connection: sa.Connection, new: NewContact, region: str | None, now: Microseconds
) -> Contact:
    """Create a contact; the identifiers' own constraint decides who is first.

    Raises:
        FieldErrors: 409 with the holder's id, for each identifier that belongs to another contact; 400 for a company
            that does not exist.
    """
    wanted = _unique_identifiers({name: getattr(new, name) for name in UNIQUE_FIELDS}, new.other_emails)
    refuse_unknown_companies(connection, new.company_id, new.other_companies)
    _refuse_taken(connection, wanted, ())
    company_id = new.company_id or select_company_of(connection, new.email)
    values = {name: getattr(new, name) for name in new.__struct_fields__ if name in contacts.c}
    values |= {"language": new.language or DEFAULT_LANGUAGE, "key": new_contact_key(), "named": True}
    values |= {"name_key": name_key(new.name), "company_id": company_id, "tags": list(new.tags)}
    values |= {"custom_fields": kept_custom_fields(new.custom_fields), "created_at": now, "updated_at": now}
    inserted = connection.execute(contacts.insert().values(values))
    contact_id = int(inserted.inserted_primary_key[0])  # type: ignore[index]
    _claim(connection, contact_id, wanted, now)
    keep_numbers(
        connection, contact_id, {phone_key(each, region) for each in (new.phone, new.mobile) if each}
    )
    _replace_other_companies(connection, contact_id, new.other_companies)
    replace_name_words(connection, CONTACT, contact_id, new.name)
    replace_tags(connection, CONTACT, contact_id, new.tags)
    replace_custom_values(connection, CONTACT, contact_id, new.custom_fields)
    contact = select_contact(connection, contact_id)
    assert contact is not None, "the transaction that inserted it sees it"
    return contact


Wanted = dict[str, tuple[str, Kind, str]]
"""Identifiers that a contact is to have, by key: the field that errors name, the kind, the value."""


def _unique_identifiers(values: Mapping[str, str | None], other_emails: Iterable[str]) -> Wanted:
    wanted: Wanted = {}
    for field, value in values.items():
        if value:
            kind, key = UNIQUE_FIELDS[field]
            wanted[key(value)] = (field, kind, value)
    for email in other_emails:
        wanted.setdefault(email_key(email), ("other_emails", Kind.EMAIL, email))
    return wanted


def _refuse_taken(connection: sa.Connection, wanted: Wanted, homes: Sequence[int]) -> None:
    """Refuse identifiers that belong to contacts other than these."""
    rows = connection.execute(
        sa.select(identifiers.c.key, identifiers.c.contact_id).where(
            identifiers.c.key.in_(wanted), identifiers.c.contact_id.not_in(homes)
        )
    ).all()
    if not rows:
        return
    survivors = select_survivors(connection, [row.contact_id for row in rows])
    holders = {row.key: survivors[row.contact_id] for row in rows}
    message = "It should be a unique value; another contact has it."
    raise FieldErrors(
        [
            Fault(field, message, Code.DUPLICATE_VALUE, {"user_id": holders[key]})
            for key, (field, _, _) in wanted.items()
            if key in holders
        ]
    )


def _claim(connection: sa.Connection, contact_id: int, wanted: Wanted, now: Microseconds) -> None:
    """Give a contact identifiers; who was faster since they were looked for is found by the constraint."""
    rows = [
        # A moment later each: they are answered in the order in which they were given.
        {"key": key, "kind": kind, "value": value, "contact_id": contact_id, "created_at": now + place}
        for place, (key, (_, kind, value)) in enumerate(wanted.items())
    ]
    if not rows:
        return
    try:
        with connection.begin_nested():
            connection.execute(identifiers.insert(), rows)
    except IntegrityError:
        _refuse_taken(connection, wanted, (contact_id,))
        raise


def keep_numbers(connection: sa.Connection, contact_id: int, numbers: Iterable[str]) -> None:
    """Let a contact be found by these numbers."""
    rows = [{"number": number, "contact_id": contact_id} for number in numbers]
    if rows:
        connection.execute(contact_phones.insert(), rows)


def refuse_unknown_companies(
    connection: sa.Connection, company_id: int | None, others: Iterable[OtherCompany]
) -> None:
    """Refuse companies that do not exist.

    Raises:
        FieldErrors: naming each.
    """
    named = [("company_id", company_id)] if company_id else []
    named += [(f"other_companies.{place}.company_id", each.company_id) for place, each in enumerate(others)]
    if not named:
        return
    query = sa.select(companies.c.id).where(companies.c.id.in_([each for _, each in named]))
    known = set(connection.scalars(query))
    faults = [
        Fault(field, f"There is no company {each}.", Code.INVALID_VALUE)
        for field, each in named
        if each not in known
    ]
    if faults:
        raise FieldErrors(faults)


def select_company_of(connection: sa.Connection, email: str | None) -> int | None:
    """The company that has an email's domain; None where none has."""
    domain = email_domain(email)
    if domain is None:
        return None
    query = sa.select(company_domains.c.company_id).where(company_domains.c.domain == domain)
    return connection.scalar(query)


def _replace_other_companies(
    connection: sa.Connection, contact_id: int, others: Iterable[OtherCompany]
) -> None:
    connection.execute(contact_companies.delete().where(contact_companies.c.contact_id == contact_id))
    rows = {
        each.company_id: {
            "contact_id": contact_id,
            "company_id": each.company_id,
            "view_all_tickets": each.view_all_tickets,
        }
        for each in others
    }
    if rows:
        connection.execute(contact_companies.insert(), list(rows.values()))


def update_contact(
    connection: sa.Connection,
    contact: Contact,
    changes: Mapping[str, Any],
    region: str | None,
    now: Microseconds,
    *,
    give_up: bool = True,
) -> Contact:
    """Change fields of a contact (names of `NewContact`); None takes a value away. The contact as it is then.

    `custom_fields` are changed one by one; lists are replaced. Without `give_up` all that found the contact before
    still finds it, and its `other_emails` only grow.

    Raises:
        FieldErrors: as `insert_contact`.
    """
    homes = select_home_ids(connection, contact.id)
    refuse_unknown_companies(connection, changes.get("company_id"), changes.get("other_companies") or ())
    values = {name: value for name, value in changes.items() if name in contacts.c}
    wanted, given_up = _identifier_changes(contact, changes)
    _refuse_taken(connection, wanted, homes)
    if give_up:
        _give_up(connection, homes, given_up)
    _claim(connection, contact.id, _unowned(connection, homes, wanted), now)
    values |= _change_numbers(connection, contact, homes, changes, region, give_up=give_up)
    if "email" in changes:
        values["email"] = changes["email"]
        if contact.company_id is None and "company_id" not in changes:
            values["company_id"] = select_company_of(connection, changes["email"])
    if "name" in changes:
        values |= {"named": True, "name_key": name_key(changes["name"])}
    if "language" in changes:
        values["language"] = changes["language"] or DEFAULT_LANGUAGE
    if "view_all_tickets" in changes:
        values["view_all_tickets"] = bool(changes["view_all_tickets"])
    if "tags" in changes:
        values["tags"] = list(changes["tags"] or ())
    if "custom_fields" in changes:
        values["custom_fields"] = kept_custom_fields(contact.custom_fields, changes["custom_fields"])
    connection.execute(contacts.update().where(contacts.c.id == contact.id).values(**values, updated_at=now))
    if "other_companies" in changes:
        _replace_other_companies(connection, contact.id, changes["other_companies"] or ())
    _replace_lookups(connection, contact.id, values)
    changed = select_contact(connection, contact.id)
    assert changed is not None, "the transaction that changed it sees it"
    return changed


def _replace_lookups(connection: sa.Connection, contact_id: int, values: Mapping[str, Any]) -> None:
    if "name" in values:
        replace_name_words(connection, CONTACT, contact_id, values["name"])
    if "tags" in values:
        replace_tags(connection, CONTACT, contact_id, values["tags"])
    if "custom_fields" in values:
        replace_custom_values(connection, CONTACT, contact_id, values["custom_fields"])


def _identifier_changes(contact: Contact, changes: Mapping[str, Any]) -> tuple[Wanted, set[str]]:
    """The identifiers that a contact is to have, and the keys of those that it gives up."""
    values = {name: changes[name] for name in UNIQUE_FIELDS if name in changes}
    others: Sequence[str] = ()
    given_up = {UNIQUE_FIELDS[name][1](old) for name in values if (old := getattr(contact, name)) is not None}
    if "email" in changes or "other_emails" in changes:
        email = values.setdefault("email", contact.email)
        others = changes.get("other_emails", contact.other_emails) or ()
        swapped = email is not None and email_key(email) in map(email_key, contact.other_emails)
        if swapped and "other_emails" not in changes and contact.email:
            others = (*others, contact.email)  # the first one and another change places
        given_up |= {email_key(each) for each in (contact.email, *contact.other_emails) if each}
    wanted = _unique_identifiers(values, others)
    return wanted, given_up - wanted.keys()


def _give_up(connection: sa.Connection, homes: Sequence[int], keys: set[str]) -> None:
    """Take identifiers away from a contact, also where a contact that was merged into it had brought them."""
    if not keys:
        return
    connection.execute(
        identifiers.delete().where(identifiers.c.key.in_(keys), identifiers.c.contact_id.in_(homes))
    )
    for field, (_, key) in UNIQUE_FIELDS.items():
        query = sa.select(contacts.c.id, contacts.c[field]).where(contacts.c.id.in_(homes[1:]))
        gone = [row[0] for row in connection.execute(query) if row[1] is not None and key(row[1]) in keys]
        if gone:
            connection.execute(contacts.update().where(contacts.c.id.in_(gone)).values({field: None}))


def _unowned(connection: sa.Connection, homes: Sequence[int], wanted: Wanted) -> Wanted:
    """Those that none of a contact's homes has yet; the others are written as they were given now."""
    rows = connection.execute(
        sa.select(identifiers.c.key, identifiers.c.value).where(
            identifiers.c.key.in_(wanted), identifiers.c.contact_id.in_(homes)
        )
    ).all()
    for row in rows:
        if row.value != wanted[row.key][2]:
            written = identifiers.update().where(identifiers.c.key == row.key)
            connection.execute(written.values(value=wanted[row.key][2]))
    owned = {row.key for row in rows}
    return {key: value for key, value in wanted.items() if key not in owned}


def _change_numbers(
    connection: sa.Connection,
    contact: Contact,
    homes: Sequence[int],
    changes: Mapping[str, Any],
    region: str | None,
    *,
    give_up: bool,
) -> dict[str, Any]:
    fields = [name for name in ("phone", "mobile") if name in changes]
    if not fields:
        return {}
    numbers = {name: changes.get(name, getattr(contact, name)) for name in ("phone", "mobile")}
    kept = {phone_key(number, region) for number in numbers.values() if number}
    before = {phone_key(old, region) for name in fields if (old := getattr(contact, name))}
    if give_up:
        held, gone = contact_phones.c.contact_id.in_(homes), contact_phones.c.number.in_(before - kept)
        connection.execute(contact_phones.delete().where(held, gone))
    query = sa.select(contact_phones.c.number).where(contact_phones.c.contact_id.in_(homes))
    keep_numbers(connection, contact.id, kept - set(connection.scalars(query)))
    return {name: changes[name] for name in fields}


def replace_avatar(
    connection: sa.Connection, contact_id: int, files: Sequence[StoredFile], now: Microseconds
) -> None:
    """Give a contact a picture that is on the disk, or (no files) none. The old one is left to be removed."""
    delete_by_owners(connection, CONTACT, [contact_id])
    insert_attachments(connection, CONTACT, contact_id, files, now)
    kept = select_by_owners(connection, CONTACT, [contact_id]).get(contact_id)
    avatar_id = kept[0].id if kept else None
    connection.execute(contacts.update().where(contacts.c.id == contact_id).values(avatar_id=avatar_id))


def update_deleted(
    connection: sa.Connection, contact_id: int, at: Microseconds | None, now: Microseconds
) -> None:
    """Delete a contact softly, or (`at` None) restore it; blocked ones are restored too."""
    values: dict[str, Any] = {"deleted_at": at, "updated_at": now}
    if at is None:
        values["blocked_at"] = None
    connection.execute(contacts.update().where(contacts.c.id == contact_id).values(values))
