"""Documentation that fails the build: what it says exists, what exists it says, and what it prints runs."""

from __future__ import annotations

import html
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import httpx
import jsonschema_rs
import pytest

from backstory.cli import main
from backstory.config import SETTINGS
from backstory.errors import REQUEST_ERRORS, Code
from backstory.http import described
from backstory.http.described import ROUTES_DESCRIBED, Example
from backstory.http.described.contacts import CONTACT_KEYS
from backstory.http.documentation import ADDRESS
from backstory.http.manual import limits, write_documentation
from backstory.http.openapi import describe
from backstory.http.routes import ROUTES, Route
from backstory.model.access import Role
from backstory.model.contact import Contact
from backstory.model.identity import Kind
from backstory.observe import Metrics
from tests.support import Installation, publish_request, wait_until

ROOT = Path(__file__).parent.parent
DOCUMENT = describe(ROUTES)
SCHEMAS = DOCUMENT["components"]["schemas"]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = [
    *described.FIRST_STEPS,
    *(example for told in ROUTES_DESCRIBED.values() for example in told.examples),
]
CURL_RAN_OUT_OF_TIME = 28


def doc(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


# OpenAPI.


def operation_of(route: Route) -> dict[str, Any]:
    return DOCUMENT["paths"][route.path][route.method.lower()]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_described(route: Route) -> None:
    operation = operation_of(route)
    assert operation["summary"]
    assert operation["description"]
    assert ROUTES_DESCRIBED[route.handler].examples
    if route.body:
        assert tuple(operation["requestBody"]["content"]) == route.body.types


def test_nothing_else_is_described() -> None:
    assert set(ROUTES_DESCRIBED) == {route.handler for route in ROUTES}
    assert sum(len(methods) for methods in DOCUMENT["paths"].values()) == len(ROUTES)


def test_every_field_of_a_request_body_has_a_note() -> None:
    bodies = [name for name in SCHEMAS if SCHEMAS[name].get("additionalProperties") is False]
    assert {"PublishRequest", "SentActivity", "SentContact", "BatchRequest", "NewContact"} <= set(bodies)
    missing = [
        f"{name}.{field}"
        for name in bodies
        for field in SCHEMAS[name]["properties"]
        if f"{name}.{field}" not in described.FIELDS
    ]
    assert missing == []


def test_every_note_is_about_a_field_that_exists() -> None:
    fields = {f"{name}.{field}" for name in SCHEMAS for field in SCHEMAS[name].get("properties", ())}
    assert set(described.FIELDS) - fields == set()


def test_every_reference_in_the_document_resolves() -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(DOCUMENT):
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def validator(name: str) -> Any:
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}, validate_formats=True
    )


@pytest.mark.parametrize("name", [name for name in described.EXAMPLE_BODIES if name != "BatchRequest"])
def test_example_bodies_fit_their_schema(name: str) -> None:
    validator(name).validate(described.EXAMPLE_BODIES[name])


def test_the_seed_request_fits_its_schema(seed_request: bytes) -> None:
    validator("PublishRequest").validate(json.loads(seed_request))


def test_the_schema_of_a_contact_has_the_keys_of_a_contact() -> None:
    texts: dict[str, Any] = dict.fromkeys(
        "email phone mobile twitter_id facebook_id unique_external_id address description job_title".split()
    )
    contact = Contact(
        id=1, key=b"", name="Rachel", named=True, language="en", time_zone=None, deleted=True,
        created_at=0, updated_at=0, **texts,
    )  # fmt: skip
    assert list(contact.answer()) == CONTACT_KEYS
    validator("Contact").validate(contact.answer())


def test_every_error_code_is_documented() -> None:
    assert set(described.CODES) == set(Code)
    assert set(described.REQUEST_CODES) == {error.code for error in REQUEST_ERRORS}
    api = doc("api.md")
    for code in (*Code, *(error.code for error in REQUEST_ERRORS)):
        assert f"`{code}`" in api


def test_the_served_document_is_this_one(api: httpx.Client) -> None:
    assert api.get("/openapi.json").json() == json.loads(json.dumps(DOCUMENT))


REFUSALS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/api/v2/contacts/1", {"auth": ("nobody", "X")}),
    ("GET", "/api/v2/contact-activities/nothing", {}),
    ("GET", "/api/v2/contacts/999999999", {}),
    ("GET", "/api/v2/contacts/1", {"headers": {"Accept": "text/csv"}}),
    ("GET", "/api/v2/contact-activities?colour=red&per_page=0&since=soon", {}),
    ("GET", "/healthz", {"content": b"something"}),
    ("POST", "/api/v2/contact-activities", {"json": {"activity": {"name": 1, "colour": "red"}}}),
    ("POST", "/api/v2/contact-activities", {"json": publish_request(), "headers": {"Idempotency-Key": ""}}),
    ("POST", "/api/v2/contact-activities", {"content": b"{"}),
    ("POST", "/api/v2/contact-activities", {"content": b"x", "headers": {"Content-Type": "text/csv"}}),
    ("POST", "/api/v2/contact-activities", {"content": b" " * (1024 * 1024 + 1)}),
    ("POST", "/api/v2/contact-activities/batch", {"json": {"activities": [{}, publish_request()]}}),
    ("POST", "/api/v2/contact-activities/batch", {"json": {"activities": 1}}),
    ("POST", "/api/v2/contacts", {"json": {"name": "Ursula", "email": "taken@example.com"}}),
]


@pytest.mark.parametrize(("method", "path", "more"), REFUSALS)
def test_refusals_are_answered_as_documented(
    api: httpx.Client, method: str, path: str, more: dict[str, Any]
) -> None:
    if "json" not in more and "headers" not in more:
        more = more | {"headers": {"Content-Type": "application/json"}}
    api.request(method, path, **more)
    answer = api.request(method, path, **more)  # the second time what must be unique is taken
    template = path.partition("?")[0].replace("/contacts/1", "/contacts/{id}")
    template = re.sub(r"/(nothing|999999999)$", "/{id}", template)
    hold_to_document(answer, method, template)


def hold_to_document(answer: httpx.Response, method: str, path: str) -> Any:
    """The status, the headers and the body are among those that the document promises."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    assert str(answer.status_code) in responses, answer.text
    response = responses[str(answer.status_code)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    for name in described.USUAL_HEADERS:
        assert name in response["headers"]
        assert name in answer.headers
    if answer.status_code == 204:
        assert answer.content == b""
        return None
    ((media, content),) = response["content"].items()
    assert answer.headers["Content-Type"].partition(";")[0] == media
    if media != "application/json":
        return answer.text
    schema = content["schema"] | {"components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(answer.json())
    return answer.json()


# The page.


class Outline(HTMLParser):
    """What a test looks for in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, attribute: str) -> list[str]:
        return [str(attrs[attribute]) for _, attrs in self.tags if attribute in attrs]


@pytest.fixture
def page(api: httpx.Client) -> str:
    return api.get("/api/docs").text


def test_the_page_needs_no_script_and_nothing_from_elsewhere(api: httpx.Client, page: str) -> None:
    outline = Outline(page)
    policy = api.get("/api/docs").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not [tag for tag, attrs in outline.tags if tag in ("script", "style") or "style" in attrs]
    assert not [attrs for _, attrs in outline.tags if any(name.startswith("on") for name in attrs)]
    for address in outline.all("src") + outline.all("href"):
        assert address.startswith(("#", "/api/docs.css", "/openapi.json", "data:image/svg+xml")), address
    style = api.get("/api/docs.css")
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_the_page_is_in_order(page: str) -> None:
    outline = Outline(page)
    ids = outline.all("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in outline.all("href") if link.startswith("#")} <= set(ids)
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    tags = [tag for tag, _ in outline.tags]
    assert [tags.count(name) for name in ("main", "header", "footer")] == [1, 1, 1]
    assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")
    assert tags.count("caption") == tags.count("table")


def test_the_page_tells_everything(page: str) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    for route in ROUTES:
        assert f"{route.method} {route.path}" in text
    for code in (*Code, *(error.code for error in REQUEST_ERRORS)):
        assert code in text
    for what, limit in limits():
        assert what.replace("`", "") in text
        assert limit in text
    for example in EXAMPLES:
        assert example.title.replace("`", "") in text


def test_a_strange_host_is_not_repeated() -> None:
    documentation = write_documentation(ROUTES)
    assert b"<script>" not in documentation.page("http://<script>alert(1)</script>")
    assert b"https://help.example.com/api/v2" in documentation.page("https://help.example.com")


def run(text: str, installation: Installation, directory: Path, key: str | None = None) -> str:
    """Run a block of shell against an installation, with its address and key."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text.replace(ADDRESS, installation.url)],
        cwd=directory,
        env={**os.environ, "KEY": key or installation.admin_key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (0, CURL_RAN_OUT_OF_TIME), done.stderr
    return done.stdout


def test_every_example_runs_as_it_is_printed(tmp_path: Path) -> None:
    """In the order of the page, on an installation where nothing has happened yet."""
    server = Installation(tmp_path, staff=[Role.ADMIN]).start()
    try:
        run_examples(server, tmp_path)
    finally:
        server.kill()


def run_examples(server: Installation, tmp_path: Path) -> None:
    page = httpx.get(f"{server.url}/api/docs").text
    printed = [
        html.unescape(re.sub(r"<[^>]+>", "", block))
        for block in re.findall(r'<pre class="call"[^>]*><code>(.*?)</code></pre>', page, re.DOTALL)
    ]
    shell = [text for text in printed if "curl" in text]
    assert shell == [example.curl().replace(ADDRESS, server.url) for example in EXAMPLES]
    for example in EXAMPLES:
        wait_until(lambda: "index_lag_seconds 0.0" in httpx.get(f"{server.url}/metrics").text)
        check_answer(example, run(example.curl(), server, tmp_path))


def check_answer(example: Example, out: str) -> None:
    """It has the shape of the printed answer, and is as the document says."""
    route = next(
        (
            route
            for route in ROUTES
            if route.method == example.method
            and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), example.path.partition("?")[0])
            and ("{id}" not in route.path or "contact-activities/batch" not in example.path)
        ),
        None,
    )
    assert route is not None, example.path
    content = operation_of(route)["responses"][str(ROUTES_DESCRIBED[route.handler].status)].get("content", {})
    schema = content.get("application/json", {}).get("schema")
    if schema is not None and "-so" not in example.options:
        answer = json.loads(out)
        jsonschema_rs.Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(answer)
        if example.answer is not None:
            assert shape(answer) == shape(example.answer), example.title
    elif isinstance(example.answer, str):
        first = example.answer.partition("\n")[0]
        assert first in out


def shape(value: Any) -> Any:
    """The keys and types of JSON; free objects as they are. Lists may have more entries of the same kind."""
    if isinstance(value, dict):
        return {name: value[name] if name == "context" else shape(value[name]) for name in value}
    if isinstance(value, list):
        return [shape(item) for item in value[:2]]
    return type(value).__name__


# The documents.


def test_every_setting_is_documented() -> None:
    rows = dict(re.findall(r"^\| `(BACKSTORY_\w+)` \| `?([^|`]*)`? \|", doc("settings.md"), re.MULTILINE))
    assert rows == {each.variable: each.default or "empty" for each in SETTINGS.values()}
    for each in SETTINGS.values():
        assert each.meaning.replace("|", "\\|") in doc("settings.md")


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def test_every_command_is_documented() -> None:
    assert isinstance(main, click.Group)
    known = dict(commands(main))
    sections = re.split(r"^## `backstory ([^`]+)`$", doc("commands.md"), flags=re.MULTILINE)
    told = {heading.split(" ")[0]: heading for heading in sections[1::2]}
    by_name = dict(zip(sections[1::2], sections[2::2], strict=True))
    documented = {
        next(
            (name for name in sorted(known, key=len, reverse=True) if f"{heading} ".startswith(f"{name} ")),
            "",
        ): text
        for heading, text in by_name.items()
    }
    assert set(documented) == set(known), told
    for name, command in known.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "help":
                assert f"`{parameter.opts[0]}" in documented[name], f"{name} {parameter.opts[0]}"


def test_every_metric_is_documented() -> None:
    families = {
        line.split()[2] for line in Metrics().render().decode().splitlines() if line.startswith("# TYPE")
    }
    names = {name for name in families if not name.endswith("_created")}
    assert set(re.findall(r"^\| `(backstory_\w+)`", doc("operations.md"), re.MULTILINE)) == names


def test_every_limit_is_documented() -> None:
    api = doc("api.md")
    for what, limit in limits():
        assert f"| {what} | {limit} |" in api


def test_identifiers_are_documented_in_their_order() -> None:
    (listed,) = re.findall(r"were sent are looked for in this order: ([^.]+)\.", doc("api.md"))
    assert re.findall(r"`(\w+)`", listed) == [kind.value for kind in Kind]


def headings(text: str) -> set[str]:
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_resolve(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, place = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.exists(), target
        if place:
            assert place in headings(other.read_text()), target


def test_every_document_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    names = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert names <= set(re.findall(r"\]\(docs/([^)#]+)\)", readme))
    assert names


# The README.


def readme_blocks() -> list[str]:
    """The shell blocks that are marked `<!-- runs -->`."""
    return re.findall(r"<!-- runs -->\n+```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readme_runs(tmp_path: Path) -> None:
    """Its own blocks, in order: an admin and a key are made, an activity is published and read back."""
    installation = Installation(tmp_path, staff=[])
    try:
        follow_readme(installation, tmp_path)
    finally:
        installation.kill()


def follow_readme(installation: Installation, tmp_path: Path) -> None:
    make, publish, read = readme_blocks()
    environment = installation.environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    made = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{make}\necho $KEY"],
        cwd=tmp_path,
        env={**environment, "BACKSTORY_DATABASE": installation.database_url},
        input="correct horse battery\n" * 2,
        start_new_session=True,  # so that it asks on standard input and not on a terminal
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    key = made.stdout.split()[-1]
    assert key.startswith("bs_")
    installation.start()
    published = json.loads(run(publish, installation, tmp_path, key))
    validator("Published").validate(published)
    (activity,) = json.loads(run(read, installation, tmp_path, key))
    assert activity["id"] == published["id"]
    readme = (ROOT / "README.md").read_text()
    shown = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", readme, re.DOTALL)]
    assert [shape(each) for each in shown] == [shape(published), shape([activity])]
