"""Reading a timeline."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pysqlite3 as sqlite3

from bench import engines
from bench.data import Feed
from bench.engines import Clustered, connected
from bench.load import Job, LoadResult, drive
from bench.places import forget_cached
from bench.processes import get
from bench.product import Running, backstory, filled_databases
from bench.report import Outcome, ratio
from bench.scenarios.grow import feed_of

_PAGE = 50
_LARGE = {"sqlite": 10_000_000, "postgres": 10_000_000, "cassandra": 1_000_000}
_BARE = "SELECT position, tail, contact_key, timestamp, body FROM activities"
_SAMPLE = 100


def newest_page(outcome: Outcome) -> None:
    """Milliseconds (median) to read a page of 50 of a contact's timeline over HTTP, one request after another.

    Of contacts with 100 activities, in a database of 10 thousand and in one of 10 million; there also of a contact with
    1 million activities, its newest page and its page 1,000 (reached by following `next`). Beside them the bare SQL
    (the same 50 rows from the same file) and an empty HTTP answer of the same server, and pages read after the
    kernel was asked to forget the file.

    On a cluster (of one node) the large one has 1 million activities, and its big contact 100 thousand. On PostgreSQL
    the search index, which no timeline is read by, has the first of the 10 million alone.

    Targets: each of the three in the large one at most 1.3 × the newest page in the small one; on SQLite the HTTP
    answer at most 2 × (bare SQL + empty answer).
    """
    small, large = 10_000, 100_000 if outcome.quick else _LARGE[engines.chosen]
    turns, asks = (1, 300) if outcome.quick else (3, 1_500)
    outcome.sizes = {"small": small, "large": large, "turns": turns, "asks": asks, "page": _PAGE}
    with filled_databases((small, large), feed_of) as (few, many):
        with backstory(few, "small") as little, backstory(many, "large") as great:
            targets = _targets(little, great, small, large, deep=100 if outcome.quick else 1_000)
            taken = _turns(outcome, targets, turns, asks)
            people = _ordinary(great, feed_of(large), large)
        _judge(outcome, taken)
        if not isinstance(many, Clustered):
            _judge_http(outcome, taken, many, people)
        if isinstance(many, Path):
            _cold(outcome, many, feed_of(large), large)


class _Target(NamedTuple):
    """Paths that one figure is made of, and the server that is asked."""

    server: Running
    paths: tuple[str, ...]


def _targets(little: Running, great: Running, small: int, large: int, deep: int) -> dict[str, _Target]:
    """What is timed: the base, the three that are held against it, and the empty answer."""
    big = great.contact_id(_job_of(great, feed_of(large)), 0)
    return {
        f"newest page, {small:,} rows": _Target(little, _pages(_ordinary(little, feed_of(small), small))),
        f"newest page, {large:,} rows": _Target(great, _pages(_ordinary(great, feed_of(large), large))),
        f"newest page of the big contact, {large:,} rows": _Target(great, _pages([big])),
        f"page {deep:,} of the big contact, {large:,} rows": _Target(great, (_follow(great, big, deep),)),
        "empty HTTP answer": _Target(great, ("/healthz",)),
    }


def _turns(outcome: Outcome, targets: dict[str, _Target], turns: int, asks: int) -> dict[str, float]:
    """The median over the turns of each target's median, in milliseconds; every turn asks all of them."""
    results: dict[str, list[LoadResult]] = {what: [] for what in targets}
    for _ in range(turns):
        for what, target in targets.items():
            results[what].append(_timed(outcome, what, target, asks))
    for what, taken in results.items():
        shown = sorted(taken, key=lambda result: result.p50)[len(taken) // 2]
        outcome.figure(what, shown.p50, "ms", f"p95 {shown.p95:g} ms, p99 {shown.p99:g} ms")
    return {what: median(result.p50 for result in taken) for what, taken in results.items()}


def _judge(outcome: Outcome, taken: dict[str, float]) -> None:
    (base, base_ms), *held, _ = taken.items()
    for what, milliseconds in held:
        outcome.check(f"{what} / {base}", ratio(milliseconds, base_ms), "×", most=1.3)


def _judge_http(
    outcome: Outcome, taken: dict[str, float], database: Path | str, people: Sequence[int]
) -> None:
    _, (_, page_ms), *_, (_, empty_ms) = taken.items()
    is_file = isinstance(database, Path)
    sql = (
        _bare(database, people)
        if isinstance(database, Path)
        else asyncio.run(_bare_postgres(database, people))
    )
    outcome.figure("bare SQL of a newest page", sql, "ms")
    over, what = ratio(page_ms, sql + empty_ms), "HTTP page / (bare SQL + empty answer)"
    if is_file:
        outcome.check(what, over, "×", most=2.0)
    else:
        outcome.figure(what, over, "×")


def _job_of(server: Running, feed: Feed) -> Job:
    return Job(port=server.port, key=server.key, contacts=feed.contacts, big_every=feed.big_every)


def _ordinary(server: Running, feed: Feed, rows: int, skip: int = 0) -> list[int]:
    """Ids of contacts with a hundred activities each, from all over the feed's contacts."""
    step = max(1, rows // (_SAMPLE * 10)) | 1
    wanted = [i for i in range(skip, rows, step) if feed.contact_of(i)][:_SAMPLE]
    return [server.contact_id(_job_of(server, feed), i) for i in wanted]


def _pages(people: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"/api/v2/contacts/{contact_id}/activities?per_page={_PAGE}" for contact_id in people)


def _timed(outcome: Outcome, what: str, target: _Target, asks: int) -> LoadResult:
    """So many answers, one after another, behind some that are not timed (every path at least once)."""
    server, paths = target
    count = max(asks // 10, len(paths))
    ready = Job(port=server.port, key=server.key, kind="get", connections=1, count=count, paths=paths)
    outcome.refuse(f"{what}, warming up", drive(ready))
    result = drive(msgspec.structs.replace(ready, count=asks, patience=300.0))
    outcome.refuse(what, result)
    return result


def _follow(server: Running, contact_id: int, pages: int) -> str:
    """The path of a contact's page number `pages`."""
    (path,) = _pages([contact_id])
    for _ in range(pages - 1):
        _, headers, _ = get(server.port, path, server.headers())
        url = urlsplit(headers["link"].partition(">")[0].removeprefix("<"))
        path = f"{url.path}?{url.query}"
    return path


def _bare(database: Path, people: Sequence[int]) -> float:
    """The median of the bare SQL of a newest page, in milliseconds: one indexed range, 50 whole rows."""
    taken: list[float] = []
    with closing(_reader(database)) as reader:
        keys = [
            reader.execute("SELECT key FROM contacts WHERE id = ?", (each,)).fetchone()[0] for each in people
        ]
        for key in keys * 10:
            began = perf_counter()
            rows = reader.execute(
                f"{_BARE} WHERE contact_key = ? ORDER BY timestamp DESC, position DESC LIMIT {_PAGE}", (key,)
            ).fetchall()
            taken.append((perf_counter() - began) * 1000)
            assert len(rows) == _PAGE
    return round(median(taken[len(keys) :]), 3)


async def _bare_postgres(url: str, people: Sequence[int]) -> float:
    """The same on PostgreSQL."""
    taken: list[float] = []
    async with connected(url) as connection:
        keys = [await connection.fetchval("SELECT key FROM contacts WHERE id = $1", each) for each in people]
        page = await connection.prepare(
            f"{_BARE} WHERE contact_key = $1 ORDER BY timestamp DESC, position DESC LIMIT {_PAGE}"
        )
        for key in keys * 10:
            began = perf_counter()
            rows = await page.fetch(key)
            taken.append((perf_counter() - began) * 1000)
            assert len(rows) == _PAGE
    return round(median(taken[len(keys) :]), 3)


def _reader(database: Path) -> Any:
    connection = sqlite3.connect(str(database), isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -12288")
    return connection


def _cold(outcome: Outcome, database: Path, feed: Feed, rows: int) -> None:
    """Newest pages of contacts that nobody has read, each after the file's pages were dropped from the kernel's cache.

    The server is a new one, so that its own cache is empty but for what the reads before brought in.
    """
    with backstory(database) as server:
        people = _ordinary(server, feed, rows, skip=7)[:20]
        taken: list[float] = []
        for path in _pages(people):
            forget_cached(database)
            began = perf_counter()
            status, _, _ = get(server.port, path, server.headers())
            taken.append((perf_counter() - began) * 1000)
            if status != 200:
                outcome.failures.append(f"cold page: {status}")
    note = f"longest {max(taken):.3g} ms; a new connection each"
    outcome.figure(f"newest page, {rows:,} rows, cold", round(median(taken), 3), "ms", note)
