"""Agents, groups and roles (contract 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backstory.errors import Code, Fault, NotFound
from backstory.http.activities import contact_id_of
from backstory.http.contacts import contact_answer
from backstory.http.forms import read_form
from backstory.http.lists import PAGED, list_response, read_list_page
from backstory.http.message import Request, Response, json_response, no_content
from backstory.http.query import QueryReader, number_in_path
from backstory.http.services import Services
from backstory.model.access import Role
from backstory.model.activity import MAX_NAME
from backstory.model.agent import (
    AGENT_TYPE,
    MAX_GROUP_MEMBERS,
    MAX_GROUP_NAME,
    MAX_GROUPS,
    MAX_SIGNATURE,
    ROLE_IDS,
    AgentFilters,
    AgentState,
    TicketScope,
    role_answers,
)
from backstory.model.checks import (
    Field,
    check_bool,
    check_choice,
    check_given_email,
    check_id,
    check_list,
    check_number,
    check_object,
    check_phone,
    check_text,
    for_change,
)

LIST_PARAMETERS = (*PAGED, "email", "mobile", "phone", "state")
TERM_PARAMETERS = ("term",)

_OF_CONTACT = {
    "name": Field(check_text(MAX_NAME, blank=False), nullable=False),
    "email": Field(check_given_email, required=True),
    "phone": Field(check_phone),
    "mobile": Field(check_phone),
    "job_title": Field(check_text(MAX_NAME)),
    "language": Field(check_text(MAX_NAME)),
    "time_zone": Field(check_text(MAX_NAME)),
}
_OF_AGENT = {
    "ticket_scope": Field(
        check_number({scope.value: scope.name.lower() for scope in TicketScope}), nullable=False
    ),
    "occasional": Field(check_bool, nullable=False),
    "available": Field(check_bool, nullable=False),
    "focus_mode": Field(check_bool, nullable=False),
    "signature": Field(check_text(MAX_SIGNATURE)),
    "group_ids": Field(check_list(check_id, MAX_GROUPS, unique=True)),
    "role_ids": Field(check_list(check_number({number: role for role, number in ROLE_IDS.items()}), 10)),
}
_FIXED = {
    "type": Field(check_choice([AGENT_TYPE])),
    "agent_type": Field(check_number({1: AGENT_TYPE})),
    "skill_ids": Field(check_list(check_id, 0)),
}
"""What programs send with an agent, and can have only one value here."""

_READONLY = frozenset(
    "id available_since last_active_at deactivated freshcaller_agent created_at updated_at".split()
)
_OF_CONTACT_READONLY = frozenset({"active", "created_at", "updated_at", "last_login_at"})


def _for_new(fields: Mapping[str, Field]) -> dict[str, Field]:
    """The fields as those of somebody new, where null counts as absent."""
    return {name: field._replace(nullable=True) for name, field in fields.items()}


NEW_AGENT = check_object(_for_new({**_OF_CONTACT, **_OF_AGENT, **_FIXED}), _READONLY | {"contact"})
MAKE_AGENT = check_object(_for_new({**_OF_AGENT, **_FIXED}), _READONLY | {"contact"})
_CHANGED_CONTACT = for_change(_OF_CONTACT)
AGENT_CHANGE = check_object(
    {
        **_CHANGED_CONTACT,
        **for_change(_OF_AGENT),
        **_FIXED,
        "contact": Field(check_object(_CHANGED_CONTACT, _OF_CONTACT_READONLY), nullable=False),
    },
    _READONLY,
)
_GROUP = {
    "name": Field(check_text(MAX_GROUP_NAME, blank=False), required=True),
    "description": Field(check_text(MAX_NAME)),
    "agent_ids": Field(check_list(check_id, MAX_GROUP_MEMBERS, unique=True)),
}
_GROUP_READONLY = frozenset(
    "id escalate_to unassigned_for business_hour_id group_type auto_ticket_assign created_at updated_at".split()
)
NEW_GROUP = check_object(_GROUP, _GROUP_READONLY)
GROUP_CHANGE = check_object(for_change(_GROUP), _GROUP_READONLY)


def _name_a_role(values: dict[str, Any], faults: list[Fault]) -> None:
    if values.get("role_ids") == []:
        message = f"It names no role; possible: {', '.join(f'{number} ({role})' for role, number in ROLE_IDS.items())}."
        faults.append(Fault("role_ids", message, Code.INVALID_VALUE))


def _taken(values: Mapping[str, Any]) -> dict[str, Any]:
    """Checked values as the helpdesk takes them."""
    taken = {name: value for name, value in values.items() if name not in ("role_ids", "contact", *_FIXED)}
    taken |= values.get("contact") or {}
    if values.get("role_ids"):
        taken["role"] = Role.ADMIN if ROLE_IDS[Role.ADMIN] in values["role_ids"] else Role.AGENT
    if "group_ids" in taken:
        taken["group_ids"] = taken["group_ids"] or ()
    return taken


async def create_agent(request: Request, services: Services) -> Response:
    """Create an agent."""
    values = _taken(read_form(request, NEW_AGENT, _name_a_role))
    given = {name: value for name, value in values.items() if value is not None}
    agent = await services.agents.create(given, request.audit("agent.create", "agent"))
    location = request.url(f"{request.path.rstrip('/')}/{agent.id}")
    return json_response(agent.answer(), status=201, headers={"Location": location})


async def make_agent(request: Request, services: Services) -> Response:
    """Make a contact an agent."""
    values = _taken(read_form(request, MAKE_AGENT, _name_a_role))
    given = {name: value for name, value in values.items() if value is not None}
    entry = request.audit("contact.make_agent", "agent")
    contact, agent = await services.agents.make_agent(contact_id_of(request), given, entry)
    return json_response(contact_answer(request, contact) | {"agent": agent.answer()})


async def get_agent(request: Request, services: Services) -> Response:
    """One agent."""
    return json_response((await services.agents.get(number_in_path(request, "agent"))).answer())


async def get_own_agent(request: Request, services: Services) -> Response:
    """The agent whose key this is."""
    assert request.caller.agent_id is not None, "the route asks for an agent's right"
    return json_response((await services.agents.get(request.caller.agent_id)).answer())


async def list_agents(request: Request, services: Services) -> Response:
    """Agents."""
    query = QueryReader(request, LIST_PARAMETERS)
    state = query.choice("state", AgentState)
    filters = AgentFilters(
        email=query.text("email"),
        mobile=query.phone("mobile"),
        phone=query.phone("phone"),
        state=None if state is None else AgentState(state),
    )
    page = read_list_page(query)
    query.finish()
    found = await services.agents.page(filters, page.limit, page.offset)
    return list_response(request, page, [agent.answer() for agent in found])


async def suggest_agents(request: Request, services: Services) -> Response:
    """Numbers and names of agents whose names have words that begin so."""
    query = QueryReader(request, TERM_PARAMETERS)
    term = query.mandatory("term")
    query.finish()
    found = await services.agents.suggest(term)
    return json_response([{"id": number, "name": name} for number, name in found])


async def update_agent(request: Request, services: Services) -> Response:
    """Change an agent."""
    agent_id = number_in_path(request, "agent")
    await services.agents.get(agent_id)  # 404 goes before 400
    changes = _taken(read_form(request, AGENT_CHANGE, _name_a_role))
    entry = request.audit("agent.update", "agent")
    return json_response((await services.agents.change(agent_id, changes, entry)).answer())


async def delete_agent(request: Request, services: Services) -> Response:
    """Make an agent a contact again."""
    await services.agents.remove(number_in_path(request, "agent"), request.audit("agent.delete", "agent"))
    return no_content()


# Groups and roles.


async def create_group(request: Request, services: Services) -> Response:
    """Create a group."""
    values = read_form(request, NEW_GROUP)
    group = await services.agents.create_group(values, request.audit("group.create", "group"))
    location = request.url(f"{request.path.rstrip('/')}/{group.id}")
    return json_response(group.answer(), status=201, headers={"Location": location})


async def list_groups(request: Request, services: Services) -> Response:
    """Groups by name."""
    query = QueryReader(request, PAGED)
    page = read_list_page(query)
    query.finish()
    found = await services.agents.groups(page.limit, page.offset)
    return list_response(request, page, [group.answer() for group in found])


async def get_group(request: Request, services: Services) -> Response:
    """One group."""
    return json_response((await services.agents.group(number_in_path(request, "group"))).answer())


async def update_group(request: Request, services: Services) -> Response:
    """Change a group."""
    group_id = number_in_path(request, "group")
    await services.agents.group(group_id)  # 404 goes before 400
    changes = read_form(request, GROUP_CHANGE)
    entry = request.audit("group.update", "group")
    return json_response((await services.agents.change_group(group_id, changes, entry)).answer())


async def delete_group(request: Request, services: Services) -> Response:
    """Remove a group."""
    await services.agents.delete_group(
        number_in_path(request, "group"), request.audit("group.delete", "group")
    )
    return no_content()


async def list_roles(request: Request, services: Services) -> Response:
    """The roles."""
    query = QueryReader(request, PAGED)
    page = read_list_page(query)
    query.finish()
    return list_response(request, page, role_answers()[page.offset : page.offset + page.limit])


async def get_role(request: Request, services: Services) -> Response:
    """One role."""
    number = number_in_path(request, "role")
    for role in role_answers():
        if role["id"] == number:
            return json_response(role)
    raise NotFound(f"There is no role {number}.")
