"""The query plans that lists of a million contacts rest on: an index for each order, and no sorting of what is long."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from backstory.model.contact import ContactFilters, State
from backstory.store.base import Store
from backstory.store.records import companies, contacts
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
