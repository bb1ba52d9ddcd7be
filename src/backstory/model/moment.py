"""Moments: microseconds since 1970-01-01T00:00:00Z as an integer, and their text in the API.

Why integers: they sort, compare and store alike on every engine, from year 1 to year 9999.
"""

from __future__ import annotations

import functools
import re
import time
from datetime import UTC, datetime, timedelta, timezone

Microseconds = int
"""A moment: whole microseconds since the epoch, negative before 1970."""

ACCEPTED_FORMS = (
    "YYYY-MM-DD or YYYY-MM-DDTHH:MM[:SS[.ffffff]], with nothing (UTC), Z, +hh:mm, +hhmm or +hh behind"
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\dZ", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?"
    r"(?:Z|([+-])(\d{2})(?::?(\d{2}))?)?)?",
    re.ASCII,
)


_ahead: Microseconds = 0
"""Process-wide: by how much the clock that is gone by is ahead of this machine's."""


def now() -> Microseconds:
    """The installation's clock: this machine's, unless `go_by` was told of another one."""
    return time.time_ns() // 1000 + _ahead


def go_by(seconds_ahead: float) -> None:
    """Go by another clock from now on, which is so far ahead of this machine's (behind it, where negative)."""
    global _ahead
    _ahead = round(seconds_ahead * 1_000_000)


def parse_moment(text: str) -> Microseconds:
    """Read one of ACCEPTED_FORMS (contract 4.3); digits beyond microseconds are cut.

    Raises:
        ValueError: another form, an impossible date, or a moment outside the years 1 to 9999 in UTC.
    """
    if _USUAL.fullmatch(text):  # nearly all, and a fifth of the time
        since = datetime.fromisoformat(text) - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"expected {ACCEPTED_FORMS}")
    year, month, day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = found.groups()
    local = datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "")[:6].ljust(6, "0")),
        tzinfo=_zone(sign, zone_hours, zone_minutes),
    )
    moment = (local - _EPOCH) // _MICROSECOND
    if not _FIRST <= moment <= _LAST:
        raise ValueError("in UTC it lies outside the years 1 to 9999")
    return moment


def _zone(sign: str | None, hours: str | None, minutes: str | None) -> timezone:
    if sign is None or hours is None:
        return UTC
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if int(hours) > 23 or int(minutes or 0) > 59:
        raise ValueError("the zone's offset must be below 24:00")
    return timezone(offset if sign == "+" else -offset)


def to_datetime(moment: Microseconds) -> datetime:
    """The moment as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=moment)


def format_moment(moment: Microseconds) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`, with three or six digits of fraction where it has one."""
    seconds, fraction = divmod(moment, 1_000_000)
    text = _format_second(seconds)
    if not fraction:
        return f"{text}Z"
    return f"{text}.{fraction // 1000:03d}Z" if fraction % 1000 == 0 else f"{text}.{fraction:06d}Z"


def format_second(moment: Microseconds) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`: the fraction is cut."""
    return f"{_format_second(moment // 1_000_000)}Z"


@functools.lru_cache(maxsize=1_024)
def _format_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
