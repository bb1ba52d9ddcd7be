"""Who works here, as admins keep it: roles, passwords, who was let go. Somebody always stays who can let others in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from argon2 import PasswordHasher
from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors, NotFound, OperatorError
from backstory.helpdesk.access import MIN_PASSWORD
from backstory.model.access import AuditEntry, Colleague, Role
from backstory.model.agent import AgentDetails
from backstory.model.moment import now
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import sql, staff

MAX_PASSWORD = 1_024


async def list_staff(records: Records) -> list[Colleague]:
    """Everybody who works here or was let go, by name."""
    return await records.read(staff.select_staff)


async def list_groups(records: Records) -> list[tuple[int, str]]:
    """The groups (number and name), by name."""
    return await records.read(staff.select_group_names)


async def colleague(records: Records, agent_id: int) -> Colleague:
    """One agent.

    Raises:
        NotFound: there is none with this number.
    """
    found = await records.read(partial(staff.select_colleague, agent_id=agent_id))
    if found is None:
        raise no_agent(agent_id)
    return found


async def colleague_id(records: Records, email: str) -> int:
    """The number of the agent with an email, however it is written.

    Raises:
        OperatorError: there is none.
    """
    found = await records.read(partial(staff.select_colleague_id, email=email))
    if found is None:
        raise OperatorError(f"there is no agent with the email {email}; 'backstory agents list' shows them")
    return found


def no_agent(agent_id: int) -> NotFound:
    """What is said where nobody who works here has a number."""
    return NotFound(f"There is no agent {agent_id}.")


async def set_role(records: Records, agent_id: int, role: Role, entry: AuditEntry) -> None:
    """Make an agent an admin, or an admin an agent.

    Raises:
        NotFound: there is none with this number.
        FieldErrors: 409, nobody would be left who is an admin.
    """

    def work(transaction: RecordsTransaction, found: Colleague) -> None:
        if role is not Role.ADMIN:
            keep_an_admin(transaction.records, found, "role")
        staff.update_agent(transaction.records, found.id, now(), role=role)

    await _change(records, agent_id, work, replace(entry, details={"role": role.value}))


async def set_password(records: Records, agent_id: int, password: str, entry: AuditEntry) -> None:
    """Give an agent another password; whoever is signed in with the old one is signed out.

    Raises:
        NotFound: there is none with this number.
        FieldErrors: it is too short, or too long.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        message = f"The password needs {MIN_PASSWORD} to {MAX_PASSWORD:,} characters."
        raise FieldErrors([Fault("password", message, Code.INVALID_VALUE)])
    password_hash = await asyncio.to_thread(PasswordHasher().hash, password)

    def work(transaction: RecordsTransaction, found: Colleague) -> None:
        staff.update_agent(transaction.records, found.id, now(), password_hash=password_hash)
        staff.delete_sessions_of(transaction.records, found.id)

    await _change(records, agent_id, work, entry)


async def set_active(records: Records, agent_id: int, active: bool, entry: AuditEntry) -> None:
    """Let an agent go, at once everywhere, or have them back.

    Raises:
        NotFound: there is none with this number.
        FieldErrors: 409, nobody would be left who is an admin.
    """

    def work(transaction: RecordsTransaction, found: Colleague) -> None:
        if active:
            staff.update_agent(transaction.records, found.id, now(), deactivated_at=None)
            return
        keep_an_admin(transaction.records, found, "active")
        staff.update_agent(transaction.records, found.id, now(), deactivated_at=now())
        staff.delete_sessions_of(transaction.records, found.id)

    await _change(records, agent_id, work, entry)


def keep_an_admin(connection: Connection, found: Colleague | AgentDetails, field: str) -> None:
    """Return where somebody can stop being an admin: another one stays, for as long as this transaction lasts.

    Raises:
        FieldErrors: 409 at this field, nobody would be left who is an admin.
    """
    is_admin = found.role is Role.ADMIN and found.deactivated_at is None
    if is_admin and not staff.has_other_admin(connection, found.id):
        message = f"{found.name} is the only admin; make somebody else one first."
        raise FieldErrors([Fault(field, message, Code.INCONSISTENT_STATE)])


async def _change(
    records: Records,
    agent_id: int,
    change: Callable[[RecordsTransaction, Colleague], None],
    entry: AuditEntry,
) -> None:
    def work(transaction: RecordsTransaction) -> None:
        found = staff.select_colleague(transaction.records, agent_id)
        if found is None:
            raise no_agent(agent_id)
        change(transaction, found)
        sql.add_audit(transaction.records, replace(entry, target=f"agent:{agent_id}"))

    await records.write(work)
