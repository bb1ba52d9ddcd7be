"""What only the embedded store promises: the state of its file, its indexes, who may open it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pysqlite3 as sqlite3
import pytest

from backstory.config import read_settings
from backstory.copying import copy_installation
from backstory.errors import StorageError, Unavailable
from backstory.indexer import indexer
from backstory.model.activity import Published, join_answers
from backstory.model.contact import Contact, NewContact
from backstory.model.page import Filters, Place
from backstory.model.searched import read_searched
from backstory.store.log import sqlite_index
from backstory.store.log.index_entries import ref_token
from backstory.store.log.sqlite_index import Indexer, LogUnreadable
from backstory.store.log.sqlite_search import INDEX_RULES, SearchFile, search_file
from backstory.store.sqlite import SqliteStore
from backstory.store.sqlite_database import Ownership
from tests.faults.load import check_index
from tests.store.support import (
    ENTRY,
    NONE,
    NOON,
    create_contact,
    found,
    home_of,
    indexed,
    publication,
    publish,
    publish_one,
    timeline,
)
from tests.store.test_contract_log import random_options


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backstory.db"


Indexing = Callable[[Path], None]


@pytest.fixture
async def store(path: Path, prompt_index: None, indexing: Indexing) -> AsyncIterator[SqliteStore]:
    opened = opened_store(path)
    indexing(path)
    yield opened
    await opened.close()


def opened_store(
    path: Path, ownership: Ownership = Ownership.REQUIRED, indexer: Sequence[str] = ()
) -> SqliteStore:
    store = SqliteStore(path, ownership=ownership, indexer=indexer)
    store.open()
    return store


def indexed_here(path: Path) -> None:
    """Index what there is, here and now."""
    with closing(Indexer(path)) as indexer:
        while indexer.step() == 0:
            pass


def rows_of(path: Path, query: str, *values: Any) -> list[Any]:
    """Look into the file itself."""
    with closing(sqlite3.connect(str(path))) as connection:
        return connection.execute(query, values).fetchall()


# Indexes.


@pytest.mark.parametrize("seed", range(3))
async def test_the_indexes_hold_exactly_what_is_there(store: SqliteStore, path: Path, seed: int) -> None:
    chance = random.Random(seed)
    alive: list[Published] = []
    for _ in range(12):
        people = [{"email": f"{number}@example.com"} for number in range(3)]
        alive += await publish(
            store, *(publication(chance.choice(people), **random_options(chance)) for _ in range(15))
        )
        for _ in range(chance.randrange(10)):
            gone = alive.pop(chance.randrange(len(alive)))
            await store.log.delete(gone.id, ENTRY)
        if chance.random() < 0.5:
            await indexed(store)
    await indexed(store)
    with closing(sqlite3.connect(str(path))) as connection:
        SearchFile(path).attach(connection)
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        connection.execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(search, words, instance)")
        indexed_words = set(connection.execute("SELECT term, doc FROM vocabulary"))
        postings = connection.execute("SELECT position FROM postings").fetchall()
        rows = connection.execute("SELECT position, contact_key, body FROM activities").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    expected = set()
    for position, contact_key, body in rows:
        searched = read_searched(body)
        tokens = {*searched.words, *map(ref_token, searched.refs), f"@{contact_key.hex()}"}
        expected |= {(token, position) for token in tokens}
    assert indexed_words == expected
    assert {each[0] for each in postings} == {row[0] for row in rows} == {each.id.position for each in alive}


async def test_the_text_of_a_deleted_activity_is_gone_from_the_files(path: Path, prompt_index: None) -> None:
    store = opened_store(path)
    options: dict[str, Any] = {
        "name": "Xylophonic",
        "description": "Zanzibarian",
        "context": {"Order id": "Quixotical"},
    }
    published = await publish_one(store, {"email": "a@b"}, **options)
    indexed_here(path)
    assert await found(store, Filters(words=("quixotical",)))
    await store.log.delete(published.id, ENTRY)
    await store.close()
    text = b"".join(file.read_bytes() for file in path.parent.iterdir()).lower()
    for word in (b"xylophonic", b"zanzibarian", b"quixotical"):
        assert word not in text


async def test_deleted_texts_are_gone_also_where_segments_were_merged(path: Path, prompt_index: None) -> None:
    store = opened_store(path)
    results: list[Published] = []
    for piece in range(24):
        items = [publication(name="event", context={"note": f"quixotic{piece}x{n}"}) for n in range(10)]
        results += await publish(store, *items)
        indexed_here(path)
    for each in results:
        await store.log.delete(each.id, ENTRY)
    await publish_one(store, name="later")
    indexed_here(path)
    await store.close()
    for file in path.parent.iterdir():
        assert b"quixotic" not in file.read_bytes(), file


async def test_a_text_that_cannot_be_read_can_be_deleted(store: SqliteStore) -> None:
    published = await publish_one(store, name="event")
    await store.database.write(
        lambda transaction: transaction.raw.execute("UPDATE activities SET body = CAST('{}' AS BLOB)")
    )
    await indexed(store)
    assert await store.log.delete(published.id, ENTRY) is not None


async def test_timelines_do_without_an_index_that_is_damaged(path: Path) -> None:
    """Also tools, which find nothing; and the next server throws it away."""
    store = opened_store(path)
    published = await publish_one(store, name="event")
    await store.close()
    search_file(path).write_bytes(b"this is not a database, it is a text of some length" * 100)
    tool = opened_store(path, Ownership.NEVER)
    homes = [await home_of(tool, published)]
    for filters in (NONE, Filters(words=("event",))):
        assert [each.id for each in await timeline(tool, homes, filters)] == [published.id]
    assert await found(tool) == await found(tool, Filters(words=("event",))) == []
    assert tool.stats().index_lag > 0
    await tool.close()
    assert (path.parent / "backstory.db-search-damaged").exists()
    store = opened_store(path)
    assert [each.name for each in path.parent.glob("*-damaged")] == []
    assert store.stats().index_lag > 0
    await store.close()


async def test_damage_of_the_log_is_not_taken_for_the_indexs(path: Path, prompt_index: None) -> None:
    """Else a good index would be thrown away, again and again."""
    store = opened_store(path)
    await publish(store, *(publication(name="event", description="x" * 900) for _ in range(200)))
    indexed_here(path)
    await publish_one(store)
    await store.close()
    ((page,),) = rows_of(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'activities'")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))
    tool = opened_store(path, Ownership.NEVER)
    try:
        for filters in (Filters(name="event"), Filters(words=("event",))):
            with pytest.raises(StorageError, match="malformed"):
                await found(tool, filters)
    finally:
        await tool.close()
    with closing(Indexer(path)) as indexer, pytest.raises(LogUnreadable):
        indexer.step()
    assert [each.name for each in path.parent.glob("*-damaged")] == []


async def test_the_index_goes_on_where_it_was_left(
    path: Path, monkeypatch: pytest.MonkeyPatch, prompt_index: None
) -> None:
    monkeypatch.setattr(sqlite_index, "PIECE_ROWS", 7)
    store = opened_store(path)
    results = await publish(store, *(publication(name=f"event {number}") for number in range(50)))
    assert await found(store, Filters(words=("event",))) == []
    assert store.stats().index_lag > 0
    with closing(Indexer(path)) as indexer:
        indexer.step()
    assert len(await found(store, Filters(words=("event",)))) == 7
    await store.close()
    store = opened_store(path)
    try:
        await publish_one(store, name="one more")
        indexed_here(path)
        assert store.stats().index_lag == 0
        assert {each.id for each in await found(store, Filters(words=("event",)))} == {
            each.id for each in results
        }
        assert len(await found(store)) == 51
    finally:
        await store.close()


async def test_the_index_waits_for_entries_to_gather(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened_store(path)
    try:
        await publish_one(store)
        with closing(Indexer(path)) as indexer:
            monkeypatch.setattr(sqlite_index, "LAG_SECONDS", 3_600.0)
            assert indexer.step() > 0
            assert store.stats().index_lag > 0
            monkeypatch.setattr(sqlite_index, "LAG_SECONDS", 0.0)
            assert indexer.step() == 0
        assert store.stats().index_lag == 0
    finally:
        await store.close()


def indexers() -> list[int]:
    """The processes of ours that build an index."""
    children = {
        child
        for task in Path(f"/proc/{os.getpid()}/task").iterdir()
        for child in (task / "children").read_text().split()
    }
    return sorted(
        int(child)
        for child in children
        if b"backstory.indexer" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


async def test_the_rest_is_indexed_at_start_and_no_process_is_left_behind(path: Path) -> None:
    store = opened_store(path)
    published = await publish_one(store, name="left behind")
    await store.close()
    store = opened_store(path, indexer=indexer(str(path), "warning", "json"))
    try:
        await indexed(store)
        assert [each.id for each in await found(store, Filters(words=("behind",)))] == [published.id]
        assert len(indexers()) == 1
    finally:
        await store.close()
    assert indexers() == []


async def test_an_indexer_that_dies_is_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_index, "RESTART_SECONDS", 0.01)
    store = opened_store(path, indexer=indexer(str(path), "warning", "json"))
    try:
        results = [await publish_one(store, name="event")]
        await indexed(store)
        (process,) = indexers()
        os.kill(process, signal.SIGKILL)
        results.append(await publish_one(store, name="event"))
        await indexed(store)
        assert indexers() != [process]
        assert {each.id for each in await found(store, Filters(words=("event",)))} == {
            each.id for each in results
        }
    finally:
        await store.close()


async def test_pieces_are_bounded_in_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch, prompt_index: None
) -> None:
    monkeypatch.setattr(sqlite_index, "PIECE_BYTES", 5_000)
    texts = ["x" * 4_000, "y" * 20_000, "z", "z", "x" * 4_999]
    store = opened_store(path)
    try:
        await publish(store, *(publication(context={"text": text}, name="event") for text in texts))
        seen = []
        with closing(Indexer(path)) as indexer:
            while indexer.step() == 0:
                seen.append(len(await found(store, Filters(words=("event",)))))
        assert seen == [2, 5]
    finally:
        await store.close()


# Deletions, of which each takes its entries out of one file and then its activity out of the other.


class _Cut(Exception):
    """Stands for what ends a deletion between the two commits."""


async def test_a_deletion_that_fails_behind_the_index_leaves_the_activity_found(
    path: Path, prompt_index: None
) -> None:
    store = opened_store(path)
    try:
        results = await publish(store, *(publication(name=f"event {number}") for number in range(3)))
        indexed_here(path)
        late = await publish_one(store, name="event of late")
        for gone in (results[1], late):
            (row,) = rows_of(
                path,
                "SELECT position, contact_key, timestamp, body FROM activities WHERE position = ?",
                gone.id.position,
            )

            def cut_off(transaction: Any, row: Any = row) -> None:
                store.log._search.remove([row])
                raise _Cut

            with pytest.raises(_Cut):
                await store.database.write(cut_off)
        assert {each.id for each in await found(store, Filters(words=("event",)))} == {
            results[0].id,
            results[2].id,
        }
        indexed_here(path)
        everything = {each.id for each in (*results, late)}
        assert {each.id for each in await found(store, Filters(words=("event",)))} == everything
        assert len(await found(store, Filters(name="event 1"))) == 1
        await store.log.delete(results[1].id, ENTRY)
        assert {each.id for each in await found(store, Filters(words=("event",)))} == everything - {
            results[1].id
        }
    finally:
        await store.close()
    with closing(sqlite3.connect(str(search_file(path)))) as index:
        index.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")


async def test_a_deletion_while_its_piece_is_on_the_way_leaves_no_entry(
    path: Path, monkeypatch: pytest.MonkeyPatch, prompt_index: None
) -> None:
    store = opened_store(path)
    try:
        kept, gone = await publish(store, publication(name="kept"), publication(name="gone"))
        loop = asyncio.get_running_loop()

        class Reading(Indexer):
            def _piece(self, indexed: int) -> Any:
                rows = list(super()._piece(indexed))
                asyncio.run_coroutine_threadsafe(store.log.delete(gone.id, ENTRY), loop).result()
                return iter(rows)

        with closing(Reading(path)) as indexer:
            await asyncio.to_thread(indexer.step)
        with closing(sqlite3.connect(str(search_file(path)))) as index:
            positions = {row[0] for row in index.execute("SELECT position FROM postings")}
        assert positions == {kept.id.position}
        indexed_here(path)
        assert rows_of(search_file(path), "SELECT * FROM removed") == []
    finally:
        await store.close()


async def test_what_a_copy_removes_is_not_left_in_the_index(
    path: Path, tmp_path: Path, prompt_index: None
) -> None:
    """Where the target was served between two runs of it."""
    source, target = (
        read_settings({}, database=f"sqlite:///{file}") for file in (path, tmp_path / "copy.db")
    )
    assert isinstance(target.database, Path)
    store = opened_store(path)
    kept, gone = await publish(store, publication(name="kept"), publication(name="gone"))
    await store.close()
    await copy_installation(source, target, lambda done, note: None)
    copied = opened_store(target.database)
    indexed_here(target.database)
    assert len(await found(copied)) == 2
    await copied.close()
    store = opened_store(path)
    await store.log.delete(gone.id, ENTRY)
    await store.close()
    await copy_installation(source, target, lambda done, note: None)
    copied = opened_store(target.database)
    indexed_here(target.database)
    assert [each.id for each in await found(copied)] == [kept.id]
    await copied.close()
    check_index(target.database)


# Merge suggestions: nobody reads them through the store yet.


def suggestions(path: Path) -> set[tuple[int, int, str]]:
    return {
        (row[0], row[1], row[2])
        for row in rows_of(path, "SELECT contact_id, other_id, kind FROM merge_suggestions")
    }


async def test_a_conflict_is_a_suggestion(store: SqliteStore, path: Path) -> None:
    one = (await publish_one(store, {"email": "one@b"})).contact_id or 0
    other = (await publish_one(store, {"twitter_id": "@other"})).contact_id or 0
    assert suggestions(path) == set()
    for _ in range(2):
        published = await publish_one(store, {"email": "one@b", "twitter_id": "@other"})
        assert published.contact_id == one
    assert suggestions(path) == {(one, other, "twitter_id")}
    await publish_one(
        store, {"unique_external_id": "x", "twitter_id": "@other"}
    )  # the other way: one pair still
    third = (await publish_one(store, {"identities": [{"source": "s", "id": "1"}]})).contact_id or 0
    await publish_one(store, {"unique_external_id": "x", "identities": [{"source": "s", "id": "1"}]})
    assert suggestions(path) == {(one, other, "twitter_id"), (other, third, "identities")}


async def test_a_shared_number_is_a_suggestion(store: SqliteStore, path: Path) -> None:
    sharers: list[Contact] = [
        await create_contact(store, NewContact(f"Sharer {n}", phone="+447700900123")) for n in range(3)
    ]
    assert suggestions(path) == set()
    phone_only = (await publish_one(store, {"mobile": "+44 7700 900123"})).contact_id or 0
    assert {(each[0], each[1]) for each in suggestions(path)} == {
        (sharer.id, phone_only) for sharer in sharers
    }


# Who may open the file.


async def test_one_server_at_a_time(path: Path) -> None:
    first = opened_store(path)
    try:
        with pytest.raises(StorageError, match="another server"):
            opened_store(path)
        with pytest.raises(StorageError, match="another server"), first.database.owning():
            pass
        tool = opened_store(path, Ownership.NEVER)
        published = await publish_one(tool, name="by a tool")
        assert [
            each.id
            for each in (
                await first.log.page([await home_of(first, published)], Filters(), None, 5)
            ).activities
        ] == [published.id]
        await tool.close()
    finally:
        await first.close()
    await opened_store(path).close()


async def test_two_processes_give_positions_out_in_one_order(path: Path) -> None:
    one, other = opened_store(path), opened_store(path, Ownership.NEVER)
    try:
        results = await asyncio.gather(
            *(
                publish_one((one, other)[number % 2], {"phone": "+447700900123"}, id=f"evt-{number // 2}")
                for number in range(64)
            )
        )
        assert len({result.contact_id for result in results}) == 1
        assert sorted(result.duplicate for result in results) == [False] * 32 + [True] * 32
        assert len({result.id for result in results}) == 32
    finally:
        await other.close()
        await one.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be looked at" * 20, b"short"]
)
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageError):
        opened_store(path)
    assert path.read_bytes() == content


def test_a_database_of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(str(path))) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StorageError, match="another program"):
        opened_store(path)
    assert [row[0] for row in rows_of(path, "SELECT name FROM sqlite_schema")] == ["theirs"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        opened_store(tmp_path / "nowhere" / "backstory.db")


async def test_the_file_is_for_its_owner_alone(store: SqliteStore, path: Path) -> None:
    await publish_one(store)
    files = list(path.parent.iterdir())
    assert path in files
    for file in files:
        assert file.stat().st_mode & 0o077 == 0, file


async def test_the_audit_log_is_append_only(store: SqliteStore, path: Path) -> None:
    await store.records.audit(ENTRY)
    with closing(sqlite3.connect(str(path))) as connection:
        for statement in ("DELETE FROM audit_log", "UPDATE audit_log SET actor = 'x'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


# Faults.


async def test_a_full_database_is_unavailable_and_recovers(store: SqliteStore, path: Path) -> None:
    kept = await publish_one(store, id="evt-0")
    pages = await store.database.write(
        lambda transaction: transaction.raw.execute("PRAGMA page_count").fetchone()[0]
    )
    await store.database.write(
        lambda transaction: transaction.raw.execute(f"PRAGMA max_page_count = {pages + 5}").fetchall()
    )
    big = [publication(id=f"evt-{number}", description="x" * 4_000) for number in range(1, 200)]
    with pytest.raises(Unavailable):
        await store.publish(big)
    assert len(rows_of(path, "SELECT 1 FROM activities")) == 1  # nothing of the group was kept
    assert await store.log.get(kept.id) is not None
    await store.database.write(
        lambda transaction: transaction.raw.execute("PRAGMA max_page_count = 1000000").fetchall()
    )
    results = await publish(store, *big)
    assert not any(result.duplicate for result in results)
    await indexed(store)
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_failed_group_leaves_no_contact_behind(store: SqliteStore, path: Path) -> None:
    broken = cast(Any, publication(id="evt-2")).__copy__()
    broken = type(broken)(
        **{name: getattr(broken, name) for name in broken.__struct_fields__} | {"body": None}
    )
    with pytest.raises(StorageError):
        await store.publish([publication({"email": "a@b"}, id="evt-1"), broken])
    assert rows_of(path, "SELECT 1 FROM contacts") == []
    assert (await publish_one(store, {"email": "a@b"}, id="evt-1")).matched_by == "created"


async def test_closing_finishes_what_was_taken(path: Path) -> None:
    store = opened_store(path)
    calls = [asyncio.create_task(publish_one(store, id=f"evt-{number}")) for number in range(30)]
    await asyncio.sleep(0)
    await store.close()
    results = await asyncio.gather(*calls)
    assert len({result.id for result in results}) == 30
    assert len(rows_of(path, "SELECT 1 FROM activities")) == 30
    with pytest.raises(Unavailable):
        await store.publish([publication()])


@pytest.mark.parametrize("what", ["rules", "generation", "nothing", "damage"])
async def test_an_index_that_does_not_belong_is_built_again(
    path: Path, prompt_index: None, what: str
) -> None:
    store = opened_store(path)
    published = await publish_one(store, name="Refund issued")
    indexed_here(path)
    await store.close()
    search = search_file(path)
    if what == "damage":
        search.write_bytes(b"this is not a database, it is a text of some length" * 100)
    elif what == "nothing":
        search.write_bytes(b"")  # its making was cut off
    else:
        with closing(sqlite3.connect(str(search))) as connection, connection:
            connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
            connection.execute("DELETE FROM postings")
            connection.execute("UPDATE index_state SET value = '0' WHERE name = ?", (what,))
    store = opened_store(path)
    try:
        assert not await found(store, Filters(words=("refund",)))
        indexed_here(path)
        (activity,) = await found(store, Filters(words=("refund",)))
        assert activity.id == published.id
        assert await found(store, Filters(name="Refund issued")) == [activity]
        state = dict(rows_of(search, "SELECT name, value FROM index_state"))
        ((generation,),) = rows_of(path, "SELECT value FROM log_state WHERE name = 'generation'")
        assert (state["rules"], state["generation"]) == (INDEX_RULES, generation)
    finally:
        await store.close()


async def test_an_index_of_before_is_left_alone_by_a_short_tool(path: Path, prompt_index: None) -> None:
    store = opened_store(path)
    await publish_one(store)
    indexed_here(path)
    before = search_file(path).stat().st_ino
    tool = opened_store(path, Ownership.NEVER)
    await tool.close()
    assert search_file(path).stat().st_ino == before
    assert store.stats().index_lag == 0
    await store.close()


async def test_a_failed_open_lets_go_of_the_file(path: Path) -> None:
    path.write_bytes(b"this is not a database, it is a text of some length" * 100)
    with pytest.raises(StorageError, match="cannot be opened"):
        opened_store(path)
    path.unlink()
    store = opened_store(path)
    await store.close()
    await store.close()


async def test_a_deleted_text_is_gone_from_the_file(store: SqliteStore, path: Path) -> None:
    """Also where it filled pages of its own, which become free."""
    mark = "a-secret-that-must-go"
    published = await publish_one(store, context={"note": f"{mark} " * 2_000})
    await publish_one(store)
    await indexed(store)
    assert await store.log.delete(published.id, ENTRY) is not None
    await store.close()  # the last one to close brings the write-ahead log into the file
    assert mark.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "filters", [NONE, Filters(since=NOON, until=NOON + 30), Filters(sources=("shopify",))]
)
async def test_a_written_page_is_the_page_as_it_is_read(path: Path, filters: Filters) -> None:
    """Also where pages end, and with text that SQLite must not touch."""
    store = opened_store(path)
    literal = '{"a": 1.10, "b": [1e400, "\\u0000", "\\ud83d\\ude00", "é 😀 \'"]}'
    items = [publication(at=NOON + i // 2, context="@@", literal=literal, id=f"{i}") for i in range(60)]
    (first, *_) = await publish(store, *items)
    contact_id = first.contact_id
    assert contact_id is not None
    for limit in (1, 7, 30, 59, 60, 61):
        after: Place | None = None
        seen = 0
        while True:
            read = await store.read_timeline(contact_id, filters, after, limit)
            written = await store.write_timeline(contact_id, filters, after, limit)
            assert read is not None
            assert written is not None
            assert written.text == join_answers([each.answer(contact_id) for each in read.page.activities])
            assert (written.next, written.position) == (read.page.next, read.position)
            seen += len(read.page.activities)
            if (after := written.next) is None:
                break
        assert seen == len(await timeline(store, read.homes.keys, filters))
    assert await store.write_timeline(404, filters, None, 10) is None
    await store.close()
