"""The people that activities belong to."""

from __future__ import annotations

from backstory.http import contacts
from backstory.http.contacts import IDENTIFIED_BY, NEW_CONTACT
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
from backstory.http.described.told import Chapter, Described, Example, Schema

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


def _contact() -> Schema:
    return object_of(
        {name: dict(_CONTACT.get(name, NULLABLE)) for name in CONTACT_KEYS}, optional=("deleted",)
    )


CHAPTER = Chapter(
    "Contacts",
    "The people that activities belong to. Publishing creates them by itself; these calls are for the rest.",
    {
        contacts.create_contact: Described(
            "Create a contact",
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
            "The keys are those of the Freshdesk API; those that Backstory does not fill yet are `null` or empty.",
            200,
            "The contact.",
            "Contact",
            (Example("The first contact", "GET", "/api/v2/contacts/2"),),
        ),
    },
    schemas={"NewContact": _new_contact(), "Contact": _contact()},
    shown=("Contact",),
    bodies={"NewContact": _MONICA},
    fields={
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
    },
)
