"""An activity, stage by stage: as it is sent, as it is admitted, as it is kept, as it is answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from backstory.model.identity import (
    Conflict,
    Identifier,
    Kind,
    email_key,
    external_id_key,
    facebook_key,
    identity_key,
    phone_key,
    twitter_key,
)
from backstory.model.ids import ActivityId, ContactKey, Position
from backstory.model.moment import Microseconds, format_moment

MAX_NAME = 255
MAX_DESCRIPTION = 4_096
MAX_LINK = 2_048
MAX_TYPE = 255
MAX_IDENTIFIER = 255
MAX_TEXT = 1_024
MAX_IDENTITIES = 20
MAX_CONTEXT_BYTES = 256 * 1024
MAX_CONTEXT_DEPTH = 32
RESERVED_SOURCE = "backstory"

_Type = Annotated[str, Meta(min_length=1, max_length=MAX_TYPE, pattern=r"\S")]
_Text = Annotated[str, Meta(max_length=MAX_TEXT)]
_Link = Annotated[str, Meta(max_length=MAX_LINK)]
_Identifier = Annotated[str, Meta(max_length=MAX_IDENTIFIER)]


def is_reserved_source(name: str) -> bool:
    """Whether a source name is the service's own, however it is written."""
    return name.strip().lower() == RESERVED_SOURCE


class Actor(Struct, frozen=True, forbid_unknown_fields=True):
    """Who did it."""

    type: _Type
    id: _Text | None = None
    name: _Text | None = None


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """The application it came from."""

    name: _Type
    id: _Text | None = None


class Object(Struct, frozen=True, forbid_unknown_fields=True):
    """What it was done to."""

    type: Annotated[str, Meta(max_length=MAX_TYPE)] | None = None
    id: _Text | None = None
    link: _Link | None = None
    name: _Text | None = None


class SentActivity(Struct, frozen=True, forbid_unknown_fields=True):
    """`activity` of a publish request."""

    name: Annotated[str, Meta(min_length=1, pattern=r"\S", description="1-255 characters after trimming")]
    actor: Actor
    source: Source
    timestamp: str | None = None
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION)] | None = None
    link: _Link | None = None
    object: Object | None = None
    context: Raw = Raw(b"null")
    id: _Identifier | None = None


class Identity(Struct, frozen=True, forbid_unknown_fields=True):
    """The contact's id in another system. A blank one counts as absent, with its source."""

    source: Annotated[str, Meta(min_length=1, max_length=MAX_IDENTIFIER, pattern=r"\S")]
    id: _Identifier


class SentContact(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`contact` of a publish request: at least one identifier."""

    id: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    unique_external_id: _Identifier | None = None
    identities: Annotated[list[Identity], Meta(max_length=MAX_IDENTITIES)] | None = None
    email: _Identifier | None = None
    facebook_id: _Identifier | None = None
    twitter_id: _Identifier | None = None
    phone: _Identifier | None = None
    mobile: _Identifier | None = None
    name: Annotated[str, Meta(max_length=MAX_NAME)] | None = None
    is_actor: bool | None = None


def identifiers_of(contact: SentContact, region: str | None) -> Iterator[Identifier]:
    """The identifiers that were sent, strongest first; blank ones count as absent."""
    if contact.id is not None:
        yield Identifier(Kind.ID, str(contact.id), str(contact.id), "contact.id")
    if contact.unique_external_id and contact.unique_external_id.strip():
        value = contact.unique_external_id
        yield Identifier(Kind.EXTERNAL_ID, external_id_key(value), value, "contact.unique_external_id")
    for index, item in _first_of_each(contact.identities or ()):
        key = identity_key(item.source, item.id)
        yield Identifier(Kind.IDENTITY, key, item.id, f"contact.identities.{index}")
    if contact.email and contact.email.strip():
        yield Identifier(Kind.EMAIL, email_key(contact.email), contact.email.strip(), "contact.email")
    if contact.facebook_id and contact.facebook_id.strip():
        value = contact.facebook_id
        yield Identifier(Kind.FACEBOOK, facebook_key(value), value, "contact.facebook_id")
    if contact.twitter_id and contact.twitter_id.strip():
        value = contact.twitter_id
        yield Identifier(Kind.TWITTER, twitter_key(value), value, "contact.twitter_id")
    for kind, number in ((Kind.PHONE, contact.phone), (Kind.MOBILE, contact.mobile)):
        if number and number.strip():
            yield Identifier(kind, phone_key(number, region), number, f"contact.{kind}")


def _first_of_each(identities: Sequence[Identity]) -> Iterator[tuple[int, Identity]]:
    """Identities with their place, each once: one that was sent twice says no more than once, a blank one nothing."""
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(identities):
        if item.id.strip() and (item.source, item.id) not in seen:
            seen.add((item.source, item.id))
            yield index, item


class PublishRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of one publish request."""

    activity: SentActivity
    contact: SentContact


class Body(Struct, frozen=True):
    """What is kept of an activity and answered as it is: everything but `id` and `contact_id`.

    Kept as its JSON text, so that reading copies and never rebuilds; `context` in it is the sender's own text.
    """

    external_id: str | None
    name: str
    timestamp: str
    description: str | None
    link: str | None
    actor: Actor
    source: Source
    object: Object | None
    context: Raw
    is_actor: bool
    received_at: str


class Origin(Struct, frozen=True, omit_defaults=True):
    """How an activity found its contact, kept so that a merge can be undone exactly: the identifiers as sent."""

    contact: SentContact
    matched_by: str
    key_id: int | None = None


class Publication(Struct, frozen=True):
    """An admitted publish request: checked, trimmed, ready to be stored.

    `idempotency` are hashes under which a replay is recognised, the strongest alone; `digest` is of the SHA-256 of the
    activity's canonical JSON, taken only where a replay can be recognised.
    """

    timestamp: Microseconds
    received: Microseconds
    body: bytes
    name: str
    source: str
    object_type: str | None
    actor_type: str
    external_id: str | None
    identifiers: tuple[Identifier, ...]
    contact_name: str | None
    contact: SentContact
    key_id: int | None
    idempotency: bytes | None = None
    expires: Microseconds | None = None
    digest: bytes | None = None


class Published(Struct, frozen=True):
    """What became of a publication: where it is, and whether it was there before.

    The replay of an activity that was deleted since has no `matched_by`, and no contact where that is gone too.
    """

    id: ActivityId
    contact_id: int | None
    external_id: str | None
    matched_by: str | None
    duplicate: bool = False
    differs: bool = False
    conflicts: tuple[Conflict, ...] = ()


class Event(NamedTuple):
    """Something that happened here, such as a reply to a ticket: an activity of our own source, of a known contact."""

    contact_key: ContactKey
    publication: Publication


class Arrival(NamedTuple):
    """What tells an event of the order of arrival from all others: whether it is a deletion, and of which activity."""

    deleted: bool
    id: ActivityId


class Activity(NamedTuple):
    """A stored activity: its id, whose it is (home), when it happened, and its JSON text (see `Body`).

    `arrived` is where it stands in the order of arrival, where that is not what its id says.
    """

    id: ActivityId
    contact_key: ContactKey
    timestamp: Microseconds
    body: bytes
    arrived: Position | None = None

    @property
    def arrival(self) -> Position:
        """Where it stands in the order of arrival."""
        return self.id.position if self.arrived is None else self.arrived

    @property
    def key(self) -> Arrival:
        """Which event it is."""
        return Arrival(False, self.id)

    def answer(self, contact_id: int) -> bytes:
        """The activity as the API answers it."""
        return b'{"id":"%s","contact_id":%d,%s' % (str(self.id).encode(), contact_id, self.body[1:])


class Deletion(NamedTuple):
    """The trace of a deleted activity in the order of arrival, for those who follow live."""

    position: int
    contact_key: ContactKey
    id: ActivityId

    @property
    def arrival(self) -> Position:
        """Where it stands in the order of arrival."""
        return self.position

    @property
    def key(self) -> Arrival:
        """Which event it is."""
        return Arrival(True, self.id)


_BODY_ENCODER = msgspec.json.Encoder()


def own_event(
    contact_key: ContactKey,
    name: str,
    *,
    at: Microseconds,
    actor: Actor,
    about: Object,
    description: str | None = None,
    context: Mapping[str, Any] | None = None,
    is_actor: bool = False,
    received: Microseconds | None = None,
) -> Event:
    """An activity of our own source. `is_actor` says that the contact did it, not an agent.

    `received` is when it was written down, where that was not at once.
    """
    received = at if received is None else received
    body = Body(
        external_id=None,
        name=name,
        timestamp=format_moment(at),
        description=description,
        link=None,
        actor=actor,
        source=Source(RESERVED_SOURCE),
        object=about,
        context=Raw(_BODY_ENCODER.encode(context)),
        is_actor=is_actor,
        received_at=format_moment(received),
    )
    publication = Publication(
        timestamp=at,
        received=received,
        body=encode_body(body),
        name=name,
        source=RESERVED_SOURCE,
        object_type=about.type,
        actor_type=actor.type,
        external_id=None,
        identifiers=(),
        contact_name=None,
        contact=SentContact(),
        key_id=None,
    )
    return Event(contact_key, publication)


def encode_body(body: Body) -> bytes:
    """The JSON text of a body."""
    return _BODY_ENCODER.encode(body)


def join_answers(activities: Sequence[bytes]) -> bytes:
    """A JSON array of already encoded activities."""
    return b"[" + b",".join(activities) + b"]"
