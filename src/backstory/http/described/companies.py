"""The companies that contacts belong to."""

from __future__ import annotations

from backstory.http import companies
from backstory.http.companies import LIST_PARAMETERS, NAME_PARAMETERS
from backstory.http.described.schema import INTEGER, MOMENT, NULLABLE, OBJECT, STRING, array_of, object_of
from backstory.http.described.shared import TEXT, TIME
from backstory.http.described.told import Chapter, Described, Example, Parameter, Schema
from backstory.http.documentation import ADDRESS
from backstory.model.company_form import COMPANY_CHANGE, NEW_COMPANY

_ACME = {"name": "Central Perk", "domains": ["centralperk.example.com"], "industry": "Coffee"}
_ACMES_ID = (
    f"""ID=$(curl -su "$KEY:X" "{ADDRESS}/api/v2/companies/autocomplete?name=central" """
    """| sed -E 's/.*"id":([0-9]+).*/\\1/')"""
)
_NULLABLE_MOMENT: Schema = {"type": ["string", "null"], "format": "date-time"}
_COMPANY: dict[str, Schema] = {
    "id": INTEGER,
    "name": STRING,
    "description": NULLABLE,
    "note": NULLABLE,
    "domains": array_of(STRING),
    "health_score": NULLABLE,
    "account_tier": NULLABLE,
    "renewal_date": _NULLABLE_MOMENT,
    "industry": NULLABLE,
    "custom_fields": OBJECT,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
_TAKEN = {409: "`duplicate_value`: another company has the name or a domain."}
_WRITTEN = {
    "name": "Unique, compared without case.",
    "description": "Free text.",
    "note": "Free text.",
    "domains": "Whoever has an email at one of these belongs to the company; unique.",
    "health_score": "How things go with them.",
    "account_tier": "What they pay for.",
    "renewal_date": "A day, `YYYY-MM-DD`.",
    "industry": "What they do.",
    "custom_fields": "Values of the fields that your installation has added (`cf_…`).",
}

CHAPTER = Chapter(
    "Companies",
    "The companies that contacts belong to. A contact's email domain finds its company.",
    {
        companies.create_company: Described(
            "Create a company",
            "Contacts that belong to none and have an email at one of its `domains` belong to it from then on, and so "
            "do those that come later.",
            201,
            "The company as it was created.",
            "Company",
            (Example("A new company", "POST", "/api/v2/companies", _ACME),),
            body="NewCompany",
            headers=("Location",),
            refusals=_TAKEN,
        ),
        companies.list_companies: Described(
            "List companies",
            "By name.",
            200,
            "A page; the `Link` header leads to the next one and is absent on the last.",
            "Company",
            (Example("The first ten", "GET", "/api/v2/companies?per_page=10"),),
            many=True,
            parameters=LIST_PARAMETERS,
            headers=("Link",),
        ),
        companies.suggest_companies: Described(
            "Complete a company's name",
            "Companies in whose names words begin with those of `name`, by name; at most 100.",
            200,
            "Ids and names.",
            "NamedCompanies",
            (
                Example(
                    "Which begins with cent?",
                    "GET",
                    "/api/v2/companies/autocomplete?name=cent",
                    answer={"companies": [{"id": 1, "name": "Central Perk"}]},
                ),
            ),
            parameters=NAME_PARAMETERS,
        ),
        companies.get_company: Described(
            "Read a company",
            "One company.",
            200,
            "The company.",
            "Company",
            (Example("Found by its name, read by its id", "GET", "/api/v2/companies/$ID", before=_ACMES_ID),),
        ),
        companies.update_company: Described(
            "Change a company",
            "What is sent is changed, and `null` takes a value away. `domains` replace those that were there; "
            "`custom_fields` are changed one by one. Contacts that belong to it stay.",
            200,
            "The company as it is now.",
            "Company",
            (Example("A note", "PUT", "/api/v2/companies/$ID", {"note": "Big cups"}, before=_ACMES_ID),),
            body="CompanyChange",
            refusals=_TAKEN,
        ),
        companies.delete_company: Described(
            "Delete a company",
            "Its contacts and tickets stay, and belong to no company.",
            204,
            "It is gone.",
            None,
            (Example("Delete it", "DELETE", "/api/v2/companies/$ID", before=_ACMES_ID),),
        ),
    },
    schemas={
        "NewCompany": dict(NEW_COMPANY.schema),
        "CompanyChange": dict(COMPANY_CHANGE.schema),
        "Company": object_of(_COMPANY),
        "NamedCompanies": object_of({"companies": array_of(object_of({"id": INTEGER, "name": STRING}))}),
    },
    shown=("Company",),
    bodies={"NewCompany": _ACME, "CompanyChange": {"note": "Big cups"}},
    parameters={
        "name": Parameter("query", TEXT, "The beginning of one or several words; mandatory."),
        "updated_since": Parameter("query", TIME, "Changed at this time or later."),
        "_updated_since": Parameter("query", TIME, "The same, as some clients write it."),
    },
    fields={
        f"{schema}.{name}": text
        for schema in ("NewCompany", "CompanyChange")
        for name, text in _WRITTEN.items()
    },
)
