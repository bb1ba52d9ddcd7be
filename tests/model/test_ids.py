"""Activity ids: positions, tails and their one spelling."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.ids import ActivityId, RandomPool, first_position, new_contact_key, parse_activity_id

IDS = st.builds(ActivityId, st.integers(0, 2**60 - 1), st.integers(0, 2**62 - 1))
GOOD = str(ActivityId(first_position(1_700_000_000_000), 12345))


@given(IDS)
def test_an_id_survives_its_text(activity_id: ActivityId) -> None:
    assert parse_activity_id(str(activity_id)) == activity_id
    assert parse_activity_id(str(activity_id).upper()) == activity_id


@given(IDS)
def test_an_id_is_a_uuid_of_version_7(activity_id: ActivityId) -> None:
    value = UUID(str(activity_id))
    assert (value.version, str(value)) == (7, str(activity_id))
    assert value.int >> 80 == activity_id.position >> 12


@given(IDS, IDS)
def test_text_sorts_by_arrival(one: ActivityId, other: ActivityId) -> None:
    assert (str(one) < str(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "not-an-id",
        GOOD.replace("-", ""),
        f"{{{GOOD}}}",
        f"urn:uuid:{GOOD}",
        f"{GOOD} ",
        GOOD[:-1],
        f"{GOOD}0",
        GOOD.replace("-7", "-4", 1),
        "-"
        + GOOD.replace("-", "")[:10]
        + "---"
        + GOOD.replace("-", "")[10:],  # 36 characters, misplaced hyphens
        GOOD[:1] + "_" + GOOD[2:],  # int() would read it
        GOOD[:-1] + "\u0661",
        GOOD[:19] + "c" + GOOD[20:],  # another variant
        "\0" * 36,
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_activity_id(text)


@given(st.text(max_size=40) | st.text("0123456789abcdef-_", min_size=36, max_size=36))
def test_an_id_has_one_spelling(text: str) -> None:
    try:
        activity_id = parse_activity_id(text)
    except ValueError:
        return
    assert str(activity_id) == text.lower()


def test_random_parts_fit_and_differ() -> None:
    pool = RandomPool()
    tails = [pool.tail() for _ in range(1_000)]
    assert len(set(tails)) == 1_000
    assert all(0 <= tail < 2**62 for tail in tails)
    keys = {new_contact_key() for _ in range(1_000)}
    assert {len(key) for key in keys} == {16}
    assert len(keys) == 1_000
