"""What becomes of a group of publications, on every engine: which are replays, whose each is, what is appended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from backstory.errors import FieldErrors
from backstory.model.activity import RESERVED_SOURCE, Event, Origin, Publication, Published, SentContact
from backstory.model.identity import Resolved
from backstory.model.ids import ActivityId, ContactKey
from backstory.store.base import PublishResult
from backstory.store.records.resolve import Resolution

Known = TypeVar("Known")

_ORIGIN_ENCODER = msgspec.json.Encoder()
_ORIGIN_DECODER = msgspec.json.Decoder(Origin)
_NO_ORIGIN = _ORIGIN_ENCODER.encode(Origin(SentContact(), RESERVED_SOURCE))


class NewRow(NamedTuple):
    """One row to append, its contact known."""

    publication: Publication
    contact_key: ContactKey
    origin: bytes


def event_row(event: Event) -> NewRow:
    """An activity of our own source, to append."""
    return NewRow(event.publication, event.contact_key, _NO_ORIGIN)


def replayed(
    item: Publication, first: ActivityId, contact_id: int | None, origin: bytes | None, digest: bytes
) -> Published:
    """A replay's answer: the first one's id, and the contact that has it now.

    `origin` is the first one's, None where it was deleted since; `digest` is the first one's.
    """
    matched_by = _ORIGIN_DECODER.decode(origin).matched_by if origin else None
    return Published(
        first, contact_id, item.external_id, matched_by, duplicate=True, differs=item.digest != digest
    )


class Group:
    """Publications that are committed together. Append `rows`, then ask for `results` with the ids they got."""

    def __init__(self, publications: Sequence[Publication]) -> None:
        self._publications = publications
        self._answers: list[PublishResult | None] = [None] * len(publications)
        self._resolved: dict[int, Resolved] = {}
        self._replay_of: dict[int, int] = {}
        self.rows: list[NewRow] = []
        """What is new, in order."""

    def sort_out(
        self,
        known: Mapping[bytes, Known],
        replay: Callable[[Publication, Known], Published],
        resolution: Resolution,
    ) -> None:
        """Find out what each is. `known` are the idempotency hashes that were seen before; `replay` answers those."""
        first_of: dict[bytes, int] = {}
        for index, item in enumerate(self._publications):
            hashed = item.idempotency
            if hashed is not None and hashed in known:
                self._answers[index] = replay(item, known[hashed])
            elif hashed is not None and hashed in first_of:
                self._replay_of[index] = first_of[hashed]
            else:
                try:
                    self._add(index, item, resolution.resolve(item))
                except FieldErrors as error:  # no first: the next one of its hash may be
                    self._answers[index] = error
                    continue
                if hashed is not None:
                    first_of[hashed] = index

    def _add(self, index: int, item: Publication, whose: Resolved) -> None:
        self._resolved[index] = whose
        origin = _ORIGIN_ENCODER.encode(Origin(item.contact, whose.matched_by, item.key_id))
        self.rows.append(NewRow(item, whose.contact_key, origin))

    def results(self, given: Sequence[ActivityId | PublishResult]) -> list[PublishResult]:
        """What became of each publication, in order; `given` are the ids of `rows`, or what else became of them."""
        for (index, whose), each in zip(self._resolved.items(), given, strict=True):
            self._answers[index] = (
                self._published(index, whose, each) if isinstance(each, ActivityId) else each
            )
        for index, first in self._replay_of.items():
            original = self._answers[first]
            if not isinstance(original, Published):
                self._answers[index] = original
                continue
            differs = self._publications[index].digest != self._publications[first].digest
            self._answers[index] = replace(original, duplicate=True, differs=differs, conflicts=())
        return [each for each in self._answers if each is not None]

    def _published(self, index: int, whose: Resolved, activity_id: ActivityId) -> Published:
        external_id = self._publications[index].external_id
        return Published(
            activity_id, whose.contact_id, external_id, whose.matched_by, conflicts=whose.conflicts
        )
