"""What lists and searches look records up by, kept with every change: words of names, tags, values of custom fields.

`kind` is contact, ticket, company or agent. Whoever replaces a record's lookups has changed the record before, in the
same transaction: that is what makes two who do so at the same moment take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from backstory.model.custom_field import searched_value
from backstory.model.words import split_words
from backstory.store.records.tables import custom_values, name_words, record_tags
from backstory.store.records.writing import insert_if_absent

MAX_CANDIDATES = 500

_LAST_CHARACTER = "\U0010ffff"


def tag_key(tag: str) -> str:
    """How tags are compared."""
    return tag.strip().casefold()


def replace_name_words(connection: sa.Connection, kind: str, record_id: int, name: str) -> None:
    """Make a record findable by the words of its name, and by no others."""
    _forget(connection, name_words, kind, record_id)
    words = dict.fromkeys(split_words(name))
    rows = [{"object": kind, "word": word, "record_id": record_id} for word in words]
    insert_if_absent(connection, name_words, rows)


def replace_tags(connection: sa.Connection, kind: str, record_id: int, tags: Iterable[str]) -> None:
    """Make a record findable by its tags, and by no others."""
    _forget(connection, record_tags, kind, record_id)
    keys = dict.fromkeys(map(tag_key, tags))
    rows = [{"object": kind, "tag_key": key, "record_id": record_id} for key in keys]
    insert_if_absent(connection, record_tags, rows)


def replace_custom_values(
    connection: sa.Connection, kind: str, record_id: int, values: Mapping[str, Any]
) -> None:
    """Make a record findable by the values of its custom fields, and by no others."""
    _forget(connection, custom_values, kind, record_id)
    rows = [
        {"object": kind, "name": name, "value": searched_value(value), "record_id": record_id}
        for name, value in values.items()
        if value is not None
    ]
    insert_if_absent(connection, custom_values, rows)


def named_like(kind: str, term: str) -> sa.Select[tuple[int]] | None:
    """The numbers of records in whose names words begin with all of the term's; None where the term has no word.

    At most MAX_CANDIDATES, so that a single letter costs no more than a name.
    """
    beginnings = split_words(term)
    if not beginnings:
        return None
    first, *others = sorted(beginnings, key=len, reverse=True)
    query = sa.select(name_words.c.record_id).where(name_words.c.object == kind, *_begins(name_words, first))
    for other in others:
        also = name_words.alias()
        same = (also.c.object == kind, also.c.record_id == name_words.c.record_id)
        query = query.where(sa.exists().where(*same, *_begins(also, other)))
    return query.order_by(name_words.c.word).limit(MAX_CANDIDATES)


def has_name_word(kind: str, record_id: sa.ColumnElement[int], beginning: str) -> sa.ColumnElement[bool]:
    """Whether a record's name has a word that begins so."""
    words = name_words.alias()
    return sa.exists().where(
        words.c.object == kind, words.c.record_id == record_id, *_begins(words, beginning)
    )


def _begins(table: sa.FromClause, beginning: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.word >= beginning, table.c.word < beginning + _LAST_CHARACTER


def forget_lookups(connection: sa.Connection, kind: str, record_id: int) -> None:
    """Make a record that is gone findable by nothing."""
    for table in (name_words, record_tags, custom_values):
        _forget(connection, table, kind, record_id)


def _forget(connection: sa.Connection, table: sa.Table, kind: str, record_id: int) -> None:
    connection.execute(table.delete().where(table.c.object == kind, table.c.record_id == record_id))
