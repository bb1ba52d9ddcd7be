"""Contacts that are one person."""

from __future__ import annotations

import json
from typing import Any

from backstory.http import merges
from backstory.http.described.schema import (
    INTEGER,
    MOMENT,
    NULLABLE,
    NULLABLE_INTEGER,
    NULLABLE_MOMENT,
    STRING,
    array_of,
    object_of,
)
from backstory.http.described.told import Chapter, Described, Example
from backstory.http.documentation import ADDRESS
from backstory.http.lists import PAGED
from backstory.http.merges import MERGE_REQUEST
from backstory.http.message import JSON_TYPE

_MERGE = {"primary_contact_id": 2, "secondary_contact_ids": [3]}
_MERGED = {
    "id": 1,
    "primary_contact_id": 2,
    "secondary_contact_id": 3,
    "merged_at": "2026-03-02T14:00:00Z",
    "merged_by": 1,
    "undone_at": None,
    "undone_by": None,
}


def _publish(contact: dict[str, Any]) -> str:
    """A line of shell that publishes something of a contact, and says nothing."""
    activity = {"name": "Called", "actor": {"type": "shopper"}, "source": {"name": "phone"}}
    body = json.dumps({"activity": activity, "contact": contact})
    return (
        f"""curl -su "$KEY:X" "{ADDRESS}/api/v2/contact-activities" -H 'Content-Type: {JSON_TYPE}' """
        f"""-d '{body}' >/dev/null"""
    )


_ONE_NUMBER = _publish({"email": "rachel@example.com", "phone": "+44 20 7946 0018"})
_MONICAS_CALL = _publish({"email": "monica@example.com", "phone": "+44 20 7946 0018"})
_CONFLICT = "`inconsistent_state`: one of them was merged away, is deleted, blocked or an agent, or merged with itself."

CHAPTER = Chapter(
    "Merging",
    "Contacts that turn out to be one person. A merge moves nothing: one contact stands for all from then on, old ids "
    "and identifiers lead to it, and undoing gives back what was.",
    {
        merges.merge_contacts: Described(
            "Merge contacts",
            "The primary stands for the secondaries from now on: it answers their activities, tickets and emails, and "
            "what comes later under their identifiers or ids. What it lacks it takes over from them, tags and "
            "companies are joined, and `contact` says which values it gets where both have one. It takes the same time "
            "for ten activities and for ten million. A repeat of the same request changes nothing.",
            204,
            "They are one.",
            None,
            (Example("Two are one", "POST", "/api/v2/contacts/merge", _MERGE),),
            body="MergeRequest",
            refusals={409: _CONFLICT},
        ),
        merges.list_merges: Described(
            "List a contact's merges",
            "Those that it had a part in, undone ones too, newest first.",
            200,
            "A page; the `Link` header leads to the next one and is absent on the last.",
            "Merge",
            (Example("Who is part of this contact?", "GET", "/api/v2/contacts/2/merges", answer=[_MERGED]),),
            many=True,
            parameters=PAGED,
            headers=("Link",),
        ),
        merges.undo_merge: Described(
            "Undo a merge",
            "Both contacts are as they were. What arrived since is with whom its identifier belongs to; values that "
            "were edited since stay with the primary. The two are not suggested again for the same reasons.",
            204,
            "They are two again.",
            None,
            (Example("It was a mistake", "POST", "/api/v2/contacts/merges/1/undo", options="-X POST "),),
            refusals={409: "`inconsistent_state`: it was undone before."},
        ),
        merges.list_suggestions: Described(
            "List merge suggestions",
            "Contacts who may be the same person, because one of them was sent with an identifier of the other: "
            "`reasons` are the kinds of identifier. The oldest suggestion comes first.",
            200,
            "Who it may be.",
            "MergeSuggestion",
            (
                Example(
                    "Somebody with her email calls from somebody else's number",
                    "GET",
                    "/api/v2/contacts/2/merge_suggestions",
                    before=_ONE_NUMBER,
                    answer=[
                        {
                            "contact_id": 3,
                            "name": "+44 20 7946 0018",
                            "email": None,
                            "phone": "+44 20 7946 0018",
                            "mobile": None,
                            "reasons": ["phone"],
                            "created_at": "2026-03-02T14:00:00Z",
                        }
                    ],
                ),
            ),
            many=True,
        ),
        merges.dismiss_suggestion: Described(
            "Dismiss a merge suggestion",
            "They are different people. For the same reasons they are not suggested again.",
            204,
            "It is not suggested any more.",
            None,
            (
                Example(
                    "Somebody else",
                    "POST",
                    "/api/v2/contacts/2/merge_suggestions/3/dismiss",
                    options="-X POST ",
                    before=_ONE_NUMBER,
                ),
            ),
        ),
        merges.accept_suggestion: Described(
            "Accept a merge suggestion",
            "Merges the other contact into this one.",
            204,
            "They are one.",
            None,
            (
                Example(
                    "The same person",
                    "POST",
                    "/api/v2/contacts/4/merge_suggestions/3/accept",
                    options="-X POST ",
                    before=_MONICAS_CALL,
                ),
            ),
            refusals={409: _CONFLICT},
        ),
    },
    schemas={
        "MergeRequest": dict(MERGE_REQUEST.schema),
        "Merge": object_of(
            {
                "id": INTEGER,
                "primary_contact_id": INTEGER,
                "secondary_contact_id": INTEGER,
                "merged_at": MOMENT,
                "merged_by": NULLABLE_INTEGER,
                "undone_at": NULLABLE_MOMENT,
                "undone_by": NULLABLE_INTEGER,
            }
        ),
        "MergeSuggestion": object_of(
            {
                "contact_id": INTEGER,
                "name": STRING,
                "email": NULLABLE,
                "phone": NULLABLE,
                "mobile": NULLABLE,
                "reasons": array_of(STRING),
                "created_at": MOMENT,
            }
        ),
    },
    shown=("Merge", "MergeSuggestion"),
    bodies={"MergeRequest": _MERGE},
    fields={
        "MergeRequest.primary_contact_id": "The contact that is kept.",
        "MergeRequest.secondary_contact_ids": "Those that it stands for from then on.",
        "MergeRequest.contact": "Values for the contact that is kept, as in a change of it; `company_ids` are its "
        "companies, the first one first.",
        "Merge.merged_by": "The agent's id.",
    },
)
