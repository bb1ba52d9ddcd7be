"""Each answer's exact keys and types, against the lists of the contract (sections 5 to 9), written down here once more.

The documentation's schemas are held by the other tests; these lists are not made from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backstory.http.routes import ROUTES, Route
from tests.http.calls import good_call, name_of
from tests.http.test_publish import email, unique
from tests.support import Installation

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
Shape = dict[str, Any]


def moment(value: Any) -> bool:
    return isinstance(value, str) and MOMENT.fullmatch(value) is not None


def null(value: Any) -> bool:
    return value is None


def text(value: Any) -> bool:
    return isinstance(value, str)


def number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def boolean(value: Any) -> bool:
    return isinstance(value, bool)


def anything(value: Any) -> bool:
    return isinstance(value, dict)


def either(*tests: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: any(test(value) for test in tests)


def maybe(shape: Any) -> Callable[[Any], bool]:
    """Null, or of this shape."""

    def test(value: Any) -> bool:
        if value is not None:
            hold(value, shape)
        return True

    return test


def each(shape: Any) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        assert isinstance(value, list)
        for item in value:
            hold(item, shape)
        return True

    return test


def hold(value: Any, shape: Any, where: str = "answer") -> None:
    """Fail where a value has not exactly these keys, or one of another type. `?` marks a key that may be absent."""
    if callable(shape):
        assert shape(value), f"{where}: {value!r}"
        return
    assert isinstance(value, dict), f"{where}: {value!r}"
    mandatory = {name for name in shape if not name.endswith("?")}
    optional = {name.removesuffix("?") for name in shape if name.endswith("?")}
    assert mandatory <= set(value), f"{where} lacks {mandatory - set(value)}"
    assert set(value) <= mandatory | optional, f"{where} has {set(value) - mandatory - optional} too many"
    for name, inner in value.items():
        hold(inner, shape[name if name in shape else f"{name}?"], f"{where}.{name}")


MAYBE, COUNT, TIME = either(text, null), either(number, null), either(moment, null)
TEXTS, NUMBERS = each(text), each(number)
CREATED = {"created_at": moment, "updated_at": moment}
ATTACHMENT: Shape = {
    "id": number, "name": text, "content_type": text, "size": number, "attachment_url": text,
    "thumb_url": MAYBE, **CREATED,
}  # fmt: skip
LISTED_CONTACT: Shape = {
    "id": number, "active": boolean, "name": text, "first_name": text, "last_name": MAYBE, "email": MAYBE,
    "phone": MAYBE, "mobile": MAYBE, "twitter_id": MAYBE, "facebook_id": MAYBE, "unique_external_id": MAYBE,
    "address": MAYBE, "description": MAYBE, "job_title": MAYBE, "language": text, "time_zone": MAYBE,
    "company_id": COUNT, "view_all_tickets": boolean,
    "other_companies": each({"company_id": number, "view_all_tickets": boolean}),
    "social_handler": null, "contact_type": null, "custom_fields": anything, "csat_rating": null,
    "preferred_source": null, "deleted?": lambda value: value is True, **CREATED,
}  # fmt: skip
AVATAR: Shape = {
    "id": number, "name": text, "content_type": text, "size": number, "avatar_url": text, **CREATED,
}  # fmt: skip
CONTACT: Shape = {
    **LISTED_CONTACT,
    "avatar": maybe(AVATAR),
    "other_emails": TEXTS,
    "tags": TEXTS,
}
REQUESTER: Shape = {"id": number, "name": text, "email": MAYBE, "mobile": MAYBE, "phone": MAYBE}
STATS: Shape = dict.fromkeys(
    (
        "closed_at resolved_at first_responded_at agent_responded_at requester_responded_at reopened_at"
        " pending_since status_updated_at"
    ).split(),
    TIME,
)
LISTED_TICKET: Shape = {
    "id": number, "subject": MAYBE, "type": MAYBE, "status": number, "priority": number, "source": number,
    "requester_id": number, "responder_id": COUNT, "group_id": COUNT, "company_id": COUNT, "product_id": COUNT,
    "email_config_id": COUNT, "support_email": MAYBE, "to_emails": either(null, TEXTS), "cc_emails": TEXTS,
    "fwd_emails": TEXTS, "reply_cc_emails": TEXTS, "ticket_cc_emails": TEXTS, "spam": boolean,
    "deleted": boolean, "urgent": boolean, "fr_escalated": boolean, "nr_escalated": boolean,
    "is_escalated": boolean, "due_by": moment, "fr_due_by": moment, "nr_due_by": TIME,
    "association_type": COUNT, "associated_tickets_count": COUNT,
    "associated_tickets_list": either(null, NUMBERS), "form_id": COUNT, "source_additional_info": null,
    "tags": TEXTS, "attachments": each(ATTACHMENT), "custom_fields": anything, **CREATED,
}  # fmt: skip
TICKET: Shape = {
    **LISTED_TICKET, "description": text, "description_text": text, "structured_description": null
}  # fmt: skip
CONVERSATION: Shape = {
    "id": number, "ticket_id": number, "user_id": COUNT, "body": text, "body_text": text,
    "structured_body": null, "incoming": boolean, "private": boolean, "source": number, "category": number,
    "support_email": MAYBE, "from_email": MAYBE, "to_emails": TEXTS, "cc_emails": TEXTS, "bcc_emails": TEXTS,
    "email_failure_count": COUNT, "outgoing_failures": lambda value: True, "thread_id": lambda value: True,
    "thread_message_id": lambda value: True, "auto_response": boolean, "automation_id": null,
    "automation_type_id": null, "source_additional_info": maybe({"delivery": text, "reason": MAYBE}),
    "last_edited_at": TIME, "last_edited_user_id": COUNT, "attachments": each(ATTACHMENT), **CREATED,
}  # fmt: skip
AGENT: Shape = {
    "available": boolean, "occasional": boolean, "id": number, "ticket_scope": number, "signature": MAYBE,
    "group_ids": NUMBERS, "role_ids": NUMBERS, "skill_ids": NUMBERS, "available_since": TIME,
    "type": lambda value: value == "support_agent", "focus_mode": boolean, "last_active_at": TIME,
    "deactivated": boolean, "freshcaller_agent": boolean, **CREATED,
    "contact": {
        "active": boolean, "email": text, "job_title": MAYBE, "language": text, "mobile": MAYBE, "name": text,
        "phone": MAYBE, "time_zone": MAYBE, "last_login_at": TIME, **CREATED,
    },
}  # fmt: skip
COMPANY: Shape = {
    "id": number, "name": text, "description": MAYBE, "note": MAYBE, "domains": TEXTS, "health_score": MAYBE,
    "account_tier": MAYBE, "renewal_date": MAYBE, "industry": MAYBE, "custom_fields": anything, **CREATED,
}  # fmt: skip
NAMED: Shape = {"id": number, "name": text}
FOUND = {"total": number}

SHAPES: dict[str, Any] = {
    "POST /contacts": CONTACT,
    "GET /contacts/{id}": CONTACT,
    "PUT /contacts/{id}": CONTACT,
    "GET /contacts": each(LISTED_CONTACT),
    "GET /contacts/autocomplete": each(NAMED),
    "PUT /contacts/{id}/make_agent": {**CONTACT, "agent": AGENT},
    "POST /tickets": TICKET,
    "GET /tickets/{id}": TICKET,
    "PUT /tickets/{id}": TICKET,
    "GET /tickets": each(LISTED_TICKET),
    "GET /tickets/{id}/conversations": each(CONVERSATION),
    "GET /tickets/{id}/satisfaction_ratings": lambda value: value == [],
    "GET /tickets/{id}/time_entries": lambda value: value == [],
    "POST /tickets/{id}/reply": {**CONVERSATION, "replied_to": TEXTS},
    "POST /tickets/{id}/notes": {**CONVERSATION, "notified_to": TEXTS},
    "PUT /conversations/{id}": CONVERSATION,
    "POST /agents": AGENT,
    "GET /agents": each(AGENT),
    "GET /agents/me": AGENT,
    "GET /agents/autocomplete": each(NAMED),
    "GET /agents/{id}": AGENT,
    "PUT /agents/{id}": AGENT,
    "POST /companies": COMPANY,
    "GET /companies": each(COMPANY),
    "GET /companies/autocomplete": {"companies": each(NAMED)},
    "GET /companies/{id}": COMPANY,
    "PUT /companies/{id}": COMPANY,
    "GET /search/contacts": {**FOUND, "results": each(LISTED_CONTACT)},
    "GET /search/tickets": {**FOUND, "results": each(TICKET)},
    "GET /search/companies": {**FOUND, "results": each(COMPANY)},
}


@pytest.mark.parametrize("route", [route for route in ROUTES if name_of(route) in SHAPES], ids=name_of)
def test_the_keys_of_an_answer(api: httpx.Client, filled: None, route: Route) -> None:
    call = good_call(route, api)
    answer = api.request(route.method, call.path, params=call.query, json=call.body)
    assert answer.status_code in (200, 201), answer.text
    hold(answer.json(), SHAPES[name_of(route)])


@pytest.fixture(scope="module")
def filled(shared_server: Installation) -> None:
    """Records of which every field has a value, beside those that tests make with few."""
    with shared_server.client() as api:
        company = api.post(
            "/api/v2/companies",
            json={
                "name": unique("Company"),
                "domains": [f"{unique('d')}.example.com"],
                "renewal_date": "2026-12-31",
                **dict.fromkeys(("description", "note", "health_score", "account_tier", "industry"), "x"),
            },
        ).json()["id"]
        contact = api.post(
            "/api/v2/contacts",
            json={
                "name": "Rachel Karen Green", "email": email(), "phone": "+44 20 7946 0123", "mobile": "0171 5",
                "twitter_id": unique(), "unique_external_id": unique(), "other_emails": [email()],
                "company_id": company, "tags": ["vip"], "view_all_tickets": True, "language": "de",
                **dict.fromkeys(("address", "description", "job_title", "time_zone"), "x"),
            },
        ).json()["id"]  # fmt: skip
        ticket = api.post(
            "/api/v2/tickets",
            data={
                "requester_id": str(contact), "subject": "A", "description": "<b>B</b>", "type": "Question",
                "priority": "2", "status": "2", "tags[]": "x", "cc_emails[]": email(),
                "company_id": str(company),
            },
            files={"attachments[]": ("a.txt", b"A")},
        ).json()["id"]  # fmt: skip
        api.post(f"/api/v2/tickets/{ticket}/reply", json={"body": "Soon", "cc_emails": [email()]})
        api.put(f"/api/v2/tickets/{ticket}", json={"status": 5})


def test_what_is_included(api: httpx.Client, filled: None) -> None:
    (ticket,) = api.get("/api/v2/tickets", params={"per_page": 1}).json()
    includes = "conversations,requester,company,stats"
    whole = api.get(f"/api/v2/tickets/{ticket['id']}", params={"include": includes}).json()
    shape = {
        **TICKET,
        "conversations": each(CONVERSATION),
        "requester": REQUESTER,
        "company?": maybe(NAMED),
        "stats": STATS,
    }
    hold(whole, shape)
    listed = api.get(
        "/api/v2/tickets", params={"include": "stats,requester,company,description", "per_page": 100}
    ).json()
    company = {"company?": maybe(NAMED)}
    hold(listed, each({**TICKET, "requester": REQUESTER, "stats": STATS, **company}))


def test_a_deleted_contact_says_so(api: httpx.Client) -> None:
    number_ = api.post("/api/v2/contacts", json={"name": "A", "email": email()}).json()["id"]
    api.delete(f"/api/v2/contacts/{number_}")
    deleted = api.get(f"/api/v2/contacts/{number_}").json()
    hold(deleted, CONTACT)
    assert deleted["deleted"] is True


def test_this_test_would_notice() -> None:
    for value in (
        {"id": 1},
        {"id": 1, "name": 2},
        {"id": 1, "name": "a", "more": 1},
        {"id": True, "name": "a"},
    ):
        with pytest.raises(AssertionError):
            hold(value, NAMED)
