"""Agents who look on while customers do things."""

import asyncio
import gc
import re
import time
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import cast

import uvloop

from bench.data import Feed
from bench.load import Job, drive
from bench.places import scratch
from bench.product import Running, backstory
from bench.report import Outcome

_CONTACTS = 100
_PER_SECOND = 100
_PREFIX = "live"
_EXTERNAL_ID = re.compile(rb'"external_id":\s*"' + _PREFIX.encode() + rb'-(\d+)"')
_PUBLISHERS = 8


def viewers(outcome: Outcome) -> None:
    """Milliseconds from commit to socket: 500 live viewers, five on each of 100 contacts, 100 activities a second.

    A commit cannot be seen from outside, but it lies between the write of the publish request and its answer. Counted
    from the request the figure is too long by the publish itself, and it is this stricter one that the target is held
    against; counted from the answer (negative ones as 0) is printed beside. Every viewer must get every activity of its
    contact, once.

    Target: p95 under 250 ms.
    """
    each, seconds = (1, 3) if outcome.quick else (5, 30)
    outcome.sizes = {
        "viewers": each * _CONTACTS,
        "contacts": _CONTACTS,
        "per_second": _PER_SECOND,
        "seconds": seconds,
    }
    with scratch() as folder, backstory(folder / "viewers.db") as server:
        feed = Feed(contacts=_CONTACTS, prefix=_PREFIX)
        everybody = Job(port=server.port, key=server.key, count=_CONTACTS, contacts=_CONTACTS, prefix="prime")
        outcome.refuse("contacts", drive(everybody))
        ids = [server.contact_id(everybody, i) for i in range(_CONTACTS)]
        seen = uvloop.run(_watch(server, feed, ids, each, seconds * _PER_SECOND))
    _report(outcome, seen, each)


class _Seen:
    """When each activity was sent and answered, and each of its arrivals, in seconds of one clock."""

    def __init__(self) -> None:
        self.sent: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self.arrived: list[tuple[int, float]] = []
        self.refused: list[bytes] = []
        self.streams = 0


class _Viewer(asyncio.Protocol):
    """One open stream: notes when each activity comes in."""

    def __init__(self, request: bytes, seen: _Seen) -> None:
        self.request = request
        self.seen = seen
        self.buffer = b""
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.buffer += data
        if not self.open:
            self._note_open()
        end = 0
        for found in _EXTERNAL_ID.finditer(self.buffer):
            self.seen.arrived.append((int(found[1]), now))
            end = found.end()
        self.buffer = self.buffer[max(end, len(self.buffer) - 200) :]

    def _note_open(self) -> None:
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            self.seen.refused.append(self.buffer[:300])
        self.open = True
        self.seen.streams += 1


async def _watch(server: Running, feed: Feed, ids: list[int], each: int, count: int) -> _Seen:
    """Open the streams, publish `count` activities at an even pace, wait for the last arrivals."""
    gc.disable()
    seen = _Seen()
    loop = asyncio.get_running_loop()
    for contact_id in ids:
        request = _stream_request(server, contact_id)
        for _ in range(each):
            await loop.create_connection(partial(_Viewer, request, seen), "127.0.0.1", server.port)
    await _until(lambda: seen.streams == each * len(ids), 30)
    await asyncio.sleep(0.5)
    await _publish(server, feed, count, seen)
    await _until(lambda: len(seen.arrived) >= count * each, 10)
    gc.enable()
    return seen


def _stream_request(server: Running, contact_id: int) -> bytes:
    basic = b64encode(f"{server.key}:X".encode()).decode()
    return (
        f"GET /api/v2/contacts/{contact_id}/activities/stream HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Basic {basic}\r\nAccept: text/event-stream\r\n\r\n"
    ).encode()


async def _publish(server: Running, feed: Feed, count: int, seen: _Seen) -> None:
    """One request every 1/100 second, whether the one before is answered or not."""
    connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(_PUBLISHERS)]
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)
    requests = Job(
        port=server.port, key=server.key, count=count, contacts=feed.contacts, prefix=feed.prefix
    ).requests()
    began = time.perf_counter()
    tasks = []
    for i, request in enumerate(requests):
        await asyncio.sleep(max(0.0, began + i / _PER_SECOND - time.perf_counter()))
        tasks.append(asyncio.create_task(_send(request, i, free, seen)))
    await asyncio.gather(*tasks)
    for _, writer in connections:
        writer.close()


async def _send(
    request: bytes,
    i: int,
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]],
    seen: _Seen,
) -> None:
    reader, writer = await free.get()
    seen.sent[i] = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    seen.answered[i] = time.perf_counter()
    if not head.startswith(b"HTTP/1.1 200"):
        seen.refused.append(head + body)
    free.put_nowait((reader, writer))


async def _until(true: Callable[[], bool], seconds: float) -> None:
    until = time.perf_counter() + seconds
    while not true() and time.perf_counter() < until:  # noqa: ASYNC110 - the condition is a count
        await asyncio.sleep(0.01)


def _report(outcome: Outcome, seen: _Seen, each: int) -> None:
    expected, got = len(seen.sent) * each, len(seen.arrived)
    if seen.refused:
        outcome.failures.append(f"{len(seen.refused)} refused: {seen.refused[0][:300]!r}")
    if got != expected:
        outcome.failures.append(f"{got} arrivals instead of {expected}")
    strict = sorted((at - seen.sent[i]) * 1000 for i, at in seen.arrived)
    loose = sorted(max(0.0, at - seen.answered[i]) * 1000 for i, at in seen.arrived)
    if not strict:
        return
    outcome.figure("arrivals at sockets", got, "events", f"{len(seen.sent)} activities")
    outcome.figure("publish request → answer, median", median(_publish_times(seen)), "ms")
    outcome.figure("answer → socket, p95", _p95(loose), "ms")
    outcome.figure("request → socket, median", median(strict), "ms")
    outcome.figure("request → socket, longest", strict[-1], "ms")
    outcome.check("request → socket, p95", _p95(strict), "ms", most=250)


def _publish_times(seen: _Seen) -> list[float]:
    return [(answered - seen.sent[i]) * 1000 for i, answered in seen.answered.items()]


def _p95(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
