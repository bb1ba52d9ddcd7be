"""What a crash may not take: every activity that was answered 200 (contract 1.1)."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from tests.faults.load import Load, check_all_there, check_sound
from tests.http.test_publish import email, publish
from tests.http.wire import find
from tests.support import Installation, publish_request, wait_until

KILLS = 20


@pytest.mark.slow
def test_twenty_kills_under_load(installation: Installation) -> None:
    """kill -9 at random moments; the senders send again what got no answer, as they must."""
    chance = random.Random(20240501)
    answered: dict[str, str] = {}
    unanswered: list[str] = []
    load: Load | None = None
    for round_ in range(KILLS):
        server = installation.start()
        with server.client(server.source_key) as client:
            for event in unanswered:
                answered[event] = publish(client, publish_request(id=event))["id"]
        load = Load(server, f"r{round_}", replay=True)
        load.wait_for(10)
        time.sleep(chance.uniform(0, 0.3))  # the moment of the crash is what varies
        server.kill()
        load.join()
        assert set(load.statuses) == {200}
        answered |= load.answered
        unanswered = load.cut_off
    assert load is not None
    load.answered = answered
    installation.start().stop()
    check_sound(installation.database)
    check_all_there(load, installation.database)
    assert len(answered) > KILLS * 10


def test_what_was_not_indexed_is_found_after_a_crash(installation: Installation) -> None:
    server = installation.start()
    load = Load(server, "x")
    load.wait_for(200)
    server.kill()
    load.join()
    with installation.start().client() as api:
        for event in (min(load.answered), max(load.answered)):
            found = wait_until(partial(find, api, ref=event))
            assert found[0]["id"] == load.answered[event]


def test_each_publish_is_synced_to_the_disk(installation: Installation) -> None:
    """Counted from outside the process: without a sync a crash of the machine would take what was answered."""
    strace = shutil.which("strace")
    if strace is None:
        assert os.environ.get("CI") != "true", "strace is needed: apt install strace"
        pytest.skip("strace is not installed")
    trace = installation.directory / "trace"
    server = installation.start(strace, "-f", "-y", "-e", "trace=fdatasync,fsync", "-o", str(trace))
    publishes = 40
    with server.client() as api:
        publish(api, publish_request(contact={"email": email()}))
        before = _syncs(trace)
        for _ in range(publishes):
            publish(api, publish_request(contact={"email": email()}))
        assert _syncs(trace) - before >= publishes


def _syncs(trace: Path) -> int:
    """How many syncs of the database have come back."""
    done = re.compile(r"f(data)?sync\(\d+<[^>]*backstory\.db[^>]*>\)? *(= 0|<unfinished)")
    return sum(bool(done.search(line)) for line in trace.read_text().splitlines())
