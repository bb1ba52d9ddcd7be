"""Signing in to the pages: sessions that can be ended, and failures that slow down whoever guesses."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from backstory.model.access import Session
from backstory.model.moment import Microseconds, now
from backstory.store.base import Records, RecordsTransaction
from backstory.store.records import sessions

_SECOND = 1_000_000
IDLE = 12 * 3600 * _SECOND
"""A session ends after so long without a request."""

LIFETIME = 14 * 24 * 3600 * _SECOND
"""A session ends so long after it began, however busy it is."""

SEEN_EVERY = 60 * _SECOND
CACHE_SECONDS = 0.5
"""How long a session is taken as good without asking: its end is in force within a second, in every process."""

CACHE_SIZE = 10_000
EMAIL_TRIES = 5
ADDRESS_TRIES = 20
"""So many failures are free: of one email, and (many people share one) of one address."""

FIRST_WAIT = 5
LONGEST_WAIT = 15 * 60
FORGET_AFTER = 24 * 3600 * _SECOND
MAX_HASHES = 2
"""So many passwords are checked at once: each takes a core and 64 MiB."""


class SignedIn(NamedTuple):
    """A sign-in that went well: the token of the new session, never to be had again."""

    token: str


class WrongPassword(NamedTuple):
    """No agent with this email and password."""


class TooManyTries(NamedTuple):
    """Not looked at: whoever tries must wait so many seconds."""

    seconds: int


class Sessions:
    """Who is signed in. Remembers good sessions, bounded, for half a second; never bad ones."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._cache: OrderedDict[bytes, tuple[float, Session]] = OrderedDict()
        self._hasher = PasswordHasher()
        self._hashes = asyncio.Semaphore(MAX_HASHES)
        self._nobody: str | None = None

    async def has_agents(self) -> bool:
        """Whether anybody works here yet."""
        return await self._records.read(sessions.has_agents)

    async def sign_in(
        self, email: str, password: str, address: str
    ) -> SignedIn | WrongPassword | TooManyTries:
        """Begin a session. `address` is where the request came from."""
        by_email, by_address = _key("email", _folded(email)), _key("address", address)
        # Counted before the password is looked at, so that guesses made at the same time are counted too.
        if wait := await self._count_try(by_email, by_address):
            return TooManyTries(wait)
        agent_id = await self._agent_with(email, password)
        if agent_id is None:
            return WrongPassword()
        token = secrets.token_urlsafe(32)

        def begin(transaction: RecordsTransaction) -> None:
            records, moment = transaction.records, now()
            sessions.insert_session(records, hash_token(token), agent_id, moment, moment + LIFETIME)
            sessions.save_failures(records, by_email, sessions.Failures(0, 0))
            tried = sessions.select_failures(records, by_address)
            sessions.save_failures(records, by_address, sessions.Failures(tried.count - 1, tried.last_at))

        await self._records.write(begin)
        return SignedIn(token)

    async def _count_try(self, by_email: bytes, by_address: bytes) -> int:
        """Count a try as failed; the seconds to wait where there were too many, and nothing is counted."""

        def work(transaction: RecordsTransaction) -> int:
            records, moment = transaction.records, now()
            sessions.delete_failures_before(records, moment - FORGET_AFTER)
            tried = {
                (key, free): sessions.select_failures(records, key)
                for key, free in ((by_email, EMAIL_TRIES), (by_address, ADDRESS_TRIES))
            }
            wait = max(seconds_to_wait(failures, free, moment) for (_, free), failures in tried.items())
            if not wait:
                for (key, _), failures in tried.items():
                    sessions.save_failures(records, key, sessions.Failures(failures.count + 1, moment))
            return wait

        return await self._records.write(work)

    async def _agent_with(self, email: str, password: str) -> int | None:
        found = await self._records.read(lambda records: sessions.select_password(records, _folded(email)))
        agent_id, password_hash = found or (None, "")
        async with self._hashes:
            good = await asyncio.to_thread(self._verify, password_hash, password)
        return agent_id if good else None

    def _verify(self, password_hash: str, password: str) -> bool:
        """Whether a password is right. Where there is none it takes as long, so that nobody learns who works here."""
        if not password_hash:
            if self._nobody is None:
                self._nobody = self._hasher.hash(secrets.token_hex(16))
            self._matches(self._nobody, password)
            return False
        return self._matches(password_hash, password)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def session(self, token: str) -> Session | None:
        """The session of a token; None where it is not one of ours, has ended, or its agent was let go."""
        token_hash = hash_token(token)
        entry = self._cache.get(token_hash)
        if entry is not None and entry[0] > time.monotonic():
            return entry[1]
        return await self._look_up(token_hash)

    async def _look_up(self, token_hash: bytes) -> Session | None:
        asked, moment = time.monotonic(), now()
        session = await self._records.read(lambda records: sessions.select_session(records, token_hash))
        if session is None or session.expires_at <= moment or session.seen_at + IDLE <= moment:
            self._cache.pop(token_hash, None)
            return None
        if session.seen_at + SEEN_EVERY <= moment:
            await self._records.write(
                lambda transaction: sessions.update_session_seen(transaction.records, token_hash, moment)
            )
        self._cache[token_hash] = (asked + CACHE_SECONDS, session)
        self._cache.move_to_end(token_hash)
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return session

    async def prefer(self, token: str, changes: Mapping[str, Any]) -> None:
        """Keep how a session's agent wants things shown."""
        token_hash = hash_token(token)
        await self._records.write(
            lambda transaction: sessions.update_preferences(transaction.records, token_hash, changes)
        )
        self._cache.pop(token_hash, None)

    async def sign_out(self, token: str) -> None:
        """End a session; one that has ended already stays so."""
        token_hash = hash_token(token)
        await self._records.write(
            lambda transaction: sessions.delete_session(transaction.records, token_hash)
        )
        self._cache.pop(token_hash, None)


def hash_token(token: str) -> bytes:
    """How a session's token is kept. Tokens are random and long, so a fast hash is as good as a slow one."""
    return hashlib.sha256(token.encode()).digest()


def _folded(email: str) -> str:
    return email.replace("\0", "").strip().lower()  # not every engine can even ask for U+0000


def _key(kind: str, value: str) -> bytes:
    return hashlib.sha256(f"{kind}:{value}".encode()).digest()


def seconds_to_wait(failures: sessions.Failures, free: int, moment: Microseconds) -> int:
    """How long the next try must wait: nothing while few failed, then twice as long with each."""
    if failures.count < free:
        return 0
    wait = min(FIRST_WAIT << min(failures.count - free, 20), LONGEST_WAIT)
    left = failures.last_at + wait * _SECOND - moment
    return max(0, -(-left // _SECOND))
