"""Imports and exports of CSV that the API begins: jobs, with their files on the disk until they are done with."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from backstory.errors import Code, Fault, FieldErrors
from backstory.helpdesk.csv_files import COLUMNS, PIECE, CsvFiles, Outcome
from backstory.helpdesk.files import AttachmentFiles
from backstory.helpdesk.jobs import Jobs
from backstory.model.access import AuditEntry
from backstory.model.attachment import StoredFile
from backstory.model.csv_text import CsvRow, HeaderError, read_rows, write_header
from backstory.model.form import Upload
from backstory.model.job import Job
from backstory.model.moment import now
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import attachments, jobs

MAX_TOLD = 1_000
"""So many refused rows are told with their reasons; the rest are counted."""

EXPORT_PIECE = 200
EXPORTED, IMPORTED = "export", "import"
IMPORT_JOBS = {"contacts.import": "contact", "companies.import": "company"}
EXPORT_JOBS = {"contacts.export": "contact", "companies.export": "company"}


class CsvJobs:
    """Begins such jobs, and does them."""

    def __init__(self, records: Records, rows: CsvFiles, files: AttachmentFiles, queue: Jobs) -> None:
        self._records = records
        self._rows = rows
        self._files = files
        self._queue = queue
        for kind in IMPORT_JOBS:
            queue.handle(kind, self._import)
        for kind in EXPORT_JOBS:
            queue.handle(kind, self._export)

    async def begin_import(
        self, kind: str, upload: Upload, *, agent_id: int | None, entry: AuditEntry
    ) -> Job:
        """Take a file, and import it soon.

        Raises:
            FieldErrors: its first line does not name the columns, or it cannot be read as CSV.
        """
        columns = COLUMNS[IMPORT_JOBS[kind]]
        try:
            total = await asyncio.to_thread(_count, upload, columns)
        except HeaderError as error:
            raise FieldErrors(
                [Fault("file", f"It cannot be imported: {error}.", Code.INVALID_VALUE)]
            ) from None
        (kept,) = await self._files.keep([upload])
        await self._own(kept, IMPORTED, agent_id)
        await self._rows.note(entry)
        return await self._queue.begin(kind, {"stored_as": kept.stored_as}, agent_id=agent_id, total=total)

    async def begin_export(self, kind: str, *, agent_id: int | None, entry: AuditEntry) -> Job:
        """Write all records of a kind into a file, soon."""
        await self._rows.note(entry)
        total = await self._rows.count(EXPORT_JOBS[kind])
        return await self._queue.begin(kind, {}, agent_id=agent_id, total=total)

    async def _own(self, file: StoredFile, owner: str, agent_id: int | None) -> int:
        """Note a file that is on the disk, so that it is nobody's orphan; its number."""

        def work(transaction: RecordsTransaction) -> int:
            connection = transaction.records
            attachments.insert_attachments(connection, owner, agent_id or 0, [file], now())
            return attachments.select_number(connection, file.stored_as)

        return await self._records.write(work)

    async def _import(self, job: Job) -> Mapping[str, Any]:
        """Go on behind the rows that were written; each piece of them is written together with the progress."""
        stored_as = str(job.request["stored_as"])
        kind = IMPORT_JOBS[job.kind]
        result = _Result.of(job.result)
        done = job.progress
        text = io.StringIO((await self._files.read(stored_as)).decode(errors="replace"), newline="")
        rows: Iterator[CsvRow] = islice(read_rows(text, COLUMNS[kind]), done, None)
        while piece := list(islice(rows, PIECE)):
            done += len(piece)
            result = await self._take(job, kind, piece, done, result)
        await self._drop(StoredFile("", "", 0, stored_as))
        return msgspec.to_builtins(result)  # type: ignore[no-any-return]

    async def _take(self, job: Job, kind: str, piece: list[CsvRow], done: int, before: _Result) -> _Result:
        after = before

        def also(connection: Connection, outcome: Outcome) -> None:
            nonlocal after
            after = before.plus(outcome)
            jobs.advance(connection, job.id, done, msgspec.to_builtins(after), now())

        await self._rows.take(kind, piece, also)
        return after

    async def _export(self, job: Job) -> Mapping[str, Any]:
        """From the beginning: a file that was begun before is an orphan, and is removed as such."""
        kind = EXPORT_JOBS[job.kind]
        await self._drop_exports()
        columns = await self._rows.columns(kind)
        with tempfile.TemporaryFile() as out:
            out.write(write_header(columns).encode())
            count = last = 0
            while True:
                text, rows, last = await self._rows.export(kind, columns, last, EXPORT_PIECE)
                if not rows:
                    break
                await asyncio.to_thread(out.write, text.encode())
                count += rows
                await self._advance(job, count)
            size = out.tell()
            out.seek(0)
            (kept,) = await self._files.keep([Upload(f"{job.kind}.csv", "text/csv", size, out)])
        return {"rows": count, "attachment_id": await self._own(kept, EXPORTED, job.agent_id)}

    async def _advance(self, job: Job, count: int) -> None:
        await self._records.write(
            lambda transaction: jobs.advance(transaction.records, job.id, count, None, now())
        )

    async def _drop_exports(self) -> None:
        """Remove the files of former exports that have been there to be fetched for a day."""
        old = now() - 24 * 3600 * 1_000_000

        def work(transaction: RecordsTransaction) -> list[str]:
            return attachments.delete_older(transaction.records, EXPORTED, old)

        for name in await self._records.write(work):
            await self._files.discard([StoredFile("", "", 0, name)])

    async def _drop(self, file: StoredFile) -> None:
        def work(transaction: RecordsTransaction) -> None:
            attachments.delete_stored(transaction.records, file.stored_as)

        await self._records.write(work)
        await self._files.discard([file])


class _Result(msgspec.Struct, frozen=True):
    """What an import did so far."""

    created: int = 0
    updated: int = 0
    refused: int = 0
    refusals: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, result: Mapping[str, Any] | None) -> _Result:
        return msgspec.convert(dict(result or {}), cls)

    def plus(self, outcome: Outcome) -> _Result:
        told = (*self.refusals, *map(msgspec.to_builtins, outcome.refusals))
        return _Result(
            self.created + outcome.created,
            self.updated + outcome.updated,
            self.refused + len(outcome.refusals),
            told[:MAX_TOLD],
        )


def _count(upload: Upload, columns: tuple[str, ...]) -> int:
    """How many rows a file has."""
    upload.content.seek(0)
    text = io.TextIOWrapper(upload.content, encoding="utf-8", newline="")
    try:
        return sum(1 for _ in read_rows(text, columns))
    finally:
        text.detach()
        upload.content.seek(0)
