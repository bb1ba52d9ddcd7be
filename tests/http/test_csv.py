"""Contacts and companies from and to CSV by the API: jobs whose files can be imported again."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.test_contact_changes import listed, made, whose
from tests.http.test_contacts import errors
from tests.http.test_publish import email, unique
from tests.http.wire import start_tuned
from tests.support import Installation, wait_until


def send(api: httpx.Client, noun: str, text: str | bytes) -> httpx.Response:
    content = text if isinstance(text, bytes) else text.encode()
    return api.post(f"/api/v2/{noun}/import", files={"file": ("rows.csv", content, "text/csv")})


def finished(api: httpx.Client, begun: httpx.Response) -> Any:
    """A job, once it is done."""
    assert begun.status_code == 202, begun.text
    job = wait_until(
        lambda: (
            (found := api.get(begun.json()["href"]).json())["status"] in ("completed", "failed") and found
        ),
        seconds=60,
        what="the job",
    )
    assert job["status"] == "completed", job
    return job


def imported(api: httpx.Client, text: str, noun: str = "contacts") -> Any:
    return finished(api, send(api, noun, text))["result"]


def rows_of(api: httpx.Client, noun: str) -> list[dict[str, str]]:
    job = finished(api, api.post(f"/api/v2/{noun}/export"))
    file = httpx.get(job["result"]["download_url"])
    assert file.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(file.text, newline="")))
    assert job["result"]["rows"] == job["progress"] == len(rows)
    return rows


def test_rows_become_contacts_and_the_same_file_changes_nothing(api: httpx.Client) -> None:
    company, first, other = unique("Import"), email(), email()
    text = (
        "name,email,other_emails,phone,company,tags,view_all_tickets,unique_external_id\r\n"
        f'"Green, Rachel",{first},{other}; {email()},+44 20 7946 0555,{company},vip;buyer,true,{unique()}\r\n'
        f"Ross,{email()},,,,,,\r\n"
    )
    assert imported(api, text) == {"created": 2, "updated": 0, "refused": 0, "refusals": []}
    (item,) = listed(api, email=first)
    contact = api.get(f"/api/v2/contacts/{item['id']}").json()
    assert (contact["name"], contact["phone"]) == ("Green, Rachel", "+44 20 7946 0555")
    assert (contact["tags"], contact["view_all_tickets"]) == (["vip", "buyer"], True)
    assert other in contact["other_emails"]
    assert api.get(f"/api/v2/companies/{contact['company_id']}").json()["name"] == company
    assert imported(api, text) == {"created": 0, "updated": 2, "refused": 0, "refusals": []}
    again = api.get(f"/api/v2/contacts/{item['id']}").json()
    assert again | {"updated_at": ""} == contact | {"updated_at": ""}


def test_the_first_line_may_be_written_as_people_write_it(api: httpx.Client) -> None:
    mail = email()
    assert imported(api, f"Name,EMAIL, Job_Title\nRachel,{mail},Buyer\n")["created"] == 1
    assert listed(api, email=mail)[0]["job_title"] == "Buyer"
    refused = send(api, "contacts", "name,Name\nA,B\n")
    assert errors(refused, 400) == {"file": "invalid_value"}


def test_a_file_that_is_refused_leaves_no_trace_in_the_log(
    shared_server: Installation, api: httpx.Client
) -> None:
    for text in ("nothing,of,ours\n", "", "name,name\n"):
        assert send(api, "contacts", text).status_code == 400
    assert "Traceback" not in shared_server.log_text()


def test_a_row_changes_whom_it_names_and_blank_cells_change_nothing(api: httpx.Client) -> None:
    contact = made(api, "Rachel", phone="+44 20 7946 0556", job_title="Buyer")
    result = imported(api, f"email;name;job_title;phone\n{contact['email']};;Chef;\n")
    assert (result["created"], result["updated"]) == (0, 1)
    after = api.get(f"/api/v2/contacts/{contact['id']}").json()
    assert (after["name"], after["job_title"], after["phone"]) == ("Rachel", "Chef", contact["phone"])


def test_numbers_alone_are_imported_once(api: httpx.Client) -> None:
    text = f"name,phone\n{unique('Caller')},020 7946 0557\n"
    assert imported(api, text)["created"] == 1
    assert imported(api, text) == {"created": 0, "updated": 1, "refused": 0, "refusals": []}


def test_rows_at_fault_are_told_and_stand_in_nobodys_way(api: httpx.Client) -> None:
    taken, good = made(api, twitter_id=unique()), email()
    text = (
        "name,email,twitter_id,view_all_tickets,cf_none\n"
        f",{email()},,,\n"
        "Nobody,,,,\n"
        "Wrong,nobody,,maybe,\n"
        f"Taken,{made(api)['email']},{taken['twitter_id']},,\n"
        f"Unknown,{email()},,,1\n"
        f"Too,{email()},,,,,many\n"
        f"Good,{good},,,\n"
    )
    result = imported(api, text)
    assert (result["created"], result["updated"], result["refused"]) == (1, 0, 6)
    told = {
        each["line"]: {fault["field"]: fault["code"] for fault in each["errors"]}
        for each in result["refusals"]
    }
    assert told == {
        2: {"name": "missing_field"},
        3: {"email": "missing_field"},
        4: {"email": "invalid_value", "view_all_tickets": "datatype_mismatch"},
        5: {"twitter_id": "duplicate_value"},
        6: {"custom_fields.cf_none": "invalid_field"},
        7: {"body": "invalid_value"},
    }
    assert len(listed(api, email=good)) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"colour\nred\n", b"name,name\nA,B\n", b"\xff\xfe\n", b'name\n"unclosed\n', b"\x00\x01\x02"],
)
def test_files_that_cannot_be_imported(api: httpx.Client, content: bytes) -> None:
    assert errors(send(api, "contacts", content), 400) == {"file": "invalid_value"}


def test_an_import_needs_a_file(api: httpx.Client) -> None:
    answer = api.post("/api/v2/contacts/import", files={"other": (None, "x")})
    assert answer.status_code == 400
    assert api.post("/api/v2/contacts/import", json={}).status_code == 415


def test_an_export_is_what_an_import_takes_and_no_formula(server: Installation) -> None:
    with server.client() as api:
        formula = '=HYPERLINK("http://example.com")'
        made(
            api, formula, phone="+44 20 7946 0558", description="two\nlines", tags=["a", "b"], address="-1+1"
        )
        made(api, "Plain, with a comma", email=email())
        gone = made(api)
        api.delete(f"/api/v2/contacts/{gone['id']}")
        rows = rows_of(api, "contacts")
        assert [row["name"] for row in rows] == [f"'{formula}", "Plain, with a comma"]
        assert (rows[0]["phone"], rows[0]["address"]) == ("'+44 20 7946 0558", "'-1+1")
        assert (rows[0]["description"], rows[0]["tags"]) == ("two\nlines", "a; b")
        job = finished(api, api.post("/api/v2/contacts/export"))
        file = httpx.get(job["result"]["download_url"]).content
        result = finished(api, send(api, "contacts", file))["result"]
        assert (result["created"], result["updated"], result["refused"]) == (0, 2, 0)
        assert [row | {"updated_at": ""} for row in rows_of(api, "contacts")] == [
            row | {"updated_at": ""} for row in rows
        ]
        with server.client(server.agent_key) as agent:
            assert agent.get(f"/api/v2/jobs/{job['id']}").json()["result"]["download_url"] is None


def test_companies_come_and_go_as_well(server: Installation) -> None:
    with server.client() as api:
        text = "name,domains,renewal_date,note\nCentral Perk,perk.example.com;cafe.example.com,2027-01-31,\n"
        assert imported(api, text, "companies")["created"] == 1
        assert imported(api, text.replace("31,", "31,Big cups"), "companies")["updated"] == 1
        (row,) = rows_of(api, "companies")
        assert (row["name"], row["domains"]) == ("Central Perk", "cafe.example.com; perk.example.com")
        assert (row["renewal_date"], row["note"]) == ("2027-01-31", "Big cups")
        assert api.get("/api/v2/contacts").json() == []
        assert whose(api, email="x@perk.example.com") > 0


def test_an_import_goes_on_after_a_crash(installation: Installation, tmp_path: Path) -> None:
    """Killed between two pieces, it goes on behind the last one that was written; no row is counted twice."""
    server = start_tuned(installation, tmp_path, helpdesk__csv_files__PIECE=1, helpdesk__csv_jobs__PIECE=1)
    lines = [f"Nr {number},n{number}@example.com" for number in range(400)]
    with server.client() as api:
        begun = send(api, "contacts", "\n".join(["name,email", *lines]))
        job_id = begun.json()["job_id"]
        wait_until(lambda: api.get(f"/api/v2/jobs/{job_id}").json()["progress"] > 20, what="some progress")
    server.kill()
    ((progress,),) = installation.sql("SELECT progress FROM jobs")
    installation.sql("UPDATE jobs SET updated_at = 0")  # as if it had been left long ago
    assert 20 < progress < 400
    installation.start()
    with installation.client() as api:
        job = wait_until(
            lambda: (found := api.get(f"/api/v2/jobs/{job_id}").json())["status"] == "completed" and found,
            seconds=60,
            what="the import",
        )
        assert job["result"] == {"created": 400, "updated": 0, "refused": 0, "refusals": []}
        assert (job["progress"], job["total"]) == (400, 400)
