"""The process beside a server that commits what is published, and how the server speaks to it.

Publishing is half Python and half SQLite, and the event loop is all Python: in one process the two spend as much time
handing the interpreter to each other as they work. So groups of publications go to a process of their own, which has
the writer's thread, the checkpoints and the index; results come back. Frames over a socket, in order. It holds nothing
that was answered: when it dies, who waits is told to send again, and another one is started. When the server dies its
stream ends, and it ends.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections import deque
from collections.abc import Sequence

import msgspec
import structlog
from msgspec import Struct

from backstory.errors import Fault, FieldErrors, StorageError, Unavailable
from backstory.model.activity import Publication, Published
from backstory.store.base import PublishResult
from backstory.store.frames import frame, take_frames

RESTART_SECONDS = 1.0
"""A committer that dies at once is not started more often than so."""

STOP_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Outcome(Struct, frozen=True, array_like=True):
    """What became of one publication: published, or refused for its faults."""

    published: Published | None
    faults: tuple[Fault, ...] = ()


class Reply(Struct, frozen=True, array_like=True):
    """What became of a group: the outcome of each, or the error that kept all of it out.

    `retry_after` is there where the storage cannot take it now, and not where it is broken.
    """

    outcomes: tuple[Outcome, ...] | None = None
    error: str = ""
    retry_after: int | None = None


_ENCODER = msgspec.msgpack.Encoder()
_REPLY = msgspec.msgpack.Decoder(Reply)

encode_reply = _ENCODER.encode
decode_group = msgspec.msgpack.Decoder(tuple[Publication, ...]).decode


def reply_with(results: Sequence[PublishResult]) -> Reply:
    """The reply to a group that was committed."""
    return Reply(tuple(map(_outcome, results)))


def reply_of(error: BaseException | None) -> Reply:
    """The reply to a group of which nothing was kept."""
    if isinstance(error, Unavailable):
        return Reply(error=error.message, retry_after=int(error.headers["Retry-After"]))
    return Reply(error=f"{type(error).__name__}: {error}")


def _outcome(result: PublishResult) -> Outcome:
    if isinstance(result, FieldErrors):
        return Outcome(None, result.faults)
    assert isinstance(result, Published), "a publication is refused for its fields, or kept"
    return Outcome(result)


def _read_reply(reply: Reply) -> list[PublishResult]:
    if reply.outcomes is not None:
        return [each.published or FieldErrors(each.faults) for each in reply.outcomes]
    if reply.retry_after is not None:
        raise Unavailable(reply.error, retry_after=reply.retry_after)
    raise StorageError(reply.error)


class CommitProcess:
    """A committer, as the server sees it. Its stream belongs to the event loop that publishes first."""

    def __init__(self, command: Sequence[str]) -> None:
        """`command` starts a committer that has its stream as standard input."""
        self._command = command
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None, "it was started"
        return self._process.pid

    def start(self) -> None:
        """Start the process."""
        self._started = time.monotonic()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                self._command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for the server, which ends it
            )

    async def publish(self, publications: Sequence[Publication]) -> list[PublishResult]:
        """See `Store.publish`."""
        line = self._line
        if line is None or line.lost:
            line = await self._connect()
        return _read_reply(await line.ask(_ENCODER.encode(publications)))

    async def _connect(self) -> _Line:
        async with self._connecting:
            if self._line is not None and self._line.lost:
                if time.monotonic() < self._started + RESTART_SECONDS:
                    raise _lost()
                log.error("committer_lost", status=await self._ended())
                self._line = None
                self.start()
            if self._line is None:
                loop = asyncio.get_running_loop()
                _, self._line = await loop.create_unix_connection(_Line, sock=self._socket)
            return self._line

    async def _ended(self) -> int:
        """The status of a committer that has let go of its stream, or is about to."""
        assert self._process is not None
        try:
            return await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:  # it holds nothing that was answered
            self._process.kill()
            return await asyncio.to_thread(self._process.wait)

    async def close(self) -> None:
        """Let it finish what it was given, and end."""
        if self._process is None:
            return
        if self._line is not None:
            self._line.end()
        elif self._socket is not None:
            self._socket.close()
        await self._ended()
        if self._line is not None:
            await self._line.ended


class _Line(asyncio.Protocol):
    """The stream to one committer: groups go out, replies come back in their order."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is one in all but its base class

    @property
    def lost(self) -> bool:
        """Whether nothing can be asked any more."""
        return self.ended.done()

    def ask(self, group: bytes) -> asyncio.Future[Reply]:
        """Send a group; its reply to come."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self.lost or self._transport is None:
            future.set_exception(_lost())
            return future
        self._waiting.append(future)
        self._transport.write(frame(group))
        return future

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for each in take_frames(self._buffer):
            future = self._waiting.popleft()
            if not future.cancelled():
                future.set_result(_REPLY.decode(each))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        for future in self._waiting:
            if not future.done():
                future.set_exception(_lost())
        self._waiting.clear()

    def end(self) -> None:
        """Nothing more will be asked; what was is still answered."""
        if self._transport is not None and not self.lost:
            self._transport.write_eof()


def _lost() -> Unavailable:
    return Unavailable("The process that commits has ended; it is not known what it kept. Send it again.")
