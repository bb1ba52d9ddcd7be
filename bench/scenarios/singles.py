"""One activity a request."""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from bench import engines
from bench.engines import empty_database
from bench.load import Job, LoadResult, drive
from bench.peers import django_peer, fastapi_peer
from bench.places import free_port, scratch
from bench.processes import serving
from bench.product import Running, backstory, floor
from bench.report import Outcome, ratio

_CONTACTS = 1_000
_LEAST_OF_FLOOR = {"sqlite": 0.5, "postgres": 0.4}
_CONNECTIONS = (1, 32, 128)


def singles(outcome: Outcome) -> None:
    """Durable publishes a second over HTTP, one activity a request, at 1, 32 and 128 connections.

    Backstory beside its own floor (the same server, which stores nothing) and beside two peers at the same durability
    (WAL, synchronous=FULL). All run at once, each takes its turn, three turns each, the median counts; every contact
    is known before. Between turns the search indexes are let follow.

    Targets at 32 and 128 connections: at least 0.5 × the floor (0.4 × on PostgreSQL, which takes its share of the same
    cores), on SQLite at least 10 × each peer; the peers are left out elsewhere. On a cluster there is no target.
    """
    rounds, seconds = (1, 1.5) if outcome.quick else (3, 5.0)
    outcome.sizes = {"rounds": rounds, "seconds": seconds, "contacts": _CONTACTS}
    with _contenders() as contenders:
        for contender in contenders:
            _prime(outcome, contender)
        for connections in _CONNECTIONS:
            rates = _turns(outcome, contenders, connections, rounds, seconds)
            if connections > 1:
                _judge(outcome, rates, connections)


_PEERS = {
    "sqlite": (
        lambda folder: fastapi_peer(folder / "fastapi.db"),
        lambda folder: django_peer(folder / "django.db"),
    )
}


@contextmanager
def _contenders() -> Iterator[list[Running]]:
    with scratch() as folder, ExitStack() as stack:
        yield [
            stack.enter_context(backstory(stack.enter_context(empty_database(folder, "backstory")))),
            stack.enter_context(floor(folder / "floor.db")),
            *(stack.enter_context(peer(folder)) for peer in _PEERS.get(engines.chosen, ())),
            stack.enter_context(_ceiling()),
        ]


@contextmanager
def _ceiling() -> Iterator[Running]:
    """A server that answers without reading: what the load generator itself can do."""
    port = free_port()
    with serving("ceiling", [sys.executable, "-m", "bench.ceiling", str(port)], port, ready="/"):
        yield Running("ceiling", port, "none")


def _job(to: Running, connections: int, seconds: float, turn: str) -> Job:
    prefix = f"{os.getpid()}-{connections}-{turn}"
    return Job(
        port=to.port,
        key=to.key,
        connections=connections,
        seconds=seconds,
        warmup=0.5,
        contacts=_CONTACTS,
        prefix=prefix,
    )


def _prime(outcome: Outcome, to: Running) -> None:
    """Make every contact known, so that no turn measures the creation of contacts."""
    everybody = Job(
        port=to.port,
        key=to.key,
        connections=8,
        count=_CONTACTS,
        contacts=_CONTACTS,
        prefix="prime",
        patience=120,
    )
    outcome.refuse(f"{to.name}, contacts", drive(everybody))


def _turns(
    outcome: Outcome, contenders: list[Running], connections: int, rounds: int, seconds: float
) -> dict[str, float]:
    """The median rate of each contender."""
    results: defaultdict[str, list[LoadResult]] = defaultdict(list)
    for turn in range(rounds):
        for to in contenders:
            results[to.name].append(drive(_job(to, connections, seconds, str(turn))))
            if to.name == "backstory":
                to.wait_searchable()
    return {name: _median(outcome, name, connections, taken) for name, taken in results.items()}


def _median(outcome: Outcome, name: str, connections: int, taken: list[LoadResult]) -> float:
    middle = median(result.rate for result in taken)
    for result in taken:
        outcome.refuse(f"{name}, {connections} connections", result)
    shown = min(taken, key=lambda result: abs(result.rate - middle))
    return outcome.load(f"{name}, {connections} connections", shown)


def _judge(outcome: Outcome, rates: dict[str, float], connections: int) -> None:
    ours = rates["backstory"]
    at = f"at {connections} connections"
    least = _LEAST_OF_FLOOR.get(engines.chosen)
    if least is None:
        outcome.figure(f"backstory / floor, {at}", ratio(ours, rates["floor"]), "×")
    else:
        outcome.check(f"backstory / floor, {at}", ratio(ours, rates["floor"]), "×", least=least)
    for name, title in (("fastapi_peer", "FastAPI peer"), ("django_peer", "Django peer")):
        if name in rates:
            outcome.check(f"backstory / {title}, {at}", ratio(ours, rates[name]), "×", least=10)
