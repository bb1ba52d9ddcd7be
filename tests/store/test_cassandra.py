"""The activity log on Cassandra, where it differs from the others: buckets, claims, crashes, clocks, refusals."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cassandra import AuthenticationFailed, Unauthorized
from cassandra.cluster import NoHostAvailable

from backstory.errors import (
    BackstoryError,
    FieldErrors,
    OperatorError,
    SettingError,
    StorageError,
    Unavailable,
)
from backstory.helpdesk import erasing
from backstory.helpdesk.erasing import Eraser
from backstory.helpdesk.files import AttachmentFiles
from backstory.live.hub import MAX_QUEUED, Hub, Signal
from backstory.model.access import AuditEntry
from backstory.model.activity import Activity, Actor, Object, Published, own_event
from backstory.model.ids import ActivityId, first_position, new_contact_key
from backstory.model.page import Filters, Place
from backstory.store.cassandra import CassandraStore, take_lane
from backstory.store.copying import KeptActivity
from backstory.store.log import cassandra_buckets, cassandra_copy, cassandra_walk
from backstory.store.log.cassandra import (
    LANES,
    PUT_ROW,
    PUT_WHERE,
    Appended,
    CassandraLog,
    Draft,
    written,
)
from backstory.store.log.cassandra_buckets import bucket_at
from backstory.store.log.cassandra_copy import CassandraLogCopy
from backstory.store.log.cassandra_session import CassandraSession, Write, agreed_clock, explain, read_address
from backstory.store.publish import NewRow
from backstory.transfer import Summary, import_file
from tests.servers.cassandra import KEYSPACE, CassandraCluster
from tests.servers.programs import free_port
from tests.store.support import ENTRY, NOON, home_of, kept_in, publication, publish_one
from tests.support import publish_request

HOUR = 3600 * 1_000_000
DAY = 24 * HOUR


class Audit:
    """What was audited."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def __call__(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


async def is_there(contact_key: bytes) -> bool:
    """Nobody is erased."""
    return True


def open_log(cluster: CassandraCluster, installation: str) -> CassandraLog:
    """A process's log; each installation of the keyspace is empty at first."""
    url = cluster.url(KEYSPACE, options=f"?installation={installation}")
    opened = CassandraLog(read_address(url), Audit(), is_there)
    opened.open()
    return opened


@pytest.fixture
async def log(
    cassandra_cluster: CassandraCluster, request: pytest.FixtureRequest
) -> AsyncIterator[CassandraLog]:
    opened = open_log(cassandra_cluster, request.node.name)  # the test's own installation
    yield opened
    await opened.close()


def rows(contact: bytes, count: int, chance: random.Random | None = None, span: int = 1) -> list[NewRow]:
    chance = chance or random.Random(0)
    items = [publication(at=NOON + chance.randrange(span), name=f"event {number}") for number in range(count)]
    return [NewRow(item, contact, b"{}") for item in items]


async def append(log: CassandraLog, *new: NewRow) -> list[Appended]:
    results = await log.append(new)
    assert all(isinstance(each, Appended) for each in results), results
    return [each for each in results if isinstance(each, Appended)]


async def whole(log: CassandraLog, contact: bytes, limit: int = 7) -> list[Activity]:
    found: list[Activity] = []
    after: Place | None = None
    while True:
        page = await log.page([contact], Filters(), after, limit)
        found.extend(page.activities)
        if page.next is None:
            return found
        after = page.next


async def test_a_log_alone(log: CassandraLog) -> None:
    contact = new_contact_key()
    appended = await append(log, *rows(contact, 30, span=5 * 360 * DAY))
    found = await whole(log, contact)
    assert sorted(each.id for each in found) == [each.id for each in appended]
    assert [(each.timestamp, each.id) for each in found] == sorted(
        [(each.timestamp, each.id) for each in found], reverse=True
    )
    assert await log.get(appended[3].id) in found
    assert [each.id for each in (await log.find(Filters(), None, 100)).activities] == [
        each.id for each in found
    ]
    arrivals = await log.arrivals([contact], 0, 100)
    assert [each.id for each in arrivals.events] == [each.id for each in appended]
    assert (await log.stream_position()).position == appended[-1].id.position


# Buckets.


async def test_a_full_bucket_is_divided_and_pages_stay_whole(
    log: CassandraLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassandra_buckets, "FULL_ROWS", 8)
    contact, chance = new_contact_key(), random.Random(3)
    appended = []
    for span in (1, DAY, 400 * DAY, HOUR):
        appended += await append(log, *rows(contact, 40, chance, span))
    found: list[Activity] = []
    for limit in (1, 9, 100):
        found = await whole(log, contact, limit)
        assert len(found) == len(appended) == 160
        places = [(each.timestamp, each.id) for each in found]
        assert places == sorted(places, reverse=True)
    found_everywhere = [each.id for each in (await log.find(Filters(name="event 7"), None, 100)).activities]
    assert found_everywhere == [each.id for each in found if b'"event 7"' in each.body]


async def test_a_fresh_process_learns_that_a_bucket_is_full(
    cassandra_cluster: CassandraCluster, log: CassandraLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassandra_buckets, "FULL_ROWS", 30)
    monkeypatch.setattr(cassandra_buckets, "FIRST_COUNT_ROWS", 5)
    contact = new_contact_key()
    await append(log, *rows(contact, 40))
    other = open_log(cassandra_cluster, "test_a_fresh_process_learns_that_a_bucket_is_full")
    await append(other, *rows(contact, 5))
    await other.settle()
    chosen = other.bucket_of(contact, NOON)
    assert chosen.level > 0
    assert len(await whole(other, contact)) == 45
    await other.close()


# Replays and crashes.


async def test_a_retry_finishes_what_a_crash_cut_off(
    cassandra_cluster: CassandraCluster, log: CassandraLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is claimed, the process dies; the retry, with another content, gets and stores what was claimed."""
    contact = new_contact_key()
    first = NewRow(publication(id="evt-1", name="first", at=NOON), contact, b'{"first":1}')

    async def crash(*_: object) -> None:
        raise Unavailable("the process died here")

    with monkeypatch.context() as patch:
        patch.setattr("backstory.store.log.cassandra_session.CassandraSession.write_together", crash)
        (result,) = await log.append([first])
        assert isinstance(result, Unavailable)
    assert await whole(log, contact) == []
    assert await log.known([first.publication.idempotency or b""]) == {}
    other = open_log(cassandra_cluster, "test_a_retry_finishes_what_a_crash_cut_off")
    retry = NewRow(publication(id="evt-1", name="second", at=NOON + DAY), new_contact_key(), b"{}")
    (finished,) = await append(other, retry)
    assert finished.known is not None
    assert (finished.known.contact_key, finished.known.origin) == (contact, b'{"first":1}')
    (activity,) = await whole(log, contact)
    assert (activity.id, activity.timestamp, activity.body) == (finished.id, NOON, first.publication.body)
    assert [each.id for each in (await other.arrivals([contact], 0, 10)).events] == [finished.id]
    assert (await append(log, first))[0].known == finished.known
    assert len((await log.find(Filters(ref="evt-1"), None, 10)).activities) == 1
    await other.close()


async def test_what_is_healed_late_arrives_late(log: CassandraLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who watched all along hears of it: its id says when it came, its arrival when it was stored."""
    contact = new_contact_key()
    first = NewRow(publication(id="evt-1"), contact, b"{}")

    async def crash(*_: object) -> None:
        raise Unavailable("the process died here")

    hour_ago = time.time_ns() - 3600 * 10**9
    with monkeypatch.context() as patch:
        patch.setattr("time.time_ns", lambda: hour_ago)
        patch.setattr("backstory.store.log.cassandra_session.CassandraSession.write_together", crash)
        await log.append([first])
    await append(log, *rows(contact, 1))
    before = (await log.stream_position()).position
    (finished,) = await append(log, first)
    (event,) = (await log.arrivals([contact], before, 10)).events
    assert isinstance(event, Activity)
    assert event.id == finished.id
    assert event.arrived is not None
    assert event.arrived > before > event.id.position


async def test_two_processes_race_for_one_key(cassandra_cluster: CassandraCluster, log: CassandraLog) -> None:
    other = open_log(cassandra_cluster, "test_two_processes_race_for_one_key")
    contact = new_contact_key()
    items = [NewRow(publication(id="evt-1", name=f"try {number}"), contact, b"{}") for number in range(16)]
    results = await asyncio.gather(
        *(append(each, item) for item, each in zip(items, [log, other] * 8, strict=True))
    )
    assert len({each.id for (each,) in results}) == 1
    assert [each.known for (each,) in results].count(None) == 1
    assert len(await whole(log, contact)) == 1
    await other.close()


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("postgresql://127.0.0.1/x", "expected cassandra://"),
        ("cassandra:///x", "expected cassandra://"),
        ("cassandra://127.0.0.1", "the keyspace is ''"),
        ("cassandra://127.0.0.1/a-b", "the keyspace is 'a-b'"),
        ("cassandra://127.0.0.1:x/a", "'127.0.0.1:x' is no HOST"),
        ("cassandra://127.0.0.1/a?speed=9", "there is no option 'speed'"),
        ("cassandra://127.0.0.1/a?consistency=one", "the consistency is 'one'"),
        ("cassandra://127.0.0.1/a?replication=0", "the replication is '0'"),
        ("cassandra://127.0.0.1/a?tls=maybe", "tls is 'maybe'"),
    ],
)
def test_a_wrong_address_is_named(url: str, wrong: str) -> None:
    with pytest.raises(SettingError, match=re.escape(wrong)):
        read_address(url)


def test_what_cannot_be_reached_or_entered_is_named(cassandra_cluster: CassandraCluster) -> None:
    for url, wrong in (
        (cassandra_cluster.url(KEYSPACE, password="wrong"), "the login failed"),
        (f"cassandra://127.0.0.1:{free_port()}/x", "no node answers: Connection refused$"),
        ("cassandra://nowhere.invalid/x", "none of these names is known"),
        (cassandra_cluster.url(KEYSPACE, options="?dc=elsewhere"), "is the data centre"),
    ):
        with pytest.raises(StorageError, match=wrong) as error:
            CassandraLog(read_address(url), Audit(), is_there).open()
        assert "wrong" not in str(error.value)


LOGIN = (
    'Failed to authenticate to 127.0.0.1:9042: Error from server: code=0100 [Bad credentials] message="{}"'
)
FEW = "Unable to perform authentication: Cannot achieve consistency level LOCAL_QUORUM"
RIGHT = 'Error from server: code=2100 [Unauthorized] message="User op has no MODIFY permission on <table x.log_state>"'


def no_host(*errors: Exception) -> NoHostAvailable:
    return NoHostAvailable("Unable to complete the operation", dict(enumerate(errors)))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            no_host(OSError("[1]. Last error: refused"), OSError("[2]. Last error: refused")),
            "no node answers: refused",
        ),
        (no_host(), "no node answers"),
        (no_host(AuthenticationFailed(LOGIN.format("is incorrect"))), "the login failed: is incorrect"),
        (
            no_host(AuthenticationFailed(LOGIN.format(FEW)), OSError("refused")),
            f"the login cannot be checked ({FEW}; OSError: refused): too few of the nodes answer that keep the logins"
            " (keyspace system_auth): start them",
        ),
        (
            Unauthorized(RIGHT),
            "this user lacks a right (User op has no MODIFY permission on <table x.log_state>): an administrator grants"
            " it (GRANT)",
        ),
        (
            Unauthorized(FEW),
            f"the login cannot be checked (Unauthorized: {FEW}): too few of the nodes answer that keep the logins"
            " (keyspace system_auth): start them",
        ),
    ],
)
def test_what_went_wrong_is_told_in_a_line(error: Exception, told: str) -> None:
    assert explain(error) == told


def test_a_user_without_rights_is_named() -> None:
    session = CassandraSession(read_address("cassandra://127.0.0.1/x"))
    with pytest.raises(StorageError, match="keyspace x: this user lacks a right"), session.naming_faults():
        raise Unauthorized(RIGHT)


def test_what_the_user_may_not_do_is_named(cassandra_cluster: CassandraCluster) -> None:
    """At the start: a right that is missing would be met by the first publication, or the first deletion."""
    open_log(cassandra_cluster, "made")  # the keyspace and its tables
    nowhere = cassandra_cluster.new_keyspace()
    with cassandra_cluster.session() as session:
        for role, rights in (("nothing", ()), ("reader", ("SELECT",)), ("writer", ("SELECT", "MODIFY"))):
            session.execute(f"CREATE ROLE {role} WITH PASSWORD = 'secret' AND LOGIN = true")
            for right in rights:
                session.execute(f"GRANT {right} ON KEYSPACE {KEYSPACE} TO {role}")
    for role, keyspace in (("nothing", nowhere), ("nothing", KEYSPACE), ("reader", KEYSPACE)):
        url = cassandra_cluster.url(keyspace, user=role, password="secret")
        with pytest.raises(StorageError, match="lacks a right") as error:
            CassandraLog(read_address(url), Audit(), is_there).open()
        assert "secret" not in str(error.value)
    enough = cassandra_cluster.url(KEYSPACE, user="writer", password="secret")
    allowed = CassandraLog(read_address(enough), Audit(), is_there)
    allowed.open()
    allowed.session.close()


@pytest.mark.parametrize(("version", "what"), [("0", "older"), ("99", "newer")])
def test_a_schema_of_another_version_is_refused(
    cassandra_cluster: CassandraCluster, version: str, what: str
) -> None:
    keyspace = cassandra_cluster.new_keyspace()
    log = CassandraLog(read_address(cassandra_cluster.url(keyspace)), Audit(), is_there)
    log.open()
    log.session.session.execute(
        "INSERT INTO log_state (installation, name, value) VALUES ('', 'schema', %s)", (version,)
    )
    log.session.close()
    with pytest.raises(StorageError, match=f"schema {version}, which is {what}"):
        log.open()


async def test_nothing_is_prepared_while_serving(log: CassandraLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It blocks, and asks every node: of one that hangs everybody would wait."""

    def prepare(text: str) -> None:
        raise AssertionError(text)

    monkeypatch.setattr(log.session.session, "prepare", prepare)
    monkeypatch.setattr(cassandra_walk, "MANY_BUCKETS", 2)
    contact = new_contact_key()
    item = publication(id="evt-1", context={"Order id": "A-1"})
    (first, *_) = await append(log, NewRow(item, contact, b"{}"), *rows(contact, 10, span=5 * 360 * DAY))
    assert (await append(log, NewRow(item, contact, b"{}")))[0].known is not None
    assert len(await whole(log, contact)) == 11
    assert len((await log.find(Filters(ref="A-1"), None, 10)).activities) == 1
    assert len((await log.arrivals([contact], 0, 100)).events) == 11
    assert await log.known([item.idempotency or b""])
    await log.origin(first.id)
    await log.stream_position()
    await log.ready()
    await log.delete(first.id, ENTRY)
    assert await log.erase([contact], 100)
    await log.settle()


async def test_a_deleted_activity_is_not_brought_back_by_its_retry(log: CassandraLog) -> None:
    contact = new_contact_key()
    item = NewRow(publication(id="evt-1"), contact, b"{}")
    (first,) = await append(log, item)
    deletions = await asyncio.gather(*(log.delete(first.id, ENTRY) for _ in range(4)))
    assert len([each for each in deletions if each is not None]) == 1
    (again,) = await append(log, item)
    assert again.known is not None
    assert again.known.origin is None
    assert await whole(log, contact) == []
    assert (await log.find(Filters(), None, 10)).activities == ()


async def test_words_across_contacts_are_refused(log: CassandraLog) -> None:
    with pytest.raises(FieldErrors) as refusal:
        await log.find(Filters(words=("paid",)), None, 10)
    assert [(fault.field, fault.code) for fault in refusal.value.faults] == [("q", "inaccessible_field")]


# Clocks.


@pytest.mark.parametrize("minutes", [-7, 7])
async def test_a_process_whose_clock_is_wrong_loses_nobody_anything(
    cassandra_cluster: CassandraCluster,
    log: CassandraLog,
    request: pytest.FixtureRequest,
    minutes: int,
) -> None:
    """Positions go by the cluster's clock, so a viewer who goes on behind one of them misses no other's."""
    contact, real, real_ns = new_contact_key(), time.time, time.time_ns

    def be_wrong() -> pytest.MonkeyPatch:
        patch = pytest.MonkeyPatch()
        patch.setattr("time.time", lambda: real() + minutes * 60)
        patch.setattr("time.time_ns", lambda: real_ns() + minutes * 60 * 10**9)
        return patch

    patch = be_wrong()
    wrong = open_log(cassandra_cluster, request.node.name)
    await append(wrong, *rows(contact, 1))
    position = (await wrong.stream_position()).position
    patch.undo()
    (right,) = await append(log, *rows(contact, 1))
    patch = be_wrong()
    (late,) = await append(wrong, *rows(contact, 1))
    patch.undo()
    for viewer in (log, wrong):
        seen = await viewer.arrivals([contact], position - log.overlap, 10)
        assert {right.id, late.id} <= {each.id for each in seen.events}
    await wrong.close()


def test_a_node_whose_clock_is_wrong_alone_decides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert agreed_clock({}) is None
    assert agreed_clock({"127.0.0.1": 600.0, "127.0.0.2": 0.25, "127.0.0.3": 0.0}) == 0.25
    assert "node_clock_is_wrong" in capsys.readouterr().out


async def test_the_clocks_of_nodes_are_read_where_one_does_not_answer(
    fragile_cassandra: CassandraCluster, log: CassandraLog
) -> None:
    for node in (None, *fragile_cassandra.nodes[:1]):
        if node is not None:
            node.pause()
        offset = await asyncio.to_thread(log.session.clock_offset)
        assert offset is not None
        assert abs(offset) < 2.0


# Those who follow live.


async def test_a_viewer_hears_of_what_appears_behind_others(
    cassandra_cluster: CassandraCluster, log: CassandraLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes write; what one began first is there only after the other's, and is told all the same, once."""
    other = open_log(cassandra_cluster, "test_a_viewer_hears_of_what_appears_behind_others")
    monkeypatch.setattr(other._positions, "offset", other._positions.offset - 2)  # and its clock is behind
    contact, hub = new_contact_key(), Hub(log)
    await append(log, *rows(contact, 1))
    position = await log.stream_position()
    stream = hub.follow([contact], position, quiet_after=30)
    told = [await anext(stream)]  # the last seconds come again
    gate, slow = asyncio.Event(), CassandraSession.write_together

    async def held(session: CassandraSession, writes: Sequence[tuple[str, Sequence[Any]]]) -> None:
        if session is other.session:
            await gate.wait()
        await slow(session, writes)

    monkeypatch.setattr(CassandraSession, "write_together", held)
    behind = asyncio.create_task(append(other, *rows(contact, 1)))
    (late,) = await append(log, *rows(contact, 1))
    told.append(await anext(stream))
    gate.set()
    (early,) = await behind
    assert early.id.position < late.id.position
    told.append(await anext(stream))
    ids = [event.id for event in told if isinstance(event, Activity)]
    assert ids[1:] == [late.id, early.id]
    deletion = await other.delete(early.id, ENTRY)
    assert await anext(stream) == deletion
    await stream.aclose()
    await hub.close()
    await other.close()


async def test_a_viewer_of_a_busy_contact_has_room_for_what_comes_again(log: CassandraLog) -> None:
    """The last seconds, which the feed reads again for who joins, are more than a viewer's queue holds."""
    contact, hub = new_contact_key(), Hub(log)
    (first,) = await append(log, *rows(contact, 1))
    position = await log.stream_position()
    burst = await append(log, *rows(contact, MAX_QUEUED + 50))
    resuming = hub.follow([contact], position, quiet_after=30)
    told = [(await anext(resuming)) for _ in range(len(burst) + 1)]
    assert {each.id for each in told if isinstance(each, Activity)} == {
        first.id,
        *(each.id for each in burst),
    }
    fresh = hub.follow([contact], await log.stream_position(), quiet_after=30, fresh=True)
    assert await anext(fresh) is Signal.BEGUN
    for _ in range(
        2
    ):  # the first may come from the backlog, the second comes behind all that the feed has read
        (last,) = await append(log, *rows(contact, 1))
        for stream in (fresh, resuming):
            async with asyncio.timeout(30):
                event = await anext(stream)
            assert isinstance(event, Activity)
            assert event.id == last.id
    for stream in (fresh, resuming):
        await stream.aclose()
    await hub.close()


async def test_an_erased_history_is_gone_piece_by_piece(
    log: CassandraLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassandra_buckets, "FULL_ROWS", 8)
    gone, kept = new_contact_key(), new_contact_key()
    item = NewRow(publication(id="evt-1", at=NOON), gone, b"{}")
    (first,) = await append(log, item)
    await append(log, *rows(gone, 30, span=900 * DAY))
    await append(log, *rows(kept, 3))
    counts = []
    while removed := await log.erase([gone], 12):
        counts.append(removed)
    assert sum(counts) == 31
    assert max(counts) == 12
    assert await whole(log, gone) == []
    assert (await log.find(Filters(ref="evt-1"), None, 10)).activities == ()
    assert len((await log.find(Filters(), None, 100)).activities) == len(await whole(log, kept)) == 3
    assert (await log.arrivals([gone], 0, 100)).events == ()
    (again,) = await append(log, item)
    assert again.known is not None
    assert (again.id, again.known.origin) == (first.id, None)


# Erasing at the moment of a publish.


@pytest.fixture
async def store(cassandra_cluster: CassandraCluster, postgres_url: str) -> AsyncIterator[CassandraStore]:
    """Whose relay works when it is told to."""
    opened = CassandraStore(postgres_url, cassandra_cluster.new_installation())
    opened.open()
    yield opened
    await opened.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)  # between two looks


@pytest.fixture
def eraser(store: CassandraStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Eraser:
    """One that looks often; the store says when it may be done."""
    monkeypatch.setattr(erasing, "LOOK_SECONDS", 0.02)
    return Eraser(store.records, store.log, AttachmentFiles(tmp_path))


GONE = {"email": "gone@example.com"}


async def test_what_is_published_while_its_contact_is_erased_does_not_stay(
    store: CassandraStore, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found its contact there, and is stored when all was erased: the eraser looks a second time."""
    monkeypatch.setattr(store.log, "late_seconds", 3600.0)
    reached, gate, slow = asyncio.Event(), asyncio.Event(), CassandraSession.write_together

    async def held(session: CassandraSession, writes: Sequence[tuple[str, Sequence[Any]]]) -> None:
        reached.set()
        await gate.wait()
        await slow(session, writes)

    first = await publish_one(store, GONE, id="first")
    contact = await home_of(store, first)
    monkeypatch.setattr(CassandraSession, "write_together", held)
    publishing = asyncio.create_task(publish_one(store, GONE, id="late"))
    await reached.wait()
    eraser.start()
    await eraser.erase(first.contact_id or 0, force=True, entry=ENTRY)
    await until(lambda: bool(eraser._begun))
    assert await whole(store.log, contact) == []
    gate.set()
    late = await publishing
    assert [each.id for each in await read_row(store, late)] == [late.id]
    monkeypatch.setattr(store.log, "late_seconds", 0.001)
    await until(lambda: not eraser._begun)
    await eraser.close()
    assert await read_row(store, late) == []
    assert traces(store, contact) == []
    for event, published in (("first", first), ("late", late)):
        again = await publish_one(store, GONE, id=event)
        assert (again.id, again.duplicate, again.contact_id) == (published.id, True, None)
    assert traces(store, contact) == []


async def read_row(store: CassandraStore, published: Published) -> list[Activity]:
    found = await store.log.get(published.id)
    return [found] if found is not None else []


def traces(store: CassandraStore, contact: bytes) -> list[object]:
    """What is left of a contact's texts, and what leads to them."""

    def scan(text: str) -> list[tuple[object, ...]]:
        return list(store.log.session.session.execute(text, timeout=60).all())

    claims = scan("SELECT contact, body, origin, source, name, actor_type FROM claims")
    return [
        *(row for row in claims if row[0] == contact and set(row[1:]) != {None}),
        *(row for row in scan("SELECT owner, body FROM timeline") if row[0] == contact),
        *(row for row in scan("SELECT contact, position, deleted FROM arrivals") if row[0] == contact),
        *(row for row in scan("SELECT contact, timestamp FROM postings") if row[0] == contact),
    ]


async def test_the_retry_of_what_a_crash_cut_off_does_not_bring_it_to_an_erased_contact(
    store: CassandraStore, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim holds its text: the process dies behind it, the contact is erased, and the sender tries again."""
    monkeypatch.setattr(store.log, "late_seconds", 0.001)
    contact_id = (await publish_one(store, GONE)).contact_id or 0
    contact = await store.records.contact(contact_id)
    assert contact is not None

    async def crash(*_: object) -> None:
        raise Unavailable("the process died here")

    with monkeypatch.context() as patch:
        patch.setattr(CassandraSession, "write_together", crash)
        assert isinstance((await store.publish([publication(GONE, id="cut off")]))[0], Unavailable)
    eraser.start()
    await eraser.erase(contact_id, force=True, entry=ENTRY)
    await until(lambda: not eraser._begun)
    await eraser.close()
    for _ in range(2):
        again = await publish_one(store, GONE, id="cut off")
        assert (again.duplicate, again.contact_id) == (True, None)
        assert traces(store, contact.key) == []


async def test_what_was_noted_for_the_log_goes_with_its_contact(
    store: CassandraStore, eraser: Eraser
) -> None:
    first = await publish_one(store, GONE)
    contact = await home_of(store, first)
    event = own_event(
        contact, "Ticket opened", at=NOON, actor=Actor("agent", "1"), about=Object("ticket", "7")
    )
    await store.records.write(lambda transaction: transaction.append([event]))
    await eraser.erase(first.contact_id or 0, force=True, entry=ENTRY)
    assert await store.relay() == 1
    assert await store.relay() == 0
    assert [each.id for each in await whole(store.log, contact)] == [first.id]


# An import into it (`backstory import`).


def requests_without_ids(count: int) -> list[str]:
    contact = {"email": GONE["email"]}
    return [json.dumps(publish_request(name=f"line {number}", contact=contact)) for number in range(count)]


def add_line(file: Path, number: int) -> None:
    with file.open("a") as more:
        more.write("\n" + requests_without_ids(number + 1)[-1])


async def run_import(store: CassandraStore, file: Path, *, again: bool = False) -> Summary:
    return await import_file(
        store, str(file), file.with_suffix(".rejected"), again=again, show=lambda *_: None, phone_region=None
    )


async def test_an_import_that_was_cut_off_before_its_bookmark_doubles_nothing(
    store: CassandraStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text("\n".join(requests_without_ids(60)))
    with monkeypatch.context() as patch:
        patch.setattr(
            "backstory.store.cassandra._SAVE_BOOKMARK", "SELECT $1::text, $2::bigint, 1 / ($3::bigint * 0)"
        )
        with pytest.raises(BackstoryError):
            await run_import(store, file)
    add_line(file, 60)
    done = await run_import(store, file)
    assert (done.published, done.duplicates, done.resumed_at) == (1, 60, 0)
    more = await run_import(store, file, again=True)
    assert (more.published, more.duplicates) == (61, 0), "asked for once more"


async def test_an_import_waits_for_what_the_log_does_not_take(
    store: CassandraStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text("\n".join(requests_without_ids(60)))
    append_rows, unknown, away = CassandraLog.append, [1], False

    async def append_most(log: CassandraLog, new: Sequence[NewRow]) -> list[Appended | BackstoryError]:
        if away:
            return [Unavailable("No node answers.") for _ in new]
        results = await append_rows(log, new)
        if unknown:  # it is there, and nobody knows
            unknown.pop()
            results[len(results) // 2] = Unavailable("It is not known whether this was kept.")
        return results

    monkeypatch.setattr("backstory.transfer.AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(CassandraLog, "append", append_most)
    done = await run_import(store, file)
    assert (done.published, done.duplicates, done.rejected) == (59, 1, 0)
    away = True
    monkeypatch.setattr("backstory.transfer.PATIENCE_SECONDS", 0.05)
    add_line(file, 60)
    with pytest.raises(OperatorError, match="cut off behind line 60: No node"):
        await run_import(store, file)
    away = False
    done = await run_import(store, file)
    assert (done.published, done.rejected, done.resumed_at) == (1, 0, 60)
    assert not file.with_suffix(".rejected").exists()
    assert len(await whole(store.log, await home_of(store, await publish_one(store, GONE)))) == 62


# A copy into it (`backstory copy`).


def copy_of(log: CassandraLog, contact: bytes) -> CassandraLogCopy:
    """A copy of or into a log with one contact."""

    async def contacts() -> frozenset[bytes]:
        return frozenset([contact])

    return CassandraLogCopy(log, contacts)


async def test_a_copy_that_was_cut_off_in_a_piece_is_completed(
    log: CassandraLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassandra_copy, "PIECE", 20)
    contact, body = new_contact_key(), b'{"name": "paid", "actor": {}, "source": {}}'
    first = first_position(time.time_ns() // 1_000_000)
    kept = [
        KeptActivity(first + number, number, contact, NOON, "shop", "paid", None, "user", body, b"{}")
        for number in range(40)
    ]
    monkeypatch.setattr(cassandra_copy, "TOGETHER", 5)
    copying, store_many = copy_of(log, contact), log.store_many
    await copying.complete(in_order=True)
    await copying.write_activities(kept[:20])

    async def fail_once(drafts: Sequence[Draft]) -> None:
        if kept[25].position in [draft.id.position for draft in drafts]:
            raise Unavailable("cut off")
        await store_many(drafts)

    monkeypatch.setattr(log, "store_many", fail_once)
    with pytest.raises(Unavailable):
        await copying.write_activities(kept[20:])
    monkeypatch.setattr(log, "store_many", store_many)
    async with asyncio.timeout(30):  # the others of the piece, some behind the one that failed
        while await log.get(ActivityId(kept[-1].position, kept[-1].tail)) is None:
            await asyncio.sleep(0.01)

    again = copy_of(log, contact)
    complete = await again.complete(in_order=True)
    assert 0 < complete < kept[25].position
    await again.write_activities([row for row in kept if row.position > complete])
    assert await kept_in(again) == kept


async def test_what_a_copy_left_half_done_is_finished_where_it_was_begun(
    cassandra_cluster: CassandraCluster, log: CassandraLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off between what points at activities and their rows, in another bucket than a fresh process chooses."""
    monkeypatch.setattr(cassandra_buckets, "FULL_ROWS", 8)
    contact, body = new_contact_key(), b'{"name": "paid", "actor": {}, "source": {}}'
    first = first_position(time.time_ns() // 1_000_000)
    kept = [
        KeptActivity(first + number, number, contact, NOON, "shop", "paid", None, "user", body, b"{}")
        for number in range(30)
    ]
    copying, write_many = copy_of(log, contact), CassandraSession.write_many
    await copying.complete(in_order=True)
    await copying.write_activities(kept[:20])

    async def crash(session: CassandraSession, writes: Sequence[Write]) -> None:
        if any(text == PUT_ROW for text, _ in writes):
            raise Unavailable("the process died here")
        await write_many(session, writes)

    with monkeypatch.context() as patch:
        patch.setattr(CassandraSession, "write_many", crash)
        with pytest.raises(Unavailable):
            await copying.write_activities(kept[20:])
    other = open_log(cassandra_cluster, log.installation)
    assert other.bucket_of(contact, NOON) != log.bucket_of(contact, NOON)
    again = copy_of(other, contact)
    await again.complete(in_order=True)
    await again.write_activities(kept)
    assert await kept_in(again) == kept
    assert [each.id.position for each in await whole(other, contact)] == [
        each.position for each in reversed(kept)
    ]
    await other.close()


async def test_a_copy_waits_for_what_a_killed_one_had_sent(
    log: CassandraLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would otherwise put an activity elsewhere than the pointer says that comes a moment later."""
    contact, body = new_contact_key(), b'{"name": "paid", "actor": {}, "source": {}}'
    first = first_position(time.time_ns() // 1_000_000)
    kept = [
        KeptActivity(first + number, number, contact, NOON, "shop", "paid", None, "user", body, b"{}")
        for number in range(5)
    ]
    killed = copy_of(log, contact)
    await killed.complete(in_order=True)
    await killed.write_activities(kept[:4])
    deeper = bucket_at(contact, 2, NOON)
    waited: list[float] = []

    async def land(seconds: float) -> None:
        waited.append(seconds)
        late = ActivityId(kept[4].position, kept[4].tail)
        where = (log.installation, *late, *deeper, NOON, None, written(late))
        await log.session.write(PUT_WHERE, where)

    again = copy_of(log, contact)
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "sleep", land)
        await again.complete(in_order=True)
    assert waited == [cassandra_copy.LANDING_SECONDS]
    await again.write_activities(kept)
    for row in kept:
        assert await log.get(ActivityId(row.position, row.tail)) is not None
    assert await kept_in(again) == kept
    await again.adopt(await again.state())
    await copy_of(log, contact).complete(in_order=True)
    assert len(waited) == 1, "nobody was killed"


async def test_no_two_processes_have_one_lane(postgres_url: str) -> None:
    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(postgres_url)

    sessions = [await connect() for _ in range(LANES + 1)]
    lanes = [await take_lane(session) for session in sessions]
    assert sorted(lane for lane in lanes if lane is not None) == list(range(LANES))
    assert lanes[-1] is None, "all are taken"
    await sessions[5].close()
    async with asyncio.timeout(10):  # the server ends a session a moment after it was told to
        while (freed := await take_lane(sessions[-1])) is None:
            await asyncio.sleep(0.01)
    assert freed == lanes[5], "the lane of one that has ended is free"
    for session in sessions:
        await session.close()
