"""Merging contacts and undoing it (contract 5): one person, every old id, nothing copied, nothing lost."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.http.test_contact_changes import change, changed, listed, made, whose
from tests.http.test_contacts import create, errors
from tests.http.test_publish import email, publish, unique
from tests.http.wire import ACTIVITIES, Viewer
from tests.support import Installation, publish_request, wait_until

pytestmark = pytest.mark.every_engine

CONTACTS = "/api/v2/contacts"
PRIMARY, SECONDARY = "primary_contact_id", "secondary_contact_ids"


def merge(api: httpx.Client, primary: int, *secondaries: int, **contact: Any) -> httpx.Response:
    body: dict[str, Any] = {"primary_contact_id": primary, "secondary_contact_ids": secondaries}
    return api.post(f"{CONTACTS}/merge", json=body | ({"contact": contact} if contact else {}))


def merged(api: httpx.Client, primary: int, *secondaries: int, **contact: Any) -> list[int]:
    """Merge; the numbers of the merges, oldest first."""
    answer = merge(api, primary, *secondaries, **contact)
    assert answer.status_code == 204, answer.text
    return [each["id"] for each in merges_of(api, primary)][: len(secondaries)][::-1]


def merges_of(api: httpx.Client, contact_id: int) -> list[Any]:
    answer = api.get(f"{CONTACTS}/{contact_id}/merges")
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def undo(api: httpx.Client, merge_id: int) -> None:
    answer = api.post(f"{CONTACTS}/merges/{merge_id}/undo")
    assert answer.status_code == 204, answer.text


def read(api: httpx.Client, contact_id: int) -> Any:
    return api.get(f"{CONTACTS}/{contact_id}").json()


def timeline(api: httpx.Client, contact_id: int) -> list[Any]:
    items: list[Any] = []
    answer = api.get(f"{CONTACTS}/{contact_id}/activities", params={"per_page": 100})
    while True:
        assert answer.status_code == 200, answer.text
        items += answer.json()
        if "next" not in answer.links:
            return items
        answer = api.get(answer.links["next"]["url"])


def told(api: httpx.Client, **contact: Any) -> Any:
    """An activity with a name of its own, published for a contact."""
    return publish(api, publish_request(name=unique(), contact=contact))


def shown(contact: Any) -> Any:
    """A contact but for when it changed."""
    return {name: value for name, value in contact.items() if name != "updated_at"}


# What a merge does.


def test_a_merge_joins_everything_under_the_primary(api: httpx.Client) -> None:
    external = unique()
    one, other = made(api, "One"), made(api, "Other", unique_external_id=external, twitter_id=unique())
    of_one = [told(api, email=one["email"]) for _ in range(3)]
    of_other = [told(api, email=other["email"]) for _ in range(3)]
    merged(api, one["id"], other["id"])
    expected = [each["id"] for each in reversed(of_one + of_other)]
    for number in (one["id"], other["id"]):
        answered = read(api, number)
        assert (answered["id"], answered["email"]) == (one["id"], one["email"])
        assert answered["other_emails"] == [other["email"]]
        assert answered["unique_external_id"] == external
        activities = timeline(api, number)
        assert [each["id"] for each in activities] == expected
        assert {each["contact_id"] for each in activities} == {one["id"]}
    assert api.get(f"{ACTIVITIES}/{of_other[0]['id']}").json()["contact_id"] == one["id"]
    for identifier in (
        {"email": other["email"]},
        {"unique_external_id": external},
        {"twitter_id": other["twitter_id"]},
        {"id": other["id"]},
    ):
        later = told(api, **identifier)
        assert later["contact_id"] == one["id"], identifier
        assert "conflicts" not in later
    assert [each["id"] for each in listed(api, email=other["email"])] == [one["id"]]
    assert [each["id"] for each in listed(api, unique_external_id=external)] == [one["id"]]
    refused = create(api, name="Third", email=other["email"])
    assert refused.json()["errors"][0]["additional_info"] == {"user_id": one["id"]}
    assert len(timeline(api, other["id"])) == 10


def test_a_merged_contact_is_not_listed_or_completed(api: httpx.Client) -> None:
    word = unique("zm").replace("-", "")
    one, other = made(api, f"{word} one"), made(api, f"{word} other")
    merged(api, one["id"], other["id"])
    assert [each["id"] for each in api.get(f"{CONTACTS}/autocomplete?term={word}").json()] == [one["id"]]
    assert listed(api, email=other["email"])[0]["id"] == one["id"]


def test_finds_answer_the_primary(api: httpx.Client) -> None:
    one, other = made(api), made(api)
    order = unique("order")
    activity = publish(api, publish_request(contact={"email": other["email"]}, context={"Order id": order}))
    merged(api, one["id"], other["id"])
    found = wait_until(lambda: api.get(ACTIVITIES, params={"ref": order}).json(), what="the index")
    assert [(each["id"], each["contact_id"]) for each in found] == [(activity["id"], one["id"])]


def test_what_the_primary_lacks_it_takes_over(api: httpx.Client) -> None:
    one = made(api, "One", job_title="Chef", tags=["a"])
    other = made(api, "Other", job_title="Waitress", phone="+44 20 7946 5001", address="Here", tags=["b"])
    merged(api, one["id"], other["id"])
    after = read(api, one["id"])
    assert (after["name"], after["job_title"]) == ("One", "Chef")
    assert (after["phone"], after["address"], after["tags"]) == (other["phone"], "Here", ["a", "b"])


def test_values_can_be_chosen(api: httpx.Client) -> None:
    one, other = made(api, "One", mobile="+44 7700 900101"), made(api, "Other", mobile="+44 7700 900102")
    (number,) = merged(api, one["id"], other["id"], name="Both", email=other["email"], mobile=other["mobile"])
    after = read(api, one["id"])
    assert (after["name"], after["email"], after["mobile"]) == ("Both", other["email"], other["mobile"])
    assert after["other_emails"] == [one["email"]]
    for identifier in ({"email": one["email"]}, {"email": other["email"]}, {"mobile": one["mobile"]}):
        assert whose(api, **identifier) == one["id"], identifier
    undo(api, number)
    assert shown(read(api, one["id"])) == shown(one)
    assert shown(read(api, other["id"])) == shown(other)
    assert whose(api, mobile=one["mobile"]) == one["id"]
    assert whose(api, mobile=other["mobile"]) == other["id"]


def test_a_chosen_value_that_a_third_has_is_refused_and_nothing_is_merged(api: httpx.Client) -> None:
    one, other, third = made(api), made(api), made(api)
    refused = merge(api, one["id"], other["id"], email=third["email"])
    assert errors(refused, 409) == {"email": "duplicate_value"}
    assert read(api, other["id"]) == other


# What undoing does.


def test_undoing_gives_back_exactly_what_was(api: httpx.Client) -> None:
    one = made(api, "One", tags=["a"], other_emails=[email()])
    other = made(
        api, "Other", phone="+44 20 7946 5003", tags=["a", "b"], twitter_id=unique(), time_zone="Paris"
    )
    early_one, early_other = told(api, email=one["email"]), told(api, email=other["email"])
    (number,) = merged(api, one["id"], other["id"])
    late_one, late_other = told(api, email=one["email"]), told(api, twitter_id=other["twitter_id"])
    by_number = told(api, id=other["id"])
    undo(api, number)
    assert shown(read(api, one["id"])) == shown(one)
    assert shown(read(api, other["id"])) == shown(other)
    of_one, of_other = timeline(api, one["id"]), timeline(api, other["id"])
    assert [each["id"] for each in of_one] == [late_one["id"], early_one["id"]]
    assert [each["id"] for each in of_other] == [by_number["id"], late_other["id"], early_other["id"]]
    assert {each["contact_id"] for each in of_one} == {one["id"]}
    assert {each["contact_id"] for each in of_other} == {other["id"]}
    (entry,) = merges_of(api, other["id"])
    assert entry["undone_at"] is not None
    assert errors(api.post(f"{CONTACTS}/merges/{number}/undo"), 409) == {"merge_id": "inconsistent_state"}


def test_what_was_edited_since_stays_with_the_primary(api: httpx.Client) -> None:
    one, other = made(api, "One"), made(api, "Other", phone="+44 20 7946 5004", address="There")
    (number,) = merged(api, one["id"], other["id"])
    changed(api, one["id"], address="Moved", email=other["email"])
    undo(api, number)
    after, rest = read(api, one["id"]), read(api, other["id"])
    assert (after["phone"], after["address"], after["email"]) == (None, "Moved", other["email"])
    assert (rest["phone"], rest["address"], rest["email"]) == (other["phone"], "There", None)
    assert whose(api, email=other["email"]) == one["id"]
    assert whose(api, email=one["email"]) == one["id"]


def test_merges_in_a_chain_are_undone_in_any_order(api: httpx.Client) -> None:
    contacts = [made(api, f"Chain {place}") for place in range(4)]
    own = [told(api, email=each["email"])["id"] for each in contacts]
    steps = [
        merged(api, contacts[2]["id"], contacts[3]["id"])[0],
        merged(api, contacts[1]["id"], contacts[2]["id"])[0],
        merged(api, contacts[0]["id"], contacts[1]["id"])[0],
    ]
    assert {each["id"] for each in timeline(api, contacts[3]["id"])} == set(own)
    assert read(api, contacts[3]["id"])["id"] == contacts[0]["id"]
    undo(api, steps[1])
    assert {each["id"] for each in timeline(api, contacts[0]["id"])} == set(own[:2])
    assert {each["id"] for each in timeline(api, contacts[3]["id"])} == set(own[2:])
    undo(api, steps[2])
    undo(api, steps[0])
    for contact, activity in zip(contacts, own, strict=True):
        assert shown(read(api, contact["id"])) == shown(contact)
        assert [each["id"] for each in timeline(api, contact["id"])] == [activity]


def test_several_secondaries_are_merges_of_their_own(api: httpx.Client) -> None:
    one, two, three = made(api, "One"), made(api, "Two", address="Two"), made(api, "Three", address="Three")
    first, second = merged(api, one["id"], two["id"], three["id"])
    assert read(api, one["id"])["address"] == "Two"
    undo(api, second)
    assert read(api, three["id"]) | {"updated_at": ""} == three | {"updated_at": ""}
    assert read(api, two["id"])["id"] == one["id"]
    undo(api, first)
    assert shown(read(api, one["id"])) == shown(one)


# What cannot be merged.


def test_merges_that_do_not_fit(api: httpx.Client) -> None:
    one, other, third, gone = made(api), made(api), made(api), made(api)
    merged(api, one["id"], other["id"])
    api.delete(f"{CONTACTS}/{gone['id']}")
    for primary, secondaries, field in (
        (other["id"], [third["id"]], "primary_contact_id"),
        (one["id"], [one["id"]], "secondary_contact_ids"),
        (third["id"], [other["id"]], "secondary_contact_ids"),
        (third["id"], [gone["id"]], "secondary_contact_ids"),
        (gone["id"], [third["id"]], "primary_contact_id"),
        (third["id"], [1], "secondary_contact_ids"),
        (1, [third["id"]], "primary_contact_id"),
    ):
        assert errors(merge(api, primary, *secondaries), 409) == {field: "inconsistent_state"}
    assert len(merges_of(api, one["id"])) == 1


def test_the_same_merge_again_changes_nothing(api: httpx.Client) -> None:
    one, other = made(api), made(api)
    merged(api, one["id"], other["id"])
    assert merge(api, one["id"], other["id"]).status_code == 204
    assert len(merges_of(api, one["id"])) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {PRIMARY: "missing_field", SECONDARY: "missing_field"}),
        ({PRIMARY: "1", SECONDARY: 2}, {PRIMARY: "datatype_mismatch", SECONDARY: "datatype_mismatch"}),
        ({PRIMARY: 2, SECONDARY: []}, {SECONDARY: "invalid_value"}),
        ({PRIMARY: 2**62, SECONDARY: [2**62 + 1]}, {PRIMARY: "invalid_value", SECONDARY: "invalid_value"}),
        ({PRIMARY: 2, SECONDARY: [3], "contact": {"colour": 1}}, {"contact.colour": "invalid_field"}),
        ({PRIMARY: 2, SECONDARY: [3], "contact": {"email": 1}}, {"contact.email": "datatype_mismatch"}),
    ],
)
def test_merges_at_fault(api: httpx.Client, body: dict[str, Any], expected: dict[str, str]) -> None:
    assert errors(api.post(f"{CONTACTS}/merge", json=body), 400) == expected


def test_only_an_admin_undoes_a_merge(shared_server: Installation, api: httpx.Client) -> None:
    one, other = made(api), made(api)
    (number,) = merged(api, one["id"], other["id"])
    with shared_server.client(shared_server.agent_key) as agent:
        assert agent.post(f"{CONTACTS}/merges/{number}/undo").status_code == 403
    for unknown in ("999999999", "0", "abc", str(2**63)):
        assert api.post(f"{CONTACTS}/merges/{unknown}/undo").status_code == 404


def test_a_merged_away_number_deletes_nobody(api: httpx.Client) -> None:
    one, other = made(api), made(api)
    merged(api, one["id"], other["id"])
    assert errors(api.delete(f"{CONTACTS}/{other['id']}"), 409) == {"id": "inconsistent_state"}
    assert "deleted" not in read(api, one["id"])
    assert changed(api, other["id"], job_title="Chef")["id"] == one["id"]


def test_taken_away_emails_of_a_merged_contact_are_free(api: httpx.Client) -> None:
    one, other = made(api), made(api)
    (number,) = merged(api, one["id"], other["id"])
    assert changed(api, one["id"], other_emails=[])["other_emails"] == []
    third = made(api, email=other["email"])
    undo(api, number)
    assert read(api, other["id"])["email"] is None
    assert whose(api, email=other["email"]) == third["id"]


def test_an_email_that_was_taken_away_since_is_given_back_where_it_is_free(api: httpx.Client) -> None:
    one, other = made(api), made(api)
    (number,) = merged(api, one["id"], other["id"], email=other["email"])
    changed(api, one["id"], other_emails=[])
    undo(api, number)
    assert shown(read(api, one["id"])) == shown(one)
    assert whose(api, email=one["email"]) == one["id"]
    assert whose(api, email=other["email"]) == other["id"]


def test_an_email_that_a_third_has_since_is_not_given_back(api: httpx.Client) -> None:
    one, other = made(api, phone="+44 20 7946 5041"), made(api)
    (number,) = merged(api, one["id"], other["id"], email=other["email"])
    changed(api, one["id"], other_emails=[])
    third = made(api, email=one["email"])
    undo(api, number)
    emails = [read(api, each["id"])["email"] for each in (one, other, third)]
    assert emails == [None, other["email"], third["email"]]
    assert whose(api, email=other["email"]) == other["id"]


def test_a_chosen_email_stays_where_the_one_before_is_not_to_be_had(api: httpx.Client) -> None:
    one, other, chosen = made(api), made(api), email()
    (number,) = merged(api, one["id"], other["id"], email=chosen)
    changed(api, one["id"], other_emails=[])
    made(api, email=one["email"])
    undo(api, number)
    assert read(api, one["id"])["email"] == chosen
    assert whose(api, email=chosen) == one["id"]


def test_a_number_that_was_replaced_since_finds_the_secondary_again(api: httpx.Client) -> None:
    number, later = "+44 20 7946 5042", "+44 20 7946 5043"
    one, other = made(api), made(api, phone=number)
    (merge_id,) = merged(api, one["id"], other["id"])
    changed(api, one["id"], phone=later)
    undo(api, merge_id)
    assert (read(api, one["id"])["phone"], read(api, other["id"])["phone"]) == (later, number)
    assert (whose(api, phone=later), whose(api, phone=number)) == (one["id"], other["id"])
    assert [each["id"] for each in listed(api, phone=number)] == [other["id"]]


def test_a_company_that_is_gone_since_is_not_given_back(api: httpx.Client) -> None:
    gone, chosen = (
        api.post("/api/v2/companies", json={"name": unique("Company ")}).json()["id"] for _ in range(2)
    )
    one, other = made(api, company_id=gone), made(api)
    (number,) = merged(api, one["id"], other["id"], company_ids=[chosen])
    assert api.delete(f"/api/v2/companies/{gone}").status_code == 204
    undo(api, number)
    assert read(api, one["id"])["company_id"] is None


# Concurrency.


def test_concurrent_merges_in_a_circle_end_with_one_person(api: httpx.Client) -> None:
    contacts = [made(api)["id"] for _ in range(6)]
    own = [told(api, id=each)["id"] for each in contacts]
    pairs = [(contacts[place], contacts[(place + 1) % 6]) for place in range(6)]
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda pair: merge(api, *pair).status_code, pairs))
    assert set(statuses) <= {204, 409}
    survivors = {read(api, each)["id"] for each in contacts}
    assert len(survivors) == statuses.count(409)
    assert 1 <= len(survivors) <= 5
    joined = [each["id"] for survivor in survivors for each in timeline(api, survivor)]
    assert sorted(joined) == sorted(own)


def test_merges_undoings_and_publications_race_and_nothing_is_lost(api: httpx.Client) -> None:
    chance = random.Random(11)
    contacts = [made(api) for _ in range(4)]
    published: list[tuple[str, int]] = []

    def act(step: int) -> None:
        one, other = chance.sample(range(4), 2)
        if step % 3 == 0:
            merge(api, contacts[one]["id"], contacts[other]["id"])
        elif step % 3 == 1:
            for each in merges_of(api, contacts[one]["id"])[:1]:
                api.post(f"{CONTACTS}/merges/{each['id']}/undo")
        else:
            published.append((told(api, email=contacts[one]["email"])["id"], one))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(act, range(90)))
    for contact in contacts:
        for each in merges_of(api, contact["id"]):
            if each["undone_at"] is None:
                undo(api, each["id"])
    for place, contact in enumerate(contacts):
        assert shown(read(api, contact["id"])) == shown(contact)
        own = sorted(activity for activity, whom in published if whom == place)
        assert sorted(each["id"] for each in timeline(api, contact["id"])) == own


# Live.


def test_open_streams_begin_again_when_a_contact_stands_for_others(
    shared_server: Installation, api: httpx.Client
) -> None:
    one, other = made(api), made(api)
    answer = api.get(f"{CONTACTS}/{one['id']}/activities")
    before = answer.headers["X-Stream-Position"]
    viewers = [Viewer(shared_server, each["id"]) for each in (one, other)]
    (number,) = merged(api, one["id"], other["id"])
    for viewer in viewers:
        assert viewer.wait_for(1)[-1].kind == "reset"
        viewer.wait_until_ended()
    late = Viewer(shared_server, one["id"], after=before)
    assert late.wait_for(1)[0].kind == "reset"
    position = api.get(f"{CONTACTS}/{other['id']}/activities").headers["X-Stream-Position"]
    joined = Viewer(shared_server, other["id"], after=position)
    activity = told(api, email=other["email"])
    (event,) = joined.wait_for(1)
    assert (event.kind, event.data["id"], event.data["contact_id"]) == ("activity", activity["id"], one["id"])
    undo(api, number)
    assert joined.wait_for(2)[1].kind == "reset"
    resumed = Viewer(shared_server, other["id"], last=event.id)
    assert resumed.wait_for(1)[0].kind == "reset"


# Suggestions.


def suggested(api: httpx.Client, contact_id: int) -> list[tuple[int, list[str]]]:
    answer = api.get(f"{CONTACTS}/{contact_id}/merge_suggestions")
    assert answer.status_code == 200, answer.text
    return [(each["contact_id"], each["reasons"]) for each in answer.json()]


def test_a_conflict_is_suggested_from_both_sides_and_accepted(api: httpx.Client) -> None:
    twitter = unique()
    one, other = made(api), made(api, twitter_id=twitter)
    assert suggested(api, one["id"]) == []
    told(api, email=one["email"], twitter_id=twitter)
    assert suggested(api, one["id"]) == [(other["id"], ["twitter_id"])]
    assert suggested(api, other["id"]) == [(one["id"], ["twitter_id"])]
    path = f"{CONTACTS}/{one['id']}/merge_suggestions/{other['id']}/accept"
    assert api.post(path).status_code == 204
    assert read(api, other["id"])["id"] == one["id"]
    assert suggested(api, one["id"]) == []
    assert api.post(path).status_code == 404


def test_a_dismissed_suggestion_comes_back_for_another_reason_alone(api: httpx.Client) -> None:
    twitter, facebook = unique(), unique()
    one, other = made(api), made(api, twitter_id=twitter, facebook_id=facebook)
    told(api, email=one["email"], twitter_id=twitter)
    path = f"{CONTACTS}/{other['id']}/merge_suggestions/{one['id']}/dismiss"
    assert api.post(path).status_code == 204
    told(api, email=one["email"], twitter_id=twitter)
    assert suggested(api, one["id"]) == suggested(api, other["id"]) == []
    assert api.post(path).status_code == 404
    told(api, email=one["email"], facebook_id=facebook)
    assert suggested(api, one["id"]) == [(other["id"], ["facebook_id"])]


def test_what_was_undone_is_not_suggested_again(api: httpx.Client) -> None:
    twitter = unique()
    one, other = made(api), made(api, twitter_id=twitter)
    told(api, email=one["email"], twitter_id=twitter)
    (number,) = merged(api, one["id"], other["id"])
    undo(api, number)
    told(api, email=one["email"], twitter_id=twitter)
    assert suggested(api, one["id"]) == []


def test_suggestions_follow_merges_and_leave_deleted_ones_out(api: httpx.Client) -> None:
    twitter = unique()
    one, other, third = made(api), made(api, twitter_id=twitter), made(api)
    told(api, email=one["email"], twitter_id=twitter)
    merged(api, third["id"], other["id"])
    assert suggested(api, one["id"]) == [(third["id"], ["twitter_id"])]
    api.delete(f"{CONTACTS}/{third['id']}")
    assert suggested(api, one["id"]) == []


def test_a_merge_is_audited_without_values(api: httpx.Client) -> None:
    one, other = made(api), made(api)
    (number,) = merged(api, one["id"], other["id"], name="Very Secret")
    entry = api.get("/api/v2/audit-log", params={"per_page": 1}).json()[0]
    assert (entry["action"], entry["target"]) == ("contact.merge", f"contact:{one['id']}")
    assert entry["details"] == {"secondaries": [other["id"]], "merges": [number]}
    assert change(api, one["id"], name="Other").status_code == 200
