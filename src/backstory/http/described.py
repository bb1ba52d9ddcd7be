"""What the code cannot say about itself: a paragraph, an example and an answer for every route, a note on every field.

Everything else in the documentation (`openapi.py`, `manual.py`) is read from the code. `tests/test_docs.py` fails
where a route, a field, a parameter or an error code has no words here, and runs every example.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from backstory.errors import Code
from backstory.http import activities, admin, contacts, docs, service
from backstory.http.admin import LIST_PARAMETERS
from backstory.http.documentation import ADDRESS
from backstory.http.message import JSON_TYPE, NDJSON_TYPE
from backstory.http.query import FIND_PARAMETERS, MAX_ALTERNATIVES, MAX_QUERY_VALUE, TIMELINE_PARAMETERS
from backstory.model.moment import ACCEPTED_FORMS
from backstory.model.page import DEFAULT_PER_PAGE, MAX_PER_PAGE

PUBLISH, READ, CONTACTS, ADMINISTRATION, SERVICE = (
    "Publish",
    "Read",
    "Contacts",
    "Administration",
    "Service",
)
GROUPS = {
    PUBLISH: "What a contact did, into the timeline. An answer of 200 means that it is on the disk.",
    READ: "What a contact did, out of the timeline: page by page, live, or by what a customer reads out on the phone.",
    CONTACTS: "The people that activities belong to. Publishing creates them by itself; these calls are for the rest.",
    ADMINISTRATION: "For admins: what was refused, and who did what.",
    SERVICE: "For whoever runs it. None of these needs a key.",
}


def compact(value: Any, indent: int = 0, width: int = 76) -> str:
    """JSON whose objects and lists stand on one line where they fit."""
    line = json.dumps(value, ensure_ascii=False)
    if indent + len(line) <= width or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + 2
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {compact(item, inner)}" for name, item in value.items()]
    else:
        parts = [compact(item, inner) for item in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    joined = f",\n{' ' * inner}".join(parts)
    return f"{left}\n{' ' * inner}{joined}\n{' ' * indent}{right}"


class Example(NamedTuple):
    """A call that runs as it is printed, but for the address and the key, and what comes back.

    `before` is a line of shell that finds or makes what the call needs. `answer` is JSON, or text as it is.
    """

    title: str
    method: str
    path: str
    body: Any = None
    headers: tuple[str, ...] = ()
    options: str = ""
    before: str = ""
    answer: Any = None
    keyed: bool = True

    def curl(self) -> str:
        """The command."""
        who = '-u "$KEY:X" ' if self.keyed else ""
        verb = "" if self.method in ("GET", "POST") else f"-X {self.method} "
        parts = [f'curl {self.options}{verb}{who}"{ADDRESS}{self.path}"']
        parts += [f"-H '{header}'" for header in self.headers]
        if isinstance(self.body, str):
            parts += [f"-H 'Content-Type: {NDJSON_TYPE}'", f"--data-binary @- <<'END'\n{self.body}END"]
        elif self.body is not None:
            text = compact(self.body, 2)
            parts += [f"-H 'Content-Type: {JSON_TYPE}'", f"-d '{text}'"]
        command = " \\\n  ".join(parts)
        return f"{self.before}\n{command}" if self.before else command


class Described(NamedTuple):
    """What is told about a route beside its own data.

    `answer` names the schema of the good answer; `headers` are those that it alone has; `refusals` are statuses that
    do not follow from the route's rights, path and body.
    """

    title: str
    group: str
    text: str
    status: int
    means: str
    answer: str | None
    examples: tuple[Example, ...]
    many: bool = False
    body: str | None = None
    parameters: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    refusals: Mapping[int, str] = {}


_SHOP = {"name": "shopify"}
_FAILED = {
    "activity": {
        "id": "pay_1001",
        "name": "Transaction failed",
        "timestamp": "2026-03-02T14:00:00Z",
        "actor": {"type": "shopper", "name": "Rachel"},
        "source": _SHOP,
        "object": {"type": "transaction", "id": "1001"},
        "context": {"Order id": "84637930", "Amount": "50.00", "Currency": "EUR"},
    },
    "contact": {"email": "rachel@example.com", "name": "Rachel Green"},
}
_ACTIVITY_ID = "019cae8a-1f40-7000-9c5e-2b1f0d6a7e43"
_ANSWERED = {
    "id": _ACTIVITY_ID,
    "contact_id": 2,
    "external_id": "pay_1001",
    "name": "Transaction failed",
    "timestamp": "2026-03-02T14:00:00Z",
    "description": None,
    "link": None,
    "actor": {"type": "shopper", "id": None, "name": "Rachel"},
    "source": {"name": "shopify", "id": None},
    "object": {"type": "transaction", "id": "1001", "link": None, "name": None},
    "context": {"Order id": "84637930", "Amount": "50.00", "Currency": "EUR"},
    "is_actor": True,
    "received_at": "2026-03-02T14:00:00.412Z",
}
_BATCH = {
    "activities": [
        {
            "activity": {
                "id": "cart_77",
                "name": "Cart updated",
                "actor": {"type": "shopper"},
                "source": _SHOP,
            },
            "contact": {"email": "rachel@example.com"},
        },
        {"activity": {"name": "Signed in", "source": _SHOP}, "contact": {"email": "ross@example.com"}},
    ]
}
_BATCH_ANSWER = {
    "results": [
        {
            "status": 200,
            "id": "019cae8a-2710-7000-8a41-5d0c3f9be172",
            "external_id": "cart_77",
            "contact_id": 2,
            "matched_by": "email",
            "duplicate": False,
        },
        {
            "status": 400,
            "description": "Validation failed",
            "errors": [
                {
                    "field": "activity.actor",
                    "message": "It is mandatory and was not sent.",
                    "code": "missing_field",
                }
            ],
        },
    ]
}
_LINES = "".join(
    json.dumps(
        {"activity": {"name": name, "actor": {"type": "shopper"}, "source": _SHOP}, "contact": contact}
    )
    + "\n"
    for name, contact in (
        ("Order placed", {"email": "rachel@example.com"}),
        ("Called the shop", {"phone": "+44 20 7946 0018"}),
    )
)
_ACTIVITIES = "/api/v2/contact-activities"
_FOUND = f"""ID=$(curl -su "$KEY:X" "{ADDRESS}{_ACTIVITIES}?ref=pay_1001" | cut -d'"' -f4)"""
_MONICA = {"name": "Monica Geller", "email": "monica@example.com", "phone": "+44 20 7946 0101"}
_ONE_MORE = {
    "activity": {"name": "Sent by mistake", "actor": {"type": "system"}, "source": _SHOP},
    "contact": {"email": "rachel@example.com"},
}
_PUBLISH_ONE_MORE = (
    f"""ID=$(curl -su "$KEY:X" "{ADDRESS}{_ACTIVITIES}" -H 'Content-Type: {JSON_TYPE}' """
    f"""-d '{json.dumps(_ONE_MORE)}' | cut -d'"' -f4)"""
)

EXAMPLE_BODIES: dict[str, Any] = {
    "PublishRequest": _FAILED,
    "BatchRequest": _BATCH,
    "NewContact": _MONICA,
    "Lines": _LINES,
}
"""An example of each request body, by the name of its schema."""

FIRST_STEPS = (
    Example(
        "Publish what happened",
        "POST",
        _ACTIVITIES,
        _FAILED,
        answer={
            "id": _ACTIVITY_ID,
            "external_id": "pay_1001",
            "contact_id": 2,
            "matched_by": "created",
            "duplicate": False,
        },
    ),
    Example("Read it back", "GET", "/api/v2/contacts/2/activities?per_page=1", answer=[_ANSWERED]),
)
"""The first thing that the page shows: one activity in, the same one out."""

ROUTES_DESCRIBED: dict[Any, Described] = {
    activities.publish: Described(
        "Publish an activity",
        PUBLISH,
        "Names what happened, who did it, in which application, and to whom in your customer base it belongs. The "
        "contact is found by the identifiers that you send, or created. Send `activity.id`, and the same request can "
        "be sent again after any failure: it is stored once.",
        200,
        "It is durable. Also the answer to a replay, with `duplicate: true` and the id of the first one.",
        "Published",
        (
            Example(
                "With a key for the request instead of `activity.id`",
                "POST",
                _ACTIVITIES,
                {
                    "activity": {"name": "Signed in", "actor": {"type": "customer"}, "source": _SHOP},
                    "contact": {"email": "rachel@example.com"},
                },
                ("Idempotency-Key: login-2026-03-02-1",),
                answer={
                    "id": "019cae8a-2328-7000-b6d3-91c2e07f5a10",
                    "external_id": None,
                    "contact_id": 2,
                    "matched_by": "email",
                    "duplicate": False,
                },
            ),
        ),
        body="PublishRequest",
        parameters=("Idempotency-Key",),
        refusals={403: "A source key under a source name that is not its own."},
    ),
    activities.publish_batch: Described(
        "Publish a batch",
        PUBLISH,
        "Up to 1,000 publish requests in one call. Good items are kept even where others are bad; everything that is "
        "kept is durable before the answer. An `Idempotency-Key` counts for each item together with its index.",
        200,
        "One result for each item, in order: what it would have been answered alone.",
        "BatchAnswer",
        (
            Example(
                "One good item and one bad one", "POST", f"{_ACTIVITIES}/batch", _BATCH, answer=_BATCH_ANSWER
            ),
            Example("The same as NDJSON, one request a line", "POST", f"{_ACTIVITIES}/batch", _LINES),
        ),
        body="BatchRequest",
        parameters=("Idempotency-Key",),
    ),
    activities.get_timeline: Described(
        "Read a timeline",
        READ,
        "Newest first by `timestamp`. All filters can be combined. A rare filter on a very long history may answer a "
        "short page that still has a `next`.",
        200,
        "A page; the `Link` header leads to the next one and is absent on the last.",
        "Activity",
        (
            Example(
                "What went wrong with this order?",
                "GET",
                "/api/v2/contacts/2/activities?type=transaction&q=84637930",
                answer=[_ANSWERED],
            ),
        ),
        many=True,
        parameters=TIMELINE_PARAMETERS,
        headers=("Link", "X-Stream-Position"),
    ),
    activities.stream_activities: Described(
        "Follow a timeline live",
        READ,
        "The same timeline as Server-Sent Events: `activity`, `deleted`, and `reset` when the viewer must read afresh. "
        "See [Live stream](#live-stream).",
        200,
        "Events until one side ends them.",
        None,
        (
            Example(
                "Follow a contact for two seconds",
                "GET",
                "/api/v2/contacts/2/activities/stream",
                options="--no-buffer --max-time 2 ",
                answer="retry: 2000\nid: 8c2f4e61a0b3-19cae8a1f40000\n",
            ),
        ),
        parameters=("after", "Last-Event-ID"),
    ),
    activities.find_activities: Described(
        "Find across contacts",
        READ,
        "Across contacts, newest first, each with its `contact_id`. `ref` is an exact match on `object.id`, on the "
        "sender's `activity.id`, and on values in `context` under keys that end in id, no, nr, number, ref, reference "
        "or sku. Finds what was published within a second of its answer.",
        200,
        "A page; the `Link` header leads to the next one and is absent on the last.",
        "Activity",
        (
            Example(
                "Which customer has this order?", "GET", f"{_ACTIVITIES}?ref=84637930", answer=[_ANSWERED]
            ),
            Example(
                "Whose transaction failed since the first of March?",
                "GET",
                f"{_ACTIVITIES}?name=Transaction%20failed&since=2026-03-01",
                answer=[_ANSWERED],
            ),
        ),
        many=True,
        parameters=FIND_PARAMETERS,
        headers=("Link",),
    ),
    activities.get_activity: Described(
        "Read an activity",
        READ,
        "`context` comes back as the very text that was sent: key order, `1.10`, `12345678901234567890`.",
        200,
        "The activity.",
        "Activity",
        (
            Example(
                "Found by its reference, then read by its id",
                "GET",
                f"{_ACTIVITIES}/$ID",
                before=_FOUND,
                answer=_ANSWERED,
            ),
        ),
    ),
    activities.delete_activity: Described(
        "Remove an activity",
        READ,
        "Removes it and every trace of its text, and notes in the audit log who did. Its id stays known as a hash: a "
        "replay stores nothing.",
        204,
        "It is gone.",
        None,
        (
            Example(
                "Publish one and remove it again", "DELETE", f"{_ACTIVITIES}/$ID", before=_PUBLISH_ONE_MORE
            ),
        ),
    ),
    contacts.create_contact: Described(
        "Create a contact",
        CONTACTS,
        "Needs a name and at least one of `email`, `phone`, `mobile`, `twitter_id`, `unique_external_id`. Phone "
        "numbers may be shared; the other identifiers are unique.",
        201,
        "The contact as it was created.",
        "Contact",
        (Example("A new contact", "POST", "/api/v2/contacts", _MONICA),),
        body="NewContact",
        headers=("Location",),
        refusals={
            409: "`duplicate_value`: another contact has this identifier; `additional_info.user_id` is its id."
        },
    ),
    contacts.get_contact: Described(
        "Read a contact",
        CONTACTS,
        "The keys are those of the Freshdesk API; those that Backstory does not fill yet are `null` or empty.",
        200,
        "The contact.",
        "Contact",
        (Example("The first contact", "GET", "/api/v2/contacts/2"),),
    ),
    admin.list_rejected: Described(
        "Rejected requests",
        ADMINISTRATION,
        "Publish requests and batch items that were refused, newest first: when, from which key and source, why, and "
        "the beginning of the body. The last 10,000 of the last 30 days are kept.",
        200,
        "A page; the `Link` header leads to the next one and is absent on the last.",
        "RejectedRequest",
        (
            Example(
                "What was refused lately?",
                "GET",
                "/api/v2/rejected-requests?per_page=1",
                answer=[
                    {
                        "id": 1,
                        "at": "2026-03-02T14:00:02.118Z",
                        "request_id": "6f3c1f0e-5a1b-4c7d-9a55-1d2f3b4c5d6e",
                        "path": "/api/v2/contact-activities/batch",
                        "status": 400,
                        "key_id": 1,
                        "source": "shopify",
                        "errors": [
                            {
                                "field": "activity.actor",
                                "code": "missing_field",
                                "message": "It is mandatory and was not sent.",
                            }
                        ],
                        "body": '{"activity": {"name": "Signed in", "source": {"name": "shopify"}}, …}',
                    }
                ],
            ),
        ),
        many=True,
        parameters=LIST_PARAMETERS,
        headers=("Link",),
    ),
    admin.list_audit: Described(
        "Audit log",
        ADMINISTRATION,
        "Who created, changed, deleted, exported, issued or revoked what, when and from where, newest first. It holds "
        "no personal values, and nothing changes it.",
        200,
        "A page; the `Link` header leads to the next one and is absent on the last.",
        "AuditEntry",
        (
            Example(
                "The last thing that was done",
                "GET",
                "/api/v2/audit-log?per_page=1",
                answer=[
                    {
                        "id": 7,
                        "at": "2026-03-02T14:05:11.902Z",
                        "actor": "agent:1",
                        "action": "activity.delete",
                        "target": f"activity:{_ACTIVITY_ID}",
                        "origin": "api 192.0.2.10",
                        "details": {},
                    }
                ],
            ),
        ),
        many=True,
        parameters=LIST_PARAMETERS,
        headers=("Link",),
    ),
    docs.read_page: Described(
        "This page",
        SERVICE,
        "This page. It needs no network and no script.",
        200,
        "The page.",
        None,
        (
            Example(
                "Is it there?", "GET", "/api/docs", options="-so /dev/null -w '%{http_code}\\n' ", keyed=False
            ),
        ),
    ),
    docs.read_style: Described(
        "This page's style sheet",
        SERVICE,
        "What this page looks like.",
        200,
        "The style sheet.",
        None,
        (
            Example(
                "Its size",
                "GET",
                "/api/docs.css",
                options="-so /dev/null -w '%{size_download}\\n' ",
                keyed=False,
            ),
        ),
    ),
    docs.read_openapi: Described(
        "OpenAPI document",
        SERVICE,
        "The same as OpenAPI 3.1, for programs: generate a client from it, or test against it.",
        200,
        "The document.",
        "Document",
        (Example("Keep it in a file", "GET", "/openapi.json", options="-so openapi.json ", keyed=False),),
    ),
    service.healthz: Described(
        "Health",
        SERVICE,
        "Answers as long as the process lives: restart it when this fails.",
        200,
        "It lives.",
        "Health",
        (Example("Does it live?", "GET", "/healthz", keyed=False, answer={"status": "alive"}),),
    ),
    service.readyz: Described(
        "Readiness",
        SERVICE,
        "Answers 200 once it can publish and read, and 503 while it cannot.",
        200,
        "It can publish and read.",
        "Health",
        (Example("Can it publish?", "GET", "/readyz", keyed=False, answer={"status": "ready"}),),
        refusals={503: "It cannot publish or read now."},
    ),
    service.metrics: Described(
        "Metrics",
        SERVICE,
        "In the text format of Prometheus; docs/operations.md lists them. `BACKSTORY_METRICS_ADDRESS` moves them away "
        "from the API's address, and this route then answers 404.",
        200,
        "The metrics.",
        None,
        (
            Example(
                "How much was published?",
                "GET",
                "/metrics",
                options="-s ",
                keyed=False,
                answer="# HELP backstory_published_total Activities stored since the start\n…",
            ),
        ),
        refusals={404: "They are served at an address of their own."},
    ),
}

_MONTH_AND_DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-9]))"
)
_ZONE = "(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,32})?)?"
TIME_PATTERN = f"^[0-9]{{4}}-{_MONTH_AND_DAY}(T{_CLOCK}{_ZONE})?$"
"""What times are accepted, as nearly as a pattern can say it; the calendar's own rules come on top."""

_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_VALUE, "pattern": r"\S"}
_SEVERAL = {"type": "array", "items": _TEXT, "maxItems": MAX_ALTERNATIVES}
_TIME = {"type": "string", "pattern": TIME_PATTERN}


class Parameter(NamedTuple):
    """A query parameter or a request header."""

    place: str
    schema: dict[str, Any]
    text: str


PARAMETERS: dict[str, Parameter] = {
    "source": Parameter("query", _SEVERAL, "Published under this source name. Repeat it for alternatives."),
    "type": Parameter("query", _SEVERAL, "Done to an object of this type. Repeat it for alternatives."),
    "name": Parameter("query", _TEXT, "Has exactly this name."),
    "actor_type": Parameter("query", _TEXT, "Done by an actor of this type."),
    "since": Parameter("query", _TIME, f"Happened at this time or later: {ACCEPTED_FORMS}."),
    "until": Parameter("query", _TIME, "Happened before this time; the same forms."),
    "q": Parameter(
        "query",
        _TEXT,
        "Has all these words, whole, anywhere in the values of name, description, object, actor and nested context; "
        "compared without case and accents. At least one letter or digit.",
    ),
    "ref": Parameter("query", _TEXT, "Has exactly this reference, such as an order number."),
    "per_page": Parameter(
        "query",
        {"type": "integer", "minimum": 1, "maximum": MAX_PER_PAGE, "default": DEFAULT_PER_PAGE},
        "How many at most.",
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
        {"type": "string", "minLength": 1, "maxLength": activities.MAX_IDEMPOTENCY_KEY},
        "Makes a repeat of this request store nothing new, for 24 hours and for this API key. `activity.id` wins.",
    ),
}

FIELDS: dict[str, str] = {
    "PublishRequest.activity": "What happened.",
    "PublishRequest.contact": "Whose timeline it belongs to: at least one identifier.",
    "SentActivity.id": "Your own id of this event, unique within the source. The same one again stores nothing new.",
    "SentActivity.name": "The text shown on the timeline. White space around it is cut.",
    "SentActivity.timestamp": f"When it happened; absent: now. {ACCEPTED_FORMS}.",
    "SentActivity.description": "Friendly text.",
    "SentActivity.link": "A link to it. Only http, https and mailto are ever shown as links; empty counts as absent.",
    "SentActivity.actor": "Who did it.",
    "SentActivity.source": "The application it came from.",
    "SentActivity.object": "What it was done to.",
    "SentActivity.context": "Any JSON object, at most 256 KiB and 32 levels deep. It comes back as it was sent.",
    "SentActor.type": "Free text: agent, shopper, user, customer, system, contact, …",
    "SentActor.id": "Their id in the source.",
    "SentActor.name": "Their name.",
    "SentSource.name": "Such as `shopify`. The name `backstory` is reserved.",
    "SentSource.id": "Which one of several, such as a shop's id.",
    "SentObject.type": "Free text: call, transaction, cart, website, …",
    "SentObject.id": "Its id, which `ref` finds.",
    "SentObject.link": "A link to it.",
    "SentObject.name": "What people call it.",
    "SentContact.id": "Backstory's own contact id.",
    "SentContact.unique_external_id": "Your main system's id of the contact.",
    "SentContact.identities": "The contact's ids in other systems.",
    "SentContact.email": "Compared without case.",
    "SentContact.facebook_id": "Compared exactly.",
    "SentContact.twitter_id": "Compared exactly.",
    "SentContact.phone": "Compared in E.164; the weakest identifier, because people share numbers.",
    "SentContact.mobile": "As `phone`.",
    "SentContact.name": "Used when the contact is created, or has no name yet.",
    "SentContact.is_actor": "Whether the contact did it themselves; default true.",
    "Identity.source": "The other system, such as `stripe`.",
    "Identity.id": "The contact's id there, such as `cus_9`.",
    "BatchRequest.activities": "Publish requests; each is checked for itself.",
    "NewContact.name": "What people call them.",
    "NewContact.email": "Unique, compared without case.",
    "NewContact.phone": "A number at which they can be called; may be shared.",
    "NewContact.mobile": "As `phone`.",
    "NewContact.twitter_id": "Unique.",
    "NewContact.unique_external_id": "Unique: your main system's id of the contact.",
    "NewContact.address": "Where they live.",
    "NewContact.description": "Free text.",
    "NewContact.job_title": "What they do.",
    "NewContact.language": "Such as `en`, the default.",
    "NewContact.time_zone": "Such as `Europe/London`.",
    "Published.id": "The activity's id.",
    "Published.external_id": "Your `activity.id`, or null.",
    "Published.contact_id": "The contact it went to; null where a replay's contact is gone.",
    "Published.matched_by": "The identifier that found the contact, or `created`; null for the replay of one that was "
    "deleted.",
    "Published.duplicate": "Whether it was there before; nothing new was stored then.",
    "Published.differs": "Only on duplicates: true where what was sent differs from what is stored.",
    "Published.conflicts": "Only where there are any: identifiers that belong to other contacts, and were left there.",
    "Activity.id": "A UUID of version 7.",
    "Activity.contact_id": "Whose it is.",
    "Activity.external_id": "The sender's `activity.id`.",
    "Activity.timestamp": "When it happened, in UTC, with the fraction of a second where it has one.",
    "Activity.context": "As it was sent.",
    "Activity.is_actor": "Whether the contact did it themselves.",
    "Activity.received_at": "When it reached Backstory.",
    "RejectedRequest.key_id": "The key it came with (`backstory keys list`).",
    "RejectedRequest.body": "The first 2,000 characters.",
    "AuditEntry.actor": "`agent:ID`, `key:ID`, or `os:USER` on the command line.",
    "AuditEntry.origin": "The caller's address, or the command line.",
}
"""A note on a field, by schema and name. Every field of a request body has one."""

HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "X-Request-Id": (
        {"type": "string", "format": "uuid"},
        "Names this request in the logs: quote it when you ask.",
    ),
    "X-Freshdesk-Api-Version": (
        {"type": "string", "const": "latest=v2; requested=v2"},
        "By which some clients recognise the service.",
    ),
    "X-RateLimit-Total": ({"type": "integer"}, "Requests a minute; a large number, as there is no limit."),
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

CODES: dict[Code, str] = {
    Code.MISSING_FIELD: "A mandatory field is absent (`null` counts as absent).",
    Code.INVALID_VALUE: "A wrong, blank, malformed or too long value.",
    Code.DATATYPE_MISMATCH: "The wrong JSON type: a number where a string belongs.",
    Code.INVALID_FIELD: "There is no such field or parameter.",
    Code.READONLY_FIELD: "The field exists and cannot be written.",
    Code.INACCESSIBLE_FIELD: "The field exists and cannot be used here.",
    Code.INCOMPATIBLE_FIELD: "The field does not go with another one that was sent.",
    Code.DUPLICATE_VALUE: "Not unique; `additional_info.user_id` is the contact that has it.",
    Code.INCONSISTENT_STATE: "It does not fit the state that things are in.",
}
"""What each code of a field means."""

REQUEST_CODES: dict[str, str] = {
    "invalid_json": "The body is not JSON: a syntax error, not UTF-8, a duplicate key, a lone surrogate.",
    "no_content_required": "A body where none belongs.",
    "invalid_credentials": "No key, or not one of ours: unknown, revoked, expired.",
    "access_denied": "A valid key that may not do this.",
    "not_found": "There is no such address or id.",
    "method_not_allowed": "The address exists, with other verbs; `Allow` lists them.",
    "not_acceptable": "The Accept header allows nothing that is answered here.",
    "request_timeout": "The body did not arrive within 30 seconds.",
    "request_too_large": "The body is over this route's limit.",
    "unsupported_media_type": "The Content-Type is not one that this route takes, or the body is compressed.",
    "internal_error": "A fault of ours. It is logged under the X-Request-Id of the answer.",
    "unavailable": "It cannot be taken now (a full queue, a full disk, a restart); nothing was kept. Send it again "
    "after `Retry-After` seconds.",
}
"""What each code of a whole request means."""
