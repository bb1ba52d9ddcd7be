"""So many in so long: how often somebody who need not sign in may do something, by where they come from."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque

MAX_REMEMBERED = 10_000


class Allowance:
    """Counts in memory, in each process, bounded: who was not heard for longest is forgotten first."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, who: str) -> int:
        """Take one; 0 where that was possible, else the seconds to wait, and nothing was taken."""
        moment = time.monotonic()
        taken = self._taken.setdefault(who, deque())
        self._taken.move_to_end(who)
        if len(self._taken) > MAX_REMEMBERED:
            self._taken.popitem(last=False)
        while taken and taken[0] <= moment - self._seconds:
            taken.popleft()
        if len(taken) >= self._count:
            return math.ceil(taken[0] + self._seconds - moment)
        taken.append(moment)
        return 0
