from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cassandra.auth import PlainTextAuthProvider
from cassandra.metadata import Metadata
from cassandra.policies import (
    LoadBalancingPolicy,
    ReconnectionPolicy,
    RetryPolicy,
    SpeculativeExecutionPolicy,
)
from cassandra.pool import Host
from cassandra.query import PreparedStatement, Statement

class NoHostAvailable(Exception):
    errors: dict[Any, Exception] | list[Any]

class ExecutionProfile:
    def __init__(
        self,
        load_balancing_policy: LoadBalancingPolicy = ...,
        retry_policy: RetryPolicy | None = None,
        consistency_level: int = ...,
        serial_consistency_level: int | None = None,
        request_timeout: float | None = ...,
        row_factory: Callable[..., Any] = ...,
        speculative_execution_policy: SpeculativeExecutionPolicy | None = None,
        continuous_paging_options: Any = None,
    ) -> None: ...

EXEC_PROFILE_DEFAULT: object

class ResultSet:
    paging_state: bytes | None
    def __init__(self, response_future: ResponseFuture, initial_response: Any) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def one(self) -> Any: ...
    def all(self) -> list[Any]: ...

class ResponseFuture:
    has_more_pages: bool
    attempted_hosts: list[Host]
    coordinator_host: Host | None
    _paging_state: bytes | None
    def result(self) -> ResultSet: ...
    def add_callbacks(
        self,
        callback: Callable[..., None],
        errback: Callable[..., None],
        callback_args: Sequence[Any] = (),
        callback_kwargs: dict[str, Any] | None = None,
        errback_args: Sequence[Any] = (),
        errback_kwargs: dict[str, Any] | None = None,
    ) -> None: ...

class Session:
    cluster: Cluster
    keyspace: str | None
    default_timeout: float | None
    default_fetch_size: int | None
    def execute(
        self,
        query: str | Statement,
        parameters: Sequence[Any] | None = None,
        timeout: float | None = ...,
        trace: bool = False,
        custom_payload: dict[str, bytes] | None = None,
        execution_profile: object = ...,
        paging_state: bytes | None = None,
        host: Any = None,
        execute_as: str | None = None,
    ) -> ResultSet: ...
    def execute_async(
        self,
        query: str | Statement,
        parameters: Sequence[Any] | None = None,
        trace: bool = False,
        custom_payload: dict[str, bytes] | None = None,
        timeout: float | None = ...,
        execution_profile: object = ...,
        paging_state: bytes | None = None,
        host: Any = None,
        execute_as: str | None = None,
    ) -> ResponseFuture: ...
    def prepare(
        self, query: str, custom_payload: dict[str, bytes] | None = None, keyspace: str | None = None
    ) -> PreparedStatement: ...
    def set_keyspace(self, keyspace: str) -> None: ...
    def shutdown(self) -> None: ...

class Cluster:
    metadata: Metadata
    def __init__(
        self,
        contact_points: Sequence[str | tuple[str, int]] = ...,
        port: int = 9042,
        *,
        auth_provider: PlainTextAuthProvider | None = None,
        protocol_version: int = ...,
        execution_profiles: dict[Any, ExecutionProfile] | None = None,
        reconnection_policy: ReconnectionPolicy | None = None,
        connect_timeout: float = 5,
        control_connection_timeout: float | None = 2.0,
        idle_heartbeat_interval: float = 30,
        idle_heartbeat_timeout: float = 30,
        schema_event_refresh_window: float = 2,
        topology_event_refresh_window: float = 10,
        max_schema_agreement_wait: float = 10,
        executor_threads: int = 2,
        compression: bool | str = True,
        schema_metadata_enabled: bool = True,
        prepare_on_all_hosts: bool = True,
        reprepare_on_up: bool = True,
        ssl_context: Any = None,
        monitor_reporting_enabled: bool = True,
        application_name: str | None = None,
    ) -> None: ...
    def connect(self, keyspace: str | None = None, wait_for_all_pools: bool = False) -> Session: ...
    def shutdown(self) -> None: ...
