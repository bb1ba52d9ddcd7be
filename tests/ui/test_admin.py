"""Pages for admins: keys that are shown once, how sources do, what was refused, who did what."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.support import Installation, publish_request, wait_until
from tests.ui.pages import Outline, Visitor, signed_in

PAGES = ("/admin/agents", "/admin/keys", "/admin/sources", "/admin/rejected", "/admin/audit")
ISSUED = re.compile(r'<code id="key">(bs_[0-9a-f]+)</code>')


def publish(server: Installation, key: str, **changes) -> httpx.Response:
    body = publish_request(**changes)
    return httpx.post(f"{server.url}/api/v2/contact-activities", json=body, auth=(key, "X"))


@pytest.mark.parametrize("path", PAGES)
def test_only_admins_see_them(admin: Visitor, agent: Visitor, path: str) -> None:
    assert admin.get(path).status_code == 200
    assert agent.get(path).status_code == 403
    assert "/admin" not in agent.get("/tickets").text


def test_forms_of_admins_are_refused_to_others(agent: Visitor) -> None:
    for path in ("/admin/keys", "/admin/keys/1/revoke", "/admin/sources"):
        assert agent.submit(path, page="/tickets", kind="source", sources="x").status_code == 403


def test_a_key_is_shown_once_and_works_until_it_is_revoked(server: Installation) -> None:
    with signed_in(server, "admin") as admin:
        answer = admin.submit("/admin/keys", page="/admin/keys", kind="source", sources="magento, kiosk")
        assert answer.status_code == 200
        key = ISSUED.search(answer.text)
        assert key is not None
        listed = admin.get("/admin/keys").text
        assert key[1] not in listed
        assert "magento, kiosk" in listed
        assert publish(server, key[1], source={"name": "kiosk"}).status_code == 200
        number = max(int(found) for found in re.findall(r"/admin/keys/(\d+)/revoke", listed))
        answer = admin.submit(f"/admin/keys/{number}/revoke", page="/admin/keys")
        assert answer.headers["Location"] == "/admin/keys"
        assert "Revoked" in admin.get("/admin/keys").text
        audit = admin.get("/admin/audit").text
        assert "key.revoke" in audit
        assert f"key:{number}" in audit


def test_an_agents_key_can_end_on_a_day(admin: Visitor) -> None:
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    fields = {"kind": "agent", "agent": "agent@example.com", "expires": tomorrow}
    answer = admin.submit("/admin/keys", page="/admin/keys", **fields)
    assert ISSUED.search(answer.text)


@pytest.mark.parametrize(
    ("fields", "name", "message"),
    [
        ({"kind": "source", "sources": " , "}, "sources", "under which names"),
        ({"kind": "source", "sources": "backstory"}, "sources", "cannot be the source name"),
        ({"kind": "agent"}, "agent", "whose key"),
        ({"kind": "agent", "agent": "nobody@example.com"}, "agent", "there is no agent"),
        ({"kind": "source", "sources": "a", "expires": "2020-01-01"}, "expires", "not a day"),
        ({"kind": "source", "sources": "a", "expires": "soon"}, "expires", "not a day"),
        ({"kind": "source", "sources": "a", "expires": "2026-13-01"}, "expires", "not a day"),
    ],
)
def test_a_faulty_form_comes_back_with_what_is_wrong(
    admin: Visitor, fields: dict[str, str], name: str, message: str
) -> None:
    answer = admin.submit("/admin/keys", page="/admin/keys", **fields)
    assert answer.status_code == 400
    found = next(attrs for _, attrs in Outline(answer.text).tags if attrs.get("id") == f"f-{name}")
    assert found["aria-invalid"] == "true"
    assert f"w-{name}" in str(found["aria-describedby"])
    assert found.get("value", "") == fields.get(name, "")
    assert message in Outline(answer.text).text


@pytest.mark.parametrize("number", ["0", "x", "9" * 30])
def test_there_is_no_such_key(admin: Visitor, number: str) -> None:
    assert admin.submit(f"/admin/keys/{number}/revoke", page="/admin/keys").status_code == 404


def test_sources_tell_how_they_do(server: Installation) -> None:
    stamp = f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}"
    publish(server, server.source_key)
    publish(server, server.source_key, timestamp=stamp)
    publish(server, server.admin_key, source={"name": "erp & co"})
    assert publish(server, server.source_key, actor={}).status_code == 400
    with signed_in(server, "admin") as admin:
        wait_until(
            lambda: sources_of(admin)["shopify"][2:5] == ["1", "2", "1"], what="the index and the refusal"
        )
        rows = sources_of(admin)
        assert "Heard" in rows["shopify"][1]
        assert "No key of its own" in rows["erp & co"][0]
        answer = admin.submit("/admin/sources", page="/admin/sources", name="erp & co", minor_units="yes")
        assert answer.headers["Location"] == "/admin/sources"
        assert "In cents" in rows_of(admin.get("/admin/sources").text)["erp & co"][5]
        admin.submit("/admin/sources", page="/admin/sources", name="erp & co", minor_units="no")
        assert "As sent" in rows_of(admin.get("/admin/sources").text)["erp & co"][5]


def sources_of(admin: Visitor) -> dict[str, list[str]]:
    rows = rows_of(admin.get("/admin/sources").text)
    return {name: [cell.strip() for cell in cells] for name, cells in rows.items()}


def rows_of(page: str) -> dict[str, list[str]]:
    """The rows of a table by the text of their first link."""
    rows = {}
    for row in re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody>")[2], re.DOTALL):
        cells = [Outline(cell).text for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)]
        name = re.search(r"<b>(.*?)</b>", row)
        if name is not None:
            rows[Outline(name[1]).text] = cells
    return rows


@pytest.mark.parametrize("name", ["", "backstory", "x" * 300])
def test_what_cannot_be_a_source_is_refused(admin: Visitor, name: str) -> None:
    answer = admin.submit("/admin/sources", page="/admin/sources", name=name, minor_units="yes")
    assert answer.status_code == 400
    assert "cannot be the name of a source" in answer.text


def test_refused_requests_are_read_with_their_reasons(server: Installation) -> None:
    publish(server, server.source_key, actor={})
    publish(server, server.source_key, source={"name": "other<script>"})
    with signed_in(server, "admin") as admin:
        page = admin.get("/admin/rejected").text
        text = Outline(page).text
        assert "activity.actor.type" in text
        assert "missing_field" in text
        assert "<script>alert" not in page
        assert "other<script>" in text
        only = Outline(admin.get("/admin/rejected", params={"source": "shopify"}).text).text
        assert "activity.actor.type" in only
        assert "may not publish" not in only


def test_a_long_list_has_pages(server: Installation) -> None:
    for _ in range(52):
        publish(server, server.source_key, actor={})
    with signed_in(server, "admin") as admin:
        first = admin.get("/admin/rejected?source=shopify").text
        older = re.search(r'rel="next" href="([^"]+)"', first)
        assert older is not None
        assert first.count('<li class="card">') == 50
        second = admin.get(older[1].replace("&amp;", "&")).text
        assert second.count('<li class="card">') == 2
        assert 'rel="next"' not in second


def agent_number(page: str, email: str) -> str:
    found = re.search(rf'/admin/agents/(\d+)"><b>[^<]*</b></a></td><td>{re.escape(email)}<', page)
    assert found is not None
    return found[1]


def test_agents_are_let_in_changed_and_let_go(server: Installation) -> None:
    with signed_in(server, "admin") as admin, Visitor(server) as other:
        fields = {"name": "Nora <b>", "email": "nora@example.com", "role": "agent", "password": "first pass"}
        answer = admin.submit("/admin/agents", page="/admin/agents", **fields)
        path = answer.headers["Location"]
        assert "Nora &lt;b&gt;" in admin.get(path).text
        assert other.sign_in(email="nora@example.com", password="first pass").status_code == 303
        assert other.get("/admin/agents").status_code == 403
        admin.submit(path, page=path, what="role", role="admin")
        wait_until(lambda: other.get("/admin/agents").status_code == 200)
        admin.submit(path, page=path, what="password", password="second pass")
        wait_until(lambda: other.get("/tickets").status_code == 303)
        assert other.sign_in(email="nora@example.com", password="first pass").status_code == 401
        assert other.sign_in(email="nora@example.com", password="second pass").status_code == 303
        key = ISSUED.search(
            admin.submit("/admin/keys", page="/admin/keys", kind="agent", agent="nora@example.com").text
        )
        assert key is not None
        call = f"{server.url}/api/v2/rejected-requests"
        assert httpx.get(call, auth=(key[1], "X")).status_code == 200
        admin.submit(path, page=path, what="deactivate")
        wait_until(lambda: other.get("/tickets").status_code == 303)
        wait_until(lambda: httpx.get(call, auth=(key[1], "X")).status_code == 401)
        assert other.sign_in(email="nora@example.com", password="second pass").status_code == 401
        assert "Deactivated" in admin.get(path).text
        admin.submit(path, page=path, what="reactivate")
        assert other.sign_in(email="nora@example.com", password="second pass").status_code == 303


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"email": "no email"}, "email"),
        ({"email": "admin@example.com"}, "email"),
        ({"name": " "}, "name"),
        ({"password": "short"}, "password"),
    ],
)
def test_nobody_is_let_in_by_a_faulty_form(admin: Visitor, fields: dict[str, str], name: str) -> None:
    good = {"name": "Nora", "email": "nora@example.com", "role": "agent", "password": "long enough"}
    answer = admin.submit("/admin/agents", page="/admin/agents", **good | fields)
    assert answer.status_code == 400
    assert f'id="w-{name}"' in answer.text
    assert "long enough" not in answer.text


@pytest.mark.parametrize("change", [{"what": "deactivate"}, {"what": "role", "role": "agent"}])
def test_the_only_admin_stays(server: Installation, change: dict[str, str]) -> None:
    with signed_in(server, "admin") as admin:
        number = agent_number(admin.get("/admin/agents").text, "admin@example.com")
        answer = admin.submit(f"/admin/agents/{number}", page="/admin/agents", **change)
        assert answer.status_code == 409
        assert "is the only admin" in answer.text
        assert admin.get("/admin/agents").status_code == 200


def test_who_is_a_contact_again_is_nobody_to_have_back(server: Installation) -> None:
    with signed_in(server, "admin") as admin, server.client() as api:
        number = agent_number(admin.get("/admin/agents").text, "agent@example.com")
        assert api.delete(f"/api/v2/agents/{number}").status_code == 204
        assert "agent@example.com" not in admin.get("/admin/agents").text
        for change in ({"what": "reactivate"}, {"what": "role", "role": "admin"}):
            answer = admin.submit(f"/admin/agents/{number}", page="/admin/agents", **change)
            assert answer.status_code == 404


def test_there_is_no_such_agent(admin: Visitor) -> None:
    assert admin.get("/admin/agents/999").status_code == 404
    answer = admin.submit("/admin/agents/999", page="/admin/agents", what="deactivate")
    assert answer.status_code == 404
    assert admin.submit("/admin/agents/1", page="/admin/agents", what="promote").status_code == 404
