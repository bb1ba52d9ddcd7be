class EndPoint:
    address: str
    port: int

class Host:
    address: str
    endpoint: EndPoint
    datacenter: str | None
    rack: str | None
    release_version: str | None
    is_up: bool | None

class NoConnectionsAvailable(Exception): ...
