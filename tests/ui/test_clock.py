"""Moments as viewers read them."""

from __future__ import annotations

from datetime import UTC, date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.moment import parse_moment
from backstory.ui.clock import Clock, is_zone, read_zone

NOW = parse_moment("2026-03-02T14:07:09Z")


def clock(zone: str = "UTC", region: str = "US", language: str = "en") -> Clock:
    found, name = read_zone(zone)
    return Clock(found, name, language, region, NOW)


@pytest.mark.parametrize(
    ("zone", "region", "expected"),
    [
        ("UTC", "US", "2:07 PM"),
        ("UTC", "DE", "14:07"),
        ("Europe/Berlin", "GB", "15:07"),
        ("Asia/Kolkata", "IN", "7:37 PM"),
        ("America/Los_Angeles", "US", "6:07 AM"),
    ],
)
def test_the_time_in_the_viewers_zone_and_manner(zone: str, region: str, expected: str) -> None:
    assert clock(zone, region).time(NOW) == expected


def test_midnight_and_noon() -> None:
    assert clock().time(parse_moment("2026-03-02T00:05")) == "12:05 AM"
    assert clock().time(parse_moment("2026-03-02T12:05")) == "12:05 PM"


def test_days() -> None:
    assert clock().day(date(2026, 3, 2)) == "Today"
    assert clock().day(date(2026, 3, 1)) == "Yesterday"
    assert clock().day(date(2026, 2, 27)) == "Friday, February 27"
    assert clock(region="DE").day(date(2025, 12, 31)) == "Wednesday, 31 December 2025"
    assert clock().day(date(2025, 12, 31)) == "Wednesday, December 31, 2025"
    late = parse_moment("2026-03-01T23:30")
    assert clock().day(clock().day_of(late)) == "Yesterday"
    assert clock("Europe/Berlin").day(clock("Europe/Berlin").day_of(late)) == "Today"


def test_the_start_of_a_day_follows_its_zone() -> None:
    assert clock("Europe/Berlin").start_of(date(2026, 3, 2)) == parse_moment("2026-03-01T23:00")
    assert clock("Europe/Berlin").start_of(date(2026, 3, 30)) == parse_moment("2026-03-29T22:00")
    assert clock("Europe/Berlin").read_local("2026-03-02T09:30") == parse_moment("2026-03-02T08:30")
    with pytest.raises(ValueError, match="Invalid"):
        clock().read_local("soon")


def test_everything_about_a_moment() -> None:
    assert clock("Europe/Berlin", "DE").full(NOW - 3 * 3600 * 1_000_000) == (
        "Monday, 2 Mar 2026, 12:07:09 Europe/Berlin (3 hours ago)"
    )


@pytest.mark.parametrize(
    "name", ["", "Nowhere/Nothing", "../../etc/passwd", "a\0b", "x" * 1000, "Europe", "/etc"]
)
def test_a_strange_zone_is_none(name: str) -> None:
    assert read_zone(name) == (UTC, "UTC")
    assert not is_zone(name)


def test_zones_there_are() -> None:
    assert is_zone("UTC")
    assert is_zone("Europe/Berlin")
    assert not is_zone(None)
    assert read_zone("Europe/Berlin")[0] == ZoneInfo("Europe/Berlin")


@given(
    st.integers(min_value=parse_moment("0001-01-01"), max_value=parse_moment("9999-12-31T23:59:59")),
    st.sampled_from(["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"]),
)
def test_every_moment_can_be_written(at: int, zone: str) -> None:
    viewer = clock(zone)
    assert viewer.time(at)
    assert viewer.full(at)
    assert viewer.short(at)
    assert viewer.day(viewer.day_of(at))
