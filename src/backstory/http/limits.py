"""Requests a minute (contract 4.2), by key, in this process. Off unless the setting says a number."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import NamedTuple

from backstory.errors import RateLimitExceeded

WINDOW_SECONDS = 60
UNLIMITED = 100_000
"""What the headers say while there is no limit: a client that reads 0 remaining stops."""

MAX_KEYS = 10_000
"""So many keys are counted at a time; the one that was idle longest is forgotten, and begins again."""


class Allowance(NamedTuple):
    """What is left to a key, as the headers of its answer say it."""

    total: int
    remaining: int


class RateLimits:
    """Counts the requests of each key, in minutes that begin with its first one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[int, tuple[float, int]] = OrderedDict()

    def take(self, key_id: int) -> Allowance | None:
        """Count a request; None where there is no limit.

        Raises:
            RateLimitExceeded: there were as many in this minute as there may be.
        """
        if not self._limit:
            return None
        moment = time.monotonic()
        began, used = self._counts.pop(key_id, (moment, 0))
        if moment - began >= WINDOW_SECONDS:
            began, used = moment, 0
        self._counts[key_id] = (began, min(used + 1, self._limit))
        if len(self._counts) > MAX_KEYS:
            self._counts.popitem(last=False)
        if used >= self._limit:
            raise RateLimitExceeded(self._limit, retry_after=int(began + WINDOW_SECONDS - moment) + 1)
        return Allowance(self._limit, self._limit - used - 1)

    @property
    def exhausted(self) -> Allowance:
        """What is left to a key that was refused."""
        return Allowance(self._limit, 0)
