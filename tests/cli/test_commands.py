"""The commands an operator meets first: help, settings, agents, keys, migrate."""

from __future__ import annotations

import os
import pty
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import httpx
import pytest
import structlog
from click.testing import CliRunner

from backstory.cli import main
from backstory.config import SETTINGS
from tests.support import PASSWORD, Installation, wait_until
from tests.ui.pages import Visitor


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [((*path, name), command) for name, command in group.commands.items()]
    return found + [
        below
        for names, command in found
        if isinstance(command, click.Group)
        for below in commands(command, names)
    ]


COMMANDS = commands(main)


def run(
    folder: Path, *arguments: str, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command line in a folder, with no settings but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTORY_")}
    return subprocess.run(
        [sys.executable, "-m", "backstory", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={**kept, "COLUMNS": "200", **environment},
    )


def run_here(
    *arguments: str, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The same within this process: what is refused before anything is served need not wait for a new one."""
    unset = {name: None for name in os.environ if name.startswith("BACKSTORY_")}
    done = CliRunner().invoke(main, arguments, input=stdin, env={**unset, "COLUMNS": "200", **environment})
    structlog.reset_defaults()  # its logs went to the runner's streams
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def here(
    installation: Installation, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """`run_here` on an installation."""
    return run_here(
        *arguments,
        stdin=stdin,
        BACKSTORY_DATABASE=installation.database_url,
        BACKSTORY_ACTIVITY_LOG=installation.activity_log,
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It ended with one clear message."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("Error: "), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert done.stdout == ""


def test_these_are_the_commands() -> None:
    assert {" ".join(names) for names, _ in COMMANDS} >= {
        "serve",
        "migrate",
        "doctor",
        "agents create",
        "agents list",
        "agents deactivate",
        "agents reactivate",
        "agents password",
        "keys create",
        "keys list",
        "keys revoke",
        "backup",
        "restore",
        "import",
        "export",
        "demo",
    }


@pytest.mark.parametrize(("names", "command"), COMMANDS, ids=[" ".join(names) for names, _ in COMMANDS])
def test_every_command_and_option_has_help(names: tuple[str, ...], command: click.Command) -> None:
    context = click.Context(command, info_name=names[-1], help_option_names=["-h", "--help"])
    text = command.get_help(context)
    assert command.help, "it says what it does"
    assert "\\b" not in text
    speak_for_themselves = ("role", "contact_id", "directory")
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help and each.name not in speak_for_themselves] == []


@pytest.mark.parametrize("group", [(), *(names for names, each in COMMANDS if isinstance(each, click.Group))])
def test_a_list_of_commands_cuts_nothing_off(group: tuple[str, ...]) -> None:
    assert "..." not in run_here(*group, "--help").stdout.partition("Commands:")[2]


def test_help_teaches_a_first_start(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert any(line.startswith("backstory serve") for line in lines), "each command of it on its own line"
    assert any(line.startswith("backstory keys create") for line in lines)
    assert "\\b" not in done.stdout
    assert run(tmp_path, "-h").stdout == done.stdout
    assert "backstory keys create --source shopify" in run(tmp_path, "keys", "create", "-h").stdout
    assert re.search(r"\d+\.\d+\.\d+", run(tmp_path, "--version").stdout)
    assert list(tmp_path.iterdir()) == [], "asking for help makes nothing"


# Settings.


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("BACKSTORY_PORT", "80a", "a number from 0 to 65535"),
        ("BACKSTORY_PORT", "65536", "a number from 0 to 65535"),
        ("BACKSTORY_PORT", "", "a number from 0 to 65535"),
        ("BACKSTORY_PORT", "9" * 5000, "a number from 0 to 65535"),
        ("BACKSTORY_DATABASE", "postgres://x", "postgresql://USER"),
        ("BACKSTORY_DATABASE", "sqlite:///", "sqlite:///FILE"),
        ("BACKSTORY_DATABASE", "sqlite:////", "the path of a file; this is a folder"),
        ("BACKSTORY_HOST", "", "an address to listen on"),
        ("BACKSTORY_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("BACKSTORY_LOG_FORMAT", "xml", "one of auto, json, text"),
        ("BACKSTORY_LOG_REQUESTS", "some", "one of all, faults, none"),
        ("BACKSTORY_METRICS_ADDRESS", "9000", "HOST:PORT"),
        ("BACKSTORY_SMTP_PORT", "smtp", "a number from 0 to 65535"),
        ("BACKSTORY_SMTP_TLS", "maybe", "one of starttls, tls, none"),
        ("BACKSTORY_RATE_LIMIT", "-1", "a number from 0 to 999999999"),
        ("BACKSTORY_ACTIVITY_LOG", "mongodb://x", "cassandra://USER:PASSWORD@HOST"),
        ("BACKSTORY_SUPPORT_FORM", "perhaps", "one of on, off"),
        ("BACKSTORY_PHONE_REGION", "Atlantis", "a two-letter country code"),
        ("BACKSTORY_FORWARDED_ALLOW_IPS", "my-proxy", "addresses or networks"),
        ("BACKSTORY_FORWARDED_ALLOW_IPS", "127.0.0.1, 10.0.0.0/40", "addresses or networks"),
        ("BACKSTORY_FORWARDED_ALLOW_IPS", "*, 127.0.0.1", "addresses or networks"),
        ("BACKSTORY_COLOUR", "blue", "there is no setting"),
    ],
)
def test_a_wrong_setting_is_named_at_start(variable: str, value: str, words: str) -> None:
    refused(run_here("serve", **{variable: value}), variable, words)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BACKSTORY_DATABASE", "postgresql//backstory:SECRET@db.example.com/backstory"),
        ("BACKSTORY_DATABASE", "postgresql:/backstory:SECRET@db.example.com/backstory"),
        ("BACKSTORY_DATABASE", "backstory:SECRET@db.example.com/backstory"),
        ("BACKSTORY_DATABASE", "postgresql://backstory:at@SECRET@db.example.com/backstory"),
        ("BACKSTORY_ACTIVITY_LOG", "cassandra//backstory:SECRET@c1.example.com/backstory"),
    ],
)
def test_a_mistyped_url_does_not_show_its_password(variable: str, value: str) -> None:
    done = run_here("migrate", **{variable: value})
    assert "SECRET" not in done.stdout + done.stderr
    refused(done, variable, "://USER:PASSWORD@HOST")


@pytest.mark.parametrize("value", ["", " ", "support", "Support <support>", "a@b.example, c"])
def test_from_which_addresses_mail_comes_is_needed_with_a_server(value: str) -> None:
    settings = {"BACKSTORY_SMTP_HOST": "localhost", "BACKSTORY_SMTP_FROM": value}
    refused(run_here("serve", **settings), "BACKSTORY_SMTP_FROM", "at least one email address")


def test_an_attachments_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = run(tmp_path, "serve", BACKSTORY_ATTACHMENTS=str(file), BACKSTORY_PORT="0")
    refused(done, str(file), "is a file")


def test_an_option_wins_over_the_environment() -> None:
    refused(run_here("serve", "--port", "x", BACKSTORY_PORT="8000"), "(BACKSTORY_PORT) is 'x'")


def test_every_setting_is_tried_by_the_tests_above() -> None:
    tried = {
        "host",
        "port",
        "database",
        "log_level",
        "log_format",
        "log_requests",
        "metrics_address",
        "phone_region",
    }
    tried |= {"activity_log", "rate_limit", "smtp_port", "smtp_tls", "smtp_from", "support_form"}
    tried |= {"forwarded_allow_ips"}
    free = {"attachments", "smtp_host", "smtp_user", "smtp_password"}
    assert set(SETTINGS) - tried == free


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    for arguments in (("serve",), ("migrate",), ("keys", "list")):
        done = run(tmp_path, *arguments, BACKSTORY_DATABASE="sqlite:///nowhere/b.db")
        refused(done, "nowhere", "does not exist")


def test_a_host_that_cannot_be_listened_on_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--host", "192.0.2.1", "--port", "0")
    assert done.returncode != 0
    assert "192.0.2.1" in done.stderr
    assert "Traceback" not in done.stderr


# Agents and keys.


def test_from_nothing_to_a_key_that_works(tmp_path: Path) -> None:
    made = run(
        tmp_path,
        *(
            "agents",
            "create",
            "rachel@example.com",
            "--name",
            "Rachel",
            "--role",
            "admin",
            "--password-stdin",
        ),
        stdin=f"{PASSWORD}\n",
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "backstory.db").stat().st_mode & 0o777 == 0o600
    key = run(tmp_path, "keys", "create", "--agent", "Rachel@Example.com")
    assert re.fullmatch(r"bs_[0-9a-f]{48}\n", key.stdout), "the key, alone, on standard output"


@pytest.mark.parametrize(
    ("arguments", "password", "words"),
    [
        (("nobody", "--name", "N"), PASSWORD, "'nobody' is not an email address"),
        (("a@example.com", "--name", " "), PASSWORD, "needs a name"),
        (("a@example.com", "--name", "A"), "short", "at least 8 characters"),
        (("ADMIN@example.com", "--name", "A"), PASSWORD, "there is an agent with the email"),
    ],
)
def test_agents_that_cannot_be(
    installation: Installation, arguments: tuple[str, ...], password: str, words: str
) -> None:
    done = here(installation, "agents", "create", *arguments, "--password-stdin", stdin=password)
    refused(done, words)
    assert password not in done.stderr


def test_agents_are_listed_with_who_was_let_go(installation: Installation) -> None:
    lines = here(installation, "agents", "list").stdout.splitlines()
    assert len(lines) == 1 + 2
    assert lines[1].split()[2:] == ["admin@example.com", "admin", "active", "never"]
    assert here(installation, "agents", "deactivate", "Agent@example.com").returncode == 0
    lines = here(installation, "agents", "list").stdout.splitlines()
    assert lines[2].split()[2:] == ["agent@example.com", "agent", "deactivated", "never"]


def test_an_agent_is_let_go_and_comes_back(server: Installation) -> None:
    """At once, in the server that is running: the keys of whoever is let go stop working."""

    def answers(status: int) -> bool:
        with server.client(server.agent_key) as client:
            return client.get("/api/v2/agents/me").status_code == status

    assert answers(200)
    done = here(server, "agents", "deactivate", "agent@example.com")
    assert "agent@example.com was let go" in done.stderr
    wait_until(lambda: answers(401), what="the end of the key")
    assert here(server, "agents", "reactivate", "agent@example.com").returncode == 0
    wait_until(lambda: answers(200), what="the key's being in force again")


def test_the_only_admin_is_not_let_go(installation: Installation) -> None:
    refused(here(installation, "agents", "deactivate", "admin@example.com"), "Admin is the only admin")
    assert "deactivated" not in here(installation, "agents", "list").stdout


def test_a_lost_password_is_replaced(installation: Installation) -> None:
    done = here(
        installation, "agents", "password", "admin@example.com", "--password-stdin", stdin="a new one\n"
    )
    assert done.returncode == 0, done.stderr
    installation.start()
    with Visitor(installation) as visitor:
        assert visitor.sign_in(email="admin@example.com").status_code == 401
        assert visitor.sign_in(email="admin@example.com", password="a new one").status_code == 303


def test_what_cannot_be_changed_of_agents(installation: Installation) -> None:
    for command in ("deactivate", "reactivate", "password"):
        more = ("--password-stdin",) if command == "password" else ()
        done = here(installation, "agents", command, "nobody@example.com", *more, stdin=PASSWORD)
        refused(done, "there is no agent with the email nobody@example.com", "agents list")
    done = here(installation, "agents", "password", "admin@example.com", "--password-stdin", stdin="short")
    refused(done, "8 to 1,024 characters")


def test_the_password_is_asked_for_unseen(tmp_path: Path) -> None:
    """On a terminal: asked twice, never shown."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "backstory", "agents", "create", "a@example.com", "--name", "A"]
    with (
        os.fdopen(ours, "r+b", buffering=0) as terminal,
        subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, start_new_session=True
        ) as process,
    ):
        os.close(theirs)
        shown = b""
        for question in (b"Password: ", b"Repeat for confirmation: "):
            while not shown.endswith(question):
                shown += terminal.read(1)
            terminal.write(f"{PASSWORD}\n".encode())
        assert process.wait(timeout=30) == 0
    assert PASSWORD.encode() not in shown


def test_keys_that_cannot_be(installation: Installation) -> None:
    for arguments, words in (
        ((), "belongs to an agent (--agent) or to an application (--source)"),
        (("--agent", "admin@example.com", "--source", "x"), "to one of the two"),
        (("--agent", "nobody@example.com"), "there is no agent with the email nobody@example.com"),
        (("--source", "Backstory"), "cannot be the source name"),
        (("--source", " "), "cannot be the source name"),
    ):
        done = here(installation, "keys", "create", *arguments)
        refused(done, words)
    assert run_here("keys", "create", "--source", "x", "--expires", "0").returncode == 2


def test_keys_are_listed_without_the_key(installation: Installation) -> None:
    keys = [
        here(installation, "keys", "create", *arguments).stdout.strip()
        for arguments in (
            ("--agent", "agent@example.com"),
            ("--source", "shop[eu]", "--source", "till", "--expires", "30"),
        )
    ]
    listed = here(installation, "keys", "list").stdout
    for key in keys:
        assert key not in listed
        assert key[-4:] in listed
    lines = listed.splitlines()
    assert len(lines) == 1 + 3 + 2
    assert "agent@example.com" in lines[4]
    assert "in force" in lines[4]
    assert "never" in lines[4]
    assert "shop[eu], till" in lines[5]
    number = lines[5].split()[0]
    assert here(installation, "keys", "revoke", number).returncode == 0
    assert "revoked" in here(installation, "keys", "list").stdout.splitlines()[5]
    refused(here(installation, "keys", "revoke", number), f"there is no key {number} in force")
    refused(here(installation, "keys", "revoke", "999"), "there is no key 999")


def test_a_key_ends_by_itself(installation: Installation) -> None:
    key = here(
        installation, "keys", "create", "--agent", "agent@example.com", "--expires", "1"
    ).stdout.strip()
    installation.start()
    with installation.client(key) as client:
        assert client.get("/api/v2/contact-activities").status_code == 200
    installation.stop()
    with closing(sqlite3.connect(installation.database)) as connection:
        day = 24 * 3600 * 1_000_000
        (left,) = connection.execute("SELECT max(expires_at) - max(created_at) FROM api_keys").fetchone()
        assert abs(left - day) < 60_000_000
        connection.execute(
            "UPDATE api_keys SET expires_at = expires_at - ? WHERE expires_at IS NOT NULL", (day,)
        )
        connection.commit()
    assert "expired" in here(installation, "keys", "list").stdout
    installation.start()
    with installation.client(key) as client:
        assert client.get("/api/v2/contact-activities").status_code == 401


def test_everything_done_here_is_audited(installation: Installation) -> None:
    here(
        installation,
        "agents",
        "create",
        "new@example.com",
        "--name",
        "New",
        "--password-stdin",
        stdin=PASSWORD,
    )
    here(installation, "keys", "create", "--source", "x")
    here(installation, "keys", "revoke", "1")
    here(installation, "agents", "password", "new@example.com", "--password-stdin", stdin=PASSWORD)
    here(installation, "agents", "deactivate", "new@example.com")
    here(installation, "agents", "reactivate", "new@example.com")
    with closing(sqlite3.connect(installation.database)) as connection:
        rows = connection.execute(
            "SELECT actor, action, target, origin FROM audit_log WHERE actor != 'test' ORDER BY id"
        ).fetchall()
    assert [(action, target) for _, action, target, _ in rows] == [
        ("agent.create", "agent:3"),
        ("key.create", "key:4"),
        ("key.revoke", "key:1"),
        ("agent.update", "agent:3"),
        ("agent.deactivate", "agent:3"),
        ("agent.reactivate", "agent:3"),
    ]
    assert {origin for *_, origin in rows} == {"command line"}
    assert all(actor.startswith("os:") for actor, *_ in rows)


# Migrate.


def test_migrate_makes_and_keeps(tmp_path: Path) -> None:
    for _ in range(2):
        done = run(tmp_path, "migrate")
        assert done.returncode == 0
        assert "is up to date" in done.stderr
    with closing(sqlite3.connect(tmp_path / "backstory.db")) as connection:
        assert connection.execute("SELECT count(*) FROM contacts").fetchone() == (0,)


def test_migrate_refuses_what_is_newer(installation: Installation) -> None:
    with closing(sqlite3.connect(installation.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    refused(here(installation, "migrate"), "newer than this program")


def test_the_commands_work_beside_a_server(server: Installation) -> None:
    for arguments in (("migrate",), ("keys", "list"), ("doctor",)):
        assert server.cli(*arguments).returncode == 0, arguments
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_serve_listens_where_it_is_told(installation: Installation) -> None:
    installation.start(BACKSTORY_HOST="::1")
    assert installation.url.startswith("http://[::1]:")
