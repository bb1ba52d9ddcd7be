from collections.abc import Iterator, Sequence
from typing import Any

from cassandra.pool import Host

class LoadBalancingPolicy:
    def make_query_plan(self, working_keyspace: str | None = None, query: Any = None) -> Iterator[Host]: ...

class DCAwareRoundRobinPolicy(LoadBalancingPolicy):
    def __init__(self, local_dc: str = "", used_hosts_per_remote_dc: int = 0) -> None: ...

class RoundRobinPolicy(LoadBalancingPolicy): ...

class TokenAwarePolicy(LoadBalancingPolicy):
    def __init__(self, child_policy: LoadBalancingPolicy, shuffle_replicas: bool = False) -> None: ...

class HostFilterPolicy(LoadBalancingPolicy):
    def __init__(self, child_policy: LoadBalancingPolicy, predicate: Any) -> None: ...

class WhiteListRoundRobinPolicy(LoadBalancingPolicy):
    def __init__(self, hosts: Sequence[str]) -> None: ...

class RetryPolicy:
    RETRY: int
    RETHROW: int
    IGNORE: int
    RETRY_NEXT_HOST: int

class FallthroughRetryPolicy(RetryPolicy): ...
class ReconnectionPolicy: ...

class ConstantReconnectionPolicy(ReconnectionPolicy):
    def __init__(self, delay: float, max_attempts: int | None = 64) -> None: ...

class ExponentialReconnectionPolicy(ReconnectionPolicy):
    def __init__(self, base_delay: float, max_delay: float, max_attempts: int | None = 64) -> None: ...

class SpeculativeExecutionPolicy: ...

class ConstantSpeculativeExecutionPolicy(SpeculativeExecutionPolicy):
    def __init__(self, delay: float, max_attempts: int) -> None: ...
