"""Schema migrations: Alembic, forward only. `HEAD` is the revision that this program works with."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from backstory.errors import StorageError

if TYPE_CHECKING:
    import pysqlite3
    import sqlalchemy as sa

HEAD = "0003"


def is_current(connection: pysqlite3.Connection) -> bool:
    """Whether the schema is this program's: asked without Alembic, because every start does.

    Raises:
        StorageError: it is newer than this program.
    """
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").fetchone():
        return False
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row and row[0] > HEAD:
        raise StorageError(
            f"the database has schema {row[0]}, newer than this program's {HEAD}: upgrade the program"
        )
    return bool(row and row[0] == HEAD)


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema to HEAD, in one transaction; nothing happens where it is there already."""
    from alembic import command
    from alembic.config import Config

    with as_file(files(__name__)) as location:
        config = Config()
        config.set_main_option("script_location", str(location))
        config.attributes["connection"] = connection
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            command.upgrade(config, HEAD)
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
