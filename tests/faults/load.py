"""Publishers that never wait for each other, and remember what they were answered."""

from __future__ import annotations

import http.client
import itertools
import json
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.http.wire import ACTIVITIES, basic
from tests.support import Installation, publish_request, wait_until

ANSWER_SECONDS = 30
"""How long an answer may take: a group waits 12 seconds for a node that neither answers nor goes away."""


class Load:
    """Some threads that publish, each on its own connection, activities with ids of their own, until stopped."""

    def __init__(self, server: Installation, name: str, threads: int = 8, *, replay: bool = False) -> None:
        self.answered: dict[str, str] = {}
        """The activity's id by the sender's, for each that was answered 200."""
        self.statuses: Counter[int] = Counter()
        self.cut_off: list[str] = []
        """The sender's ids of requests that got no answer."""
        self._address = server.url.removeprefix("http://")
        self._key = server.source_key
        self._stop = threading.Event()
        self._replay = replay
        self._threads = [
            threading.Thread(target=self._publish, args=(f"{name}-{number}",)) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _publish(self, name: str) -> None:
        with closing(http.client.HTTPConnection(self._address, timeout=ANSWER_SECONDS)) as connection:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                event = f"{name}-{number}"
                try:
                    status, answer = self._send(connection, event)
                    if self._replay and number % 3 == 0:
                        assert self._send(connection, event)[1]["id"] == answer["id"]
                except (OSError, http.client.HTTPException):
                    self.cut_off.append(event)
                    return
                self.statuses[status] += 1
                if status == 200:
                    self.answered[event] = answer["id"]

    def _send(self, connection: http.client.HTTPConnection, event: str) -> tuple[int, Any]:
        contact = {"email": f"{hash(event) % 50}@example.com"}
        body = json.dumps(publish_request(id=event, contact=contact, context={"Order id": event}))
        headers = {"Content-Type": "application/json", "Authorization": basic(self._key)}
        connection.request("POST", ACTIVITIES, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def wait_for(self, answers: int) -> None:
        """Until so many were answered 200."""
        wait_until(lambda: len(self.answered) >= answers, seconds=ANSWER_SECONDS, what=f"{answers} answers")

    def join(self) -> None:
        """Wait until every connection has ended (the server is gone)."""
        for thread in self._threads:
            thread.join(timeout=30)
            assert not thread.is_alive()

    def stop(self) -> None:
        """No more requests."""
        self._stop.set()
        self.join()


def stored(database: Path) -> dict[str, list[str]]:
    """The ids of all stored activities, by the sender's id."""
    from backstory.model.ids import ActivityId

    found: dict[str, list[str]] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for position, tail, body in connection.execute("SELECT position, tail, body FROM activities"):
            found.setdefault(json.loads(body)["external_id"], []).append(str(ActivityId(position, tail)))
    return found


def check_sound(database: Path) -> None:
    """SQLite finds no fault in the file."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def check_all_there(load: Load, database: Path) -> None:
    """Every activity that was answered 200 is there, under the id of the answer, and none twice."""
    there = stored(database)
    assert all(len(ids) == 1 for ids in there.values())
    assert {event: there.get(event) for event in load.answered} == {
        event: [id_] for event, id_ in load.answered.items()
    }


def check_index(database: Path) -> None:
    """Every activity is in the search index, as often as it should be, and nothing else is. Nobody has it open."""
    import pysqlite3

    from backstory.store.log.sqlite_search import entries_of, search_file

    with closing(pysqlite3.connect(f"file:{database}?mode=ro", uri=True)) as log:
        rows = log.execute("SELECT position, contact_key, timestamp, body FROM activities").fetchall()
    with closing(pysqlite3.connect(str(search_file(database)))) as index:
        index.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        index.execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, words, instance)")
        words = index.execute("SELECT term, doc FROM vocabulary").fetchall()
        postings = index.execute("SELECT term, timestamp, position FROM postings").fetchall()
        assert index.execute("SELECT position FROM removed").fetchall() == []
    entries = entries_of(rows)
    expected = {(word, each.position) for each in entries for word in each.text.split()}
    assert sorted(set(words)) == sorted(expected)
    assert sorted(postings) == sorted(posting for each in entries for posting in each.postings)
