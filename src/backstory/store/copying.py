"""What `backstory copy` needs of an engine: the log's rows exactly as they are kept, out and in.

Records need no interface of their own: every engine runs the same queries on the same tables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from backstory.model.ids import ContactKey, Position
from backstory.model.moment import Microseconds
from backstory.store.base import Records, RecordsTransaction
from backstory.store.records.tables import metadata
from backstory.store.records.writing import insert_if_absent

PIECE = 1_000
"""So many rows at most are read and written at a time."""

EVERYTHING: Position = (1 << 63) - 1
"""Nothing is behind this position."""


class KeptActivity(NamedTuple):
    """An activity as it is kept."""

    position: Position
    tail: int
    contact_key: ContactKey
    timestamp: Microseconds
    source: str
    name: str
    object_type: str | None
    actor_type: str
    body: bytes
    origin: bytes


class KeptDeletion(NamedTuple):
    """The trace of an activity that is gone.

    Where its contact was erased its own position stands for the deletion's, and the contact is left out: `NOBODY`.
    """

    position: Position
    contact_key: ContactKey
    deleted: Position
    tail: int


NOBODY: ContactKey = b""


class KeptKey(NamedTuple):
    """What recognises a replay. Those of deleted activities are kept too."""

    hash: bytes
    position: Position
    digest: bytes
    expires: Microseconds | None


class LogState(NamedTuple):
    """Where a log is: its generation, and a position that nothing in it is behind (0 where there is nothing)."""

    generation: str
    last: Position


class LogCopy(Protocol):
    """A log, to be copied out of and into. Reads may be repeated; what is written twice is there once.

    What is read comes a piece at a time: what has a position behind one, and not behind another.
    """

    in_order: bool
    """Whether what comes later stands behind all before it, and is read in order: so that a copy can go on behind what
    it has."""

    async def state(self) -> LogState:
        """Where it is."""

    async def complete(self, *, in_order: bool) -> Position:
        """Up to which activity a copy into it misses none, wherever it was cut off.

        `in_order`: activities come in order, and only those behind it.
        """

    def activities(self, after: Position, until: Position) -> AsyncIterator[Sequence[KeptActivity]]:
        """Activities."""

    def deletions(self, until: Position) -> AsyncIterator[Sequence[KeptDeletion]]:
        """Deletions."""

    def keys(self, after: Position, until: Position) -> AsyncIterator[Sequence[KeptKey]]:
        """Keys of activities."""

    async def write_activities(self, rows: Sequence[KeptActivity]) -> int:
        """Keep activities; how many were not there."""

    async def write_deletions(self, rows: Sequence[KeptDeletion]) -> int:
        """Keep deletions, and remove what they deleted; how many were not there."""

    async def write_keys(self, rows: Sequence[KeptKey]) -> None:
        """Keep keys, in the place of older ones with the same hash."""

    async def adopt(self, state: LogState) -> None:
        """Take on a generation, so that live streams go on; and give out no position up to the state's newest."""


_COPYING = "copying"
_log = sa.MetaData()
_activities = sa.Table(
    "activities",
    _log,
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("tail", sa.BigInteger),
    sa.Column("contact_key", sa.LargeBinary),
    sa.Column("timestamp", sa.BigInteger),
    sa.Column("source", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("object_type", sa.Text),
    sa.Column("actor_type", sa.Text),
    sa.Column("body", sa.LargeBinary),
    sa.Column("origin", sa.LargeBinary),
)
_deletions = sa.Table(
    "deletions",
    _log,
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("contact_key", sa.LargeBinary),
    sa.Column("deleted", sa.BigInteger),
    sa.Column("tail", sa.BigInteger),
)
_keys = sa.Table(
    "event_keys",
    _log,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("position", sa.BigInteger),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("expires", sa.BigInteger),
)
_erased = sa.Table(  # SQLite's alone: what the others keep as a deletion without a contact
    "erased",
    _log,
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("tail", sa.BigInteger),
)
_state = sa.Table(
    "log_state", _log, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text)
)


class RelationalLogCopy:
    """A log that is kept beside the records, in tables of the same database."""

    in_order = True

    def __init__(self, records: Records) -> None:
        self._records = records

    async def state(self) -> LogState:
        """See `LogCopy.state`."""
        generation = sa.select(_state.c.value).where(_state.c.name == "generation")

        def work(connection: sa.Connection) -> LogState:
            tables = [_activities, _deletions, *([_erased] if connection.dialect.name == "sqlite" else [])]
            newest = (connection.scalar(sa.select(sa.func.max(table.c.position))) for table in tables)
            return LogState(connection.scalars(generation).one(), max(each or 0 for each in newest))

        return await self._records.read(work)

    async def complete(self, *, in_order: bool) -> Position:
        """See `LogCopy.complete`: each piece is a transaction."""
        newest = sa.select(sa.func.coalesce(sa.func.max(_activities.c.position), 0))
        return await self._records.read(lambda c: c.scalars(newest).one())

    async def activities(self, after: Position, until: Position) -> AsyncIterator[Sequence[KeptActivity]]:
        """See `LogCopy.activities`."""
        while rows := await self._records.read(partial(_select, _activities, after, until)):
            yield [KeptActivity(*row) for row in rows]
            after = rows[-1].position

    async def deletions(self, until: Position) -> AsyncIterator[Sequence[KeptDeletion]]:
        """See `LogCopy.deletions`."""

        def work(connection: sa.Connection, after: Position) -> list[KeptDeletion]:
            found = [KeptDeletion(*row) for row in _select(_deletions, after, until, connection)]
            if connection.dialect.name == "sqlite":
                erased = _select(_erased, after, until, connection)
                found.extend(KeptDeletion(row.position, NOBODY, *row) for row in erased)
            return sorted(found)[:PIECE]

        after = 0
        while rows := await self._records.read(partial(work, after=after)):
            yield rows
            after = rows[-1].position

    async def keys(self, after: Position, until: Position) -> AsyncIterator[Sequence[KeptKey]]:
        """See `LogCopy.keys`. In the order of their hashes, which is that of their index."""
        query = sa.select(_keys).where(_keys.c.position > after, _keys.c.position <= until)
        query = query.order_by(_keys.c.hash).limit(PIECE)
        seen = b""
        while rows := await self._records.read(
            lambda c, seen=seen: c.execute(query.where(_keys.c.hash > seen)).all()  # type: ignore[misc]
        ):
            yield [KeptKey(*row) for row in rows]
            seen = rows[-1].hash

    async def write_activities(self, rows: Sequence[KeptActivity]) -> int:
        """See `LogCopy.write_activities`."""
        return await self._records.write(lambda t: _insert_new(t.records, _activities, rows))

    async def write_deletions(self, rows: Sequence[KeptDeletion]) -> int:
        """See `LogCopy.write_deletions`."""

        def work(transaction: RecordsTransaction) -> int:
            connection, gone = transaction.records, [row.deleted for row in rows]
            removed = connection.execute(_activities.delete().where(_activities.c.position.in_(gone)))
            if connection.dialect.name != "sqlite":
                if removed.rowcount:  # an index that was made of them is made anew
                    connection.execute(_state.delete().where(_state.c.name == "index_rules"))
                    connection.execute(_state.insert().values(name="index_rules", value=""))
                return _insert_new(connection, _deletions, rows)
            erased = [row for row in rows if row.position == row.deleted]
            deleted = [row for row in rows if row.position != row.deleted]
            return _insert_new(connection, _erased, erased) + _insert_new(connection, _deletions, deleted)

        return await self._records.write(work)

    async def write_keys(self, rows: Sequence[KeptKey]) -> None:
        """See `LogCopy.write_keys`."""

        def work(transaction: RecordsTransaction) -> None:
            hashes = [row.hash for row in rows]
            transaction.records.execute(_keys.delete().where(_keys.c.hash.in_(hashes)))
            insert_if_absent(transaction.records, _keys, [row._asdict() for row in rows])

        await self._records.write(work)

    async def adopt(self, state: LogState) -> None:
        """See `LogCopy.adopt`. SQLite gives out positions behind what is there."""

        def work(transaction: RecordsTransaction) -> None:
            connection = transaction.records
            connection.execute(
                _state.update().where(_state.c.name == "generation").values(value=state.generation)
            )
            if connection.dialect.name == "postgresql":
                connection.execute(
                    sa.text("SELECT setval('log_position', greatest(last_value, :last)) FROM log_position"),
                    {"last": state.last},
                )

        await self._records.write(work)


# Whose copy is under way into an installation is noted beside its records, on every engine: only such a one, which
# nobody has served meanwhile, may be brought up to date, for what its source does not have is taken away.


async def note_copying(records: Records, generation: str) -> None:
    """Note that a copy of the installation with this generation is under way."""

    def work(transaction: RecordsTransaction) -> None:
        transaction.records.execute(_state.delete().where(_state.c.name == _COPYING))
        transaction.records.execute(_state.insert().values(name=_COPYING, value=generation))

    await records.write(work)


async def copied_generation(records: Records) -> str | None:
    """Of which installation a copy is under way; None where none is."""
    return await records.read(lambda c: c.scalar(sa.select(_state.c.value).where(_state.c.name == _COPYING)))


async def end_copying(records: Records) -> None:
    """The copy is served from now on."""
    if await copied_generation(records) is not None:
        await records.write(lambda t: t.records.execute(_state.delete().where(_state.c.name == _COPYING)))


def _insert_new(
    connection: sa.Connection, table: sa.Table, rows: Sequence[KeptActivity] | Sequence[KeptDeletion]
) -> int:
    """Insert what is not there; how many that were."""
    positions = [row.position for row in rows]
    query = sa.select(table.c.position).where(table.c.position.in_(positions))
    there = set(connection.scalars(query))
    columns = table.c.keys()
    new = [row._asdict() for row in rows if row.position not in there]
    insert_if_absent(connection, table, [{name: row[name] for name in columns} for row in new])
    return len(new)


def _select(table: sa.Table, after: Position, until: Position, connection: sa.Connection) -> Sequence[Any]:
    """A piece, in order."""
    query = sa.select(table).where(table.c.position > after, table.c.position <= until)
    return connection.execute(query.order_by(table.c.position).limit(PIECE)).all()


async def contact_keys(records: Records) -> frozenset[ContactKey]:
    """The keys of all contacts: under these are an installation's activities."""
    query = sa.select(metadata.tables["contacts"].c.key)
    return await records.read(lambda c: frozenset(c.scalars(query)))


def numbered_tables() -> list[sa.Table]:
    """The tables whose numbers are given out by the database, and never twice."""
    return [table for table in metadata.sorted_tables if table.dialect_options["sqlite"]["autoincrement"]]


def read_numbers(connection: sa.Connection) -> dict[str, int]:
    """The last number that each table has given out."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(sa.text("SELECT name, seq FROM sqlite_sequence")).all()
        given = {row.name: row.seq for row in rows}
        return {str(table.name): given.get(table.name, 0) for table in numbered_tables()}
    return {
        str(table.name): connection.execute(
            sa.text(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {table.name}_id_seq")  # noqa: S608
        ).scalar_one()
        for table in numbered_tables()
    }


def write_numbers(connection: sa.Connection, numbers: Mapping[str, int]) -> None:
    """Give out no number up to these."""
    for table in numbered_tables():
        last = numbers.get(table.name, 0)
        if last == 0:
            continue
        values = {"name": table.name, "last": last}
        if connection.dialect.name == "sqlite":
            connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(
                sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), values
            )
        else:
            connection.execute(sa.text(f"SELECT setval('{table.name}_id_seq', :last)"), {"last": last})
