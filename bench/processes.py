"""Servers under test: started, waited for, stopped, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench.places import OUT, ROOT

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


class BenchError(Exception):
    """Something that the bench needs did not work; no figure was made of it."""


def environment(**more: str) -> dict[str, str]:
    """This environment without the product's own settings, and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTORY_")}
    return kept | more


@contextmanager
def serving(
    name: str,
    command: Sequence[str],
    port: int,
    *,
    folder: Path = ROOT,
    env: Mapping[str, str] | None = None,
    ready: str = "/readyz",
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server while the block runs; it is ready when it answers 200 on `ready`. Its output is in out/logs."""
    logs = OUT / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(env or environment()),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_ready(name, process, port, ready)
            yield process
        finally:
            _stop(process)


def _wait_ready(name: str, process: subprocess.Popen[bytes], port: int, path: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with suppress(OSError, HTTPException):
            if get(port, path)[0] == 200:
                return
        time.sleep(0.05)
    raise BenchError(f"{name} did not become ready; see {OUT / 'logs' / name}.log")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to stop; whatever is left of its group after a while is killed."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """One GET; status, headers with lower-case names, body."""
    return ask("GET", port, path, headers=headers)


def ask(
    method: str, port: int, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection of its own; status, headers with lower-case names, body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def stop_on_sigterm() -> None:
    """Let SIGTERM unwind this process, so that the servers it started are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
