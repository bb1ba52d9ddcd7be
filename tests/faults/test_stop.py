"""Stopping, and starting twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.faults.load import Load, check_all_there, check_sound, stored
from tests.http.wire import RawConnection
from tests.support import Installation, publish_request, wait_until

STOP_SECONDS = 10
"""A stop takes one, where no request is slow."""


def serve(
    installation: Installation, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`backstory serve` where it is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "backstory", "serve", "--port", "0", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=installation.environment(**environment),
        cwd=installation.directory,
    )


def test_sigterm_under_load_answers_what_it_took(server: Installation) -> None:
    """Each of 32 publishers has its 200, a 503, or a connection that ends; and none waits for that."""
    load = Load(server, "x", threads=32)
    load.wait_for(200)
    process = server.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert process.wait(timeout=30) == 0
    assert time.monotonic() - started < STOP_SECONDS
    assert not Path(f"{server.database}-wal").exists(), "the last checkpoint was made"
    load.join()
    assert set(load.statuses) <= {200, 503}
    check_sound(server.database)
    check_all_there(load, server.database)
    assert set(stored(server.database)) == set(load.answered), "something was stored that nobody was told of"


def test_a_request_under_way_is_finished(server: Installation) -> None:
    body = json.dumps(publish_request(id="late")).encode()
    process = server.process
    assert process is not None
    with RawConnection(server.url) as connection:
        connection.head(
            "POST",
            "/api/v2/contact-activities",
            server.source_key,
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        connection.send(body[:10])
        wait_until(lambda: httpx.get(f"{server.url}/healthz").status_code == 200)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: refused(server.url), what="new connections being refused")
        connection.send(body[10:])
        assert connection.answer().status == 200
    assert process.wait(timeout=30) == 0
    assert set(stored(server.database)) == {"late"}


def refused(url: str) -> bool:
    parts = urlsplit(url)
    with closing(socket.socket()) as probe:
        return probe.connect_ex((parts.hostname, parts.port)) != 0


def test_sigint_is_a_stop_too(server: Installation) -> None:
    process = server.process
    assert process is not None
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert "Traceback" not in server.log_text()
    assert "Aborted" not in server.log_text()


def test_a_second_server_is_refused(server: Installation) -> None:
    done = serve(server)
    assert done.returncode == 1
    assert "another server is using" in done.stderr
    assert str(server.database) in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
    with server.client() as api:
        assert api.post("/api/v2/contact-activities", json=publish_request()).status_code == 200


def test_a_server_that_was_killed_leaves_no_lock(installation: Installation) -> None:
    installation.start().kill()
    assert installation.start().url


def test_a_port_in_use_is_named(server: Installation, tmp_path: Path) -> None:
    port = str(urlsplit(server.url).port)
    done = serve(server, "--port", port, "--database", f"sqlite:///{tmp_path}/other.db")
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert "BACKSTORY_PORT" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "other.db").exists(), "nothing was opened or made"


def test_a_host_that_there_is_not_is_named(installation: Installation) -> None:
    done = serve(installation, "--host", "nobody.invalid")
    assert done.returncode == 1
    assert "nobody.invalid" in done.stderr
    assert "BACKSTORY_HOST" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_newer_database_is_refused_by_an_older_program(installation: Installation) -> None:
    with closing(sqlite3.connect(installation.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    done = serve(installation)
    assert done.returncode == 1
    assert "9999" in done.stderr
    assert "upgrade the program" in done.stderr.replace("\n", " ")


def test_a_database_of_another_program_is_refused_untouched(
    installation: Installation, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    content = other.read_bytes()
    done = serve(installation, "--database", f"sqlite:///{other}")
    assert done.returncode == 1
    assert "another program" in done.stderr
    assert other.read_bytes() == content
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to have a header " * 10)
    done = serve(installation, "--database", f"sqlite:///{text}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_full_queue_is_503_and_recovers(server: Installation) -> None:
    """Another program holds the write lock, so that nothing can be committed: what waits is bounded."""
    batch = {"activities": [publish_request() for _ in range(1000)]}
    statuses: list[int] = []
    refusals: list[httpx.Response] = []

    def send() -> None:
        with server.client(server.source_key) as client:
            answer = client.post("/api/v2/contact-activities/batch", json=batch)
            statuses.append(answer.status_code)
            if answer.status_code != 200:
                refusals.append(answer)

    with closing(sqlite3.connect(server.database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        threads = [threading.Thread(target=send) for _ in range(26)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(refusals) >= 4, seconds=8, what="the refusals")
        assert statuses == [503] * 4, "two commits under way, twenty waiting, the rest refused"
        depth = httpx.get(f"{server.url}/metrics").text
        assert "backstory_queue_depth 20000.0" in depth
        holder.execute("ROLLBACK")
        for thread in threads:
            thread.join()
    for answer in refusals:
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["Retry-After"]) >= 1
    assert sorted(statuses) == [200] * 22 + [503] * 4
    with closing(sqlite3.connect(server.database)) as connection:
        assert connection.execute("SELECT count(*) FROM activities").fetchone() == (22_000,)
