"""Programs that the test servers need: found or missed out loud, run as a user who may, ended with the tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support import wait_until


def missing(what: str) -> NoReturn:
    """Skip where a server is not installed; with CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])


class Unprivileged:
    """Who runs the servers: this user, or where that is root (some servers refuse it) one who may do nothing else."""

    def __init__(self, *preferred: str) -> None:
        self.user: str | None = None
        if os.geteuid() == 0:
            known = {each.pw_name for each in pwd.getpwall()}
            self.user = next(name for name in (*preferred, "nobody") if name in known)

    def own(self, path: Path) -> None:
        """Give a folder to the user."""
        if self.user is not None:
            shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)

    def wrap(self, command: Sequence[str | Path], *, ends_with_us: signal.Signals | None = None) -> list[str]:
        """A command as the user runs it; the kernel sends it a signal where the tests are killed."""
        options: list[str] = []
        if self.user is not None:
            group = str(pwd.getpwnam(self.user).pw_gid)
            options += [f"--reuid={self.user}", f"--regid={group}", "--clear-groups"]
        if ends_with_us is not None:
            options += ["--pdeathsig", ends_with_us.name.removeprefix("SIG")]
        prefix = ["setpriv", *options, "--"] if options else []
        return [*prefix, *(str(part) for part in command)]

    def run(self, command: Sequence[str | Path], **options: Any) -> str:
        """Run to the end; what it printed."""
        done = subprocess.run(self.wrap(command), capture_output=True, text=True, timeout=120, **options)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended while we looked
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a server and of the processes that it started, and wait until they are gone."""
    pids = children(process.pid)
    process.kill()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=60)
    wait_until(lambda: not any(_is_running(pid) for pid in pids), what="the end of the killed processes")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
