"""Filling the demo shop on its first start, and telling how to look at it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from backstory.app import open_store
from backstory.config import Settings
from backstory.demo.story import requests
from backstory.demo.tickets import open_tickets
from backstory.errors import OperatorError
from backstory.helpdesk.access import create_agent, create_key
from backstory.helpdesk.source_health import set_minor_units
from backstory.ingest.admit import Arrival, admit
from backstory.model.access import AuditEntry, Principal, Role
from backstory.model.activity import Publication
from backstory.model.moment import now, parse_moment
from backstory.store.base import Store
from backstory.store.log.sqlite_search import search_file

EMAIL = "admin@example.com"
ACCESS_FILE = "access.json"
FILLING = "filling.db"
LOOK_SECONDS = 0.05
MINOR_UNITS = ("stripe", "chargebee")
"""The shop's sources that send amounts in cents."""

_GROUP = 500
_PRINCIPAL = Principal(0, None, Role.ADMIN, frozenset(), None)


def prepare(settings: Settings, directory: Path, show: Callable[[float, str], None]) -> str:
    """Make and fill the demo installation where that was not done; the welcome to print.

    The password and the key are kept in the directory, readable by its owner: it is a demo, and they are needed again.

    Raises:
        OperatorError: there is a database that is not a finished demo.
    """
    directory.mkdir(parents=True, exist_ok=True)
    access = directory / ACCESS_FILE
    database = _file(settings)
    if not access.exists():
        if database.exists():  # never touched: it may be anybody's
            raise OperatorError(
                f"{database} is no finished demo; name another --directory, or remove it if it is nobody's"
            )
        asyncio.run(_fill(settings, access, show))
    return _welcome(settings, json.loads(access.read_text()))


async def _fill(settings: Settings, access: Path, show: Callable[[float, str], None]) -> None:
    """Fill a database under another name, and give it its own when it is whole: one that was cut off is begun again."""
    database = _file(settings)
    filling = database.with_name(FILLING)
    _remove(filling)
    store = open_store(replace(settings, database=filling))
    try:
        await _publish(store, show)
        for source in MINOR_UNITS:
            await set_minor_units(store.records, source, True, _entry("source.update"))
        password = f"demo-{secrets.token_hex(4)}"
        agent_id, key = await _let_in(store, password)
        ticket, contact = await open_tickets(store, settings.attachments, agent_id, _entry("ticket.create"))
        while store.stats().index_lag > 0:  # noqa: ASYNC110 - a process of its own builds it
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await store.close()
    partial = access.with_suffix(".partial")
    partial.touch(mode=0o600)
    told = {"email": EMAIL, "password": password, "key": key, "ticket": ticket, "contact": contact}
    partial.write_text(json.dumps(told))
    search_file(filling).replace(search_file(database))
    filling.replace(database)
    partial.replace(access)
    _remove(filling)


def _file(settings: Settings) -> Path:
    assert isinstance(settings.database, Path), "the demo is a file in its folder"
    return settings.database


def _remove(filling: Path) -> None:
    for left_over in filling.parent.glob(f"{FILLING}*"):
        left_over.unlink()


async def _publish(store: Store, show: Callable[[float, str], None]) -> None:
    done = 0
    for group in _groups(requests(datetime.now(UTC))):
        publications = [_admit(request) for request in group]
        results = await store.publish(publications)
        for result in results:
            if isinstance(result, Exception):
                raise result
        done += len(results)
        show(done, "activities")


def _admit(request: dict[str, Any]) -> Publication:
    """As it would have come in at its time."""
    received = parse_moment(request["activity"]["timestamp"])
    return admit(json.dumps(request, ensure_ascii=False).encode(), Arrival(_PRINCIPAL, received))


def _entry(action: str) -> AuditEntry:
    return AuditEntry(now(), "demo", action, action.partition(".")[0], "command line")


def _groups(items: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for item in items:
        group.append(item)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


async def _let_in(store: Store, password: str) -> tuple[int, str]:
    """An admin and a key for them."""
    agent = await create_agent(
        store.records, EMAIL, "Alex Admin", Role.ADMIN, password, _entry("agent.create")
    )
    key = await create_key(
        store.records, agent_email=EMAIL, sources=(), expires=None, entry=_entry("key.create")
    )
    return agent.id, key


def _welcome(settings: Settings, access: dict[str, Any]) -> str:
    address = f"http://{settings.host}:{settings.port}"
    key, contact = access["key"], access.get("contact", 1)  # folders that were filled earlier do not say it
    return f"""
Backstory, with a demo shop, at {address}

  Sign in             {address}/sign-in
    as                {access["email"]} / {access["password"]}
  The story           {address}/tickets/{access["ticket"]}   a payment failed, and its customer asks why
  API documentation   {address}/api/docs
  API key             {key}

Publish an activity:

  curl -u {key}:X {address}/api/v2/contact-activities \\
    -H 'Content-Type: application/json' \\
    -d '{{"activity": {{"name": "Transaction failed", "actor": {{"type": "shopper"}},
         "source": {{"name": "shopify"}}, "context": {{"Order id": "4711", "Amount": "50", "Currency": "EUR"}}}},
         "contact": {{"email": "rachel@example.com"}}}}'

Read this customer's timeline, what you published at its top:

  curl -u {key}:X '{address}/api/v2/contacts/{contact}/activities?per_page=5'

Which customer has this order? (It is found within a second.)

  curl -u {key}:X '{address}/api/v2/contact-activities?ref=4711'

Stop with Ctrl-C. To begin afresh, remove the folder {_file(settings).parent}.
"""
