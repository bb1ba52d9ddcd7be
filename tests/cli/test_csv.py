"""`backstory contacts import|export` and `companies import|export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import Installation

GOOD = 'name,email,company\n"Green, Rachel",rachel@example.com,Central Perk\nRoss,ross@example.com,\n'


def test_contacts_are_imported_and_exported(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text(GOOD)
    done = installation.cli("contacts", "import", str(file))
    assert "2 rows are new, 0 changed what was there." in done.stderr
    again = installation.cli("contacts", "import", str(file))
    assert "0 rows are new, 2 changed what was there." in again.stderr
    exported = installation.cli("contacts", "export").stdout
    assert [line.split(",")[1:3] for line in exported.splitlines()[2:]] == [["Ross", "ross@example.com"]]
    copy = tmp_path / "copy.csv"
    copy.write_text(exported)
    assert "0 rows are new, 2 changed" in installation.cli("contacts", "import", str(copy)).stderr
    companies = installation.cli("companies", "export").stdout
    assert companies.splitlines()[1].split(",")[1] == "Central Perk"
    copy.write_text(companies)
    assert "0 rows are new, 1 changed" in installation.cli("companies", "import", str(copy)).stderr


def test_refused_rows_go_into_a_file_of_the_owners(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text(f"{GOOD}Joey,nobody,\n")
    done = installation.cli("contacts", "import", str(file), check=False)
    assert done.returncode == 2
    rejected = Path(f"{file}.rejected.ndjson")
    assert f"1 rows were refused; they are in {rejected}" in done.stderr.replace("\n", "")
    assert rejected.stat().st_mode & 0o777 == 0o600
    (refusal,) = map(json.loads, rejected.read_text().splitlines())
    assert (refusal["line"], refusal["errors"][0]["field"], refusal["errors"][0]["code"]) == (
        4,
        "email",
        "invalid_value",
    )


@pytest.mark.parametrize("content", [b"colour\nred\n", b"", b"name\n\xff\n"])
def test_what_is_no_file_of_contacts_is_one_line(
    installation: Installation, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "contacts.csv"
    file.write_bytes(content)
    done = installation.cli("contacts", "import", str(file), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {file} cannot be imported")
    assert "Traceback" not in done.stderr
