"""Which node of the cluster is asked first: not one that has just let somebody wait.

A node that hangs is found out by the driver's heartbeat after three to six seconds. Until then each statement that
begins with it waits for the speculative attempt at another one, and a publication is several statements, one after
another: three nodes with one of them stopped took a twelfth of what they take when it is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

from cassandra.policies import TokenAwarePolicy
from cassandra.pool import Host

Node = TypeVar("Node", bound=Hashable)

SUSPECT_SECONDS = 3.0
"""For so long a node that did not answer is asked last; the first statement then finds out whether it still hangs."""


class Suspects:
    """Nodes that have let somebody wait, as all statements of a session tell. Called from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Hashable, float] = {}

    def note(self, attempted: Sequence[Hashable], answered: Hashable | None) -> None:
        """A statement was sent to `attempted`, in order; `answered` is who answered it, None where nobody did."""
        if answered is not None and attempted[:1] == [answered]:  # nearly always
            return
        silent = attempted[: attempted.index(answered)] if answered in attempted else attempted
        until = self._clock() + SUSPECT_SECONDS
        for host in silent:
            self._until[host] = until

    def last(self, hosts: Iterator[Node]) -> Iterator[Node]:
        """The same nodes, those under suspicion behind the others."""
        if not self._until:
            yield from hosts
            return
        put_off = []
        for host in hosts:
            if self._is_suspect(host):
                put_off.append(host)
            else:
                yield host
        yield from put_off

    def _is_suspect(self, host: Hashable) -> bool:
        until = self._until.get(host)
        if until is None:
            return False
        if until > self._clock():
            return True
        self._until.pop(host, None)
        return False


class WaryPolicy(TokenAwarePolicy):
    """The replicas first, in any order, then the other nodes; suspects last."""

    def __init__(self, child: Any, suspects: Suspects) -> None:
        super().__init__(child, shuffle_replicas=True)
        self._suspects = suspects

    def make_query_plan(self, working_keyspace: str | None = None, query: Any = None) -> Iterator[Host]:
        """See `LoadBalancingPolicy.make_query_plan`."""
        return self._suspects.last(super().make_query_plan(working_keyspace, query))
