"""A full disk: clear 503s, no corruption, and recovery without a restart once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.faults.load import check_sound, stored
from tests.http.test_publish import email, unique
from tests.http.wire import ACTIVITIES, find
from tests.support import Installation, publish_request, wait_until

MEBI = 1024 * 1024


@contextmanager
def mounted(directory: Path, size: int) -> Iterator[Path]:
    """A file system of so many MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system; the limit of a file's size is tried instead")
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(directory)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    with mounted(tmp_path / "disk", 12) as disk:
        yield disk


def fill_until_refused(client: httpx.Client) -> tuple[set[str], httpx.Response]:
    """Publish until it is refused: the ids that were answered 200, and the refusal."""
    answered: set[str] = set()
    for _ in range(1000):
        event = unique("evt")
        request = publish_request(
            id=event, context={"Order id": event, "x": os.urandom(50_000).hex()}, contact={"email": email()}
        )
        answer = client.post(ACTIVITIES, json=request)
        if answer.status_code != 200:
            return answered, answer
        answered.add(event)
    raise AssertionError("the disk did not fill")


def check_refusal(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "unavailable"
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_full_disk_and_room_again(small_disk: Path) -> None:
    installation = Installation(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 6 * MEBI)
    server = installation.start()
    try:
        with server.client() as client:
            first = client.post(
                ACTIVITIES, json=publish_request(id=unique("evt"), contact={"email": email()})
            )
            answered, refusal = fill_until_refused(client)
            check_refusal(refusal)
            assert answered
            answered.add(first.json()["external_id"])
            for _ in range(5):
                event = unique("evt")
                big = publish_request(
                    id=event, context={"x": os.urandom(400_00).hex()}, contact={"email": email()}
                )
                answer = client.post(ACTIVITIES, json=big)
                if answer.status_code == 200:  # a smaller one may still fit
                    answered.add(event)
                else:
                    check_refusal(answer)
            # Reading goes on, and the process lives.
            theirs = f"contacts/{first.json()['contact_id']}/activities"
            assert len(client.get(ACTIVITIES.replace("contact-activities", theirs)).json()) == 1
            assert httpx.get(f"{server.url}/healthz").status_code == 200
            ballast.unlink()
            # Nobody publishes: what is stored is found all the same.
            for event in answered:
                wait_until(partial(find, client, ref=event), what="the index")
            assert client.post(ACTIVITIES, json=publish_request(id="after")).status_code == 200
            wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200, what="readiness")
        server.stop()
        assert set(stored(installation.database)) == answered | {"after"}
        check_sound(installation.database)
        assert "Traceback" not in server.log_text()
    finally:
        server.kill()


def test_readiness_tells_of_a_full_disk(small_disk: Path) -> None:
    installation = Installation(small_disk)
    server = installation.start()
    try:
        (small_disk / "ballast").write_bytes(b"x" * 6 * MEBI)
        with server.client() as client:
            _, refusal = fill_until_refused(client)
            check_refusal(refusal)
            left = shutil.disk_usage(small_disk).free
            with (small_disk / "rest").open("wb", buffering=0) as rest:
                rest.write(b"x" * left)
            # Each probe commits a little, as a publication does; the file's own last free pages go first.
            wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, what="the refusal")
            check_refusal(httpx.get(f"{server.url}/readyz"))
            (small_disk / "ballast").unlink()
            wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200, what="readiness")
    finally:
        server.kill()


@pytest.mark.parametrize("full", ["attachments", "temporary files"])
def test_files_that_a_full_disk_cannot_take(installation: Installation, small_disk: Path, full: str) -> None:
    setting = "BACKSTORY_ATTACHMENTS" if full == "attachments" else "TMPDIR"
    server = installation.start(**{setting: str(small_disk)})
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 9 * MEBI)
    ticket = {"subject": "Help", "description": "please", "email": email()}
    large = {"attachments[]": ("large.bin", os.urandom(5 * MEBI))}
    with server.client() as client:

        def open_ticket() -> httpx.Response:
            return client.post("/api/v2/tickets", data=ticket, files=large)

        for _ in range(3):
            check_refusal(open_ticket())
        assert [path for path in small_disk.rglob("*") if path.is_file()] == [ballast], "nothing is left"
        assert client.post("/api/v2/tickets", json=ticket).status_code == 201, "without a file it goes"
        ballast.unlink()
        (attached,) = open_ticket().raise_for_status().json()["attachments"]
        assert httpx.get(attached["attachment_url"]).content == large["attachments[]"][1]
        assert len(client.get("/api/v2/tickets").json()) == 2
    assert "Traceback" not in server.log_text()


def test_deleting_on_a_full_disk(small_disk: Path) -> None:
    """It goes, or it is refused and nothing of it has happened; the search index agrees."""
    installation = Installation(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 6 * MEBI)
    server = installation.start()
    try:
        with server.client() as client:
            first = client.post(ACTIVITIES, json=publish_request(id=unique("evt"))).json()
            wait_until(partial(find, client, ref=first["external_id"]), what="the index")
            fill_until_refused(client)
            with (small_disk / "rest").open("wb", buffering=0) as rest:
                rest.write(b"x" * shutil.disk_usage(small_disk).free)
            path = f"{ACTIVITIES}/{first['id']}"
            answer = client.delete(path)
            if answer.status_code != 204:
                check_refusal(answer)
                assert client.get(path).status_code == 200
            assert httpx.get(f"{server.url}/metrics").status_code == 200
            ballast.unlink()
            if answer.status_code != 204:
                wait_until(lambda: client.delete(path).status_code == 204, what="the deletion")
            assert client.get(path).status_code == 404
            after = client.post(ACTIVITIES, json=publish_request(id=unique("evt"))).json()
            wait_until(partial(find, client, ref=after["external_id"]), what="the index")
            assert find(client, ref=first["external_id"]) == []
        server.stop()
        check_sound(installation.database)
        assert "Traceback" not in server.log_text()
    finally:
        server.kill()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_a_file_that_may_not_grow(installation: Installation) -> None:
    """The same without root: no file of the process may be larger than 3 MiB."""
    server = installation.start("prlimit", f"--fsize={3 * MEBI}:unlimited")
    assert server.process is not None
    with server.client() as client:
        answered, refusal = fill_until_refused(client)
        check_refusal(refusal)
        assert answered
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        for pid in [server.process.pid, *children(server.process.pid)]:  # the committer writes the file
            subprocess.run(["prlimit", "--pid", str(pid), "--fsize=unlimited:"], check=True)
        assert client.post(ACTIVITIES, json=publish_request(id="after")).status_code == 200
    server.stop()
    assert set(stored(installation.database)) == answered | {"after"}
    check_sound(installation.database)
