"""Whose key it is: the check on every request, in microseconds, and the making of agents and keys."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence

from argon2 import PasswordHasher

from backstory.errors import InvalidCredentials, OperatorError
from backstory.model.access import (
    KEY_PREFIX,
    Agent,
    AuditEntry,
    Principal,
    Role,
    hash_key,
    new_key,
    read_authorization,
)
from backstory.model.activity import is_reserved_source
from backstory.model.identity import is_email
from backstory.model.moment import Microseconds, now
from backstory.store.base import Records

CACHE_SECONDS = 0.5
"""How long a key is taken as good without asking: a revocation is in force within a second, in every process."""

CACHE_SIZE = 10_000
MIN_PASSWORD = 8


class Authenticator:
    """Reads Authorization headers. Remembers good keys, bounded, for half a second; never bad ones."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._cache: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}

    def remembered(self, header: bytes) -> Principal | None:
        """Whose header this is, if that was asked within the last half second."""
        entry = self._cache.get(header)
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    async def authenticate(self, header: bytes | None) -> Principal:
        """Whose key an Authorization header has.

        Raises:
            InvalidCredentials: none, not ours, revoked or expired.
        """
        if not header:
            raise InvalidCredentials
        return self.remembered(header) or await self._ask(header)

    async def _ask(self, header: bytes) -> Principal:
        task = self._asking.get(header)
        if task is None:  # many requests with one key ask once
            task = asyncio.create_task(self._look_up(header))
            self._asking[header] = task
            task.add_done_callback(lambda _: self._asking.pop(header, None))
        principal = await asyncio.shield(task)
        if principal is None:
            raise InvalidCredentials
        return principal

    async def _look_up(self, header: bytes) -> Principal | None:
        asked = time.monotonic()
        key = read_authorization(header)
        principal = await self._records.principal(hash_key(key)) if key else None
        if principal is None or (principal.expires is not None and principal.expires <= now()):
            self._cache.pop(header, None)
            return None
        self._cache[header] = (asked + CACHE_SECONDS, principal)
        self._cache.move_to_end(header)
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return principal


async def create_agent(
    records: Records, email: str, name: str, role: Role, password: str, entry: AuditEntry
) -> Agent:
    """Create an agent.

    Raises:
        OperatorError: no email address, no name, a password that is too short, or the email is taken.
    """
    if not is_email(email):
        raise OperatorError(f"'{email}' is not an email address")
    if not name.strip():
        raise OperatorError("an agent needs a name")
    if len(password) < MIN_PASSWORD:
        raise OperatorError(f"the password needs at least {MIN_PASSWORD} characters")
    password_hash = await asyncio.to_thread(PasswordHasher().hash, password)
    return await records.create_agent(email.strip(), name.strip(), role, password_hash, entry)


async def create_key(
    records: Records,
    *,
    agent_email: str | None,
    sources: Sequence[str],
    expires: Microseconds | None,
    entry: AuditEntry,
) -> str:
    """Issue a key for an agent, or for an application under its source names; the key, never to be had again.

    Raises:
        OperatorError: both or neither were given, a source name cannot be, or there is no such agent.
    """
    if (agent_email is None) == (not sources):
        raise OperatorError(
            "a key belongs to an agent (--agent) or to an application (--source), to one of the two"
        )
    for source in sources:
        if not source.strip() or is_reserved_source(source):
            raise OperatorError(f"'{source}' cannot be the source name of an application")
    key = new_key()
    hint = f"{KEY_PREFIX}…{key[-4:]}"
    await records.create_key(
        hash_key(key), hint, agent_email=agent_email, sources=sources, expires=expires, entry=entry
    )
    return key
