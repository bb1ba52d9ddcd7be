"""How the service is: health, readiness, metrics; and logs that say nothing about a person and no key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.http.test_publish import email, publish, unique
from tests.http.wire import ACTIVITIES, BATCH, RawConnection, Viewer
from tests.servers.engines import Maker
from tests.support import Installation, publish_request, wait_until


def metrics(server: Installation) -> dict[str, float]:
    text = httpx.get(f"{server.url}/metrics").text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_health_and_readiness(shared_server: Installation) -> None:
    assert httpx.get(f"{shared_server.url}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{shared_server.url}/readyz").json() == {"status": "ready"}


def test_the_metrics_count_what_happened(server: Installation) -> None:
    before = metrics(server)
    assert before["backstory_published_total"] == before["backstory_duplicates_total"] == 0
    with server.client() as api:
        request = publish_request(id=unique("evt"))
        first = publish(api, request)
        publish(api, request)
        publish(api, request | {"activity": request["activity"] | {"name": "Other"}})
        api.post(
            BATCH, json={"activities": [publish_request(), publish_request(), {}, publish_request(link=1)]}
        )
        api.post(ACTIVITIES, content=b"x", headers={"Content-Type": "application/json"})
        api.post(ACTIVITIES, json=publish_request(name="", actor={"type": ""}))
        viewers = [Viewer(server, first["contact_id"]) for _ in range(3)]
        wait_until(lambda: metrics(server)["backstory_live_viewers"] == 3, what="three viewers")
        after = metrics(server)
        for viewer in viewers:
            viewer.cut()
        wait_until(lambda: metrics(server)["backstory_live_viewers"] == 0, what="no viewer")
    with server.client(server.source_key) as source:
        source.post(ACTIVITIES, json=publish_request(source={"name": "stripe"}))
    assert after["backstory_published_total"] == 3
    assert after["backstory_duplicates_total"] == 2
    assert after["backstory_duplicates_differing_total"] == 1
    assert after['backstory_rejected_total{code="missing_field"}'] == 2
    assert after['backstory_rejected_total{code="datatype_mismatch"}'] == 1
    assert after['backstory_rejected_total{code="invalid_json"}'] == 1
    assert after['backstory_rejected_total{code="invalid_value"}'] == 2
    assert metrics(server)['backstory_rejected_total{code="access_denied"}'] == 1
    assert after["backstory_queue_depth"] == 0
    assert after["backstory_commit_size_sum"] == 5
    assert after["backstory_commit_size_count"] == 4
    assert 0 < after["backstory_commit_seconds_sum"] < 10
    wait_until(lambda: metrics(server)["backstory_index_lag_seconds"] == 0, what="no index lag")
    publishes = 'backstory_http_requests_total{method="POST",route="/api/v2/contact-activities",status="200"}'
    assert after[publishes] == 3


def test_metrics_grow_by_no_label_that_a_client_chooses(server: Installation) -> None:
    before = len(metrics(server))
    with server.client() as api:
        for n in range(20):
            api.get(f"/api/v2/{unique()}")
            api.get(f"{ACTIVITIES}/{unique()}")
            api.request(f"VERB{n}", ACTIVITIES)
    assert len(metrics(server)) - before <= 4, "the metrics themselves, and three kinds of refusal"


def test_metrics_can_be_bound_to_their_own_address(installation: Installation) -> None:
    installation.start(BACKSTORY_METRICS_ADDRESS="127.0.0.1:0")
    assert httpx.get(f"{installation.url}/metrics").status_code == 404
    lines = [json.loads(line) for line in installation.log_text().splitlines() if line.startswith("{")]
    (address,) = [line["metrics_address"] for line in lines if "metrics_address" in line]
    answer = httpx.get(f"{address}/metrics")
    assert answer.status_code == 200
    assert "backstory_published_total" in answer.text
    assert "X-Freshdesk-Api-Version" not in httpx.get(f"{address}/api/v2/contacts").headers


class TextInstallation(Installation):
    """One whose logs are for a person's eyes."""

    def _address(self, log: Path) -> str | None:
        found = re.search(r"http://[\d.:]+", re.sub(r"\x1b\[\d*m", "", log.read_text()))
        return found[0] if found else None


PERSONAL = ("rachel.zane@example.com", "Rachel", "Zane", "+442079460321", "Pearson Hardman", "secret-note")


@pytest.mark.parametrize("form", ["json", "text"])
def test_logs_have_the_request_id_and_nothing_about_anybody(
    make_installation: Maker, tmp_path: Path, request: pytest.FixtureRequest, form: str
) -> None:
    (tmp_path / form).mkdir()
    kind = TextInstallation if form == "text" else Installation
    server = make_installation(tmp_path / form, kind).start(
        BACKSTORY_LOG_FORMAT=form, BACKSTORY_LOG_LEVEL="debug", BACKSTORY_LOG_REQUESTS="all"
    )
    request.addfinalizer(server.kill)
    mail, name, _, phone, company, note = PERSONAL
    contact = {"email": mail, "name": f"{name} Zane", "phone": phone}
    body = publish_request(name=note, description=company, context={"who": mail}, contact=contact)
    with server.client() as api:
        published = api.post(ACTIVITIES, json=body, headers={"Idempotency-Key": note})
        assert published.status_code == 200
        api.post(ACTIVITIES, json=body | {mail: 1})
        api.post(ACTIVITIES, content=f'{{"{mail}"', headers={"Content-Type": "application/json"})
        api.get(ACTIVITIES, params={"q": f"{name} {phone}", "ref": mail, note: 1})
        api.get(f"/api/v2/{mail}/{server.admin_key}")
        api.get(f"{ACTIVITIES}/{mail}")
        api.post("/api/v2/contacts", json={"name": f"{name} Zane", "email": mail})
        # A fault of ours tells no values either.
        server.sql("DROP TABLE contact_phones")
        server.sql("DROP TABLE merge_suggestions")
        broken = api.post("/api/v2/contacts", json={"name": f"{name} Z", "email": f"x{mail}", "phone": phone})
        assert broken.status_code == 500
        assert broken.json()["code"] == "internal_error"
        failed = api.post(ACTIVITIES, json=publish_request(contact={"phone": phone, "email": f"y{mail}"}))
        assert failed.status_code == 500
        assert mail not in broken.text + failed.text
    httpx.get(f"{server.url}{ACTIVITIES}", auth=(f"{server.admin_key}x", mail))
    with RawConnection(server.url) as raw:
        raw.send(f"GET /{mail} {server.admin_key} nonsense\r\n\r\n".encode())
        raw.read_all()
    server.stop()
    text = server.log_text()
    assert published.headers["X-Request-Id"] in text
    assert broken.headers["X-Request-Id"] in text
    for secret in (*PERSONAL, server.admin_key, server.admin_key[3:], "correct horse"):
        assert secret not in text, f"{secret} in:\n{text}"


def test_logs_are_one_object_a_line(installation: Installation) -> None:
    server = installation.start(BACKSTORY_LOG_REQUESTS="all")
    with server.client() as api:
        published = api.post(ACTIVITIES, json=publish_request(contact={"email": email()}))
        refused = api.post(ACTIVITIES, json={})
    with RawConnection(server.url) as raw:  # what is no HTTP is told by the library that reads it
        raw.send(b"\x16\x03\x01 rachel@example.com\r\n\r\n")
        wait_until(lambda: "Invalid HTTP request" in server.log_text())
    server.stop()
    lines = [json.loads(line) for line in server.log_text().splitlines()]
    requests = {line["request_id"]: line for line in lines if line["event"] == "request"}
    line = requests[published.headers["X-Request-Id"]]
    assert (line["method"], line["route"], line["status"]) == ("POST", ACTIVITIES, 200)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", line["timestamp"])
    assert requests[refused.headers["X-Request-Id"]]["status"] == 400
    assert [line["logger"] for line in lines if "Invalid HTTP" in line["event"]] == ["uvicorn.error"]
    assert "rachel" not in server.log_text()


@pytest.mark.parametrize(("wanted", "expected"), [("none", []), ("faults", [400])])
def test_which_requests_are_logged(installation: Installation, wanted: str, expected: list[int]) -> None:
    server = installation.start(BACKSTORY_LOG_REQUESTS=wanted)
    with server.client() as api:
        api.post(ACTIVITIES, json=publish_request(contact={"email": email()}))
        api.post(ACTIVITIES, json={})
    server.stop()
    lines = [json.loads(line) for line in server.log_text().splitlines()]
    assert [line["status"] for line in lines if line["event"] == "request"] == expected


@pytest.mark.engine("sqlite")  # the others keep no file
def test_the_database_is_for_its_owner_alone(shared_server: Installation) -> None:
    files = list(Path(shared_server.directory).glob("backstory.db*"))
    assert files
    for file in files:
        assert file.stat().st_mode & 0o077 == 0, file
