"""The command line: what an operator does. `backstory --help` teaches; every command has a --help of its own."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from backstory import __version__
from backstory.config import SETTINGS, PostgresUrl, Settings, read_settings
from backstory.errors import BackstoryError, FieldErrors, OperatorError
from backstory.model.access import AuditEntry, Role
from backstory.model.moment import format_moment, now
from backstory.observe import configure_logs, is_for_people
from backstory.store.base import Records, Store
from backstory.store.sqlite_database import Ownership

T = TypeVar("T")
DAY = 24 * 3600 * 1_000_000
STILL_SERVED = 3
"""The exit code of a copy that has caught up, and is not finished."""

console = Console(stderr=True)


class _Commands(click.Group):
    """Turns what an operator can mend into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BackstoryError as error:
            raise click.ClickException(str(error)) from error
        except PermissionError as error:
            advice = "run this as the user of the server, or change its owner or mode"
            raise click.ClickException(f"{error.filename} is closed to this user: {advice}") from error


def _database_option(function: Callable[..., Any]) -> Callable[..., Any]:
    setting = SETTINGS["database"]
    return click.option(
        "--database", metavar="URL", help=f"{setting.meaning} [{setting.variable}; default {setting.default}]"
    )(function)


def _entry(action: str, target: str, **details: Any) -> AuditEntry:
    """An entry of the audit log for something done on this machine's command line."""
    return AuditEntry(now(), f"os:{getpass.getuser()}", action, target, "command line", details)


def with_store(
    settings: Settings, work: Callable[[Store], Awaitable[T]], ownership: Ownership = Ownership.NEVER
) -> T:
    """Run `work` on the opened storage, and close it."""
    from backstory.app import open_store

    async def main() -> T:
        store = open_store(settings, ownership)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())


@contextmanager
def progress_bar(
    title: str, total: float | None, *, stays: bool = True
) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on standard error; yields a function that takes how far it is, and a note.

    Unless it `stays` it is gone in the end.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=not stays) as progress:
        task = progress.add_task(title, total=total, note="")
        yield lambda done, note: progress.update(task, completed=done, note=note)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="backstory")
def main() -> None:
    """Backstory: what your customers did, beside the ticket.

    \b
    A first start:
      backstory serve                                              # http://127.0.0.1:8000, on ./backstory.db
    And beside it, in the same folder:
      backstory agents create you@example.com --name You --role admin
      backstory keys create --agent you@example.com                # prints a key, once

    Settings are options here, or BACKSTORY_... variables of the environment (docs/settings.md).
    """  # noqa: D301 - click wants the character \b itself
    configure_logs("warning", human=True)


@main.command()
@click.option("--host", help=f"{SETTINGS['host'].meaning} [{SETTINGS['host'].variable}]")
@click.option("--port", help=f"{SETTINGS['port'].meaning} [{SETTINGS['port'].variable}]")
@_database_option
@click.option("--log-level", help=f"{SETTINGS['log_level'].meaning} [{SETTINGS['log_level'].variable}]")
@click.option("--log-format", help=f"{SETTINGS['log_format'].meaning} [{SETTINGS['log_format'].variable}]")
@click.option(
    "--log-requests", help=f"{SETTINGS['log_requests'].meaning} [{SETTINGS['log_requests'].variable}]"
)
def serve(**options: Any) -> None:
    """Serve the API until told to stop (Ctrl-C, SIGTERM).

    The schema is brought up to date first. One SQLite file serves one server: a second one is refused.
    On SIGTERM new work is refused, what was taken is committed, live streams are closed, then the storage.
    """
    from backstory.app import serve as run_server

    settings = read_settings(**options)
    configure_logs(settings.log_level, human=is_for_people(settings.log_format))
    run_server(settings)


@main.command()
@_database_option
def migrate(database: str | None) -> None:
    """Bring the database's schema up to date.

    'backstory serve' does it by itself.
    """
    settings = read_settings(database=database)

    async def work(store: Store) -> None:
        await store.ready()

    with_store(settings, work, Ownership.IF_FREE)
    click.echo(f"{settings.database} is up to date.", err=True)


@main.command()
@_database_option
def compact(database: str | None) -> None:
    """Give back to the disk what an SQLite file no longer needs. Stop the server first.

    Space that was freed is used again by itself; this is for a file that will not grow into it soon, as after an
    upgrade or a large deletion ('backstory doctor' says how much that is). It takes a minute for some gigabytes, and
    twice what is kept of free disk meanwhile. Cut off at any moment, the file is as it was.
    """
    from backstory.compact import compact as run_compact

    target = read_settings(database=database).database
    if isinstance(target, PostgresUrl):
        raise OperatorError(
            "PostgreSQL does it by itself (autovacuum); VACUUM FULL gives space back to the disk"
        )
    with progress_bar("Compacting", None) as show:
        before, after = run_compact(target, show)
    click.echo(f"{target}: {before:,} bytes before, {after:,} now.", err=True)


@main.command()
@click.option("--quick", is_flag=True, help="Do not read a whole SQLite file for damage.")
@_database_option
def doctor(quick: bool, database: str | None) -> None:
    """Check the installation, and say what to do.

    Looks at settings, storage, disk, clock and versions. Exits with 1 where something needs mending. It may run
    beside a server. An SQLite file is read whole to find damage, which takes minutes where it has many gigabytes;
    Ctrl-C ends it, and changes nothing.
    """
    from backstory.doctor import bytes_to_read, examine

    settings = read_settings(database=database)
    with progress_bar("Examining", bytes_to_read(settings), stays=False) as show:
        findings = examine(settings, show, quick=quick)
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "bad": "[red]bad[/]"}
    table = Table("", "what", "finding", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(marks[finding.state], finding.what, escape(finding.text))
    Console().print(table)
    if any(finding.state == "bad" for finding in findings):
        raise SystemExit(1)


@main.group()
def agents() -> None:
    """People who work with the contacts.

    \b
      backstory agents list                                # who works here, and who was let go
      backstory agents password you@example.com            # the way in again for an admin who forgot theirs
      backstory agents deactivate gone@example.com         # out at once: sessions, keys and all
    """  # noqa: D301 - click wants the character \b itself


_password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input instead of asking."
)


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@agents.command("create")
@click.argument("email")
@click.option("--name", required=True, help="The agent's name, as others see it.")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.AGENT.value, show_default=True
)
@_password_option
@_database_option
def create_agent(email: str, name: str, role: str, password_stdin: bool, database: str | None) -> None:
    """Create an agent. The password is asked for, never given as an argument."""
    from backstory.helpdesk.access import create_agent

    password = _read_password(password_stdin)

    async def work(store: Store) -> int:
        entry = _entry("agent.create", "agent", role=role)
        return (await create_agent(store.records, email, name, Role(role), password, entry)).id

    click.echo(f"Agent {with_store(read_settings(database=database), work)} created.", err=True)


@agents.command("list")
@_database_option
def list_agents(database: str | None) -> None:
    """List who works here, and who was let go.

    Each with number, name, email, role, state, and the day on which they were last active.
    """
    from backstory.helpdesk.staff import list_staff

    table = Table("id", "name", "email", "role", "state", "last active", box=None, pad_edge=False)
    for each in with_store(read_settings(database=database), lambda store: list_staff(store.records)):
        state = "deactivated" if each.deactivated_at else "active" if each.has_password else "no password"
        seen = format_moment(each.last_active_at)[:10] if each.last_active_at else "never"
        table.add_row(str(each.id), escape(each.name), escape(each.email), each.role.value, state, seen)
    Console().print(table)


@agents.command("deactivate")
@click.argument("email")
@_database_option
def deactivate_agent(email: str, database: str | None) -> None:
    """Let an agent go.

    Within a second they are signed out everywhere, and their keys work no more. What they did stays, and 'agents
    reactivate' has them back. The only admin cannot be let go.
    """
    from backstory.helpdesk.staff import set_active

    entry = _entry("agent.deactivate", "agent")
    _change_agent(email, database, lambda records, number: set_active(records, number, False, entry))
    click.echo(f"{email} was let go.", err=True)


@agents.command("reactivate")
@click.argument("email")
@_database_option
def reactivate_agent(email: str, database: str | None) -> None:
    """Have back an agent who was let go.

    They sign in with the password they had, and their keys work again.
    """
    from backstory.helpdesk.staff import set_active

    entry = _entry("agent.reactivate", "agent")
    _change_agent(email, database, lambda records, number: set_active(records, number, True, entry))
    click.echo(f"{email} can sign in again.", err=True)


@agents.command("password")
@click.argument("email")
@_password_option
@_database_option
def set_agent_password(email: str, password_stdin: bool, database: str | None) -> None:
    """Give an agent another password.

    For whoever forgot theirs, the last admin too. It is asked for, never given as an argument. Whoever is signed in
    with the old one is signed out.
    """
    from backstory.helpdesk.staff import set_password

    password, entry = _read_password(password_stdin), _entry("agent.update", "agent")
    _change_agent(email, database, lambda records, number: set_password(records, number, password, entry))
    click.echo(f"{email} has another password.", err=True)


def _change_agent(
    email: str, database: str | None, change: Callable[[Records, int], Awaitable[None]]
) -> None:
    from backstory.helpdesk.staff import colleague_id

    async def work(store: Store) -> None:
        await change(store.records, await colleague_id(store.records, email))

    try:
        with_store(read_settings(database=database), work)
    except FieldErrors as error:  # the options have other names than the fields
        raise OperatorError(" ".join(fault.message for fault in error.faults)) from error


@main.group()
def keys() -> None:
    """API keys: of agents, and of applications that publish."""


@keys.command("create")
@click.option("--agent", metavar="EMAIL", help="The agent whose rights the key has.")
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="A source name to publish under; repeatable."
)
@click.option(
    "--expires", type=click.IntRange(1, 36500), metavar="DAYS", help="After how many days it ends by itself."
)
@_database_option
def create_key(
    agent: str | None, sources: tuple[str, ...], expires: int | None, database: str | None
) -> None:
    """Issue a key and print it.

    Alone, on standard output. It is shown this once.

    \b
      backstory keys create --agent you@example.com        # everything that this agent may
      backstory keys create --source shopify               # may only publish, and only as shopify
    """  # noqa: D301 - click wants the character \b itself
    from backstory.helpdesk.access import create_key

    async def work(store: Store) -> str:
        ends = now() + expires * DAY if expires else None
        entry = _entry("key.create", "key", sources=list(sources), expires=bool(expires))
        return await create_key(store.records, agent_email=agent, sources=sources, expires=ends, entry=entry)

    click.echo(with_store(read_settings(database=database), work))


@keys.command("list")
@_database_option
def list_keys(database: str | None) -> None:
    """List every key ever issued.

    Never the key itself, only its last four characters.
    """

    async def work(store: Store) -> Any:
        return await store.records.keys()

    table = Table("id", "key", "belongs to", "created", "expires", "state", box=None, pad_edge=False)
    for key in with_store(read_settings(database=database), work):
        expired = key.expires_at is not None and key.expires_at <= now()
        state = "revoked" if key.revoked_at else "expired" if expired else "in force"
        owner = escape(key.agent or f"sources {', '.join(key.sources)}")
        expires = format_moment(key.expires_at)[:10] if key.expires_at else "never"
        table.add_row(str(key.id), key.hint, owner, format_moment(key.created_at)[:10], expires, state)
    Console().print(table)


@keys.command("revoke")
@click.argument("key_id", type=int, metavar="ID")
@_database_option
def revoke_key(key_id: int, database: str | None) -> None:
    """End a key.

    Within a second, also in a server that is running.
    """

    async def work(store: Store) -> bool:
        return await store.records.revoke_key(key_id, _entry("key.revoke", f"key:{key_id}"))

    if not with_store(read_settings(database=database), work):
        raise OperatorError(f"there is no key {key_id} in force; 'backstory keys list' shows them")
    click.echo(f"Key {key_id} is revoked.", err=True)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_database_option
def backup(file: Path, database: str | None) -> None:
    """Copy the database into FILE.

    Consistent, also while it is being served. The copy is verified and only then given its name. Of PostgreSQL it
    is a dump, made with its pg_dump. The attachments' folder is copied by other means, after it.

    \b
      backstory backup backstory-monday.db
    """  # noqa: D301 - click wants the character \b itself
    from backstory import backup as sqlite_backup
    from backstory import postgres_backup

    settings = read_settings(database=database)
    source = settings.database
    if isinstance(source, PostgresUrl):
        with progress_bar("Backing up", None) as show:
            size = postgres_backup.back_up(source, file, show)
    else:
        with progress_bar("Backing up", source.stat().st_size if source.exists() else None) as show:
            size = sqlite_backup.back_up(source, file, show)
    click.echo(f"{file}: {size:,} bytes, verified.", err=True)
    if settings.attachments.is_dir():
        click.echo(f"The attachments are not in it: copy the folder {settings.attachments} now.", err=True)
    if settings.activity_log is not None:
        click.echo(
            f"The activity log is not in it: back up {settings.activity_log} with its own tools.", err=True
        )


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_database_option
def restore(file: Path, database: str | None) -> None:
    """Put a backup in the place of the database. Stop the server first.

    The backup is verified before anything is touched. An SQLite file that was there is kept beside the new one; what
    was in a PostgreSQL database is replaced. Contact ids that were issued after the backup are not issued again.
    """
    from backstory import backup as sqlite_backup
    from backstory import postgres_backup

    settings = read_settings(database=database)
    target = settings.database
    with progress_bar("Restoring", file.stat().st_size) as show:
        if isinstance(target, PostgresUrl):
            report = postgres_backup.restore_from(file, target, show)
        else:
            report = sqlite_backup.restore_from(file, target, show)
    click.echo(report, err=True)
    if settings.activity_log is not None:
        click.echo(
            f"The activity log is not in it: restore {settings.activity_log} with its own tools, and give it a new"
            " generation, before a server starts (docs/engines.md).",
            err=True,
        )


@main.command()
@click.option(
    "--after",
    type=click.IntRange(0, 2**62),
    metavar="ID",
    help="The highest contact id that was ever issued.",
)
@_database_option
def settle(after: int | None, database: str | None) -> None:
    """Settle a PostgreSQL database that was restored.

    By other tools: it is made safe to serve. Run it before the first server starts. Contact ids that were issued
    after the backup are not issued again (without --after a wide gap is left), and live streams of before begin
    afresh. 'backstory restore' does it by itself.
    """
    from backstory.postgres_backup import settle

    target = read_settings(database=database).database
    if not isinstance(target, PostgresUrl):
        raise OperatorError("an SQLite file is restored with 'backstory restore', which settles it")
    click.echo(settle(target, after), err=True)


@main.command("import")
@click.argument("file", metavar="FILE.ndjson|-")
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where refused lines go. [FILE.rejected.ndjson]",
)
@click.option("--again", is_flag=True, help="Begin at the first line, even if this file was imported before.")
@_database_option
def import_command(file: str, rejected: Path | None, again: bool, database: str | None) -> None:
    """Import activities, one publish request a line.

    \b
      backstory import history.ndjson
      zcat history.ndjson.gz | backstory import - --rejected refused.ndjson

    Also while the database is being served. It can be stopped at any moment and started again: it goes on behind
    the last line that is durable. Refused lines go into a file, each with its line number and the reasons. "-"
    reads standard input, from its beginning. Exit code 2 where lines were refused: mend them in that file, and
    import it.
    """  # noqa: D301 - click wants the character \b itself
    from backstory.transfer import import_file

    settings = read_settings(database=database)
    rejected = rejected or Path(f"{'stdin' if file == '-' else file}.rejected.ndjson")

    total = Path(file).stat().st_size if Path(file).is_file() else None

    async def work(store: Store) -> Any:
        with progress_bar("Importing", total) as show:
            return await import_file(
                store, file, rejected, again=again, show=show, phone_region=settings.phone_region
            )

    if file != "-" and not Path(file).is_file():
        raise OperatorError(f"there is no file {file}")
    summary = with_store(settings, work, Ownership.IF_FREE)
    click.echo(summary.text, err=True)
    if summary.rejected:
        raise SystemExit(2)


@main.command("copy")
@click.option("--from", "source_url", metavar="URL", required=True, help="The installation to copy.")
@click.option(
    "--to", "target_url", metavar="URL", required=True, help="Where to: empty, or begun by this command."
)
@click.option("--from-log", "source_log", default="", metavar="URL", help="Its activity log: cassandra://…")
@click.option(
    "--to-log", "target_log", default="", metavar="URL", help="Where its activity log goes: cassandra://…"
)
def copy_command(source_url: str, target_url: str, source_log: str, target_log: str) -> None:
    """Copy an installation from one engine to another.

    Exactly, and it shows that both are the same:

    \b
      backstory copy --from sqlite:///backstory.db --to postgresql://backstory:SECRET@db/backstory

    The old one may be served meanwhile: stop it at the end and run this once more, for what came last. It can be
    stopped at any moment and begun again. The folder of attachments is copied by other means.

    Exit code 0: both are the same. 3: it has caught up, and the old one is still being served. 1: anything else.
    """  # noqa: D301 - click wants the character \b itself
    from backstory.copying import copy_installation

    source = read_settings(database=source_url, activity_log=source_log)
    target = read_settings(database=target_url, activity_log=target_log)
    try:
        with progress_bar("Copying", None) as show:
            sums = asyncio.run(copy_installation(source, target, show))
    except KeyboardInterrupt:
        raise OperatorError("stopped; begin it again, and it goes on where it was") from None
    if sums is None:
        click.echo(
            "Caught up, but the old one is still being served: stop it, and run this once more.", err=True
        )
        raise SystemExit(STILL_SERVED)
    table = Table("table", "rows", "checksum", "in the copy", box=None, pad_edge=False)
    for ours, theirs in sums:
        if ours.rows or theirs.rows:
            same = "the same" if ours == theirs else f"{theirs.rows:,} rows, {theirs.checksum}"
            table.add_row(ours.name, f"{ours.rows:,}", ours.checksum, same)
    Console().print(table)
    if any(ours != theirs for ours, theirs in sums):
        raise OperatorError(
            "the copy differs: run it once more, and begin with an empty target where that is no help"
        )
    click.echo("The copy is the same. Copy the folder of attachments too, then serve the new one.", err=True)


@main.command()
@click.option("--contact", "contact_id", type=click.IntRange(1, 2**63 - 1), required=True, metavar="ID")
@_database_option
def export(contact_id: int, database: str | None) -> None:
    """Write everything that a contact did.

    To standard output, one publish request a line, oldest first, with what the contacts did that were merged with it.
    The lines can be imported again; what Backstory itself notes on a timeline (tickets) cannot, and is left out. The
    export is noted in the audit log.
    """
    from backstory.transfer import export_contact

    async def work(store: Store) -> int:
        entry = _entry("contact.export", f"contact:{contact_id}")
        return await export_contact(store, contact_id, sys.stdout.buffer, entry)

    count = with_store(read_settings(database=database), work)
    click.echo(f"{count:,} activities.", err=True)


@main.group()
def contacts() -> None:
    """Contacts from and to CSV."""


@main.group()
def companies() -> None:
    """Companies from and to CSV."""


def _rejected_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--rejected",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Where refused rows go, with their lines and reasons. [FILE.rejected.ndjson]",
    )(function)


_CSV_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@contacts.command("import")
@_CSV_FILE
@_rejected_option
@_database_option
def import_contacts(file: Path, rejected: Path | None, database: str | None) -> None:
    """Import contacts from a CSV file.

    Also while the database is being served. The first line names the columns. A row changes the contact that has
    its external id, email, Facebook or Twitter id, and makes one where there is none: the same file can be imported
    again, also after it was cut off.
    """
    _import_csv("contact", file, rejected, database)


@companies.command("import")
@_CSV_FILE
@_rejected_option
@_database_option
def import_companies(file: Path, rejected: Path | None, database: str | None) -> None:
    """Import companies from a CSV file.

    Also while the database is being served. The first line names the columns. A row changes the company of its
    name, and makes one where there is none: the same file can be imported again, also after it was cut off.
    """
    _import_csv("company", file, rejected, database)


@contacts.command("export")
@_database_option
def export_contacts(database: str | None) -> None:
    """Write all contacts as CSV.

    To standard output. The export is noted in the audit log.
    """
    _export_csv("contact", database)


@companies.command("export")
@_database_option
def export_companies(database: str | None) -> None:
    """Write all companies as CSV.

    To standard output. The export is noted in the audit log.
    """
    _export_csv("company", database)


def _import_csv(kind: str, file: Path, rejected: Path | None, database: str | None) -> None:
    from backstory.csv_transfer import import_csv

    settings = read_settings(database=database)
    rejected = rejected or Path(f"{file}.rejected.ndjson")

    size = file.stat().st_size

    async def work(store: Store) -> Any:
        with progress_bar("Importing", size) as show:
            entry = _entry(f"{kind}.import", kind)
            return await import_csv(store.records, kind, file, rejected, settings.phone_region, entry, show)

    summary = with_store(settings, work)
    click.echo(summary.text, err=True)
    if summary.refused:
        raise SystemExit(2)


def _export_csv(kind: str, database: str | None) -> None:
    from backstory.csv_transfer import export_csv

    async def work(store: Store) -> int:
        with progress_bar("Exporting", None) as show:
            return await export_csv(
                store.records, kind, sys.stdout.buffer, _entry(f"{kind}.export", kind), show
            )

    count = with_store(read_settings(database=database), work)
    click.echo(f"{count:,} rows.", err=True)


@main.command()
@click.option("--host", help=f"{SETTINGS['host'].meaning} [{SETTINGS['host'].variable}]")
@click.option("--port", help=f"{SETTINGS['port'].meaning} [{SETTINGS['port'].variable}]")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/demo"),
    show_default=True,
)
def demo(host: str | None, port: str | None, directory: Path) -> None:
    """Serve a demo shop.

    Some hundred contacts, a year of their orders, payments, calls and logins. On the first start it is filled;
    later starts find it as it was left. Remove the directory to begin afresh.
    """
    from backstory.app import serve as run_server
    from backstory.demo.prepare import prepare

    settings = read_settings(host=host, port=port, database=f"sqlite:///{directory / 'backstory.db'}")
    with progress_bar("Filling the demo shop", None) as show:
        welcome = prepare(settings, directory, show)
    click.echo(welcome)
    configure_logs(settings.log_level, human=is_for_people(settings.log_format))
    run_server(settings)
