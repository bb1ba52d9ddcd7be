"""The process that commits for a server: `python -m backstory.committer DATABASE LOG_LEVEL LOG_FORMAT`.

Its standard input is a socket to the server; see `store/sqlite_commits.py`. A stop of the server ends the socket, and
that ends this process, behind everything that it was given; signals that reach the whole group are the server's.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from backstory.collector import calm_collector
from backstory.config import Settings
from backstory.errors import StorageError
from backstory.indexer import indexer
from backstory.observe import configure_logs, is_for_people
from backstory.store.sqlite import SqliteStore
from backstory.store.sqlite_database import Ownership


def committer(settings: Settings) -> Sequence[str]:
    """The command that starts a committer for a server with these settings."""
    where = (str(settings.database), settings.log_level, settings.log_format)
    return (sys.executable, "-m", "backstory.committer", *where)


def main(database: str, log_level: str, log_format: str) -> None:
    """Commit what comes until there is no more."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    configure_logs(log_level, human=is_for_people(log_format))
    index = indexer(database, log_level, log_format)
    store = SqliteStore(Path(database), ownership=Ownership.LENT, indexer=index)
    try:
        store.open()
    except StorageError as error:
        sys.exit(f"committer: {error}")
    calm_collector()
    server = socket.socket(fileno=sys.stdin.fileno())
    store.serve_commits(server.makefile("rb"), server.makefile("wb"))
    asyncio.run(store.close())


if __name__ == "__main__":
    main(*sys.argv[1:])
