"""Import and export as NDJSON: resumable without losing or doubling a line, and a round trip that changes nothing."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import refused, run_here
from tests.faults.load import check_sound, stored
from tests.http.test_merges import merged
from tests.http.test_publish import email, publish, unique
from tests.http.wire import ACTIVITIES, Viewer
from tests.support import Installation, publish_request, wait_until


def write_lines(path: Path, requests: Iterator[Any] | list[Any]) -> Path:
    with path.open("w") as file:
        for request in requests:
            file.write(request if isinstance(request, str) else json.dumps(request))
            file.write("\n")
    return path


def requests(count: int, *, bad_every: int = 0) -> Iterator[dict[str, Any]]:
    """Requests whose object has the line's number, as no sender's id would be needed to see a double."""
    for number in range(1, count + 1):
        bad = bad_every and number % bad_every == 0
        yield publish_request(
            name="" if bad else "Imported",
            object={"type": "line", "id": f"line-{number}"},
            contact={"email": f"{number % 50}@example.com"},
        )


def lines_stored(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [
            json.loads(row[0])["object"]["id"] for row in connection.execute("SELECT body FROM activities")
        ]


def test_an_import_and_its_rejected_lines(installation: Installation, tmp_path: Path) -> None:
    lines = [
        publish_request(id="a", contact={"email": "one@example.com"}),
        "",
        "{not json",
        publish_request(id="a", contact={"email": "one@example.com"}),
        publish_request(id="b", actor={}, name="", contact={"email": "one@example.com"}),
        publish_request(id="c", contact={"id": 10**15}),
        "   ",
        publish_request(id="d", contact={"email": "two@example.com"}),
        json.dumps(publish_request(id="e"))[:-1] + " " * 1024 * 1024 + "}",
        publish_request(id="f", source={"name": "backstory"}),
        publish_request(id="g", source={"name": "anything"}, contact={"email": "two@example.com"}),
    ]
    file = write_lines(tmp_path / "in.ndjson", lines)
    done = installation.cli("import", str(file), check=False)
    assert done.returncode == 2, "something was refused"
    assert "3 activities imported, 1 were there before" in done.stderr
    assert "5 lines were refused" in done.stderr
    assert "in.ndjson.rejected.ndjson" in done.stderr.replace("\n", "")
    assert set(stored(installation.database)) == {"a", "d", "g"}
    rejected = [
        json.loads(line) for line in (tmp_path / "in.ndjson.rejected.ndjson").read_text().splitlines()
    ]
    assert {line["line"]: sorted(error["field"] or "-" for error in line["errors"]) for line in rejected} == {
        3: ["-"],
        5: ["activity.actor.type", "activity.name"],
        6: ["contact.id"],
        9: ["-"],
        10: ["activity.source.name"],
    }
    assert all(error["code"] and error["message"] for line in rejected for error in line["errors"])
    by_line = {line["line"]: line["request"] for line in rejected}
    assert by_line[3] == "{not json"
    assert by_line[5] == lines[4], "as it is, to be mended in its place"


def test_refused_lines_are_imported_once_they_are_mended(installation: Installation, tmp_path: Path) -> None:
    lines = ["{not json", publish_request(id="b", name=""), publish_request(id="c", contact={"id": 10**15})]
    file = write_lines(tmp_path / "in.ndjson", lines)
    assert installation.cli("import", str(file), check=False).returncode == 2
    rejected = tmp_path / "in.ndjson.rejected.ndjson"
    text = rejected.read_text()
    mended = json.dumps(json.dumps(publish_request(id="a")))
    text = text.replace('"name": ""', '"name": "Mended"').replace('"{not json"', mended)
    rejected.write_text(text)
    done = installation.cli("import", str(rejected), check=False)
    assert done.returncode == 2
    assert "2 activities imported" in done.stderr
    assert set(stored(installation.database)) == {"a", "b"}
    (left,) = map(json.loads, Path(f"{rejected}.rejected.ndjson").read_text().splitlines())
    assert (left["line"], left["request"]) == (3, lines[2])
    with file.open("a") as more:  # it goes on beside what was mended, and takes nothing of it away
        more.write("{neither\n")
    rejected.write_text(text.rstrip("\n"))
    installation.cli("import", str(file), "--again", check=False)
    assert len(rejected.read_text().splitlines()) == 3 + 4


def test_a_second_import_of_a_file_goes_on_where_it_ended(installation: Installation, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in.ndjson", requests(1500))
    assert "1,500 activities imported" in installation.cli("import", str(file)).stderr
    again = installation.cli("import", str(file))
    assert "Went on behind line 1,500" in again.stderr
    assert "0 activities imported" in again.stderr
    with file.open("a") as more:
        more.write(json.dumps(publish_request(object={"id": "line-1501"})) + "\n")
    assert "1 activities imported" in installation.cli("import", str(file)).stderr
    assert sorted(lines_stored(installation.database)) == sorted(f"line-{n}" for n in range(1, 1502))
    assert "1,501 activities imported" in installation.cli("import", str(file), "--again").stderr
    # Another file of the same name is another import.
    other = write_lines(file, [publish_request(id="other")])
    assert "1 activities imported" in installation.cli("import", str(other)).stderr


def test_standard_input(installation: Installation) -> None:
    text = "".join(f"{json.dumps(request)}\n" for request in requests(20, bad_every=10))
    done = installation.cli("import", "-", stdin=text, check=False)
    assert done.returncode == 2
    assert "18 activities imported" in done.stderr
    assert len((installation.directory / "stdin.rejected.ndjson").read_text().splitlines()) == 2
    last = json.dumps(publish_request(id="without a line break"))
    assert "1 activities imported" in installation.cli("import", "-", stdin=last).stderr
    assert "0 activities imported" in installation.cli("import", "-", stdin="").stderr


def has_more(database: Path, count: int) -> bool:
    return len(lines_stored(database)) > count


def test_an_import_that_was_killed_goes_on_without_losing_or_doubling(
    installation: Installation, tmp_path: Path
) -> None:
    count, bad_every = 16_000, 100
    file = write_lines(tmp_path / "in.ndjson", requests(count, bad_every=bad_every))
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "backstory", "import", str(file)],
            env=installation.environment(),
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        before = len(lines_stored(installation.database))
        wait_until(partial(has_more, installation.database, before), seconds=30, what="more lines")
        process.kill()
        kills += process.wait() == -9
    assert kills >= 2, "it was killed in the middle"
    done = installation.cli("import", str(file), check=False)
    assert "Went on behind line" in done.stderr
    wanted = [f"line-{n}" for n in range(1, count + 1) if n % bad_every]
    assert sorted(lines_stored(installation.database)) == sorted(wanted)
    rejected = (tmp_path / "in.ndjson.rejected.ndjson").read_text().splitlines()
    assert [json.loads(line)["line"] for line in rejected] == list(range(bad_every, count + 1, bad_every))
    check_sound(installation.database)


def test_an_import_that_is_stopped_says_where_and_goes_on_there(
    installation: Installation, tmp_path: Path
) -> None:
    """Ctrl-C: what it is at is finished, so that the line which it names is where the next one goes on."""
    count = 16_000
    file = write_lines(tmp_path / "in.ndjson", requests(count))
    # What a shell has in its background ignores Ctrl-C, and so does what that starts: tests may be there.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "from backstory.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "import", str(file)],
        env=installation.environment(),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(partial(has_more, installation.database, 1_000), seconds=30, what="some lines")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    (stopped,) = re.findall(r"stopped behind line ([\d,]+): start it again", told)
    line = int(stopped.replace(",", ""))
    assert sorted(lines_stored(installation.database)) == sorted(f"line-{n}" for n in range(1, line + 1))
    assert 1_000 < line < count
    done = installation.cli("import", str(file))
    assert f"Went on behind line {stopped}." in done.stderr
    assert sorted(lines_stored(installation.database)) == sorted(f"line-{n}" for n in range(1, count + 1))


def test_an_import_beside_a_server(server: Installation, tmp_path: Path) -> None:
    """Viewers of the server hear of it, and it is found, though nobody publishes anything to the server itself."""
    mail, run = email(), unique("run")
    with server.client() as api:
        contact_id = publish(api, publish_request(contact={"email": mail}))["contact_id"]
        viewer = Viewer(server, contact_id)
        count = 3_500
        file = write_lines(
            tmp_path / "in.ndjson",
            [
                publish_request(name=run, object={"id": f"{run}-{n}"}, contact={"email": mail})
                for n in range(count)
            ],
        )
        done = server.cli("import", str(file))
        assert "3,500 activities imported" in done.stderr
        told = wait_until(
            lambda: [e for e in viewer.events if e.kind == "reset"] or len(viewer.events) == count
        )
        assert told
        viewer.cut()
        last = wait_until(lambda: api.get(ACTIVITIES, params={"ref": f"{run}-{count - 1}"}).json(), seconds=5)
        assert last[0]["contact_id"] == contact_id
        assert publish(api, publish_request(contact={"email": mail}))["contact_id"] == contact_id


def test_a_few_lines_beside_a_server_are_told_one_by_one(server: Installation) -> None:
    mail = email()
    with server.client() as api:
        contact_id = publish(api, publish_request(contact={"email": mail}))["contact_id"]
    viewer = Viewer(server, contact_id)
    server.cli("import", "-", stdin=json.dumps(publish_request(name="Imported", contact={"email": mail})))
    assert viewer.wait_for(1)[0].data["name"] == "Imported"
    viewer.cut()


def test_what_an_import_refuses(installation: Installation, tmp_path: Path) -> None:
    refused(installation.cli("import", "nothing.ndjson", check=False), "there is no file nothing.ndjson")
    file = write_lines(tmp_path / "in.ndjson", ["{"])
    nowhere = tmp_path / "no" / "rejected"
    refused(installation.cli("import", str(file), "--rejected", str(nowhere), check=False), "no")


# Export.


def test_an_export_makes_the_same_contact_elsewhere(installation: Installation, tmp_path: Path) -> None:
    context = b'{"b":1.10,"a":12345678901234567890,"deep":{"z":[1,[2]]},"e":1e400}'
    mail, external = email(), unique("ext")
    server = installation.start()
    with server.client() as api:
        first = publish(api, publish_request(id="one", timestamp="2020-01-01", contact={"email": mail}))
        body = b'{"activity":{"name":"two","timestamp":"2021-01-01T00:00:00.000001Z","actor":{"type":"t","name":"N"},'
        body += b'"source":{"name":"s","id":"1"},"link":"https://example.com","description":"\\u00fc",'
        body += b'"object":{"type":"o","id":"7"},"context":%s},"contact":{"email":"%s","is_actor":false}}'
        api.post(ACTIVITIES, content=body % (context, mail.encode())).raise_for_status()
        number = first["contact_id"]
        by_number = {"id": number, "unique_external_id": external}
        publish(api, publish_request(name="three", timestamp="2022-01-01", contact=by_number))
        publish(api, publish_request(name="four", timestamp="2023-01-01", contact={"id": number}))
        gone = publish(api, publish_request(name="gone", timestamp="2024-01-01", contact={"email": mail}))
        api.delete(f"{ACTIVITIES}/{gone['id']}")
        before = api.get(f"/api/v2/contacts/{number}/activities").json()
        done = server.cli("export", "--contact", str(number))
        assert "4 activities" in done.stderr
        audit = api.get("/api/v2/audit-log").json()
    assert ("contact.export", f"contact:{number}") in {(e["action"], e["target"]) for e in audit}
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["activity"]["name"] for line in lines] == ["Transaction failed", "two", "three", "four"]

    (tmp_path / "new").mkdir()
    new = Installation(tmp_path / "new")
    with new.start().client() as api:  # there, the number belongs to somebody else, or to nobody
        for _ in range(number + 3):
            publish(api, publish_request(name="theirs", contact={"email": email()}))
        imported = new.cli("import", "-", stdin=done.stdout, check=False)
        assert "4 activities imported" in imported.stderr, (imported.stderr, done.stdout)
        found = publish(api, publish_request(id="one", contact={"email": mail}))
        assert found["duplicate"] is True
        after = api.get(f"/api/v2/contacts/{found['contact_id']}/activities")
        contact = api.get(f"/api/v2/contacts/{found['contact_id']}").json()
    new.kill()
    assert contact["email"] == mail
    assert contact["unique_external_id"] == external
    changed = {"id", "contact_id", "received_at"}
    strip = [
        [{k: v for k, v in each.items() if k not in changed} for each in side]
        for side in (before, after.json())
    ]
    assert strip[0] == strip[1]
    assert context in after.content


def test_an_export_has_the_whole_timeline_without_our_own_notes(
    installation: Installation, tmp_path: Path
) -> None:
    one, two = email(), email()
    with installation.start().client() as api:
        old = publish(api, publish_request(name="old", timestamp="2020-01-01", contact={"email": one}))
        new = publish(api, publish_request(name="new", timestamp="2021-01-01", contact={"email": two}))
        ticket = {"subject": "Help", "description": "please", "email": two, "status": 2, "priority": 1}
        api.post("/api/v2/tickets", json=ticket).raise_for_status()
        kept, gone = new["contact_id"], old["contact_id"]
        merged(api, kept, gone)
        assert len(api.get(f"/api/v2/contacts/{kept}/activities").json()) > 2, "the ticket is there too"
        exports = [installation.cli("export", "--contact", str(number)) for number in (kept, gone)]
    assert exports[0].stdout == exports[1].stdout
    assert "2 activities" in exports[0].stderr
    lines = [json.loads(line) for line in exports[0].stdout.splitlines()]
    assert [line["activity"]["name"] for line in lines] == ["old", "new"]
    (tmp_path / "new").mkdir()
    imported = Installation(tmp_path / "new").cli("import", "-", stdin=exports[0].stdout, check=False)
    assert imported.returncode == 0, imported.stderr


def test_what_an_export_refuses(installation: Installation) -> None:
    refused(installation.cli("export", "--contact", "7", check=False), "there is no contact 7")
    for wrong in ("0", "x", str(2**63)):
        assert run_here("export", "--contact", wrong).returncode == 2


@pytest.mark.slow
def test_importing_needs_bounded_memory(installation: Installation, tmp_path: Path) -> None:
    """The lines are read as they come: 60 MB in, far less resident."""
    wide = {"text": "x" * 3_000}
    file = write_lines(
        tmp_path / "in.ndjson",
        (publish_request(context=wide, contact={"email": f"{n % 100}@example.com"}) for n in range(20_000)),
    )
    assert peak_megabytes(installation, "import", str(file)) < 250


@pytest.mark.slow
def test_exporting_needs_bounded_memory(installation: Installation, tmp_path: Path) -> None:
    """A page at a time, however long the timeline is: 150 MB out, far less resident."""
    wide = {"text": "x" * 10_000}
    lines = (publish_request(context=wide, contact={"email": "one@example.com"}) for _ in range(15_000))
    installation.cli("import", str(write_lines(tmp_path / "in.ndjson", lines)))
    ((contact,),) = installation.sql("SELECT id FROM contacts WHERE email = 'one@example.com'")
    assert peak_megabytes(installation, "export", "--contact", str(contact)) < 180


def peak_megabytes(installation: Installation, *arguments: str) -> int:
    """The largest that a command became. Its standard output is thrown away."""
    # Not getrusage: what it tells of a process begins with the size of the one that started it.
    program = (
        "import pathlib, sys; from backstory.cli import main\n"
        "try: main()\n"
        "finally: print(pathlib.Path('/proc/self/status').read_text(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=installation.environment(),
        cwd=installation.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    (peak,) = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("VmHWM")]
    return int(peak) // 1024
