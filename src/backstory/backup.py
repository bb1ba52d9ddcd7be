"""Backup and restore of a SQLite installation: consistent while serving, verified before it counts."""

from __future__ import annotations

import getpass
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pysqlite3 as sqlite3

from backstory.errors import StorageError
from backstory.model.moment import now
from backstory.store import migrations
from backstory.store.sqlite_database import APPLICATION_ID, Ownership, SqliteDatabase

Show = Callable[[float, str], None]
"""Takes how many bytes are done, and a note."""

UNKNOWN_GAP = 10_000_000
"""How far contact ids jump where the database that issued ids after the backup is gone: further than anybody got."""


def back_up(source: Path, target: Path, show: Show) -> int:
    """Copy a database, consistent, also while it is served; the size of the copy in bytes.

    One step of SQLite's backup: it reads one snapshot and never starts over, however much is written meanwhile.

    Raises:
        StorageError: there is no database, the target exists, or the copy is not sound.
    """
    if not source.is_file():
        raise StorageError(f"there is no database {source}")
    if target.exists():
        raise StorageError(f"{target} exists already; a backup never overwrites a file")
    if not target.parent.is_dir():
        raise StorageError(f"the folder {target.parent} does not exist: make it, or name another file")
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        _copy(source, partial, show)
        show(partial.stat().st_size, "verifying")
        check(partial)
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"the backup failed: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: Path, partial: Path, show: Show) -> None:
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    reading, writing = sqlite3.connect(str(source)), sqlite3.connect(str(partial))
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            show(partial.stat().st_size, "copying")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        reading.execute("PRAGMA query_only = ON")
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")  # one file, without a -wal beside it
    finally:
        done.set()
        watcher.join()
        reading.close()
        writing.close()


def check(path: Path) -> dict[str, int]:
    """Look whether a file is a sound database of ours; its counts.

    Raises:
        StorageError: it is not.
    """
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return _examine(path, connection)
    except sqlite3.Error as error:
        raise StorageError(f"{path} is not a sound database: {error}") from error


def _examine(path: Path, connection: sqlite3.Connection) -> dict[str, int]:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StorageError(f"{path} is not a database of Backstory")
    migrations.is_current(connection)  # refuses what is newer than this program
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StorageError(f"{path} is damaged: {found}")
    return {
        "contacts": count_contacts(connection),
        "activities": connection.execute("SELECT count(*) FROM activities").fetchone()[0],
        "highest_contact": _highest_contact(connection),
    }


def count_contacts(connection: sqlite3.Connection) -> int:
    """How many contacts there are, those who work here left out (in the first schema they were no contacts)."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(contacts)")}
    where = " WHERE NOT is_agent" if "is_agent" in columns else ""
    return int(connection.execute(f"SELECT count(*) FROM contacts{where}").fetchone()[0])  # noqa: S608


def _highest_contact(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'contacts'").fetchone()
    return int(row[0]) if row else 0


def restore_from(backup: Path, target: Path, show: Show) -> str:
    """Put a backup in the place of a database that nobody serves; what was done, for the operator.

    Raises:
        StorageError: the backup is not sound, or a server is using the database.
    """
    counts = check(backup)
    show(backup.stat().st_size / 3, "verified")
    if not target.parent.is_dir():
        raise StorageError(f"the folder {target.parent} does not exist; make it, or set another database")
    partial = target.with_name(f".{target.name}.restoring")
    # Owned before the old database is asked: no server can issue an id in between.
    with SqliteDatabase(target, Ownership.REQUIRED).owning():
        partial.unlink(missing_ok=True)
        try:
            _copy(backup, partial, show)
            highest, known = _issued_so_far(target, counts["highest_contact"])
            _prepare(partial, highest, _revoked(target))
            kept = _put_in_place(partial, target)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"the restore failed: {error}") from error
        finally:
            partial.unlink(missing_ok=True)
    ids = (
        "the database that was there said so"
        if known
        else "there was no readable database to ask, so a gap was left"
    )
    return (
        f"Restored {counts['contacts']:,} contacts and {counts['activities']:,} activities.\n"
        f"New contacts begin at {highest + 1:,} ({ids}).\n"
        f"Keys that were revoked since the backup {'stay revoked' if known else 'are in force again: revoke them'}.\n"
        "Activities that were deleted since the backup are back: delete them again.\n"
        "The search index is built again while the next server runs.\n"
        + (f"The database that was there is kept as {kept}." if kept else "There was no database before.")
    )


def _issued_so_far(target: Path, in_backup: int) -> tuple[int, bool]:
    """The highest contact id that was ever issued, and whether that is known or a safe guess."""
    try:
        return max(in_backup, check(target)["highest_contact"]), True
    except StorageError:
        return in_backup + UNKNOWN_GAP, False


def _revoked(target: Path) -> list[tuple[int, bytes]]:
    """When which keys were revoked in the database that is there, where it can be read."""
    query = "SELECT revoked_at, hash FROM api_keys WHERE revoked_at IS NOT NULL"
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()
    return []


def _prepare(partial: Path, highest: int, revoked: Sequence[tuple[int, bytes]]) -> None:
    """In the copy: no id is issued again, no revoked key comes back, streams of before are told to read afresh."""
    connection = sqlite3.connect(str(partial), isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'contacts'")
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('contacts', ?)", (highest,))
        connection.executemany(
            "UPDATE api_keys SET revoked_at = ? WHERE hash = ? AND revoked_at IS NULL", revoked
        )
        connection.execute(
            "UPDATE log_state SET value = ? WHERE name = 'generation'", (secrets.token_hex(6),)
        )
        connection.execute(
            "INSERT INTO audit_log (at, actor, action, target, origin, details) VALUES (?, ?, ?, ?, ?, '{}')",
            (now(), f"os:{getpass.getuser()}", "database.restore", "database", "command line"),
        )
        connection.execute("COMMIT")
    finally:
        connection.close()
    _sync(partial)


def _put_in_place(partial: Path, target: Path) -> Path | None:
    """Swap the files; where the former database is kept, whatever its state."""
    kept: Path | None = None
    if target.exists():
        _checkpoint(target)
        kept = target.with_name(f"{target.name}.before-restore-{now() // 1_000_000}")
        os.link(
            target, kept
        )  # and not moved: at no moment may there be no database, ids would begin at 1 again
    for suffix in ("-wal", "-shm"):
        beside = Path(f"{target}{suffix}")
        if kept is not None and beside.exists():  # the former one is damaged: what belongs to it goes with it
            beside.replace(f"{kept}{suffix}")
    partial.replace(target)
    _sync(target.parent)
    return kept


def _checkpoint(target: Path) -> None:
    """Bring the former database's last commits from its -wal into its file, where it can still be read."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(str(target))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
