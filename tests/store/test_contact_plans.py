"""The query plans that lists of a million contacts rest on: an index for each order, and no sorting of what is long."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from backstory.model.contact import ContactFilters, NewContact, State
from backstory.model.search import SEARCHED_FIELDS, Searched, read_query
from backstory.store.base import RecordsTransaction, Store
from backstory.store.records import companies, contacts
from backstory.store.records import search as searches
from backstory.store.sqlite import SqliteStore

pytestmark = pytest.mark.engine("sqlite")


async def plans(store: Store, work: Any) -> list[str]:
    """The plan of each statement that some work executes."""
    assert isinstance(store, SqliteStore)

    def explain(connection: sa.Connection) -> list[str]:
        executed: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            executed.append((statement, parameters))

        sa.event.listen(connection, "before_cursor_execute", note)
        work(connection)
        sa.event.remove(connection, "before_cursor_execute", note)
        return [
            "; ".join(
                row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            )
            for statement, parameters in executed
        ]

    return await store.database.read_records(explain)


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (ContactFilters(), "COVERING INDEX ix_contacts_listed"),
        (ContactFilters(state=State.UNVERIFIED), "COVERING INDEX ix_contacts_listed"),
        (ContactFilters(state=State.VERIFIED), "COVERING INDEX ix_contacts_verified"),
        (ContactFilters(state=State.DELETED), "COVERING INDEX ix_contacts_deleted"),
        (ContactFilters(state=State.BLOCKED), "COVERING INDEX ix_contacts_blocked"),
        (ContactFilters(company_id=7), "INDEX ix_contacts_company"),
    ],
)
async def test_a_page_of_contacts_comes_in_the_order_of_an_index(
    store: Store, filters: ContactFilters, index: str
) -> None:
    for after in (None, ("name", 7)):
        found = await plans(store, lambda c, a=after: contacts.select_page(c, filters, None, 31, 5_000, a))
        page = next(plan for plan in found if "LIST SUBQUERY" in plan)
        inner = page.partition("LIST SUBQUERY")[2]
        assert index in inner
        assert "TEMP B-TREE" not in inner.partition("USE TEMP B-TREE FOR ORDER BY")[0]
        assert (
            inner.count("TEMP B-TREE") <= 1
        )  # of the page itself: what was found by its numbers is put in order


async def test_who_changed_lately_is_found_by_when(store: Store) -> None:
    found = await plans(
        store, lambda c: contacts.select_page(c, ContactFilters(updated_since=1), None, 31, 0)
    )
    assert "ix_contacts_updated_at" in found[0]


async def test_no_lookup_reads_a_whole_table(store: Store) -> None:
    by_email = ContactFilters(email="rachel@example.com", phone="+442079460001", unique_external_id="x")
    for work in (
        lambda c: contacts.select_page(c, by_email, None, 31, 0),
        lambda c: contacts.select_suggested(c, "rach gre"),
        lambda c: contacts.select_contact(c, 7),
        lambda c: companies.select_suggested(c, "central"),
    ):
        for plan in await plans(store, work):
            steps = [step for step in plan.split("; ") if step.startswith("SCAN")]
            assert not [step for step in steps if "contacts" in step or "words" in step], plan


_COLUMN = "SEARCH contacts USING COVERING INDEX ix_contacts_searched_language"
_LOOK_UP = "SEARCH record_tags"
_ROW = "SEARCH contacts USING INTEGER PRIMARY KEY"


@pytest.mark.parametrize(
    ("gathered", "query", "steps"),
    [
        (30_000, "tag:'vip' AND language:'de'", (_COLUMN, "LIST SUBQUERY", _LOOK_UP)),
        (30_000, "tag:'vip' AND tag:'VIP'", (_LOOK_UP, "LIST SUBQUERY", _LOOK_UP, _ROW)),
        (2, "tag:'vip' AND language:'de'", ("MERGE (INTERSECT)", _COLUMN, _LOOK_UP)),
        (2, "tag:'vip' AND tag:'VIP'", ("MERGE (INTERSECT)", _LOOK_UP, _ROW, _LOOK_UP)),
    ],
)
async def test_a_look_up_is_gathered_where_it_is_rare_and_merged_where_it_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch, gathered: int, query: str, steps: tuple[str, ...]
) -> None:
    """Of rows that a column brings, and of those that another look-up brings before their rows are read."""
    monkeypatch.setattr(searches, "MAX_TOTAL", 2)  # so that both have more rows than lead for being few
    monkeypatch.setattr(searches, "MAX_GATHERED", gathered)

    def make(change: RecordsTransaction) -> None:
        for number in range(3):
            new = NewContact(f"{number}", email=f"{number}@example.com", tags=("vip",), language="de")
            contacts.insert_contact(change.records, new, None, 0)

    await store.records.write(make)
    asked = read_query(f'"{query}"', SEARCHED_FIELDS[Searched.CONTACTS])
    found = await plans(store, lambda c: searches.search(c, Searched.CONTACTS, asked, None, 30, 0))
    taken = [step for step in found[-1].split("; ") if step.startswith(("SEARCH", "LIST", "MERGE"))]
    assert len(taken) == len(steps), found
    assert all(step.startswith(told) for step, told in zip(taken, steps, strict=True)), found
    assert "SCAN contacts" not in found[-1]


async def test_alternatives_are_merged_in_order(store: Store) -> None:
    asked = read_query("\"language:'de' OR language:'fr'\"", SEARCHED_FIELDS[Searched.CONTACTS])
    found = await plans(store, lambda c: searches.search(c, Searched.CONTACTS, asked, None, 30, 0))
    assert "MERGE (UNION)" in found[-1], found
