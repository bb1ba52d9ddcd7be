"""The composition root: the one place that picks an engine and joins the parts, and stops them in order."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import structlog
import uvicorn
from prometheus_client import start_http_server

from backstory.collector import calm_collector
from backstory.committer import committer
from backstory.config import PostgresUrl, Settings
from backstory.errors import BackstoryError, RequestError, SettingError
from backstory.helpdesk.access import Authenticator
from backstory.helpdesk.agents import Agents
from backstory.helpdesk.attachments import Attachments
from backstory.helpdesk.bulk import BulkTickets
from backstory.helpdesk.companies import Companies
from backstory.helpdesk.contacts import Contacts
from backstory.helpdesk.conversations import Conversations
from backstory.helpdesk.csv_files import CsvFiles
from backstory.helpdesk.csv_jobs import CsvJobs
from backstory.helpdesk.erasing import Eraser
from backstory.helpdesk.files import AttachmentFiles, OrphanRemover
from backstory.helpdesk.jobs import Jobs
from backstory.helpdesk.mailer import Mailer
from backstory.helpdesk.merges import Merges
from backstory.helpdesk.rejected import RejectedRequests
from backstory.helpdesk.search import Search
from backstory.helpdesk.sessions import Sessions
from backstory.helpdesk.sources import Sources
from backstory.helpdesk.tickets import Tickets
from backstory.helpdesk.worker import Worker
from backstory.http.body import Receive
from backstory.http.dispatch import Dispatcher, Send
from backstory.http.manual import write_documentation
from backstory.http.message import Scope
from backstory.http.protocol import HttpProtocol
from backstory.http.routes import METRICS, ROUTES
from backstory.http.services import Services
from backstory.indexer import indexer
from backstory.ingest.commit import GroupCommit
from backstory.live.hub import Hub
from backstory.model.mail import Sender
from backstory.observe import Metrics
from backstory.store.base import Store
from backstory.store.copying import end_copying
from backstory.store.sqlite_database import Ownership
from backstory.timeline.facets import SourcesHeard
from backstory.timeline.read import Timeline
from backstory.ui.door import PageDoor
from backstory.ui.routes import PAGES

SWITCH_INTERVAL = 0.0002
"""Seconds after which a waiting thread gets the interpreter: the writer's turn must not wait for the event loop's."""

log = structlog.get_logger(__name__)


def open_store(
    settings: Settings, ownership: Ownership = Ownership.REQUIRED, committer: Sequence[str] = ()
) -> Store:
    """The storage that the settings name, opened; with the command of a committer, SQLite's publications are its work.

    Raises:
        StorageError: it cannot be used as it is.
    """
    # Each is imported where it is used: the others' drivers would be a fifth of a start.
    if isinstance(settings.database, PostgresUrl) and settings.activity_log is not None:
        from backstory.store.cassandra import CassandraStore

        clustered = CassandraStore(settings.database.url, settings.activity_log.url)
        clustered.open()
        return clustered
    if isinstance(settings.database, PostgresUrl):  # where any number of processes may be
        from backstory.store.postgres import PostgresStore

        shared = PostgresStore(settings.database.url)
        shared.open()
        return shared
    from backstory.store.sqlite import SqliteStore

    embedded = SqliteStore(
        settings.database,
        ownership=ownership,
        committer=committer,
        indexer=indexer(str(settings.database), settings.log_level, settings.log_format),
    )
    embedded.open()
    return embedded


class Server:
    """A running service: an ASGI application with a lifespan."""

    def __init__(self, settings: Settings, store: Store) -> None:
        metrics = Metrics()
        hub = Hub(store.log)

        def after_commit(count: int, seconds: float) -> None:
            metrics.commit_size.observe(count)
            metrics.commit_seconds.observe(seconds)
            hub.notify_commit()

        commit = GroupCommit(store, after_commit)
        files = AttachmentFiles(settings.attachments)
        senders = [Sender(address, name) for name, address in settings.mail.senders] if settings.mail else []
        timeline = Timeline(store)
        mailer = Mailer(store.records, files, settings.mail, metrics) if settings.mail else None

        def after_change() -> None:
            hub.notify_commit()
            if mailer is not None:
                mailer.wake()

        tickets = Tickets(store.records, files, after_change, settings.phone_region)
        jobs = Jobs(store.records)
        eraser = Eraser(store.records, store.log, files)
        self._workers: list[Worker] = [
            jobs,
            eraser,
            OrphanRemover(store.records, files),
            *([mailer] if mailer else []),
        ]
        self.services = Services(
            settings,
            store,
            commit,
            timeline,
            hub,
            Authenticator(store.records),
            RejectedRequests(store.records),
            Contacts(store.records, files, settings.phone_region),
            Companies(store.records),
            Merges(store.records, settings.phone_region),
            eraser,
            metrics,
            write_documentation(ROUTES),
            Sessions(store.records),
            tickets,
            Conversations(store.records, files, senders, after_change),
            Attachments(store.records, files),
            Sources(store.records),
            SourcesHeard(timeline),
            jobs,
            BulkTickets(store.records, tickets, jobs),
            CsvJobs(store.records, CsvFiles(store.records, settings.phone_region), files, jobs),
            Search(store.records, settings.phone_region),
            Agents(store.records, settings.phone_region),
            asyncio.Lock(),
        )
        metrics.queue_depth.set_function(lambda: commit.waiting)
        metrics.index_lag.set_function(lambda: store.stats().index_lag)
        metrics.index_renewals.set_function(lambda: store.stats().index_renewals)
        metrics.rejections_dropped.set_function(lambda: self.services.rejected.dropped)
        own_address = settings.metrics_address is not None
        self._dispatch = Dispatcher(
            self.services,
            [*PAGES, *(route for route in ROUTES if not (own_address and route.path == METRICS))],
            PageDoor(),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            await self._dispatch(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            raise ValueError(f"{scope['type']} is not served")

    def refuse(self, error: RequestError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """See `Refuser.refuse`."""
        return self._dispatch.refuse(error)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await end_copying(self.services.store.records)
        except (
            BackstoryError
        ) as error:  # the database has just gone; when it is back, this is served all the same
            log.warning("copy_not_ended", error=str(error))
        await self.services.store.start(self.services.hub.notify_commit)
        for worker in self._workers:
            worker.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def stop(self) -> None:
        """Finish the commits that were taken, then let go of the storage. Requests have ended before."""
        try:
            for worker in self._workers:
                await worker.close()
            await self.services.commit.close()
            await self.services.rejected.close()
            await self.services.hub.close()
        finally:
            await self.services.store.close()


class _Uvicorn(uvicorn.Server):
    """Uvicorn waits for open answers when it stops; the live streams are told first."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._backstory = server

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. Uvicorn would raise the signal again in the end; who was asked to stop, and did, has not failed."""
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    async def shutdown(self, sockets: Any = None) -> None:
        await self._backstory.services.hub.close()
        await super().shutdown(sockets)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            log.info("serving", address=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def _bind(host: str, port: int) -> list[socket.socket]:
    """Sockets for every address of `host`; who connects is refused until the server listens on them.

    Raises:
        SettingError: they cannot be had.
    """
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            bound.append(socket.socket(family, kind, protocol))
            bound[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound[-1].bind(address)
    except OSError as error:
        for each in bound:
            each.close()
        raise SettingError(
            f"{host}:{port} cannot be listened on ({error.strerror}): choose another address with BACKSTORY_HOST"
            " (--host) and BACKSTORY_PORT (--port)"
        ) from error
    return bound


def _serve_metrics(address: tuple[str, int], metrics: Metrics) -> None:
    """Serve the metrics alone at an address of their own, from a thread that ends with the process.

    Raises:
        SettingError: it cannot be listened on.
    """
    host, port = address
    try:
        listener, _ = start_http_server(port, addr=host, registry=metrics.registry)
    except OSError as error:
        raise SettingError(
            f"BACKSTORY_METRICS_ADDRESS: {host}:{port} cannot be listened on: {error}"
        ) from None
    log.info("serving_metrics", metrics_address=f"http://{host}:{listener.server_port}")


def serve(settings: Settings) -> None:
    """Serve until the process is told to stop (SIGTERM, Ctrl-C).

    Raises:
        OperatorError: a setting or the storage is wrong.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    sockets = _bind(settings.host, settings.port)
    store = open_store(settings, committer=committer(settings))
    AttachmentFiles(settings.attachments).make_folder()
    server = Server(settings, store)
    if settings.metrics_address is not None:
        _serve_metrics(settings.metrics_address, server.services.metrics)
    config = uvicorn.Config(
        server,
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_graceful_shutdown=30,
        backlog=4096,
    )
    calm_collector()
    _Uvicorn(config, server).run(sockets)
