"""Filling a database from a file."""

from bench.data import Feed
from bench.places import OUT, scratch, size_of
from bench.product import backstory, import_feed
from bench.report import Outcome


def import_memory(outcome: Outcome) -> None:
    """Peak resident memory (MB of 10^6 bytes) of `backstory import` while it takes in 1 million activities.

    Also activities a second, and bytes on disk per activity once everything is searchable (the table, its indexes,
    the senders' ids, references and words), beside the bytes that were sent.

    Target: under 250 MB.
    """
    rows = 50_000 if outcome.quick else 1_000_000
    outcome.sizes = {"activities": rows, "contacts": 10_000}
    feed = Feed(contacts=10_000)
    (OUT / "logs").mkdir(parents=True, exist_ok=True)
    with scratch() as folder:
        database = folder / "import.db"
        imported = import_feed(database, feed, rows)
        with backstory(database, "indexing") as server:
            behind = server.wait_searchable()
        size = size_of(database)
    sent = sum(len(body) for body in feed.bodies(0, 10_000)) / 10_000
    outcome.figure("imported", round(rows / imported.seconds), "activities/s")
    outcome.figure("then until everything was searchable", round(behind, 1), "s")
    outcome.figure(
        "on disk, all indexes", round(size / rows), "bytes/activity", f"{sent:.0f} bytes were sent"
    )
    outcome.check("peak resident memory", imported.peak_rss / 1e6, "MB", most=250)
