"""The contract suite runs on every engine: add an engine to ENGINES, and every test here runs on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backstory.store.base import Store
from backstory.store.log import sqlite_index
from backstory.store.sqlite import SqliteStore


def open_sqlite(directory: Path) -> SqliteStore:
    """The embedded store, in a file of its own."""
    store = SqliteStore(directory / "backstory.db")
    store.open()
    return store


ENGINES: dict[str, Callable[[Path], Store]] = {"sqlite": open_sqlite}


@pytest.fixture
def prompt_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes that do not wait for entries to gather, where an engine does."""
    monkeypatch.setattr(sqlite_index, "LAG_SECONDS", 0.0)


@pytest.fixture(params=sorted(ENGINES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each engine. A test marked `engine(name)` runs on that one only."""
    only = request.node.get_closest_marker("engine")
    if only is not None and request.param not in only.args:
        pytest.skip(f"only on {', '.join(only.args)}")
    opened = ENGINES[request.param](tmp_path)
    yield opened
    await opened.close()
