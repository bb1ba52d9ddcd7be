"""What is kept of refused requests: every refusal of a publisher's, bounded, and never a key."""

from __future__ import annotations

import httpx

from tests.http.wire import ACTIVITIES
from tests.support import Installation, publish_request

REJECTED = "/api/v2/rejected-requests"


def newest(api: httpx.Client, request_id: str) -> dict[str, object]:
    (kept,) = [each for each in api.get(REJECTED).json() if each["request_id"] == request_id]
    return dict(kept)


def test_a_key_that_a_message_quotes_is_not_kept(shared_server: Installation) -> None:
    with shared_server.client() as api:
        answer = api.post(ACTIVITIES, json=publish_request(timestamp=shared_server.source_key))
        assert answer.status_code == 400
        kept = newest(api, answer.headers["X-Request-Id"])
        assert shared_server.source_key not in str(kept)
        assert "activity.timestamp" in str(kept["errors"])


def test_refusals_before_the_body_was_read_are_kept_too(shared_server: Installation) -> None:
    with shared_server.client() as api:
        answer = api.post(ACTIVITIES, content=b"name=x", headers={"Content-Type": "text/csv"})
        assert answer.status_code == 415
        kept = newest(api, answer.headers["X-Request-Id"])
        assert kept["status"] == 415
        assert "unsupported_media_type" in str(kept["errors"])


def test_ten_thousand_unknown_fields_are_counted_not_listed(shared_server: Installation) -> None:
    with shared_server.client() as api:
        request = publish_request(**{f"field{number}": 1 for number in range(10_000)})
        answer = api.post(ACTIVITIES, json=request)
        assert answer.status_code == 400
        assert len(answer.content) < 10_000
        assert "9,980 more" in answer.json()["errors"][-1]["message"]
        assert len(newest(api, answer.headers["X-Request-Id"])["errors"]) <= 20  # type: ignore[arg-type]
