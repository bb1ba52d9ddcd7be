"""A closed-loop HTTP/1.1 load generator that must never be what is measured.

N keep-alive connections in one process; each sends its next request when the answer to the one before is in. Requests
are bytes that are made while the run goes on, each one a different activity. Of an answer only the status and its end
are read. What is recorded: latency (seconds, from the write of the request to the last byte of its answer), statuses,
completed requests per second, and `busy`, the share of the time in which this process used its core: a figure near 1
says that the generator, not the server, set the rate.

Anything but a 200, and any connection that drops, counts as a failure and makes `LoadResult.failed` true.

`drive(Job)` runs a job in its own process; `python -m bench.load` is that process (job as JSON in, result as JSON out).
"""

import asyncio
import gc
import os
import resource
import subprocess
import sys
import time
from array import array
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Literal, cast

import msgspec
import uvloop

from bench.data import Feed, batch

_MAX_RECONNECTS = 1000


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, to whom, over how many connections, and for how long."""

    port: int
    key: str
    kind: Literal["publish", "batch", "get"] = "publish"
    connections: int = 32
    seconds: float = 0.0  # a run ends after so many seconds (0: when its `count` is reached) …
    count: int = 0  # … or after so many requests
    warmup: float = 0.0  # seconds whose requests are sent and checked, but not timed
    path: str = "/api/v2/contact-activities"
    paths: tuple[str, ...] = ()  # kind "get": asked in turn
    start: int = 0  # number of the first activity of the feed
    contacts: int = 10_000
    big_every: int = 0
    prefix: str = "b"
    batch_size: int = 1000
    premade: bool = False  # make every request (there is a `count`) before the clock starts
    patience: float = 60.0  # seconds after its planned end at which a run that hangs is given up
    core: int | None = None  # the core this process keeps to

    def requests(self) -> Iterator[bytes]:
        """The requests of this job, in order, as bytes ready for the socket."""
        endless = self._gets() if self.kind == "get" else self._posts()
        counted = islice(endless, self.count) if self.count else endless
        return iter(list(counted)) if self.premade else counted

    def _gets(self) -> Iterator[bytes]:
        head = f"Host: 127.0.0.1:{self.port}\r\nAuthorization: {self._basic()}\r\n\r\n"
        return cycle([f"GET {path} HTTP/1.1\r\n{head}".encode() for path in self.paths])

    def _posts(self) -> Iterator[bytes]:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: {self._basic()}\r\n"
            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        ).encode()
        for body in self._bodies():
            yield head % len(body) + body

    def _bodies(self) -> Iterator[bytes]:
        feed = Feed(contacts=self.contacts, big_every=self.big_every, prefix=self.prefix)
        singles = feed.bodies(self.start)
        if self.kind == "publish":
            return singles
        return iter(lambda: batch(list(islice(singles, self.batch_size))), None)

    def _basic(self) -> str:
        return "Basic " + b64encode(f"{self.key}:X".encode()).decode()


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job. Latencies in milliseconds, `rate` in requests per second."""

    requests: int
    elapsed: float
    rate: float
    p50: float
    p95: float
    p99: float
    longest: float
    busy: float
    sent: int
    statuses: dict[str, int]
    samples: list[str]

    @property
    def failures(self) -> int:
        """How many answers were not 200, dropped connections included."""
        return sum(n for status, n in self.statuses.items() if status != "200")

    @property
    def failed(self) -> bool:
        """Whether a single request failed, or none was answered: such a figure is no figure."""
        return self.failures > 0 or not self.requests


class _Run:
    """The state that all connections of one job share."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.requests = job.requests()
        self.latencies = array("d")
        self.statuses: Counter[str] = Counter()
        self.samples: list[str] = []
        self.sent = 0
        self.open = job.connections
        self.reconnects = 0
        self.opening: asyncio.Future[None] | None = None
        self.first = self.last = time.perf_counter()
        self.timed_from = self.first + job.warmup
        self.until = self.timed_from + job.seconds if job.seconds else float("inf")
        self.done = asyncio.get_running_loop().create_future()

    def next_request(self) -> bytes | None:
        """The next request to send, or None when the run is over."""
        if time.perf_counter() >= self.until:
            return None
        request = next(self.requests, None)
        if request is not None:
            self.sent += 1
        return request

    def answered(self, status: bytes, sent_at: float, answer: bytes) -> None:
        """Count one answer, and time it where the warm-up is over."""
        now = time.perf_counter()
        if sent_at >= self.timed_from:
            self.latencies.append(now - sent_at)
            self.last = now
        if status == b"200":
            self.statuses["200"] += 1
        else:
            self.fail(status.decode("latin-1"), answer)

    def fail(self, status: str, answer: bytes) -> None:
        """Count one failure, and keep the first few for the report."""
        self.statuses[status] += 1
        if len(self.samples) < 3:
            self.samples.append(answer[:600].decode("utf-8", "replace"))

    def closed(self) -> None:
        """One connection has no more to do."""
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    """One keep-alive connection: a request goes out, its answer comes in, the next one goes out."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.buffer = b""
        self.sent_at = 0.0
        self.waiting = False
        self.finished = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class
        self._send()

    def _send(self) -> None:
        request = self.run.next_request()
        if request is None:
            self.finished = True
            self.transport.close()
            return
        self.waiting = True
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        head = data.find(b"\r\n\r\n")
        if head < 0 or not _whole(data, head):
            self.buffer = data
            return
        self.buffer = b""
        self.waiting = False
        self.run.answered(data[9:12], self.sent_at, data)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.finished:
            self.run.closed()
            return
        if self.waiting:
            self.run.fail("dropped", repr(exc).encode())
        self.run.opening = asyncio.ensure_future(_reconnect(self.run))


def _whole(data: bytes, head: int) -> bool:
    """Whether the answer that starts `data`, whose head ends at `head`, is complete."""
    at = data.find(b"ontent-length: ", 0, head)
    if at < 0:
        at = data.find(b"ontent-Length: ", 0, head)
    if at < 0:
        return data.endswith(b"\r\n0\r\n\r\n")  # chunked: the last chunk
    end = data.find(b"\r", at)
    return len(data) >= head + 4 + int(data[at + 15 : end])


async def _reconnect(run: _Run) -> None:
    """A server may close a connection between two requests; one that does so for ever ends the run."""
    run.reconnects += 1
    if run.reconnects > _MAX_RECONNECTS:
        run.fail("dropped", b"too many reconnects")
        run.closed()
        return
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: _Connection(run), "127.0.0.1", run.job.port
        )
    except OSError as refused:
        run.fail("refused", str(refused).encode())
        run.closed()


async def _run(job: Job) -> LoadResult:
    run = _Run(job)
    loop = asyncio.get_running_loop()
    cpu = _cpu_seconds()
    for _ in range(job.connections):
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", job.port)
    try:
        await asyncio.wait_for(run.done, job.warmup + job.seconds + job.patience)
    except TimeoutError:
        run.fail("hung", b"a connection was still without its answer")
    whole = time.perf_counter() - run.first
    elapsed = max(run.last - run.timed_from, 1e-9)
    return _summed(run, elapsed, (_cpu_seconds() - cpu) / whole)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _summed(run: _Run, elapsed: float, busy: float) -> LoadResult:
    ordered = sorted(run.latencies)
    n = len(ordered)

    def at(share: float) -> float:
        return round(ordered[min(n - 1, int(n * share))] * 1000, 3) if n else 0.0

    return LoadResult(
        requests=n,
        elapsed=round(elapsed, 3),
        rate=round(n / elapsed, 1),
        p50=at(0.5),
        p95=at(0.95),
        p99=at(0.99),
        longest=at(1.0),
        busy=round(busy, 3),
        sent=run.sent,
        statuses=dict(run.statuses),
        samples=run.samples,
    )


def run_here(job: Job) -> LoadResult:
    """Run a job in this process."""
    if job.core is not None:
        os.sched_setaffinity(0, {job.core})
    gc.disable()  # nothing here makes cycles, and a collection would be a latency of ours
    return uvloop.run(_run(job))


def drive(job: Job) -> LoadResult:
    """Run a job in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(job),
        stdout=subprocess.PIPE,
        check=True,
        timeout=job.seconds + job.warmup + job.patience + 30,
    )
    return msgspec.json.decode(done.stdout, type=LoadResult)


if __name__ == "__main__":
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(run_here(wanted)))
