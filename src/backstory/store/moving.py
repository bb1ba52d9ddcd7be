"""`backstory copy`: an installation from one engine to another, exactly, while the old one still takes activities.

Passes: the first copies everything, each later one what changed since. A run can be stopped at any moment and begun
again. The last pass is the one that finds nobody writing to the old installation; then both sides are compared.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from backstory.errors import StorageError, Unavailable
from backstory.model.ids import Position
from backstory.model.moment import now
from backstory.store.base import Records, RecordsTransaction
from backstory.store.copying import (
    EVERYTHING,
    PIECE,
    LogCopy,
    copied_generation,
    note_copying,
    read_numbers,
    write_numbers,
)
from backstory.store.postgres_database import explain
from backstory.store.records.tables import metadata

PASSES = 20
"""One that is written to faster than it can be copied is left after so many."""

Show = Callable[[float, str], None]
"""Takes how many rows are done, and a note."""

_ENCODER = msgspec.msgpack.Encoder()


class Side(NamedTuple):
    """One of the two installations."""

    records: Records
    log: LogCopy


class Sum(NamedTuple):
    """A table's rows: how many, and a checksum that does not depend on their order."""

    name: str
    rows: int
    checksum: str


class _Digests:
    """Adds up rows."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = self._sum = 0

    def add(self, row: Iterable[Any]) -> None:
        self._count += 1
        self._sum += int.from_bytes(_digest(row), "big")

    def result(self) -> Sum:
        return Sum(self._name, self._count, f"{self._sum & ((1 << 128) - 1):032x}")


def _digest(row: Iterable[Any]) -> bytes:
    return hashlib.blake2b(_ENCODER.encode(list(row)), digest_size=16).digest()


class Move:
    """One copy under way."""

    def __init__(self, source: Side, target: Side, show: Show) -> None:
        self._source = source
        self._target = target
        self._show = show
        self._done = 0
        self._served = False

    async def check_target(self) -> None:
        """Look whether the target may be written.

        Raises:
            StorageError: there is something in it that is no copy of this source.
        """
        ours, theirs = await self._source.log.state(), await self._target.log.state()
        if await copied_generation(self._target.records) == ours.generation:
            return
        contacts = metadata.tables["contacts"]
        there = await self._target.records.read(
            lambda c: c.scalar(sa.select(sa.func.count()).select_from(contacts))
        )
        if theirs.last or there:
            raise StorageError(
                "the target is not empty, and no copy of this source that nobody has served since: give it an empty one"
            )
        # From now on it is known whose copy it is, however early this is stopped.
        await note_copying(self._target.records, ours.generation)

    async def run_pass(self, *, served: bool) -> int:
        """Copy what is missing; how many rows were written.

        Tables are read one after another, so of what is `served` meanwhile a row may be seen that belongs to one which
        was not there yet when its table was read. Such are left to the next pass.

        Raises:
            StorageError: the target does not take what is there, though nobody changes it.
        """
        before, self._served = self._done, served
        until = await self._source.log.state()
        await self._copy_records()
        await self._copy_log(until.last)
        await self._target.log.adopt(until)
        return self._done - before

    def _advance(self, rows: int, what: str) -> None:
        self._done += rows
        self._show(self._done, what)

    async def _copy_log(self, until: Position) -> None:
        """Up to a position. The keys go first: where this is stopped, those that miss are still known as missing."""
        source, target = self._source.log, self._target.log
        complete = await target.complete(in_order=source.in_order)
        # Where later ones do not stand behind those before, and of what was deleted, all is looked at in every pass.
        after = complete if source.in_order else 0
        looked_at = 0
        async for keys in source.keys(after, until):
            await target.write_keys(keys)
            looked_at += len(keys)
            self._show(self._done, f"{looked_at:,} keys")
        async for activities in source.activities(after, until):
            self._advance(await target.write_activities(activities), "activities")
        async for deletions in source.deletions(until):
            self._advance(await target.write_deletions(deletions), "deletions")

    async def _copy_records(self) -> None:
        tables = metadata.sorted_tables
        theirs = {table: await self._digests(self._target.records, table) for table in tables}
        for table in reversed(tables):
            if theirs[table]:
                await self._make_room(table, theirs[table])
        for table in tables:
            async for rows in _read_table(self._source.records, table):
                await self._write_changed(table, rows, theirs[table])
        numbers = await self._source.records.read(read_numbers)
        await self._target.records.write(lambda transaction: write_numbers(transaction.records, numbers))

    async def _digests(self, records: Records, table: sa.Table) -> dict[tuple[Any, ...], bytes]:
        found: dict[tuple[Any, ...], bytes] = {}
        async for rows in _read_table(records, table):
            found |= {_key(table, row): _digest(row) for row in rows}
        return found

    async def _make_room(self, table: sa.Table, theirs: dict[tuple[Any, ...], bytes]) -> None:
        """Delete what is gone, and take from what has changed the names that only one row may have: another one's now.

        Cut off here, the next pass finds those changed, too.
        """
        ours = await self._digests(self._source.records, table)
        gone = [key for key in theirs if key not in ours]
        names = _unique_names(table)
        renamed = [key for key in theirs if names and ours.get(key, theirs[key]) != theirs[key]]

        def work(transaction: RecordsTransaction) -> None:
            for key in gone:
                transaction.records.execute(table.delete().where(_is(table, key)))
            for key in renamed:
                values = {name: f"being copied {secrets.token_hex(16)}" for name in names}
                transaction.records.execute(table.update().where(_is(table, key)).values(values))

        if (gone or renamed) and await self._write(table, work):
            self._advance(len(gone), table.name)
            for key in gone:
                del theirs[key]
            theirs.update(dict.fromkeys(renamed, b""))

    async def _write_changed(
        self, table: sa.Table, rows: Sequence[sa.Row[Any]], theirs: dict[tuple[Any, ...], bytes]
    ) -> None:
        missing = [row._asdict() for row in rows if _key(table, row) not in theirs]
        changed = [
            row for row in rows if _key(table, row) in theirs and theirs[_key(table, row)] != _digest(row)
        ]

        def work(transaction: RecordsTransaction) -> None:
            for row in changed:
                transaction.records.execute(
                    table.update().where(_is(table, _key(table, row))).values(row._asdict())
                )
            if missing:
                transaction.records.execute(table.insert(), missing)

        if (missing or changed) and await self._write(table, work):
            self._advance(len(missing) + len(changed), table.name)

    async def _write(self, table: sa.Table, work: Callable[[RecordsTransaction], None]) -> bool:
        """Write to the target; False where that must wait for the next pass."""
        try:
            await self._target.records.write(work)
        except StorageError as error:
            if self._served and isinstance(error.__cause__, IntegrityError):
                return False
            message = f"{table.name} cannot be brought up to date ({error}); begin again with an empty target"
            raise StorageError(message) from error
        return True

    async def compare(self) -> list[tuple[Sum, Sum]]:
        """Every table's sums on both sides. Keys that have expired count on neither: they come and go."""
        moment = now()
        ours, theirs = [await _sums(side, moment, self._show) for side in (self._source, self._target)]
        return list(zip(ours, theirs, strict=True))


async def _sums(side: Side, moment: int, show: Show) -> list[Sum]:
    sums = []
    for table in metadata.sorted_tables:
        digests = _Digests(table.name)
        async for rows in _read_table(side.records, table):
            for row in rows:
                digests.add(row)
        sums.append(digests.result())
        show(0, f"comparing {table.name}")
    numbers = _Digests("(numbers given out)")
    for pair in (await side.records.read(read_numbers)).items():
        if pair[1]:
            numbers.add(pair)
    return [
        *sums,
        numbers.result(),
        *[digests.result() for digests in await _log_sums(side.log, moment, show)],
    ]


async def _log_sums(log: LogCopy, moment: int, show: Show) -> list[_Digests]:
    activities, deletions, keys, generation = map(
        _Digests, ("activities", "deletions", "event_keys", "(generation)")
    )
    async for rows in log.activities(0, EVERYTHING):
        for row in rows:
            activities.add(row)
        show(0, "comparing activities")
    async for gone in log.deletions(EVERYTHING):
        for each in gone:
            deletions.add(each)
    async for some in log.keys(0, EVERYTHING):
        for key in some:
            if key.expires is None or key.expires > moment:
                keys.add(key)
    generation.add([(await log.state()).generation])
    return [activities, deletions, keys, generation]


async def _read_table(records: Records, table: sa.Table) -> AsyncIterator[Sequence[sa.Row[Any]]]:
    """A table's rows in the order of its key, a piece at a time."""
    key = list(table.primary_key.columns)
    after: tuple[Any, ...] | None = None
    while True:
        query = sa.select(table).order_by(*key).limit(PIECE)
        if after is not None:
            query = query.where(sa.tuple_(*key) > sa.tuple_(*map(_literal, key, after)))
        rows = await records.read(lambda c, query=query: c.execute(query).all())  # type: ignore[misc]
        if not rows:
            return
        yield rows
        after = _key(table, rows[-1])


def _unique_names(table: sa.Table) -> list[str]:
    """The texts by which a row is known besides its key, which may be given to another row; keys of bytes never are."""
    ends = [list(each.columns)[-1] for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    return [column.name for column in ends if isinstance(column.type, sa.Text)]


def _literal(column: sa.Column[Any], value: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(None, value, type_=column.type, unique=True)


def _key(table: sa.Table, row: sa.Row[Any]) -> tuple[Any, ...]:
    return tuple(getattr(row, column.name) for column in table.primary_key.columns)


def _is(table: sa.Table, key: Sequence[Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == value for column, value in zip(table.primary_key.columns, key, strict=True)))


async def move(
    source: Side, target: Side, is_served: Callable[[], bool], show: Show
) -> list[tuple[Sum, Sum]] | None:
    """Copy until nothing changes any more; the sums of both sides, or None where the source is still being served.

    Raises:
        StorageError: the target is no copy of this source, or cannot be brought up to date; or one of them is away.
    """
    try:
        return await _run_passes(Move(source, target, show), is_served)
    except Unavailable as error:
        # What a client is not told about the storage, an operator is.
        cause = error.__cause__
        why = explain(cause) if isinstance(cause, SQLAlchemyError) else str(error)
        raise StorageError(
            f"the copy was cut off: {why}; begin it again, and it goes on where it was"
        ) from error


async def _run_passes(moving: Move, is_served: Callable[[], bool]) -> list[tuple[Sum, Sum]] | None:
    await moving.check_target()
    for _ in range(PASSES):
        served = is_served()  # asked before the pass: what is written during it is found by the next one
        written = await moving.run_pass(served=served)
        if not served:
            return await moving.compare()
        if written < PIECE:
            return None
    return None
