"""`backstory demo`: a first start fills it, the printed commands work as they are printed, a second finds it again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.support import wait_until


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def demo(folder: Path, port: int) -> Iterator[str]:
    """The demo, served; what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTORY_")}
    log = folder / "demo.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "backstory", "demo", "--port", str(port), "--directory", "shop"],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=kept,
        )

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        return False

    try:
        wait_until(is_ready, seconds=60, what="the demo")
        yield log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def printed_commands(text: str) -> list[str]:
    """The curl commands, as somebody would mark and paste them."""
    return re.findall(r"^  (curl (?:.*\\\n)?(?:.*\\\n)?(?:.*\n)*?)\n", text, re.MULTILINE)


def paste(command: str) -> Any:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


def key_of(text: str) -> str:
    found = re.search(r"API key +(bs_[0-9a-f]{48})", text)
    assert found, text
    return found[1]


def everything(port: int, key: str) -> list[str]:
    ids: list[str] = []
    url: str | None = f"http://127.0.0.1:{port}/api/v2/contact-activities?per_page=100"
    with httpx.Client(auth=(key, "X")) as client:
        while url:
            answer = client.get(url)
            ids += [activity["id"] for activity in answer.json()]
            url = answer.headers["Link"].partition(">")[0][1:] if "Link" in answer.headers else None
    return ids


def the_story(text: str) -> str:
    """The page of the story's ticket, signed in to as the welcome says."""
    address, email, password, ticket = re.findall(
        r"Sign in +(\S+)/sign-in\s+as +(\S+) / (\S+)\s+The story +(\S+)", text
    )[0]
    with httpx.Client(base_url=address, headers={"Accept": "text/html"}) as visitor:
        form = visitor.get("/sign-in").text
        token = re.findall(r'name="csrf" value="([^"]+)"', form)[0]
        visitor.post("/sign-in", data={"csrf": token, "email": email, "password": password})
        return visitor.get(ticket).text


def test_the_demo(tmp_path: Path) -> None:
    port = free_port()
    with demo(tmp_path, port) as text:
        key = key_of(text)
        assert f"http://127.0.0.1:{port}" in text
        assert f"http://127.0.0.1:{port}/api/docs" in text
        assert "admin@example.com" in text
        assert (tmp_path / "shop" / "access.json").stat().st_mode & 0o077 == 0
        assert "My payment failed, again" in the_story(text)
        wait_until(lambda: "index_lag_seconds 0.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        there = everything(port, key)
        assert len(there) > 1_000
        publish, read, find = printed_commands(text)
        published = paste(publish)
        assert published["duplicate"] is False
        assert isinstance(published["contact_id"], int)
        found = wait_until(lambda: [a for a in paste(find) if a["id"] == published["id"]], seconds=2)
        assert found[0]["contact_id"] == published["contact_id"]
        timeline = paste(read)
        assert len(timeline) <= 5
        assert published["id"] == timeline[0]["id"], "what was just published is read back"
        assert len(timeline) > 1, "the person of the printed command has a story"
    with demo(tmp_path, port) as text:
        assert key_of(text) == key
        assert sorted(everything(port, key)) == sorted([*there, published["id"]])


def test_a_first_start_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    """Killed while it fills: the next start ends with a whole shop and a key that works."""
    command = [sys.executable, "-m", "backstory", "demo", "--port", "0", "--directory", "shop"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wal = tmp_path / "shop" / "filling.db-wal"
    wait_until(wal.exists, seconds=30, what="the beginning")
    process.kill()
    process.wait()
    assert not (tmp_path / "shop" / "access.json").exists()
    port = free_port()
    with demo(tmp_path, port) as text:
        ids = everything(port, key_of(text))
        assert len(ids) == len(set(ids)) > 1_000


def test_a_database_that_is_no_demo_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "backstory.db").write_bytes(b"somebody's customers")
    done = subprocess.run(
        [sys.executable, "-m", "backstory", "demo", "--port", "0", "--directory", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "is no finished demo" in done.stderr
    assert (tmp_path / "backstory.db").read_bytes() == b"somebody's customers"
