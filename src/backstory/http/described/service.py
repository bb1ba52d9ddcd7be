"""Alive, ready, measured, documented."""

from __future__ import annotations

from backstory.http import docs, service
from backstory.http.described.schema import object_of
from backstory.http.described.told import Chapter, Described, Example

CHAPTER = Chapter(
    "Service",
    "For whoever runs it. None of these needs a key.",
    {
        docs.read_page: Described(
            "This page",
            "This page. It needs no network and no script.",
            200,
            "The page.",
            None,
            (
                Example(
                    "Is it there?",
                    "GET",
                    "/api/docs",
                    options="-so /dev/null -w '%{http_code}\\n' ",
                    keyed=False,
                ),
            ),
        ),
        docs.read_style: Described(
            "This page's style sheet",
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
            "The same as OpenAPI 3.1, for programs: generate a client from it, or test against it.",
            200,
            "The document.",
            "Document",
            (Example("Keep it in a file", "GET", "/openapi.json", options="-so openapi.json ", keyed=False),),
        ),
        service.healthz: Described(
            "Health",
            "Answers as long as the process lives: restart it when this fails.",
            200,
            "It lives.",
            "Health",
            (Example("Does it live?", "GET", "/healthz", keyed=False, answer={"status": "alive"}),),
        ),
        service.readyz: Described(
            "Readiness",
            "Answers 200 once it can publish and read, and 503 while it cannot.",
            200,
            "It can publish and read.",
            "Health",
            (Example("Can it publish?", "GET", "/readyz", keyed=False, answer={"status": "ready"}),),
            refusals={503: "It cannot publish or read now."},
        ),
        service.metrics: Described(
            "Metrics",
            "In the text format of Prometheus; docs/operations.md lists them. `BACKSTORY_METRICS_ADDRESS` "
            "moves them away "
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
    },
    schemas={
        "Health": object_of({"status": {"type": "string", "enum": ["alive", "ready"]}}),
        "Document": {"type": "object", "description": "An OpenAPI 3.1 document."},
    },
)
