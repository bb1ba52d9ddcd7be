"""HTTP by hand, where a client library is too polite; viewers of a live stream; a server with smaller constants."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import textwrap
import threading
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from tests.support import Installation, wait_until

ACTIVITIES = "/api/v2/contact-activities"
BATCH = f"{ACTIVITIES}/batch"


def find(client: httpx.Client, **params: str) -> Any:
    """The first page of activities across contacts that these parameters find."""
    answer = client.get(ACTIVITIES, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


class RawAnswer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    """A connection that sends exactly what it is told to."""

    def __init__(self, url: str, *, receive_buffer: int | None = None) -> None:
        parts = urlsplit(url)
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(60)
        assert parts.hostname is not None
        self._socket.connect((parts.hostname, parts.port or 80))

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Send; whether the other side still takes it."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def head(self, method: str, path: str, key: str | None, *headers: str) -> bool:
        """Send a request's line and headers."""
        lines = [f"{method} {path} HTTP/1.1", "Host: backstory.test", *headers]
        if key is not None:
            lines.append(f"Authorization: {basic(key)}")
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def chunk(self, data: bytes) -> bool:
        """Send a chunk of a chunked body; an empty one ends it."""
        return self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def is_answered(self, seconds: float = 0.1) -> bool:
        """Whether something comes within that time."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def read_all(self) -> bytes:
        """What comes until the other side closes."""
        pieces = []
        while piece := self._socket.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)

    def answer(self) -> RawAnswer:
        """The next answer."""
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            piece = self._socket.recv(65536)
            assert piece, f"the connection ended within the headers: {buffer!r}"
            buffer += piece
        head, _, body = buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(status_line.split()[1])
        if status == 100:
            return self.answer()
        while len(body) < int(headers.get("content-length", "0")):
            body += self._socket.recv(65536)
        return RawAnswer(status, headers, body)


def basic(key: str, password: str = "X") -> str:
    """A Basic Authorization header."""
    return f"Basic {b64encode(f'{key}:{password}'.encode()).decode()}"


class Event(NamedTuple):
    """One event of a stream."""

    kind: str
    id: str | None
    data: Any


class Viewer:
    """Follows a contact's stream in a thread of its own until it is cut off.

    What it has `shown` before it drops, as docs/api.md tells a viewer to: a cluster sends the last seconds again.
    """

    def __init__(
        self,
        server: Installation,
        contact_id: int,
        *,
        last: str | None = None,
        after: str | None = None,
        shown: Iterable[Event] = (),
    ) -> None:
        self.events: list[Event] = []
        self._shown = {(event.kind, event.data["id"]) for event in shown}
        self.position: str | None = last or after
        self.headers: httpx.Headers | None = None
        self.status: int | None = None
        self._client = httpx.Client(
            base_url=server.url, auth=(server.agent_key, "X"), timeout=httpx.Timeout(30, read=60)
        )
        self._cut = threading.Event()
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        self._request = self._client.build_request(
            "GET",
            f"/api/v2/contacts/{contact_id}/activities/stream",
            headers=headers,
            params={"after": after} if after is not None else None,
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        wait_until(
            lambda: self.status is not None or not self._thread.is_alive(), what="the stream's headers"
        )

    def _follow(self) -> None:
        with self._client, contextlib.suppress(httpx.HTTPError):
            response = self._client.send(self._request, stream=True)
            self._socket = response.extensions["network_stream"].get_extra_info("socket")
            self.headers = response.headers
            self.status = response.status_code
            fields: dict[str, list[str]] = {}
            for line in response.iter_lines():
                if self._cut.is_set():
                    return
                if line:
                    name, _, value = line.partition(":")
                    fields.setdefault(name, []).append(value.removeprefix(" "))
                else:
                    self._take(fields)
                    fields = {}

    def _take(self, fields: dict[str, list[str]]) -> None:
        id_ = fields["id"][-1] if "id" in fields else None
        self.position = id_ or self.position
        if "event" in fields:
            event = Event(fields["event"][-1], id_, json.loads("\n".join(fields["data"])))
            if (event.kind, event.data.get("id")) not in self._shown:
                self.events.append(event)

    def wait_for(self, count: int, seconds: float = 10) -> list[Event]:
        """The first events, once there are so many."""
        wait_until(lambda: len(self.events) >= count, seconds=seconds, what=f"event {count} of the stream")
        return self.events[:count]

    def wait_until_ended(self) -> None:
        """Until the server has ended the stream."""
        wait_until(lambda: self.ended, what="the end of the stream")

    def wait_for_or_end(self, count: int) -> None:
        """Until there are so many events, or the stream has ended."""
        wait_until(lambda: len(self.events) >= count or self.ended, what=f"event {count} of the stream")

    @property
    def ended(self) -> bool:
        """Whether the server has ended it."""
        return not self._thread.is_alive()

    def cut(self) -> None:
        """Go away at once, in the middle of whatever is being sent."""
        self._cut.set()
        with contextlib.suppress(OSError):  # the server was first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)
        assert self.ended


def start_tuned(
    installation: Installation,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    /,
    **constants: object,
) -> Installation:
    """Serve with other constants (`http__body__READ_SECONDS=1`), which a test cannot wait for as they are."""
    lines = "\n".join(
        f"import backstory.{path.rpartition('__')[0].replace('__', '.')} as module\n"
        f"module.{path.rpartition('__')[2]} = {value!r}"
        for path, value in constants.items()
    )
    program = directory / "tuned.py"
    program.write_text(f"{lines}\nimport sys\nsys.argv = sys.argv[3:]\n{_MAIN}")
    return installation.start(sys.executable, str(program), **(environment or {}))


_MAIN = textwrap.dedent(
    """
    from backstory.cli import main
    main()
    """
)
