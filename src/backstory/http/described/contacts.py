"""The people that activities belong to."""

from __future__ import annotations

from collections.abc import Iterable

from backstory.helpdesk.contacts import IDENTIFIED_BY
from backstory.http import contacts
from backstory.http.contacts import ERASE_PARAMETERS, LIST_PARAMETERS, TERM_PARAMETERS
from backstory.http.described.schema import (
    BOOLEAN,
    INTEGER,
    MOMENT,
    NULLABLE,
    NULLABLE_INTEGER,
    OBJECT,
    STRING,
    array_of,
    object_of,
    one_given,
)
from backstory.http.described.shared import TEXT, TIME
from backstory.http.described.told import NUMBER_ID, Chapter, Described, Example, Parameter, Schema
from backstory.http.documentation import ADDRESS
from backstory.http.message import JSON_TYPE
from backstory.model.contact import NOT_LISTED, State
from backstory.model.contact_form import CONTACT_CHANGE, NEW_CONTACT

_MONICAS_ID = (
    f"""ID=$(curl -su "$KEY:X" "{ADDRESS}/api/v2/contacts?email=monica@example.com" """
    """| sed -E 's/^.."id":([0-9]+).*/\\1/')"""
)
_NEW_ID = (
    f"""ID=$(curl -su "$KEY:X" "{ADDRESS}/api/v2/contacts" -H 'Content-Type: {JSON_TYPE}' """
    """-d '{"name": "Gunther", "email": "gunther@example.com"}' | sed -E 's/^."id":([0-9]+).*/\\1/')"""
)
_MONICA = {"name": "Monica Geller", "email": "monica@example.com", "phone": "+44 20 7946 0101"}


def _new_contact() -> Schema:
    schema = dict(NEW_CONTACT.schema)
    return schema | {"anyOf": one_given(IDENTIFIED_BY, schema["properties"])}


_CONTACT: dict[str, Schema] = {
    "id": INTEGER,
    "active": BOOLEAN,
    "name": STRING,
    "first_name": STRING,
    "view_all_tickets": BOOLEAN,
    "language": STRING,
    "company_id": NULLABLE_INTEGER,
    "other_companies": array_of(OBJECT),
    "other_emails": array_of(STRING),
    "tags": array_of(STRING),
    "custom_fields": OBJECT,
    "avatar": {"type": ["object", "null"]},
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "deleted": {"type": "boolean", "const": True},
}
CONTACT_KEYS = (
    "id active name first_name last_name email phone mobile twitter_id facebook_id unique_external_id address"
    " description job_title language time_zone company_id view_all_tickets other_companies other_emails"
    " social_handler contact_type tags custom_fields avatar csat_rating preferred_source created_at updated_at"
    " deleted"
).split()
"""The key set of a contact (contract 5)."""


def contact_properties(keys: Iterable[str]) -> dict[str, Schema]:
    """What a contact is answered with under these keys."""
    return {name: dict(_CONTACT.get(name, NULLABLE)) for name in keys}


def _contact(keys: Iterable[str]) -> Schema:
    return object_of(contact_properties(keys), optional=("deleted",))


def _notes(schema: str) -> dict[str, str]:
    return {f"{schema}.{name}": text for name, text in _WRITTEN.items()}


_WRITTEN = {
    "name": "What people call them.",
    "email": "Unique, compared without case.",
    "phone": "A number at which they can be called; may be shared.",
    "mobile": "As `phone`.",
    "twitter_id": "Unique.",
    "facebook_id": "Unique.",
    "unique_external_id": "Unique: your main system's id of the contact.",
    "other_emails": "Further emails: unique too, and found by too.",
    "address": "Where they live.",
    "description": "Free text.",
    "job_title": "What they do.",
    "language": "Such as `en`, the default.",
    "time_zone": "Such as `Europe/London`.",
    "company_id": "The company; without it, the one that has the email's domain.",
    "view_all_tickets": "Whether they see the tickets of everybody at their company.",
    "other_companies": "Further companies.",
    "tags": "Words to find them by.",
    "custom_fields": "Values of the fields that your installation has added (`cf_…`).",
}


CHAPTER = Chapter(
    "Contacts",
    "The people that activities belong to. Publishing creates them by itself; these calls are for the rest.",
    {
        contacts.create_contact: Described(
            "Create a contact",
            "Needs a name and at least one of `email`, `phone`, `mobile`, `twitter_id`, `unique_external_id`. Phone "
            "numbers may be shared; the other identifiers are unique. A form can carry an `avatar`: JPEG or PNG, at "
            "most 5 MiB.",
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
            "The keys are those of the Freshdesk API; those that Backstory does not fill are `null`. The number of a "
            "contact that was merged answers the one that stands for it.",
            200,
            "The contact; with `deleted: true` where it is deleted.",
            "Contact",
            (Example("The first contact", "GET", "/api/v2/contacts/2"),),
        ),
        contacts.list_contacts: Described(
            "List contacts",
            "By name. Without `state` those that are neither deleted nor blocked. All filters can be combined.",
            200,
            "A page; the `Link` header leads to the next one and is absent on the last.",
            "ListedContact",
            (
                Example("Whose email is this?", "GET", "/api/v2/contacts?email=monica@example.com"),
                Example(
                    "Who changed since the first of March?",
                    "GET",
                    "/api/v2/contacts?updated_since=2026-03-01",
                ),
            ),
            many=True,
            parameters=LIST_PARAMETERS,
            headers=("Link",),
        ),
        contacts.suggest_contacts: Described(
            "Complete a contact's name",
            "Contacts in whose names words begin with those of the term, without case and accents, by name; at most "
            "100.",
            200,
            "Ids and names.",
            "NamedContact",
            (
                Example(
                    "Who begins with gel?",
                    "GET",
                    "/api/v2/contacts/autocomplete?term=gel",
                    answer=[{"id": 4, "name": "Monica Geller"}],
                ),
            ),
            many=True,
            parameters=TERM_PARAMETERS,
        ),
        contacts.update_contact: Described(
            "Change a contact",
            "What is sent is changed, and `null` takes a value away. `other_emails`, `tags` and `other_companies` "
            "replace the lists that were there; `custom_fields` are changed one by one. An `email` that was among "
            "`other_emails` changes places with the first one.",
            200,
            "The contact as it is now.",
            "Contact",
            (
                Example(
                    "A second email, and a tag",
                    "PUT",
                    "/api/v2/contacts/$ID",
                    {"other_emails": ["monica@restaurant.example.com"], "tags": ["chef"]},
                    before=_MONICAS_ID,
                ),
            ),
            body="ContactChange",
            refusals={
                405: "It is deleted or blocked, or it is an agent.",
                409: "`duplicate_value`: another contact has this identifier; `additional_info.user_id` is its id.",
            },
        ),
        contacts.delete_contact: Described(
            "Delete a contact",
            "It is not listed any more, and can be restored. It still takes activities meanwhile.",
            204,
            "It is deleted.",
            None,
            (Example("Delete one", "DELETE", "/api/v2/contacts/$ID", before=_MONICAS_ID),),
            refusals={405: "It is an agent.", 409: "`inconsistent_state`: it was merged into another one."},
        ),
        contacts.erase_contact: Described(
            "Erase a contact",
            "With everything that it did and said: its activities, tickets, values and files, and the contacts that "
            "were merged into it. Its identifiers are free at once. It is not found any more when this is answered; of "
            "a contact with a long history the rest is removed from the disk in the background, and publishing goes "
            "on. There is no way back.",
            204,
            "It is gone.",
            None,
            (
                Example(
                    "Erase somebody",
                    "DELETE",
                    "/api/v2/contacts/$ID/hard_delete?force=true",
                    before=_NEW_ID,
                ),
            ),
            parameters=ERASE_PARAMETERS,
            refusals={
                400: "It is not deleted, and `force` was not said.",
                405: "It is an agent.",
                409: "`inconsistent_state`: it was merged into another one.",
            },
        ),
        contacts.restore_contact: Described(
            "Restore a contact",
            "Brings back one that is deleted or blocked.",
            204,
            "It is a contact as any other.",
            None,
            (
                Example(
                    "Restore it",
                    "PUT",
                    "/api/v2/contacts/$ID/restore",
                    before=_MONICAS_ID.replace("?", "?state=deleted&"),
                ),
            ),
        ),
        contacts.send_invite: Described(
            "Invite a contact",
            "For clients that call it. There is no portal to invite anybody to: it is noted in the audit log, and no "
            "mail goes out.",
            204,
            "It is noted.",
            None,
            (Example("Invite her", "PUT", "/api/v2/contacts/$ID/send_invite", before=_MONICAS_ID),),
            refusals={405: "It is deleted or blocked, or an agent.", 409: "It has no email."},
        ),
    },
    parameters={
        "email": Parameter("query", TEXT, "Has this email, as its first or another one."),
        "mobile": Parameter("query", TEXT, "Has this mobile number, however it is written."),
        "phone": Parameter("query", TEXT, "Has this phone number, however it is written."),
        "company_id": Parameter("query", NUMBER_ID, "Belongs to this company."),
        "unique_external_id": Parameter("query", TEXT, "Has exactly this external id."),
        "state": Parameter("query", {"type": "string", "enum": list(State)}, "Is in this state."),
        "force": Parameter("query", BOOLEAN, "Also where it is not deleted."),
        "term": Parameter("query", TEXT, "The beginning of one or several words; mandatory."),
        "updated_since": Parameter("query", TIME, "Changed at this time or later."),
        "_updated_since": Parameter("query", TIME, "The same, as some clients write it."),
    },
    schemas={
        "NewContact": _new_contact(),
        "ContactChange": dict(CONTACT_CHANGE.schema),
        "Contact": _contact(CONTACT_KEYS),
        "ListedContact": _contact([name for name in CONTACT_KEYS if name not in NOT_LISTED]),
        "NamedContact": object_of({"id": INTEGER, "name": STRING}),
    },
    shown=("Contact",),
    bodies={"NewContact": _MONICA, "ContactChange": {"job_title": "Chef", "tags": ["chef"]}},
    fields=_notes("NewContact")
    | _notes("ContactChange")
    | {
        "Contact.active": "Whether the contact is verified.",
        "Contact.other_emails": "Further emails: they find this contact like the first.",
        "Contact.deleted": "Only on deleted ones.",
    },
)
