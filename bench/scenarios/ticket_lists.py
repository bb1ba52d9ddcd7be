"""Listing tickets where there are very many."""

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3 as sqlite3

from backstory.model.ticket import Priority, due_times
from bench.load import Job, drive
from bench.places import scratch
from bench.product import backstory, make_key
from bench.report import Outcome

MOST_MS = 20.0

_DAY = 24 * 3600 * 1_000_000
_CONTACTS, _AGENTS, _COMPANIES = 100_000, 60, 2_000
_YEARS = 2 * 365 * _DAY
_COLUMNS = (
    "subject description description_text status priority source requester_id responder_id group_id company_id"
    " due_by fr_due_by created_at updated_at spam deleted_at"
).split()


def ticket_lists(outcome: Outcome) -> None:
    """Milliseconds (median) to answer a list of 30 tickets over HTTP, one request after another.

    Of a million tickets of two years (one in 500 is spam, one in 300 deleted; most are closed): in every order, of a
    requester, a company and a view, since a moment, and far into a list.

    Target: each at most 20 ms.
    """
    rows, asks = (20_000, 50) if outcome.quick else (1_000_000, 300)
    outcome.sizes = {"tickets": rows, "asks": asks}
    with scratch() as folder:
        database = folder / "tickets.db"
        make_key(database)  # makes the database
        made = time.time_ns() // 1000
        _fill(database, rows, made)
        with backstory(database, "tickets") as server:
            for what, query in _lists(made).items():
                path = f"/api/v2/tickets?{query}"
                job = Job(
                    port=server.port, key=server.key, kind="get", connections=1, count=asks, paths=(path,)
                )
                result = drive(job)
                outcome.refuse(what, result)
                outcome.figure(what, result.p50, "ms", f"p99 {result.p99:g} ms")
                outcome.check(what, result.p50, "ms", most=MOST_MS)


def _lists(made: int) -> dict[str, str]:
    """What is asked for, and how."""

    def since(days: float) -> str:
        moment = time.gmtime((made - days * _DAY) / 1_000_000)
        return f"updated_since={time.strftime('%Y-%m-%dT%H:%M:%SZ', moment)}"

    lists = {
        f"by {order}, {way}": f"order_by={order}&order_type={way}"
        for order in ("created_at", "updated_at", "due_by", "status")
        for way in ("desc", "asc")
    }
    return lists | {
        "new and my open": "filter=new_and_my_open",
        "new and my open, by due_by": "filter=new_and_my_open&order_by=due_by&order_type=asc",
        "spam": "filter=spam",
        "deleted": "filter=deleted",
        "of a requester": f"requester_id=77&{since(800)}",
        "of a company": f"company_id=77&{since(800)}",
        "changed in an hour, by status": f"order_by=status&order_type=asc&{since(1 / 24)}",
        "changed in two days, by created_at": f"order_type=asc&{since(2)}",
        "changed ever, by updated_at": f"order_by=updated_at&order_type=asc&{since(800)}",
        "changed ever, page 1,000": f"page=1000&{since(800)}",
        "with everything": "include=description,requester,company,stats",
    }


def _fill(database: Path, rows: int, made: int) -> None:
    """Tickets as they gather in two years, and those whom they are of."""
    with closing(sqlite3.connect(str(database), isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO contacts (key, name, named, created_at, updated_at) VALUES (randomblob(16), ?, 1, 0, 0)",
            ((f"Customer {number}",) for number in range(_CONTACTS)),
        )
        connection.executemany(
            "INSERT INTO companies (name, name_key, created_at, updated_at) VALUES (?, ?, 0, 0)",
            ((f"Company {number}", f"company {number}") for number in range(_COMPANIES)),
        )
        marks = ",".join("?" * len(_COLUMNS))
        statement = f"INSERT INTO tickets ({','.join(_COLUMNS)}) VALUES ({marks})"
        connection.executemany(statement, _tickets(rows, made))
        connection.execute("COMMIT")


def _tickets(rows: int, made: int) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(7)
    html, text = "<p>Where is my parcel? It was to come on Friday.</p>" * 6, "Where is my parcel? " * 15
    for number in range(rows):
        age = _YEARS * (rows - number) // rows
        created = made - age
        fresh = age < 10 * _DAY
        status = chance.choices((2, 3, 4, 5, 6), (30, 10, 10, 45, 5) if fresh else (2, 1, 5, 92, 0))[0]
        priority = chance.choice((1, 1, 1, 2, 3, 4))
        first, due = due_times(Priority(priority), created)
        changed = created + min(int(chance.expovariate(1 / 3) * _DAY), age)
        yield (
            *(f"Order {number}", html, text, status, priority, 2, chance.randint(2, _CONTACTS)),
            *(chance.choice((None, *range(1, _AGENTS))), chance.choice((None, 1, 2, 3))),
            *(chance.choice((None, *range(1, _COMPANIES))), due, first, created, changed),
            *(chance.random() < 0.002, made if chance.random() < 0.003 else None),
        )
