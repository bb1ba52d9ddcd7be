"""Times and numbers as the viewer reads them: in their zone, in the manner of their language."""

from __future__ import annotations

import datetime as dt
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from markupsafe import Markup

from backstory.http.message import Request
from backstory.model.moment import Microseconds, format_second, now, to_datetime

ZONE_COOKIE = "zone"
MAX_ZONE_NAME = 64

_TWELVE_HOURS = frozenset({"US", "CA", "AU", "NZ", "IN", "PH", "PK", "EG", "SA", "CO", "MX"})
_MONTH_FIRST = frozenset({"US", "CA", "PH"})
_GROUP_SIGN = {"de": ".", "es": ".", "it": ".", "nl": ".", "pt": ".", "da": ".", "id": ".", "tr": "."}
_GROUP_SPACE = frozenset({"fr", "sv", "nb", "no", "fi", "pl", "cs", "ru", "uk", "hu", "sk", "bg"})
DAY = 24 * 3600 * 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ((365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"))


class Clock(NamedTuple):
    """How a viewer reads moments and numbers. `moment` is the time of the request."""

    zone: tzinfo
    zone_name: str
    language: str
    region: str
    moment: Microseconds

    def local(self, at: Microseconds) -> datetime:
        """A moment in the viewer's zone. Moments at the ends of time, which their zone has no room for, stay in UTC."""
        moment = to_datetime(at)
        try:
            return moment.astimezone(self.zone)
        except OverflowError:
            return moment

    def time(self, at: Microseconds) -> str:
        """`2:07 PM`, or `14:07`."""
        local = self.local(at)
        if self.region not in _TWELVE_HOURS:
            return f"{local:%H:%M}"
        return f"{local.hour % 12 or 12}:{local:%M} {'AM' if local.hour < 12 else 'PM'}"

    def date(self, at: Microseconds, *, year: bool = True) -> str:
        """`Nov 24, 2026`, or `24 Nov 2026`."""
        local = self.local(at)
        if self.region in _MONTH_FIRST:
            return f"{local:%b} {local.day}" + (f", {local.year}" if year else "")
        return f"{local.day} {local:%b}" + (f" {local.year}" if year else "")

    def short(self, at: Microseconds) -> str:
        """The time where it is of today, else the day too; of another year its date alone."""
        local, today = self.local(at), self.local(self.moment)
        if local.date() == today.date():
            return self.time(at)
        if local.year == today.year:
            return f"{self.date(at, year=False)}, {self.time(at)}"
        return self.date(at)

    def full(self, at: Microseconds) -> str:
        """The day, the time to the second, the zone, and how long ago that is."""
        local = self.local(at)
        seconds = f"{local:%H:%M:%S}" if self.region not in _TWELVE_HOURS else self._twelve(local)
        return f"{local:%A}, {self.date(at)}, {seconds} {self.zone_name} ({self.ago(at)})"

    def _twelve(self, local: datetime) -> str:
        return f"{local.hour % 12 or 12}:{local:%M:%S} {'AM' if local.hour < 12 else 'PM'}"

    def day_of(self, at: Microseconds) -> dt.date:
        """The day of a moment."""
        return self.local(at).date()

    def day(self, day: dt.date) -> str:
        """`Today`, `Yesterday`, or the day with its weekday; its year where that is another one."""
        today = self.day_of(self.moment)
        if day == today:
            return "Today"
        if today - day == timedelta(days=1):
            return "Yesterday"
        month_first = self.region in _MONTH_FIRST
        written = f"{day:%B} {day.day}" if month_first else f"{day.day} {day:%B}"
        if day.year != today.year:
            written += f"{', ' if month_first else ' '}{day.year}"
        return f"{day:%A}, {written}"

    def start_of(self, day: dt.date) -> Microseconds:
        """When a day begins."""
        return to_moment(datetime(day.year, day.month, day.day, tzinfo=self.zone))

    def read_local(self, text: str) -> Microseconds:
        """A moment as `<input type="datetime-local">` sends it.

        Raises:
            ValueError: it is none.
        """
        return to_moment(datetime.fromisoformat(text).replace(tzinfo=self.zone))

    def ago(self, at: Microseconds) -> str:
        """`3 minutes ago`, `in 2 days`."""
        gone = self.moment - at
        if told := duration(abs(gone) // 1_000_000):
            return f"{told} ago" if gone > 0 else f"in {told}"
        return "just now" if gone >= 0 else "in a moment"

    def number(self, number: int) -> str:
        """A count, its digits in groups."""
        sign = "\N{NARROW NO-BREAK SPACE}" if self.language in _GROUP_SPACE else None
        return f"{number:,}".replace(",", sign or _GROUP_SIGN.get(self.language, ","))

    def ago_short(self, at: Microseconds) -> str:
        """`3m ago`, `2d ago`: where there is little room."""
        seconds = max(0, self.moment - at) // 1_000_000
        for size, name in _UNITS:
            if seconds >= size:
                return f"{self.number(seconds // size)}{name[0]} ago"
        return "just now"

    def iso(self, at: Microseconds) -> str:
        """For machines."""
        return format_second(at // 1_000_000 * 1_000_000)

    def when(self, at: Microseconds) -> Markup:
        """A moment in a page: short, all of it behind."""
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            format_second(at), self.full(at), self.short(at)
        )


def duration(seconds: int) -> str:
    """A length of time in one unit; "" below a minute."""
    for size, name in _UNITS:
        if seconds >= size:
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''}"
    return ""


def to_moment(local: datetime) -> Microseconds:
    """The moment of an aware datetime."""
    return (local - _EPOCH) // timedelta(microseconds=1)


def clock_of(request: Request, *, choice: str = "mine", theirs: str | None = None) -> Clock:
    """The clock of whoever asks. Their browser has told its zone in a cookie; until then it is UTC.

    `choice` is mine, contact (the zone called `theirs`, where there is one of this name), or utc.
    """
    name = unquote(request.cookie(ZONE_COOKIE) or "")
    if choice == "utc":
        name = "UTC"
    elif choice == "contact" and is_zone(theirs):
        name = theirs or ""
    zone, zone_name = read_zone(name)
    language, region = _locale(request.header(b"accept-language") or "")
    return Clock(zone, zone_name, language, region, now())


def read_zone(name: str) -> tuple[tzinfo, str]:
    """A zone by its name; UTC where there is none of this name."""
    if not name or name == "UTC" or len(name) > MAX_ZONE_NAME or "\0" in name:
        return UTC, "UTC"
    try:
        return ZoneInfo(name), name
    except (KeyError, ValueError, OSError):  # no such zone; a name that is no file's
        return UTC, "UTC"


def is_zone(name: str | None) -> bool:
    """Whether there is a zone of this name."""
    return bool(name) and (name == "UTC" or read_zone(name or "")[0] is not UTC)


def _locale(header: str) -> tuple[str, str]:
    """The first language that a browser asks for, and its region; English is America's where nobody says."""
    first = header.split(",", maxsplit=1)[0].partition(";")[0].strip()
    language, _, rest = first.partition("-")
    region = rest.rpartition("-")[2].upper()
    language = language.lower() if language.isascii() and language.isalpha() else "en"
    return language, region or ("US" if language == "en" else language.upper())
