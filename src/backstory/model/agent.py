"""Agents, groups and roles as the API answers them (contract 8)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Any

from msgspec import Struct

from backstory.model.access import Role
from backstory.model.moment import Microseconds, format_second

MAX_SIGNATURE = 65_536
MAX_GROUPS = 100
MAX_GROUP_NAME = 255
MAX_GROUP_MEMBERS = 1_000

AGENT_TYPE = "support_agent"
"""The only type that there is."""

ROLE_IDS = {Role.ADMIN: 1, Role.AGENT: 2}
"""The roles have numbers in the API, the same on every installation."""

_ROLES = {
    Role.ADMIN: (
        "Account Administrator",
        "May do everything: also agents, keys, fields, exports and imports.",
    ),
    Role.AGENT: ("Agent", "Works with contacts, companies and tickets."),
}
_ALWAYS = "2026-01-01T00:00:00Z"
"""Roles are not created: clients read a time all the same."""


class TicketScope(IntEnum):
    """Which tickets an agent sees. It is kept, and not enforced yet."""

    GLOBAL = 1
    GROUP = 2
    RESTRICTED = 3


class AgentState(StrEnum):
    """What a list of agents can be narrowed to."""

    FULLTIME = "fulltime"
    OCCASIONAL = "occasional"


class AgentFilters(Struct, frozen=True):
    """What a list of agents is narrowed to; all that is given must hold."""

    email: str | None = None
    mobile: str | None = None
    phone: str | None = None
    state: AgentState | None = None


class AgentDetails(Struct, frozen=True):
    """An agent with all that is known of them, also as the contact that they are."""

    id: int
    role: Role
    email: str
    name: str
    ticket_scope: int
    occasional: bool
    available: bool
    available_since: Microseconds | None
    signature: str | None
    focus_mode: bool
    deactivated_at: Microseconds | None
    last_active_at: Microseconds | None
    last_login_at: Microseconds | None
    created_at: Microseconds
    updated_at: Microseconds
    contact: Mapping[str, Any]
    group_ids: tuple[int, ...] = ()

    def answer(self) -> dict[str, Any]:
        """The agent with the key set of the contract."""
        return {
            "available": self.available,
            "occasional": self.occasional,
            "id": self.id,
            "ticket_scope": self.ticket_scope,
            "signature": self.signature,
            "group_ids": list(self.group_ids),
            "role_ids": [ROLE_IDS[self.role]],
            "skill_ids": [],
            "available_since": _moment(self.available_since),
            "type": AGENT_TYPE,
            "focus_mode": self.focus_mode,
            "last_active_at": _moment(self.last_active_at),
            "deactivated": self.deactivated_at is not None,
            "freshcaller_agent": False,
            "created_at": format_second(self.created_at),
            "updated_at": format_second(self.updated_at),
            "contact": {
                "active": self.deactivated_at is None,
                "email": self.email,
                "job_title": self.contact["job_title"],
                "language": self.contact["language"],
                "mobile": self.contact["mobile"],
                "name": self.name,
                "phone": self.contact["phone"],
                "time_zone": self.contact["time_zone"],
                "created_at": format_second(self.contact["created_at"]),
                "updated_at": format_second(self.contact["updated_at"]),
                "last_login_at": _moment(self.last_login_at),
            },
        }


def _moment(moment: Microseconds | None) -> str | None:
    return None if moment is None else format_second(moment)


class Group(Struct, frozen=True):
    """Agents who share tickets."""

    id: int
    name: str
    description: str | None
    created_at: Microseconds
    updated_at: Microseconds
    agent_ids: tuple[int, ...] = ()

    def answer(self) -> dict[str, Any]:
        """The group with the keys of the Freshdesk API."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "escalate_to": None,
            "unassigned_for": None,
            "business_hour_id": None,
            "group_type": "support_agent_group",
            "agent_ids": list(self.agent_ids),
            "auto_ticket_assign": 0,
            "created_at": format_second(self.created_at),
            "updated_at": format_second(self.updated_at),
        }


def role_answers() -> list[dict[str, Any]]:
    """The roles."""
    return [
        {
            "id": ROLE_IDS[role],
            "name": name,
            "description": description,
            "default": True,
            "agent_type": 1,
            "created_at": _ALWAYS,
            "updated_at": _ALWAYS,
        }
        for role, (name, description) in _ROLES.items()
    ]
