"""Who works in the background, behind the answers: jobs, mail, erasing, tidying."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

import structlog

from backstory.errors import Unavailable

log = structlog.get_logger(__name__)


class Worker(ABC):
    """Does its work piece after piece while there is any, and looks again after a while, or as soon as it is woken.

    `name` is what the log calls it. Whatever goes wrong is logged, and tried again when it looks next.
    """

    def __init__(self, name: str, look_seconds: float) -> None:
        self._name = name
        self._look_seconds = look_seconds
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def work(self) -> bool:
        """Do a piece of the work; whether there may be more."""

    def start(self) -> None:
        """Begin, on the event loop."""
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def close(self) -> None:
        """Stop. What is under way is gone on with by whoever starts next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            busy = False
            try:
                busy = await self.work()
            except (Unavailable, OSError) as error:  # the storage or the disk cannot now: it comes again
                log.warning("work_postponed", worker=self._name, error=str(error))
            except Exception:  # whatever it is, the next piece must be done
                log.exception("work_failed", worker=self._name)
            if not busy:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._look_seconds)
