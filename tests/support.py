"""A real installation for tests: a database in a folder of its own, the real command line, a real server process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher

from backstory.cli import with_store
from backstory.config import read_settings
from backstory.helpdesk.access import create_key
from backstory.model.access import AuditEntry, Role
from backstory.store.base import Store

START_SECONDS = 30
PASSWORD = "correct horse battery"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""What it is kept as: a hash holds what it cost, and each of hundreds of servers and sign-ins would pay that."""

SOURCE = "shopify"
FINDS_WORDS = pytest.mark.engine("sqlite", "postgres")
NO_WORDS = pytest.mark.engine("cassandra")
"""Of a test that looks for words across contacts, which the cluster refuses (docs/engines.md)."""


def wait_until(condition: Callable[[], Any], *, seconds: float = 10, what: str = "the condition") -> Any:
    """Wait for a condition to give something true, and give that."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} seconds")
        time.sleep(0.01)  # between two looks, not instead of looking


class Installation:
    """One installation. `start` serves it on a free port; keys exist for an admin, an agent and an application.

    `staff` are the roles of those who work there, each with a key: nobody on a new machine. Agents and contacts share
    their numbers, so the first contact's number is one more than there are agents. `database_url` is where it is kept,
    an SQLite file in the folder where none is given; `activity_log` a cluster for its log.
    """

    def __init__(
        self,
        directory: Path,
        *,
        staff: Sequence[Role] = (Role.ADMIN, Role.AGENT),
        database_url: str | None = None,
        activity_log: str = "",
    ) -> None:
        self._staff = staff
        self.directory = directory
        self.database = directory / "backstory.db"
        self.database_url = database_url or f"sqlite:///{self.database}"
        self.activity_log = activity_log
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self._grouped = False
        self.admin_key, self.agent_key, self.source_key = self._let_in()

    def _let_in(self) -> tuple[str, str, str]:
        entry = AuditEntry(0, "test", "test", "test", "test")

        async def work(store: Store) -> tuple[str, str, str]:
            records = store.records
            keys = []
            for role in self._staff:
                email = f"{role}@example.com"
                await records.create_agent(email, role.title(), role, PASSWORD_HASH, entry)
                keys.append(
                    await create_key(records, agent_email=email, sources=(), expires=None, entry=entry)
                )
            source = await create_key(records, agent_email=None, sources=(SOURCE,), expires=None, entry=entry)
            admin, agent = (*keys, "", "")[:2]
            return admin, agent, source

        settings = read_settings({}, database=self.database_url, activity_log=self.activity_log)
        return with_store(settings, work)

    def beside(self, directory: Path) -> Installation:
        """The same installation for another server process, with a folder of its own."""
        other = object.__new__(Installation)
        directory.mkdir()
        vars(other).update(vars(self), directory=directory, process=None, url="")
        return other

    def environment(self, **extra: str) -> dict[str, str]:
        """This process's environment with the installation's settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTORY_")}
        own = {"BACKSTORY_DATABASE": self.database_url, "BACKSTORY_ACTIVITY_LOG": self.activity_log}
        return {**kept, **own, "COLUMNS": "200", **extra}

    def command(self, *arguments: str) -> list[str]:
        """A command line."""
        return [sys.executable, "-m", "backstory", *arguments]

    def cli(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line on this installation."""
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            check=check,
            env=self.environment(),
            cwd=self.directory,
            timeout=120,
        )

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on the database of the records, beside whatever serves it; the rows that it answers."""
        if self.database_url.startswith("sqlite:"):
            with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
                return connection.execute(statement).fetchall()

        async def run() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.database_url)
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(run())

    def start(self, *prefix: str, **environment: str) -> Installation:
        """Serve on a free port, and return when it is ready. `prefix` goes before the command (strace, say)."""
        log = self.directory / "serve.log"
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "backstory", "serve", "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env=self.environment(**environment),
                cwd=self.directory,
                start_new_session=bool(
                    prefix
                ),  # so that a prefix and the server behind it can be ended together
            )
        self._grouped = bool(prefix)
        self.url = wait_until(
            lambda: self._address(log), seconds=START_SECONDS, what="the start of the server"
        )
        wait_until(self._is_ready, seconds=START_SECONDS, what="readiness")
        return self

    def _address(self, log: Path) -> str | None:
        assert self.process is not None
        for line in log.read_text().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return str(json.loads(line)["address"])
        if self.process.poll() is not None:
            raise AssertionError(
                f"the server ended with {self.process.returncode}: {log.read_text()[-2000:]}"
            )
        return None

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz").status_code == 200
        return False

    def log_text(self) -> str:
        """What the server has logged."""
        return (self.directory / "serve.log").read_text()

    def stop(self) -> None:
        """Ask the server to stop, and wait for it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        if self.process is not None:
            if self._grouped:
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=60)
            self.process = None

    @contextlib.contextmanager
    def client(self, key: str | None = None) -> Iterator[httpx.Client]:
        """A client with a key (the admin's where none is given)."""
        with httpx.Client(base_url=self.url, auth=(key or self.admin_key, "X"), timeout=60) as client:
            yield client


def publish_request(**changes: Any) -> dict[str, Any]:
    """A small good publish request; keyword arguments replace parts of `activity`, `contact` replaces the contact."""
    contact = changes.pop("contact", {"email": "rachel@example.com"})
    activity = {"name": "Transaction failed", "actor": {"type": "shopper"}, "source": {"name": SOURCE}}
    return {"activity": activity | changes, "contact": contact}
