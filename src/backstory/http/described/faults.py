"""What the codes of errors mean, and the shapes that errors are answered in."""

from __future__ import annotations

from backstory.errors import Code, Fault
from backstory.http.described.schema import array_of, object_of, of_types, refer
from backstory.http.described.told import Schema

CODES: dict[Code, str] = {
    Code.MISSING_FIELD: "A mandatory field is absent (`null` counts as absent).",
    Code.INVALID_VALUE: "A wrong, blank, malformed or too long value.",
    Code.DATATYPE_MISMATCH: "The wrong JSON type: a number where a string belongs.",
    Code.INVALID_FIELD: "There is no such field or parameter.",
    Code.READONLY_FIELD: "The field exists and cannot be written.",
    Code.INACCESSIBLE_FIELD: "The field exists and cannot be used here.",
    Code.INCOMPATIBLE_FIELD: "The field does not go with another one that was sent.",
    Code.DUPLICATE_VALUE: "Not unique; `additional_info.user_id` is the contact that has it.",
    Code.INCONSISTENT_STATE: "It does not fit the state that things are in.",
}
"""What each code of a field means."""

REQUEST_CODES: dict[str, str] = {
    "invalid_request": "What was sent cannot be read as HTTP/1.1: its first line, a header, or a chunk of its body.",
    "invalid_json": "The body is not JSON: a syntax error, not UTF-8, a duplicate key, a lone surrogate.",
    "no_content_required": "A body where none belongs.",
    "invalid_credentials": "No key, or not one of ours: unknown, revoked, expired.",
    "access_denied": "A valid key that may not do this.",
    "not_found": "There is no such address or id.",
    "method_not_allowed": "The address exists, with other verbs; `Allow` lists them. Or it is a verb that is nowhere "
    "possible.",
    "not_acceptable": "The Accept header allows nothing that is answered here.",
    "request_timeout": "The body did not arrive within 30 seconds.",
    "request_too_large": "The body is over this route's limit.",
    "unsupported_media_type": "The Content-Type is not one that this route takes, or the body is compressed.",
    "rate_limit_exceeded": "The key has made as many requests in this minute as it may (`BACKSTORY_RATE_LIMIT`, off by "
    "default). Send it again after `Retry-After` seconds.",
    "internal_error": "A fault of ours. It is logged under the X-Request-Id of the answer.",
    "unavailable": "It cannot be taken now (a full queue, a full disk, a restart); nothing was kept, or the message "
    "says that this is not known. Send it again after `Retry-After` seconds.",
}
"""What each code of a whole request means."""


def error_schemas() -> dict[str, Schema]:
    """The two shapes of errors."""
    fault = of_types([Fault], {})["Fault"]
    fault["properties"]["additional_info"] = {"type": "object"}
    fault["properties"]["code"] = {"type": "string", "enum": [code.value for code in Code]}
    everything = object_of({"code": {"type": "string"}, "message": {"type": "string"}})
    return {
        "FieldErrors": object_of(
            {"description": {"type": "string"}, "errors": array_of(refer("Fault")) | {"minItems": 1}}
        )
        | {"description": "Fields at fault, all at once."},
        "Fault": fault,
        "RequestError": everything
        | {"description": "The request as a whole is at fault, or cannot be served."},
    }
