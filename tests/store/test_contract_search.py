"""Searches and agents on every engine: the statements that are made from a query, and what is written to both."""

from __future__ import annotations

from functools import partial

import pytest

from backstory.errors import FieldErrors
from backstory.helpdesk.agents import Agents
from backstory.helpdesk.fields import CONTACT, add_field
from backstory.helpdesk.search import Search
from backstory.model.access import Role
from backstory.model.agent import AgentFilters
from backstory.model.contact import NewContact
from backstory.model.custom_field import FieldType, NewField
from backstory.model.moment import now
from backstory.store.base import RecordsTransaction, Store
from backstory.store.records import contacts, tables
from backstory.store.records import search as search_queries
from tests.store.support import ENTRY

QUERIES = {
    "tag:'vip'": "bac",
    "tag:'vip' AND language:'de'": "b",
    "tag:'VIP' AND (language:'de' OR email:'a@example.com')": "ba",
    "language:'fr' OR language:'de' OR tag:null": "dcb",
    "email:'A@example.com'": "a",
    "email:null": "c",
    "phone:'+442079460001'": "c",
    "mobile:null AND tag:'vip'": "bac",
    "active:false AND language:'de'": "b",
    "active:true": "",
    "time_zone:null AND tag:'vip'": "bac",
    "company_id:null AND language:'fr'": "c",
    "company_id:7": "",
    "created_at:>'2020-01-01' AND tag:'vip'": "bac",
    "created_at:<'2020-01-01'": "",
    "updated_at:>'2020-01-01' AND created_at:<'2999-01-01' AND tag:'vip'": "bac",
    "cf_size:7": "a",
    "cf_size:>7": "ba",
    "cf_size:<-1": "c",
    "cf_size:null": "d",
    "tag:'nothing' OR cf_size:>7 AND language:'de'": "b",
    "twitter_id:null AND tag:'vip' AND cf_size:>0": "ba",
    "tag:'vip' AND cf_size:12": "b",
    "active:false AND tag:'vip'": "bac",
    "tag:'vip' AND tag:'VIP'": "bac",
    "active:false AND tag:'vip' AND cf_size:>7 OR cf_size:12": "ba",
    "tag:'vip' AND (cf_size:12 OR language:'fr')": "bc",
}


async def people(store: Store) -> dict[str, int]:
    """Four contacts, by the letter that is their name."""
    await add_field(store.records, CONTACT, NewField("Size", FieldType.NUMBER), ENTRY)
    new = (
        NewContact("a", email="a@example.com", tags=("VIP",), custom_fields={"cf_size": 7}),
        NewContact("b", email="b@example.com", tags=("vip",), language="de", custom_fields={"cf_size": 12}),
        NewContact(
            "c", phone="+44 20 7946 0001", tags=("vip",), language="fr", custom_fields={"cf_size": -5}
        ),
        NewContact("d", email="d@example.com"),
        NewContact("gone", email="e@example.com", tags=("vip",)),
    )

    def work(change: RecordsTransaction) -> dict[str, int]:
        made = {each.name: contacts.insert_contact(change.records, each, None, now()).id for each in new}
        gone = tables.contacts.c.id == made["gone"]
        change.records.execute(tables.contacts.update().where(gone).values(deleted_at=now()))
        return made

    return await store.records.write(work)


@pytest.mark.parametrize(
    "bounds",
    [{}, {"MAX_SORTED": 1}, {"MAX_GATHERED": 1}, {"MAX_TOTAL": 3, "MAX_GATHERED": 3}],
    ids=["few", "many", "many looked up", "many of all"],
)
async def test_queries(store: Store, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, int]) -> None:
    for name, most in bounds.items():  # so that a term has more rows than are counted, and another one leads
        monkeypatch.setattr(search_queries, name, most)
    await people(store)
    found = {}
    for query in QUERIES:
        results = await Search(store.records).contacts(f'"{query}"', 1)
        found[query] = "".join(sorted(contact.name for contact in results.found))
        ids = [contact.id for contact in results.found]
        assert ids == sorted(ids, reverse=True), query
        assert results.total == len(ids)
    assert found == {query: "".join(sorted(names)) for query, names in QUERIES.items()}


async def test_a_total_stops_counting(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await people(store)
    monkeypatch.setattr(search_queries, "MAX_TOTAL", 2)
    results = await Search(store.records).contacts("\"tag:'vip'\"", 1)
    assert (results.total, [each.id for each in results.found]) == (2, [made["c"], made["b"]])


async def test_searches_of_tickets_and_companies(store: Store) -> None:
    search = Search(store.records)
    for query in (
        "status:2 AND priority:>3 AND agent_id:null",
        "(tag:'x' OR group_id:3) AND type:'Question'",
        "due_by:'2026-01-01' OR fr_due_by:>'2026-01-01'",
    ):
        assert await search.tickets(f'"{query}"', 1) == (0, [])
    for query in ("domain:'example.com'", "domain:null AND created_at:>'2026-01-01'"):
        assert await search.companies(f'"{query}"', 1) == (0, [])


async def test_a_contact_becomes_an_agent_and_a_contact_again(store: Store) -> None:
    made = (await people(store))["a"]
    agents = Agents(store.records)
    _, agent = await agents.make_agent(made, {"role": Role.ADMIN, "occasional": True}, ENTRY)
    assert (agent.id, agent.role, agent.email, agent.occasional) == (made, Role.ADMIN, "a@example.com", True)
    with pytest.raises(FieldErrors):
        await agents.make_agent(made, {}, ENTRY)
    with pytest.raises(FieldErrors):
        await agents.remove(made, ENTRY)
    other = await agents.create({"email": "boss@example.com", "role": Role.ADMIN}, ENTRY)
    changed = await agents.change(
        made, {"name": "Ann", "email": "ann@example.com", "signature": "Bye"}, ENTRY
    )
    assert (changed.name, changed.email, changed.signature) == ("Ann", "ann@example.com", "Bye")
    assert await agents.suggest("an") == [(made, "Ann")]
    found = await agents.page(AgentFilters(email="ANN@example.com"), 10, 0)
    assert [each.id for each in found] == [made]
    group = await agents.create_group({"name": "Line", "agent_ids": [made, other.id]}, ENTRY)
    await agents.remove(made, ENTRY)
    assert (await agents.group(group.id)).agent_ids == (other.id,)
    contact = await store.records.read(partial(contacts.select_contact, contact_id=made))
    assert contact is not None
    assert (contact.name, contact.email, contact.is_agent) == ("Ann", "ann@example.com", False)
