"""The sources that activities come from: which are expected, and which send minor units. Asked on every page."""

from __future__ import annotations

import time

from msgspec import Struct

from backstory.store.base import Records
from backstory.store.records import sources

CACHE_SECONDS = 2


class KnownSources(Struct, frozen=True):
    """`expected` are set up here; `minor_units` are those whose amounts are in cents and the like."""

    expected: tuple[str, ...] = ()
    minor_units: frozenset[str] = frozenset()


class Sources:
    """What is known of the sources, remembered for a moment."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known = KnownSources()
        self._until = 0.0

    async def known(self) -> KnownSources:
        """What is known now."""
        if self._until <= time.monotonic():
            self._known = await self._records.read(
                lambda connection: KnownSources(
                    tuple(sources.select_expected_sources(connection)),
                    sources.select_minor_unit_sources(connection),
                )
            )
            self._until = time.monotonic() + CACHE_SECONDS
        return self._known
