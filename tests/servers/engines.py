"""Empty installations on one engine, whichever the tests run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.servers.cassandra import CassandraCluster
from tests.servers.postgres import PostgresServer
from tests.support import Installation


class Maker:
    """Makes empty installations; what it is given decides where they are kept."""

    def __init__(self, postgres: PostgresServer | None, cluster: CassandraCluster | None) -> None:
        self._postgres, self._cluster = postgres, cluster

    def __call__(
        self, directory: Path, kind: type[Installation] = Installation, *, url: str | None = None, **more: Any
    ) -> Installation:
        """One that is not served yet, in a database of its own (or at `url`); `more` is the installation's."""
        if url is None and self._postgres is not None:
            url = self._postgres.create_database()
        activity_log = "" if self._cluster is None else self._cluster.new_installation()
        return kind(directory, database_url=url, activity_log=activity_log, **more)
