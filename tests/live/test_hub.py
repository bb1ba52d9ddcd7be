"""Live viewers: all arrives once and in order; whoever is slow or cut off reads afresh; nobody waits for another."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from backstory.errors import Unavailable
from backstory.live import hub as hub_module
from backstory.live.hub import MAX_QUEUED, Event, Hub, Signal
from backstory.model.activity import Activity, Deletion
from backstory.model.ids import ActivityId, ContactKey
from backstory.store.base import ActivityLog, Arrivals, StreamPosition
from backstory.store.sqlite import SqliteStore
from tests.store.support import ENTRY, NOON, home_of, publication, publish, publish_one, timeline

QUIET = 30.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "backstory.db")
    opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def hub(store: SqliteStore) -> AsyncIterator[Hub]:
    made = Hub(store.log)
    yield made
    await made.close()


async def start(
    hub: Hub, homes: Sequence[ContactKey], after: StreamPosition
) -> tuple[asyncio.Task[None], list[Event]]:
    """Follow in the background; what was told so far is in the list."""
    told: list[Event] = []

    async def follow() -> None:
        async for event in hub.follow(homes, after, quiet_after=QUIET):
            told.append(event)  # noqa: PERF401 - one by one: others look at the list meanwhile

    before = hub.count
    task = asyncio.create_task(follow())
    async with asyncio.timeout(10):
        while hub.count == before and not task.done():
            await asyncio.sleep(0)
    return task, told


async def until(told: list[Event], count: int) -> None:
    async with asyncio.timeout(10):
        while len(told) < count:
            await asyncio.sleep(0.001)  # between two looks


def ids(told: Sequence[Event]) -> list[ActivityId]:
    return [event.id for event in told if isinstance(event, Activity | Deletion)]


async def test_a_viewer_hears_of_its_contact_and_nobody_else(store: SqliteStore, hub: Hub) -> None:
    mine = await home_of(store, await publish_one(store))
    _, told = await start(hub, [mine], await store.log.stream_position())
    await publish_one(store, {"email": "else@example.com"})
    late = await publish_one(store, at=NOON)
    hub.notify_commit()
    await until(told, 1)
    await store.log.delete(late.id, ENTRY)
    await publish_one(store, {"email": "else@example.com"})
    last = await publish_one(store)
    hub.notify_commit()
    await until(told, 3)
    assert [type(event) for event in told] == [Activity, Deletion, Activity]
    assert ids(told) == [late.id, late.id, last.id]


async def test_a_viewer_that_missed_too_much_reads_afresh(
    store: SqliteStore, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "BACKLOG_PIECE", 2)
    monkeypatch.setattr(hub_module, "MAX_BACKLOG_PIECES", 2)
    first = await publish_one(store)
    position = await store.log.stream_position()
    await publish(store, *(publication(at=NOON - number) for number in range(4)))
    _, told = await start(hub, [await home_of(store, first)], position)
    await until(told, 5)
    assert told[-1] is Signal.RESET


async def test_a_viewer_that_was_away_gets_everything_since(
    store: SqliteStore, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "BACKLOG_PIECE", 3)
    first = await publish_one(store)
    position = await store.log.stream_position()
    missed = await publish(store, *(publication(at=NOON - number) for number in range(10)))
    _, told = await start(hub, [await home_of(store, first)], position)
    await until(told, 10)
    live = await publish_one(store)
    hub.notify_commit()
    await until(told, 11)
    assert ids(told) == [*(each.id for each in missed), live.id]


async def test_other_processes_commits_are_found_without_a_word(store: SqliteStore, hub: Hub) -> None:
    home = await home_of(store, await publish_one(store))
    _, told = await start(hub, [home], await store.log.stream_position())
    published = await publish_one(store)  # nobody calls notify_commit
    await until(told, 1)
    assert ids(told) == [published.id]


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_cut_off_ends_with_a_fresh_read(store: SqliteStore, hub: Hub, seed: int) -> None:
    """Viewers join, are cut off and resume at random while activities arrive and go; each ends with what is there."""
    chance = random.Random(seed)
    home = await home_of(store, await publish_one(store))
    alive = [activity.id for activity in await timeline(store, [home])]
    shown: list[dict[ActivityId, Activity]] = []
    resume: list[StreamPosition] = []
    running: dict[int, tuple[asyncio.Task[None], list[Event]]] = {}

    def take_in(viewer: int) -> None:
        _, told = running[viewer]
        for event in told:
            assert not isinstance(event, Signal)
            position = event.position if isinstance(event, Deletion) else event.id.position
            assert position > resume[viewer].position  # nothing twice, and in order
            resume[viewer] = resume[viewer].__class__(resume[viewer].generation, position)
            if isinstance(event, Deletion):
                shown[viewer].pop(event.id, None)
            else:
                shown[viewer][event.id] = event
        told.clear()

    async def stop(viewer: int) -> None:
        task, _ = running[viewer]
        task.cancel()
        await asyncio.wait([task])
        take_in(viewer)
        del running[viewer]

    for _ in range(4):
        resume.append(await store.log.stream_position())
        shown.append({activity.id: activity for activity in await timeline(store, [home])})
    for _ in range(60):
        roll = chance.random()
        if roll < 0.45:
            results = await publish(
                store, *(publication(at=NOON + chance.randrange(99)) for _ in range(chance.randrange(1, 4)))
            )
            alive.extend(each.id for each in results)
            hub.notify_commit()
        elif roll < 0.6 and alive:
            await store.log.delete(alive.pop(chance.randrange(len(alive))), ENTRY)
            hub.notify_commit()
        elif (viewer := chance.randrange(4)) in running:
            await stop(viewer)
        else:
            running[viewer] = await start(hub, [home], resume[viewer])
    fresh = {activity.id: activity for activity in await timeline(store, [home])}
    end = (await store.log.stream_position()).position
    for viewer in range(4):
        if viewer not in running:
            running[viewer] = await start(hub, [home], resume[viewer])
        async with asyncio.timeout(10):
            while resume[viewer].position < end:
                await asyncio.sleep(0.001)  # between two looks
                take_in(viewer)
        await stop(viewer)
        assert shown[viewer] == fresh
    assert hub.count == 0


@pytest.mark.parametrize("position", ["another generation", "ahead of the log"])
async def test_an_unknown_position_is_a_reset(store: SqliteStore, hub: Hub, position: str) -> None:
    home = await home_of(store, await publish_one(store))
    here = await store.log.stream_position()
    generation = "other" if position == "another generation" else here.generation
    after = StreamPosition(generation, here.position + (position == "ahead of the log"))
    task, told = await start(hub, [home], after)
    await task
    assert told == [Signal.RESET]
    assert hub.count == 0


async def test_a_slow_viewer_is_told_to_read_afresh_and_others_hear_everything(
    store: SqliteStore, hub: Hub
) -> None:
    home = await home_of(store, await publish_one(store))
    position = await store.log.stream_position()
    slow = hub.follow([home], position, quiet_after=QUIET)
    _, told = await start(hub, [home], position)
    waiting = asyncio.ensure_future(anext(slow))  # joins, hears one, and then does not come back for a while
    async with asyncio.timeout(10):
        while hub.count < 2:
            await asyncio.sleep(0)
    first = await publish_one(store)
    hub.notify_commit()
    assert ids([await waiting]) == [first.id]
    expected = [first.id]
    for _ in range(4):
        expected += [
            each.id for each in await publish(store, *(publication() for _ in range(MAX_QUEUED // 2)))
        ]
        hub.notify_commit()
        await until(told, len(expected))
    assert ids(told) == expected
    *before, last = [event async for event in slow]
    assert last is Signal.RESET  # and nothing behind it
    assert ids(before) == expected[1 : len(before) + 1]
    assert hub.count == 1


async def test_quiet_is_told(store: SqliteStore, hub: Hub) -> None:
    home = await home_of(store, await publish_one(store))
    events = hub.follow([home], await store.log.stream_position(), quiet_after=0.01)
    assert [await anext(events), await anext(events)] == [Signal.QUIET, Signal.QUIET]
    published = await publish_one(store)
    hub.notify_commit()
    async with asyncio.timeout(10):
        while (event := await anext(events)) is Signal.QUIET:
            continue
    assert ids([event]) == [published.id]


async def test_closing_ends_every_viewer_and_those_who_come_later(store: SqliteStore, hub: Hub) -> None:
    home = await home_of(store, await publish_one(store))
    position = await store.log.stream_position()
    viewers = [await start(hub, [home], position) for _ in range(3)]
    await hub.close()
    viewers.append(await start(hub, [home], position))
    for task, told in viewers:
        await task
        assert told == [Signal.END]
    assert hub.count == 0


async def test_no_viewers_no_reading(store: SqliteStore, hub: Hub) -> None:
    home = await home_of(store, await publish_one(store))
    task, told = await start(hub, [home], await store.log.stream_position())
    task.cancel()
    await asyncio.wait([task])
    missed = await publish_one(store)
    hub.notify_commit()
    async with asyncio.timeout(10):
        while hub._feed is not None:
            await asyncio.sleep(0.001)  # between two looks
    _, told = await start(hub, [home], await store.log.stream_position())
    live = await publish_one(store)
    hub.notify_commit()
    await until(told, 1)
    assert ids(told) == [live.id]
    assert missed.id != live.id


class GatedLog:
    """The log, with chosen calls held back or failing: the order of two readers' threads, made certain."""

    def __init__(self, log: ActivityLog) -> None:
        self._log = log
        self.calls: Counter[str] = Counter()
        self.held: dict[tuple[str, int], asyncio.Event] = {}
        """Which call of which task waits for what."""
        self.fail = False

    @property
    def overlap(self) -> int:
        return self._log.overlap

    async def stream_position(self) -> StreamPosition:
        task = asyncio.current_task()
        assert task is not None
        self.calls[task.get_name()] += 1
        if gate := self.held.get((task.get_name(), self.calls[task.get_name()])):
            await gate.wait()
        return await self._log.stream_position()

    async def arrivals(self, *asked: Any) -> Arrivals:
        return await self._log.arrivals(*asked)

    async def all_arrivals(self, *asked: Any) -> Arrivals:
        if self.fail:
            raise Unavailable("the storage is busy")
        return await self._log.all_arrivals(*asked)


async def test_a_second_viewer_that_starts_at_the_same_time_does_not_move_the_feed(
    store: SqliteStore,
) -> None:
    """Both find no feed. The second one's position is read later: what came in between must still reach the first."""
    home = await home_of(store, await publish_one(store))
    gated = GatedLog(store.log)
    hub = Hub(cast(ActivityLog, gated))
    position = await store.log.stream_position()
    held = gated.held["second", 2] = (
        asyncio.Event()
    )  # the first call is `follow`'s, the second is for the feed

    async def first_event() -> Event:
        return await anext(hub.follow([home], position, quiet_after=QUIET))

    def follow(name: str) -> asyncio.Task[Event]:
        return asyncio.create_task(first_event(), name=name)

    second = follow("second")
    async with asyncio.timeout(10):
        while gated.calls["second"] < 2:
            await asyncio.sleep(0.001)  # between two looks
    first = follow("first")
    async with asyncio.timeout(10):
        while hub._feed is None:
            await asyncio.sleep(0.001)  # between two looks
    gated.fail = True  # the feed cannot read just now
    published = await publish_one(store)
    held.set()
    assert ids([await second]) == [published.id]  # from its backlog
    gated.fail = False
    async with asyncio.timeout(10):
        assert ids([await first]) == [published.id]
    await hub.close()


class HeldFeed:
    """A log whose feed is asked, and then held until `go_on`; `backlogs` are the backlogs that were read meanwhile."""

    def __init__(self, log: ActivityLog) -> None:
        self._log = log
        self.reading, self.go_on = asyncio.Event(), asyncio.Event()
        self.backlogs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def arrivals(self, *asked: Any) -> Any:
        read = await self._log.arrivals(*asked)
        self.backlogs += 1
        return read

    async def all_arrivals(self, *asked: Any) -> Any:
        self.reading.set()
        await self.go_on.wait()
        return await self._log.all_arrivals(*asked)


async def test_who_joins_while_the_feed_reads_misses_nothing(store: SqliteStore) -> None:
    """The feed asked before anybody followed the second contact, and reads what has arrived for it only now."""
    one, other = [
        await home_of(store, await publish_one(store, {"email": f"{name}@example.com"})) for name in "ab"
    ]
    held = HeldFeed(store.log)
    hub = Hub(cast(ActivityLog, held))
    position = await store.log.stream_position()

    async def first_event(home: bytes) -> Event:
        return await anext(hub.follow([home], position, quiet_after=60))

    first = asyncio.create_task(first_event(one))
    async with asyncio.timeout(10):
        await held.reading.wait()
        second = asyncio.create_task(first_event(other))
        while held.backlogs < 2:
            await asyncio.sleep(0.001)  # between two looks
        published = await publish_one(store, {"email": "b@example.com"})
        held.go_on.set()
        assert ids([await second]) == [published.id]
    first.cancel()
    await hub.close()


async def test_a_viewer_that_goes_away_while_it_joins_leaves_nothing(store: SqliteStore) -> None:
    home = await home_of(store, await publish_one(store))
    gated = GatedLog(store.log)
    hub = Hub(cast(ActivityLog, gated))
    gated.held["viewer", 2] = asyncio.Event()  # the feed's place is never read
    position = await store.log.stream_position()

    async def follow() -> None:
        await anext(hub.follow([home], position, quiet_after=QUIET))

    viewer = asyncio.create_task(follow(), name="viewer")
    async with asyncio.timeout(10):
        while gated.calls["viewer"] < 2:
            await asyncio.sleep(0.001)  # between two looks
    assert hub.count == 1
    viewer.cancel()
    await asyncio.wait([viewer])
    assert hub.count == 0
    await hub.close()


async def test_a_feed_that_fails_goes_on(store: SqliteStore) -> None:
    home = await home_of(store, await publish_one(store))
    gated = GatedLog(store.log)
    hub = Hub(cast(ActivityLog, gated))
    _, told = await start(hub, [home], await store.log.stream_position())
    gated.fail = True
    published = await publish_one(store)
    hub.notify_commit()
    await asyncio.sleep(0)
    gated.fail = False
    await until(told, 1)
    assert ids(told) == [published.id]
    await hub.close()
