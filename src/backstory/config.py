"""Settings: read once at start from options and environment, checked at once, frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from email.utils import getaddresses
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import phonenumbers
from msgspec import Struct

from backstory.errors import SettingError

_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+", re.ASCII)

DEFAULT_DATABASE = "sqlite:///backstory.db"
CASSANDRA = "cassandra://"


class Setting(NamedTuple):
    """One setting: its environment variable, its default as written there, and what it means."""

    variable: str
    default: str
    meaning: str


SETTINGS: dict[str, Setting] = {
    "host": Setting(
        "BACKSTORY_HOST", "127.0.0.1", "The address to listen on; 0.0.0.0 for every one of this machine."
    ),
    "port": Setting("BACKSTORY_PORT", "8000", "The port to listen on, 0 for a free one."),
    "database": Setting(
        "BACKSTORY_DATABASE",
        DEFAULT_DATABASE,
        "Where things are kept: sqlite:///FILE, or postgresql://USER:PASSWORD@HOST:PORT/NAME.",
    ),
    "activity_log": Setting(
        "BACKSTORY_ACTIVITY_LOG",
        "",
        "A cluster for the activity log: cassandra://USER:PASSWORD@HOST,HOST/KEYSPACE. Empty: it is in the database.",
    ),
    "attachments": Setting(
        "BACKSTORY_ATTACHMENTS",
        "",
        "The folder of attachments and avatars. Empty: attachments, beside an SQLite file, else in the current folder.",
    ),
    "smtp_host": Setting(
        "BACKSTORY_SMTP_HOST", "", "The mail server that replies go out by. Empty: none, they are not sent."
    ),
    "smtp_port": Setting("BACKSTORY_SMTP_PORT", "587", "Its port."),
    "smtp_tls": Setting(
        "BACKSTORY_SMTP_TLS",
        "starttls",
        "starttls: encrypted once connected; tls: from the start (port 465); none: not at all.",
    ),
    "smtp_user": Setting("BACKSTORY_SMTP_USER", "", "Whom to sign in as there. Empty: not to sign in."),
    "smtp_password": Setting("BACKSTORY_SMTP_PASSWORD", "", "The password for that."),
    "smtp_from": Setting(
        "BACKSTORY_SMTP_FROM",
        "",
        "Addresses that mail may come from, comma separated: support@example.com, or Support <support@example.com>. "
        "The first one is the usual. Needed with a mail server.",
    ),
    "log_level": Setting("BACKSTORY_LOG_LEVEL", "info", "debug, info, warning or error."),
    "log_format": Setting(
        "BACKSTORY_LOG_FORMAT", "auto", "json, text, or auto: text on a terminal, else json."
    ),
    "log_requests": Setting(
        "BACKSTORY_LOG_REQUESTS", "faults", "Which requests are logged: all, faults (4xx and 5xx), or none."
    ),
    "rate_limit": Setting(
        "BACKSTORY_RATE_LIMIT", "0", "Requests a minute that each key may make, in each process. 0: no limit."
    ),
    "metrics_address": Setting(
        "BACKSTORY_METRICS_ADDRESS",
        "",
        "HOST:PORT for /metrics alone; it is then not served with the rest. Empty: beside the API.",
    ),
    "phone_region": Setting(
        "BACKSTORY_PHONE_REGION",
        "",
        "Country (such as GB) whose numbers come without a country code. Empty: none.",
    ),
    "support_form": Setting(
        "BACKSTORY_SUPPORT_FORM",
        "on",
        "Whether customers can open tickets at /support/new without signing in: on, or off.",
    ),
    "forwarded_allow_ips": Setting(
        "BACKSTORY_FORWARDED_ALLOW_IPS",
        "127.0.0.1",
        "Proxies, addresses or networks, comma separated, whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    ),
}
"""Every setting. `docs/settings.md` is held against it by a test."""


class MailServer(Struct, frozen=True):
    """The server that mail goes out by, and whom it may come from: pairs of a name, perhaps empty, and an address."""

    host: str
    port: int
    tls: str
    user: str
    password: str
    senders: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"MailServer(host={self.host!r}, port={self.port})"  # a password does not belong into logs


class PostgresUrl(Struct, frozen=True):
    """Where a PostgreSQL database is, and who may use it."""

    url: str

    def __str__(self) -> str:
        """As it may be shown: without the password."""
        parts = urlsplit(self.url)
        user = f"{parts.username}@" if parts.username else ""
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path}"

    def __repr__(self) -> str:
        return f"PostgresUrl({str(self)!r})"  # a password does not belong into logs


class CassandraUrl(Struct, frozen=True):
    """The address of the activity log's cluster. `url` holds a password: shown is the address without it."""

    url: str

    def __str__(self) -> str:
        login, at, hosts = self.url.removeprefix(CASSANDRA).rpartition("@")
        return f"{CASSANDRA}{login.partition(':')[0]}{at}{hosts}"

    def __repr__(self) -> str:
        return f"CassandraUrl({str(self)!r})"


class Settings(Struct, frozen=True):
    """The settings of one process, checked."""

    host: str
    port: int
    database: Path | PostgresUrl
    activity_log: CassandraUrl | None
    attachments: Path
    mail: MailServer | None
    log_level: str
    log_format: str
    log_requests: str
    rate_limit: int
    metrics_address: tuple[str, int] | None
    phone_region: str | None
    support_form: bool
    forwarded_allow_ips: str


def read_settings(environment: Mapping[str, str] | None = None, **options: Any) -> Settings:
    """Settings from command line options (None: not given) before the environment before the defaults.

    Raises:
        SettingError: naming the setting, what was given, and what would be right.
    """
    environment = os.environ if environment is None else environment
    _refuse_unknown(environment)
    text = {
        name: str(options[name])
        if options.get(name) is not None
        else environment.get(each.variable, each.default)
        for name, each in SETTINGS.items()
    }
    return Settings(
        host=_host(text["host"]),
        port=_port("port", text["port"]),
        database=_database(text["database"]),
        activity_log=_activity_log(text["activity_log"], text["database"]),
        attachments=_attachments(text["attachments"], text["database"]),
        mail=_mail(text),
        log_level=_one_of("log_level", text["log_level"], ("debug", "info", "warning", "error")),
        log_format=_one_of("log_format", text["log_format"], ("auto", "json", "text")),
        log_requests=_one_of("log_requests", text["log_requests"], ("all", "faults", "none")),
        rate_limit=_count("rate_limit", text["rate_limit"]),
        metrics_address=_address("metrics_address", text["metrics_address"]),
        phone_region=_region(text["phone_region"]),
        support_form=_one_of("support_form", text["support_form"], ("on", "off")) == "on",
        forwarded_allow_ips=_proxies(text["forwarded_allow_ips"]),
    )


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {each.variable for each in SETTINGS.values()}
    for variable in environment:
        if variable.startswith("BACKSTORY_") and variable not in known:
            raise SettingError(f"there is no setting {variable}; known: {', '.join(sorted(known))}")


def _wrong(name: str, given: str, wanted: str) -> SettingError:
    return SettingError(
        f"the setting {name} ({SETTINGS[name].variable}) is '{given[:200]}'; expected {wanted}"
    )


def _host(given: str) -> str:
    if not given.strip():
        raise _wrong("host", given, "a name or an address to listen on, such as 127.0.0.1")
    return given


def _port(name: str, given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= 5 and int(given) <= 65535):
        raise _wrong(name, given, "a number from 0 to 65535")
    return int(given)


def _count(name: str, given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= 9):
        raise _wrong(name, given, "a number from 0 to 999999999")
    return int(given)


def _one_of(name: str, given: str, possible: tuple[str, ...]) -> str:
    if given.lower() not in possible:
        raise _wrong(name, given, f"one of {', '.join(possible)}")
    return given.lower()


def _address(name: str, given: str) -> tuple[str, int] | None:
    if not given:
        return None
    host, colon, port = given.rpartition(":")
    if not (host and colon):
        raise _wrong(name, given, "HOST:PORT")
    return host.strip("[]"), _port(name, port)


def _region(given: str) -> str | None:
    if given and given.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise _wrong("phone_region", given, "a two-letter country code, such as GB")
    return given.upper() or None


def _proxies(given: str) -> str:
    """Checked here: what is no address would be believed to be nobody's, without a word."""
    try:
        for each in given.split(",") if given.strip() not in ("", "*") else ():
            ip_network(each.strip())
    except ValueError:
        wanted = "addresses or networks, commas between them (10.0.0.5, 10.1.0.0/16), or * for any"
        raise _wrong("forwarded_allow_ips", given, wanted) from None
    return given.strip()


def _database(given: str) -> Path | PostgresUrl:
    if given.startswith(("postgresql://", "postgres://")):
        return _postgres_url(given)
    prefix = "sqlite:///"
    if not given.startswith(prefix) or given == prefix:
        raise _wrong(
            "database",
            _without_login(given),
            "sqlite:///FILE (a relative path), sqlite:////FOLDER/FILE (an absolute one) or"
            " postgresql://USER:PASSWORD@HOST:PORT/NAME",
        )
    path = Path(given.removeprefix(prefix)).expanduser()
    if path.is_dir():
        raise _wrong("database", given, "the path of a file; this is a folder")
    return path


def _without_login(given: str) -> str:
    """What was given, as far as it may be shown: a URL that is mistyped may hold a password all the same."""
    if "://" not in given and "@" not in given:
        return given
    scheme = re.match(r"[a-z]*:?/*", given, re.IGNORECASE)
    return f"{scheme[0] if scheme else ''}…"


def _postgres_url(given: str) -> PostgresUrl:
    wanted = "postgresql://USER:PASSWORD@HOST:PORT/NAME, special characters of the password as %XX"
    try:
        parts = urlsplit(given)
        # With two the driver takes a part of the password for the host.
        has_one_login = parts.netloc.count("@") <= 1
        is_whole = bool(has_one_login and parts.path.strip("/") and parts.hostname and parts.port != 0)
    except ValueError:  # the port is no number
        is_whole = False
    if not is_whole:
        raise _wrong("database", "postgresql://…", wanted)
    return PostgresUrl(given)


def _activity_log(given: str, database: str) -> CassandraUrl | None:
    """Its form is checked further where it is opened; what only the two together can be, here."""
    if not given:
        return None
    if not given.startswith(CASSANDRA):
        wanted = "cassandra://USER:PASSWORD@HOST,HOST/KEYSPACE, or nothing"
        raise _wrong("activity_log", _without_login(given), wanted)
    if not isinstance(_database(database), PostgresUrl):
        raise SettingError(
            "the setting activity_log (BACKSTORY_ACTIVITY_LOG) names a cluster; then everything else is kept on"
            " PostgreSQL, so BACKSTORY_DATABASE must be postgresql://…"
        )
    return CassandraUrl(given)


def _attachments(given: str, database: str) -> Path:
    if given:
        return Path(given).expanduser()
    where = _database(database)
    return where.parent / "attachments" if isinstance(where, Path) else Path("attachments")


def _mail(text: Mapping[str, str]) -> MailServer | None:
    port = _port("smtp_port", text["smtp_port"])
    tls = _one_of("smtp_tls", text["smtp_tls"], ("starttls", "tls", "none"))
    if not text["smtp_host"]:
        return None
    senders = [pair for pair in getaddresses([text["smtp_from"]]) if pair != ("", "")]
    if not senders or not all(_ADDRESS.fullmatch(address) for _, address in senders):
        wanted = "at least one email address, because smtp_host is set: support@example.com"
        raise _wrong("smtp_from", text["smtp_from"], wanted)
    return MailServer(
        host=text["smtp_host"],
        port=port,
        tls=tls,
        user=text["smtp_user"],
        password=text["smtp_password"],
        senders=tuple(senders),
    )
