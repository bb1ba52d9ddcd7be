"""What may happen to the search index of SQLite, and to who builds it, while an installation is served."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pysqlite3 as sqlite3
import pytest

from backstory.store.log.sqlite_search import search_file
from tests.faults.load import check_index
from tests.http.test_publish import publish
from tests.http.wire import ACTIVITIES, BATCH, find
from tests.support import Installation, publish_request, wait_until

pytestmark = pytest.mark.engine("sqlite")

WORD = "quixotic"


def publish_some(api: httpx.Client, numbers: Sequence[int]) -> list[str]:
    """Publish activities that all have a word, and each one of its own; their ids."""
    items = [
        publish_request(name=f"Event {number % 3}", context={"Note": f"{WORD} n{number}"})
        for number in numbers
    ]
    answer = api.post(BATCH, json={"activities": items})
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["results"]]


def found(api: httpx.Client, **params: str) -> set[str]:
    """The ids that a find answers."""
    return {each["id"] for each in find(api, per_page="100", **params)}


def delete(api: httpx.Client, activity_id: str) -> None:
    answer = api.delete(f"{ACTIVITIES}/{activity_id}")
    assert answer.status_code == 204, answer.text
    assert api.get(f"{ACTIVITIES}/{activity_id}").status_code == 404


def metric(api: httpx.Client, name: str) -> float:
    lines = api.get("/metrics").raise_for_status().text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def overwrite(database: Path, table: str) -> None:
    """Damage the first page of a table of the index that nobody has open."""
    search = search_file(database)
    with closing(sqlite3.connect(str(search))) as index:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        ((page,),) = index.execute(query, (table,)).fetchall()
    assert not Path(f"{search}-wal").exists()
    with search.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))


def processes(module: str, database: Path) -> list[int]:
    """Our processes of one kind that work for a database."""

    def commands() -> Iterator[tuple[int, list[bytes]]]:
        for folder in Path("/proc").iterdir():
            with suppress(ValueError, OSError):  # no process; ended meanwhile
                yield int(folder.name), (folder / "cmdline").read_bytes().split(b"\0")

    wanted = {module.encode(), str(database).encode()}
    return [pid for pid, command in commands() if wanted <= set(command)]


def the_indexer(server: Installation) -> int:
    """The one that runs."""
    (pid,) = wait_until(lambda: processes("backstory.indexer", server.database), what="an indexer")
    return int(pid)


def index_follows(api: httpx.Client) -> Callable[[], bool]:
    return lambda: metric(api, "backstory_index_lag_seconds") == 0


@pytest.mark.parametrize(
    ("table", "meets"),
    [("words_data", "deletion"), ("postings", "deletion"), ("postings", "find"), ("words_data", "indexer")],
)
def test_a_damaged_index_is_begun_again_while_serving(
    installation: Installation, table: str, meets: str
) -> None:
    """Whoever meets it, nothing fails, and what is deleted meanwhile is found no more."""
    server = installation.start()
    with server.client() as api:
        ids = publish_some(api, range(30))
        wait_until(index_follows(api), what="the index")
    server.stop()
    overwrite(server.database, table)
    with server.start().client() as api:
        gone = ids.pop()
        if meets == "find":
            assert find(api, name="Event 0") == []
        if meets == "indexer":
            ids += publish_some(api, range(30, 40))
            wait_until(lambda: metric(api, "backstory_index_renewals"), what="another index")
        delete(api, gone)
        wait_until(lambda: metric(api, "backstory_index_renewals"), what="another index")
        ids += publish_some(api, range(40, 50))
        wait_until(index_follows(api), what="the index")
        assert found(api, q=WORD) == set(ids)
        assert found(api, q="n3") == {ids[3]}
        delete(api, ids.pop(3))
        assert found(api, q=WORD) == set(ids)
        assert metric(api, "backstory_index_renewals") == 1
        for event in ("search_file_damaged", "index_renewed"):
            assert server.log_text().count(event) == 1
    names = {file.name for file in server.directory.glob("backstory.db-search*")}
    assert names <= {"backstory.db-search", "backstory.db-search-wal", "backstory.db-search-shm"}
    server.stop()
    check_index(server.database)


def test_what_is_no_database_does_not_stop_deletions_and_metrics(server: Installation) -> None:
    with server.client() as api:
        ids = publish_some(api, range(20))
        wait_until(index_follows(api), what="the index")
        search_file(server.database).write_bytes(b"this is not a database, it is a text" * 1_000)
        Path(f"{search_file(server.database)}-wal").unlink()
        delete(api, ids.pop())
        wait_until(lambda: metric(api, "backstory_index_renewals"), what="another index")
        wait_until(index_follows(api), what="the index")
        assert found(api, q=WORD) == set(ids)
    server.stop()
    check_index(server.database)


def test_a_committer_that_comes_back_without_a_search_file(server: Installation) -> None:
    with server.client() as api:
        ids = publish_some(api, range(20))
        wait_until(index_follows(api), what="the index")
        (committer,) = processes("backstory.committer", server.database)
        os.kill(committer, signal.SIGKILL)
        for file in server.directory.glob("backstory.db-search*"):
            file.unlink()
        wait_until(
            lambda: api.post(ACTIVITIES, json=publish_request(id="again")).status_code == 200,
            what="another committer",
        )
        delete(api, publish(api, publish_request(id="again"))["id"])
        delete(api, ids.pop())
        ids += publish_some(api, [20])
        wait_until(lambda: found(api, q=WORD) == set(ids), what="the words of before")
        assert metric(api, "backstory_index_renewals") == 1
        assert len(processes("backstory.indexer", server.database)) == 1
        wait_until(lambda: not marks(server.database), what="the end of the marks")
    server.stop()
    check_index(server.database)


def test_deletions_while_the_index_catches_up(server: Installation) -> None:
    """Of what it has, what it is at, and what it has not reached."""
    with server.client() as api:
        ids = publish_some(api, range(200))
        wait_until(index_follows(api), what="the index")
        indexer = the_indexer(server)
        os.kill(indexer, signal.SIGSTOP)
        try:
            for piece in range(12):
                ids += publish_some(api, range(1_000 * piece, 1_000 * piece + 900))
            gone = {ids[0], ids[199], ids[200], ids[5_000], ids[-1]}
            for each in gone:
                delete(api, each)
            assert metric(api, "backstory_index_lag_seconds") > 0
        finally:
            os.kill(indexer, signal.SIGCONT)
        for each in ids[-2:200:-400]:
            delete(api, each)
        publish_some(api, [20_000])  # a mark of the newest stays until something is indexed behind it
        wait_until(index_follows(api), what="the index")
    wait_until(lambda: not marks(server.database), what="the end of the marks")
    server.stop()
    check_index(server.database)


def marks(database: Path) -> list[Any]:
    """What deletions have left for the indexer to do."""
    with closing(sqlite3.connect(f"file:{search_file(database)}?mode=ro", uri=True)) as index:
        return index.execute("SELECT position FROM removed").fetchall()


def test_the_indexer_ends_with_its_owner_however_that_ends(installation: Installation) -> None:
    """And one that was late to notice writes nothing any more beside the next one."""
    server = installation.start()
    with server.client() as api:
        publish_some(api, range(50))
        wait_until(index_follows(api), what="the index")
    late = the_indexer(server)
    (committer,) = processes("backstory.committer", server.database)
    os.kill(late, signal.SIGSTOP)
    try:
        server.kill()
        os.kill(committer, signal.SIGKILL)
        with server.start().client() as api:
            publish_some(api, range(50, 500))
            wait_until(index_follows(api), what="the index")
            assert set(processes("backstory.indexer", server.database)) > {late}
            os.kill(late, signal.SIGCONT)
            publish_some(api, range(500, 900))
            wait_until(lambda: late not in processes("backstory.indexer", server.database), what="its end")
            wait_until(index_follows(api), what="the index")
            assert len(found(api, q="n899")) == 1
            owner = processes("backstory.committer", server.database)
            assert len(owner) == 1
            assert len(processes("backstory.indexer", server.database)) == 1
    finally:
        with suppress(ProcessLookupError):
            os.kill(late, signal.SIGCONT)
    server.kill()
    for module in ("backstory.committer", "backstory.indexer"):
        wait_until(lambda module=module: not processes(module, server.database), what=f"the end of {module}")  # type: ignore[misc]
    check_index(server.database)


@contextmanager
def unreadable(server: Installation) -> Iterator[None]:
    """The server's process cannot read the index's file: each read is answered as by a disk with a broken place."""
    strace = shutil.which("strace")
    if strace is None:
        assert os.environ.get("CI") != "true", "strace is needed: apt install strace"
        pytest.skip("strace is not installed")
    assert server.process is not None
    faults = ("--inject=pread64:error=EIO", f"--trace-path={search_file(server.database)}")
    trace = server.directory / "trace"
    with trace.open("w") as output:
        tracer = subprocess.Popen([strace, "-f", "-p", str(server.process.pid), *faults], stderr=output)
    try:
        wait_until(lambda: "attached" in trace.read_text(), what="the tracer")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=30)
    assert "EIO" in trace.read_text(), "it was read, and in vain"


@pytest.mark.parametrize("meets", ["find", "words of a contact", "deletion", "metrics"])
def test_an_index_that_cannot_be_read_is_begun_again(installation: Installation, meets: str) -> None:
    """Nothing fails but what needs it, and that finds nothing for a moment."""
    server = installation.start()
    with server.client() as api:
        ids = publish_some(api, range(30))
        wait_until(index_follows(api), what="the index")
        contact = api.get(f"{ACTIVITIES}/{ids[0]}").json()["contact_id"]
    server.stop()  # so that nothing of it is in a cache
    with server.start().client() as api:
        timeline = f"/api/v2/contacts/{contact}/activities"
        with unreadable(server):
            if meets == "find":
                assert find(api, name="Event 0") == []
            elif meets == "words of a contact":
                assert [each["id"] for each in api.get(timeline, params={"q": "n7"}).json()] == [ids[7]]
            elif meets == "deletion":
                delete(api, ids.pop())
            else:
                assert metric(api, "backstory_index_lag_seconds") > 0
            assert api.get(timeline).status_code == 200
            ids.append(publish(api, publish_request(context={"Note": WORD}))["id"])
        wait_until(lambda: metric(api, "backstory_index_renewals"), what="another index")
        wait_until(index_follows(api), what="the index")
        assert found(api, q=WORD) == set(ids)
        assert server.log_text().count("search_file_damaged") == 1
    server.stop()
    check_index(server.database)


@pytest.mark.parametrize("size", [0, 100, 0.5])
def test_an_index_that_was_cut_short_while_serving(server: Installation, size: float) -> None:
    search = search_file(server.database)
    with server.client() as api:
        ids = publish_some(api, range(300))
        wait_until(index_follows(api), what="the index")
        os.truncate(search, int(size if size >= 1 or not size else search.stat().st_size * size))
        Path(f"{search}-wal").unlink()
        assert len(api.get(ACTIVITIES.replace("contact-activities", "contacts/3/activities")).json()) == 30
        delete(api, ids.pop())
        ids += publish_some(api, range(300, 310))
        wait_until(lambda: found(api, q="n305"), what="what was published behind it")
        wait_until(lambda: found(api, name="Event 0"), what="what was there before")
        delete(api, ids.pop())
    server.stop()
    server.start().stop()


def test_a_folder_in_the_place_of_the_index(installation: Installation) -> None:
    """There can be none, and nobody waits for it: not the server's start, not a committer that comes back."""
    search = search_file(installation.database)
    server = installation.start()
    with server.client() as api:
        ids = publish_some(api, range(20))
        wait_until(index_follows(api), what="the index")
        contact = api.get(f"{ACTIVITIES}/{ids[0]}").json()["contact_id"]
    server.stop()
    search.unlink()
    (search / "something").mkdir(parents=True)
    with server.start().client() as api:
        timeline = f"/api/v2/contacts/{contact}/activities"
        for _ in range(2):
            ids.append(publish(api, publish_request())["id"])
            delete(api, ids.pop())
            assert [each["id"] for each in api.get(timeline, params={"q": "n7"}).json()] == [ids[7]]
            assert found(api, q=WORD) == set()
            assert metric(api, "backstory_index_lag_seconds") > 0
            (committer,) = processes("backstory.committer", server.database)
            os.kill(committer, signal.SIGKILL)
            wait_until(
                lambda: api.post(ACTIVITIES, json=publish_request(id="again")).status_code == 200,
                what="another committer",
            )
        assert "index_not_renewed" in server.log_text()
        assert "Traceback" not in server.log_text()
    server.stop()
    shutil.rmtree(search)
    with server.start().client() as api:
        wait_until(index_follows(api), what="the index")
        assert found(api, q=WORD) == set(ids)
    server.stop()
    check_index(server.database)
