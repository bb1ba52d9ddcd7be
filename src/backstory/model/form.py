"""What a form (multipart/form-data) has beside what JSON has: values that are all text, and files."""

from __future__ import annotations

from typing import IO

from msgspec import Struct


class FormText(str):
    """A value of a form: it stands for whatever its field is, a number or a boolean too."""

    __slots__ = ()


class Upload(Struct, frozen=True):
    """A file that was sent. `content` is at its beginning, and gone once the request is answered."""

    name: str
    content_type: str
    size: int
    content: IO[bytes]
