"""The process that commits for a server: what it keeps and refuses, how it dies, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backstory.app import open_store
from backstory.committer import committer
from backstory.config import read_settings
from backstory.errors import Code, FieldErrors, Unavailable
from backstory.model.activity import Published
from backstory.model.page import Filters
from backstory.store.sqlite import SqliteStore
from tests.store.support import found, home_of, indexed, publication, publish, refused, timeline
from tests.support import wait_until


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store as a server has it."""
    settings = read_settings({}, database=f"sqlite:///{tmp_path / 'backstory.db'}")
    opened = open_store(settings, committer=committer(settings))
    assert isinstance(opened, SqliteStore)
    yield opened
    await opened.close()


def pid_of(store: SqliteStore) -> int:
    assert store.commits is not None
    return store.commits.pid


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_what_is_published_is_kept_and_answered_in_order(store: SqliteStore) -> None:
    first, second = await publish(store, publication(id="one"), publication(id="two"))
    assert first.id.position < second.id.position
    assert (first.external_id, second.external_id) == ("one", "two")
    assert [each.id for each in await timeline(store, [await home_of(store, first)])] == [second.id, first.id]


async def test_a_replay_and_a_conflict_are_told(store: SqliteStore) -> None:
    (first,) = await publish(store, publication({"email": "a@example.com"}, id="one"))
    await publish(store, publication({"email": "b@example.com"}))
    (again,) = await publish(store, publication({"email": "a@example.com"}, id="one", name="Other"))
    assert (again.id, again.duplicate, again.differs) == (first.id, True, True)
    both = {"email": "a@example.com", "unique_external_id": "x"}
    await publish(store, publication({"unique_external_id": "x"}))
    (torn,) = await publish(store, publication(both))
    assert [conflict.field for conflict in torn.conflicts] == ["contact.email"]


async def test_one_that_is_refused_does_not_take_the_others_along(store: SqliteStore) -> None:
    results = await store.publish([publication({"id": 404}), publication()])
    assert isinstance(results[0], FieldErrors)
    assert [fault.code for fault in results[0].faults] == [Code.INVALID_VALUE]
    assert isinstance(results[1], Published)
    assert (await refused(store, publication({"id": 404}))).faults == results[0].faults


async def test_many_groups_at_once(store: SqliteStore) -> None:
    groups = [[publication(id=f"{group}-{item}") for item in range(group % 5)] for group in range(60)]
    answers = await asyncio.gather(*(store.publish(group) for group in groups))
    for group, results in zip(groups, answers, strict=True):
        assert [result.external_id for result in results if isinstance(result, Published)] == [
            item.external_id for item in group
        ]


async def test_a_group_of_sixteen_megabytes(store: SqliteStore) -> None:
    literal = '{"text": "' + "x" * 200_000 + '"}'
    results = await publish(store, *[publication(context="@@", literal=literal) for _ in range(80)])
    assert len(results) == 80


async def test_the_index_follows_and_its_lag_is_known_here(store: SqliteStore) -> None:
    await publish(store, publication(id="ref-1"))
    await indexed(store)
    assert len(await found(store, Filters(ref="ref-1"))) == 1


async def test_records_are_written_beside_it(store: SqliteStore) -> None:
    """Both have a connection that writes: neither fails because the other is at it."""
    publishing = [asyncio.create_task(store.publish([publication(id=f"{i}")])) for i in range(200)]
    for _ in range(20):
        await store.ready()
        store._ready_until = 0.0  # so that the next one writes too
    assert all(isinstance(result, Published) for (result,) in await asyncio.gather(*publishing))


async def test_a_write_that_was_asked_for_before_is_made_before(store: SqliteStore) -> None:
    """SQLite's lock alone would give it to either."""
    (first,) = await publish(store, publication())
    held = threading.Event()
    order: list[str] = []

    async def write() -> None:
        await store.database.write(lambda _: held.wait(10))
        order.append("written")

    async def publish_behind() -> None:
        await store.publish([publication()])
        order.append("published")

    both = [asyncio.create_task(write()), asyncio.create_task(publish_behind())]
    await store.read_timeline(first.contact_id or 0, Filters(), None, 1)  # by now both are under way
    held.set()
    await asyncio.gather(*both)
    assert order == ["written", "published"]


async def test_after_its_death_another_one_is_started(store: SqliteStore) -> None:
    (first,) = await publish(store, publication(id="one"))
    os.kill(pid_of(store), signal.SIGKILL)
    again: list[Published] = []
    async with asyncio.timeout(20):
        while not again:
            try:
                again = await publish(store, publication(id="one"), publication(id="two"))
            except Unavailable:
                await asyncio.sleep(0.01)  # between two tries
    assert (again[0].id, again[0].duplicate, again[1].duplicate) == (first.id, True, False)


async def test_who_waits_when_it_dies_is_told(store: SqliteStore) -> None:
    await publish(store, publication())
    os.kill(pid_of(store), signal.SIGSTOP)
    waiting = asyncio.create_task(store.publish([publication()]))
    await asyncio.sleep(0)
    os.kill(pid_of(store), signal.SIGKILL)
    with pytest.raises(Unavailable):
        await waiting


async def test_signals_for_the_group_leave_it_to_the_server(store: SqliteStore) -> None:
    await publish(store, publication())
    pid = pid_of(store)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    await publish(store, publication())
    assert pid_of(store) == pid
    await store.close()
    assert not is_running(pid)


async def test_what_was_taken_is_kept_when_the_store_closes(store: SqliteStore) -> None:
    taken = asyncio.create_task(store.publish([publication(id=str(i)) for i in range(500)]))
    await publish(store, publication(id="behind it"))
    await store.close()
    assert len(await taken) == 500


async def test_it_ends_with_its_server(store: SqliteStore) -> None:
    await publish(store, publication())
    pid = pid_of(store)
    await store.close()
    wait_until(lambda: not is_running(pid), what="the end of the committer")
