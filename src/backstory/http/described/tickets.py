"""Tickets, what is said about them, and their files."""

from __future__ import annotations

from typing import Any

from backstory.helpdesk.tickets import REQUESTED_BY
from backstory.http import attachments, conversations, jobs, tickets
from backstory.http.described.schema import (
    BOOLEAN,
    INTEGER,
    MOMENT,
    NULLABLE,
    NULLABLE_INTEGER,
    NULLABLE_MOMENT,
    OBJECT,
    STRING,
    array_of,
    as_json,
    object_of,
    one_given,
    refer,
)
from backstory.http.described.shared import TEXT, TIME
from backstory.http.described.told import NUMBER_ID, Chapter, Described, Example, Parameter, Schema
from backstory.http.documentation import ADDRESS
from backstory.model.job import JobStatus
from backstory.model.moment import ACCEPTED_FORMS
from backstory.model.ticket import (
    DESCRIPTION_KEYS,
    EMBEDDED_CONVERSATIONS,
    LISTED_DAYS,
    SERVICE_HOURS,
    Order,
    Priority,
    Status,
    TicketSource,
)

_NEW = {
    "subject": "Where is my parcel?",
    "description": "<p>It was to come on <b>Friday</b>.</p>",
    "email": "rachel@example.com",
    "priority": 3,
    "tags": ["parcel"],
}
_CHANGE = {"status": 3, "responder_id": 1}
_REPLY = {"body": "<p>It is on its way: it comes tomorrow.</p>"}
_NOTE = {"body": "<p>The carrier has lost it once before.</p>"}
_EDITED = {"body": "<p>The carrier has lost it twice before.</p>"}
_MERGE = {"primary_id": 1, "ticket_ids": [2], "convert_recepients_to_cc": True}
_TICKETS, _CONVERSATIONS = "/api/v2/tickets", "/api/v2/conversations"


def _id_of_a_new(path: str, body: str) -> str:
    return (
        f"""ID=$(curl -su "$KEY:X" "{ADDRESS}{path}" -H 'Content-Type: application/json' -d '{body}' """
        """| grep -o '"id":[0-9]*' | head -1 | cut -d: -f2)"""
    )


_ONE_MORE = _id_of_a_new(_TICKETS, '{"subject": "By mistake", "email": "rachel@example.com"}')
_ONE_MORE_NOTE = _id_of_a_new(f"{_TICKETS}/1/notes", '{"body": "By mistake"}')

_BULK_UPDATE = {"bulk_action": {"ids": [1, 2], "properties": {"status": 5}}}
_BULK_DELETE = {"bulk_action": {"ids": [2]}}
_A_JOB = (
    f"""ID=$(curl -su "$KEY:X" "{ADDRESS}{_TICKETS}/bulk_update" -H 'Content-Type: application/json' """
    """-d '{"bulk_action": {"ids": [1], "properties": {"status": 2}}}' | cut -d'"' -f4)"""
)

_ATTACHMENT = {
    "id": INTEGER,
    "name": STRING,
    "content_type": STRING,
    "size": INTEGER,
    "attachment_url": {"type": "string", "format": "uri"},
    "thumb_url": {"type": ["string", "null"], "format": "uri"},
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
_EMAILS = array_of(STRING)
_TICKET: dict[str, Schema] = {
    "id": INTEGER,
    "subject": NULLABLE,
    "description": STRING,
    "description_text": STRING,
    "structured_description": {"type": "null"},
    "type": NULLABLE,
    "status": {"type": "integer", "enum": [each.value for each in Status]},
    "priority": {"type": "integer", "enum": [each.value for each in Priority]},
    "source": {"type": "integer", "enum": [each.value for each in TicketSource]},
    "requester_id": INTEGER,
    "responder_id": NULLABLE_INTEGER,
    "group_id": NULLABLE_INTEGER,
    "company_id": NULLABLE_INTEGER,
    "product_id": NULLABLE_INTEGER,
    "email_config_id": NULLABLE_INTEGER,
    "support_email": NULLABLE,
    "to_emails": {"type": ["array", "null"], "items": STRING},
    "cc_emails": _EMAILS,
    "fwd_emails": _EMAILS,
    "reply_cc_emails": _EMAILS,
    "ticket_cc_emails": _EMAILS,
    "spam": BOOLEAN,
    "deleted": BOOLEAN,
    "urgent": BOOLEAN,
    "fr_escalated": BOOLEAN,
    "nr_escalated": BOOLEAN,
    "is_escalated": BOOLEAN,
    "due_by": MOMENT,
    "fr_due_by": MOMENT,
    "nr_due_by": NULLABLE_MOMENT,
    "association_type": {"type": "null"},
    "associated_tickets_count": {"type": "null"},
    "associated_tickets_list": {"type": "null"},
    "form_id": {"type": "null"},
    "source_additional_info": {"type": "null"},
    "tags": array_of(STRING),
    "attachments": array_of(refer("Attachment")),
    "custom_fields": OBJECT,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
TICKET_KEYS = tuple(_TICKET)
"""The key set of a ticket (contract 6)."""

_STATS = (
    "closed_at resolved_at first_responded_at agent_responded_at requester_responded_at reopened_at pending_since"
    " status_updated_at"
).split()
_EMBEDDED: dict[str, Schema] = {
    "conversations": array_of(refer("Conversation")),
    "requester": {"anyOf": [refer("TicketRequester"), {"type": "null"}]},
    "company": {"anyOf": [refer("TicketCompany"), {"type": "null"}]},
    "stats": refer("TicketStats"),
}
_CONVERSATION: dict[str, Schema] = {
    "id": INTEGER,
    "ticket_id": INTEGER,
    "user_id": NULLABLE_INTEGER,
    "body": STRING,
    "body_text": STRING,
    "structured_body": {"type": "null"},
    "incoming": BOOLEAN,
    "private": BOOLEAN,
    "source": {"type": "integer", "enum": [0, 2, 8, 9]},
    "category": {"type": "integer", "enum": [1, 2, 3, 4]},
    "support_email": NULLABLE,
    "from_email": NULLABLE,
    "to_emails": _EMAILS,
    "cc_emails": _EMAILS,
    "bcc_emails": _EMAILS,
    "email_failure_count": NULLABLE_INTEGER,
    "outgoing_failures": {
        "type": ["array", "null"],
        "items": object_of({"emails": _EMAILS, "reason": STRING}),
    },
    "thread_id": {"type": "null"},
    "thread_message_id": NULLABLE,
    "auto_response": BOOLEAN,
    "automation_id": {"type": "null"},
    "automation_type_id": {"type": "null"},
    "source_additional_info": {
        "type": ["object", "null"],
        "properties": {
            "delivery": {"type": "string", "enum": ["queued", "sent", "not_sent"]},
            "reason": NULLABLE,
        },
    },
    "last_edited_at": NULLABLE_MOMENT,
    "last_edited_user_id": NULLABLE_INTEGER,
    "attachments": array_of(refer("Attachment")),
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
CONVERSATION_KEYS = tuple(_CONVERSATION)
"""The key set of a conversation (contract 7)."""


def _new_ticket() -> Schema:
    schema = dict(tickets.NEW_TICKET.schema)
    return schema | {"anyOf": one_given(REQUESTED_BY, schema["properties"])}


def _hours() -> str:
    return "; ".join(
        f"{priority.label} {first} and {resolved}" for priority, (first, resolved) in SERVICE_HOURS.items()
    )


_ANSWERED_REPLY: dict[str, Any] = {
    "id": 1,
    "ticket_id": 1,
    "user_id": 1,
    "body": "<p>It is on its way: it comes tomorrow.</p>",
    "body_text": "It is on its way: it comes tomorrow.",
    "structured_body": None,
    "incoming": False,
    "private": False,
    "source": 0,
    "category": 3,
    "support_email": None,
    "from_email": None,
    "to_emails": ["rachel@example.com"],
    "cc_emails": [],
    "bcc_emails": [],
    "email_failure_count": None,
    "outgoing_failures": [
        {
            "emails": ["rachel@example.com"],
            "reason": "No mail server is set up (BACKSTORY_SMTP_HOST).",
        }
    ],
    "thread_id": None,
    "thread_message_id": "<5c1b8e0f9d3a47c2b6e4f1a09d8c7b65@backstory.invalid>",
    "auto_response": False,
    "automation_id": None,
    "automation_type_id": None,
    "source_additional_info": {
        "delivery": "not_sent",
        "reason": "No mail server is set up (BACKSTORY_SMTP_HOST).",
    },
    "last_edited_at": None,
    "last_edited_user_id": None,
    "attachments": [],
    "created_at": "2026-03-02T14:05:00Z",
    "updated_at": "2026-03-02T14:05:00Z",
    "replied_to": ["rachel@example.com"],
}
_UNCHANGEABLE = {405: "It is deleted or spam, and cannot be changed."}
_NEXT = "A page; the `Link` header leads to the next one and is absent on the last."

CHAPTER = Chapter(
    "Tickets",
    "What customers ask, and what is answered. Each change is told on the requester's timeline, by the source "
    "`backstory`.",
    {
        tickets.create_ticket: Described(
            "Open a ticket",
            "Names its requester by one of `requester_id`, `email`, `phone`, `twitter_id`, `unique_external_id`, "
            "`facebook_id`. Whoever is not known yet becomes a contact, by the rules of publishing; a `facebook_id` "
            "must be known, and nothing but a phone number needs a `name`. HTML is cleaned: scripts, styles, event "
            "handlers and addresses of other kinds are taken out. What is not told: status Open, priority Low, source "
            "Portal, the company of the requester, and due by the priority (in hours, for the first answer and the "
            f"resolution: {_hours()}). Files go along as a form.",
            201,
            "The ticket as it was opened.",
            "Ticket",
            (
                Example("A question", "POST", _TICKETS, _NEW),
                Example(
                    "With a file, as a form",
                    "POST",
                    _TICKETS,
                    options="-F subject='The receipt' -F email=rachel@example.com -F 'attachments[]=@receipt.txt' ",
                    before="echo 'Paid: 50.00 EUR' > receipt.txt",
                ),
            ),
            body="NewTicket",
            headers=("Location",),
        ),
        tickets.get_ticket: Described(
            "Read a ticket",
            f"`include` adds what belongs to it: `conversations` (the first {EMBEDDED_CONVERSATIONS}, oldest first), "
            "`requester`, `company`, `stats`. Deleted ones are answered with `deleted: true`.",
            200,
            "The ticket.",
            "Ticket",
            (Example("With its requester", "GET", f"{_TICKETS}/1?include=requester,stats"),),
            parameters=("include",),
        ),
        tickets.list_tickets: Described(
            "List tickets",
            f"Those that were created in the last {LISTED_DAYS} days, unless `updated_since` is given; no spam and no "
            "deleted ones, unless `filter` says so. All parameters can be combined.",
            200,
            _NEXT,
            "ListedTicket",
            (
                Example("What is new, or mine and open", "GET", f"{_TICKETS}?filter=new_and_my_open"),
                Example(
                    "What a contact has asked, with the text",
                    "GET",
                    f"{_TICKETS}?email=rachel@example.com&include=description",
                ),
            ),
            many=True,
            parameters=tickets.LIST_PARAMETERS,
            headers=("Link",),
        ),
        tickets.update_ticket: Described(
            "Change a ticket",
            "What is not sent stays. `tags` and `cc_emails` are replaced, `custom_fields` changed one by one, files "
            "added; `null` takes a value away. A change of the priority moves the times that it is due by, unless they "
            "were set.",
            200,
            "The ticket as it is now.",
            "Ticket",
            (Example("Take it, and wait for the carrier", "PUT", f"{_TICKETS}/1", _CHANGE),),
            body="TicketChange",
            refusals=_UNCHANGEABLE,
        ),
        conversations.create_reply: Described(
            "Reply",
            "Answers the requester. It goes out by mail where a mail server is set up, soon and as often as it takes; "
            "`source_additional_info` says what became of it: `queued`, `sent`, or `not_sent` and why.",
            201,
            "The reply, with `replied_to`: whom it goes to.",
            "Reply",
            (Example("An answer", "POST", f"{_TICKETS}/1/reply", _REPLY, answer=_ANSWERED_REPLY),),
            body="NewReply",
            headers=("Location",),
            refusals=_UNCHANGEABLE,
        ),
        conversations.create_note: Described(
            "Add a note",
            "For colleagues alone, unless `private` is false. `incoming` says that the requester said it: it is then "
            "theirs unless `user_id` is given, and unless it is private the ticket is open again.",
            201,
            "The note, with `notified_to`: whom it was sent to.",
            "Note",
            (Example("A private note", "POST", f"{_TICKETS}/1/notes", _NOTE),),
            body="NewNote",
            headers=("Location",),
            refusals=_UNCHANGEABLE,
        ),
        conversations.list_conversations: Described(
            "List conversations",
            "What was said about a ticket, oldest first.",
            200,
            _NEXT,
            "Conversation",
            (Example("What was said?", "GET", f"{_TICKETS}/1/conversations"),),
            many=True,
            parameters=("page", "per_page"),
            headers=("Link",),
        ),
        conversations.update_conversation: Described(
            "Change a note",
            "Notes only: a reply has left.",
            200,
            "The note as it is now.",
            "Conversation",
            (Example("Another text", "PUT", f"{_CONVERSATIONS}/$ID", _EDITED, before=_ONE_MORE_NOTE),),
            body="ConversationChange",
            refusals={405: "It is a reply, or its ticket is deleted or spam."},
        ),
        conversations.delete_conversation: Described(
            "Remove a conversation",
            "Removes a reply or a note, with its files. A mail that has not left yet is not sent.",
            204,
            "It is gone.",
            None,
            (Example("Remove it", "DELETE", f"{_CONVERSATIONS}/$ID", before=_ONE_MORE_NOTE),),
            refusals={405: "Its ticket is deleted or spam."},
        ),
        tickets.merge_tickets: Described(
            "Merge tickets",
            "The conversations of the tickets go to the primary one, and a note there says what they were about. They "
            "are closed, with a note that says where they went. `note_in_primary` and `note_in_secondary` say "
            "something else; `convert_recepients_to_cc` (it is spelt so) puts their requesters, and whoever was in "
            "copy, into the primary's copy.",
            204,
            "They are merged.",
            None,
            (Example("Two of the same", "PUT", f"{_TICKETS}/merge", _MERGE),),
            body="TicketMerge",
        ),
        tickets.delete_ticket: Described(
            "Delete a ticket",
            "It stays readable, with `deleted: true`, and can be restored.",
            204,
            "It is deleted.",
            None,
            (Example("Delete one", "DELETE", f"{_TICKETS}/$ID", before=_ONE_MORE),),
        ),
        tickets.update_tickets: Described(
            "Change many tickets",
            "The same `properties` for up to 1,000 tickets, one after another, behind the answer. Each one's change is "
            "as if it were made alone.",
            202,
            "It will be done; `href` is where to ask how far it is.",
            "JobPromise",
            (Example("Close two", "POST", f"{_TICKETS}/bulk_update", _BULK_UPDATE),),
            body="TicketBulkUpdate",
        ),
        tickets.delete_tickets: Described(
            "Delete many tickets",
            "Up to 1,000 tickets, one after another, behind the answer.",
            202,
            "It will be done; `href` is where to ask how far it is.",
            "JobPromise",
            (Example("Delete one", "POST", f"{_TICKETS}/bulk_delete", _BULK_DELETE),),
            body="TicketBulkDelete",
        ),
        jobs.get_job: Described(
            "How far a job is",
            "A job that was promised is done, also after a restart. `progress` counts up to `total`; `result` says "
            "what was done, and what could not be, and why.",
            200,
            "The job.",
            "Job",
            (Example("A job that was just begun", "GET", "/api/v2/jobs/$ID", before=_A_JOB),),
            ids={"type": "string"},
        ),
        tickets.restore_ticket: Described(
            "Restore a ticket",
            "Takes a deletion back.",
            204,
            "It is as it was.",
            None,
            (Example("Restore one", "PUT", f"{_TICKETS}/$ID/restore", before=_ONE_MORE),),
        ),
        tickets.list_satisfaction_ratings: Described(
            "Satisfaction ratings",
            "Nobody is asked for any: the list is there for programs that read it.",
            200,
            "Always an empty list.",
            "Nothing",
            (Example("None", "GET", f"{_TICKETS}/1/satisfaction_ratings"),),
            many=True,
            parameters=("page", "per_page"),
        ),
        tickets.list_time_entries: Described(
            "Time entries",
            "No time is measured: the list is there for programs that read it.",
            200,
            "Always an empty list.",
            "Nothing",
            (Example("None", "GET", f"{_TICKETS}/1/time_entries"),),
            many=True,
            parameters=("page", "per_page"),
        ),
        attachments.get_attachment: Described(
            "Read an attachment",
            "Take its address (`attachment_url`) from the record that it belongs to. It is signed and needs no key: "
            "whoever has it can read the file, for at least a day. Browsers are told to save it, never to show it.",
            200,
            "The file, with its own Content-Type.",
            None,
            (
                Example(
                    "The file of the second ticket",
                    "GET",
                    "/attachments/1?$SIGNED",
                    options="-s ",
                    before=f"""SIGNED=$(curl -su "$KEY:X" "{ADDRESS}{_TICKETS}/2" """
                    """| grep -o 'expires=[^"]*' | head -1)""",
                    answer="Paid: 50.00 EUR\n",
                    keyed=False,
                ),
            ),
            parameters=attachments.SIGNED,
            refusals={
                403: "The address is not complete, or not in force any more: read the record again for a new one.",
                404: "The file is not on the disk any more.",
            },
        ),
    },
    schemas={
        "NewTicket": as_json(_new_ticket()),
        "TicketChange": as_json(dict(tickets.TICKET_CHANGE.schema)),
        "NewReply": as_json(dict(conversations.REPLY.schema)),
        "NewNote": as_json(dict(conversations.NOTE.schema)),
        "ConversationChange": as_json(dict(conversations.CONVERSATION_CHANGE.schema)),
        "TicketMerge": dict(tickets.MERGE.schema),
        "Ticket": object_of({**_TICKET, **_EMBEDDED}, optional=_EMBEDDED),
        "ListedTicket": object_of({**_TICKET, **_EMBEDDED}, optional=(*_EMBEDDED, *DESCRIPTION_KEYS)),
        "TicketRequester": object_of(
            {"id": INTEGER, "name": STRING, "email": NULLABLE, "mobile": NULLABLE, "phone": NULLABLE}
        ),
        "TicketCompany": object_of({"id": INTEGER, "name": STRING}),
        "TicketStats": object_of(dict.fromkeys(_STATS, NULLABLE_MOMENT)),
        "Conversation": object_of(_CONVERSATION),
        "Reply": object_of({**_CONVERSATION, "replied_to": _EMAILS}),
        "Note": object_of({**_CONVERSATION, "notified_to": _EMAILS}),
        "Attachment": object_of(_ATTACHMENT),
        "Nothing": {"type": "object"},
        "TicketBulkUpdate": dict(tickets.BULK_UPDATE.schema),
        "TicketBulkDelete": dict(tickets.BULK_DELETE.schema),
        "JobPromise": object_of({"job_id": STRING, "href": {"type": "string", "format": "uri"}}),
        "Job": object_of(
            {
                "id": STRING,
                "kind": STRING,
                "status": {"type": "string", "enum": [each.value for each in JobStatus]},
                "progress": INTEGER,
                "total": NULLABLE_INTEGER,
                "result": {"type": ["object", "null"]},
                "created_at": MOMENT,
                "updated_at": MOMENT,
            }
        ),
    },
    shown=("Ticket", "Conversation", "Attachment", "Job"),
    bodies={
        "NewTicket": _NEW,
        "TicketChange": _CHANGE,
        "NewReply": _REPLY,
        "NewNote": _NOTE,
        "ConversationChange": _EDITED,
        "TicketMerge": _MERGE,
        "TicketBulkUpdate": _BULK_UPDATE,
        "TicketBulkDelete": _BULK_DELETE,
    },
    parameters={
        "page": Parameter("query", NUMBER_ID | {"default": 1}, "Which page, from 1."),
        "include": Parameter("query", TEXT, "What to add, comma separated."),
        "filter": Parameter(
            "query",
            {"type": "string", "enum": [view.value for view in tickets.API_VIEWS]},
            "`new_and_my_open`: open, and mine or nobody's. `watching`: what I watch.",
        ),
        "requester_id": Parameter("query", NUMBER_ID, "Of this contact."),
        "email": Parameter("query", TEXT, "Of the contact who has this email."),
        "unique_external_id": Parameter("query", TEXT, "Of the contact who has this external id."),
        "company_id": Parameter("query", NUMBER_ID, "Of this company."),
        "updated_since": Parameter(
            "query", TIME, f"Changed at this time or later, however old: {ACCEPTED_FORMS}."
        ),
        "order_by": Parameter(
            "query",
            {"type": "string", "enum": [order.value for order in Order], "default": "created_at"},
            "By what they are ordered.",
        ),
        "order_type": Parameter(
            "query", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}, "Which way."
        ),
        "expires": Parameter("query", NUMBER_ID, "Until when the address works, in seconds since 1970."),
        "signature": Parameter("query", TEXT, "That the address was given out here."),
    },
    fields={
        **{
            f"{schema}.{name}": text
            for schema in ("NewTicket", "TicketChange")
            for name, text in {
                "name": "The requester's name, where they are not known yet.",
                "requester_id": "The requester's id.",
                "email": "The requester's email, compared without case.",
                "phone": "The requester's number.",
                "twitter_id": "The requester's Twitter id.",
                "unique_external_id": "The requester's id in your main system.",
                "facebook_id": "The requester's Facebook id, which must be known.",
                "subject": "What it is about, in a line.",
                "description": "What was asked, as HTML.",
                "type": "What kind of question it is, such as `Incident`.",
                "status": ", ".join(f"{each.value} {each.label}" for each in Status) + ".",
                "priority": ", ".join(f"{each.value} {each.label}" for each in Priority) + ".",
                "source": ", ".join(f"{each.value} {each.label}" for each in TicketSource) + ".",
                "responder_id": "The agent who answers it.",
                "group_id": "The group that answers it.",
                "company_id": "The company that it is for; the requester's, unless it is told.",
                "product_id": "Kept and answered; there are no products here.",
                "email_config_id": "Kept and answered; there are no mailboxes here.",
                "due_by": "When it must be resolved.",
                "fr_due_by": "When it must be answered first; not after `due_by`.",
                "cc_emails": "Who gets a copy.",
                "tags": "Words to find it by.",
                "custom_fields": "Values of your own fields, by their names (`cf_…`).",
            }.items()
        },
        "NewReply.body": "What to answer, as HTML.",
        "NewReply.cc_emails": "Who gets a copy.",
        "NewReply.bcc_emails": "Who gets a copy that nobody sees.",
        "NewReply.from_email": "From which address: one of those that are set up; without it the usual one.",
        "NewReply.user_id": "The agent who answers; without it whose key it is.",
        "NewNote.body": "What to note, as HTML.",
        "NewNote.private": "Whether it is for colleagues alone; default true.",
        "NewNote.incoming": "Whether the requester said it; default false.",
        "NewNote.notify_emails": "Whom to send it to.",
        "NewNote.user_id": "Who noted it; without it whose key it is, or the requester where it is incoming.",
        "ConversationChange.body": "What it says now, as HTML.",
        "TicketMerge.primary_id": "The ticket that stays.",
        "TicketMerge.ticket_ids": "Those that are merged into it.",
        "TicketMerge.convert_recepients_to_cc": "Whether their requesters and copies get copies from now on.",
        "TicketMerge.note_in_primary": "What is noted on the one that stays: `body`, and `private` (default true).",
        "TicketMerge.note_in_secondary": "What is noted on those that are merged: the same.",
        "TicketBulkUpdate.bulk_action": "`ids` of tickets, and the `properties` to change, as for one ticket.",
        "TicketBulkDelete.bulk_action": "`ids` of tickets.",
        "Ticket.urgent": "Whether its priority is Urgent.",
        "Ticket.fr_escalated": "Whether nobody has answered it in time.",
        "Ticket.is_escalated": "Whether nobody has resolved it in time.",
        "Conversation.category": "1 from the requester, 2 a private note, 3 a reply, 4 a public note.",
        "Conversation.outgoing_failures": "Whom a mail did not reach, and why.",
        "Conversation.thread_message_id": "The Message-ID of its mail.",
        "Conversation.source_additional_info": "What became of its mail; null where none is to be sent.",
        "Attachment.attachment_url": "Where the file is, for a day and without a key.",
    },
)
