class Host:
    address: str
    datacenter: str | None
    rack: str | None
    release_version: str | None
    is_up: bool | None

class NoConnectionsAvailable(Exception): ...
