"""A helpdesk of a given size, straight into the tables: contacts, tickets and what they are looked up by."""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3 as sqlite3

from bench.places import OUT
from bench.product import run_command, schema_hash

_NOW = 1_764_000_000_000_000
_MINUTE = 60_000_000
_DAY = 24 * 60 * _MINUTE
_LANGUAGES = ("en",) * 6 + ("de", "fr", "es", "it")
_ZONES = ("London", "Berlin", "Paris", None)
_TYPES = ("Question", "Incident", "Problem", None)
_REGIONS = ("north", "south", "east", "west")


def filled_helpdesk(rows: int) -> Path:
    """A database with so many contacts and so many tickets; made once and kept in out/databases."""
    folder = OUT / "databases"
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / f"helpdesk-{rows}-{schema_hash()}.db"
    done = database.with_suffix(".done")
    if done.exists():
        return database
    for stale in folder.glob(f"helpdesk-{rows}-*"):
        stale.unlink()
    run_command(database, "migrate")
    with closing(sqlite3.connect(str(database))) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        _fill(connection, rows)
        connection.commit()
    done.touch()
    return database


def _fill(connection: Any, rows: int) -> None:
    rng = random.Random(1)
    _insert(connection, "contacts", _CONTACT, _contacts(rng, rows))
    _insert(
        connection,
        "identifiers",
        "key kind value contact_id created_at",
        ((f"email:{_email(i)}", "email", _email(i), i, 0) for i in range(1, rows + 1)),
    )
    _insert(connection, "contact_phones", "number contact_id", ((_phone(i), i) for i in range(1, rows + 1)))
    words = ((word, i) for i in range(1, rows + 1) for word in (f"first{i % 1000}", f"last{i}"))
    _insert(connection, "name_words", "object word record_id", (("contact", *each) for each in words))
    _insert(connection, "tickets", _TICKET, _tickets(rng, rows))
    for kind in ("contact", "ticket"):
        _insert(connection, "record_tags", "object tag_key record_id", _tags(kind, rows))
        _insert(connection, "custom_values", "object name value record_id", _values(rng, kind, rows))
    for number, kind in enumerate(("contact", "ticket")):
        connection.execute(
            "INSERT INTO custom_fields (object, name, label, type, position, created_at, updated_at)"
            " VALUES (?, 'cf_region', 'Region', 'custom_text', ?, 0, 0)",
            (kind, number),
        )


def _insert(connection: Any, table: str, columns: str, rows: Iterator[Sequence[Any]]) -> None:
    names = columns.split()
    places = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"
    connection.executemany(statement, rows)


def _email(i: int) -> str:
    return f"u{i}@example.com"


def _phone(i: int) -> str:
    return f"+4420{i:08d}"


_CONTACT = "id key name named email phone name_key active language time_zone company_id created_at updated_at is_agent"


def _contacts(rng: random.Random, rows: int) -> Iterator[Sequence[Any]]:
    for i in range(1, rows + 1):
        yield (
            *(i, i.to_bytes(16, "big"), f"First{i % 1000} Last{i}", True, _email(i), _phone(i)),
            *(f"first{i % 1000} last{i}", rng.random() < 0.3, rng.choice(_LANGUAGES), rng.choice(_ZONES)),
            *(i % 20_000 + 1 if i % 3 else None, _NOW - (rows - i) * _MINUTE),
            *(_NOW - rng.randrange(rows) * _MINUTE, False),
        )


_TICKET = (
    "id subject description description_text type status priority source requester_id responder_id group_id"
    " due_by fr_due_by created_at updated_at"
)


def _tickets(rng: random.Random, rows: int) -> Iterator[Sequence[Any]]:
    text = "some text " * 20
    for i in range(1, rows + 1):
        created = _NOW - (rows - i) * _MINUTE
        yield (
            *(i, f"Subject {i}", f"<p>{text}</p>", text, rng.choice(_TYPES)),
            *(rng.choices((2, 3, 4, 5), (5, 5, 10, 80))[0], rng.choices((1, 2, 3, 4), (50, 30, 15, 5))[0], 2),
            *(rng.randrange(rows) + 1, rng.randrange(200) + 1 if rng.random() < 0.9 else None),
            *(rng.randrange(20) + 1, created + _DAY, created + 60 * _MINUTE, created),
            created + rng.randrange(_DAY),
        )


def _tags(kind: str, rows: int) -> Iterator[Sequence[Any]]:
    for tag, every in (("common", 3), ("hundredth", 100), ("rare", 50_000)):
        yield from ((kind, tag, i) for i in range(every, rows + 1, every))


def _values(rng: random.Random, kind: str, rows: int) -> Iterator[Sequence[Any]]:
    return ((kind, "cf_region", rng.choice(_REGIONS), i) for i in range(1, rows + 1))
