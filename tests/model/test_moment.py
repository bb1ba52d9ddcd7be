"""Moments: every accepted form, every year, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.moment import format_moment, now, parse_moment, to_datetime

FIRST = parse_moment("0001-01-01")
LAST = parse_moment("9999-12-31T23:59:59.999999Z")


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("2024-05-17", "2024-05-17T00:00:00Z"),
        ("2024-05-17T08:30", "2024-05-17T08:30:00Z"),
        ("2024-05-17T08:30Z", "2024-05-17T08:30:00Z"),
        ("2024-05-17T08:30:15", "2024-05-17T08:30:15Z"),
        ("2024-05-17T08:30:15Z", "2024-05-17T08:30:15Z"),
        ("2024-05-17T08:30:15+02:00", "2024-05-17T06:30:15Z"),
        ("2024-05-17T08:30:15+0200", "2024-05-17T06:30:15Z"),
        ("2024-05-17T08:30:15+02", "2024-05-17T06:30:15Z"),
        ("2024-05-17T08:30-05:30", "2024-05-17T14:00:00Z"),
        ("2024-05-17T00:30:00+01", "2024-05-16T23:30:00Z"),
        ("2024-05-17T08:30:15.5Z", "2024-05-17T08:30:15.500Z"),
        ("2024-05-17T08:30:15.123", "2024-05-17T08:30:15.123Z"),
        ("2024-05-17T08:30:15.123456Z", "2024-05-17T08:30:15.123456Z"),
        ("2024-05-17T08:30:15.000001-0000", "2024-05-17T08:30:15.000001Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("0001-01-01T23:59:00+23:59", "0001-01-01T00:00:00Z"),
    ],
)
def test_accepted_forms(sent: str, answered: str) -> None:
    assert format_moment(parse_moment(sent)) == answered


@pytest.mark.parametrize("digits", [7, 9, 18, 33, 1_000])
def test_digits_beyond_microseconds_are_cut_never_rounded(digits: int) -> None:
    assert parse_moment(f"2024-05-17T08:30:15.{'9' * digits}Z") == parse_moment("2024-05-17T08:30:15.999999Z")


@pytest.mark.parametrize(
    "sent",
    [
        "",
        " ",
        "now",
        "2024",
        "2024-05",
        "2024-5-17",
        "20240517",
        "2024-05-17Z",
        "2024-05-17+02:00",
        "2024-05-17 08:30:15",
        "2024-05-17t08:30:15z",
        "2024-05-17T08",
        "2024-05-17T08:30:15.Z",
        "2024-05-17T08:30.5Z",
        "2024-05-17T08:30:15,5Z",
        "2024-05-17T08:30:15 Z",
        "2024-05-17T08:30:15Z\n",
        " 2024-05-17",
        "2024-05-17T08:30:15+2",
        "2024-05-17T08:30:15+02:0",
        "2024-05-17T08:30:15+24:00",
        "2024-05-17T08:30:15+99",
        "2024-05-17T08:30:15+01:60",
        "2024-05-17T08:30:15[Europe/Berlin]",
        "2024-02-30",
        "2023-02-29",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "0000-01-01",
        "10000-01-01",
        "-001-01-01",
        "+2024-01-01",
        "2024-05-17T24:00:00Z",
        "2024-05-17T08:60:00Z",
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:61Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "٢٠٢٤-٠٥-١٧",
        "1715934615",
        "2024-05-17T08:30:15Z\0",
    ],
)
def test_everything_else_is_refused(sent: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_moment(sent)


@given(st.text(max_size=40))
def test_no_text_makes_anything_but_a_value_error(text: str) -> None:
    try:
        moment = parse_moment(text)
    except ValueError:
        return
    assert FIRST <= moment <= LAST


@given(st.integers(FIRST, LAST))
def test_every_moment_survives_its_text(moment: int) -> None:
    assert parse_moment(format_moment(moment)) == moment


@given(
    st.integers(FIRST + 86_400_000_000, LAST - 86_400_000_000).map(
        lambda moment: to_datetime(moment).replace(tzinfo=None)
    ),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_offsets_agree_with_the_standard_library(local: datetime, minutes: int) -> None:
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{local.isoformat()}{sign}{size // 60:02d}:{size % 60:02d}"
    expected = local.replace(tzinfo=timezone(timedelta(minutes=minutes))).astimezone(UTC)
    assert to_datetime(parse_moment(text)) == expected


@given(st.integers(FIRST, LAST), st.integers(FIRST, LAST))
def test_order_is_the_order_of_time(one: int, other: int) -> None:
    assert (one < other) == (to_datetime(one) < to_datetime(other))


def test_now_is_the_system_clock() -> None:
    before = datetime.now(UTC)
    moment = to_datetime(now())
    assert before - timedelta(milliseconds=1) <= moment <= datetime.now(UTC) + timedelta(milliseconds=1)
