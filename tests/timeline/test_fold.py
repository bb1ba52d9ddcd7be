"""Runs of activities alike, folded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backstory.model.activity import Activity
from backstory.model.ids import ActivityId
from backstory.model.page import Place
from backstory.timeline.fold import MAX_READ, PIECE, fold, read_folded
from backstory.timeline.read import Shown, ShownPage


def shown(number: int, name: str) -> Shown:
    return Shown(Activity(ActivityId(number, 0), b"", number, name.encode()), 1)


def history(names: str) -> list[Shown]:
    """Newest first."""
    return [shown(len(names) - index, name) for index, name in enumerate(names)]


def name_of(activity: Shown) -> str:
    return activity.activity.body.decode()


def folded(names: str) -> list[str]:
    return ["".join(map(name_of, group)) for group in fold(history(names), name_of)]


def test_three_and_more_alike_are_one() -> None:
    assert folded("") == []
    assert folded("aab") == ["a", "a", "b"]
    assert folded("aaab") == ["aaa", "b"]
    assert folded("baaaac") == ["b", "aaaa", "c"]
    assert folded("aaabaaa") == ["aaa", "b", "aaa"]


@given(st.text("abc", max_size=60))
def test_nothing_is_lost_and_the_order_stays(names: str) -> None:
    assert "".join(folded(names)) == names


class Log:
    """A history that is read in pieces, and counts how much of it was."""

    def __init__(self, names: str) -> None:
        self.all = history(names)
        self.read = 0

    async def page(self, after: Place | None, limit: int) -> ShownPage:
        rest = [each for each in self.all if after is None or each.activity.timestamp < after.timestamp]
        part = tuple(rest[:limit])
        self.read += len(part)
        more = len(rest) > limit
        return ShownPage(part, Place(part[-1].activity.timestamp, part[-1].activity.id) if more else None)


async def test_the_limit_counts_groups() -> None:
    log = Log("a" * 150 + "bcbcbc")
    page = await read_folded(log.page, None, 3, name_of)
    assert [len(group) for group in page.groups] == [150, 1, 1]
    assert page.next is not None
    rest = await read_folded(log.page, page.next, 3, name_of)
    assert ["".join(map(name_of, group)) for group in rest.groups] == ["b", "c", "b"]


async def test_a_page_reads_no_more_than_it_may() -> None:
    log = Log("a" * (MAX_READ + 300))
    page = await read_folded(log.page, None, 50, name_of)
    assert [len(group) for group in page.groups] == [MAX_READ]
    assert log.read == MAX_READ
    rest = await read_folded(log.page, page.next, 50, name_of)
    assert [len(group) for group in rest.groups] == [300]
    assert rest.next is None


@given(st.text("ab", max_size=3 * PIECE), st.integers(1, 20))
async def test_all_pages_together_are_the_history(names: str, limit: int) -> None:
    log = Log(names)
    after: Place | None = None
    read = ""
    while True:
        page = await read_folded(log.page, after, limit, name_of)
        assert len(page.groups) <= limit
        read += "".join(name_of(each) for group in page.groups for each in group)
        after = page.next
        if after is None:
            break
    assert read == names
