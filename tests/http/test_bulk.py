"""Changes of many tickets, as jobs: promised, done, gone on with after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.test_tickets import TICKETS, events, faults, opened, read
from tests.http.wire import start_tuned
from tests.support import Installation, wait_until

JOB_KEYS = "id kind status progress total result created_at updated_at".split()


def bulk(client: httpx.Client, what: str, **action: Any) -> httpx.Response:
    return client.post(f"{TICKETS}/bulk_{what}", json={"bulk_action": action})


def finished(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The job of an answer, once it has ended."""
    assert answer.status_code == 202, answer.text
    assert set(answer.json()) == {"job_id", "href"}
    href = answer.json()["href"]
    assert href.endswith(f"/api/v2/jobs/{answer.json()['job_id']}")
    wait_until(lambda: client.get(href).json()["status"] in ("completed", "failed"), what="the job's end")
    return dict(client.get(href).json())


def test_many_tickets_are_changed(api: httpx.Client) -> None:
    tickets = [opened(api) for _ in range(3)]
    api.delete(f"{TICKETS}/{tickets[1]['id']}")
    ids = [ticket["id"] for ticket in tickets]
    job = finished(api, bulk(api, "update", ids=[*ids, 2**62], properties={"status": 5, "tags": ["bulk"]}))
    assert list(job) == JOB_KEYS
    assert (job["status"], job["progress"], job["total"]) == ("completed", 4, 4)
    assert job["result"]["succeeded"] == 2
    assert [each["id"] for each in job["result"]["failed"]] == [ids[1], 2**62]
    assert "no ticket" in job["result"]["failed"][1]["reason"]
    assert [read(api, ticket)["status"] for ticket in tickets] == [5, 2, 5]
    assert [each["name"] for each in events(api, tickets[0], 2)] == ["Ticket opened", "Ticket closed"]


def test_many_tickets_are_deleted(api: httpx.Client) -> None:
    tickets = [opened(api) for _ in range(3)]
    job = finished(api, bulk(api, "delete", ids=[ticket["id"] for ticket in tickets]))
    assert job["result"] == {"succeeded": 3, "failed": []}
    assert all(read(api, ticket)["deleted"] for ticket in tickets)


@pytest.mark.parametrize(
    ("what", "body", "expected"),
    [
        ("delete", {}, {"bulk_action": "missing_field"}),
        ("delete", {"bulk_action": {}}, {"bulk_action.ids": "missing_field"}),
        ("delete", {"bulk_action": {"ids": []}}, {"bulk_action.ids": "invalid_value"}),
        ("delete", {"bulk_action": {"ids": ["1"]}}, {"bulk_action.ids.0": "datatype_mismatch"}),
        ("update", {"bulk_action": {"ids": [1]}}, {"bulk_action.properties": "missing_field"}),
        ("update", {"bulk_action": {"ids": [1], "properties": {"status": "5", "email": "a@b.c"}}},
         {"bulk_action.properties.status": "datatype_mismatch", "bulk_action.properties.email": "invalid_field"}),
        ("update", {"bulk_action": {"ids": list(range(1, 1002)), "properties": {}}},
         {"bulk_action.ids": "invalid_value"}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    api: httpx.Client, what: str, body: dict[str, Any], expected: dict[str, str]
) -> None:
    assert faults(api.post(f"{TICKETS}/bulk_{what}", json=body)) == expected


def test_there_is_no_such_job(api: httpx.Client) -> None:
    assert api.get("/api/v2/jobs/nothing").status_code == 404


def test_a_job_is_gone_on_with_after_a_crash(installation: Installation, tmp_path: Path) -> None:
    """Each ticket is changed once, though the server was killed in the middle."""
    constants = {"helpdesk__jobs__LOOK_SECONDS": 0.05, "helpdesk__jobs__STALE_SECONDS": 0.2}
    installation.start()
    try:
        with installation.client() as client:
            tickets = [opened(client, email="one@tickets.example") for _ in range(100)]
            answer = bulk(client, "update", ids=[each["id"] for each in tickets], properties={"status": 4})
            path = f"/api/v2/jobs/{answer.json()['job_id']}"
            wait_until(lambda: client.get(path).json()["progress"] >= 3, what="some progress")
        installation.kill()
        start_tuned(installation, tmp_path, **constants)
        with installation.client() as client:
            wait_until(
                lambda: client.get(path).json()["status"] == "completed", what="the job's end", seconds=30
            )
            assert client.get(path).json()["result"] == {"succeeded": 100, "failed": []}
            assert {read(client, ticket)["status"] for ticket in tickets} == {4}
            wait_until(lambda: _resolved(client, tickets[0]["requester_id"]) == 100, what="the events")
    finally:
        installation.kill()


def _resolved(client: httpx.Client, contact_id: int) -> int:
    url, found = f"/api/v2/contacts/{contact_id}/activities?per_page=100", 0
    while url:
        answer = client.get(url)
        found += sum(each["name"] == "Ticket resolved" for each in answer.json())
        url = answer.links.get("next", {}).get("url", "")
    return found
