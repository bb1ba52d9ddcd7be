"""Requests a minute, by key: told in the headers, refused with 429, and off unless asked for."""

from __future__ import annotations

import pytest

from backstory.errors import RateLimitExceeded
from backstory.http import limits
from backstory.http.limits import RateLimits
from tests.support import Installation

ME = "/api/v2/agents/me"


def test_a_key_is_stopped_at_its_limit_and_others_are_not(installation: Installation) -> None:
    server = installation.start(BACKSTORY_RATE_LIMIT="3")
    with server.client() as admin, server.client(server.agent_key) as agent:
        for left in (2, 1, 0):
            answer = admin.get(ME)
            assert answer.status_code == 200
            headers = answer.headers
            assert (headers["X-RateLimit-Total"], headers["X-RateLimit-Remaining"]) == ("3", str(left))
            assert headers["X-RateLimit-Used-CurrentRequest"] == "1"
        refused = admin.get(ME)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["X-RateLimit-Remaining"] == "0"
        assert admin.get("/api/v2/nothing").status_code == 429
        assert admin.get("/healthz").status_code == 200
        assert agent.get(ME).status_code == 200


def test_without_a_limit_the_numbers_are_large(shared_server: Installation) -> None:
    with shared_server.client() as client:
        for _ in range(2):
            headers = client.get(ME).headers
            assert int(headers["X-RateLimit-Total"]) == limits.UNLIMITED
            assert int(headers["X-RateLimit-Remaining"]) > 0


def test_a_minute_later_there_are_as_many_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WINDOW_SECONDS", 0)
    counted = RateLimits(1)
    for _ in range(3):
        allowance = counted.take(1)
        assert allowance is not None
        assert allowance.remaining == 0


def test_the_keys_that_are_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 2)
    counted = RateLimits(1)
    for key in (1, 2, 3):
        counted.take(key)
    counted.take(1)
    with pytest.raises(RateLimitExceeded):
        counted.take(3)
