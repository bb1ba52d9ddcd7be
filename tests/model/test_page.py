"""Cursors: opaque, exact, and nothing else is one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.ids import ActivityId
from backstory.model.moment import parse_moment
from backstory.model.page import Place, decode_cursor, encode_cursor

PLACES = st.builds(
    Place,
    st.integers(parse_moment("0001-01-01"), parse_moment("9999-12-31T23:59:59.999999")),
    st.builds(ActivityId, st.integers(0, 2**60 - 1), st.integers(0, 2**62 - 1)),
)
GOOD = encode_cursor(Place(-1, ActivityId(5, 7)))


@given(PLACES)
def test_a_cursor_survives(place: Place) -> None:
    text = encode_cursor(place)
    assert decode_cursor(text) == place
    assert text.replace("-", "").replace("_", "").isalnum()  # nothing in it needs quoting in a URL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        GOOD[:-1],
        GOOD + "A",
        GOOD[:-1] + "=",
        GOOD[:-2] + "==",
        "=" * 32,
        "A" * 31 + "=",
        "A" * 30 + "==",
        GOOD[:-1] + " ",
        GOOD[:-1] + "\u00e9",
        "\0" * 32,
        "_" * 32,
        base64.urlsafe_b64encode(b"\x00" * 8 + b"\xff" * 16).decode(),
    ],
)
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_cursor(text)


@given(st.text(max_size=40) | st.text("ABCabc019-_=+/", min_size=32, max_size=32))
def test_no_text_makes_anything_but_a_value_error(text: str) -> None:
    try:
        place = decode_cursor(text)
    except ValueError:
        return
    assert decode_cursor(encode_cursor(place)) == place
