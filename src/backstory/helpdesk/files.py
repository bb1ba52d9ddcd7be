"""The bytes of attachments: files in one folder, under random names, durable before any record names them."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from backstory.errors import FieldErrors, NotFound, OperatorError, RequestError, Unavailable
from backstory.helpdesk.worker import Worker
from backstory.model.attachment import StoredFile, safe_name, safe_type
from backstory.model.form import Upload
from backstory.store.base import Records, RecordsTransaction
from backstory.store.records import attachments

T = TypeVar("T")

ORPHAN_SECONDS = 24 * 3600
"""A file that nothing names is removed when it is so old: until then its transaction may still be under way."""

LOOK_SECONDS = 3600
"""How often it is looked for them."""

_BATCH = 500
_NAME_LENGTH = 32

log = structlog.get_logger(__name__)


class AttachmentFiles:
    """A folder of files. A name's first two characters are a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, uploads: Sequence[Upload]) -> list[StoredFile]:
        """Write files, and return once they are on the disk.

        Raises:
            Unavailable: the disk cannot take them; nothing was kept.
        """
        kept: list[StoredFile] = []
        try:
            for upload in uploads:
                kept += [await asyncio.to_thread(self._write, upload)]
        except OSError as error:
            await self.discard(kept)
            log.error("attachment_not_stored", error=str(error))
            raise Unavailable("The files cannot be stored now; nothing was kept.", retry_after=2) from error
        return kept

    def _write(self, upload: Upload) -> StoredFile:
        stored_as = secrets.token_hex(_NAME_LENGTH // 2)
        path = self._path(stored_as)
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(path.parent.parent)
        upload.content.seek(0)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                shutil.copyfileobj(upload.content, file, 1024 * 1024)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
        except OSError:
            path.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        return StoredFile(safe_name(upload.name), safe_type(upload.content_type), size, stored_as)

    async def discard(self, files: Iterable[StoredFile]) -> None:
        """Remove files whose record was not written."""
        for file in files:
            await asyncio.to_thread(self._path(file.stored_as).unlink, True)

    async def read(self, stored_as: str) -> bytes:
        """A file's bytes.

        Raises:
            NotFound: it is not there.
        """
        try:
            return await asyncio.to_thread(self._path(stored_as).read_bytes)
        except FileNotFoundError:
            raise NotFound("This file is not on the disk any more.") from None

    def _path(self, stored_as: str) -> Path:
        return self._folder / stored_as[:2] / stored_as

    def make_folder(self) -> None:
        """Make the folder where it is not there.

        Raises:
            OperatorError: it cannot be made or written.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OperatorError(f"the attachments' folder {self._folder} is a file") from error
        except OSError as error:
            raise OperatorError(f"the attachments' folder {self._folder} cannot be made: {error}") from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise OperatorError(f"the attachments' folder {self._folder} cannot be written by this user")

    async def remove_orphans(self, records: Records) -> int:
        """Remove old files that no attachment names: of cut-off requests and of what was deleted. How many."""
        old = await asyncio.to_thread(self._old_files)
        removed = 0
        for start in range(0, len(old), _BATCH):
            piece = old[start : start + _BATCH]
            known = await records.read(
                partial(attachments.select_known, stored_as=[path.name for path in piece])
            )
            orphans = [path for path in piece if path.name not in known]
            for path in orphans:
                await asyncio.to_thread(path.unlink, True)
            removed += len(orphans)
        return removed

    def _old_files(self) -> list[Path]:
        before = time.time() - ORPHAN_SECONDS
        return [
            path for path in self._folder.glob("??/*") if _is_ours(path) and path.stat().st_mtime < before
        ]


class OrphanRemover(Worker):
    """Removes orphans, now and then. `start` it on an event loop, `close` it at the end."""

    def __init__(self, records: Records, files: AttachmentFiles) -> None:
        super().__init__("orphans", LOOK_SECONDS)
        self._records = records
        self._files = files

    async def work(self) -> bool:
        """See `Worker.work`: look for orphans once."""
        if removed := await self._files.remove_orphans(self._records):
            log.info("orphans_removed", count=removed)
        return False


async def write_with_files(
    records: Records,
    folder: AttachmentFiles,
    work: Callable[[RecordsTransaction], T],
    files: Sequence[StoredFile],
) -> T:
    """Change the records; files of a change that was refused are removed.

    Where it is not known whether it was made (the caller went away, the storage was cut off) they stay: if nothing
    names them they are removed as orphans.
    """
    try:
        return await records.write(work)
    except (FieldErrors, RequestError) as error:
        if not isinstance(error, Unavailable):
            await folder.discard(files)
        raise


def _is_ours(path: Path) -> bool:
    return len(path.name) == _NAME_LENGTH and path.name.startswith(path.parent.name) and path.is_file()


def _sync_folder(folder: Path) -> None:
    """A new file's name is durable only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
