"""Lists and searches of a large helpdesk."""

from pathlib import Path
from urllib.parse import quote

import pysqlite3 as sqlite3
import sqlalchemy as sa

from backstory.model.custom_field import CustomField, FieldType
from backstory.model.search import SEARCHED_FIELDS, Searched, kinds_with, read_query
from backstory.store.records import search as searches
from bench.helpdesk import filled_helpdesk
from bench.load import Job, drive
from bench.product import backstory
from bench.report import Outcome

_MOST_MS = 20
_LISTS = (
    "/api/v2/contacts",
    "/api/v2/contacts?page=1000",
    "/api/v2/contacts?email=u777@example.com",
    "/api/v2/contacts?phone=%2B442000000777",
    "/api/v2/contacts?company_id=7",
    "/api/v2/contacts/autocomplete?term=f",
    "/api/v2/contacts/autocomplete?term=last7",
    "/api/v2/tickets?updated_since=2020-01-01",
    "/api/v2/tickets?requester_id=7&updated_since=2020-01-01",
    "/api/v2/tickets?filter=new_and_my_open",
)
_SEARCHES = {
    Searched.TICKETS: (
        "status:2",
        "status:5",
        "status:2 AND priority:4",
        "(status:2 OR status:3) AND priority:>3",
        "agent_id:7 AND status:2",
        "agent_id:null AND status:2",
        "group_id:3 AND status:2",
        "type:null",
        "type:'Nothing'",
        "tag:'rare' AND status:2",
        "tag:'common'",
        "tag:'hundredth' AND status:2",
        "cf_region:'north' AND status:2",
        "tag:'common' AND status:2",
        "tag:'hundredth' AND cf_region:'north'",
        "tag:'common' AND cf_region:'north'",
        "created_at:>'2025-11-20'",
        "created_at:>'2025-01-01' AND created_at:<'2025-02-01' AND status:2",
        "due_by:<'2024-01-10'",
    ),
    Searched.CONTACTS: (
        "email:'u777@example.com'",
        "phone:'+442000000777'",
        "company_id:7",
        "active:true",
        "active:true AND language:'it'",
        "language:'xx'",
        "time_zone:'Paris' AND language:'it'",
        "tag:'common'",
        "tag:'rare'",
        "cf_region:'north' AND language:'it'",
        "created_at:>'2025-11-20' AND active:true",
        "email:null",
    ),
}
_FIELD = CustomField(1, "cf_region", "Region", FieldType.TEXT, False, (), 1, 0, 0)


def search(outcome: Outcome) -> None:
    """Milliseconds (median) of lists and searches over HTTP, one request after another, each many times.

    Of 1 million contacts and 1 million tickets. Beside each search stands the plan of the statement that finds.

    Target: each at most 20 ms.
    """
    rows, asks = (20_000, 20) if outcome.quick else (1_000_000, 100)
    outcome.sizes = {"contacts": rows, "tickets": rows, "asks": asks}
    database = filled_helpdesk(rows)
    plans = _plans(database)
    with backstory(database, "helpdesk") as server:
        for path in (*_LISTS, *plans):
            ready = Job(
                port=server.port, key=server.key, kind="get", connections=1, count=asks, paths=(path,)
            )
            result = drive(ready)
            shown = path.removeprefix("/api/v2/") if path in _LISTS else plans[path][0]
            outcome.refuse(shown, result)
            note = f"p95 {result.p95:g} ms"
            outcome.figure(shown, result.p50, "ms", f"{note}; {plans[path][1]}" if path in plans else note)
            outcome.check(shown, result.p50, "ms", most=_MOST_MS)


def _plans(database: Path) -> dict[str, tuple[str, str]]:
    """The address of each search: the query, and the plan of its last statement."""
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(str(database)), module=sqlite3)
    plans: dict[str, tuple[str, str]] = {}
    with engine.connect() as connection:
        seen: list[str] = []

        def explain(_: object, cursor: object, statement: str, parameters: object, *__: object) -> None:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            rows = raw.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            seen.append(", ".join(row[3] for row in rows))

        sa.event.listen(connection, "before_cursor_execute", explain)
        for searched, queries in _SEARCHES.items():
            kinds = kinds_with(SEARCHED_FIELDS[searched], [_FIELD])
            for query in queries:
                searches.search(connection, searched, read_query(f'"{query}"', kinds), None, 30, 0)
                path = f"/api/v2/search/{searched.name.lower()}?query=%22{quote(query)}%22"
                plans[path] = (f"{searched.name.lower()}: {query}", seen[-1])
    return plans
