"""The process that builds the search index of a SQLite database: `python -m backstory.indexer DATABASE LEVEL FORMAT`.

Started and ended by who owns the database (`store/log/sqlite_index.py`): it ends when its standard input does.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from backstory.collector import calm_collector
from backstory.observe import configure_logs, is_for_people
from backstory.store.log.sqlite_index import follow


def indexer(database: str, log_level: str, log_format: str) -> Sequence[str]:
    """The command that starts an indexer for a database."""
    return (sys.executable, "-m", "backstory.indexer", database, log_level, log_format)


def main(database: str, log_level: str, log_format: str) -> None:
    """Index until the input ends."""
    for each in (signal.SIGINT, signal.SIGTERM):  # they are the owner's
        signal.signal(each, signal.SIG_IGN)
    configure_logs(log_level, human=is_for_people(log_format))

    calm_collector()

    def ended(seconds: float) -> bool:
        readable, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(readable) and not os.read(sys.stdin.fileno(), 1)

    follow(Path(database), ended)


if __name__ == "__main__":
    main(*sys.argv[1:])
