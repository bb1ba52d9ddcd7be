"""Copying an installation (`backstory copy`) while things arrive in it, at the moments that matter."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backstory.model.ids import ActivityId, first_position, new_contact_key
from backstory.store import moving
from backstory.store.base import Records, RecordsTransaction
from backstory.store.copying import KeptActivity, LogState, RelationalLogCopy
from backstory.store.log.cassandra import CassandraLog
from backstory.store.moving import Move, Side
from backstory.store.records.tables import metadata
from backstory.store.sqlite import SqliteStore
from tests.store.support import NOON, kept_in, publish_one
from tests.store.test_cassandra import copy_of
from tests.store.test_cassandra import log as log  # noqa: PLC0414 - a fixture


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "old.db")
    opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "new.db")
    opened.open()
    yield opened
    await opened.close()


def side(store: SqliteStore) -> Side:
    return Side(store.records, RelationalLogCopy(store.records))


def nothing(rows: float, what: str) -> None:
    """Shows nothing."""


async def test_a_contact_who_comes_between_two_tables_waits_for_the_next_pass(
    old: SqliteStore, new: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish_one(old, {"email": "first@example.com"})
    read_table, between = moving._read_table, [{"email": "second@example.com"}]

    async def reading(records: Records, table: sa.Table) -> AsyncIterator[Any]:
        if table.name == "identifiers" and records is old.records and between and copying_has_contacts():
            await publish_one(old, between.pop())
        async for rows in read_table(records, table):
            yield rows

    seen: list[str] = []

    def copying_has_contacts() -> bool:
        return "contacts" in seen

    def show(rows: float, what: str) -> None:
        seen.append(what)

    monkeypatch.setattr(moving, "_read_table", reading)
    move = Move(side(old), side(new), show)
    await move.check_target()
    await move.run_pass(served=True)
    assert not between, "somebody came"
    await move.run_pass(served=False)
    assert all(ours == theirs for ours, theirs in await move.compare())


async def test_what_a_cluster_gets_behind_what_was_copied_is_copied_too(
    log: CassandraLog, old: SqliteStore, new: SqliteStore
) -> None:
    body, first = b'{"name": "paid", "actor": {}, "source": {}}', first_position(time.time_ns() // 1_000_000)
    contact = new_contact_key()
    early, late = (
        KeptActivity(first + number, number, contact, NOON, "shop", "paid", None, "user", body, b"{}")
        for number in (1, 2)
    )
    source, target = Side(old.records, copy_of(log, contact)), side(new)
    await source.log.write_activities([late])
    await source.log.adopt(LogState("generation", late.position))
    move = Move(source, target, nothing)
    await move.check_target()
    await move.run_pass(served=True)
    await source.log.write_activities([early])  # as a retry finishes what was cut off under an older id
    await move.run_pass(served=False)
    assert await kept_in(target.log) == [early, late]
    assert all(ours == theirs for ours, theirs in await move.compare())
    assert await new.log.get(ActivityId(early.position, early.tail)) is not None


async def test_names_that_went_from_one_to_another_are_taken_over(
    old: SqliteStore, new: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is unique: in whatever order the rows are written, one would meet the other's name of before."""
    monkeypatch.setattr(moving, "PIECE", 2)
    companies = metadata.tables["companies"]

    async def rename(names: Mapping[int, str]) -> None:
        def work(transaction: RecordsTransaction) -> None:
            places = companies.c.id.in_(names)
            transaction.records.execute(companies.update().where(places).values(name_key=companies.c.id))
            for number, name in names.items():
                given = companies.update().where(companies.c.id == number)
                transaction.records.execute(given.values(name=name, name_key=name))

        await old.records.write(work)

    some = [
        {"id": number, "name": name, "name_key": name, "created_at": NOON, "updated_at": NOON}
        for number, name in enumerate("abcdef", 1)
    ]
    await old.records.write(lambda t: t.records.execute(companies.insert(), some))
    move = Move(side(old), side(new), nothing)
    await move.check_target()
    await move.run_pass(served=True)
    await rename({1: "f", 2: "c", 3: "b", 6: "new"})
    await move.run_pass(served=False)
    assert all(ours == theirs for ours, theirs in await move.compare())
