"""Agents, groups and roles."""

from __future__ import annotations

from backstory.http import agents
from backstory.http.agents import (
    AGENT_CHANGE,
    GROUP_CHANGE,
    LIST_PARAMETERS,
    MAKE_AGENT,
    NEW_AGENT,
    NEW_GROUP,
    TERM_PARAMETERS,
)
from backstory.http.described.contacts import CONTACT_KEYS, contact_properties
from backstory.http.described.schema import (
    BOOLEAN,
    INTEGER,
    MOMENT,
    NULLABLE,
    NULLABLE_INTEGER,
    NULLABLE_MOMENT,
    STRING,
    array_of,
    object_of,
    refer,
)
from backstory.http.described.shared import TEXT
from backstory.http.described.told import Chapter, Described, Example, Parameter, Schema
from backstory.http.documentation import ADDRESS
from backstory.http.lists import PAGED
from backstory.model.agent import ROLE_IDS, AgentState, TicketScope

_PHOEBE = {"email": "phoebe@example.com", "name": "Phoebe Buffay", "ticket_scope": 1}
_JSON = "-H 'Content-Type: application/json'"
_ID_OF = """| sed -E 's/.*"id":([0-9]+).*/\\1/')"""
_PHOEBES_ID = f"""ID=$(curl -su "$KEY:X" "{ADDRESS}/api/v2/agents/autocomplete?term=phoebe" {_ID_OF}"""
_NEW_CONTACT = (
    f"""ID=$(curl -su "$KEY:X" "{ADDRESS}/api/v2/contacts" {_JSON} """
    """-d '{"name": "Ross", "email": "ross.g@example.com"}' | sed -E 's/^."id":([0-9]+).*/\\1/')"""
)
_GROUPS_ID = f"""ID=$(curl -su "$KEY:X" "{ADDRESS}/api/v2/groups" {_ID_OF}"""
_ONE_ADMIN = {409: "`inconsistent_state`: nobody would be left who is an admin."}
_TAKEN = {409: "`duplicate_value`: somebody has the email; `additional_info.user_id` is who."}
_ROLES = ", ".join(f"`{number}` {role.value}" for role, number in ROLE_IDS.items())
_SCOPES = ", ".join(f"`{scope.value}` {scope.name.lower()}" for scope in TicketScope)

_CONTACT: dict[str, Schema] = {
    "active": BOOLEAN,
    "email": STRING,
    "job_title": NULLABLE,
    "language": STRING,
    "mobile": NULLABLE,
    "name": STRING,
    "phone": NULLABLE,
    "time_zone": NULLABLE,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "last_login_at": NULLABLE_MOMENT,
}
_AGENT: dict[str, Schema] = {
    "available": BOOLEAN,
    "occasional": BOOLEAN,
    "id": INTEGER,
    "ticket_scope": {"type": "integer", "enum": [scope.value for scope in TicketScope]},
    "signature": NULLABLE,
    "group_ids": array_of(INTEGER),
    "role_ids": array_of(INTEGER),
    "skill_ids": array_of(INTEGER),
    "available_since": NULLABLE_MOMENT,
    "type": {"type": "string", "const": "support_agent"},
    "focus_mode": BOOLEAN,
    "last_active_at": NULLABLE_MOMENT,
    "deactivated": BOOLEAN,
    "freshcaller_agent": BOOLEAN,
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "contact": object_of(_CONTACT),
}
_GROUP: dict[str, Schema] = {
    "id": INTEGER,
    "name": STRING,
    "description": NULLABLE,
    "escalate_to": NULLABLE_INTEGER,
    "unassigned_for": NULLABLE,
    "business_hour_id": NULLABLE_INTEGER,
    "group_type": STRING,
    "agent_ids": array_of(INTEGER),
    "auto_ticket_assign": INTEGER,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
_ROLE: dict[str, Schema] = {
    "id": INTEGER,
    "name": STRING,
    "description": STRING,
    "default": BOOLEAN,
    "agent_type": INTEGER,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
_OF_AGENT = {
    "ticket_scope": f"Which tickets they see: {_SCOPES}. It is kept, and not enforced yet.",
    "occasional": "Whether they work now and then.",
    "available": "Whether tickets can be given to them.",
    "focus_mode": "Kept for clients that read it.",
    "signature": "What stands below their replies.",
    "group_ids": "The groups that they are in; replaces those before.",
    "role_ids": f"What they may: {_ROLES}.",
    "type": "`support_agent`: there is no other type.",
    "agent_type": "1, the same by its number.",
    "skill_ids": "An empty list: there are no skills.",
}
_OF_CONTACT = {
    "name": "Without one, the part of the email before the @.",
    "email": "Unique among contacts and agents.",
    "phone": "A number at which they can be called.",
    "mobile": "As `phone`.",
    "job_title": "What they do.",
    "language": "Such as `en`, the default.",
    "time_zone": "Such as `Europe/London`.",
}
_OF_GROUP = {
    "name": "Unique.",
    "description": "Free text.",
    "agent_ids": "Who is in it; replaces those before.",
}

CHAPTER = Chapter(
    "Agents",
    "Who works here. An agent is a contact with the same id; agents are for admins, `/agents/me` for every agent.",
    {
        agents.create_agent: Described(
            "Create an agent",
            "They have no password until an admin sets one, and no key until one is made. A contact who is "
            "there already "
            "is made an agent by the next call.",
            201,
            "The agent.",
            "Agent",
            (Example("A new colleague", "POST", "/api/v2/agents", _PHOEBE),),
            body="NewAgent",
            headers=("Location",),
            refusals=_TAKEN,
        ),
        agents.make_agent: Described(
            "Make a contact an agent",
            "The contact keeps its id, its tickets and its timeline, and is not listed among contacts any more.",
            200,
            "The contact, with the agent in `agent`.",
            "ContactAndAgent",
            (
                Example(
                    "Let a contact in",
                    "PUT",
                    "/api/v2/contacts/$ID/make_agent",
                    {"occasional": True, "ticket_scope": 2},
                    before=_NEW_CONTACT,
                ),
            ),
            body="MakeAgent",
            refusals={
                405: "It is deleted or blocked.",
                409: "`inconsistent_state`: no email, or an agent already.",
            },
        ),
        agents.get_own_agent: Described(
            "Who am I?",
            "The agent whose key this is: what programs test a key with.",
            200,
            "The agent.",
            "Agent",
            (Example("Is my key good?", "GET", "/api/v2/agents/me"),),
        ),
        agents.list_agents: Described(
            "List agents",
            "By id.",
            200,
            "A page; the `Link` header leads to the next one and is absent on the last.",
            "Agent",
            (Example("Who works here always?", "GET", "/api/v2/agents?state=fulltime"),),
            many=True,
            parameters=LIST_PARAMETERS,
            headers=("Link",),
        ),
        agents.suggest_agents: Described(
            "Complete an agent's name",
            "Agents in whose names words begin with those of `term`, by name.",
            200,
            "Ids and names.",
            "NamedContact",
            (Example("Who begins with pho?", "GET", "/api/v2/agents/autocomplete?term=pho"),),
            many=True,
            parameters=TERM_PARAMETERS,
        ),
        agents.get_agent: Described(
            "Read an agent",
            "One agent.",
            200,
            "The agent.",
            "Agent",
            (Example("The first admin", "GET", "/api/v2/agents/1"),),
        ),
        agents.update_agent: Described(
            "Change an agent",
            "What is sent is changed. What stands in `contact` of an answer can be sent there, or beside the rest.",
            200,
            "The agent as it is now.",
            "Agent",
            (
                Example(
                    "Another title",
                    "PUT",
                    "/api/v2/agents/$ID",
                    {"occasional": True, "contact": {"job_title": "Singer"}},
                    before=_PHOEBES_ID,
                ),
            ),
            body="AgentChange",
            refusals={
                409: "`duplicate_value`: somebody has the email; `inconsistent_state`: nobody else is an admin."
            },
        ),
        agents.delete_agent: Described(
            "Remove an agent",
            "The agent becomes a contact again, with the same id. Keys and sessions end within a second, tickets are "
            "assigned to nobody.",
            204,
            "It is a contact again.",
            None,
            (Example("Let somebody go", "DELETE", "/api/v2/agents/$ID", before=_PHOEBES_ID),),
            refusals=_ONE_ADMIN,
        ),
        agents.create_group: Described(
            "Create a group",
            "Agents who share tickets.",
            201,
            "The group.",
            "Group",
            (Example("A new group", "POST", "/api/v2/groups", {"name": "Second line"}),),
            body="NewGroup",
            headers=("Location",),
            refusals={409: "`duplicate_value`: another group has the name."},
        ),
        agents.list_groups: Described(
            "List groups",
            "By name.",
            200,
            "A page; the `Link` header leads to the next one and is absent on the last.",
            "Group",
            (Example("All groups", "GET", "/api/v2/groups"),),
            many=True,
            parameters=PAGED,
            headers=("Link",),
        ),
        agents.get_group: Described(
            "Read a group",
            "One group.",
            200,
            "The group.",
            "Group",
            (Example("Found in the list, read by its id", "GET", "/api/v2/groups/$ID", before=_GROUPS_ID),),
        ),
        agents.update_group: Described(
            "Change a group",
            "What is sent is changed.",
            200,
            "The group as it is now.",
            "Group",
            (Example("Who is in it", "PUT", "/api/v2/groups/$ID", {"agent_ids": [1]}, before=_GROUPS_ID),),
            body="GroupChange",
            refusals={409: "`duplicate_value`: another group has the name."},
        ),
        agents.delete_group: Described(
            "Remove a group",
            "Its tickets stay, in no group.",
            204,
            "It is gone.",
            None,
            (Example("Remove it", "DELETE", "/api/v2/groups/$ID", before=_GROUPS_ID),),
        ),
        agents.list_roles: Described(
            "List roles",
            "There are two, the same everywhere.",
            200,
            "The roles.",
            "Role",
            (Example("The roles", "GET", "/api/v2/roles"),),
            many=True,
            parameters=PAGED,
            headers=("Link",),
        ),
        agents.get_role: Described(
            "Read a role",
            "One role.",
            200,
            "The role.",
            "Role",
            (Example("The admin's", "GET", "/api/v2/roles/1"),),
        ),
    },
    schemas={
        "NewAgent": dict(NEW_AGENT.schema),
        "MakeAgent": dict(MAKE_AGENT.schema),
        "AgentChange": dict(AGENT_CHANGE.schema),
        "Agent": object_of(_AGENT),
        "ContactAndAgent": object_of(
            contact_properties(CONTACT_KEYS) | {"agent": refer("Agent")}, optional=("deleted",)
        ),
        "NewGroup": dict(NEW_GROUP.schema),
        "GroupChange": dict(GROUP_CHANGE.schema),
        "Group": object_of(_GROUP),
        "Role": object_of(_ROLE),
    },
    shown=("Agent", "Group", "Role"),
    bodies={
        "NewAgent": _PHOEBE,
        "MakeAgent": {"occasional": True, "ticket_scope": 2},
        "AgentChange": {"occasional": True},
        "NewGroup": {"name": "Second line"},
        "GroupChange": {"description": "Knows the machines"},
    },
    parameters={
        "email": Parameter("query", TEXT, "Has this email, compared without case."),
        "phone": Parameter("query", TEXT, "Has this phone number, compared in E.164."),
        "mobile": Parameter("query", TEXT, "Has this mobile number, compared in E.164."),
        "state": Parameter(
            "query", {"type": "string", "enum": [state.value for state in AgentState]}, "Works so."
        ),
        "term": Parameter("query", TEXT, "What words of the name begin with."),
    },
    fields={
        **{f"NewAgent.{name}": text for name, text in (_OF_CONTACT | _OF_AGENT).items()},
        **{f"MakeAgent.{name}": text for name, text in _OF_AGENT.items()},
        **{f"AgentChange.{name}": text for name, text in (_OF_CONTACT | _OF_AGENT).items()},
        "AgentChange.contact": "The same that can stand beside it.",
        **{
            f"{name}.{field}": text
            for name in ("NewGroup", "GroupChange")
            for field, text in _OF_GROUP.items()
        },
    },
)
