"""A stored activity as a row of a timeline, and in full."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from backstory.model.activity import RESERVED_SOURCE, Actor, Object, Source
from backstory.model.json_text import Number
from backstory.model.moment import Microseconds, parse_moment
from backstory.timeline.read import Shown
from backstory.ui.kinds import Kind, kind_of
from backstory.ui.present import Shown as ShownContext
from backstory.ui.present import headline, present, safe_link
from backstory.ui.words import label

LATE = 3600 * 1_000_000
"""So much later than it happened, an activity says that it came late."""

MAX_HEADLINE_BYTES = 16 * 1024


class Stored(Struct):
    """A stored body, read for people. See `model.activity.Body`."""

    external_id: str | None
    name: str
    description: str | None
    link: str | None
    actor: Actor
    source: Source
    object: Object | None
    context: Raw
    is_actor: bool
    received_at: str


_STORED = msgspec.json.Decoder(Stored)
_CONTEXT = msgspec.json.Decoder(float_hook=Number)


class Activity(Struct, frozen=True):
    """One activity, as templates show it."""

    id: str
    contact_id: int
    at: Microseconds
    name: str
    description: str | None
    source: str
    kind: Kind
    amount: str | None
    actor: str | None
    late: Microseconds | None
    stored: Stored

    @property
    def key(self) -> tuple[Any, ...]:
        """What activities of one run have in common."""
        thing = self.stored.object
        return self.name, self.source, thing.type if thing else None, self.actor


class Button(Struct, frozen=True):
    """Where an activity's object or the activity itself is to be seen in its application."""

    href: str
    text: str


class Details(Struct, frozen=True):
    """An activity in full."""

    activity: Activity
    context: ShownContext
    buttons: tuple[Button, ...]


def read_activity(shown: Shown, minor_units: frozenset[str]) -> Activity:
    """A row from what is stored."""
    stored = _STORED.decode(shown.activity.body)
    received = parse_moment(stored.received_at)
    at = shown.activity.timestamp
    actor = None if stored.is_actor else stored.actor.name or label(stored.actor.type)
    return Activity(
        id=str(shown.activity.id),
        contact_id=shown.contact_id,
        at=at,
        name=stored.name,
        description=stored.description,
        source=stored.source.name,
        kind=kind_of(stored.name, stored.object.type if stored.object else None),
        amount=_amount(stored, minor_units),
        actor=actor,
        late=received if received - at >= LATE else None,
        stored=stored,
    )


def _amount(stored: Stored, minor_units: frozenset[str]) -> str | None:
    """The amount that a row shows, where its context is small enough to be read for it."""
    text = bytes(stored.context)
    if len(text) > MAX_HEADLINE_BYTES or (b"urrency" not in text and b"CURRENCY" not in text):
        return None
    try:
        return headline(
            _numbers_as_text(_CONTEXT.decode(text)), minor_units=stored.source.name in minor_units
        )
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None


def _numbers_as_text(tree: Any) -> Any:
    """The top of a context with its integers as they are written."""
    if not isinstance(tree, dict):
        return tree
    return {
        key: Number(value) if type(value) is int else _numbers_as_text(value) for key, value in tree.items()
    }


def read_details(shown: Shown, minor_units: frozenset[str]) -> Details:
    """An activity in full from what is stored."""
    activity = read_activity(shown, minor_units)
    stored = activity.stored
    context = present(bytes(stored.context), minor_units=stored.source.name in minor_units)
    return Details(activity, context, tuple(_buttons(stored)))


def _buttons(stored: Stored) -> list[Button]:
    thing = stored.object
    buttons = []
    if thing is not None and (href := safe_link(thing.link)):
        what = " ".join(part for part in (thing.type or "", thing.name or thing.id or "") if part)
        buttons.append(Button(href, f"Open {what[:80]}" if what else "Open"))
    link = safe_link(stored.link)
    if link and link not in [button.href for button in buttons]:
        buttons.append(Button(link, f"Open in {source_name(stored.source.name)[:80]}"))
    return buttons


def source_name(source: str) -> str:
    """A source as people read it."""
    return "Backstory" if source == RESERVED_SOURCE else source
