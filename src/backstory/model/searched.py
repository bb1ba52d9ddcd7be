"""What searches find of an activity: its references and its words, from its stored JSON text."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from backstory.model.refs import refs_of
from backstory.model.words import words_of


class Named(Struct):
    """An object of a stored body with what searches look at."""

    id: str | None = None
    type: str | None = None
    name: str | None = None
    link: str | None = None


class StoredText(Struct):
    """The parts of a stored body that searches look at; numbers of the context that are no integers as their text."""

    name: str
    actor: Named
    source: Named
    external_id: str | None = None
    description: str | None = None
    object: Named | None = None
    context: Any = None


class Searched(NamedTuple):
    """An activity as searches know it."""

    name: str
    source: str
    object_type: str | None
    refs: list[str]
    words: set[str]


_DECODER = msgspec.json.Decoder(StoredText, float_hook=str)
_ANY_NUMBER = json.JSONDecoder(parse_int=str, parse_float=str)


def read_searched(body: bytes) -> Searched:
    """What searches find of an activity, from its stored body."""
    text = _decode(body)
    thing, actor = text.object or Named(), text.actor
    parts = (thing.type, thing.id, thing.link, thing.name, actor.type, actor.id, actor.name)
    return Searched(
        text.name,
        text.source.name or "",
        thing.type,
        refs_of(thing.id, text.external_id, text.context),
        words_of(text.name, text.description, *parts, text.context),
    )


def read_refs(body: bytes) -> list[str]:
    """The references alone."""
    text = _decode(body)
    return refs_of(text.object.id if text.object else None, text.external_id, text.context)


def _decode(body: bytes) -> StoredText:
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError:  # an integer of more digits than Python reads: JSON has no limit
        return msgspec.convert(_ANY_NUMBER.decode(body.decode()), StoredText)
