"""Schemathesis against the running server, from its own /openapi.json: no 5xx, and every answer as documented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support import Installation

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
BATCH, NDJSON = "/api/v2/contact-activities/batch", "application/x-ndjson"
STREAM = "/api/v2/contacts/{id}/activities/stream"


@pytest.mark.timeout(1_000)  # some 6,000 requests
def test_every_answer_is_as_documented(server: Installation) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["paths"], "the documentation lists the calls"
    with server.client() as api:
        api.post("/api/v2/contacts", json={"name": "Number One", "email": "one@example.com"})
        ticket = api.post("/api/v2/tickets", json={"email": "one@example.com"}).json()["id"]
        api.post(f"/api/v2/tickets/{ticket}/notes", json={"body": "Odd"})
        api.post("/api/v2/companies", json={"name": "Central Perk"})
        api.post("/api/v2/groups", json={"name": "Second line"})
    # A stream has no end, so a client that reads whole answers cannot try it; test_stream.py does.
    document["paths"].pop(STREAM, None)
    # Schemathesis writes no NDJSON; test_batch.py does.
    document["paths"][BATCH]["post"]["requestBody"]["content"].pop(NDJSON)
    file = Path(server.directory) / "openapi.json"
    file.write_text(json.dumps(document))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(file)),
            *("--url", server.url, "--auth", f"{server.admin_key}:X", "--checks", CHECKS),
            *(
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                "6",
                "--seed",
                "20240501",
            ),
            *("--generation-deterministic", "--no-color", "--max-failures", "10", "--request-timeout", "60"),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=server.directory,
        env={**os.environ, "COLUMNS": "160", "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
