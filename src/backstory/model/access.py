"""Who is asking: keys, their rights, and the traces that they leave."""

from __future__ import annotations

import base64
import hashlib
import secrets
from enum import StrEnum
from typing import Any

from msgspec import Struct

from backstory.model.moment import Microseconds


class Role(StrEnum):
    """What an agent is."""

    AGENT = "agent"
    ADMIN = "admin"


class Right(StrEnum):
    """What a route asks of a key. An admin may all of it, an agent READ and PUBLISH, a source key PUBLISH."""

    NONE = "no key needed"
    PUBLISH = "publish"
    READ = "agent"
    ADMIN = "admin"


class Principal(Struct, frozen=True):
    """Whoever is asking: an agent (with a role) by a key or a session, or an application (with its source names)."""

    key_id: int | None
    agent_id: int | None
    role: Role | None
    sources: frozenset[str]
    expires: Microseconds | None

    def may(self, right: Right) -> bool:
        """Whether this key has a right."""
        if right in (Right.NONE, Right.PUBLISH):
            return True
        return self.role is Role.ADMIN or (right is Right.READ and self.role is Role.AGENT)

    def may_publish(self, source: str) -> bool:
        """Whether this key may publish under a source name."""
        return self.role is not None or source in self.sources

    @property
    def actor(self) -> str:
        """How the audit log names whoever uses this key."""
        return f"agent:{self.agent_id}" if self.agent_id is not None else f"key:{self.key_id}"


class Session(Struct, frozen=True):
    """An agent who is signed in to the pages, and how they want things shown."""

    agent_id: int
    name: str
    email: str
    role: Role
    created_at: Microseconds
    seen_at: Microseconds
    expires_at: Microseconds
    preferences: dict[str, Any]

    @property
    def principal(self) -> Principal:
        """The agent as whoever is asking."""
        return Principal(None, self.agent_id, self.role, frozenset(), self.expires_at)


class KeyInfo(Struct, frozen=True):
    """A key as it is listed: everything but the key."""

    id: int
    hint: str
    agent: str | None
    sources: tuple[str, ...]
    created_at: Microseconds
    expires_at: Microseconds | None
    revoked_at: Microseconds | None


class Agent(Struct, frozen=True):
    """Somebody who works with the contacts."""

    id: int
    email: str
    name: str
    role: Role
    created_at: Microseconds


class Colleague(Struct, frozen=True):
    """An agent as admins list them. Without a password nobody can sign in."""

    id: int
    email: str
    name: str
    role: Role
    created_at: Microseconds
    last_active_at: Microseconds | None
    deactivated_at: Microseconds | None
    has_password: bool


class AuditEntry(Struct, frozen=True):
    """Who did what to what, when and from where; never a personal value."""

    at: Microseconds
    actor: str
    action: str
    target: str
    origin: str
    details: dict[str, Any] = {}


class Rejection(Struct, frozen=True):
    """A publish request that was refused, as an admin reads it: the body shortened, never with a key."""

    at: Microseconds
    request_id: str
    path: str
    status: int
    key_id: int | None
    source: str | None
    errors: tuple[dict[str, Any], ...]
    body: str


KEY_PREFIX = "bs_"


def new_key() -> str:
    """A key with 192 random bits, in an alphabet that needs no quoting anywhere."""
    return KEY_PREFIX + secrets.token_hex(24)


def hash_key(key: str) -> bytes:
    """How a key is kept. Keys are random and long, so a fast hash is as good as a slow one."""
    return hashlib.sha256(key.encode()).digest()


def read_authorization(header: bytes) -> str | None:
    """The key in an Authorization header (contract 2): Basic, its base64 without the word, or Bearer."""
    text = header.decode("latin-1").strip()
    scheme, _, rest = text.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    credentials = rest.strip() if scheme.lower() == "basic" else text
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except ValueError:  # not base64, not ASCII, or not UTF-8 inside
        return None
    return decoded.partition(":")[0] or None
