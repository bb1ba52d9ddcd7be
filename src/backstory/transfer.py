"""Import and export as NDJSON: one publish request a line."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
from msgspec import Raw, Struct

from backstory.errors import BackstoryError, FieldErrors, OperatorError, Unavailable
from backstory.ingest.admit import HASH_BYTES, Arrival, admit
from backstory.model.access import AuditEntry, Principal, Role
from backstory.model.activity import (
    Activity,
    Body,
    Origin,
    Publication,
    Published,
    SentContact,
    is_reserved_source,
)
from backstory.model.contact import Contact
from backstory.model.ids import ContactKey
from backstory.model.json_text import parse_exact
from backstory.model.moment import now
from backstory.model.page import Filters, Place
from backstory.store.base import ActivityLog, Bookmark, PublishResult, Store

GROUP = 1_000
MAX_LINE = 1024 * 1024
PATIENCE_SECONDS = 60.0
"""For so long what the storage cannot take now is sent again."""

AGAIN_SECONDS = 1.0
PAGE = 1_000
"""So many activities are read at once for an export."""

NUMBERED_DAYS = 9
"""How long a line without an id is known by its number: less than a claim lasts on a cluster."""

Show = Callable[[float, str], None]

_PRINCIPAL = Principal(0, None, Role.ADMIN, frozenset(), None)


class Summary(NamedTuple):
    """What an import did."""

    published: int
    duplicates: int
    rejected: int
    resumed_at: int
    rejected_file: Path

    @property
    def text(self) -> str:
        """For the operator."""
        lines = [f"{self.published:,} activities imported, {self.duplicates:,} were there before."]
        if self.resumed_at:
            lines.insert(0, f"Went on behind line {self.resumed_at:,}.")
        if self.rejected:
            lines.append(
                f"{self.rejected:,} lines were refused; they are in {self.rejected_file} with the reasons."
            )
        return "\n".join(lines)


class _Line(NamedTuple):
    number: int
    text: bytes
    end: int


class _Importer:
    """One import: reads lines, publishes groups, notes what was refused."""

    def __init__(
        self,
        store: Store,
        rejected: Path,
        name: str | None,
        phone_region: str | None,
        noted: set[int],
        numbered: str | None,
    ) -> None:
        """`noted` is what the file of refused lines has. `numbered` makes a line known by its number, see `_number`."""
        self._store = store
        self._rejected_path = rejected
        self._rejected_file: BinaryIO | None = None
        self._name = name
        self._region = phone_region
        self._noted = noted
        self._numbered = numbered
        self.published = self.duplicates = self.rejected = 0

    async def publish(self, lines: list[_Line]) -> None:
        """Publish a group; its refused lines are written, and the bookmark is moved in the same transaction."""
        admitted: list[tuple[_Line, Publication]] = []
        for line in lines:
            try:
                admitted.append((line, self._admit(line)))
            except BackstoryError as error:
                self._refuse(line, error)
        bookmark = Bookmark(self._name, lines[-1].number, lines[-1].end) if self._name else None
        results = await self._publish([publication for _, publication in admitted], bookmark)
        for (line, _), result in zip(admitted, results, strict=True):
            if isinstance(result, Published):
                self.duplicates += result.duplicate
                self.published += not result.duplicate
            else:
                self._refuse(line, result)

    async def _publish(
        self, publications: Sequence[Publication], bookmark: Bookmark | None
    ) -> list[PublishResult]:
        """What became of each. What could not be taken is sent again, for a while.

        Raises:
            Unavailable: the storage takes nothing now. The bookmark was not moved.
        """
        results = await self._store.publish(publications, bookmark)
        until = time.monotonic() + PATIENCE_SECONDS
        while left := [at for at, each in enumerate(results) if isinstance(each, Unavailable)]:
            if time.monotonic() > until:
                raise Unavailable(str(results[left[0]]))
            await asyncio.sleep(AGAIN_SECONDS)
            again = await self._store.publish([publications[at] for at in left], bookmark)
            for at, result in zip(left, again, strict=True):
                results[at] = result
        return results

    def _admit(self, line: _Line) -> Publication:
        if len(line.text) > MAX_LINE:
            raise OperatorError(f"the line has {len(line.text):,} bytes; at most {MAX_LINE:,} are possible")
        publication = admit(_request_in(line.text), Arrival(_PRINCIPAL, now(), None, self._region))
        publication = msgspec.structs.replace(publication, key_id=None)
        return self._number(line, publication)

    def _number(self, line: _Line, publication: Publication) -> Publication:
        """Make a line without an id known by its number, for when it comes again.

        That is where a group may be kept without its bookmark.
        """
        if self._numbered is None or publication.idempotency is not None:
            return publication
        return msgspec.structs.replace(
            publication,
            idempotency=_hash(f"{self._numbered} {line.number}".encode()),
            digest=_hash(line.text),
            expires=now() + NUMBERED_DAYS * 86_400 * 1_000_000,
        )

    def _refuse(self, line: _Line, error: Exception) -> None:
        self.rejected += 1
        request = _as_json(_request_in(line.text))
        if hash((line.number, request)) in self._noted:
            return
        if self._rejected_file is None:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._rejected_file = os.fdopen(os.open(self._rejected_path, flags, 0o600), "ab")
            except OSError as problem:
                raise OperatorError(f"{self._rejected_path} cannot be written: {problem}") from problem
        errors = (
            [{"field": fault.field, "code": fault.code, "message": fault.message} for fault in error.faults]
            if isinstance(error, FieldErrors)
            else [{"field": None, "code": getattr(error, "code", "refused"), "message": str(error)}]
        )
        noted = _RefusedLine(line.number, errors, Raw(request))
        self._rejected_file.write(msgspec.json.encode(noted) + b"\n")
        self._rejected_file.flush()

    def close(self) -> None:
        """Close the file of refused lines."""
        if self._rejected_file is not None:
            self._rejected_file.close()


def _hash(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()[:HASH_BYTES]


class _RefusedLine(Struct, forbid_unknown_fields=True):
    """A line of the file of refused ones. `request` is what was refused: as it is where it is JSON, else as text."""

    line: int
    errors: list[dict[str, Any]]
    request: Raw


_REFUSED = msgspec.json.Decoder(_RefusedLine)


def _request_in(text: bytes) -> bytes:
    """The request that a line is; also where it was refused before, and mended."""
    if not text.startswith(b'{"line"'):
        return text
    try:
        request = bytes(_REFUSED.decode(text).request)
        return msgspec.json.decode(request, type=str).encode() if request.startswith(b'"') else request
    except msgspec.DecodeError:
        return text


def _as_json(text: bytes) -> bytes:
    """A request as it is if it is JSON, so that it can be mended in its place; else as a text in JSON."""
    stripped = text.strip()
    try:
        if isinstance(parse_exact(stripped), dict):
            return stripped
    except ValueError:
        pass  # then it is told as a text
    return msgspec.json.encode(text.decode(errors="replace").rstrip("\r\n"))


async def import_file(
    store: Store, file: str, rejected: Path, *, again: bool, show: Show, phone_region: str | None
) -> Summary:
    """Import a file, or "-" for standard input; goes on where an earlier import of the same file ended.

    `show` is called with the bytes done and a note.

    Raises:
        OperatorError: it was stopped (Ctrl-C) or cut off, because the storage takes nothing any more; it says behind
            which line.
    """
    name = None if file == "-" else _name_of(Path(file))
    numbered = None if store.atomic else await _numbered(store, name, again=again)
    start = await store.bookmark(name) if name and not again else None
    # Refused lines are noted before their group is durable: what a killed import noted too early is not noted twice.
    noted = _noted_behind(rejected, start.line if start else 0)
    if name is None or again:
        noted = set()
    importer = _Importer(store, rejected, name, phone_region, noted, numbered)
    line = start.line if start else 0
    then = "start it again, and it goes on there" if name else "send the lines behind it again"
    with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:  # noqa: ASYNC230 - a tool, no server
        try:
            for group, done in _groups(stream, start):
                stopped = await _finish(importer.publish(group))
                line = group[-1].number
                if stopped:
                    raise OperatorError(f"the import was stopped behind line {line:,}: {then}.")
                show(done, f"{importer.published:,} imported, {importer.rejected:,} refused")
        except Unavailable as error:
            raise OperatorError(
                f"the import was cut off behind line {line:,}: {error} Then {then}."
            ) from error
        finally:
            importer.close()
    return Summary(
        importer.published, importer.duplicates, importer.rejected, start.line if start else 0, rejected
    )


async def _finish(work: Coroutine[Any, Any, None]) -> bool:
    """Do some work to its end, whether or not Ctrl-C comes meanwhile; whether it came."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        return True
    return False


async def _numbered(store: Store, name: str | None, *, again: bool) -> str:
    """What tells this import's lines from all others', also when it goes on after it was cut off.

    A file that is imported `again` is another import; how often it was is kept as a bookmark beside its own.
    """
    if name is None:
        return secrets.token_hex(16)
    beside = f"{name} again"
    found = await store.bookmark(beside)
    times = found.line if found else 0
    if again:
        times += 1
        for bookmark in (Bookmark(beside, times, 0), Bookmark(name, 0, 0)):
            await store.publish([], bookmark)
    return f"{name} {times}"


def _noted_behind(rejected: Path, line: int) -> set[int]:
    """Hashes of the refused lines behind a line that are in the file already.

    The file is made ready to be written on: a line that a crash cut off goes, one that lacks its end alone gets it.
    """
    if not rejected.exists():
        return set()
    noted: set[int] = set()
    whole = 0
    with rejected.open("r+b") as file:
        for text in file:
            try:
                entry = _REFUSED.decode(text)
            except msgspec.DecodeError:
                entry = None  # somebody is mending it
            if not text.endswith(b"\n"):
                if entry is None:
                    file.truncate(whole)
                else:
                    file.write(b"\n")
            whole += len(text)
            if entry is not None and entry.line > line:
                noted.add(hash((entry.line, bytes(entry.request))))
    return noted


def _name_of(path: Path) -> str:
    """What a file is known by to a later import: where it lies and how it begins."""
    with path.open("rb") as stream:
        beginning = hashlib.sha256(stream.read(4096)).hexdigest()
    return f"import:{path.resolve()}:{beginning}"


def _groups(stream: BinaryIO, start: Bookmark | None) -> Iterator[tuple[list[_Line], int]]:
    """Groups of lines behind a bookmark, each with the offset of its end. Blank lines are passed over."""
    number = offset = 0
    if start is not None:
        number, offset = start.line, start.offset
        stream.seek(offset)
    group: list[_Line] = []
    size = 0
    while text := stream.readline(MAX_LINE + 1):
        number += 1
        offset += len(text)
        offset += _skip_line(stream, text)
        if not text.strip():
            continue
        group.append(_Line(number, text, offset))
        size += len(text)
        if len(group) == GROUP or size > 8 * MAX_LINE:
            yield group, offset
            group, size = [], 0
    if group:
        yield group, offset


def _skip_line(stream: BinaryIO, begun: bytes) -> int:
    """Pass over the rest of a line that is too long to be one of ours; how many bytes that were."""
    skipped = 0
    while len(begun) > MAX_LINE and not begun.endswith(b"\n"):
        begun = stream.readline(MAX_LINE + 1)
        skipped += len(begun)
        if len(begun) <= MAX_LINE:
            break
    return skipped


async def export_contact(store: Store, contact_id: int, out: BinaryIO, entry: AuditEntry) -> int:
    """Write what a person did, oldest first, one publish request a line; how many. Audited.

    That is the timeline, of all contacts that were merged, whichever of them is asked for. Left out is what Backstory
    itself noted there (tickets): its source is nobody's to import.

    Raises:
        OperatorError: there is no such contact.
    """
    homes = await store.records.homes(contact_id)
    if homes is None:
        raise OperatorError(f"there is no contact {contact_id}")
    contact = await store.records.contact(homes.contact_id)
    if contact is None:
        raise OperatorError(f"there is no contact {homes.contact_id}")
    await store.records.audit(entry)
    written = 0
    async for activity in _oldest_first(store.log, homes.keys):
        body = _BODY.decode(activity.body)
        origin = None if is_reserved_source(body.source.name) else await store.log.origin(activity.id)
        if origin is not None:
            out.write(_request_line(body, origin, contact))
            written += 1
    out.flush()
    return written


async def _oldest_first(log: ActivityLog, homes: Sequence[ContactKey]) -> AsyncIterator[Activity]:
    """A timeline from its end, a page at a time: first where pages begin, then the pages, the last one first."""
    begins: list[Place | None] = [None]
    while (place := (await log.page(homes, Filters(), begins[-1], PAGE)).next) is not None:
        begins.append(place)
    end: Place | None = None
    for begin in reversed(begins):
        for activity in reversed(await _between(log, homes, begin, end)):
            yield activity
        end = begin


async def _between(
    log: ActivityLog, homes: Sequence[ContactKey], begin: Place | None, end: Place | None
) -> list[Activity]:
    """A timeline behind a place, up to another one: a page, and what has come in between since it was measured."""
    found: list[Activity] = []
    place = begin
    while True:
        page = await log.page(homes, Filters(), place, PAGE)
        found += [each for each in page.activities if end is None or Place(each.timestamp, each.id) >= end]
        place = page.next
        if place is None or (end is not None and place <= end):
            return found


_BODY = msgspec.json.Decoder(Body)
_ORIGIN = msgspec.json.Decoder(Origin)


def _request_line(body: Body, origin: bytes, contact: Contact) -> bytes:
    """An activity as the publish request that would make it, in any installation."""
    sent = {
        "id": body.external_id,
        "name": body.name,
        "timestamp": body.timestamp,
        "description": body.description,
        "link": body.link,
        "actor": body.actor,
        "source": body.source,
        "object": body.object,
        "context": body.context,
    }
    request = {
        "activity": {name: value for name, value in sent.items() if value is not None},
        "contact": _sent_contact(_ORIGIN.decode(origin).contact, contact),
    }
    return msgspec.json.format(msgspec.json.encode(request), indent=-1) + b"\n"


_IDENTIFIERS = ("unique_external_id", "email", "facebook_id", "twitter_id", "phone", "mobile")


def _sent_contact(sent: SentContact, contact: Contact) -> SentContact:
    """The identifiers as sent. Our own number is somebody else's elsewhere: what else is known stands in for it."""
    if sent.id is None:
        return sent
    known = {name: getattr(sent, name) or getattr(contact, name) for name in _IDENTIFIERS}
    return msgspec.structs.replace(sent, id=None, **known)
