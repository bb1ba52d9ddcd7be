"""Schema migrations: Alembic, forward only. `HEAD` is the revision that this program works with."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from backstory.errors import StorageError

if TYPE_CHECKING:
    import pysqlite3
    import sqlalchemy as sa

HEAD = "0004"


def is_current(connection: pysqlite3.Connection) -> bool:
    """Whether the schema is this program's: asked without Alembic, because every start does.

    Raises:
        StorageError: it is newer than this program.
    """
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").fetchone():
        return False
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return is_head(row[0] if row else None)


def is_current_on(connection: sa.Connection) -> bool:
    """The same on any engine."""
    import sqlalchemy as sa

    if not sa.inspect(connection).has_table("alembic_version"):
        return False
    return is_head(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())


def is_head(version: str | None) -> bool:
    """The same of a revision that was read.

    Raises:
        StorageError: it is newer than this program's.
    """
    if version is not None and version > HEAD:
        raise StorageError(
            f"the database has schema {version}, newer than this program's {HEAD}: upgrade the program"
        )
    return version == HEAD


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema to HEAD, in one transaction; nothing happens where it is there already."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        run(connection)
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise


def run(connection: sa.Connection) -> None:
    """Bring the schema to HEAD in the transaction that is under way."""
    from alembic import command
    from alembic.config import Config

    with as_file(files(__name__)) as location:
        config = Config()
        config.set_main_option("script_location", str(location))
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
