"""Schemas from types, and the small parts that schemas are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from backstory.http.described.told import Schema

REF = "#/components/schemas/"
STRING: Schema = {"type": "string"}
NULLABLE: Schema = {"type": ["string", "null"]}
INTEGER: Schema = {"type": "integer"}
NULLABLE_INTEGER: Schema = {"type": ["integer", "null"]}
BOOLEAN: Schema = {"type": "boolean"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
NULLABLE_MOMENT: Schema = {"type": ["string", "null"], "format": "date-time"}
OBJECT: Schema = {"type": "object"}

_MONTH_AND_DAY = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-9]))"
)
_ZONE = "(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,32})?)?"
TIME_PATTERN = f"^[0-9]{{4}}-{_MONTH_AND_DAY}(T{_CLOCK}{_ZONE})?$"
"""What times are accepted, as nearly as a pattern can say it; the calendar's own rules come on top."""


def refer(name: str) -> Schema:
    """A reference to a schema by its name."""
    return {"$ref": f"{REF}{name}"}


def object_of(properties: dict[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """An object with these properties, all there but the optional ones."""
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": properties, "required": required}


def array_of(items: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": items}


def of_types(types: Sequence[type[Any]], names: Mapping[str, str]) -> dict[str, Schema]:
    """The schemas of types and of what they hold, under other names where `names` has them."""
    _, found = msgspec.json.schema_components(types, ref_template=REF + "{name}")
    return {names.get(name, name): _tidy(schema, names) for name, schema in found.items()}


def _tidy(schema: Any, names: Mapping[str, str]) -> Any:
    """Without what repeats itself: titles, `default: null`, and `anyOf` where a list of types says it."""
    if isinstance(schema, list):
        return [_tidy(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value, names) for key, value in schema.items() if key not in ("title", "default")}
    if "$ref" in tidy:
        name = tidy["$ref"].removeprefix(REF)
        return {"$ref": REF + names.get(name, name)}
    match tidy.get("anyOf"):
        case [{"type": kind, **rest}, {"type": "null"}]:
            return {"type": [kind, "null"], **rest}
    return tidy


def as_answered(schema: Schema) -> None:
    """Answers have every key, and promise no limits."""
    schema["required"] = list(schema["properties"])
    schema.pop("additionalProperties", None)
    for field in schema["properties"].values():
        for limit in ("minLength", "maxLength", "pattern"):
            field.pop(limit, None)


def one_given(names: Iterable[str], properties: Mapping[str, Schema]) -> list[Schema]:
    """At least one of these is there and not blank."""
    return [{"required": [name], "properties": {name: _given(properties[name])}} for name in names]


def _given(schema: Schema) -> Schema:
    (kind, _) = schema["type"]
    more: dict[str, Schema] = {"string": {"pattern": r"\S"}, "array": {"minItems": 1}}
    return {"type": kind, **more.get(kind, {})}


def listed(struct: type[msgspec.Struct], changes: Mapping[str, Schema] | None = None) -> Schema:
    """An entry of a list that is numbered and paged by its number."""
    schema = of_types([struct], {})[struct.__name__]
    properties = {"id": {"type": "integer"}, **schema["properties"], **(changes or {})}
    properties["at"] = {"type": "string", "format": "date-time"}
    return object_of(properties) | {"description": schema["description"]}


def is_file(schema: Schema) -> bool:
    """Whether these are files, or lists of files, which only a form can carry."""
    return schema.get("format") == "binary" or schema.get("items", {}).get("format") == "binary"


def as_json(schema: Schema) -> Schema:
    """An object as JSON can say it."""
    if "properties" not in schema:
        return dict(schema)
    fields = {name: dict(field) for name, field in schema["properties"].items() if not is_file(field)}
    return schema | {"properties": fields}


def as_form(schema: Schema) -> Schema:
    """An object as a form says it: lists as `name[]`, and no null."""
    fields: dict[str, Schema] = {}
    for name, field in schema["properties"].items():
        kinds = field.get("type", ())
        kind = next((kind for kind in [*kinds] if kind != "null"), None) if isinstance(kinds, list) else kinds
        plain = field | {"type": kind}
        if "enum" in plain:
            plain["enum"] = [value for value in plain["enum"] if value is not None]
        fields[f"{name}[]" if kind == "array" else name] = plain
    return {name: value for name, value in schema.items() if name != "anyOf"} | {"properties": fields}
