"""Which server flags are fair to the peers: requests a second at 32 connections for several of each.

Every variant runs at once, they take turns, the median and every turn are printed. `python -m bench.peers.flags`; it
takes some minutes, and on a machine that does something else besides it says little.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median

from bench.load import Job, drive
from bench.peers import django_peer, fastapi_peer
from bench.places import scratch
from bench.processes import stop_on_sigterm
from bench.product import Running

_FASTAPI = ((1, 1), (1, 5), (2, 1), (2, 2), (2, 5))  # workers, connections of each
_DJANGO = ((1, 1), (1, 4), (2, 1), (2, 2), (3, 1))  # workers, threads of each
_TURNS = 4
_CONTACTS = 500


def main() -> None:
    """Try every variant and print its rates."""
    stop_on_sigterm()
    with scratch() as folder, ExitStack() as stack:
        servers = {name: stack.enter_context(each) for name, each in _variants(folder).items()}
        for server in servers.values():
            drive(_job(server, "prime", count=_CONTACTS))
        rates: dict[str, list[int]] = {name: [] for name in servers}
        for turn in range(_TURNS):
            for name, server in servers.items():
                result = drive(_job(server, str(turn), seconds=2.5))
                rates[name].append(-1 if result.failed else round(result.rate))
    for name, taken in rates.items():
        print(f"{name:40} {median(taken):6.0f}   {taken}")


def _variants(folder: Path) -> Mapping[str, AbstractContextManager[Running]]:
    fastapi = {
        f"FastAPI, {w} workers, {p} connections": fastapi_peer(folder / f"f{w}{p}.db", w, p)
        for w, p in _FASTAPI
    }
    django = {
        f"Django, {w} workers, {t} threads": django_peer(folder / f"d{w}{t}.db", w, t) for w, t in _DJANGO
    }
    return fastapi | django


def _job(to: Running, prefix: str, *, seconds: float = 0.0, count: int = 0) -> Job:
    return Job(
        port=to.port, key=to.key, seconds=seconds, count=count, contacts=_CONTACTS, prefix=prefix, warmup=0.0
    )


if __name__ == "__main__":
    main()
