"""Runs of activities alike, folded into one: ten page views are one line, and the failed payment among them is seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable

from msgspec import Struct

from backstory.model.page import Place
from backstory.store.base import Homes, StreamPosition
from backstory.timeline.read import Shown, ShownPage

SHORTEST_RUN = 3
MAX_READ = 500
"""So many activities one page reads at most, however many of them fold."""

MAX_READ_BYTES = 8 * 1024 * 1024
PIECE = 100

Likeness = Callable[[Shown], Hashable]
"""What activities of one run have in common."""


class FoldedPage(Struct, frozen=True):
    """A page whose length counts groups: a group is one activity, or a run of three and more alike."""

    groups: tuple[tuple[Shown, ...], ...]
    next: Place | None
    position: StreamPosition | None
    homes: Homes | None = None


def fold(activities: Iterable[Shown], likeness: Likeness) -> list[tuple[Shown, ...]]:
    """Neighbours that are alike, as runs where they are three or more; the others one by one."""
    groups: list[tuple[Shown, ...]] = []
    run: list[Shown] = []
    like: Hashable = None
    for activity in activities:
        this = likeness(activity)
        if run and this != like:
            groups.extend(_grouped(run))
            run = []
        run.append(activity)
        like = this
    groups.extend(_grouped(run))
    return groups


def _grouped(run: list[Shown]) -> list[tuple[Shown, ...]]:
    return [tuple(run)] if len(run) >= SHORTEST_RUN else [(activity,) for activity in run]


async def read_folded(
    read: Callable[[Place | None, int], Awaitable[ShownPage]],
    after: Place | None,
    limit: int,
    likeness: Likeness,
) -> FoldedPage:
    """A page of at most `limit` groups. A run that goes on beyond what is read at once ends there."""
    first = page = await read(after, PIECE)
    found = list(page.activities)
    groups = fold(found, likeness)
    while (
        page.next is not None
        and len(groups) <= limit
        and len(found) < MAX_READ
        and _size(found) < MAX_READ_BYTES
    ):
        page = await read(page.next, PIECE)
        found.extend(page.activities)
        groups = fold(found, likeness)
    if len(groups) <= limit:
        return FoldedPage(tuple(groups), page.next, first.position, first.homes)
    last = groups[limit - 1][-1].activity
    return FoldedPage(tuple(groups[:limit]), Place(last.timestamp, last.id), first.position, first.homes)


def _size(found: list[Shown]) -> int:
    return sum(len(shown.activity.body) for shown in found)
