"""The API as OpenAPI 3.1, made from the routes, the types of the bodies and the tree of errors."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from backstory import __version__
from backstory.errors import REQUEST_ERRORS
from backstory.http import described
from backstory.http.body import BodyRule
from backstory.http.described import (
    CHAPTER_OF,
    CHAPTERS,
    FIELDS,
    HEADERS,
    PARAMETERS,
    ROUTES_DESCRIBED,
    SCHEMAS,
    USUAL_HEADERS,
    Described,
    Schema,
)
from backstory.http.described.schema import as_form, as_json, refer
from backstory.http.described.told import Parameter
from backstory.http.message import FORM_TYPE, JSON_TYPE, NDJSON_TYPE
from backstory.http.routes import API, Route
from backstory.model.access import Right


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backstory API",
            "version": __version__,
            "summary": "What a contact did in your other applications, in one timeline.",
            "description": (
                "Publish what your customers did in a shop, a payment provider or a phone system, and read it back as "
                "one timeline per contact. The same as a page: /api/docs."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": chapter.title, "description": chapter.text} for chapter in CHAPTERS],
        "paths": paths,
        "components": {
            "securitySchemes": _security_schemes(),
            "schemas": schemas(),
            "parameters": {_component(name): _parameter(name, told) for name, told in PARAMETERS.items()},
            "headers": {
                name: {"schema": schema, "description": text, "required": name in USUAL_HEADERS}
                for name, (schema, text) in HEADERS.items()
            },
            "responses": _responses(),
        },
    }


def _security_schemes() -> dict[str, Any]:
    return {
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "The user is the API key; the password can be anything, also empty.",
        },
        "bearer": {"type": "http", "scheme": "bearer", "description": "The API key."},
    }


# Routes.


def _operation(route: Route) -> dict[str, Any]:
    told = ROUTES_DESCRIBED[route.handler]
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "tags": [CHAPTER_OF[route.handler].title],
        "summary": told.title,
        "description": told.text,
        "security": [] if route.right is Right.NONE else [{"basic": []}, {"bearer": []}],
        "x-right": route.right.value,
        "parameters": [*_path_parameters(route, told), *(_parameter_of(route, n) for n in told.parameters)],
        "responses": {str(told.status): _good_answer(route, told)},
    }
    if not operation["parameters"]:
        del operation["parameters"]
    if route.body is not None:
        operation["requestBody"] = _request_body(route, told)
    for status, text in refusals(route):
        operation["responses"][str(status)] = _refusal(status, text)
    return operation


def refusals(route: Route) -> Iterator[tuple[int, str | None]]:
    """Every error status that a route can answer, and what is particular about it here."""
    particular = ROUTES_DESCRIBED[route.handler].refusals
    possible = {400, 405, 406, 408, 413, 500, *particular}
    if route.path.startswith(f"{API}/"):
        possible |= {401, 429, 503}
    if route.right in (Right.READ, Right.ADMIN):
        possible.add(403)
    if "{" in route.path:
        possible.add(404)
    if route.body is not None:
        possible.add(415)
    for status in sorted(possible):
        yield status, particular.get(status)


def _path_parameters(route: Route, told: Described) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", route.path):
        what = route.path.partition(f"/{{{name}}}")[0].rpartition("/")[2].replace("-", " ")
        text = f"The id, out of those of {what}."
        yield {"name": name, "in": "path", "required": True, "schema": told.ids, "description": text}


def _parameter_of(route: Route, name: str) -> dict[str, Any]:
    """A parameter that this chapter alone has, or a reference to one that all share."""
    own = CHAPTER_OF[route.handler].parameters.get(name)
    return _parameter(name, own) if own else {"$ref": f"#/components/parameters/{_component(name)}"}


def _component(name: str) -> str:
    return name.replace("-", "")


def _parameter(name: str, told: Parameter) -> dict[str, Any]:
    place, schema, text = told
    parameter = {"name": name, "in": place, "required": False, "schema": schema, "description": text}
    return parameter | {"style": "form", "explode": True} if schema["type"] == "array" else parameter


def _request_body(route: Route, told: Described) -> dict[str, Any]:
    assert told.body is not None
    assert route.body is not None
    content: dict[str, Any] = {}
    for media in route.body.types:
        name = "Lines" if media == NDJSON_TYPE else told.body
        if media == FORM_TYPE:
            content[media] = {"schema": as_form(SCHEMAS[name])}
        else:
            content[media] = {"schema": refer(name), "example": described.EXAMPLE_BODIES[name]}
    required = not route.body.optional
    return {"required": required, "description": f"At most {body_limit(route.body)}.", "content": content}


def body_limit(rule: BodyRule) -> str:
    """How large a body may be, in words."""
    text = f"{rule.limit // 1024**2} MiB"
    return f"{text}, and {rule.files // 1024**2} MiB of files" if rule.files else text


def _good_answer(route: Route, told: Described) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": told.means, "headers": _headers(*told.headers)}
    if told.status == 204:
        return answer
    (media,) = route.answers
    schema: Schema = refer(told.answer) if told.answer else {"type": "string"}
    answer["content"] = {media: {"schema": {"type": "array", "items": schema} if told.many else schema}}
    shown = [example.answer for example in told.examples if example.answer is not None]
    if shown:
        answer["content"][media]["example"] = shown[0]
    return answer


def _headers(*more: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*USUAL_HEADERS, *more)}


# Refusals.

_ERROR_NAMES = {error.status: error.__name__ for error in REQUEST_ERRORS if error.status != 400}
_ERROR_NAMES |= {400: "BadRequest", 409: "Conflict"}
_ERROR_HEADERS = {405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}


def _refusal(status: int, text: str | None) -> dict[str, Any]:
    reference = {"$ref": f"#/components/responses/{_ERROR_NAMES[status]}"}
    return reference | {"description": text} if text else reference


def _responses() -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, name in sorted(_ERROR_NAMES.items()):
        codes = [error.code for error in REQUEST_ERRORS if error.status == status]
        shapes = [_request_fault(codes)] if codes else []
        if status in (400, 409):
            shapes.append(refer("FieldErrors"))
        text = " ".join(f"`{code}`: {described.REQUEST_CODES[code]}" for code in codes)
        if status in (400, 409):
            text = f"Fields at fault, all at once. {text}".strip()
        responses[name] = {
            "description": text,
            "headers": _headers(*_ERROR_HEADERS.get(status, ())),
            "content": {JSON_TYPE: {"schema": shapes[0] if len(shapes) == 1 else {"oneOf": shapes}}},
        }
    return responses


def _request_fault(codes: Sequence[str]) -> Schema:
    return {"allOf": [refer("RequestError"), {"properties": {"code": {"enum": list(codes)}}}]}


# Schemas.


def schemas() -> dict[str, Schema]:
    """Every schema by name, its fields with their notes."""
    everything = {name: as_json(copy.deepcopy(schema)) for name, schema in SCHEMAS.items()}
    for name, schema in everything.items():
        for field, described_schema in schema.get("properties", {}).items():
            if note := FIELDS.get(f"{name}.{field}"):
                described_schema["description"] = note
    return everything
