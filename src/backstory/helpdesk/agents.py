"""Agents and groups (contract 8): created, read, changed, removed. Somebody always stays who is an admin."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors, NotFound
from backstory.helpdesk.contacts import existing, refuse_gone, with_fields
from backstory.helpdesk.staff import keep_an_admin, no_agent
from backstory.model.access import AuditEntry, Role
from backstory.model.agent import AgentDetails, AgentFilters, Group
from backstory.model.contact import Contact, NewContact
from backstory.model.moment import now
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import agents, contacts, sql

OF_CONTACTS = ("name", "email", "phone", "mobile", "job_title", "language", "time_zone")
"""What is written with the contact that an agent is."""


class Agents:
    """Who works here, and in which groups."""

    def __init__(self, records: Records, phone_region: str | None = None) -> None:
        self._records = records
        self._region = phone_region

    async def get(self, agent_id: int) -> AgentDetails:
        """One agent.

        Raises:
            NotFound: nobody with this number works here.
        """
        return await self._records.read(partial(_existing, agent_id=agent_id))

    async def page(self, filters: AgentFilters, limit: int, offset: int) -> list[AgentDetails]:
        """Agents by their numbers."""
        return await self._records.read(
            lambda connection: agents.select_page(connection, filters, self._region, limit, offset)
        )

    async def suggest(self, term: str) -> list[tuple[int, str]]:
        """Numbers and names of agents in whose names words begin with the term's, by name."""
        return await self._records.read(partial(agents.select_suggested, term=term))

    async def create(self, values: Mapping[str, Any], entry: AuditEntry) -> AgentDetails:
        """Create an agent, who is a contact too, without a password.

        Raises:
            FieldErrors: 409, somebody has the email; 400, a group does not exist.
        """
        of_contact, of_agent = _split(values)
        of_contact.setdefault("name", of_contact["email"].partition("@")[0])

        def work(transaction: RecordsTransaction) -> AgentDetails:
            connection = transaction.records
            contact = contacts.insert_contact(connection, NewContact(**of_contact), self._region, now())
            return _make(connection, contact, of_agent, entry)

        return await self._records.write(work)

    async def make_agent(
        self, contact_id: int, values: Mapping[str, Any], entry: AuditEntry
    ) -> tuple[Contact, AgentDetails]:
        """Make a contact an agent, who keeps the number.

        Raises:
            NotFound: there is no such contact.
            MethodNotAllowed: it is deleted or blocked.
            FieldErrors: 409, it has no email, or is an agent already.
        """

        def work(transaction: RecordsTransaction) -> tuple[Contact, AgentDetails]:
            connection = transaction.records
            contact = existing(connection, contact_id)
            refuse_gone(contact)
            _refuse_as_agent(contact)
            agent = _make(connection, contact, dict(values), entry)
            (made,) = with_fields(connection, [existing(connection, contact.id)])
            return made, agent

        return await self._records.write(work)

    async def change(self, agent_id: int, changes: Mapping[str, Any], entry: AuditEntry) -> AgentDetails:
        """Change an agent.

        Raises:
            NotFound: nobody with this number works here.
            FieldErrors: 409, somebody else has the email, or nobody would be left who is an admin.
        """
        of_contact, of_agent = _split(changes)

        def work(transaction: RecordsTransaction) -> AgentDetails:
            connection = transaction.records
            agent = _existing(connection, agent_id)
            if of_agent.get("role") is Role.AGENT:
                keep_an_admin(connection, agent, "role_ids")
            values = dict(of_agent)
            group_ids = values.pop("group_ids", None)
            agents.update_agent(connection, agent, values, of_contact, self._region, now())
            if group_ids is not None:
                agents.replace_groups(connection, agent_id, group_ids)
            details = {"fields": sorted(changes)}
            sql.add_audit(connection, replace(entry, target=f"agent:{agent_id}", details=details))
            return _existing(connection, agent_id)

        return await self._records.write(work)

    async def remove(self, agent_id: int, entry: AuditEntry) -> None:
        """Make an agent a contact again: keys and sessions end, tickets are assigned to nobody.

        Raises:
            NotFound: nobody with this number works here.
            FieldErrors: 409, nobody would be left who is an admin.
        """

        def work(transaction: RecordsTransaction) -> None:
            connection = transaction.records
            keep_an_admin(connection, _existing(connection, agent_id), "id")
            agents.remove_agent(connection, agent_id, now())
            sql.add_audit(connection, replace(entry, target=f"agent:{agent_id}"))

        await self._records.write(work)

    # Groups.

    async def group(self, group_id: int) -> Group:
        """One group.

        Raises:
            NotFound: there is none with this number.
        """
        return await self._records.read(partial(_existing_group, group_id=group_id))

    async def groups(self, limit: int, offset: int) -> list[Group]:
        """Groups by name."""
        return await self._records.read(partial(agents.select_groups, limit=limit, offset=offset))

    async def create_group(self, values: Mapping[str, Any], entry: AuditEntry) -> Group:
        """Create a group.

        Raises:
            FieldErrors: 409, another one has the name; 400, an agent does not work here.
        """
        agent_ids: Collection[int] = values.get("agent_ids") or ()
        own = {name: value for name, value in values.items() if name != "agent_ids"}

        def work(transaction: RecordsTransaction) -> Group:
            connection = transaction.records
            group_id = agents.insert_group(connection, own, now())
            agents.replace_members(connection, group_id, agent_ids)
            sql.add_audit(connection, replace(entry, target=f"group:{group_id}"))
            return _existing_group(connection, group_id)

        return await self._records.write(work)

    async def change_group(self, group_id: int, changes: Mapping[str, Any], entry: AuditEntry) -> Group:
        """Change a group; `agent_ids` replace those that were in it.

        Raises:
            NotFound: there is none with this number.
            FieldErrors: as `create_group`.
        """
        own = {name: value for name, value in changes.items() if name != "agent_ids"}

        def work(transaction: RecordsTransaction) -> Group:
            connection = transaction.records
            _existing_group(connection, group_id)
            agents.update_group(connection, group_id, own, now())
            if "agent_ids" in changes:
                agents.replace_members(connection, group_id, changes["agent_ids"] or ())
            sql.add_audit(connection, replace(entry, target=f"group:{group_id}"))
            return _existing_group(connection, group_id)

        return await self._records.write(work)

    async def delete_group(self, group_id: int, entry: AuditEntry) -> None:
        """Remove a group; its tickets stay, in no group.

        Raises:
            NotFound: there is none with this number.
        """

        def work(transaction: RecordsTransaction) -> None:
            _existing_group(transaction.records, group_id)
            agents.delete_group(transaction.records, group_id, now())
            sql.add_audit(transaction.records, replace(entry, target=f"group:{group_id}"))

        await self._records.write(work)


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands with the contact, and what with the agent."""
    of_contact = {name: value for name, value in values.items() if name in OF_CONTACTS}
    return of_contact, {name: value for name, value in values.items() if name not in OF_CONTACTS}


def _make(
    connection: Connection, contact: Contact, values: dict[str, Any], entry: AuditEntry
) -> AgentDetails:
    group_ids = values.pop("group_ids", None)
    agents.save_agent(connection, contact, values, now())
    agents.replace_groups(connection, contact.id, group_ids or ())
    sql.add_audit(connection, replace(entry, target=f"agent:{contact.id}"))
    return _existing(connection, contact.id)


def _refuse_as_agent(contact: Contact) -> None:
    reasons = {
        "email": ("It has no email, which an agent needs.", contact.email is None),
        "id": (f"Contact {contact.id} is an agent already.", contact.is_agent),
    }
    faults = [
        Fault(field, text, Code.INCONSISTENT_STATE) for field, (text, holds) in reasons.items() if holds
    ]
    if faults:
        raise FieldErrors(faults)


def _existing(connection: Connection, agent_id: int) -> AgentDetails:
    agent = agents.select_agent(connection, agent_id)
    if agent is None:
        raise no_agent(agent_id)
    return agent


def _existing_group(connection: Connection, group_id: int) -> Group:
    group = agents.select_group(connection, group_id)
    if group is None:
        raise NotFound(f"There is no group {group_id}.")
    return group
