"""The API as OpenAPI 3.1, made from the routes, the types of the bodies and the tree of errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from backstory import __version__
from backstory.errors import REQUEST_ERRORS, Code, Fault
from backstory.http import described
from backstory.http.activities import MAX_BATCH
from backstory.http.contacts import IDENTIFIED_BY
from backstory.http.described import FIELDS, HEADERS, PARAMETERS, ROUTES_DESCRIBED, USUAL_HEADERS, Described
from backstory.http.message import JSON_TYPE, NDJSON_TYPE
from backstory.http.routes import API, Route
from backstory.ingest.validate import IDENTIFIERS
from backstory.model.access import AuditEntry, Rejection, Right
from backstory.model.activity import (
    MAX_DESCRIPTION,
    MAX_IDENTIFIER,
    MAX_NAME,
    MAX_TEXT,
    Body,
    PublishRequest,
    SentActivity,
)
from backstory.model.contact import NewContact
from backstory.model.identity import CREATED, Conflict, Kind

Schema = dict[str, Any]

_REF = "#/components/schemas/"
EMAIL_PATTERN = r"^\s*([^\s\u0000-\u001f]+@[^\s@\u0000-\u001f]+)?\s*$"
PHONE_PATTERN = r"[0-9]|^\s*$"


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
        "tags": [{"name": name, "description": text} for name, text in described.GROUPS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": _security_schemes(),
            "schemas": schemas(),
            "parameters": {_component(name): _parameter(name) for name in PARAMETERS},
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
        "tags": [told.group],
        "summary": told.title,
        "description": told.text,
        "security": [] if route.right is Right.NONE else [{"basic": []}, {"bearer": []}],
        "x-right": route.right.value,
        "parameters": [*_path_parameters(route), *({"$ref": _parameter_ref(n)} for n in told.parameters)],
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
        possible |= {401, 503}
    if route.right in (Right.READ, Right.ADMIN):
        possible.add(403)
    if "{" in route.path:
        possible.add(404)
    if route.body is not None:
        possible.add(415)
    for status in sorted(possible):
        yield status, particular.get(status)


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if "{id}" not in route.path:
        return
    if route.path.startswith(f"{API}/contacts/"):
        schema: Schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
        text = "The contact's id."
    else:
        schema, text = {"type": "string", "format": "uuid"}, "The activity's id."
    yield {"name": "id", "in": "path", "required": True, "schema": schema, "description": text}


def _component(name: str) -> str:
    return name.replace("-", "")


def _parameter_ref(name: str) -> str:
    return f"#/components/parameters/{_component(name)}"


def _parameter(name: str) -> dict[str, Any]:
    place, schema, text = PARAMETERS[name]
    parameter = {"name": name, "in": place, "required": False, "schema": schema, "description": text}
    return parameter | {"style": "form", "explode": True} if schema["type"] == "array" else parameter


def _request_body(route: Route, told: Described) -> dict[str, Any]:
    assert told.body is not None
    assert route.body is not None
    content: dict[str, Any] = {}
    for media in route.body.types:
        lines = media == NDJSON_TYPE
        name = "Lines" if lines else told.body
        content[media] = {"schema": {"$ref": _REF + name}, "example": described.EXAMPLE_BODIES[name]}
    limit = f"At most {route.body.limit // 1024**2} MiB."
    return {"required": True, "description": limit, "content": content}


def _good_answer(route: Route, told: Described) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": told.means, "headers": _headers(*told.headers)}
    if told.status == 204:
        return answer
    (media,) = route.answers
    schema: Schema = {"$ref": _REF + told.answer} if told.answer else {"type": "string"}
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
_ERROR_HEADERS = {405: ("Allow",), 503: ("Retry-After",)}


def _refusal(status: int, text: str | None) -> dict[str, Any]:
    reference = {"$ref": f"#/components/responses/{_ERROR_NAMES[status]}"}
    return reference | {"description": text} if text else reference


def _responses() -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, name in sorted(_ERROR_NAMES.items()):
        codes = [error.code for error in REQUEST_ERRORS if error.status == status]
        shapes = [_request_fault(codes)] if codes else []
        if status in (400, 409):
            shapes.append({"$ref": f"{_REF}FieldErrors"})
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
    return {"allOf": [{"$ref": f"{_REF}RequestError"}, {"properties": {"code": {"enum": list(codes)}}}]}


# Schemas.


def schemas() -> dict[str, Schema]:
    """Every schema by name."""
    requests = _of_types(
        [_publish_request()], {"Actor": "SentActor", "Source": "SentSource", "Object": "SentObject"}
    )
    requests["SentActivity"]["properties"]["name"]["maxLength"] = MAX_NAME
    requests["SentActivity"]["properties"]["name"].pop("description")
    requests["SentActivity"]["properties"]["timestamp"]["pattern"] = described.TIME_PATTERN
    contact = requests["SentContact"]["properties"]
    contact["email"]["pattern"] = EMAIL_PATTERN
    contact["phone"]["pattern"] = contact["mobile"]["pattern"] = PHONE_PATTERN
    requests["SentContact"]["anyOf"] = _one_given(IDENTIFIERS, contact)
    answers = _of_types(
        [_documented(Body, context=dict[str, Any] | None)],
        {
            "Body": "Activity",
            "Actor": "ActivityActor",
            "Source": "ActivitySource",
            "Object": "ActivityObject",
        },
    )
    for schema in answers.values():
        _as_answered(schema)
    answers["Activity"] = _activity(answers["Activity"])
    everything = {
        **requests,
        "BatchRequest": _batch_request(),
        "Lines": {"type": "string", "description": "NDJSON: one publish request a line."},
        "NewContact": _new_contact(),
        **answers,
        "Published": _published(),
        **_of_types([Conflict], {}),
        "BatchAnswer": _batch_answer(),
        "Contact": _contact(),
        "RejectedRequest": _listed(Rejection, {"errors": _array({"$ref": f"{_REF}RejectedFault"})}),
        "RejectedFault": _object(
            {"field": {"type": ["string", "null"]}, "code": {"type": "string"}, "message": {"type": "string"}}
        ),
        "AuditEntry": _listed(AuditEntry),
        "Health": _object({"status": {"type": "string", "enum": ["alive", "ready"]}}),
        "Document": {"type": "object", "description": "An OpenAPI 3.1 document."},
        **_errors(),
    }
    for name, schema in everything.items():
        for field, described_schema in schema.get("properties", {}).items():
            if note := FIELDS.get(f"{name}.{field}"):
                described_schema["description"] = note
    return everything


def _documented(struct: type[msgspec.Struct], **changes: Any) -> type[msgspec.Struct]:
    """A struct with some fields' types replaced by such that msgspec can describe (it cannot do `Raw`)."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        kind = changes.get(field.name, field.type)
        default = None if field.name in changes else field.default
        fields.append((field.name, kind) if field.required else (field.name, kind, default))
    closed = struct.__struct_config__.forbid_unknown_fields
    return msgspec.defstruct(struct.__name__, fields, frozen=True, forbid_unknown_fields=closed)


def _publish_request() -> type[msgspec.Struct]:
    activity = _documented(SentActivity, context=dict[str, Any] | None)
    return _documented(PublishRequest, activity=activity)


def _of_types(types: Sequence[type[Any]], names: Mapping[str, str]) -> dict[str, Schema]:
    _, found = msgspec.json.schema_components(types, ref_template=_REF + "{name}")
    return {names.get(name, name): _tidy(schema, names) for name, schema in found.items()}


def _tidy(schema: Any, names: Mapping[str, str]) -> Any:
    """Without what repeats itself: titles, `default: null`, and `anyOf` where a list of types says it."""
    if isinstance(schema, list):
        return [_tidy(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value, names) for key, value in schema.items() if key not in ("title", "default")}
    if "$ref" in tidy:
        name = tidy["$ref"].removeprefix(_REF)
        return {"$ref": _REF + names.get(name, name)}
    match tidy.get("anyOf"):
        case [{"type": kind, **rest}, {"type": "null"}]:
            return {"type": [kind, "null"], **rest}
    return tidy


def _as_answered(schema: Schema) -> None:
    """Answers have every key, and promise no limits."""
    schema["required"] = list(schema["properties"])
    schema.pop("additionalProperties", None)
    for field in schema["properties"].values():
        for limit in ("minLength", "maxLength", "pattern"):
            field.pop(limit, None)


def _activity(body: Schema) -> Schema:
    properties = {
        "id": {"type": "string", "format": "uuid"},
        "contact_id": {"type": "integer"},
        **body["properties"],
    }
    for name in ("timestamp", "received_at"):
        properties[name] = {"type": "string", "format": "date-time"}
    return _object(properties) | {"description": "An activity as it is answered."}


def _one_given(names: Iterable[str], properties: Mapping[str, Schema]) -> list[Schema]:
    """At least one of these is there and not blank."""
    return [{"required": [name], "properties": {name: _given(properties[name])}} for name in names]


def _given(schema: Schema) -> Schema:
    (kind, _) = schema["type"]
    more: dict[str, Schema] = {"string": {"pattern": r"\S"}, "array": {"minItems": 1}}
    return {"type": kind, **more.get(kind, {})}


def _batch_request() -> Schema:
    items = {"type": "array", "items": {"$ref": f"{_REF}PublishRequest"}, "maxItems": MAX_BATCH}
    return _object({"activities": items}) | {"additionalProperties": False}


def _new_contact() -> Schema:
    lengths = {"name": MAX_NAME, "address": MAX_TEXT, "description": MAX_DESCRIPTION}
    lengths |= {"job_title": MAX_NAME, "language": MAX_NAME, "time_zone": MAX_NAME}
    properties: dict[str, Schema] = {
        name: {"type": ["string", "null"], "maxLength": lengths.get(name, MAX_IDENTIFIER)}
        for name in NewContact.__struct_fields__
    }
    properties["name"] = {"type": "string", "maxLength": MAX_NAME, "minLength": 1, "pattern": r"\S"}
    properties["email"]["pattern"] = EMAIL_PATTERN
    properties["phone"]["pattern"] = properties["mobile"]["pattern"] = PHONE_PATTERN
    return {
        "type": "object",
        "properties": properties,
        "required": ["name"],
        "additionalProperties": False,
        "anyOf": _one_given(IDENTIFIED_BY, properties),
    }


def _object(properties: dict[str, Schema], optional: Iterable[str] = ()) -> Schema:
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": properties, "required": required}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _published() -> Schema:
    ways = [*(kind.value for kind in Kind), CREATED, None]
    return _object(
        {
            "id": {"type": "string", "format": "uuid"},
            "external_id": {"type": ["string", "null"]},
            "contact_id": {"type": ["integer", "null"]},
            "matched_by": {"type": ["string", "null"], "enum": ways},
            "duplicate": {"type": "boolean"},
            "differs": {"type": "boolean", "const": True},
            "conflicts": _array({"$ref": f"{_REF}Conflict"}),
        },
        optional=("differs", "conflicts"),
    )


def _batch_answer() -> Schema:
    def item(name: str, **status: Any) -> Schema:
        marked = {"type": "object", "properties": {"status": status}, "required": ["status"]}
        return {"allOf": [marked, {"$ref": _REF + name}]}

    shapes = [item("Published", const=200), item("FieldErrors", const=400)]
    shapes.append(item("RequestError", enum=[400, 403]))
    return _object({"results": {"type": "array", "items": {"oneOf": shapes}, "maxItems": MAX_BATCH}})


_STRING, _NULLABLE, _BOOLEAN = {"type": "string"}, {"type": ["string", "null"]}, {"type": "boolean"}
_CONTACT: dict[str, Schema] = {
    "id": {"type": "integer"},
    "active": _BOOLEAN,
    "name": _STRING,
    "first_name": _STRING,
    "view_all_tickets": _BOOLEAN,
    "language": _STRING,
    "company_id": {"type": ["integer", "null"]},
    "other_companies": _array({"type": "object"}),
    "other_emails": _array(_STRING),
    "tags": _array(_STRING),
    "custom_fields": {"type": "object"},
    "avatar": {"type": ["object", "null"]},
    "created_at": {"type": "string", "format": "date-time"},
    "updated_at": {"type": "string", "format": "date-time"},
    "deleted": {"type": "boolean", "const": True},
}
CONTACT_KEYS = (
    "id active name first_name last_name email phone mobile twitter_id facebook_id unique_external_id address"
    " description job_title language time_zone company_id view_all_tickets other_companies other_emails"
    " social_handler contact_type tags custom_fields avatar csat_rating preferred_source created_at updated_at"
    " deleted"
).split()
"""The key set of a contact (contract 5)."""


def _contact() -> Schema:
    return _object(
        {name: dict(_CONTACT.get(name, _NULLABLE)) for name in CONTACT_KEYS}, optional=("deleted",)
    )


def _listed(struct: type[msgspec.Struct], changes: Mapping[str, Schema] | None = None) -> Schema:
    """An entry of a list that is numbered and paged by its number."""
    schema = _of_types([struct], {})[struct.__name__]
    properties = {"id": {"type": "integer"}, **schema["properties"], **(changes or {})}
    properties["at"] = {"type": "string", "format": "date-time"}
    return _object(properties) | {"description": schema["description"]}


def _errors() -> dict[str, Schema]:
    fault = _of_types([Fault], {})["Fault"]
    fault["properties"]["additional_info"] = {"type": "object"}
    fault["properties"]["code"] = {"type": "string", "enum": [code.value for code in Code]}
    everything = _object({"code": {"type": "string"}, "message": {"type": "string"}})
    return {
        "FieldErrors": _object(
            {"description": {"type": "string"}, "errors": _array({"$ref": f"{_REF}Fault"}) | {"minItems": 1}}
        )
        | {"description": "Fields at fault, all at once."},
        "Fault": fault,
        "RequestError": everything
        | {"description": "The request as a whole is at fault, or cannot be served."},
    }
