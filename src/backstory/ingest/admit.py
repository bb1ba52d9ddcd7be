"""Admitting one publish request: its JSON text in, a checked `Publication` out, or every fault at once."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from backstory.errors import AccessDenied, FieldErrors, InvalidJson
from backstory.ingest.validate import collect_faults, context_too_large
from backstory.model.access import Principal
from backstory.model.activity import (
    MAX_CONTEXT_BYTES,
    MAX_CONTEXT_DEPTH,
    MAX_NAME,
    Body,
    Object,
    Publication,
    PublishRequest,
    SentActivity,
    SentContact,
    encode_body,
    identifiers_of,
    is_reserved_source,
)
from backstory.model.identity import is_email, is_phone
from backstory.model.json_text import depth_exceeds, digest, parse_exact, read_plain
from backstory.model.moment import Microseconds, format_moment, parse_moment

IDEMPOTENCY_KEY_LIFETIME = 24 * 3600 * 1_000_000
HASH_BYTES = 16
"""Of each SHA-256: no two activities of an installation ever meet in 128 bits, and their order is random, so every byte
of them is paid for in pages that no longer fit the cache."""

_NULL = b"null"


class Arrival(NamedTuple):
    """What the sender's request says beside its body: who sent it, when it came, and what makes a replay of it.

    `idempotency_key` is the header's value (with the index in a batch), None where there was none.
    """

    principal: Principal
    received: Microseconds
    idempotency_key: str | None = None
    phone_region: str | None = None


class _RawActivity(Struct):
    context: Raw = Raw(b"")


class _RawParts(Struct):
    activity: _RawActivity


_REQUEST = msgspec.json.Decoder(PublishRequest)
_PARTS = msgspec.json.Decoder(_RawParts)


def admit(body: bytes, arrival: Arrival) -> Publication:
    """Check one publish request and make it ready to be stored.

    Raises:
        InvalidJson: the text is not JSON as the contract means it.
        AccessDenied: the key may not publish under this source name.
        FieldErrors: with every fault of the request.
    """
    tree = read_plain(body)
    if tree is None:
        tree = _parse(body)
    request = _decode(body)
    timestamp = None if request is None else _timestamp(request, arrival.received)
    if request is None or timestamp is None or not _is_good(request, body, tree):
        raise _refusal(body, arrival.principal)
    if not arrival.principal.may_publish(request.activity.source.name):
        raise _foreign_source(request.activity.source.name)
    return _publication(request, tree, timestamp, arrival)


def _parse(body: bytes) -> Any:
    try:
        return parse_exact(body)
    except ValueError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None


def _decode(body: bytes) -> PublishRequest | None:
    """The typed request; None where its types are wrong."""
    try:
        return _REQUEST.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _timestamp(request: PublishRequest, received: Microseconds) -> Microseconds | None:
    """When it happened; None where that cannot be read."""
    text = request.activity.timestamp
    if text is None:
        return received
    try:
        return parse_moment(text)
    except ValueError:
        return None


def _is_good(request: PublishRequest, body: bytes, tree: Any) -> bool:
    """What the types cannot say."""
    activity, contact = request.activity, request.contact
    context = bytes(activity.context)
    return (
        len(activity.name.strip()) <= MAX_NAME
        and not is_reserved_source(activity.source.name)
        and len(context) <= MAX_CONTEXT_BYTES
        and context.startswith((b"{", _NULL))
        and not (context.count(b"{") + context.count(b"[") > MAX_CONTEXT_DEPTH and _is_too_deep(tree))
        and (b"\\u0000" not in body or not collect_faults(_parse(body)))
        and _is_known(contact)
    )


def _is_too_deep(tree: Any) -> bool:
    return depth_exceeds(tree["activity"]["context"], MAX_CONTEXT_DEPTH)


def _is_known(contact: SentContact) -> bool:
    """Whether it says, well-formed, who it is."""
    if contact.email and contact.email.strip() and not is_email(contact.email):
        return False
    numbers = [number for number in (contact.phone, contact.mobile) if number and number.strip()]
    if not all(map(is_phone, numbers)):
        return False
    given = (contact.email, contact.unique_external_id, contact.facebook_id, contact.twitter_id)
    known = [*given, *(each.id for each in contact.identities or ())]
    return bool(contact.id or numbers or any(each and each.strip() for each in known))


def _refusal(body: bytes, principal: Principal) -> Exception:
    """Why a request is refused: rights before faults (contract 3)."""
    tree = _parse(body)
    faults = collect_faults(tree)
    source = _sent_source(tree)
    if source is not None and not principal.may_publish(source):
        return _foreign_source(source)
    context = _context_text(body)
    if len(context) > MAX_CONTEXT_BYTES:
        faults.append(context_too_large(len(context)))
    assert faults, "the fast pass refused what the slow pass finds no fault with"
    return FieldErrors(faults)


def _sent_source(tree: Any) -> str | None:
    for key in ("activity", "source", "name"):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, str) else None


def _foreign_source(name: str) -> AccessDenied:
    return AccessDenied(f"This key may not publish under the source name '{name[:60]}'.")


def _context_text(body: bytes) -> bytes:
    try:
        return bytes(_PARTS.decode(body).activity.context)
    except (msgspec.DecodeError, RecursionError):
        return b""  # something else is wrong with it, and is reported


def _publication(
    request: PublishRequest, tree: Any, timestamp: Microseconds, arrival: Arrival
) -> Publication:
    activity, contact = request.activity, request.contact
    external_id = activity.id or None
    idempotency, expires = _idempotency(activity, arrival)
    return Publication(
        timestamp=timestamp,
        received=arrival.received,
        body=encode_body(_body(activity, contact, timestamp, external_id, arrival.received)),
        name=activity.name.strip(),
        source=activity.source.name,
        object_type=activity.object.type if activity.object else None,
        actor_type=activity.actor.type,
        external_id=external_id,
        identifiers=tuple(identifiers_of(contact, arrival.phone_region)),
        contact_name=(contact.name or "").strip() or None,
        contact=contact,
        key_id=arrival.principal.key_id,
        idempotency=idempotency,
        expires=expires,
        digest=digest(tree["activity"])[:HASH_BYTES] if idempotency else None,
    )


def _body(
    activity: SentActivity,
    contact: SentContact,
    timestamp: Microseconds,
    external_id: str | None,
    received: Microseconds,
) -> Body:
    return Body(
        external_id=external_id,
        name=activity.name.strip(),
        timestamp=format_moment(timestamp),
        description=activity.description,
        link=activity.link or None,
        actor=activity.actor,
        source=activity.source,
        object=_described(activity.object),
        context=activity.context,
        is_actor=contact.is_actor is not False,
        received_at=format_moment(received),
    )


def _described(what: Object | None) -> Object | None:
    """What it was done to; an empty link counts as absent."""
    return replace(what, link=None) if what is not None and what.link == "" else what


def _idempotency(activity: SentActivity, arrival: Arrival) -> tuple[bytes | None, Microseconds | None]:
    """The hash under which a replay is recognised, and until when: the sender's id wins over the header."""
    if activity.id:
        return _hash("id", activity.source.name, activity.id), None
    if arrival.idempotency_key:
        scope = str(arrival.principal.key_id)
        return _hash("key", scope, arrival.idempotency_key), arrival.received + IDEMPOTENCY_KEY_LIFETIME
    return None, None


def _hash(*parts: str) -> bytes:
    # The parts cannot contain U+0000, so joining them by it is unambiguous.
    return hashlib.sha256("\0".join(parts).encode()).digest()[:HASH_BYTES]
