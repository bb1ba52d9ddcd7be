"""Activities: published, and read again."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from backstory.http import activities
from backstory.http.activities import MAX_BATCH
from backstory.http.described.schema import (
    BOOLEAN,
    INTEGER,
    MOMENT,
    NULLABLE,
    NULLABLE_INTEGER,
    TIME_PATTERN,
    array_of,
    as_answered,
    object_of,
    of_types,
    one_given,
    refer,
)
from backstory.http.described.told import UUID_ID, Chapter, Described, Example, Schema
from backstory.http.documentation import ADDRESS
from backstory.http.message import JSON_TYPE
from backstory.http.query import FIND_PARAMETERS, TIMELINE_PARAMETERS
from backstory.ingest.validate import IDENTIFIERS
from backstory.model.activity import MAX_NAME, Body, PublishRequest, SentActivity
from backstory.model.checks import EMAIL_PATTERN, PHONE_PATTERN
from backstory.model.identity import CREATED, Conflict, Kind
from backstory.model.moment import ACCEPTED_FORMS

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
_ONE_MORE = {
    "activity": {"name": "Sent by mistake", "actor": {"type": "system"}, "source": _SHOP},
    "contact": {"email": "rachel@example.com"},
}
_PUBLISH_ONE_MORE = (
    f"""ID=$(curl -su "$KEY:X" "{ADDRESS}{_ACTIVITIES}" -H 'Content-Type: {JSON_TYPE}' """
    f"""-d '{json.dumps(_ONE_MORE)}' | cut -d'"' -f4)"""
)

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


def _requests() -> dict[str, Schema]:
    requests = of_types(
        [_publish_request()], {"Actor": "SentActor", "Source": "SentSource", "Object": "SentObject"}
    )
    requests["SentActivity"]["properties"]["name"]["maxLength"] = MAX_NAME
    requests["SentActivity"]["properties"]["name"].pop("description")
    requests["SentActivity"]["properties"]["timestamp"]["pattern"] = TIME_PATTERN
    contact = requests["SentContact"]["properties"]
    contact["email"]["pattern"] = EMAIL_PATTERN
    contact["phone"]["pattern"] = contact["mobile"]["pattern"] = PHONE_PATTERN
    requests["SentContact"]["anyOf"] = one_given(IDENTIFIERS, contact)
    return {
        **requests,
        "BatchRequest": _batch_request(),
        "Lines": {"type": "string", "description": "NDJSON: one publish request a line."},
    }


def _answers() -> dict[str, Schema]:
    answers = of_types(
        [_documented(Body, context=dict[str, Any] | None)],
        {
            "Body": "Activity",
            "Actor": "ActivityActor",
            "Source": "ActivitySource",
            "Object": "ActivityObject",
        },
    )
    for schema in answers.values():
        as_answered(schema)
    answers["Activity"] = _activity(answers["Activity"])
    return answers


def _documented(struct: type[msgspec.Struct], **changes: Any) -> type[msgspec.Struct]:
    """A struct with some fields' types replaced by such that msgspec can describe (it cannot do `Raw`)."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        kind = changes.get(field.name, field.type)
        default = None if field.name in changes else field.default
        fields.append((field.name, kind) if field.required else (field.name, kind, default))
    closed = struct.__struct_config__.forbid_unknown_fields
    return msgspec.defstruct(struct.__name__, fields, frozen=True, forbid_unknown_fields=closed)


def _publish_request() -> type[msgspec.Struct]:
    activity = _documented(SentActivity, context=dict[str, Any] | None)
    return _documented(PublishRequest, activity=activity)


def _activity(body: Schema) -> Schema:
    properties = {
        "id": UUID_ID,
        "contact_id": INTEGER,
        **body["properties"],
    }
    for name in ("timestamp", "received_at"):
        properties[name] = MOMENT
    return object_of(properties) | {"description": "An activity as it is answered."}


def _batch_request() -> Schema:
    items = {"type": "array", "items": refer("PublishRequest"), "maxItems": MAX_BATCH}
    return object_of({"activities": items}) | {"additionalProperties": False}


def _published() -> Schema:
    ways = [*(kind.value for kind in Kind), CREATED, None]
    return object_of(
        {
            "id": UUID_ID,
            "external_id": NULLABLE,
            "contact_id": NULLABLE_INTEGER,
            "matched_by": {"type": ["string", "null"], "enum": ways},
            "duplicate": BOOLEAN,
            "differs": {"type": "boolean", "const": True},
            "conflicts": array_of(refer("Conflict")),
        },
        optional=("differs", "conflicts"),
    )


def _batch_answer() -> Schema:
    def item(name: str, **status: Any) -> Schema:
        marked = {"type": "object", "properties": {"status": status}, "required": ["status"]}
        return {"allOf": [marked, refer(name)]}

    shapes = [item("Published", const=200), item("FieldErrors", const=400)]
    shapes.append(item("RequestError", enum=[400, 403]))
    return object_of({"results": {"type": "array", "items": {"oneOf": shapes}, "maxItems": MAX_BATCH}})


PUBLISH = Chapter(
    "Publish",
    "What a contact did, into the timeline. An answer of 200 means that it is on the disk.",
    {
        activities.publish: Described(
            "Publish an activity",
            "Names what happened, who did it, in which application, and to whom in your customer base it belongs. The "
            "contact is found by the identifiers that you send, or created. Send `activity.id`, and the "
            "same request can "
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
            "Up to 1,000 publish requests in one call. Good items are kept even where others are bad; "
            "everything that is "
            "kept is durable before the answer. An `Idempotency-Key` counts for each item together with its index.",
            200,
            "One result for each item, in order: what it would have been answered alone.",
            "BatchAnswer",
            (
                Example(
                    "One good item and one bad one",
                    "POST",
                    f"{_ACTIVITIES}/batch",
                    _BATCH,
                    answer=_BATCH_ANSWER,
                ),
                Example("The same as NDJSON, one request a line", "POST", f"{_ACTIVITIES}/batch", _LINES),
            ),
            body="BatchRequest",
            parameters=("Idempotency-Key",),
        ),
    },
    schemas={
        **_requests(),
        "Published": _published(),
        **of_types([Conflict], {}),
        "BatchAnswer": _batch_answer(),
    },
    shown=("Published", "BatchAnswer"),
    bodies={"PublishRequest": _FAILED, "BatchRequest": _BATCH, "Lines": _LINES},
    fields={
        "PublishRequest.activity": "What happened.",
        "PublishRequest.contact": "Whose timeline it belongs to: at least one identifier.",
        "SentActivity.id": "Your own id of this event, unique within the source. The same one again stores "
        "nothing new.",
        "SentActivity.name": "The text shown on the timeline. White space around it is cut.",
        "SentActivity.timestamp": f"When it happened; absent: now. {ACCEPTED_FORMS}.",
        "SentActivity.description": "Friendly text.",
        "SentActivity.link": "A link to it. Only http, https and mailto are ever shown as links; empty "
        "counts as absent.",
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
        "Identity.id": "The contact's id there, such as `cus_9`; a blank one counts as absent.",
        "BatchRequest.activities": "Publish requests; each is checked for itself.",
        "Published.id": "The activity's id.",
        "Published.external_id": "Your `activity.id`, or null.",
        "Published.contact_id": "The contact it went to; null where a replay's contact is gone.",
        "Published.matched_by": "The identifier that found the contact, or `created`; null for the replay "
        "of one that was "
        "deleted.",
        "Published.duplicate": "Whether it was there before; nothing new was stored then.",
        "Published.differs": "Only on duplicates: true where what was sent differs from what is stored.",
        "Published.conflicts": "Only where there are any: identifiers that belong to other contacts, and "
        "were left there.",
    },
)

READ = Chapter(
    "Read",
    "What a contact did, out of the timeline: page by page, live, or by what a customer reads out on the phone.",
    {
        activities.get_timeline: Described(
            "Read a timeline",
            "Newest first by `timestamp`. All filters can be combined. A rare filter on a very long history "
            "may answer a "
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
            "The same timeline as Server-Sent Events: `activity`, `deleted`, and `reset` when the viewer "
            "must read afresh. "
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
            "Across contacts, newest first, each with its `contact_id`. `ref` is an exact match on `object.id`, on the "
            "sender's `activity.id`, and on values in `context` under keys that end in id, no, nr, number, "
            "ref, reference "
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
            ids=UUID_ID,
        ),
        activities.delete_activity: Described(
            "Remove an activity",
            "Removes it and every trace of its text, and notes in the audit log who did. Its id stays known "
            "as a hash: a "
            "replay stores nothing.",
            204,
            "It is gone.",
            None,
            (
                Example(
                    "Publish one and remove it again",
                    "DELETE",
                    f"{_ACTIVITIES}/$ID",
                    before=_PUBLISH_ONE_MORE,
                ),
            ),
            ids=UUID_ID,
        ),
    },
    schemas=_answers(),
    shown=("Activity",),
    fields={
        "Activity.id": "A UUID of version 7.",
        "Activity.contact_id": "Whose it is.",
        "Activity.external_id": "The sender's `activity.id`.",
        "Activity.timestamp": "When it happened, in UTC, with the fraction of a second where it has one.",
        "Activity.context": "As it was sent.",
        "Activity.is_actor": "Whether the contact did it themselves.",
        "Activity.received_at": "When it reached Backstory.",
    },
)
