"""An installation that an older program left is served by this one: with its people, keys, replays, and words found."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3 as sqlite3
import pytest

from backstory.model.access import hash_key
from backstory.model.ids import ActivityId, Position, first_position
from backstory.model.moment import now
from backstory.store import migrations
from backstory.store.log.index_entries import EVERYTHING
from backstory.store.postgres import PostgresStore
from backstory.store.sqlite_database import SqliteDatabase
from tests.http.test_publish import publish
from tests.http.wire import ACTIVITIES, find
from tests.servers.engines import Maker
from tests.store.support import publication
from tests.support import Installation, publish_request, wait_until

pytestmark = pytest.mark.every_engine(cluster=False)

REVISIONS = ("0001", "0002", "0003")
KEY = "key-of-before"
ZOE = {"email": "zoe@example.com"}


class Older(Installation):
    """What a program of before left: a contact with activities, an admin with a key. Its schema is a revision's."""

    def __init__(self, directory: Path, *, revision: str, **more: Any) -> None:
        self._revision = revision
        self.ids: list[ActivityId] = []
        super().__init__(directory, **more)

    def _let_in(self) -> tuple[str, str, str]:
        with pytest.MonkeyPatch.context() as past:
            past.setattr(migrations, "HEAD", self._revision)
            asyncio.run(self._make())
        self._fill()
        return KEY, "", ""

    async def _make(self) -> None:
        if self.database_url.startswith("sqlite:"):
            database = SqliteDatabase(self.database)
            database.open()
            await database.close()
        else:
            store = PostgresStore(self.database_url)
            store.open()
            await store.close()

    def _blob(self, value: bytes) -> str:
        return (
            f"x'{value.hex()}'" if self.database_url.startswith("sqlite:") else f"'\\x{value.hex()}'::bytea"
        )

    def _fill(self) -> None:
        moment = now()
        first = self._revision == "0001"
        admin = 1 if first else 2  # agents became contacts with the second one, and have their numbers
        is_agent = "" if first else ", is_agent"
        for number, name, email, agent in (
            (1, "Zoe", "zoe@example.com", "false"),
            (2, "Admin", "admin@example.com", "true"),
        ):
            key = self._blob(bytes([number]) * 16)
            self.sql(
                f"INSERT INTO contacts (key, name, named, email, created_at, updated_at{is_agent}) VALUES"
                f" ({key}, '{name}', true, '{email}', {moment}, {moment}{'' if first else f', {agent}'})"
            )
            self.sql(
                "INSERT INTO identifiers (key, kind, value, contact_id, created_at) VALUES"
                f" ('email:{email}', 'email', '{email}', {number}, {moment})"
            )
        self.sql(
            "INSERT INTO agents (id, email, email_key, name, role, password_hash, created_at) VALUES"
            f" ({admin}, 'admin@example.com', 'admin@example.com', 'Admin', 'admin', 'x', {moment})"
        )
        self.sql(
            "INSERT INTO api_keys (hash, hint, agent_id, sources, created_at) VALUES"
            f" ({self._blob(hash_key(KEY))}, 'fore', {admin}, '[]', {moment})"
        )
        position = first_position(moment // 1_000 - 60_000)
        for number in range(3):
            self._add_activity(number, position + number)

    def _add_activity(self, number: int, position: Position) -> None:
        item = publication(ZOE, id=f"old-{number}", name="Paid", context={"Note": f"quixotic n{number}"})
        assert item.idempotency is not None
        assert item.digest is not None
        self.ids.append(ActivityId(position, number))
        home, body, origin = (
            self._blob(each)
            for each in (
                b"\1" * 16,
                item.body,
                b'{"contact":{"email":"zoe@example.com"},"matched_by":"email"}',
            )
        )
        self.sql(
            f"INSERT INTO activities VALUES ({position}, {number}, {home}, {item.timestamp}, '{item.source}', 'Paid',"
            f" NULL, '{item.actor_type}', {body}, {origin})"
        )
        long = self.database_url.startswith("sqlite:") and self._revision < "0003"
        hash_, digest = (
            self._blob(each + secrets.token_bytes(16 * long)) for each in (item.idempotency, item.digest)
        )
        self.sql(f"INSERT INTO event_keys VALUES ({hash_}, {position}, {digest}, NULL)")
        if self.database_url.startswith("sqlite:"):  # as if it had been indexed
            with closing(sqlite3.connect(str(self.database))) as index, index:
                index.execute("INSERT INTO postings VALUES (?, ?, ?)", (EVERYTHING, item.timestamp, position))
                index.execute(
                    "INSERT INTO words (rowid, folded) VALUES (?, ?)", (position, f"quixotic n{number}")
                )
                index.execute("UPDATE log_state SET value = ? WHERE name = 'indexed'", (str(position),))


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_installation_of_before_is_served(make_installation: Maker, tmp_path: Path, revision: str) -> None:
    server = make_installation(tmp_path, Older, revision=revision)
    assert isinstance(server, Older)
    try:
        with server.start().client() as api:
            ids = [str(each) for each in server.ids]
            wait_until(lambda: len(find(api, q="quixotic")) == 3, what="the index")
            assert [each["id"] for each in find(api, q="n1")] == [ids[1]]
            assert [each["id"] for each in find(api, ref="old-2")] == [ids[2]]
            again = publish(api, publish_request(id="old-0", name="Paid", contact=ZOE))
            assert (again["id"], again["duplicate"], again["contact_id"]) == (ids[0], True, 1)
            new = publish(api, publish_request(name="Later", contact=ZOE))
            read = api.get("/api/v2/contacts/1/activities").json()
            assert {each["id"] for each in read} == {*ids, new["id"]}
            assert api.delete(f"{ACTIVITIES}/{ids[1]}").status_code == 204
            assert {each["id"] for each in find(api, q="quixotic")} == {ids[0], ids[2]}
            assert server.cli("keys", "revoke", "1").returncode == 0
            wait_until(
                lambda: api.get("/api/v2/contacts/1").status_code == 401, seconds=2, what="the revocation"
            )
        told = server.cli("doctor", check=False).stdout  # of the tests' PostgreSQL, that its fsync is off
        assert "schema is" not in told
        assert "index" not in told
    finally:
        server.kill()
