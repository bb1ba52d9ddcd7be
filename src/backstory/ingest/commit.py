"""Group commit: concurrent publications share one transaction (docs/decisions/0001-group-commit.md).

While a group is being committed the next one gathers. Two groups may be with the storage at once, so that it always has
the next one at hand; but where few publications wait they are better off in one group. What waits is bounded in number
and bytes; beyond that a publication is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, cast

import structlog

from backstory.errors import InternalError, Unavailable
from backstory.model.activity import Publication
from backstory.store.base import PublishResult, Store

MAX_WAITING = 20_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
MAX_GROUP = 1_000
MAX_GROUP_BYTES = 16 * 1024 * 1024
IN_FLIGHT = 2
WORTH_A_SECOND = 16
"""So many publications must wait for a second group to set out beside one that is under way: a group's own cost (a
commit, a round trip or two) is that of some twenty publications."""

log = structlog.get_logger(__name__)


class _Entry(NamedTuple):
    publications: Sequence[Publication]
    size: int
    future: asyncio.Future[list[PublishResult]]


_Landed: TypeAlias = list[PublishResult] | Exception


class GroupCommit:
    """Gathers publications and hands them to the store in groups. Lives on one event loop."""

    def __init__(self, store: Store, after_commit: Callable[[int, float], None]) -> None:
        """`after_commit` is called with each commit's number of publications and its seconds."""
        self._store = store
        self._after_commit = after_commit
        self._waiting: deque[_Entry] = deque()
        self._waiting_count = 0
        self._waiting_bytes = 0
        self._flights: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def waiting(self) -> int:
        """How many publications wait for their commit to begin."""
        return self._waiting_count

    async def publish(self, publications: Sequence[Publication]) -> list[PublishResult]:
        """What became of each publication, once all that are kept are durable.

        They go into one transaction together. A caller that goes away changes nothing.

        Raises:
            Unavailable: too much waits already, or the service is stopping; nothing was taken.
        """
        size = sum(len(item.body) for item in publications)
        if self._closing:
            raise Unavailable("The service is stopping; send it again to the next one.")
        if (
            self._waiting_count + len(publications) > MAX_WAITING
            or self._waiting_bytes + size > MAX_WAITING_BYTES
        ):
            raise Unavailable(
                "Too many publications wait for the storage; nothing of this request was taken."
            )
        future: asyncio.Future[list[PublishResult]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(publications, size, future))
        self._waiting_count += len(publications)
        self._waiting_bytes += size
        self._start_flights()
        return await future

    def _start_flights(self) -> None:
        while self._waiting and self._may_start():
            self._flights.add(asyncio.create_task(self._fly(self._take_group())))

    def _may_start(self) -> bool:
        under_way = len(self._flights)
        return not under_way or (under_way < IN_FLIGHT and self._waiting_count >= WORTH_A_SECOND)

    def _take_group(self) -> list[_Entry]:
        group: list[_Entry] = []
        count = size = 0
        while self._waiting and (
            not group
            or (
                count + len(self._waiting[0].publications) <= MAX_GROUP
                and size + self._waiting[0].size <= MAX_GROUP_BYTES
            )
        ):
            entry = self._waiting.popleft()
            group.append(entry)
            count += len(entry.publications)
            size += entry.size
        self._waiting_count -= count
        self._waiting_bytes -= size
        return group

    async def _fly(self, group: Sequence[_Entry]) -> None:
        landed = await self._commit(group)
        # The next group sets out before this one is answered: the storage would have nothing to do meanwhile.
        self._flights.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self._start_flights()
        for entry, outcome in landed:
            if entry.future.done():  # its caller went away
                continue
            if isinstance(outcome, Exception):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)

    async def _commit(self, group: Sequence[_Entry]) -> Iterable[tuple[_Entry, _Landed]]:
        """What became of each."""
        started = time.perf_counter()
        try:
            results = await self._store.publish([item for entry in group for item in entry.publications])
        except Unavailable as error:
            return [(entry, error) for entry in group]
        except Exception:
            log.exception("commit_failed", entries=len(group))
            return await self._commit_alone(group)
        self._after_commit(len(results), time.perf_counter() - started)
        return _shared_out(group, results)

    async def _commit_alone(self, group: Sequence[_Entry]) -> Iterable[tuple[_Entry, _Landed]]:
        """A group failed for a reason that nobody foresaw: each for itself, so that only the cause is refused."""
        if len(group) == 1:
            return [(group[0], InternalError("This request could not be stored; nothing of it was kept."))]
        return [landed for entry in group for landed in await self._commit([entry])]

    async def close(self) -> None:
        """Refuse what comes, and finish what was taken."""
        self._closing = True
        while self._flights:
            await asyncio.wait(self._flights)


def _shared_out(
    group: Sequence[_Entry], results: Sequence[PublishResult]
) -> Iterator[tuple[_Entry, _Landed]]:
    start = 0
    for entry in group:
        end = start + len(entry.publications)
        yield entry, list(results[start:end])
        start = end
