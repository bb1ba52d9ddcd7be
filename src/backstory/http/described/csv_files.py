"""Contacts and companies, many at a time."""

from __future__ import annotations

from backstory.http import csv_files
from backstory.http.csv_files import CSV_FORM
from backstory.http.described.told import Chapter, Described, Example
from backstory.model.csv_text import COMPANY_COLUMNS, CONTACT_COLUMNS, NOT_READ

_IMPORT = (
    "The first line of the file names its columns, in any order: {}, and `cf_…` for fields of your own. Lists stand in "
    "one cell, with semicolons between. A row is about {}, and changes that one; a blank cell changes nothing. Rows at "
    "fault are left out: `result` of the job counts them and tells the first 1,000 with their lines and reasons. The "
    "same file can be imported again."
)
_EXPORT = (
    "All of them, by their ids, with the columns that an import takes. When the job is done, its `result` has "
    "`download_url`, which works for a day. Cells that a spreadsheet could take for a formula begin with an "
    "apostrophe, which an import takes away again."
)


def _named(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in columns if name not in NOT_READ)


def _file(text: str) -> str:
    return f"printf '{text}' > rows.csv"


CHAPTER = Chapter(
    "Import and export",
    "Contacts and companies as CSV, in UTF-8. Each is a job: it goes on behind the answer, also across a restart, and "
    "`GET /api/v2/jobs/{id}` tells how far it is.",
    {
        csv_files.import_companies: Described(
            "Import companies",
            _IMPORT.format(_named(COMPANY_COLUMNS), "the company of its name"),
            202,
            "It will be done; `href` tells how far it is.",
            "JobPromise",
            (
                Example(
                    "One company",
                    "POST",
                    "/api/v2/companies/import",
                    options="-F file=@rows.csv ",
                    before=_file("name,domains\\nMoondance Diner,moondance.example.com\\n"),
                ),
            ),
            body="CsvFile",
        ),
        csv_files.import_contacts: Described(
            "Import contacts",
            _IMPORT.format(
                _named(CONTACT_COLUMNS),
                "the contact who has its `unique_external_id`, `email`, `facebook_id` or `twitter_id`, or with numbers "
                "alone the one of that number and name",
            )
            + " `company` is a company's name; one that is not there is made.",
            202,
            "It will be done; `href` tells how far it is.",
            "JobPromise",
            (
                Example(
                    "One contact",
                    "POST",
                    "/api/v2/contacts/import",
                    options="-F file=@rows.csv ",
                    before=_file("name,email,company\\nJoey,joey@example.com,Moondance Diner\\n"),
                ),
            ),
            body="CsvFile",
        ),
        csv_files.export_contacts: Described(
            "Export contacts",
            _EXPORT,
            202,
            "It will be done; `href` tells how far it is.",
            "JobPromise",
            (Example("Write the file", "POST", "/api/v2/contacts/export", options="-X POST "),),
        ),
        csv_files.export_companies: Described(
            "Export companies",
            _EXPORT,
            202,
            "It will be done; `href` tells how far it is.",
            "JobPromise",
            (Example("Write the file", "POST", "/api/v2/companies/export", options="-X POST "),),
        ),
    },
    schemas={"CsvFile": dict(CSV_FORM.schema)},
    bodies={"CsvFile": {}},
)
