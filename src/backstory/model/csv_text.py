"""Records as rows of CSV: the columns, how lists stand in a cell, and cells that no spreadsheet executes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from backstory.model.company import Company
from backstory.model.contact import Contact
from backstory.model.form import FormText

LISTS = ("other_emails", "tags", "domains")
CONTACT_COLUMNS = (
    "id",
    "name",
    "email",
    "other_emails",
    "phone",
    "mobile",
    "twitter_id",
    "facebook_id",
    "unique_external_id",
    "address",
    "description",
    "job_title",
    "language",
    "time_zone",
    "company",
    "view_all_tickets",
    "tags",
    "created_at",
    "updated_at",
)
COMPANY_COLUMNS = (
    "id",
    "name",
    "description",
    "note",
    "domains",
    "health_score",
    "account_tier",
    "renewal_date",
    "industry",
    "created_at",
    "updated_at",
)
NOT_READ = ("id", "created_at", "updated_at")
"""Columns of an export that an import passes over: they are another installation's, maybe."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
MAX_CELL = 128 * 1024


class CsvRow(NamedTuple):
    """A row of a file, with the line that it ends on; `cells` are those that are not blank, by column."""

    line: int
    cells: dict[str, str]


class HeaderError(ValueError):
    """The first line does not name the columns, or the file is not CSV at all."""


def read_rows(text: Iterable[str], columns: Sequence[str]) -> Iterator[CsvRow]:
    """The rows of a CSV file whose first line names its columns: some of these, or `cf_…`, in any order and case.

    Raises:
        HeaderError: it names others, or one twice, or it cannot be read.
    """
    lines = _utf8(text)
    first = next(lines, "").lstrip("\ufeff")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(_with_first(first, lines), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        _check_header(header, columns)
        for row in reader:
            if any(cell.strip() for cell in row):
                yield CsvRow(reader.line_num, _cells(header, row))
    except csv.Error as error:
        raise HeaderError(f"line {reader.line_num}: {error}") from None


def _utf8(text: Iterable[str]) -> Iterator[str]:
    try:
        for line in text:  # noqa: UP028 -- `yield from` closes the file when it is left, and it is the caller's
            yield line
    except UnicodeDecodeError as error:
        raise HeaderError(f"it is not UTF-8: {error.reason} at byte {error.start}") from None


def _with_first(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _check_header(header: Sequence[str], columns: Sequence[str]) -> None:
    unknown = [name for name in header if name not in columns and not name.startswith("cf_")]
    if not header or unknown:
        named = ", ".join(unknown)[:200] or "nothing"
        raise HeaderError(f"the first line names {named}; columns are {', '.join(columns)} and cf_…")
    if len(set(header)) != len(header):
        raise HeaderError("the first line names a column twice")


def _cells(header: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    if len(row) > len(header):
        return {"": f"{len(row)} cells, and {len(header)} columns"}
    named = zip(header, map(_unguarded, row), strict=False)
    return {name: cell.strip() for name, cell in named if cell.strip() and name not in NOT_READ}


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def guarded(cell: str) -> str:
    """A cell that a spreadsheet takes for text, whatever it begins with."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def as_form(cells: Mapping[str, str]) -> dict[str, Any]:
    """Cells as the fields of a form, for the checks that forms go through; `company` is left out."""
    form: dict[str, Any] = {}
    custom = {name: FormText(cell) for name, cell in cells.items() if name.startswith("cf_")}
    for name, cell in cells.items():
        if name in LISTS:
            form[name] = [FormText(each.strip()) for each in _split(cell) if each.strip()]
        elif name not in custom and name != "company":
            form[name] = FormText(cell)
    return form | ({"custom_fields": custom} if custom else {})


def _split(cell: str) -> list[str]:
    return cell.split(";") if ";" in cell else cell.split(",")


def contact_cells(contact: Contact, company: str | None) -> dict[str, str]:
    """A contact as the cells of its row."""
    shown = contact.answer()
    cells = {name: _cell(shown[name]) for name in CONTACT_COLUMNS if name in shown}
    return cells | {"company": company or ""} | _custom_cells(contact.custom_fields)


def company_cells(company: Company) -> dict[str, str]:
    """A company as the cells of its row."""
    shown = company.answer() | {"renewal_date": company.renewal_date}
    return {name: _cell(shown[name]) for name in COMPANY_COLUMNS} | _custom_cells(company.custom_fields)


def _custom_cells(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _cell(value) for name, value in values.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return str(value)


def write_rows(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """Rows as CSV, without the header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([guarded(row.get(name, "")) for name in columns] for row in rows)
    return out.getvalue()


def write_header(columns: Sequence[str]) -> str:
    """The line that names the columns."""
    return write_rows(columns, [{name: name for name in columns}])
