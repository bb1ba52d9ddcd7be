"""Does it get slower as it fills?"""

import shutil
import time
from contextlib import ExitStack
from statistics import median

from bench.data import Feed
from bench.load import Job, drive
from bench.places import scratch
from bench.product import Running, backstory, filled
from bench.report import Outcome, ratio


def grow(outcome: Outcome) -> None:
    """Durable publishes a second over HTTP at 32 connections, into a database of 100 thousand and one of 10 million.

    Spread over all contacts that the database has (100 activities each), so that the large one's indexes are written
    all over, with the search indexes following. The large one was made in bulk (bench/bulk.py); both servers run at
    once and take turns, three turns each, the median counts.

    Target: into 10 million at least 0.7 × the rate into 100 thousand.
    """
    small, large = (10_000, 100_000) if outcome.quick else (100_000, 10_000_000)
    turns, seconds = (1, 3.0) if outcome.quick else (3, 10.0)
    outcome.sizes = {"small": small, "large": large, "turns": turns, "seconds": seconds}
    rates: dict[int, list[float]] = {small: [], large: []}
    with scratch() as folder, ExitStack() as stack:
        copy = folder / "small.db"  # it would not stay small; what is added to the large one does not count
        shutil.copy(filled(small, feed_of(small)), copy)
        servers = {
            small: stack.enter_context(backstory(copy, "small")),
            large: stack.enter_context(backstory(filled(large, feed_of(large)), "large")),
        }
        for turn in range(turns):
            for rows, server in servers.items():
                rates[rows].append(_publish_into(outcome, server, rows, turn, seconds))
    outcome.check(
        f"into {large:,} rows / into {small:,}",
        ratio(median(rates[large]), median(rates[small])),
        "×",
        least=0.7,
    )


def feed_of(rows: int) -> Feed:
    """One activity in ten belongs to one contact, the others to contacts of a hundred each."""
    return Feed(contacts=1 + rows * 9 // 1000, big_every=10)


def _publish_into(outcome: Outcome, server: Running, rows: int, turn: int, seconds: float) -> float:
    feed = feed_of(rows)
    job = Job(
        port=server.port,
        key=server.key,
        connections=32,
        seconds=seconds,
        warmup=2.0,
        contacts=feed.contacts,
        big_every=feed.big_every,
        prefix=f"grow{int(time.time())}-{turn}",
        start=rows,
    )
    what = f"into {rows:,} rows, turn {turn + 1}"
    rate = outcome.load(what, drive(job))
    outcome.figure(f"{what}: index lag at the end", round(server.index_lag(), 2), "s")
    server.wait_searchable()
    return rate
