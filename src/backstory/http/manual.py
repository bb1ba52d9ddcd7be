"""The documentation as one page, rendered from the OpenAPI document: no script, nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from backstory.errors import REQUEST_ERRORS, Code
from backstory.http import body, described
from backstory.http.activities import MAX_BATCH, MAX_IDEMPOTENCY_KEY, QUIET_SECONDS
from backstory.http.documentation import ADDRESS, Documentation
from backstory.http.multipart import MAX_PARTS
from backstory.http.openapi import body_limit, describe, refusals
from backstory.http.query import MAX_ALTERNATIVES, MAX_QUERY_VALUE
from backstory.http.routes import ACTIVITY, BATCH, WITH_AVATAR, WITH_FILES, Route
from backstory.ingest.admit import IDEMPOTENCY_KEY_LIFETIME
from backstory.model import activity
from backstory.model.access import Right
from backstory.model.identity import Kind
from backstory.model.moment import ACCEPTED_FORMS
from backstory.model.page import DEFAULT_PER_PAGE, MAX_PER_PAGE
from backstory.model.refs import MAX_CONTEXT_REFS, MAX_REF_LENGTH

TEMPLATES = "templates"
_RIGHTS = {
    Right.NONE: "No key needed",
    Right.PUBLISH: "Any key",
    Right.READ: "An agent's key",
    Right.ADMIN: "An admin's key",
}
_GENERAL = {401, 405, 406, 408, 413, 415, 429, 500, 503}
"""Refusals that are told once for all routes."""


def write_documentation(routes: Iterable[Route]) -> Documentation:
    """The documentation of these routes."""
    routes = tuple(routes)
    document = describe(routes)
    page = _environment().get_template("docs.html").render(**_view(routes, document))
    style = (files("backstory.http") / TEMPLATES / "docs.css").read_bytes()
    return Documentation(msgspec.json.encode(document), page, style)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("backstory.http", TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["prose"] = prose
    environment.filters["colours"] = colours
    environment.filters["anchor"] = anchor
    environment.filters["breaks"] = breaks
    return environment


class Row(NamedTuple):
    """A line of a table about a field or a parameter."""

    name: str
    kind: str
    required: bool
    text: str


class Answer(NamedTuple):
    """A line of a table about answers."""

    status: int
    text: str
    headers: tuple[str, ...]
    schema: str | None


class Call(NamedTuple):
    """A route as the page shows it."""

    id: str
    method: str
    path: str
    title: str
    text: str
    right: str
    media: tuple[str, ...]
    limit: str | None
    parameters: tuple[Row, ...]
    fields: tuple[Row, ...]
    answers: tuple[Answer, ...]
    general: tuple[int, ...]
    examples: tuple[described.Example, ...]


def _view(routes: Iterable[Route], document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    by_handler = {route.handler: _call(route, document, schemas) for route in routes}
    return {
        "info": document["info"],
        "address": ADDRESS,
        "groups": [
            (chapter.title, chapter.text, [by_handler[handler] for handler in chapter.routes])
            for chapter in described.CHAPTERS
        ],
        "schemas": [(name, tuple(_fields(schemas[name], schemas))) for name in described.SHOWN_SCHEMAS],
        "first_steps": described.FIRST_STEPS,
        "identifiers": [kind.value for kind in Kind],
        "codes": [(code.value, code.status, described.CODES[code]) for code in Code],
        "request_codes": [
            (error.code, error.status, described.REQUEST_CODES[error.code]) for error in REQUEST_ERRORS
        ],
        "usual_headers": [(name, described.HEADERS[name][1]) for name in described.USUAL_HEADERS],
        "limits": limits(),
        "rights": list(_RIGHTS.values()),
        "default_per_page": DEFAULT_PER_PAGE,
        "max_per_page": MAX_PER_PAGE,
        "quiet_seconds": QUIET_SECONDS,
        "accepted_forms": ACCEPTED_FORMS,
        "key_hours": IDEMPOTENCY_KEY_LIFETIME // 3_600_000_000,
    }


def limits() -> list[tuple[str, str]]:
    """Every limit that a caller can meet, from the constants that hold it."""
    return [
        ("Body of a publish request", _size(ACTIVITY.limit)),
        ("Body of a batch", _size(BATCH.limit)),
        ("Items of a batch", f"{MAX_BATCH:,}"),
        ("Time in which a body must arrive", f"{body.READ_SECONDS} seconds"),
        ("Time in which a form with files must arrive", f"{body.UPLOAD_SECONDS} seconds"),
        ("`activity.name`, after trimming", _characters(activity.MAX_NAME)),
        ("`activity.description`", _characters(activity.MAX_DESCRIPTION)),
        ("`activity.link`, `object.link`", _characters(activity.MAX_LINK)),
        ("`actor.type`, `object.type`, `source.name`", _characters(activity.MAX_TYPE)),
        ("`actor.id`, `actor.name`, `source.id`, `object.id`, `object.name`", _characters(activity.MAX_TEXT)),
        ("`activity.id`, and each identifier of a contact", _characters(activity.MAX_IDENTIFIER)),
        ("`contact.identities`", f"{activity.MAX_IDENTITIES} entries"),
        (
            "`activity.context`",
            f"{_size(activity.MAX_CONTEXT_BYTES)}, {activity.MAX_CONTEXT_DEPTH} levels deep",
        ),
        (
            "References found in one `context`",
            f"the first {MAX_CONTEXT_REFS}, {_characters(MAX_REF_LENGTH)} each",
        ),
        ("`Idempotency-Key`", _characters(MAX_IDEMPOTENCY_KEY)),
        (
            "Texts of a form, and attachments in it",
            f"{_size(WITH_FILES.limit)} and {_size(WITH_FILES.files)}",
        ),
        ("An avatar", _size(WITH_AVATAR.files)),
        ("Parts of a form", f"{MAX_PARTS:,}"),
        ("A query parameter", _characters(MAX_QUERY_VALUE)),
        ("A query parameter that may be repeated", f"{MAX_ALTERNATIVES} times"),
        ("`per_page`", f"{MAX_PER_PAGE}"),
    ]


def _size(count: int) -> str:
    return f"{count // 1024**2} MiB" if count >= 1024**2 else f"{count // 1024} KiB"


def _characters(count: int) -> str:
    return f"{count:,} characters"


# Routes.


def _call(route: Route, document: dict[str, Any], schemas: dict[str, Any]) -> Call:
    told = described.ROUTES_DESCRIBED[route.handler]
    operation = document["paths"][route.path][route.method.lower()]
    possible = dict(refusals(route))
    return Call(
        id=route.handler.__name__.replace("_", "-"),
        method=route.method,
        path=route.path,
        title=told.title,
        text=told.text,
        right=_RIGHTS[route.right],
        media=route.body.types if route.body else (),
        limit=body_limit(route.body) if route.body else None,
        parameters=tuple(_parameters(operation, document)),
        fields=tuple(_fields(schemas[told.body], schemas)) if told.body else (),
        answers=tuple(_answers(told, possible)),
        general=tuple(status for status, text in possible.items() if text is None and status in _GENERAL),
        examples=told.examples,
    )


def _answers(told: described.Described, possible: dict[int, str | None]) -> Iterator[Answer]:
    schema = told.answer if told.answer in described.SHOWN_SCHEMAS else None
    yield Answer(told.status, told.means, told.headers, schema)
    plain = {
        400: "Something is wrong with the request: [the fields at fault](#errors), all at once.",
        403: "The key may not do this.",
        404: "There is none with this id.",
    }
    if told.body is None and not told.parameters:
        plain[400] = "A body where none belongs."
    for status, text in possible.items():
        if text or status not in _GENERAL:
            yield Answer(status, text or plain[status], (), None)


def _parameters(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[Row]:
    shared = document["components"]["parameters"]
    for each in operation.get("parameters", ()):
        parameter = shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        kind = f"{parameter['in']}, {_kind(parameter['schema'])}"
        yield Row(parameter["name"], kind, parameter["required"], parameter["description"])


# Schemas.


def _fields(schema: dict[str, Any], schemas: dict[str, Any], prefix: str = "") -> Iterator[Row]:
    """A schema's fields by their dotted path."""
    for name, field in schema["properties"].items():
        path = f"{prefix}{name}"
        note = field.get("description", "")
        inner, nullable = _resolve(field, schemas)
        kind = _kind(inner) + (" or null" if nullable else "")
        required = name in schema.get("required", ())
        yield Row(path, kind, required, note or _note(inner, field))
        if "properties" in inner:
            yield from _fields(inner, schemas, f"{path}.")
        elif inner.get("type") == "array" or "array" in inner.get("type", ()):
            items, _ = _resolve(inner["items"], schemas)
            if "properties" in items and "anyOf" not in items and len(items["properties"]) < 5:
                yield from _fields(items, schemas, f"{path}[].")


def _note(inner: dict[str, Any], field: dict[str, Any]) -> str:
    return str(inner.get("description", "")) if inner is not field else ""


def _resolve(field: dict[str, Any], schemas: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What a field refers to, and whether it may be null."""
    match field:
        case {"$ref": reference}:
            return schemas[reference.rpartition("/")[2]], False
        case {"anyOf": [{"$ref": reference}, {"type": "null"}]}:
            return schemas[reference.rpartition("/")[2]], True
    return field, False


def _kind(schema: dict[str, Any]) -> str:
    """A type in words: `string or null, up to 255`."""
    types = schema.get("type", "any")
    text = " or ".join(types) if isinstance(types, list) else str(types)
    if "format" in schema:
        text = text.replace("string", {"date-time": "time", "uuid": "UUID"}.get(schema["format"], "string"))
    if "maxLength" in schema:
        text += f", up to {schema['maxLength']:,}"
    if "maxItems" in schema:
        text += f" of up to {schema['maxItems']:,}"
    if schema.get("maximum", 2**63 - 1) < 2**63 - 1:
        text += f", {schema['minimum']} to {schema['maximum']}"
    if "default" in schema:
        text += f", default {schema['default']}"
    return text


# Text.

_MARKS = re.compile(r"`([^`]+)`|\[([^\]]+)\]\((#[\w-]+)\)")
_JSON_PARTS = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?\b\d+(?:\.\d+)?\b)'
    r"|(?P<word>\b(?:true|false|null)\b)"
)


def prose(text: str) -> Markup:
    """Text whose `code` and [links](#here) are marked up."""
    parts: list[Markup] = []
    end = 0
    for found in _MARKS.finditer(text):
        parts.append(escape(text[end : found.start()]))
        code, label, target = found.groups()
        if code:
            parts.append(Markup("<code>{}</code>").format(breaks(code)))
        else:
            parts.append(Markup('<a href="{}">{}</a>').format(target, label))
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def breaks(name: str) -> Markup:
    """A long name that may be broken behind its separators."""
    return Markup("<wbr>").join(re.findall(r"[^./_-]*[./_-]+|[^./_-]+", name))


def colours(value: Any) -> Markup:
    """JSON as it is read best; text as it is."""
    if isinstance(value, str):
        return escape(value)
    text = described.compact(value)
    parts: list[Markup] = []
    end = 0
    for found in _JSON_PARTS.finditer(text):
        parts.append(escape(text[end : found.start()]))
        parts.append(Markup('<span class="{}">{}</span>').format(found.lastgroup, found.group()))
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def anchor(text: str) -> str:
    """A heading's name in an address."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
