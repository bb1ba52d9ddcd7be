"""The applications that publish: whether they are heard, how much of each comes, and what is set for one."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.access import AuditEntry
from backstory.model.activity import MAX_IDENTIFIER, Activity, is_reserved_source
from backstory.model.moment import Microseconds, now, parse_moment
from backstory.model.page import Filters
from backstory.store.base import ActivityLog, Records, RecordsTransaction
from backstory.store.records import source_health, sql

COUNTED = 1_000
"""Activities of one source are counted up to here: what is beyond is many."""

RECENT = 500
"""Sources without a key of their own are found among so many of the latest activities."""

WEEK = 7 * 24 * 3600 * 1_000_000


class SourceHealth(Struct, frozen=True):
    """How a source does. Counts are at most `COUNTED` + 1, which stands for more."""

    name: str
    minor_units: bool
    has_key: bool
    last_received: Microseconds | None
    today: int
    week: int
    rejected: int


class _Source(Struct):
    name: str


class _Body(Struct):
    """What is read of an activity's JSON here."""

    source: _Source
    received_at: str


_BODY = msgspec.json.Decoder(_Body)


def _read(activity: Activity) -> _Body:
    return _BODY.decode(activity.body)


async def sources_health(records: Records, log: ActivityLog, today: Microseconds) -> list[SourceHealth]:
    """Every source that is known, by name: by a key, by a setting, by what was refused, by the latest activities.

    `today` is when the reader's day began.
    """
    known = await records.read(source_health.select_recorded_sources)
    latest = await log.find(Filters(), None, RECENT)
    names = {_read(activity).source.name for activity in latest.activities}
    names |= {*known.minor_units, *known.with_keys, *known.rejected}
    ours = sorted((name for name in names if not is_reserved_source(name)), key=str.casefold)
    return [await _health(log, name, known, today) for name in ours]


async def _health(
    log: ActivityLog, name: str, known: source_health.RecordedSources, today: Microseconds
) -> SourceHealth:
    newest = await log.find(Filters(sources=(name,)), None, 1)
    received = [parse_moment(_read(activity).received_at) for activity in newest.activities]
    return SourceHealth(
        name=name,
        minor_units=known.minor_units.get(name, False),
        has_key=name in known.with_keys,
        last_received=received[0] if received else None,
        today=await _count(log, name, today),
        week=await _count(log, name, now() - WEEK),
        rejected=known.rejected.get(name, 0),
    )


async def _count(log: ActivityLog, name: str, since: Microseconds) -> int:
    page = await log.find(Filters(sources=(name,), since=since), None, COUNTED)
    return len(page.activities) + (page.next is not None)


async def rejected_sources(records: Records) -> list[str]:
    """The sources of which refused requests are kept, by name."""
    return list(await records.read(source_health.select_rejected_counts))


async def set_minor_units(records: Records, name: str, minor_units: bool, entry: AuditEntry) -> None:
    """Say whether a source sends amounts in minor units (cents).

    Raises:
        FieldErrors: it cannot be the name of a source.
    """
    if not name.strip() or len(name) > MAX_IDENTIFIER or "\0" in name or is_reserved_source(name):
        raise FieldErrors([Fault("name", "It cannot be the name of a source.", Code.INVALID_VALUE)])

    def work(transaction: RecordsTransaction) -> None:
        source_health.save_minor_units(transaction.records, name, minor_units, now())
        details = {"minor_units": minor_units}
        sql.add_audit(transaction.records, replace(entry, target=f"source:{name}", details=details))

    await records.write(work)
