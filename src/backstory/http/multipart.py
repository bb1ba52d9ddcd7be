"""Reading multipart/form-data piece by piece: texts into a tree like JSON's, files to the disk, memory bounded."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import structlog
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from backstory.errors import Code, Fault, FieldErrors, InvalidJson, Unavailable
from backstory.http.body import BodyRule, Receive, feed_body, too_large
from backstory.model.form import FormText, Upload
from backstory.model.json_text import shorten

MAX_PARTS = 1_000
MAX_NESTING = 4
MAX_FILE_NAME = 255
IN_MEMORY = 64 * 1024
"""A file stays in memory up to here, and goes to the disk beyond."""

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_INNER = re.compile(r"\[([^\[\]]*)\]")
_EXTENDED_NAME = re.compile(r"filename\*\s*=\s*utf-8'[^']*'([^;]+)", re.IGNORECASE)

log = structlog.get_logger(__name__)


class Form:
    """What a form holds: `tree` is as JSON would be, with `FormText` for texts and `Upload` for files."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self.uploads: list[Upload] = []

    def close(self) -> None:
        """Let go of the files."""
        for upload in self.uploads:
            with suppress(OSError):  # a full disk does not take the rest of what nobody wants any more
                upload.content.close()


async def read_multipart(receive: Receive, headers: Mapping[bytes, bytes], rule: BodyRule) -> Form:
    """The whole form.

    Raises:
        InvalidJson: it is not what its Content-Type says.
        FieldErrors: a field's name cannot be, or stands twice.
        RequestTooLarge, RequestTimeout, ClientGoneError: as `read_body`.
        Unavailable: the disk of temporary files cannot take it.
    """
    _, options = parse_options_header(headers.get(b"content-type", b""))
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise _malformed("its Content-Type names no boundary")
    form = Form()
    try:
        reader = _Reader(boundary, rule, form)
        await feed_body(receive, headers, rule, reader.feed)
        reader.finish()
    except FormParserError as error:
        form.close()
        raise _malformed(str(error)) from None
    except BaseException:
        form.close()
        raise
    return form


def _malformed(why: str) -> InvalidJson:
    return InvalidJson(f"The body is not valid multipart/form-data: {why}.")


class _Reader:
    """Takes the parser's events, one part at a time."""

    def __init__(self, boundary: bytes, rule: BodyRule, form: Form) -> None:
        self._rule = rule
        self._form = form
        self._parts = 0
        self._text_bytes = 0
        self._file_bytes = 0
        self._ended = False
        # What may stand before the first boundary (RFC 2046), as far as it must be kept; None behind it.
        self._preamble: bytes | None = b"\n"
        self._first = b"\n--" + boundary
        self._header = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._text: bytearray | None = None
        self._upload: Upload | None = None
        self._name = ""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_begin": self._begin_header,
                "on_header_field": self._take_header,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_data,
                "on_part_data": self._take_data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        if self._preamble is not None:
            data = self._skip_preamble(self._preamble + data)
        try:
            self._parser.write(data)
        except OSError as error:  # of the file that a part goes to
            log.error("upload_not_taken", error=str(error))
            raise Unavailable("The files cannot be taken now; nothing was kept.", retry_after=2) from error

    def _skip_preamble(self, data: bytes) -> bytes:
        """What there is from the first boundary on, which stands at the start of a line."""
        found = data.find(self._first)
        if found < 0:
            self._preamble = data[1 - len(self._first) :]
            return b""
        self._preamble = None
        return data[found + 1 :]

    def finish(self) -> None:
        """The body has ended."""
        if not self._ended:
            raise _malformed("it ends before its last boundary")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _malformed(f"it has more than {MAX_PARTS:,} parts")
        self._headers = {}

    def _begin_header(self) -> None:
        self._header = self._value = b""

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value

    def _begin_data(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            raise _malformed("a part has no name")
        self._name = _decode(options[b"name"])
        file_name = _file_name(disposition, options)
        self._text, self._upload = None, None
        if file_name is None:
            self._text = bytearray()
        else:
            kind = self._headers.get(b"content-type", b"").decode("latin-1").strip()
            # It is closed with the form, after the answer.
            content = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
            self._upload = Upload(file_name, kind[:MAX_FILE_NAME] or "application/octet-stream", 0, content)
            self._form.uploads.append(self._upload)

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._upload is not None:
            self._file_bytes += end - start
            if self._file_bytes > self._rule.files:
                raise too_large("The files are", self._rule.files)
            self._upload.content.write(data[start:end])
        elif self._text is not None:
            self._text_bytes += end - start
            if self._text_bytes > self._rule.limit:
                raise too_large("The texts are", self._rule.limit)
            self._text += data[start:end]

    def _end(self) -> None:
        if self._upload is not None:
            size = self._upload.content.tell()
            self._upload.content.seek(0)
            whole = Upload(self._upload.name, self._upload.content_type, size, self._upload.content)
            # A browser sends an input that nobody filled as a file without a name and without bytes.
            _put(self._form.tree, self._name, whole if size or whole.name else FormText(""))
        elif self._text is not None:
            try:
                text = self._text.decode()
            except UnicodeDecodeError:
                message = "It is not UTF-8."
                raise FieldErrors([Fault(self._name[:100], message, Code.INVALID_VALUE)]) from None
            _put(self._form.tree, self._name, FormText(text))

    def _finish(self) -> None:
        self._ended = True


def _decode(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _file_name(disposition: bytes, options: Mapping[bytes, bytes]) -> str | None:
    """The name of a part's file; None where the part is no file."""
    if b"filename" in options:
        # Browsers write a quote and line ends in a name so.
        name = _decode(options[b"filename"])
        for escaped, char in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
            name = name.replace(escaped, char)
    elif found := _EXTENDED_NAME.search(disposition.decode("latin-1")):
        name = unquote(found.group(1).strip())
    else:
        return None
    return name.replace("\\", "/").rpartition("/")[2].replace("\0", "")[-MAX_FILE_NAME:]


def _put(tree: dict[str, Any], name: str, value: FormText | Upload) -> None:
    """Put a value where its name says: `a`, `a[]`, `a[b]`, `a[][b]`."""
    found = _KEY.fullmatch(name)
    steps = [found.group(1), *_INNER.findall(found.group(2))] if found else []
    if not steps or len(steps) > MAX_NESTING or "" in steps[2:]:
        message = f"{shorten(name)} cannot be the name of a field: a, a[], a[b] and a[][b] are possible."
        raise FieldErrors([Fault(name[:100] or "body", message, Code.INVALID_VALUE)])
    node: Any = tree
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        node = _step(node, step, following, steps, value, name)


def _step(
    node: Any, step: str, following: str | None, steps: list[str], value: FormText | Upload, name: str
) -> Any:
    """Go one step into the tree, making what is not there; the last step leaves the value."""
    fresh: Any = value if following is None else [] if following == "" else {}
    if isinstance(node, list) and step == "":
        # A new entry begins with a key that the last one has already.
        if following is None or not node or (isinstance(node[-1], dict) and steps[-1] in node[-1]):
            node.append(fresh)
        return node[-1]
    if not isinstance(node, dict) or (following is None and step in node):
        raise FieldErrors([Fault(name[:100], "It was sent twice.", Code.INVALID_VALUE)])
    existing = node.setdefault(step, fresh)
    if type(existing) is not type(fresh):
        raise FieldErrors([Fault(name[:100], "It was sent in two ways.", Code.INVALID_VALUE)])
    return existing
