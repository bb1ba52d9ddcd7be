from cassandra.pool import Host

class KeyspaceMetadata:
    name: str
    tables: dict[str, object]

class Metadata:
    cluster_name: str | None
    keyspaces: dict[str, KeyspaceMetadata]
    def get_host(self, endpoint_or_address: str, port: int | None = None) -> Host | None: ...
    def all_hosts(self) -> list[Host]: ...
