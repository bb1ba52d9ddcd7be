"""Everything that can go wrong, as one tree. Code and status stand on the class.

    BackstoryError
    ├── RequestError                 answered as {"code", "message"}
    │   ├── InvalidRequest           400 invalid_request
    │   ├── InvalidJson              400 invalid_json
    │   ├── NoContentRequired        400 no_content_required
    │   ├── InvalidCredentials       401 invalid_credentials
    │   ├── AccessDenied             403 access_denied
    │   ├── NotFound                 404 not_found
    │   ├── MethodNotAllowed         405 method_not_allowed
    │   ├── NotAcceptable            406 not_acceptable
    │   ├── RequestTimeout           408 request_timeout
    │   ├── RequestTooLarge          413 request_too_large
    │   ├── UnsupportedMediaType     415 unsupported_media_type
    │   ├── RateLimitExceeded        429 rate_limit_exceeded
    │   ├── InternalError            500 internal_error
    │   └── Unavailable              503 unavailable
    ├── FieldErrors                  400 or 409, answered as {"description", "errors": [...]}
    └── OperatorError                shown by the command line as one line and exit code 1
        ├── SettingError
        └── StorageError

The HTTP side of it is section 3 of the contract (docs/api.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

import msgspec


class BackstoryError(Exception):
    """The root: whatever Backstory raises on purpose."""


class Code(StrEnum):
    """What a field can be faulted for: the codes that clients match."""

    MISSING_FIELD = "missing_field"
    INVALID_VALUE = "invalid_value"
    DATATYPE_MISMATCH = "datatype_mismatch"
    INVALID_FIELD = "invalid_field"
    READONLY_FIELD = "readonly_field"
    INACCESSIBLE_FIELD = "inaccessible_field"
    INCOMPATIBLE_FIELD = "incompatible_field"
    DUPLICATE_VALUE = "duplicate_value"
    INCONSISTENT_STATE = "inconsistent_state"

    @property
    def status(self) -> int:
        """The HTTP status of a request at fault with this code."""
        return 409 if self in (Code.DUPLICATE_VALUE, Code.INCONSISTENT_STATE) else 400


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field at fault: its dotted path, what is wrong for people, and the code for programs."""

    field: str
    message: str
    code: Code
    additional_info: Mapping[str, Any] | None = None


class FieldErrors(BackstoryError):
    """One or more fields at fault, all reported at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)

    @property
    def status(self) -> int:
        """400 where any fault has it, else 409."""
        return min(fault.code.status for fault in self.faults)

    @property
    def description(self) -> str:
        """The sentence above the list."""
        return "Validation failed"


class RequestError(BackstoryError):
    """The request as a whole is at fault, or cannot be served."""

    status: ClassVar[int]
    code: ClassVar[str]

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers or {}


class InvalidRequest(RequestError):
    """What was sent is no HTTP request that can be read."""

    status, code = 400, "invalid_request"


class InvalidJson(RequestError):
    """The body is not JSON as the contract means it."""

    status, code = 400, "invalid_json"


class NoContentRequired(RequestError):
    """A body where none belongs."""

    status, code = 400, "no_content_required"


class InvalidCredentials(RequestError):
    """No key, or not one of ours."""

    status, code = 401, "invalid_credentials"

    def __init__(self) -> None:
        super().__init__("You have to be logged in to perform this action.")


class AccessDenied(RequestError):
    """A valid key that may not do this."""

    status, code = 403, "access_denied"

    def __init__(self, message: str = "You are not authorized to perform this action.") -> None:
        super().__init__(message)


class NotFound(RequestError):
    """An unknown path or id."""

    status, code = 404, "not_found"


class MethodNotAllowed(RequestError):
    """A path that exists, with a verb that it does not have."""

    status, code = 405, "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        listed = ", ".join(allowed)
        possible = f"; possible: {listed}" if listed else ""
        super().__init__(f"{method} is not possible here{possible}.", headers={"Allow": listed})


class NotAcceptable(RequestError):
    """The Accept header allows nothing that the route can answer."""

    status, code = 406, "not_acceptable"


class RequestTimeout(RequestError):
    """The body did not arrive in time."""

    status, code = 408, "request_timeout"


class RequestTooLarge(RequestError):
    """The body is over the route's limit."""

    status, code = 413, "request_too_large"


class UnsupportedMediaType(RequestError):
    """The body's Content-Type or Content-Encoding is not one that the route takes."""

    status, code = 415, "unsupported_media_type"


class RateLimitExceeded(RequestError):
    """The key has made as many requests in this minute as it may; `retry_after` seconds later it may again."""

    status, code = 429, "rate_limit_exceeded"

    def __init__(self, limit: int, *, retry_after: int) -> None:
        message = f"This key may make {limit:,} requests a minute; the next one in {retry_after} seconds."
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class InternalError(RequestError):
    """A fault of ours."""

    status, code = 500, "internal_error"


class Unavailable(RequestError):
    """Cannot take it now; the same request is worth sending again after `retry_after` seconds."""

    status, code = 503, "unavailable"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class OperatorError(BackstoryError):
    """Something the operator can mend; the message says how."""


class SettingError(OperatorError):
    """A setting that cannot be."""


class StorageError(OperatorError):
    """Storage that cannot be used as it is."""


REQUEST_ERRORS: tuple[type[RequestError], ...] = (
    InvalidRequest,
    InvalidJson,
    NoContentRequired,
    InvalidCredentials,
    AccessDenied,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    RequestTooLarge,
    UnsupportedMediaType,
    RateLimitExceeded,
    InternalError,
    Unavailable,
)
"""Every request error, for the documentation and its tests."""
