"""The fields that records have, and those that an installation adds."""

from __future__ import annotations

from backstory.http import fields
from backstory.http.described.schema import BOOLEAN, INTEGER, MOMENT, NULLABLE, STRING, array_of, object_of
from backstory.http.described.shared import TEXT
from backstory.http.described.told import Chapter, Described, Example, Parameter, Schema
from backstory.http.fields import FOR_CUSTOMERS, NEW_FIELD, TICKET_PARAMETERS
from backstory.http.lists import PAGED
from backstory.model.custom_field import FieldType

_SIZE = {"label": "Shoe size", "type": "custom_number"}
_COMMON: dict[str, Schema] = {
    "id": INTEGER,
    "name": STRING,
    "label": STRING,
    "position": INTEGER,
    "type": STRING,
    "default": BOOLEAN,
    "required_for_agents": BOOLEAN,
    "choices": array_of(STRING),
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
_FOR_CUSTOMERS: dict[str, Schema] = {
    "label_for_customers": STRING,
    "customers_can_edit": BOOLEAN,
    "required_for_customers": BOOLEAN,
}
_CONTACT = _COMMON | _FOR_CUSTOMERS | {"editable_in_signup": BOOLEAN, "displayed_for_customers": BOOLEAN}
_TICKET = {
    **_COMMON,
    **_FOR_CUSTOMERS,
    "description": NULLABLE,
    "required_for_closure": BOOLEAN,
    "displayed_to_customers": BOOLEAN,
    "choices": {"type": ["array", "object"], "items": {}},
}
_TAKEN = {409: "`duplicate_value`: there is a field of this name."}
_TEXT = "Their names begin with `cf_` and are made from their labels."


def _list(what: str, answer: str, path: str, parameters: tuple[str, ...]) -> Described:
    return Described(
        f"List the fields of {what}",
        "Those that all have (`default`), and those that were added, all at once unless a page is asked for.",
        200,
        "The fields, in their order.",
        answer,
        (Example(f"The fields of {what}", "GET", f"/api/v2/{path}"),),
        many=True,
        parameters=parameters,
        headers=("Link",),
    )


def _create(what: str, answer: str, path: str) -> Described:
    return Described(
        f"Add a field to {what}",
        f"{_TEXT} Values are checked by the field's type, and can be searched.",
        201,
        "The field.",
        answer,
        (Example("A new field", "POST", f"/api/v2/{path}", _SIZE),),
        body="NewField",
        headers=("Location",),
        refusals=_TAKEN,
    )


CHAPTER = Chapter(
    "Fields",
    f"What contacts, companies and tickets have beside what all have. {_TEXT}",
    {
        fields.list_ticket_fields: _list("tickets", "TicketField", "ticket_fields", TICKET_PARAMETERS),
        fields.create_ticket_field: _create("tickets", "TicketField", "ticket_fields"),
        fields.list_contact_fields: _list("contacts", "ContactField", "contact_fields", PAGED),
        fields.create_contact_field: _create("contacts", "ContactField", "contact_fields"),
        fields.list_company_fields: _list("companies", "CompanyField", "company_fields", PAGED),
        fields.create_company_field: _create("companies", "CompanyField", "company_fields"),
    },
    schemas={
        "NewField": dict(NEW_FIELD.schema),
        "TicketField": object_of(_TICKET),
        "ContactField": object_of(_CONTACT),
        "CompanyField": object_of(_COMMON),
    },
    shown=("TicketField",),
    bodies={"NewField": _SIZE},
    parameters={"type": Parameter("query", TEXT, "Only fields of this type.")},
    fields={
        "NewField.label": "What people call it; unique by the name that is made from it.",
        "NewField.type": f"What it holds: {', '.join(f'`{kind.value}`' for kind in FieldType)}.",
        "NewField.required_for_agents": "Whether it must be given; publishing an activity never needs it.",
        **{
            f"NewField.{name}": "Taken and not kept: customers have no portal here." for name in FOR_CUSTOMERS
        },
        "NewField.choices": "What a dropdown offers: texts, or objects with a `value`.",
    },
)
