"""What lists and searches look records up by, kept with every change: the words of names, and tags.

`kind` is contact, ticket, company or agent.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from backstory.model.words import split_words
from backstory.store.records.tables import custom_values, name_words, record_tags
from backstory.store.records.writing import insert_if_absent


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


def forget_lookups(connection: sa.Connection, kind: str, record_id: int) -> None:
    """Make a record that is gone findable by nothing."""
    for table in (name_words, record_tags, custom_values):
        _forget(connection, table, kind, record_id)


def _forget(connection: sa.Connection, table: sa.Table, kind: str, record_id: int) -> None:
    connection.execute(table.delete().where(table.c.object == kind, table.c.record_id == record_id))
