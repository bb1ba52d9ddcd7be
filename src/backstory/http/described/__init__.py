"""What the code cannot say about itself: a paragraph, an example and an answer for every route, a note on every field.

One chapter a noun, in the order of the page. Everything else in the documentation (`openapi.py`, `manual.py`) is read
from the code. `tests/test_docs.py` fails where a route, a field, a parameter or an error code has no words here, and
runs every example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backstory.http.described import (
    activities,
    administration,
    agents,
    companies,
    contacts,
    csv_files,
    fields,
    merges,
    search,
    service,
    tickets,
)
from backstory.http.described.activities import FIRST_STEPS
from backstory.http.described.faults import CODES, REQUEST_CODES, error_schemas
from backstory.http.described.shared import HEADERS, PARAMETERS, USUAL_HEADERS
from backstory.http.described.told import Chapter, Described, Example, Schema, compact

__all__ = [
    "CHAPTERS",
    "CHAPTER_OF",
    "CODES",
    "EXAMPLE_BODIES",
    "FIELDS",
    "FIRST_STEPS",
    "HEADERS",
    "PARAMETERS",
    "REQUEST_CODES",
    "ROUTES_DESCRIBED",
    "SCHEMAS",
    "SHOWN_SCHEMAS",
    "USUAL_HEADERS",
    "Described",
    "Example",
    "Schema",
    "compact",
]

CHAPTERS: tuple[Chapter, ...] = (
    activities.PUBLISH,
    activities.READ,
    contacts.CHAPTER,
    merges.CHAPTER,
    companies.CHAPTER,
    tickets.CHAPTER,
    search.CHAPTER,
    csv_files.CHAPTER,
    agents.CHAPTER,
    fields.CHAPTER,
    administration.CHAPTER,
    service.CHAPTER,
)


def _joined(parts: list[Mapping[Any, Any]]) -> dict[Any, Any]:
    joined = {name: value for part in parts for name, value in part.items()}
    assert len(joined) == sum(map(len, parts)), "two chapters tell of the same"
    return joined


ROUTES_DESCRIBED: dict[Any, Described] = _joined([chapter.routes for chapter in CHAPTERS])
CHAPTER_OF: dict[Any, Chapter] = {handler: chapter for chapter in CHAPTERS for handler in chapter.routes}
SCHEMAS: dict[str, Schema] = _joined([*(chapter.schemas for chapter in CHAPTERS), error_schemas()])
SHOWN_SCHEMAS: tuple[str, ...] = tuple(name for chapter in CHAPTERS for name in chapter.shown)
EXAMPLE_BODIES: dict[str, Any] = _joined([chapter.bodies for chapter in CHAPTERS])
"""An example of each request body, by the name of its schema."""

FIELDS: dict[str, str] = _joined([chapter.fields for chapter in CHAPTERS])
"""A note on a field, by schema and name."""
