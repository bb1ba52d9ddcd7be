"""An installation that moves from engine to engine."""

import re
import time
from collections.abc import Sequence
from itertools import pairwise

from bench.engines import Clustered, Database, new_log, one_node, postgres
from bench.places import scratch
from bench.product import copy, filled
from bench.report import Outcome
from bench.scenarios.grow import feed_of

_SUM = re.compile(r"^(\S.*?)\s+([\d,]+)\s+([0-9a-f]{32})\b", re.MULTILINE)


def moves(outcome: Outcome) -> None:
    """An installation with 1 million activities, by `backstory copy` from SQLite to PostgreSQL, on to a cluster of one
    node, from there back to PostgreSQL, and to SQLite: activities a second of each step, its comparison included.

    Target: every table's number of rows and checksum are the same in the last as in the first.
    """
    rows = 20_000 if outcome.quick else 1_000_000
    outcome.sizes = {"activities": rows}
    first = filled(rows, feed_of(rows))
    with scratch() as folder, postgres(folder) as server, one_node(folder) as cluster:
        stations: Sequence[tuple[str, Database]] = (
            ("SQLite", first),
            ("PostgreSQL", server.create_database()),
            ("a cluster", Clustered(server.create_database(), new_log(cluster))),
            ("PostgreSQL again", server.create_database()),
            ("SQLite again", folder / "last.db"),
        )
        sums: list[dict[str, tuple[str, str]]] = []
        for (_, source), (name, target) in pairwise(stations):
            began = time.monotonic()
            sums.append(_copy(source, target))
            outcome.figure(f"to {name}", round(rows / (time.monotonic() - began)), "activities/s")
    tables = sums[0].keys()
    outcome.check("tables compared", len(tables), "tables", least=1)
    different = [table for table in tables if any(each.get(table) != sums[0][table] for each in sums)]
    outcome.check("tables that differ", len(different), "tables", most=0)


def _copy(source: Database, target: Database) -> dict[str, tuple[str, str]]:
    """Copy, and the rows and checksum of each table, which the command has found to be the same on both sides."""
    printed = copy(source, target)
    return {name: (count, checksum) for name, count, checksum in _SUM.findall(printed)}
