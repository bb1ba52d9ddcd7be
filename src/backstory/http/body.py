"""Reading a request's body: bounded in bytes and in time (contract 1.1, 413)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from backstory.errors import (
    BackstoryError,
    NoContentRequired,
    RequestTimeout,
    RequestTooLarge,
    UnsupportedMediaType,
)

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

READ_SECONDS = 30
UPLOAD_SECONDS = 300
"""For a form, which may carry files: 20 MB take that long at half a megabit a second."""

DRAIN_BYTES = 10 * 1024 * 1024
DRAIN_SECONDS = 5


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete: there is nobody to answer."""


class BodyRule(NamedTuple):
    """What a route takes: media types, and at most how many bytes, and how many of files beside them in a form.

    An `optional` body may be empty, and is then `{}`.
    """

    types: tuple[str, ...]
    limit: int
    files: int = 0
    optional: bool = False


def check_type(headers: Mapping[bytes, bytes], rule: BodyRule) -> str:
    """The body's media type; a body without one is taken as the route's first.

    Raises:
        UnsupportedMediaType: not one of the route's, or compressed.
    """
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding not in ("identity", ""):
        raise UnsupportedMediaType(
            f"A body with Content-Encoding {encoding[:40]} is not possible; send it plain."
        )
    sent = headers.get(b"content-type", b"").decode("latin-1")
    media = sent.partition(";")[0].strip().lower() or rule.types[0]
    if media not in rule.types:
        raise UnsupportedMediaType(
            f"Content-Type {media[:80]} is not possible here; possible: {', '.join(rule.types)}."
        )
    return media


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], rule: BodyRule) -> bytes:
    """The whole body.

    Raises:
        RequestTooLarge: it is over the limit; some of it was read and thrown away so that the client sees the answer.
        RequestTimeout: it did not arrive in time.
        ClientGoneError: the client went away.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > rule.limit:
        await _drain(receive, 0)
        raise _too_large(rule)
    message = await _next(receive)
    if not message.get("more_body"):  # nearly always: one piece
        body: bytes = message.get("body", b"")
        if len(body) > rule.limit:
            raise _too_large(rule)
        return body
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _gather(receive, message.get("body", b""), rule)
    except TimeoutError:
        raise _too_slow(READ_SECONDS) from None


async def _next(receive: Receive) -> MutableMapping[str, Any]:
    try:
        async with asyncio.timeout(READ_SECONDS):
            message = await receive()
    except TimeoutError:
        raise _too_slow(READ_SECONDS) from None
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message


async def _gather(receive: Receive, first: bytes, rule: BodyRule) -> bytes:
    pieces = [first]
    size = len(first)
    more = True
    while more:
        message = await _next(receive)
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        more = bool(message.get("more_body"))
        if size > rule.limit:
            pieces.clear()
            if more:
                await _drain(receive, size)
            raise _too_large(rule)
    return b"".join(pieces)


async def _drain(receive: Receive, read: int) -> None:
    """Read on for a while and throw it away: a client that is still sending would not see the answer."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            more = True
            while more and read < DRAIN_BYTES:
                message = await _next(receive)
                read += len(message.get("body", b""))
                more = bool(message.get("more_body"))
    except TimeoutError:
        return  # it has had its time; the answer goes out now


async def feed_body(
    receive: Receive, headers: Mapping[bytes, bytes], rule: BodyRule, take: Callable[[bytes], None]
) -> None:
    """Give a form to `take`, piece by piece. Where `take` refuses it, some more is read and thrown away.

    Raises:
        RequestTooLarge, RequestTimeout, ClientGoneError: as `read_body`; and whatever `take` raises.
    """
    whole = BodyRule(rule.types, rule.limit + rule.files)
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > whole.limit:
        await _drain(receive, 0)
        raise _too_large(whole)
    read, more = 0, True
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            while more:
                message = await _next(receive)
                piece = message.get("body", b"")
                read += len(piece)
                more = bool(message.get("more_body"))
                if read > whole.limit:
                    raise _too_large(whole)
                take(piece)
    except TimeoutError:
        raise _too_slow(UPLOAD_SECONDS) from None
    except RequestTimeout:
        raise
    except (BackstoryError, ValueError):
        if more:
            await _drain(receive, read)
        raise


def _too_slow(seconds: int) -> RequestTimeout:
    # What is still to come would be taken for the next request's.
    return RequestTimeout(
        f"The body did not arrive within {seconds} seconds.", headers={"Connection": "close"}
    )


def _too_large(rule: BodyRule) -> RequestTooLarge:
    return too_large("The body is", rule.limit)


def too_large(what: str, limit: int) -> RequestTooLarge:
    """The refusal of what is over a limit."""
    return RequestTooLarge(
        f"{what} larger than {limit:,} bytes, the limit here.", headers={"Connection": "close"}
    )


async def refuse_body(receive: Receive, headers: Mapping[bytes, bytes]) -> None:
    """A route without a body: an empty one is fine, whatever its headers say (contract 4.5).

    Raises:
        NoContentRequired: there is one.
    """
    if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
        return
    if await read_body(receive, headers, BodyRule((), DRAIN_BYTES)):
        raise NoContentRequired("No body belongs to this request.")
