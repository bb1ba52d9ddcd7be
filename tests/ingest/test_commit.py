"""Group commit: order, faults that stay with their cause, bounds, callers that go away, a stop that drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from backstory.errors import FieldErrors, InternalError, StorageError, Unavailable
from backstory.ingest import commit
from backstory.ingest.commit import GroupCommit
from backstory.model.activity import Publication, Published
from backstory.model.page import Filters
from backstory.store.base import PublishResult, Store
from backstory.store.sqlite import SqliteStore
from tests.store.support import found, home_of, publication, timeline


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "backstory.db")
    opened.open()
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def second_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second group sets out for one publication, so that a test knows which is where."""
    monkeypatch.setattr(commit, "WORTH_A_SECOND", 1)


class Gate:
    """The store, with a gate before it: fault injection, and a look at what it is given."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.open = asyncio.Event()
        self.open.set()
        self.groups: list[list[Publication]] = []
        self.fault: Callable[[Sequence[Publication]], Exception | None] = lambda group: None

    async def publish(self, group: Sequence[Publication], bookmark: None = None) -> list[PublishResult]:
        self.groups.append(list(group))
        await self.open.wait()
        if error := self.fault(group):
            raise error
        return await self._store.publish(group)


@pytest.fixture
def gate(store: SqliteStore) -> Gate:
    return Gate(store)


@pytest.fixture
async def commits(gate: Gate) -> AsyncIterator[GroupCommit]:
    made = GroupCommit(cast(Store, gate), lambda count, seconds: None)
    yield made
    gate.open.set()
    await made.close()


def numbered(number: int, **options: Any) -> Publication:
    return publication(name=f"event {number}", id=f"evt-{number}", **options)


async def waiting_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_results_come_in_order_to_their_callers(
    commits: GroupCommit, gate: Gate, store: SqliteStore
) -> None:
    gate.open.clear()
    requests = [[numbered(100 * caller + item) for item in range(caller % 4)] for caller in range(60)]
    calls = [asyncio.create_task(commits.publish(request)) for request in requests]
    await waiting_for(lambda: len(gate.groups) == 2)
    gate.open.set()
    results = await asyncio.gather(*calls)
    for request, answers in zip(requests, results, strict=True):
        assert [cast(Published, answer).external_id for answer in answers] == [
            item.external_id for item in request
        ]
        for item, answer in zip(request, answers, strict=True):
            activity = await store.log.get(cast(Published, answer).id)
            assert activity is not None
            assert activity.body == item.body
    assert len(gate.groups) < len([request for request in requests if request])  # they shared commits


async def test_what_waits_is_committed_together_and_two_groups_fly(commits: GroupCommit, gate: Gate) -> None:
    gate.open.clear()
    calls = [asyncio.create_task(commits.publish([numbered(number)])) for number in range(50)]
    await waiting_for(lambda: len(gate.groups) == 2)
    await waiting_for(lambda: commits.waiting == 48)
    gate.open.set()
    await asyncio.gather(*calls)
    assert [len(group) for group in gate.groups] == [1, 1, 48]
    assert commits.waiting == 0


@pytest.mark.parametrize(("number", "groups"), [(16, [1, 15]), (17, [1, 16]), (40, [1, 16, 23])])
async def test_a_second_group_sets_out_for_as_many_as_make_it_worth(
    commits: GroupCommit, gate: Gate, monkeypatch: pytest.MonkeyPatch, number: int, groups: list[int]
) -> None:
    monkeypatch.setattr(commit, "WORTH_A_SECOND", 16)
    gate.open.clear()
    calls = [asyncio.create_task(commits.publish([numbered(each)])) for each in range(number)]
    under_way = min(len(groups), 2 if groups[1] >= 16 else 1)
    await waiting_for(
        lambda: len(gate.groups) == under_way and commits.waiting == number - sum(groups[:under_way])
    )
    gate.open.set()
    await asyncio.gather(*calls)
    assert [len(group) for group in gate.groups] == groups


async def test_the_next_group_sets_out_before_the_one_that_landed_is_answered(
    commits: GroupCommit, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answering costs the event loop as much as committing costs the storage, which needs work meanwhile."""
    monkeypatch.setattr(commit, "WORTH_A_SECOND", 16)

    async def publish(number: int) -> int:
        """How many groups had set out when it was answered."""
        await commits.publish([numbered(number)])
        return len(gate.groups)

    gate.open.clear()
    calls = [asyncio.create_task(publish(number)) for number in range(10)]
    await waiting_for(lambda: commits.waiting == 9 and len(gate.groups) == 1)
    gate.open.set()
    assert await asyncio.gather(*calls) == [2] * 10


async def test_groups_are_bounded(commits: GroupCommit, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "MAX_GROUP", 10)
    gate.open.clear()
    sizes = [1, 1, 4, 4, 4, 25, 9, 2]
    numbers = iter(range(1_000))
    calls = [
        asyncio.create_task(commits.publish([numbered(next(numbers)) for _ in range(size)])) for size in sizes
    ]
    await waiting_for(lambda: commits.waiting == sum(sizes) - 2)
    gate.open.set()
    results = await asyncio.gather(*calls)
    # Never split, never over the limit, but for one request that is over it alone.
    assert sorted(len(group) for group in gate.groups) == sorted([1, 1, 8, 4, 25, 9, 2])
    assert [len(result) for result in results] == sizes


async def test_groups_are_bounded_in_bytes(
    commits: GroupCommit, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [numbered(number, description="x" * 1_000) for number in range(12)]
    monkeypatch.setattr(commit, "MAX_GROUP_BYTES", 3 * len(items[-1].body))
    gate.open.clear()
    calls = [asyncio.create_task(commits.publish([item])) for item in items]
    await waiting_for(lambda: commits.waiting == 10)
    gate.open.set()
    await asyncio.gather(*calls)
    assert [len(group) for group in gate.groups] == [1, 1, 3, 3, 3, 1]


async def test_a_refused_one_leaves_the_others(commits: GroupCommit, gate: Gate, store: SqliteStore) -> None:
    gate.open.clear()
    good, unknown = numbered(1), publication({"id": 4_711}, id="evt-2")
    calls = [
        asyncio.create_task(commits.publish(request))
        for request in ([good, unknown, numbered(3)], [unknown], [numbered(4)])
    ]
    await waiting_for(lambda: len(gate.groups) == 2)
    gate.open.set()
    first, second, third = await asyncio.gather(*calls)
    assert [type(result) for result in (*first, *second, *third)] == [
        Published,
        FieldErrors,
        Published,
        FieldErrors,
        Published,
    ]
    names = {
        activity.body for activity in await timeline(store, [await home_of(store, cast(Published, third[0]))])
    }
    assert len(names) == 3


async def test_an_unforeseen_fault_stays_with_its_cause(
    commits: GroupCommit, gate: Gate, store: SqliteStore
) -> None:
    """The whole group fails; each entry is tried alone, so that only the one at fault is refused."""
    bad = numbered(5)
    gate.fault = lambda group: RuntimeError("boom") if bad in group else None
    gate.open.clear()
    calls = [
        asyncio.create_task(commits.publish([bad if number == 5 else numbered(number)]))
        for number in range(10)
    ]
    await waiting_for(lambda: commits.waiting == 8)
    gate.open.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [
        InternalError if number == 5 else list for number in range(10)
    ]
    published = [cast(list[Published], result)[0] for number, result in enumerate(results) if number != 5]
    assert len(await timeline(store, [await home_of(store, published[0])])) == 9
    assert all(not each.duplicate for each in published)


async def test_storage_that_fails_for_all_is_told_to_all(commits: GroupCommit, gate: Gate) -> None:
    gate.fault = lambda group: StorageError("broken")
    results = await asyncio.gather(
        *(commits.publish([numbered(n)]) for n in range(5)), return_exceptions=True
    )
    assert {type(result) for result in results} == {InternalError}
    gate.fault = lambda group: None
    assert len(await commits.publish([numbered(9)])) == 1


async def test_unavailable_storage_is_told_as_it_is_and_passes(commits: GroupCommit, gate: Gate) -> None:
    gate.fault = lambda group: Unavailable("full", retry_after=7)
    results = await asyncio.gather(
        *(commits.publish([numbered(n)]) for n in range(5)), return_exceptions=True
    )
    assert {(type(result), cast(Unavailable, result).headers["Retry-After"]) for result in results} == {
        (Unavailable, "7")
    }
    assert sum(len(group) for group in gate.groups) == 5  # not tried again one by one
    gate.fault = lambda group: None
    assert len(await commits.publish([numbered(9)])) == 1


@pytest.mark.parametrize("limit", ["MAX_WAITING", "MAX_WAITING_BYTES"])
async def test_beyond_the_limits_nothing_is_taken(
    commits: GroupCommit, gate: Gate, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    size = len(numbered(10).body)
    monkeypatch.setattr(commit, limit, 10 if limit == "MAX_WAITING" else 10 * size)
    gate.open.clear()
    flying = [asyncio.create_task(commits.publish([numbered(number)])) for number in (1, 2)]
    await waiting_for(lambda: len(gate.groups) == 2)
    waiting = [asyncio.create_task(commits.publish([numbered(number)])) for number in range(10, 20)]
    await waiting_for(lambda: commits.waiting == 10)
    for request in ([numbered(20)], [numbered(21), numbered(22)]):
        with pytest.raises(Unavailable) as caught:
            await commits.publish(request)
        assert int(caught.value.headers["Retry-After"]) >= 1
    assert commits.waiting == 10
    gate.open.set()
    results = await asyncio.gather(*flying, *waiting)
    assert len(await timeline(store, [await home_of(store, cast(Published, results[0][0]))])) == 12
    assert len(await commits.publish([numbered(23)])) == 1  # room again


async def test_a_caller_that_goes_away_changes_nothing(
    commits: GroupCommit, gate: Gate, store: SqliteStore
) -> None:
    gate.open.clear()
    calls = [asyncio.create_task(commits.publish([numbered(number)])) for number in range(6)]
    await waiting_for(lambda: commits.waiting == 4)
    for gone in (0, 3):  # one that flies, one that waits
        calls[gone].cancel()
    await asyncio.wait([calls[0], calls[3]])
    gate.open.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results].count(asyncio.CancelledError) == 2
    home = await home_of(store, cast(list[Published], results[1])[0])
    assert len(await timeline(store, [home])) == 6
    (replay,) = await commits.publish([numbered(3)])
    assert cast(Published, replay).duplicate


async def test_closing_drains_what_was_taken_and_refuses_what_comes(
    commits: GroupCommit, gate: Gate, store: SqliteStore
) -> None:
    gate.open.clear()
    calls = [asyncio.create_task(commits.publish([numbered(number)])) for number in range(20)]
    await waiting_for(lambda: commits.waiting == 18)
    closing = asyncio.create_task(commits.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await commits.publish([numbered(99)])
    assert not closing.done()
    gate.open.set()
    await closing
    results = await asyncio.gather(*calls)
    assert len(await timeline(store, [await home_of(store, cast(Published, results[0][0]))])) == 20


async def test_every_commit_is_told_with_its_size(gate: Gate) -> None:
    told: list[int] = []
    commits = GroupCommit(cast(Store, gate), lambda count, seconds: told.append(count))
    await commits.publish([numbered(1), numbered(2)])
    gate.fault = lambda group: Unavailable("full")
    with pytest.raises(Unavailable):
        await commits.publish([numbered(3)])
    await commits.close()
    assert told == [2]


async def test_an_answer_means_that_another_reader_sees_it(commits: GroupCommit, store: SqliteStore) -> None:
    for number in range(20):
        (published,) = await commits.publish([numbered(number)])
        assert await store.log.get(cast(Published, published).id) is not None


async def test_nothing_at_all(commits: GroupCommit, store: SqliteStore) -> None:
    assert await commits.publish([]) == []
    assert await found(store, Filters()) == []
