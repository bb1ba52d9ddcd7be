"""Refused publish requests, kept for an admin to read: bounded, shortened, and never on an answer's path."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from backstory.errors import BackstoryError
from backstory.model.access import KEY_PREFIX, Rejection
from backstory.store.base import Records

MAX_QUEUED = 1_000
MAX_BODY = 2_000
MAX_KEPT_ERRORS = 20
KEEP_SECONDS = 0.5
_KEY = re.compile(KEY_PREFIX + "[0-9a-fA-F]{16,}")

log = structlog.get_logger(__name__)


class RejectedRequests:
    """Takes refusals without waiting and writes them in the background. A flood drops the oldest, and is counted."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._queued: deque[Rejection] = deque(maxlen=MAX_QUEUED)
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def add(self, rejection: Rejection) -> None:
        """Keep a refusal, soon."""
        self.dropped += len(self._queued) == MAX_QUEUED
        self._queued.append(rejection)
        if self._task is None:
            self._task = asyncio.create_task(self._write_soon())

    async def _write_soon(self) -> None:
        await asyncio.sleep(KEEP_SECONDS)  # gathers: a client that is wrong is wrong many times
        try:
            while self._queued:  # also what came while it was writing
                await self.flush()
        finally:
            self._task = None

    async def flush(self) -> None:
        """Write what is queued."""
        queued = list(self._queued)
        self._queued.clear()
        if not queued:
            return
        try:
            await self._records.keep_rejections(queued)
        except BackstoryError as error:
            self.dropped += len(queued)
            log.warning("rejections_dropped", count=len(queued), error=str(error))

    async def close(self) -> None:
        """Write the last ones."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()


def shorten_body(body: bytes) -> str:
    """A body as an admin reads it: cut, and no key in it, wherever a sender has put one."""
    text = _hide_keys(body[: MAX_BODY * 4].decode(errors="replace"))
    return text if len(text) <= MAX_BODY else f"{text[:MAX_BODY]}…"


def hide_keys(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error as it is kept: its message may quote what was sent, and that may be a key."""
    return {name: _hide_keys(value) if isinstance(value, str) else value for name, value in error.items()}


def _hide_keys(text: str) -> str:
    return _KEY.sub(f"{KEY_PREFIX}…", text)


def source_of(body: bytes) -> str | None:
    """The source name in a refused body, where it can be read."""
    try:
        source = msgspec.json.decode(body)["activity"]["source"]["name"]
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, IndexError, ValueError):
        return None
    return _hide_keys(source)[:255] if isinstance(source, str) else None
