"""Activities: publish, read, find, delete."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from backstory.errors import (
    AccessDenied,
    BackstoryError,
    Code,
    Fault,
    FieldErrors,
    InvalidCredentials,
    InvalidJson,
    NotFound,
    RequestError,
)
from backstory.helpdesk.merges import Standing
from backstory.http.message import NDJSON_TYPE, Request, Response, no_content
from backstory.http.query import (
    FIND_PARAMETERS,
    STREAM_PARAMETERS,
    TIMELINE_PARAMETERS,
    PageQuery,
    QueryReader,
    number_in_path,
    read_page_query,
)
from backstory.http.services import Services
from backstory.ingest.admit import Arrival, admit
from backstory.live.hub import Event, Signal
from backstory.model.access import Right
from backstory.model.activity import Deletion, Publication, Published
from backstory.model.checks import mismatch
from backstory.model.ids import ActivityId, parse_activity_id
from backstory.model.json_text import parse_exact, shorten
from backstory.model.page import encode_cursor
from backstory.store.base import Homes, PublishResult, StreamPosition, WrittenPage

MAX_BATCH = 1_000
MAX_IDEMPOTENCY_KEY = 255
QUIET_SECONDS = 15
"""After how long without an event a stream says that it is still there."""

RIGHTS_SECONDS = 0.4
"""How often an open stream's key is asked for: with the half second that a good one is remembered, within a second."""

_YIELD_EVERY = 25
_POSITION = re.compile("[0-9a-f]{1,15}")

_ENCODER = msgspec.json.Encoder()


class BatchRequest(Struct, forbid_unknown_fields=True):
    """The body of a batch: publish requests, as they are sent one by one."""

    activities: list[Raw]


_BATCH = msgspec.json.Decoder(BatchRequest)

_MANY_COMMAS = 50_000
"""From how many on a batch is counted before it is taken apart: 10 MiB have room for five million items."""

_LINE = re.compile(rb"\S[^\n]*")


async def publish(request: Request, services: Services) -> Response:
    """Publish one activity."""
    publication = admit(request.body, _arrival(request, services, _idempotency_key(request), "-"))
    (result,) = await services.commit.publish([publication])
    services.count_published([result])
    if isinstance(result, Exception):
        raise result
    return Response(_ENCODER.encode(publish_answer(result)))


def publish_answer(result: Published) -> dict[str, Any]:
    """The body of a publish request's answer (contract 1.1)."""
    answer: dict[str, Any] = {
        "id": str(result.id),
        "external_id": result.external_id,
        "contact_id": result.contact_id,
        "matched_by": result.matched_by,
        "duplicate": result.duplicate,
    }
    if result.differs:
        answer["differs"] = True
    if result.conflicts:
        answer["conflicts"] = result.conflicts
    return answer


def _idempotency_key(request: Request) -> str | None:
    """The header Idempotency-Key.

    Raises:
        FieldErrors: it is empty or too long.
    """
    key = request.header(b"idempotency-key")
    if key is not None and not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY:
        message = f"It has {len(key):,} characters; from 1 to {MAX_IDEMPOTENCY_KEY} are possible."
        raise FieldErrors([Fault("Idempotency-Key", message, Code.INVALID_VALUE)])
    return key


def _arrival(request: Request, services: Services, key: str | None, place: str) -> Arrival:
    """`place` tells the items of one batch apart."""
    scoped = None if key is None else f"{place}:{key}"
    return Arrival(request.caller, request.received, scoped, services.settings.phone_region)


# Batches.


async def publish_batch(request: Request, services: Services) -> Response:
    """Publish many activities: the good ones are kept even where others are bad."""
    key = _idempotency_key(request)
    items = read_items(request.body, request.content_type)
    async with services.batch_turn:
        admitted = [each async for each in _admit_items(request, services, items, key)]
    good = [each for each in admitted if isinstance(each, Publication)]
    published = await services.commit.publish(good) if good else []
    services.count_published(published)
    results = iter(published)
    answers: list[dict[str, Any]] = []
    for item, each in zip(items, admitted, strict=True):
        result = next(results) if isinstance(each, Publication) else each
        if isinstance(result, BackstoryError):
            services.note_rejection(request, result, item)
        answers.append(_item_answer(result))
    return Response(_ENCODER.encode({"results": answers}))


def read_items(body: bytes, content_type: str) -> list[bytes]:
    """The items of a batch, each as its own text.

    Raises:
        FieldErrors, InvalidJson: the batch as a whole is at fault.
    """
    items = _ndjson_items(body) if content_type == NDJSON_TYPE else _json_items(body)
    if len(items) > MAX_BATCH:
        raise _too_many_items()
    return items


def _too_many_items() -> FieldErrors:
    message = f"There are more than {MAX_BATCH:,} items, and no more are possible."
    return FieldErrors([Fault("activities", message, Code.INVALID_VALUE)])


def _json_items(body: bytes) -> list[bytes]:
    """The items of `{"activities": [...]}`, each as its own text."""
    if body.count(b",") >= _MANY_COMMAS:
        _check_count(body)
    try:
        batch = _BATCH.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise _batch_refusal(body) from None
    items = [bytes(item) for item in batch.activities]
    if body.count(b'"activities"') > 1:  # cheap to see, and only then worth the full reading
        _refuse_twice(body)
    return items


class _Counted:
    """Stands for an item that was counted."""


class _CountedBatch(Struct, forbid_unknown_fields=True):
    activities: list[_Counted]


def _check_count(body: bytes) -> None:
    """Read a batch an item at a time, and no further than the first that is too many: nothing is kept of them.

    Raises:
        FieldErrors, InvalidJson: there are too many, or it is no batch. Of the latter only the first fault is told, for
            a tree of the whole body is what this is to avoid.
    """
    counted = _Counted()
    left = MAX_BATCH

    def count(_type: type, _item: Any) -> _Counted:
        nonlocal left
        if left == 0:
            raise _too_many_items()
        left -= 1
        return counted

    try:
        msgspec.json.decode(body, type=_CountedBatch, dec_hook=count)
    except msgspec.ValidationError as error:
        message = f"It is not a batch: {error}."
        raise FieldErrors([Fault("body", message, Code.INVALID_VALUE)]) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None


def _refuse_twice(body: bytes) -> None:
    try:
        parse_exact(body)
    except ValueError as error:
        if "stands twice" in str(error) and '"activities"' in str(error):
            raise InvalidJson(f"The body is not valid JSON: {error}.") from None


def _batch_refusal(body: bytes) -> BackstoryError:
    try:
        tree = parse_exact(body)
    except ValueError as error:
        lines = f" One request a line is sent as {NDJSON_TYPE}." if "Extra data" in str(error) else ""
        return InvalidJson(f"The body is not valid JSON: {error}.{lines}")
    faults: list[Fault] = []
    if not isinstance(tree, dict):
        mismatch(faults, "", tree, 'object, {"activities": [...]}')
        return FieldErrors(faults)
    faults += [
        Fault(name, "There is no such field; known here: activities.", Code.INVALID_FIELD)
        for name in tree
        if name != "activities"
    ]
    if tree.get("activities") is None:
        faults.append(Fault("activities", "It is mandatory and was not sent.", Code.MISSING_FIELD))
    elif not isinstance(tree["activities"], list):
        sent = shorten(tree["activities"])
        faults.append(Fault("activities", f"It should be an array; {sent} was sent.", Code.DATATYPE_MISMATCH))
    return FieldErrors(faults)


def _ndjson_items(body: bytes) -> list[bytes]:
    """One item a line; blank lines are passed over. No more are read than the first that is too many."""
    return [line[0] for line in islice(_LINE.finditer(body), MAX_BATCH + 1)]


async def _admit_items(
    request: Request, services: Services, items: Sequence[bytes], key: str | None
) -> AsyncIterator[Publication | BackstoryError]:
    """Check each item; others are served in between."""
    for index, item in enumerate(items):
        if index % _YIELD_EVERY == _YIELD_EVERY - 1:
            await asyncio.sleep(0)
        try:
            yield admit(item, _arrival(request, services, key, str(index)))
        except (FieldErrors, InvalidJson, AccessDenied) as error:
            yield error


def _item_answer(result: PublishResult | BackstoryError) -> dict[str, Any]:
    if isinstance(result, Published):
        return {"status": 200, **publish_answer(result)}
    if isinstance(result, FieldErrors):
        return {"status": result.status, "description": result.description, "errors": result.faults}
    if isinstance(result, RequestError):
        return {"status": result.status, "code": result.code, "message": result.message}
    raise result


# Reading.


async def get_activity(request: Request, services: Services) -> Response:
    """One activity, whole."""
    shown = await services.timeline.activity(_activity_id(request))
    return Response(shown.answer())


def _activity_id(request: Request) -> ActivityId:
    text = request.path_values["id"]
    try:
        return parse_activity_id(text)
    except ValueError:
        raise NotFound(f"There is no activity {shorten(text)}.") from None


def contact_id_of(request: Request) -> int:
    """The contact's number in the path.

    Raises:
        NotFound: it cannot be one.
    """
    return number_in_path(request, "contact")


async def get_timeline(request: Request, services: Services) -> Response:
    """A contact's timeline, newest first."""
    contact_id = contact_id_of(request)
    try:
        query = read_page_query(request, TIMELINE_PARAMETERS)
    except FieldErrors:
        await services.timeline.homes(contact_id)  # 404 goes before 400
        raise
    page = await services.timeline.written_page(contact_id, query.filters, query.after, query.per_page)
    return _page_response(request, page)


async def find_activities(request: Request, services: Services) -> Response:
    """Activities across contacts, newest first."""
    query: PageQuery = read_page_query(request, FIND_PARAMETERS)
    page = await services.timeline.find(query.filters, query.after, query.per_page)
    return _page_response(request, page.written())


def _page_response(request: Request, page: WrittenPage) -> Response:
    headers = {}
    if page.next is not None:
        kept = [(name, value) for name, value in request.query() if name != "cursor"]
        url = request.url(request.path, [*kept, ("cursor", encode_cursor(page.next))])
        headers["Link"] = f'<{url}>; rel="next"'
    if page.position is not None:
        headers["X-Stream-Position"] = encode_position(page.position, page.homes)
    return Response(page.text, headers=headers)


async def delete_activity(request: Request, services: Services) -> Response:
    """Remove an activity."""
    activity_id = _activity_id(request)
    entry = request.audit("activity.delete", f"activity:{activity_id}")
    if await services.store.log.delete(activity_id, entry) is None:
        raise NotFound(f"There is no activity {activity_id}.")
    services.hub.notify_commit()
    return no_content()


# Following live.


def encode_position(position: StreamPosition, homes: Homes | None) -> str:
    """A place in the order of arrival at some homes, opaque to the viewer."""
    return f"{position.generation}{_mark(homes)}-{position.position:x}"


def decode_position(text: str, homes: Homes) -> StreamPosition | None:
    """Read a position; None where it is not one of ours or of other homes, which a viewer is told by `reset`."""
    before, _, digits = text.rpartition("-")
    generation, dot, mark = before.partition(".")
    if not _POSITION.fullmatch(digits) or f"{dot}{mark}" != _mark(homes):
        return None
    return StreamPosition(generation, int(digits, 16))


def _mark(homes: Homes | None) -> str:
    """What tells a position of one list of homes from that of another: a merge or its undoing lies between them."""
    if homes is None or len(homes.keys) == 1:
        return ""
    return "." + hashlib.sha256(b"".join(sorted(homes.keys))).hexdigest()[:8]


async def stream_activities(request: Request, services: Services) -> Response:
    """A contact's timeline, live, as Server-Sent Events."""
    query = QueryReader(request, STREAM_PARAMETERS)
    last = request.header(b"last-event-id") or query.text("after")
    followed = await follow_contact(services, contact_id_of(request))
    query.finish()
    current = await services.store.log.stream_position()
    start = current if last is None else decode_position(last, followed.homes)
    if start is None:
        return _stream(iter_reset())
    generation = start.generation

    async def write(event: Event) -> bytes | None:
        return _event_text(event, followed.homes, generation)

    may_read = partial(_may_still_read, request, services)
    return _stream(follow_events(services, followed, start, may_read, write, fresh=last is None))


def _stream(pieces: AsyncGenerator[bytes]) -> Response:
    return Response(
        content_type="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        stream=pieces,
    )


async def iter_reset() -> AsyncGenerator[bytes]:
    """A stream that tells its viewer to read afresh."""
    yield _RESET


_RESET = b"event: reset\ndata: {}\n\n"


class Followed(NamedTuple):
    """Whom a stream follows: the number that was asked for, and who stood for whom when its homes were read."""

    contact_id: int
    homes: Homes
    standing: Standing


async def follow_contact(services: Services, contact_id: int) -> Followed:
    """Whom a stream of a contact follows from now on.

    Raises:
        NotFound: there is no contact with this number.
    """
    standing = await services.merges.standing()  # before the homes: what changes in between is noticed
    return Followed(contact_id, await services.timeline.homes(contact_id), standing)


async def follow_on(services: Services, followed: Followed) -> Followed | None:
    """The same as before; None where the contact has other homes: merged, parted or erased, it has another timeline."""
    standing = await services.merges.standing()
    if standing == followed.standing:
        return followed
    try:
        homes = await services.timeline.homes(followed.contact_id)
    except NotFound:
        return None
    return followed._replace(standing=standing) if homes == followed.homes else None


async def follow_events(
    services: Services,
    followed: Followed,
    start: StreamPosition,
    may_read: Callable[[], Awaitable[bool]],
    write: Callable[[Event], Awaitable[bytes | None]],
    *,
    fresh: bool = False,
) -> AsyncGenerator[bytes]:
    """What a viewer is sent from a position on, as long as they `may_read` and the contact has the same homes.

    `write` gives an event's bytes, None where the viewer need not know of it. `fresh` as in `Hub.follow`.
    """
    homes = followed.homes
    head = f"retry: 2000\nid: {encode_position(start, homes)}\n\n".encode()
    services.metrics.viewers.inc()
    checked = sent = time.monotonic()
    try:
        if not fresh:
            yield head
        following = services.hub.follow(homes.keys, start, quiet_after=RIGHTS_SECONDS, fresh=fresh)
        async with aclosing(following) as events:
            async for event in events:
                if event is Signal.BEGUN:
                    yield head
                    continue
                if time.monotonic() - checked >= RIGHTS_SECONDS:
                    if not await may_read():
                        return
                    if (still := await follow_on(services, followed)) is None:
                        yield _RESET
                        return
                    followed = still
                    checked = time.monotonic()
                if event is Signal.QUIET and time.monotonic() - sent < QUIET_SECONDS:
                    continue
                if (piece := await write(event)) is not None:
                    yield piece
                    sent = time.monotonic()
    finally:
        services.metrics.viewers.dec()


async def _may_still_read(request: Request, services: Services) -> bool:
    """Whether the stream's key is still in force: a revocation ends what is open, too."""
    try:
        principal = await services.authenticator.authenticate(request.headers.get(b"authorization"))
    except InvalidCredentials:
        return False
    return principal.may(Right.READ)


def _event_text(event: Event, homes: Homes, generation: str) -> bytes | None:
    if event is Signal.RESET:
        return _RESET
    if event is Signal.QUIET:
        return b": still here\n\n"
    if isinstance(event, Signal):
        return None
    if isinstance(event, Deletion):
        name, data = b"deleted", b'{"id":"%s","contact_id":%d}' % (str(event.id).encode(), homes.contact_id)
    else:
        name, data = b"activity", event.answer(homes.contact_id)
    id_ = encode_position(StreamPosition(generation, event.arrival), homes).encode()
    return b"event: %s\nid: %s\n%s\n\n" % (name, id_, b"\n".join(_data_lines(data)))


def _data_lines(data: bytes) -> Iterator[bytes]:
    """A context is kept as it was sent, line breaks between its tokens included; each line is a data field."""
    for line in data.splitlines():
        yield b"data: " + line
