"""Filling a page from candidates in order, on every engine: each is tested, until the page is full or enough were seen.

A row is `(position, tail, contact_key, timestamp, body)`, and where it is to be tested also `source, name, object_type,
actor_type`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec

from backstory.model.activity import Activity
from backstory.model.ids import ActivityId
from backstory.model.page import Filters, Page, Place
from backstory.model.searched import read_searched

SCAN_LIMIT = 5_000
"""How many activities one page looks at before it answers short, with a `next`."""

MATCH_LIMIT = 50_000
"""Up to how many matches of words are sorted; more than that are common enough to be met by walking the timeline."""

_LAST = (1 << 63) - 1
_EVERYTHING = Filters()

Matcher = Callable[[Sequence[Any]], bool]


def to_activity(row: Sequence[Any]) -> Activity:
    """The activity of a row."""
    return Activity(ActivityId(row[0], row[1]), row[2], row[3], row[4])


def bounds(filters: Filters, after: Place | None) -> tuple[tuple[int, int], int]:
    """Where a walk begins (exclusive) and the oldest timestamp that it reaches."""
    upper = (after.timestamp, after.id.position) if after else (_LAST, 0)
    if filters.until is not None:
        upper = min(upper, (filters.until, 0))
    return upper, filters.since if filters.since is not None else -_LAST


def matcher(filters: Filters) -> Matcher | None:
    """A test of one row; None where every row passes. Indexes narrow; this decides, on the values themselves."""
    if msgspec.structs.replace(filters, since=None, until=None) == _EVERYTHING:
        return None
    sources, types, wanted = set(filters.sources), set(filters.types), set(filters.words)

    def matches(row: Sequence[Any]) -> bool:
        return (
            (not sources or row[5] in sources)
            and (filters.name is None or row[6] == filters.name)
            and (not types or row[7] in types)
            and (filters.actor_type is None or row[8] == filters.actor_type)
            and (filters.ref is None or filters.ref in read_searched(row[4]).refs)
            and (not wanted or wanted <= read_searched(row[4]).words)
        )

    return matches


class Filling:
    """A page that is being filled."""

    def __init__(self, matches: Matcher, limit: int) -> None:
        self._matches = matches
        self._limit = limit
        self._found: list[Activity] = []
        self._last: Sequence[Any] | None = None
        self._scanned = 0

    def take(self, rows: Iterable[Sequence[Any]]) -> Page | None:
        """Look at more candidates; the page once it ends. There is a `next` where one beyond it was met."""
        for row in rows:
            if self._scanned >= SCAN_LIMIT and self._last is not None:
                return Page(tuple(self._found), Place(self._last[3], ActivityId(*self._last[:2])))
            if self._matches(row):
                if len(self._found) == self._limit:
                    return Page(tuple(self._found), _behind(self._found[-1]))
                self._found.append(to_activity(row))
            self._last = row
            self._scanned += 1
        return None

    def end(self) -> Page:
        """The page where there are no more candidates."""
        return Page(tuple(self._found), None)


def collect(rows: Iterable[Sequence[Any]], matches: Matcher | None, limit: int) -> Page:
    """Fill a page from all candidates; where `matches` is None every one of them belongs to it."""
    if matches is not None:
        filling = Filling(matches, limit)
        return filling.take(rows) or filling.end()
    activities = tuple(to_activity(row) for row in islice(rows, limit + 1))
    more = len(activities) > limit
    return Page(activities[:limit], _behind(activities[limit - 1]) if more else None)


def _behind(activity: Activity) -> Place:
    return Place(activity.timestamp, activity.id)
