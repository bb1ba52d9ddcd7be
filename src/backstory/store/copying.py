"""What `backstory copy` needs of an engine: the log's rows exactly as they are kept, out and in.

Records need no interface of their own: every engine runs the same queries on the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from backstory.model.ids import ContactKey, Position
from backstory.model.moment import Microseconds
from backstory.store.base import Records, RecordsTransaction
from backstory.store.records.tables import metadata
from backstory.store.records.writing import insert_if_absent

PIECE = 1_000
"""So many rows at most are read and written at a time."""


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
    """Where a log is: its generation, and the newest position of an activity and of a deletion (0 for none)."""

    generation: str
    activities: Position
    deletions: Position

    @property
    def last(self) -> Position:
        """The newest position."""
        return max(self.activities, self.deletions)


class LogCopy(Protocol):
    """A log, to be copied out of and into. Reads may be repeated; what is written twice is there once."""

    in_order: bool
    """Whether what comes later stands behind all before it, so that a copy can go on behind what it has."""

    async def state(self) -> LogState:
        """Where it is."""

    async def complete(self) -> LogState:
        """Up to where a copy into it misses nothing, wherever it was cut off."""

    async def read_activities(self, after: Position, limit: int) -> Sequence[KeptActivity]:
        """Activities behind a position, in order."""

    async def read_deletions(self, after: Position, limit: int) -> Sequence[KeptDeletion]:
        """Deletions behind a position, in order."""

    async def read_keys(self, after: bytes, newer_than: Position, limit: int) -> Sequence[KeptKey]:
        """Keys of positions behind one, in the order of their hashes, behind a hash."""

    async def write_activities(self, rows: Sequence[KeptActivity]) -> int:
        """Keep activities; how many were not there."""

    async def write_deletions(self, rows: Sequence[KeptDeletion]) -> int:
        """Keep deletions, and remove what they deleted; how many were not there."""

    async def write_keys(self, rows: Sequence[KeptKey]) -> None:
        """Keep keys, in the place of older ones with the same hash."""

    async def adopt(self, state: LogState) -> None:
        """Take on a generation, so that live streams go on; and give out no position up to the state's newest."""


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
        newest = {
            table: sa.select(sa.func.coalesce(sa.func.max(table.c.position), 0))
            for table in (_activities, _deletions, _erased)
        }

        def work(connection: sa.Connection) -> LogState:
            gone = [_deletions, _erased] if connection.dialect.name == "sqlite" else [_deletions]
            return LogState(
                connection.scalars(generation).one(),
                connection.scalars(newest[_activities]).one(),
                max(connection.scalars(newest[table]).one() for table in gone),
            )

        return await self._records.read(work)

    async def complete(self) -> LogState:
        """See `LogCopy.complete`: each piece is a transaction."""
        return await self.state()

    async def _read(self, query: sa.Select[Any]) -> Sequence[Any]:
        return await self._records.read(lambda c: c.execute(query).all())

    async def read_activities(self, after: Position, limit: int) -> Sequence[KeptActivity]:
        """See `LogCopy.read_activities`."""
        return [KeptActivity(*row) for row in await self._read(_behind(_activities, after, limit))]

    async def read_deletions(self, after: Position, limit: int) -> Sequence[KeptDeletion]:
        """See `LogCopy.read_deletions`."""

        def work(connection: sa.Connection) -> Sequence[Any]:
            rows = connection.execute(_behind(_deletions, after, limit)).all()
            if connection.dialect.name == "sqlite":
                rows = [*rows, *connection.execute(_behind(_erased, after, limit)).all()]
            return rows

        rows = await self._records.read(work)
        found = (KeptDeletion(*row) if len(row) > 2 else KeptDeletion(row[0], NOBODY, *row) for row in rows)
        return sorted(found)[:limit]

    async def read_keys(self, after: bytes, newer_than: Position, limit: int) -> Sequence[KeptKey]:
        """See `LogCopy.read_keys`."""
        query = sa.select(_keys).where(_keys.c.hash > after, _keys.c.position > newer_than)
        return [KeptKey(*row) for row in await self._read(query.order_by(_keys.c.hash).limit(limit))]

    async def write_activities(self, rows: Sequence[KeptActivity]) -> int:
        """See `LogCopy.write_activities`."""
        return await self._records.write(lambda t: _insert_new(t.records, _activities, rows))

    async def write_deletions(self, rows: Sequence[KeptDeletion]) -> int:
        """See `LogCopy.write_deletions`."""

        def work(transaction: RecordsTransaction) -> int:
            connection, gone = transaction.records, [row.deleted for row in rows]
            removed = connection.execute(_activities.delete().where(_activities.c.position.in_(gone)))
            if removed.rowcount:  # an index that was made of them is made anew
                connection.execute(_state.update().where(_state.c.name == "index_rules").values(value=""))
            if connection.dialect.name != "sqlite":
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


def _behind(table: sa.Table, after: Position, limit: int) -> sa.Select[Any]:
    return sa.select(table).where(table.c.position > after).order_by(table.c.position).limit(limit)


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
