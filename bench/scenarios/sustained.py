"""Publishing without a pause."""

from bench.load import Job, drive
from bench.places import scratch
from bench.product import backstory
from bench.report import Outcome


def sustained(outcome: Outcome) -> None:
    """Durable publishes a second over HTTP, 32 connections, for 60 seconds, while the search indexes follow.

    The indexes share the disk and the writer with the publishers, so this is what a server does all day, not what it
    does for a moment. The lag is read from /metrics right after the last answer: the age in seconds of the oldest
    activity that a search does not find yet.

    Target: lag at most 1 second at the end.
    """
    seconds = 5.0 if outcome.quick else 60.0
    outcome.sizes = {"seconds": seconds, "connections": 32, "contacts": 10_000}
    with scratch() as folder, backstory(folder / "sustained.db") as server:
        result = drive(Job(port=server.port, key=server.key, connections=32, seconds=seconds))
        lag = server.index_lag()
        caught_up = server.wait_searchable()
    outcome.load("backstory, 32 connections", result)
    outcome.figure("longest answer", result.longest, "ms")
    outcome.figure("until everything was searchable", round(caught_up, 2), "s")
    outcome.check("index lag at the end", lag, "s", most=1.0)
