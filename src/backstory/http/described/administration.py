"""What was refused, and who did what."""

from __future__ import annotations

from backstory.http import admin
from backstory.http.admin import LIST_PARAMETERS
from backstory.http.described.schema import NULLABLE, STRING, array_of, listed, object_of, refer
from backstory.http.described.told import Chapter, Described, Example
from backstory.model.access import AuditEntry, Rejection

CHAPTER = Chapter(
    "Administration",
    "For admins: what was refused, and who did what.",
    {
        admin.list_rejected: Described(
            "Rejected requests",
            "Publish requests and batch items that were refused, newest first: when, from which key and "
            "source, why, and "
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
            "Who created, changed, deleted, exported, issued or revoked what, when and from where, newest "
            "first. It holds "
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
                            "target": "activity:019cae8a-1f40-7000-9c5e-2b1f0d6a7e43",
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
    },
    schemas={
        "RejectedRequest": listed(Rejection, {"errors": array_of(refer("RejectedFault"))}),
        "RejectedFault": object_of({"field": NULLABLE, "code": STRING, "message": STRING}),
        "AuditEntry": listed(AuditEntry),
    },
    shown=("RejectedRequest", "AuditEntry"),
    fields={
        "RejectedRequest.key_id": "The key it came with (`backstory keys list`).",
        "RejectedRequest.body": "The first 2,000 characters.",
        "AuditEntry.actor": "`agent:ID`, `key:ID`, or `os:USER` on the command line.",
        "AuditEntry.origin": "The caller's address, or the command line.",
    },
)
