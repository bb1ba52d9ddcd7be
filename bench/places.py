"""Where the bench keeps things, and the disk they are on."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "out"
"""Results, logs, and the databases that are kept from one run to the next. Not in git; can be removed at any time."""


class Disk(msgspec.Struct, frozen=True):
    """How long the disk under `OUT` takes to make 4 KiB durable, in microseconds of fdatasync."""

    fdatasync_p50: float
    fdatasync_p95: float


def measure_disk(times: int = 300) -> Disk:
    """Append 4 KiB and call fdatasync, so many times; the calls to fdatasync alone are timed."""
    taken: list[float] = []
    path = OUT / f"fdatasync-{os.getpid()}"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(times):
            os.write(file, b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file)
            taken.append((time.perf_counter() - began) * 1e6)
    finally:
        os.close(file)
        path.unlink()
    taken.sort()
    return Disk(round(taken[times // 2], 1), round(taken[times * 95 // 100], 1))


def forget_cached(path: Path) -> None:
    """Ask the kernel to drop a file's pages, so that the next read of it comes from the disk.

    Dirty pages stay, so it is synced first; a page that another process has mapped stays too.
    """
    for each in files_of(path):
        with suppress(FileNotFoundError):
            file = os.open(each, os.O_RDONLY)
            try:
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that is measured, removed afterwards."""
    OUT.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=OUT, prefix="scratch-") as folder:
        yield Path(folder)


def size_of(database: Path) -> int:
    """Bytes on disk of a SQLite database, its search index and what is not checkpointed included."""
    return sum(part.stat().st_size for part in files_of(database) if part.exists())


def files_of(database: Path) -> list[Path]:
    """The files of a SQLite database, whether they are there or not."""
    return [database.with_name(database.name + suffix) for suffix in ("", "-wal", "-search", "-search-wal")]
