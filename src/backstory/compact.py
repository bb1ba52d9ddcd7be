"""`backstory compact`: what an SQLite file no longer needs goes back to the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pysqlite3 as sqlite3

from backstory.errors import StorageError
from backstory.store.sqlite_database import APPLICATION_ID, SqliteDatabase

COPIES = 2
"""SQLite writes what is kept into a file beside it first, and then into the write-ahead log."""


def free_bytes(connection: sqlite3.Connection) -> int:
    """How much of a database's file is free pages, which new rows use first."""
    pages, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size")
    )
    return int(pages * size)


def compact(path: Path, show: Callable[[float, str], None]) -> tuple[int, int]:
    """Write a database that nobody serves anew, without its free pages; its size before and after.

    Cut off at any moment, it is as it was.

    Raises:
        StorageError: there is none, a server is using it, or the disk has not the room for it.
    """
    if not path.is_file():
        raise StorageError(f"there is no database {path}")
    with SqliteDatabase(path).owning():
        os.environ["SQLITE_TMPDIR"] = str(path.parent)  # and not a small disk in memory
        try:
            with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
                if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                    raise StorageError(f"{path} is not a database of Backstory")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                before = path.stat().st_size
                _check_room(path, before - free_bytes(connection))
                show(0, "writing it anew")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StorageError(f"{path} could not be made smaller, and is as it was: {error}") from error
    return before, path.stat().st_size


def _check_room(path: Path, kept: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < COPIES * kept:
        raise StorageError(
            f"it takes {COPIES * kept:,} bytes of free disk for a while, and there are {free:,}: make room first"
        )
