from collections.abc import Callable
from typing import Any

from cassandra import ConsistencyLevel as ConsistencyLevel
from cassandra.policies import RetryPolicy

class Statement:
    consistency_level: int | None
    serial_consistency_level: int | None
    is_idempotent: bool
    fetch_size: int
    retry_policy: RetryPolicy | None

class SimpleStatement(Statement):
    def __init__(
        self,
        query_string: str,
        retry_policy: RetryPolicy | None = None,
        consistency_level: int | None = None,
        routing_key: bytes | None = None,
        serial_consistency_level: int | None = None,
        fetch_size: int = ...,
        keyspace: str | None = None,
        custom_payload: dict[str, bytes] | None = None,
        is_idempotent: bool = False,
    ) -> None: ...

class PreparedStatement(Statement):
    query_string: str
    def bind(self, values: Any) -> BoundStatement: ...

class BoundStatement(Statement):
    values: list[bytes | None]
    routing_key: bytes

tuple_factory: Callable[[list[str], list[Any]], list[tuple[Any, ...]]]
dict_factory: Callable[[list[str], list[Any]], list[dict[str, Any]]]

class BatchType:
    LOGGED: BatchType
    UNLOGGED: BatchType

class BatchStatement(Statement):
    def __init__(self, batch_type: BatchType = ...) -> None: ...
    def add(self, statement: Statement | str, parameters: Any = None) -> None: ...
