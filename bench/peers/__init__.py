"""What a team would write instead of Backstory: each peer in its own environment, at the same durability.

An environment is made on first use, with plain pip from the peer's hashed lock, and made again when the lock changes.
How many workers, threads and connections each has by default was tried (flags.py; figures in bench/README.md).
"""

import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from bench.places import free_port
from bench.processes import BenchError, environment, serving
from bench.product import Running

_HERE = Path(__file__).parent
_KEY = "peer-key-0123456789abcdef"


@contextmanager
def fastapi_peer(database: Path, workers: int = 2, pool: int = 2) -> Iterator[Running]:
    """FastAPI + SQLAlchemy + SQLite: uvicorn with uvloop and httptools, the default thread pool.

    `pool` is the number of database connections of each worker.
    """
    port = free_port()
    flags = "--loop uvloop --http httptools --no-access-log --log-level warning --workers"
    command = ["uvicorn", "app:app", "--port", str(port), *flags.split(), str(workers)]
    yield from _peer("fastapi_peer", command, port, _environment(database, PEER_POOL=str(pool)))


@contextmanager
def django_peer(database: Path, workers: int = 2, threads: int = 1) -> Iterator[Running]:
    """Django + django-activity-stream + DRF: gunicorn, gthread workers, connections kept alive.

    Not uvicorn (ASGI): there each request gets a new thread and with it a new database connection.
    """
    port = free_port()
    flags = f"-k gthread --workers {workers} --threads {threads} --keep-alive 75 --log-level warning"
    command = ["gunicorn", "shop.wsgi", "--bind", f"127.0.0.1:{port}", *flags.split()]
    _run("django_peer", database, "django", "migrate", "-v0")
    yield from _peer("django_peer", command, port, _environment(database))


def _peer(name: str, command: list[str], port: int, env: dict[str, str]) -> Iterator[Running]:
    with serving(name, [_python(name), "-m", *command], port, folder=_HERE / name, env=env):
        yield Running(name, port, _KEY)


def _environment(database: Path, **more: str) -> dict[str, str]:
    return environment(
        PEER_DATABASE=str(database), PEER_KEY=_KEY, DJANGO_SETTINGS_MODULE="shop.settings", **more
    )


def _run(name: str, database: Path, *arguments: str) -> None:
    subprocess.run(
        [_python(name), "-m", *arguments],
        cwd=_HERE / name,
        env=_environment(database),
        check=True,
        timeout=120,
    )


def _python(name: str) -> str:
    """The interpreter of a peer's environment, which is made where it is missing or older than the lock."""
    folder = _HERE / name
    python, stamp = folder / ".venv" / "bin" / "python", folder / ".venv" / "lock.sha256"
    lock = folder / "requirements.txt"
    digest = sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return str(python)
    print(f"making the environment of {name} …", file=sys.stderr)
    venv.create(folder / ".venv", clear=True, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(lock)]
    if subprocess.run(pip, check=False, timeout=900).returncode:
        raise BenchError(f"the environment of {name} could not be made")
    stamp.write_text(digest)
    return str(python)
