"""Viewers and what they are told, in the order of arrival.

A feed follows the log itself behind the commits, also those of other processes; the log is the truth and a commit only
wakes it. A viewer has a bounded queue: one who is too slow is told to read afresh, and costs nobody else anything.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from enum import Enum

import structlog

from backstory.errors import BackstoryError
from backstory.model.activity import Activity, Arrival, Deletion
from backstory.model.ids import ContactKey, Position
from backstory.store.base import ActivityLog, StreamPosition

MAX_QUEUED = 256
BACKLOG_PIECE = 500
MAX_BACKLOG_PIECES = 20
"""One who missed more than so many pieces is better off reading a page afresh."""

FEED_PIECE = 1_000
FEED_SECONDS = 0.25
"""How often the feed looks for what other processes committed, while anybody is looking."""

log = structlog.get_logger(__name__)


class Signal(Enum):
    """What a viewer is told beside activities and deletions."""

    BEGUN = "what arrives from now on is told"
    RESET = "read afresh: something was missed"
    QUIET = "nothing for a while"
    END = "the service is stopping"


Event = Activity | Deletion | Signal


class Viewer:
    """One who follows some homes, and had some arrivals before."""

    def __init__(self, homes: Sequence[ContactKey], had: Collection[Arrival]) -> None:
        self.homes = tuple(homes)
        self._had = frozenset(had)
        self._queue: asyncio.Queue[Event] = asyncio.Queue(MAX_QUEUED)
        self._overrun = False

    def tell(self, event: Event) -> None:
        """Queue an event that the viewer has not had; one too many and it must read afresh."""
        if self._overrun or (isinstance(event, Activity | Deletion) and event.key in self._had):
            return
        if self._queue.full():
            self._overrun = True
            while not self._queue.empty():
                self._queue.get_nowait()
            event = Signal.RESET
        self._queue.put_nowait(event)

    async def next(self, quiet_after: float) -> Event:
        """The next event; `Signal.QUIET` after so many seconds without one."""
        try:
            async with asyncio.timeout(quiet_after):
                return await self._queue.get()
        except TimeoutError:
            return Signal.QUIET


class Hub:
    """Every viewer of this process."""

    def __init__(self, activity_log: ActivityLog) -> None:
        self._log = activity_log
        self._viewers: defaultdict[ContactKey, set[Viewer]] = defaultdict(set)
        self._count = 0
        self._wake = asyncio.Event()
        self._position: Position = 0
        self._told = _Told(0, 0)
        self._feed: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def count(self) -> int:
        """How many viewers there are."""
        return self._count

    def notify_commit(self) -> None:
        """Something was committed: look for it now."""
        self._wake.set()

    async def follow(
        self, homes: Sequence[ContactKey], after: StreamPosition, *, quiet_after: float, fresh: bool = False
    ) -> AsyncGenerator[Event]:
        """Everything that arrives for some homes after a position, oldest first, without end.

        Where the order of arrival is not exact the last seconds before the position may come again. A `fresh` viewer,
        whose position is of this moment, is spared them; from `Signal.BEGUN`, its first event, on it is told all.
        After `Signal.RESET` and `Signal.END` nothing comes any more. A position of another generation, or one that
        lies ahead of the log or too far back, is not known here: that is a reset.
        """
        current, overlap = await self._log.stream_position(), self._log.overlap
        known = current.oldest <= after.position <= current.position + overlap
        if after.generation != current.generation or not known:
            yield Signal.RESET
            return
        told = _Told(after.position, overlap)
        if overlap:
            # The feed reads seconds again for who joins: had before, they do not fill the viewer's queue.
            async with aclosing(self._backlog(homes, told)) as events:
                async for event in events:
                    if event is Signal.RESET or not fresh:
                        yield event
                    if event is Signal.RESET:
                        return
        if fresh:
            yield Signal.BEGUN
        viewer = self._join(homes, told.lately)
        try:
            await self._start_feed()
            # Joined first, so that nothing falls between the backlog and the live events; what both have is dropped.
            async with aclosing(self._backlog(homes, told)) as events:
                async for event in events:
                    yield event
                    if event is Signal.RESET:
                        return
            while True:
                event = await viewer.next(quiet_after)
                if isinstance(event, Signal) or told.is_new(event):
                    yield event
                if event in (Signal.RESET, Signal.END):
                    return
        finally:
            self._leave(viewer)

    async def _backlog(self, homes: Sequence[ContactKey], told: _Told) -> AsyncGenerator[Event]:
        """What arrived for some homes and was not told; `Signal.RESET` at the end where it is too much."""
        position = told.oldest
        for _ in range(MAX_BACKLOG_PIECES):
            arrivals = await self._log.arrivals(homes, position, BACKLOG_PIECE, told.lately)
            for arrival in arrivals.events:
                if told.is_new(arrival):
                    yield arrival
            position = arrivals.position
            if len(arrivals.events) < BACKLOG_PIECE and not arrivals.more:
                return
        yield Signal.RESET

    def _join(self, homes: Sequence[ContactKey], had: Collection[Arrival]) -> Viewer:
        viewer = Viewer(homes, had)
        for home in viewer.homes:
            self._viewers[home].add(viewer)
        self._count += 1
        if self._closing:
            viewer.tell(Signal.END)
        return viewer

    def _needs_feed(self) -> bool:
        return self._feed is None and not self._closing

    async def _start_feed(self) -> None:
        if not self._needs_feed():
            return
        position = (await self._log.stream_position()).position
        if self._needs_feed():  # begun by somebody else meanwhile, its place must not be moved
            self._told = _Told(position, self._log.overlap)
            self._position = position
            self._feed = asyncio.create_task(self._run_feed())

    def _leave(self, viewer: Viewer) -> None:
        for home in viewer.homes:
            self._viewers[home].discard(viewer)
            if not self._viewers[home]:
                del self._viewers[home]
        self._count -= 1

    async def _run_feed(self) -> None:
        while self._count:
            try:
                await self._feed_once()
            except BackstoryError as error:
                log.warning("feed_failed", error=str(error))
            except Exception:  # whatever it is, the viewers must hear of what comes next
                log.exception("feed_failed")
            try:
                async with asyncio.timeout(FEED_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue
        self._feed = None

    async def _feed_once(self) -> None:
        """Tell the viewers what came since the last time."""
        self._wake.clear()
        more, after = True, max(0, self._position - self._log.overlap)
        while more:
            homes = frozenset(self._viewers)
            arrivals = await self._log.all_arrivals(after, FEED_PIECE, homes, self._told.lately)
            if self._viewers.keys() - homes:
                continue  # somebody joined meanwhile, whose arrivals this reading left out and would now pass over
            for event in arrivals.events:
                if self._told.is_new(event):
                    for viewer in self._viewers.get(event.contact_key, ()):
                        viewer.tell(event)
            more, after = arrivals.more, arrivals.position
            self._position = max(self._position, after)

    async def close(self) -> None:
        """Tell every viewer that it is over."""
        self._closing = True
        for viewer in {viewer for viewers in self._viewers.values() for viewer in viewers}:
            viewer.tell(Signal.END)
        if self._feed is not None:
            self._feed.cancel()
            await asyncio.gather(self._feed, return_exceptions=True)


class _Told:
    """What was told, so that nothing is told twice: by its position, or one by one where the order is not exact."""

    def __init__(self, position: Position, overlap: Position) -> None:
        self._newest = position
        self._overlap = overlap
        self._lately: dict[Arrival, Position] = {}
        self._enough = 1_000

    @property
    def lately(self) -> Collection[Arrival]:
        """What was told of that which may be read again."""
        return self._lately.keys()

    @property
    def oldest(self) -> Position:
        """Behind which something may be that was not told."""
        return max(0, self._newest - self._overlap)

    def is_new(self, event: Activity | Deletion) -> bool:
        """Whether an event was not told yet. From now on it was."""
        position, before = event.arrival, self._newest
        self._newest = max(before, position)
        if not self._overlap:
            return position > before
        if event.key in self._lately:
            return False
        self._lately[event.key] = position
        if len(self._lately) > self._enough:
            oldest = self._newest - 2 * self._overlap
            self._lately = {each: place for each, place in self._lately.items() if place >= oldest}
            self._enough = 2 * len(self._lately) + 1_000
        return True
