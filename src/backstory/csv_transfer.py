"""Contacts and companies from and to CSV files, on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import msgspec

from backstory.errors import OperatorError
from backstory.helpdesk.csv_files import COLUMNS, PIECE, CsvFiles, Refusal
from backstory.model.access import AuditEntry
from backstory.model.csv_text import CsvRow, HeaderError, read_rows, write_header
from backstory.store.base import Records

EXPORT_PIECE = 500
Show = Callable[[float, str], None]


class CsvSummary(NamedTuple):
    """What an import did."""

    created: int
    updated: int
    refused: int
    rejected: Path

    @property
    def text(self) -> str:
        """For the operator."""
        text = f"{self.created:,} rows are new, {self.updated:,} changed what was there."
        if self.refused:
            text += f"\n{self.refused:,} rows were refused; they are in {self.rejected} with the reasons."
        return text


async def import_csv(
    records: Records,
    kind: str,
    file: Path,
    rejected: Path,
    phone_region: str | None,
    entry: AuditEntry,
    show: Show,
) -> CsvSummary:
    """Import a file. Refused rows are written to `rejected`, one JSON object a line, as they are met.

    Raises:
        OperatorError: its first line does not name the columns, or it cannot be read.
    """
    rows = CsvFiles(records, phone_region)
    created = updated = refused = 0
    await rows.note(entry)
    with file.open(encoding="utf-8", newline="") as text, _Refused(rejected) as out:
        try:
            for piece in _pieces(read_rows(_counted(text, show), COLUMNS[kind])):
                outcome = await rows.take(kind, piece)
                created += outcome.created
                updated += outcome.updated
                refused += len(outcome.refusals)
                for refusal in outcome.refusals:
                    out.write(refusal)
        except HeaderError as error:
            raise OperatorError(f"{file} cannot be imported: {error}") from None
    return CsvSummary(created, updated, refused, rejected)


def _pieces(rows: Iterator[CsvRow]) -> Iterator[list[CsvRow]]:
    while piece := list(islice(rows, PIECE)):
        yield piece


def _counted(text: IO[str], show: Show) -> Iterator[str]:
    """A file's lines; how many bytes of it are read is shown."""
    done = 0
    for number, line in enumerate(text):
        done += len(line.encode())
        if number % PIECE == 0:
            show(done, f"{number:,} lines")
        yield line
    show(done, "")


class _Refused:
    """The file of refused rows, made when there is one: it holds personal values, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> _Refused:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, refusal: Refusal) -> None:
        """Note a row.

        Raises:
            OperatorError: the file cannot be written.
        """
        if self._file is None:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                self._file = os.fdopen(os.open(self._path, flags, 0o600), "w")
            except OSError as problem:
                raise OperatorError(f"{self._path} cannot be written: {problem}") from problem
        json.dump(msgspec.to_builtins(refusal), self._file, ensure_ascii=False)
        self._file.write("\n")
        self._file.flush()


async def export_csv(records: Records, kind: str, out: BinaryIO, entry: AuditEntry, show: Show) -> int:
    """Write all contacts (or companies) as CSV; how many. Audited."""
    rows = CsvFiles(records)
    await rows.note(entry)
    columns = await rows.columns(kind)
    out.write(write_header(columns).encode())
    count = last = 0
    while True:
        text, more, last = await rows.export(kind, columns, last, EXPORT_PIECE)
        if not more:
            break
        out.write(text.encode())
        count += more
        show(count, f"{count:,} rows")
    out.flush()
    return count
