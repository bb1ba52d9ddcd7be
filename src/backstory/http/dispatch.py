"""From an ASGI request to an answer. The order of the faults is the contract's (section 3), and it is this file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Protocol

import structlog
from prometheus_client import Counter

from backstory.errors import (
    AccessDenied,
    BackstoryError,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    RateLimitExceeded,
    RequestError,
)
from backstory.http.body import ClientGoneError, Receive, check_type, read_body, refuse_body
from backstory.http.errors import error_response, is_foreseen
from backstory.http.limits import UNLIMITED, Allowance, RateLimits
from backstory.http.message import FORM_TYPE, Request, Response, Scope
from backstory.http.multipart import read_multipart
from backstory.http.routes import API, Route
from backstory.http.services import Services
from backstory.model.access import Principal, Right
from backstory.model.ids import RandomPool
from backstory.model.moment import now

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_USUAL_HEADERS = [
    (b"x-freshdesk-api-version", b"latest=v2; requested=v2"),
    (b"x-ratelimit-used-currentrequest", b"1"),
    (b"x-content-type-options", b"nosniff"),
]


def _limit_headers(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-total", str(allowance.total).encode()),
        (b"x-ratelimit-remaining", str(allowance.remaining).encode()),
    ]


_UNLIMITED_HEADERS = [*_USUAL_HEADERS, *_limit_headers(Allowance(UNLIMITED, UNLIMITED - 1))]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = structlog.get_logger("backstory.http")


class Door(Protocol):
    """What is different for pages: how people are known, and how they are told of an error."""

    async def admit(self, request: Request, services: Services) -> None:
        """Note on the request who is signed in, if anybody is."""

    def refuse_stranger(self, request: Request, route: Route) -> None:
        """Refuse whoever must sign in first.

        Raises:
            InvalidCredentials: nobody is signed in, and the route asks for it.
        """

    def check_form(self, request: Request) -> None:
        """Refuse a form that was not sent from a page of ours.

        Raises:
            AccessDenied: it was not.
        """

    def error_page(self, request: Request, error: Exception) -> Response:
        """The answer to an error."""


class Dispatcher:
    """An ASGI application over a list of routes."""

    def __init__(self, services: Services, routes: Iterable[Route], door: Door) -> None:
        self._services = services
        self._door = door
        self._limits = RateLimits(services.settings.rate_limit)
        self._random = RandomPool()
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        for path, methods in by_path.items():
            if "{" in path:
                self._patterns.append((re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), methods))
            else:
                self._fixed[path] = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        request = Request(scope, _request_id(self._random.take(16)))
        route_path, route = "-", None
        try:
            principal = await self._authenticate(request)
            if principal is not None and principal.key_id is not None:
                request.allowance = self._limits.take(principal.key_id)
            methods, request.path_values = self._match(request.path)
            route = methods.get("GET" if request.method == "HEAD" else request.method)
            if route is None:
                raise MethodNotAllowed(request.method, sorted(methods))
            route_path = route.path
            if route.page:
                principal = await self._enter(request, route)
            _check_right(route, principal)
            request.principal = principal
            _check_accept(request, route)
            await _read(request, route, receive)
            if route.page and route.body is not None:
                self._door.check_form(request)
            response = await route.handler(request, self._services)
        except ClientGoneError:
            return
        except Exception as error:
            if not is_foreseen(error):
                log.exception("request_failed", request_id=request.id, route=route_path)
            elif route is not None and route.right is Right.PUBLISH and isinstance(error, BackstoryError):
                self._services.note_rejection(request, error, request.body)
            if isinstance(error, RateLimitExceeded):
                request.allowance = self._limits.exhausted
            if _is_for_people(request, route):
                response = self._door.error_page(request, error)
            else:
                response = error_response(error)
        finally:
            if request.form is not None:
                request.form.close()
        self._count(route_path, request.method, response.status)
        self._log(request, route_path, response)
        await _send(request, response, receive, send)

    def refuse(self, error: RequestError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """The answer to what could not be read as a request: status, headers, body. Counted and logged as any other."""
        request = Request({"method": "-", "path": "", "headers": []}, _request_id(self._random.take(16)))
        response = error_response(error)
        self._count("-", request.method, response.status)
        self._log(request, "-", response)
        return response.status, _headers(request, response), response.body

    async def _authenticate(self, request: Request) -> Principal | None:
        """Who is asking. Everything below /api/v2 needs a key, also what does not exist there."""
        if not request.path.startswith(f"{API}/"):
            return None
        return await self._services.authenticator.authenticate(request.headers.get(b"authorization"))

    async def _enter(self, request: Request, route: Route) -> Principal | None:
        """Who is signed in to the pages."""
        await self._door.admit(request, self._services)
        self._door.refuse_stranger(request, route)
        return request.session.principal if request.session else None

    def _match(self, path: str) -> tuple[dict[str, Route], Mapping[str, str]]:
        if path.endswith("/") and len(path) > 1:
            path = path[:-1]
        if methods := self._fixed.get(path):
            return methods, {}
        for pattern, methods in self._patterns:
            if found := pattern.fullmatch(path):
                return methods, found.groupdict()
        raise NotFound("There is nothing at this address; /api/docs lists what there is.")

    def _count(self, route: str, method: str, status: int) -> None:
        method = method if method in _METHODS else "other"  # what clients make up must not make new series
        counter = self._counters.get((route, method, status))
        if counter is None:
            counter = self._services.metrics.requests.labels(route, method, str(status))
            self._counters[route, method, status] = counter
        counter.inc()

    def _log(self, request: Request, route: str, response: Response) -> None:
        wanted = self._services.settings.log_requests
        if wanted == "all" or (wanted == "faults" and response.status >= 400):
            log.info(
                "request",
                request_id=request.id,
                method=request.method,
                route=route,
                status=response.status,
                key=request.principal.key_id if request.principal else None,
                ms=round((now() - request.received) / 1000, 1),
            )


def _request_id(random: bytes) -> str:
    """A UUID of version 4 from 16 random bytes, without the cost of building a `uuid.UUID` on the hot path."""
    digits = random.hex()
    variant = "89ab"[random[8] & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _is_for_people(request: Request, route: Route | None) -> bool:
    """Whether an error is told by a page: on pages, and to a browser at an address that there is not."""
    if route is not None:
        return route.page
    return not request.path.startswith(f"{API}/") and b"text/html" in request.headers.get(b"accept", b"")


def _check_right(route: Route, principal: Principal | None) -> None:
    if route.right is not Right.NONE and not (principal and principal.may(route.right)):
        raise AccessDenied


def _check_accept(request: Request, route: Route) -> None:
    accept = request.headers.get(b"accept", b"*/*")
    if b"*/*" in accept:
        return
    for item in accept.decode("latin-1").split(","):
        media, _, parameters = item.partition(";")
        media = media.strip().lower()
        refused = re.search(r"\bq=0(?:\.0*)?\s*(?:;|$)", parameters)
        if not refused and any(
            media in ("", "*", kind, f"{kind.partition('/')[0]}/*") or kind == "*/*" for kind in route.answers
        ):
            return
    raise NotAcceptable(
        f"The Accept header allows none of what is answered here: {', '.join(route.answers)}."
    )


async def _read(request: Request, route: Route, receive: Receive) -> None:
    if route.body is None:
        await refuse_body(receive, request.headers)
    else:
        request.content_type = check_type(request.headers, route.body)
        if request.content_type == FORM_TYPE:
            request.form = await read_multipart(receive, request.headers, route.body)
        else:
            body = await read_body(receive, request.headers, route.body)
            request.body = b"{}" if route.body.optional and not body else body


def _headers(request: Request, response: Response) -> list[tuple[bytes, bytes]]:
    if request.allowance is None:
        headers = [*_UNLIMITED_HEADERS, (b"x-request-id", request.id.encode())]
    else:
        limits = _limit_headers(request.allowance)
        headers = [*_USUAL_HEADERS, *limits, (b"x-request-id", request.id.encode())]
    if response.status != 204:
        headers.append((b"content-type", response.content_type.encode()))
    headers.extend(
        (name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()
    )
    if response.stream is None and response.status != 204:
        headers.append((b"content-length", str(len(response.body)).encode()))
    return headers


async def _send(request: Request, response: Response, receive: Receive, send: Send) -> None:
    headers = _headers(request, response)
    if response.stream is None:
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        # The server leaves the body out for HEAD.
        await send({"type": "http.response.body", "body": response.body})
        return
    if request.method == "HEAD":
        await response.stream.aclose()
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await _send_stream(response, receive, send)


async def _send_stream(response: Response, receive: Receive, send: Send) -> None:
    """Send pieces until they end or the client goes away."""
    assert response.stream is not None
    stream = response.stream

    async def forward() -> None:
        async for piece in stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            continue

    tasks = [asyncio.create_task(forward()), asyncio.create_task(watch())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended, _ = await asyncio.gather(*tasks, return_exceptions=True)
        await stream.aclose()
    if isinstance(ended, Exception):
        log.error("stream_failed", exc_info=ended)
    await send({"type": "http.response.body", "body": b""})
