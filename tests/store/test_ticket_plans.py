"""How SQLite finds the lists of tickets that are read all the time: from an index, in its order, never by all rows."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from backstory.model.ticket import Order, Status, TicketFilters, View
from backstory.store.base import Store
from backstory.store.records import tickets
from backstory.store.records.tickets import page_query

MONTH = 1_700_000_000_000_000

LISTS: list[tuple[TicketFilters, Order, str]] = [
    (TicketFilters(created_since=MONTH), Order.CREATED, "ix_tickets_created_at"),
    (TicketFilters(created_since=MONTH), Order.UPDATED, "ix_tickets_updated_at"),
    (TicketFilters(created_since=MONTH), Order.DUE, "ix_tickets_due_by"),
    (TicketFilters(created_since=MONTH), Order.STATUS, "ix_tickets_status"),
    (TicketFilters(updated_since=MONTH), Order.UPDATED, "ix_tickets_updated_at"),
    (TicketFilters(homes={7}, created_since=MONTH), Order.CREATED, "ix_tickets_requester"),
    (TicketFilters(homes={7, 8}, created_since=MONTH), Order.CREATED, "ix_tickets_requester"),
    (TicketFilters(company_id=7, created_since=MONTH), Order.CREATED, "ix_tickets_company"),
    (TicketFilters(statuses=(Status.OPEN,), created_since=MONTH), Order.CREATED, "ix_tickets_status"),
    (TicketFilters(view=View.NEW_AND_MY_OPEN, created_since=MONTH), Order.CREATED, "ix_tickets_responder"),
    (TicketFilters(view=View.MY_OPEN, created_since=MONTH), Order.CREATED, "ix_tickets_responder"),
    (TicketFilters(view=View.UNASSIGNED, created_since=MONTH), Order.CREATED, "ix_tickets_responder"),
    (TicketFilters(view=View.SPAM, created_since=MONTH), Order.CREATED, "ix_tickets_spam"),
    (TicketFilters(view=View.DELETED, created_since=MONTH), Order.CREATED, "ix_tickets_deleted"),
]


@pytest.mark.engine("sqlite")
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(("filters", "order", "index"), LISTS)
async def test_a_list_is_read_from_its_index(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    filters: TicketFilters,
    order: Order,
    index: str,
    descending: bool,
) -> None:
    monkeypatch.setattr(tickets, "FEW_CHANGED", -1)  # as where many changed

    def plan(connection: sa.Connection) -> list[str]:
        query = page_query(connection, filters, order, descending, 7, 0, 31)
        assert query is not None
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]

    found = await store.records.read(plan)
    reads = [line for line in found if " tickets " in f"{line} "]
    assert reads, found
    assert all(index in line and line.startswith("SEARCH") for line in reads), found
    # Only what several alternatives have found is sorted, at most a page of each.
    sorts = [line for line in found if "ORDER BY" in line]
    assert len(sorts) <= (len(reads) > 1), found


@pytest.mark.engine("sqlite")
async def test_few_changed_tickets_are_looked_up_and_sorted(store: Store) -> None:
    def plan(connection: sa.Connection) -> list[str]:
        query = page_query(connection, TicketFilters(updated_since=MONTH), Order.CREATED, False, 7, 0, 31)
        assert query is not None
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]

    found = await store.records.read(plan)
    assert any("SEARCH tickets USING COVERING INDEX ix_tickets_updated_at" in line for line in found), found
