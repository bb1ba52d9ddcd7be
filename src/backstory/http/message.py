"""Requests and responses, as handlers see them: read, call, answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from backstory.http.limits import Allowance
from backstory.http.multipart import Form
from backstory.model.access import AuditEntry, Principal, Session
from backstory.model.moment import Microseconds, now

Scope = MutableMapping[str, Any]
JSON_TYPE = "application/json"
NDJSON_TYPE = "application/x-ndjson"
FORM_TYPE = "multipart/form-data"
EVENT_STREAM_TYPE = "text/event-stream"
_JSON_HEADER = "application/json; charset=utf-8"


class Request:
    """One request whose rights, method and body were checked already."""

    __slots__ = (
        "_scope",
        "allowance",
        "body",
        "content_type",
        "form",
        "headers",
        "id",
        "method",
        "path",
        "path_values",
        "principal",
        "received",
        "session",
        "token",
    )

    def __init__(self, scope: Scope, request_id: str) -> None:
        self._scope = scope
        self.id = request_id
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.path_values: Mapping[str, str] = {}
        self.body = b""
        self.content_type = ""
        self.form: Form | None = None
        self.allowance: Allowance | None = None
        self.received: Microseconds = now()
        self.principal: Principal | None = None
        self.session: Session | None = None  # on a page, of whoever is signed in
        self.token = ""  # on a page, the visitor's cookie

    @property
    def caller(self) -> Principal:
        """Who is asking, on a route that needs a key."""
        assert self.principal is not None, "the route asks for a right, so the dispatcher has a principal"
        return self.principal

    def query(self) -> list[tuple[str, str]]:
        """The query's pairs in order, blank values kept."""
        return parse_qsl(self._scope["query_string"].decode(errors="replace"), keep_blank_values=True)

    def header(self, name: bytes) -> str | None:
        """A header's value; None where it was not sent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def cookie(self, name: str) -> str | None:
        """A cookie's value; None where it was not sent."""
        for pair in (self.header(b"cookie") or "").split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
        return None

    @property
    def is_secure(self) -> bool:
        """Whether it came over TLS, as far as a trusted proxy says so."""
        return bool(self._scope["scheme"] == "https")

    @property
    def address(self) -> str:
        """Where it came from, as far as a trusted proxy says so."""
        client = self._scope.get("client")
        return str(client[0]) if client else "-"

    def url(self, path: str, query: Sequence[tuple[str, str]] = ()) -> str:
        """An absolute URL with the host that the client used."""
        host = self.header(b"host") or ":".join(map(str, self._scope["server"]))
        text = f"{self._scope['scheme']}://{host}{path}"
        return f"{text}?{urlencode(query)}" if query else text

    def audit(self, action: str, target: str, **details: Any) -> AuditEntry:
        """An entry for the audit log: this caller does `action` to `target`, from where the request came."""
        origin = f"{'api' if self.session is None else 'page'} {self.address}"
        return AuditEntry(now(), self.caller.actor, action, target, origin, details)


class Response:
    """An answer: a body, or (`stream`) pieces of one."""

    __slots__ = ("body", "content_type", "headers", "status", "stream")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: str = _JSON_HEADER,
        headers: Mapping[str, str] | None = None,
        stream: AsyncGenerator[bytes] | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.headers = headers or {}
        self.stream = stream


_ENCODER = msgspec.json.Encoder()


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is encoded from a value."""
    return Response(_ENCODER.encode(value), status=status, headers=headers)


def no_content() -> Response:
    """204."""
    return Response(status=204)
