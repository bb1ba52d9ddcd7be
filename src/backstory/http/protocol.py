"""What cannot be read as HTTP, answered in the shape of every other fault.

uvicorn answers it in plain text, before there is a request that an application could be asked about. Clients parse
what they are told (contract 3), so its one method that does so is replaced. And it keeps headers of any size, so they
are counted. All else of its protocol stays.
"""

from __future__ import annotations

import sys
from typing import Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from backstory.errors import InvalidRequest, MethodNotAllowed, RequestError
from backstory.http.routes import ROUTES

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's address and headers, which are kept until they are complete, before anybody is asked for a key."""

_VERBS = sorted({route.method for route in ROUTES})


class Refuser(Protocol):
    """The application that uvicorn serves, as it is asked here."""

    def refuse(self, error: RequestError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body of an answer."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head: int | None = None
    """The bytes of a request whose headers are not complete; None where there is none."""

    def data_received(self, data: bytes) -> None:
        """Read on, unless headers have become too large. What comes in one piece is taken: it has its bounds."""
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES:
                self._refuse(
                    InvalidRequest(f"The address and the headers are larger than {MAX_HEAD_BYTES:,} bytes.")
                )
                return
        super().data_received(data)
        if self._head == 0:
            self._head = len(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It can be served."""
        self._head = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser has refused, whose error is being handled, and end the connection."""
        self._refuse(_refusal(sys.exception()))

    def _refuse(self, error: RequestError) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                # A whole request is at work, and its sender would take this answer for that one's: let it be the last.
                cycle.keep_alive = False
                return
            if cycle.response_started or self.pipeline:  # there is no place for another answer
                self.transport.close()
                return
        status, headers, body = cast("Refuser", self.config.app).refuse(error)
        lines = [b"%s: %s\r\n" % header for header in (*headers, (b"connection", b"close"))]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        self.transport.close()


def _refusal(error: BaseException | None) -> RequestError:
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return MethodNotAllowed("This verb", _VERBS)
    # The second one is raised where the address is taken apart.
    if isinstance(error, httptools.HttpParserInvalidURLError | httptools.HttpParserCallbackError):
        return InvalidRequest("The address cannot be read: percent-encode it (ü is %C3%BC, a space %20).")
    # The parser's words: there is nothing of the sender's in them.
    return InvalidRequest(f"This cannot be read as HTTP/1.1: {error}.")
