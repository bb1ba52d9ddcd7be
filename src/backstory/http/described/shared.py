"""The parameters and headers that calls of several chapters have."""

from __future__ import annotations

from typing import Any

from backstory.http.activities import MAX_IDEMPOTENCY_KEY
from backstory.http.described.schema import TIME_PATTERN
from backstory.http.described.told import Parameter
from backstory.http.query import MAX_ALTERNATIVES, MAX_QUERY_VALUE
from backstory.model.moment import ACCEPTED_FORMS
from backstory.model.page import DEFAULT_PER_PAGE, MAX_PER_PAGE

TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_VALUE, "pattern": r"\S"}
SEVERAL = {"type": "array", "items": TEXT, "maxItems": MAX_ALTERNATIVES}
TIME = {"type": "string", "pattern": TIME_PATTERN}

PARAMETERS: dict[str, Parameter] = {
    "source": Parameter("query", SEVERAL, "Published under this source name. Repeat it for alternatives."),
    "type": Parameter("query", SEVERAL, "Done to an object of this type. Repeat it for alternatives."),
    "name": Parameter("query", TEXT, "Has exactly this name."),
    "actor_type": Parameter("query", TEXT, "Done by an actor of this type."),
    "since": Parameter("query", TIME, f"Happened at this time or later: {ACCEPTED_FORMS}."),
    "until": Parameter("query", TIME, "Happened before this time; the same forms."),
    "q": Parameter(
        "query",
        TEXT,
        "Has all these words, whole, anywhere in the values of name, description, object, actor and nested context; "
        "compared without case and accents. At least one letter or digit.",
    ),
    "ref": Parameter("query", TEXT, "Has exactly this reference, such as an order number."),
    "per_page": Parameter(
        "query",
        {"type": "integer", "minimum": 1, "maximum": MAX_PER_PAGE, "default": DEFAULT_PER_PAGE},
        "How many at most.",
    ),
    "page": Parameter(
        "query",
        {"type": "integer", "minimum": 1, "maximum": 2**63 - 1, "default": 1},
        "Which page; one past the end is empty.",
    ),
    "cursor": Parameter(
        "query",
        {"type": "string", "minLength": 32, "maxLength": 32, "pattern": "^[A-Za-z0-9_-]{32}$"},
        "The next page: take it from the `Link` header as it is.",
    ),
    "before": Parameter(
        "query", {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, "Only entries with a lower `id`."
    ),
    "after": Parameter(
        "query",
        {"type": "string"},
        "Where to go on: the `X-Stream-Position` of a first page. Without it, from now on.",
    ),
    "Last-Event-ID": Parameter(
        "header", {"type": "string"}, "Where to go on: the `id` of the last event. Wins over `after`."
    ),
    "Idempotency-Key": Parameter(
        "header",
        {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY},
        "Makes a repeat of this request store nothing new, for 24 hours and for this API key. `activity.id` wins.",
    ),
}

HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "X-Request-Id": (
        {"type": "string", "format": "uuid"},
        "Names this request in the logs: quote it when you ask.",
    ),
    "X-Freshdesk-Api-Version": (
        {"type": "string", "const": "latest=v2; requested=v2"},
        "By which some clients recognise the service.",
    ),
    "X-RateLimit-Total": (
        {"type": "integer"},
        "Requests a minute that the key may make; a large number where there is no limit.",
    ),
    "X-RateLimit-Remaining": ({"type": "integer"}, "How many of them are left."),
    "X-RateLimit-Used-CurrentRequest": ({"type": "integer"}, "How many of them this request cost."),
    "Link": ({"type": "string"}, '`<absolute URL>; rel="next"`; absent on the last page.'),
    "X-Stream-Position": (
        {"type": "string"},
        "Only on a first page: where a live stream goes on without a gap (`after`).",
    ),
    "Location": ({"type": "string", "format": "uri"}, "The absolute address of what was created."),
    "Allow": ({"type": "string"}, "The verbs that the address has."),
    "Retry-After": ({"type": "integer"}, "After how many seconds to send it again."),
}
"""Headers of answers."""

USUAL_HEADERS = tuple(name for name in HEADERS if name.startswith(("X-R", "X-F")))
"""Those that every answer carries, errors included."""
