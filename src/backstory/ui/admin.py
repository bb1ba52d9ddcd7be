"""Pages for admins: keys, sources, refused requests, the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from backstory.errors import FieldErrors, NotFound, OperatorError
from backstory.helpdesk.access import create_agent, create_key
from backstory.helpdesk.source_health import COUNTED, rejected_sources, set_minor_units, sources_health
from backstory.helpdesk.staff import colleague, list_staff, set_active, set_password, set_role
from backstory.http.message import Request, Response
from backstory.http.query import is_number, number_in_path
from backstory.http.services import Services
from backstory.model.access import Role
from backstory.model.moment import Microseconds, now, parse_moment
from backstory.ui.clock import DAY, Clock, clock_of
from backstory.ui.forms import Form, form_values, one_of, refuse, split_list, with_faults
from backstory.ui.render import redirect, show

AGENTS, KEYS, SOURCES = "/admin/agents", "/admin/keys", "/admin/sources"
ROLES = (Role.AGENT.value, Role.ADMIN.value)
TOLD = {
    "role": "The role was changed.",
    "password": "The password was changed; sessions with the old one have ended.",
    "deactivate": "They were signed out, and their keys work no more.",
    "reactivate": "They can sign in again.",
}
"""What a change of an agent is answered with."""

PER_PAGE = 50


async def read_home(request: Request, services: Services) -> Response:
    """The first page for admins."""
    return redirect(AGENTS)


# Keys.


async def list_keys(request: Request, services: Services) -> Response:
    """Every key, and the form for a new one."""
    return await _keys(request, services, Form())


async def _keys(
    request: Request, services: Services, form: Form, *, issued: str = "", status: int = 200
) -> Response:
    keys = await services.store.records.keys()
    return show(
        request,
        "admin/keys.html",
        status=status,
        keys=sorted(keys, key=lambda key: (_is_over(key.revoked_at, key.expires_at), -key.id)),
        moment=now(),
        form=form,
        issued=issued,
        agents=sorted({key.agent for key in keys if key.agent}),
    )


def _is_over(revoked: Microseconds | None, expires: Microseconds | None) -> bool:
    return revoked is not None or (expires is not None and expires <= now())


async def issue_key(request: Request, services: Services) -> Response:
    """Issue a key, and show it: once, here, and never again."""
    values = form_values(request)
    of_agent = one_of(("source", "agent"), values.get("kind", "")) == "agent"
    sources = [] if of_agent else split_list(values.get("sources", ""))
    agent = values.get("agent", "").strip() if of_agent else ""
    if of_agent and not agent:
        return await _keys(request, services, refuse("agent", "Say whose key it is.", values), status=400)
    if not of_agent and not sources:
        message = "Say under which names the application may publish."
        return await _keys(request, services, refuse("sources", message, values), status=400)
    try:
        expires = _end_of_day(values.get("expires", ""))
    except ValueError:
        message = "This is not a day that a key could end on."
        return await _keys(request, services, refuse("expires", message, values), status=400)
    try:
        key = await create_key(
            services.store.records,
            agent_email=agent or None,
            sources=sources,
            expires=expires,
            entry=request.audit("key.create", "key"),
        )
    except OperatorError as error:
        form = refuse("agent" if of_agent else "sources", f"{str(error).partition(';')[0]}.", values)
        return await _keys(request, services, form, status=400)
    return await _keys(request, services, Form(), issued=key)


def _end_of_day(text: str) -> Microseconds | None:
    """The end of a day in UTC; None where no day is given.

    Raises:
        ValueError: it is no day, or one that is over.
    """
    if not text.strip():
        return None
    end = parse_moment(f"{text.strip()}T23:59:59.999999")
    if end <= now():
        raise ValueError(text)
    return end


async def revoke_key(request: Request, services: Services) -> Response:
    """End a key; one that has ended stays so."""
    number = number_in_path(request, "key")
    await services.store.records.revoke_key(number, request.audit("key.revoke", f"key:{number}"))
    return redirect(KEYS)


# Sources.


async def list_sources(request: Request, services: Services) -> Response:
    """How each source does."""
    return await _sources(request, services, Form())


async def _sources(request: Request, services: Services, form: Form, *, status: int = 200) -> Response:
    clock = clock_of(request)
    store = services.store
    await services.rejected.flush()
    found = await sources_health(store.records, store.log, clock.start_of(clock.day_of(clock.moment)))
    return show(
        request,
        "admin/sources.html",
        status=status,
        sources=found,
        form=form,
        counted=lambda count: _counted(clock, count),
        silent_since=now() - DAY,
    )


def _counted(clock: Clock, count: int) -> str:
    return clock.number(count) if count <= COUNTED else f"{clock.number(COUNTED)}+"


async def save_source(request: Request, services: Services) -> Response:
    """Set whether a source sends amounts in minor units."""
    values = form_values(request)
    name, minor_units = values.get("name", ""), values.get("minor_units") == "yes"
    try:
        await set_minor_units(
            services.store.records, name, minor_units, request.audit("source.update", "source")
        )
    except FieldErrors as error:
        form = refuse("name", error.faults[0].message, values)
        return await _sources(request, services, form, status=error.status)
    return redirect(SOURCES)


# Refused requests, and the audit log.


async def list_rejected(request: Request, services: Services) -> Response:
    """Refused publish requests, newest first, with what was wrong."""
    await services.rejected.flush()
    records = services.store.records
    source = dict(request.query()).get("source") or None
    rows, older = await _read_page(request, lambda before, limit: records.rejections(before, limit, source))
    return show(
        request,
        "admin/rejected.html",
        rows=rows,
        older=older,
        source=source,
        sources=await rejected_sources(records),
    )


async def list_audit(request: Request, services: Services) -> Response:
    """Who did what, newest first."""
    rows, older = await _read_page(request, services.store.records.audit_page)
    return show(request, "admin/audit.html", rows=rows, older=older)


async def _read_page(
    request: Request, read: Callable[[int | None, int], Awaitable[list[tuple[int, Any]]]]
) -> tuple[list[tuple[int, Any]], str | None]:
    """A page of a list that is read by number, and the address of the next one."""
    query = dict(request.query())
    text = query.pop("before", "")
    before = int(text) if is_number(text) else None
    rows = await read(before, PER_PAGE + 1)
    if len(rows) <= PER_PAGE:
        return rows, None
    shown = rows[:PER_PAGE]
    return shown, f"{request.path}?{urlencode({**query, 'before': shown[-1][0]})}"


# Agents.


async def list_agents(request: Request, services: Services) -> Response:
    """Who works here, and the form for somebody new."""
    return await _agents(request, services, Form())


async def _agents(request: Request, services: Services, form: Form, *, status: int = 200) -> Response:
    staff = await list_staff(services.store.records)
    staff.sort(key=lambda each: each.deactivated_at is not None)
    return show(request, "admin/agents.html", status=status, staff=staff, form=form)


async def add_agent(request: Request, services: Services) -> Response:
    """Let somebody in, with a password that they are told."""
    values = form_values(request)
    email, name, password = (values.get(each, "") for each in ("email", "name", "password"))
    try:
        agent = await create_agent(
            services.store.records,
            email,
            name,
            Role(one_of(ROLES, values.get("role", ""))),
            password,
            request.audit("agent.create", "agent"),
        )
    except OperatorError as error:
        text = str(error)
        field = "password" if "password" in text else "name" if "name" in text else "email"
        form = refuse(field, f"{text[:1].upper()}{text[1:]}.", values)
        return await _agents(request, services, form, status=400)
    return redirect(f"{AGENTS}/{agent.id}")


async def read_agent(request: Request, services: Services) -> Response:
    """An agent, and what can be changed of them."""
    return await _agent(request, services, Form())


async def _agent(request: Request, services: Services, form: Form, *, status: int = 200) -> Response:
    found = await colleague(services.store.records, number_in_path(request, "agent"))
    keys = [key for key in await services.store.records.keys() if key.agent == found.email]
    in_force = sum(not _is_over(key.revoked_at, key.expires_at) for key in keys)
    done = TOLD.get(dict(request.query()).get("done", ""), "")
    return show(request, "admin/agent.html", status=status, agent=found, form=form, keys=in_force, done=done)


async def change_agent(request: Request, services: Services) -> Response:
    """Change an agent's role or password, let them go, or have them back: one of these."""
    number, values = number_in_path(request, "agent"), form_values(request)
    records, what = services.store.records, values.get("what", "")
    entry = request.audit("agent.update", "agent")
    try:
        if what == "role":
            await set_role(records, number, Role(one_of(ROLES, values.get("role", ""))), entry)
        elif what == "password":
            await set_password(records, number, values.get("password", ""), entry)
        elif what in ("deactivate", "reactivate"):
            entry = request.audit(f"agent.{what}", "agent")
            await set_active(records, number, what == "reactivate", entry)
        else:
            raise NotFound("There is no such change of an agent.")
    except FieldErrors as error:
        return await _agent(request, services, with_faults({}, error), status=error.status)
    return redirect(f"{AGENTS}/{number}?done={what}")
