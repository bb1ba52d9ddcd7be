"""Logs and metrics: what an operator sees, and never a personal value or a key."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _FromLibraries(logging.Handler):
    """Tells what libraries tell to the standard library's log (the HTTP server, of a request that is none), as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None
        )


def configure_logs(level: str, *, human: bool, stream: TextIO | None = None) -> None:
    """Logs on standard error: one JSON object a line, or (`human`) lines for a terminal. Once, at start."""
    # The console's own tracebacks show local variables: bodies, and with them people.
    renderer = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if human
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if not human else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _FromLibraries) for handler in root.handlers):
        root.addHandler(_FromLibraries(logging.WARNING))


def is_for_people(log_format: str) -> bool:
    """Whether a setting of the log's format means lines for a terminal: text, or auto at one."""
    return log_format == "text" or (log_format == "auto" and sys.stderr.isatty())


class Metrics:
    """Every metric of one server, in a registry of its own."""

    def __init__(self) -> None:
        # Else every series has another one, which says when it began.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types
        self.registry = CollectorRegistry()
        self.published = Counter(
            "backstory_published", "Activities stored since the start", registry=self.registry
        )
        self.duplicates = Counter(
            "backstory_duplicates", "Replays answered with the first one's id", registry=self.registry
        )
        self.differing = Counter(
            "backstory_duplicates_differing", "Replays whose activity differed", registry=self.registry
        )
        self.rejected = Counter(
            "backstory_rejected",
            "Publish requests and batch items that were refused, by code",
            ["code"],
            registry=self.registry,
        )
        self.requests = Counter(
            "backstory_http_requests", "HTTP answers", ["route", "method", "status"], registry=self.registry
        )
        self.queue_depth = Gauge(
            "backstory_queue_depth", "Publications that wait for their commit", registry=self.registry
        )
        self.commit_size = Histogram(
            "backstory_commit_size",
            "Publications in one commit",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "backstory_commit_seconds",
            "From handing a group to the storage until it is durable",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=self.registry,
        )
        self.index_lag = Gauge(
            "backstory_index_lag_seconds",
            "Age of the oldest activity that searches do not find yet",
            registry=self.registry,
        )
        self.index_renewals = Gauge(
            "backstory_index_renewals",
            "How often the search index was found damaged or gone, and begun again",
            registry=self.registry,
        )
        self.viewers = Gauge("backstory_live_viewers", "Open live streams", registry=self.registry)
        self.mail_waiting = Gauge(
            "backstory_mail_waiting", "Mails that wait to be sent", registry=self.registry
        )
        self.mail_tries = Counter(
            "backstory_mail_tries", "Tries to send a mail, by outcome", ["outcome"], registry=self.registry
        )
        self.rejections_dropped = Gauge(
            "backstory_rejections_dropped",
            "Refused requests that were not kept for the admin because there were too many at once",
            registry=self.registry,
        )

    def render(self) -> bytes:
        """The metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
