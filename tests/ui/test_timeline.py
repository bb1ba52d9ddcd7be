"""The timeline's pages, without a browser: what stands in them, for which address."""

from __future__ import annotations

import gzip
import html
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from backstory.timeline.facets import MAX_COUNTED
from tests.http.wire import ACTIVITIES, BATCH
from tests.support import FINDS_WORDS, NO_WORDS, Installation, publish_request, wait_until
from tests.ui.pages import Outline, Visitor

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=3)


def moment(minutes: float = 0) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


def publish(api: httpx.Client, *activities: dict[str, Any], email: str | None = None) -> int:
    """Publish for one new contact; its number."""
    contact = {"email": email or f"{uuid4().hex}@example.com"}
    items = [publish_request(contact=contact, **activity) for activity in activities]
    answer = api.post(BATCH, json={"activities": items}).json()
    assert all(result["status"] == 200 for result in answer["results"]), answer
    return int(answer["results"][0]["contact_id"])


def rows(page: httpx.Response) -> list[str]:
    """The names of the rows, in their order."""
    assert page.status_code == 200, page.text[:2000]
    days = page.text.partition('<div class="days">')[2]
    return [html.unescape(name) for name in re.findall(r'<span class="what"><b>(.*?)</b>', days)]


def test_a_row_says_what_happened_and_when(api: httpx.Client, agent: Visitor) -> None:
    contact_id = publish(
        api,
        {
            "name": "Transaction failed",
            "timestamp": f"{NOON:%Y-%m-%d}T14:07:00Z",
            "description": "Card declined",
            "context": {"Amount": "50", "Currency": "Dollars"},
        },
    )
    page = agent.get(f"/contacts/{contact_id}?zone=utc").text
    assert ">2:07 PM</time>" in page
    assert f'datetime="{NOON:%Y-%m-%d}T14:07:00Z"' in page
    assert "<b>Transaction failed</b>" in page
    assert ">50\N{NO-BREAK SPACE}Dollars</span>" in page
    assert "Card declined" in page
    assert '<span class="dot bad">' in page
    berlin = agent.get(f"/contacts/{contact_id}", headers={"Cookie": f"zone=Europe%2FBerlin; backstory={agent.cookies['backstory']}"})  # fmt: skip  # noqa: E501
    assert re.search(r">(3|4):07 PM</time>", berlin.text)
    german = agent.get(f"/contacts/{contact_id}?zone=utc", headers={"Accept-Language": "de-DE,de;q=0.9"})
    assert ">14:07</time>" in german.text


def test_days_are_the_viewers(api: httpx.Client, agent: Visitor) -> None:
    contact_id = publish(
        api, {"timestamp": f"{NOON:%Y-%m-%d}T23:30:00Z"}, {"timestamp": f"{NOON:%Y-%m-%d}T00:30:00Z"}
    )
    days = re.compile(r'data-day="([^"]+)"')
    here = f"/contacts/{contact_id}"
    assert days.findall(agent.get(f"{here}?zone=utc").text) == [f"{NOON:%Y-%m-%d}"]
    agent.cookies.set("zone", "Asia%2FTokyo")
    assert days.findall(agent.get(here).text) == [f"{NOON + timedelta(days=1):%Y-%m-%d}", f"{NOON:%Y-%m-%d}"]


def test_the_zone_of_the_times_is_told(api: httpx.Client, agent: Visitor) -> None:
    here = f"/contacts/{publish(api, {'timestamp': moment()})}"
    shown = re.compile(r'zone=\w+" data-part aria-current="true">([^<]+)<')
    assert shown.findall(agent.get(here).text) == ["UTC"]
    agent.cookies.set("zone", "Asia%2FTokyo")
    assert shown.findall(agent.get(here).text) == ["My time"]
    assert shown.findall(agent.get(f"{here}?zone=utc").text) == ["UTC"]


def test_late_and_foreign_rows_say_so(api: httpx.Client, agent: Visitor) -> None:
    contact = {"email": f"{uuid4().hex}@example.com", "is_actor": False}
    answer = api.post(
        ACTIVITIES,
        json=publish_request(contact=contact, timestamp=moment(), actor={"type": "agent", "name": "Sam"}),
    ).json()
    page = agent.get(f"/contacts/{answer['contact_id']}").text
    assert re.search(r"received \d+ days later", page)
    assert "by Sam" in page


def test_filters_are_the_address(api: httpx.Client, agent: Visitor) -> None:
    contact_id = publish(
        api,
        {"name": "A", "timestamp": moment(0), "object": {"type": "order"}, "context": {"colour": "blue"}},
        {"name": "B", "timestamp": moment(1), "source": {"name": "stripe"}},
        {"name": "C", "timestamp": moment(-3000), "object": {"type": "call"}},
    )
    here = f"/contacts/{contact_id}"
    assert rows(agent.get(here)) == ["B", "A", "C"]
    assert rows(agent.get(f"{here}?source=stripe&type=&q=")) == ["B"]
    assert rows(agent.get(f"{here}?source=stripe&source=shopify")) == ["B", "A", "C"]
    assert rows(agent.get(f"{here}?type=order&type=call")) == ["A", "C"]
    assert rows(agent.get(f"{here}?since={NOON:%Y-%m-%d}")) == ["B", "A"]
    assert rows(agent.get(f"{here}?until={NOON - timedelta(days=1):%Y-%m-%d}")) == ["C"]
    assert rows(agent.get(f"{here}?at={moment(0).replace('+', '%2B')}")) == ["A", "C"]
    wait_until(lambda: rows(agent.get(f"{here}?q=BLUE")) == ["A"], what="the index")
    page = agent.get(f"{here}?q=blue&type=order&tab=1").text
    assert "Type: order" in page
    assert "“blue”" in page
    assert 'name="tab" value="1"' in page
    assert f'href="{here}?tab=1"' in page


def test_chips_count_and_tell_when_a_source_was_last_heard(api: httpx.Client, agent: Visitor) -> None:
    contact_id = publish(api, {"name": "A"}, {"name": "B"}, {"name": "C", "source": {"name": "stripe"}})
    page = agent.get(f"/contacts/{contact_id}").text
    chips = [
        re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", chip))
        for chip in re.findall(r'<a class="chip".*?</a>', page)
    ]
    assert any(chip.startswith(" shopify 2 ") for chip in chips), chips
    assert any(chip.startswith(" stripe 1 ") for chip in chips), chips
    assert all("last heard" in chip for chip in chips)


def test_counts_end_at_a_thousand(api: httpx.Client, agent: Visitor) -> None:
    contact = {"email": f"{uuid4().hex}@example.com"}
    items = [publish_request(contact=contact, name=f"N{number % 7}") for number in range(MAX_COUNTED)]
    contact_id = api.post(BATCH, json={"activities": items}).json()["results"][0]["contact_id"]
    api.post(BATCH, json={"activities": items[:10]})
    assert "<b>1,000+</b>" in agent.get(f"/contacts/{contact_id}").text


def test_older_ones_come_by_cursor(api: httpx.Client, agent: Visitor) -> None:
    contact_id = publish(api, *({"name": f"N{number}", "timestamp": moment(number)} for number in range(120)))
    names: list[str] = []
    address: str | None = f"/contacts/{contact_id}?zone=utc"
    while address:
        page = agent.get(address)
        names += rows(page)
        found = re.search(r'href="([^"]+)" data-older', page.text)
        address = html.unescape(found[1]) if found else None
    assert names == [f"N{number}" for number in reversed(range(120))]


def test_runs_alike_fold(api: httpx.Client, agent: Visitor) -> None:
    views = [{"name": "Page viewed", "timestamp": moment(number)} for number in range(60)]
    contact_id = publish(
        api, {"name": "First", "timestamp": moment(-5)}, *views, {"name": "Last", "timestamp": moment(90)}
    )
    page = agent.get(f"/contacts/{contact_id}?zone=utc")
    assert "60 times" in page.text
    assert ">12:00 PM</time>" in page.text
    assert [name for name in rows(page) if name != "Page viewed"] == ["Last", "First"]
    assert "data-older" not in page.text


def test_pins(api: httpx.Client, agent: Visitor) -> None:
    contact_id = publish(api, *({"name": f"P{number}", "timestamp": moment(number)} for number in range(4)))
    here = f"/contacts/{contact_id}"
    ids = re.findall(r'id="a-([^"]+)"', agent.get(here).text)
    for activity_id in ids[:3]:
        assert agent.submit(f"/activities/{activity_id}/pin", page=here).headers["Location"] == here
    agent.submit(f"/activities/{ids[0]}/pin", page=here)
    page = agent.get(here).text
    pinned = page.partition('<div class="days">')[0]
    assert re.findall(r'class="pinned" href="/activities/([^"]+)"', pinned) == [ids[2], ids[1], ids[0]]
    refused = agent.submit(f"/activities/{ids[3]}/pin", page=here)
    assert refused.status_code == 409
    assert "3 activities are pinned already" in refused.text
    agent.submit(f"/activities/{ids[1]}/unpin", page=here)
    api.delete(f"{ACTIVITIES}/{ids[2]}")
    assert len(re.findall('class="pinned"', agent.get(here).text)) == 1


def test_pins_follow_a_merge_and_go_back(api: httpx.Client, agent: Visitor) -> None:
    one, two = (publish(api, {"name": name, "timestamp": moment()}) for name in ("One", "Two"))

    def pinned(contact_id: int) -> list[str]:
        return re.findall(
            r'class="pinned" href="/activities/([^"]+)"', agent.get(f"/contacts/{contact_id}").text
        )

    def last_of(contact_id: int) -> str:
        return str(api.get(f"/api/v2/contacts/{contact_id}/activities").json()[0]["id"])

    def pin(activity_id: str) -> None:
        assert agent.submit(f"/activities/{activity_id}/pin", page=f"/contacts/{one}").status_code == 303

    first, second = last_of(one), last_of(two)
    pin(second)
    wish = {"primary_contact_id": one, "secondary_contact_ids": [two]}
    assert api.post("/api/v2/contacts/merge", json=wish).status_code == 204
    assert pinned(one) == [second], "it follows"
    agent.submit(f"/activities/{second}/unpin", page=f"/contacts/{one}")
    assert pinned(one) == []
    pin(first)
    pin(second)
    assert pinned(one) == [second, first]
    (merge,) = api.get(f"/api/v2/contacts/{one}/merges").json()
    assert api.post(f"/api/v2/contacts/merges/{merge['id']}/undo").status_code == 204
    assert (pinned(one), pinned(two)) == ([first], [second]), "each goes with whose activity it is"


def test_an_empty_timeline_says_how_it_begins(
    api: httpx.Client, agent: Visitor, shared_server: Installation
) -> None:
    address = f"{uuid4().hex}@example.com"
    contact = api.post("/api/v2/contacts", json={"name": "New One", "email": address}).json()
    page = html.unescape(agent.get(f"/contacts/{contact['id']}").text)
    assert "Nothing has been heard yet" in page
    assert f"{shared_server.url}/api/v2/contact-activities" in page
    assert address in page
    nothing = agent.get(f"/contacts/{contact['id']}?type=x&zone=utc").text
    assert "Nothing" in nothing


def test_nothing_matches(api: httpx.Client, agent: Visitor) -> None:
    contact_id = publish(api, {"name": "A"})
    page = agent.get(f"/contacts/{contact_id}?source=nothing").text
    assert "Nothing matches" in page
    assert "curl" not in page


@pytest.mark.parametrize("query", ["since=soon", "until=2026-13-01", "at=x", "cursor=abc", "q=%2B%2B", "q=" + "x" * 2000, "source=a%00b"])  # fmt: skip  # noqa: E501
def test_an_address_that_cannot_be_is_told_so(api: httpx.Client, agent: Visitor, query: str) -> None:
    contact_id = publish(api, {"name": "A"})
    answer = agent.get(f"/contacts/{contact_id}?{query}")
    assert answer.status_code == 400
    assert "That did not work" in answer.text


@pytest.mark.parametrize("path", ["/contacts/999999999", "/contacts/x", "/contacts/0", "/activities/x", "/activities/01890000-0000-7000-8000-000000000000"])  # fmt: skip  # noqa: E501
def test_what_there_is_not(agent: Visitor, path: str) -> None:
    answer = agent.get(path)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text


# One activity.


def test_an_activity_has_a_page_of_its_own(api: httpx.Client, agent: Visitor, seed_request: bytes) -> None:
    published = api.post(
        ACTIVITIES, content=seed_request, headers={"Content-Type": "application/json"}
    ).json()
    for path in (f"/activities/{published['id']}", f"/activities/{published['id']}/details?zone=utc"):
        page = agent.get(path).text
        assert "Open transaction 1234" in page
        assert 'href="https://myorderstatus.example.com/84637930"' in page
        assert ">50\N{NO-BREAK SPACE}Dollars</span>" in page
        assert "Gucci White Ace Sneakers" in page
        assert '<th scope="col">Item name</th>' in page
        assert ">12401</span>" in page
        assert "Raw JSON" in page
    assert f'href="/contacts/{published["contact_id"]}"' in agent.get(f"/activities/{published['id']}").text


def test_deleting_is_for_admins(api: httpx.Client, agent: Visitor, admin: Visitor) -> None:
    contact_id = publish(api, {"name": "A"})
    (activity_id,) = re.findall(r'id="a-([^"]+)"', agent.get(f"/contacts/{contact_id}").text)
    path = f"/activities/{activity_id}"
    assert "Delete" not in agent.get(path).text
    assert agent.submit(f"{path}/delete", page=path).status_code == 403
    assert "Delete for good" in admin.get(path).text
    assert admin.submit(f"{path}/delete", page=path).headers["Location"] == f"/contacts/{contact_id}"
    assert admin.get(path).status_code == 404
    entry = api.get("/api/v2/audit-log").json()[0]
    assert entry["action"] == "activity.delete"
    assert entry["origin"].startswith("page ")


def test_an_agent_logs_by_hand(api: httpx.Client, agent: Visitor) -> None:
    contact_id = publish(api, {"name": "A", "timestamp": moment()})
    here = f"/contacts/{contact_id}"
    agent.cookies.set("zone", "Europe%2FBerlin")
    sent = {
        "name": " Called about the delivery ",
        "kind": "call",
        "description": "Wants it on Friday.",
        "at": "2026-01-15T09:30",
    }
    answer = agent.submit(f"{here}/activities", page=here, **sent)
    assert answer.headers["Location"] == f"{here}?done=logged"
    assert "The activity was logged." in agent.get(answer.headers["Location"]).text
    read = partial(api.get, f"/api/v2{here}/activities", params={"source": "backstory"})
    (logged,) = wait_until(lambda: read().json(), what="the activity")  # on a cluster it comes a moment later
    assert logged["name"] == "Called about the delivery"
    assert logged["timestamp"] == "2026-01-15T08:30:00Z"
    assert logged["received_at"] > logged["timestamp"]
    assert logged["source"]["name"] == "backstory"
    assert logged["object"]["type"] == "call"
    assert logged["actor"]["name"] == "Agent"
    assert logged["is_actor"] is False


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 300}, "name"),
        ({"at": "soon"}, "at"),
        ({"kind": "party"}, "kind"),
        ({"description": "x" * 5000}, "description"),
    ],
)
def test_what_cannot_be_logged_comes_back_with_what_is_wrong(
    api: httpx.Client, agent: Visitor, wrong: dict[str, str], field: str
) -> None:
    contact_id = publish(api, {"name": "A", "timestamp": moment()})
    here = f"/contacts/{contact_id}"
    sent = {
        "name": "Called <b>",
        "kind": "meeting",
        "description": "On Friday.",
        "at": "2026-01-15T09:30",
    } | wrong
    answer = agent.submit(f"{here}/activities", page=here, to="/tickets/7?zone=utc", **sent)
    assert answer.status_code == 400
    assert re.findall(r'id="w-(\w+)"', answer.text) == [field]
    outline = Outline(answer.text)
    kept = {
        each["name"]: each.get("value") for tag, each in outline.tags if tag == "input" and "name" in each
    }
    assert {name: kept[name] for name in ("name", "at", "to")} == {
        "name": sent["name"], "at": sent["at"], "to": "/tickets/7?zone=utc"
    }  # fmt: skip
    assert sent["description"] in outline.text
    assert ('<option value="meeting" selected>' in answer.text) == (sent["kind"] == "meeting")
    fixed = sent | {"name": "Called", "kind": "call", "description": "On\r\n" * 1_300, "at": ""}
    fixed["to"] = str(kept["to"])
    again = agent.submit(f"{here}/activities", page=here, **fixed)
    assert again.headers["Location"] == "/tickets/7?zone=utc&done=logged"


def test_all_that_is_wrong_is_said_at_once(api: httpx.Client, agent: Visitor) -> None:
    here = f"/contacts/{publish(api, {'name': 'A', 'timestamp': moment()})}"
    answer = agent.submit(f"{here}/activities", page=here, name="", at="soon", kind="party")
    assert re.findall(r'id="w-(\w+)"', answer.text) == ["name", "kind", "at"]


# Across contacts.


def test_finding_across_contacts(api: httpx.Client, agent: Visitor) -> None:
    ref, word = uuid4().hex, uuid4().hex
    contact = {"email": f"{ref}@example.com", "name": "Rachel Finder"}
    item = publish_request(contact=contact, name=f"Found {word}", context={"Order id": ref})
    assert api.post(ACTIVITIES, json=item).status_code == 200
    publish(api, {"name": "Another"})
    wait_until(lambda: rows(agent.get(f"/activities?ref={ref}")) == [f"Found {word}"], what="the index")
    assert "Rachel Finder" in agent.get(f"/activities?ref={ref}").text
    assert rows(agent.get(f"/activities?name=Found+{word}&source=shopify&type=&ref=")) == [f"Found {word}"]
    assert "Nothing matches" in agent.get(f"/activities?ref={uuid4().hex}").text
    assert len(rows(agent.get("/activities"))) >= 2
    assert agent.get("/activities?ref=" + "x" * 2000).status_code == 400


@FINDS_WORDS
def test_finding_words_across_contacts(api: httpx.Client, agent: Visitor) -> None:
    word = uuid4().hex
    publish(api, {"name": f"Found {word}"})
    publish(api, {"name": "Another"})
    wait_until(lambda: rows(agent.get(f"/activities?q={word}")) == [f"Found {word}"], what="the index")


@pytest.mark.parametrize(
    "offered", [pytest.param(True, marks=FINDS_WORDS), pytest.param(False, marks=NO_WORDS)]
)
def test_words_are_asked_for_where_they_can_be_found(agent: Visitor, offered: bool) -> None:
    assert ('name="q"' in agent.get("/activities").text) is offered


# Hostile texts.

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'-alert(1)-'",
    "{{ 7 * 7 }} {% raw %} ${7*7} <%= 7 %>",
    "x" * 100_000,
    "\u202egnp.exe\u202d",
    "Z\u0351\u036b\u0343\u036a" * 50,
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \ufeff\u200b",
]  # fmt: skip


def hostile_context(text: str) -> dict[str, Any]:
    """A text wherever one can stand: as key, as value, in lists, in tables, as a link."""
    short = text[:5_000]
    table = {"a": {"x": short, short: 1}, "b": {"x": short, short: 2}}
    return {
        "whole": text,
        short: short,
        "list": [short, {short: short}],
        "link": f"javascript:{short}",
        "map": table,
    }


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_texts(api: httpx.Client, agent: Visitor, text: str) -> None:
    short = text[:250]
    contact_id = publish(
        api,
        {
            "name": short,
            "description": text[:4000],
            "link": "javascript:alert(1)",
            "source": {"name": short, "id": short},
            "actor": {"type": short, "name": short, "id": short},
            "object": {"type": short, "id": short, "name": short, "link": "javascript:alert(1)"},
            "context": hostile_context(text),
            "id": f"{uuid4().hex}{short}"[:250],
        },
    )  # fmt: skip
    here = f"/contacts/{contact_id}"
    pages = [agent.get(here).text]
    (activity_id,) = re.findall(r'id="a-([^"]+)"', pages[0])
    pages += [agent.get(f"/activities/{activity_id}{part}").text for part in ("", "/details")]
    pages.append(agent.get("/activities", params={"q": text[:1000]}).text)
    for page in pages:
        outline = Outline(page)
        assert all(attrs.get("src") for tag, attrs in outline.tags if tag == "script")
        assert not [tag for tag, _ in outline.tags if tag == "img"]
        for _, attrs in outline.tags:
            assert not [name for name in attrs if name.startswith("on")]
            assert not str(attrs.get("href", "")).lower().startswith("javascript")
    if "{{" in text:
        assert "{{ 7 * 7 }}" in html.unescape(pages[0])


# Budgets.


def test_fifty_rows_are_small(api: httpx.Client, agent: Visitor) -> None:
    kinds = [("Order placed", "shopify", "order"), ("Transaction failed", "stripe", "transaction"), ("Call missed", "aircall", "call")]  # fmt: skip  # noqa: E501
    activities = []
    for number in range(60):
        name, source, kind = kinds[number % 3]
        activities.append(
            {
                "name": name,
                "source": {"name": source},
                "timestamp": moment(-61 * number),
                "description": f"{name} for {number}.{number % 90 + 10} EUR, reference {uuid4().hex[:8]}",
                "object": {"type": kind, "id": str(number)},
                "context": {"Order id": str(number), "Amount": f"{number}.00", "Currency": "EUR"},
            }
        )
    contact_id = publish(api, *activities)
    page = agent.get(f"/contacts/{contact_id}")
    assert len(rows(page)) == 50
    assert len(gzip.compress(page.content, 9)) <= 8 * 1024
