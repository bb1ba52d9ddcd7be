"""How the service is: alive, ready, measured."""

from __future__ import annotations

from backstory.http.message import Request, Response, json_response
from backstory.http.services import Services
from backstory.observe import METRICS_CONTENT_TYPE


async def healthz(request: Request, services: Services) -> Response:
    """The process lives."""
    return json_response({"status": "alive"})


async def readyz(request: Request, services: Services) -> Response:
    """It can publish and read; 503 while it cannot."""
    await services.store.ready()
    return json_response({"status": "ready"})


async def metrics(request: Request, services: Services) -> Response:
    """The metrics, in the text format of Prometheus."""
    return Response(services.metrics.render(), content_type=METRICS_CONTENT_TYPE)
