"""Errors as answers (contract section 3)."""

from __future__ import annotations

from backstory.errors import FieldErrors, InternalError, RequestError
from backstory.http.message import Response, json_response


def error_response(error: Exception) -> Response:
    """The answer to an error; what nobody foresaw is a 500 that tells nothing of the inside."""
    if isinstance(error, FieldErrors):
        return json_response({"description": error.description, "errors": error.faults}, status=error.status)
    if not isinstance(error, RequestError):
        error = InternalError(
            "Something went wrong here; it is logged under the X-Request-Id of this answer."
        )
    return json_response(
        {"code": error.code, "message": error.message}, status=error.status, headers=error.headers
    )


def is_foreseen(error: Exception) -> bool:
    """Whether an error was raised on purpose, as an answer."""
    return isinstance(error, FieldErrors | RequestError) and not isinstance(error, InternalError)
