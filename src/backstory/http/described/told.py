"""What a chapter of the documentation is made of: calls, examples, parameters, schemas and notes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from backstory.http.documentation import ADDRESS
from backstory.http.message import JSON_TYPE, NDJSON_TYPE

Schema = dict[str, Any]

NUMBER_ID: Schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
UUID_ID: Schema = {"type": "string", "format": "uuid"}


def compact(value: Any, indent: int = 0, width: int = 76) -> str:
    """JSON whose objects and lists stand on one line where they fit."""
    line = json.dumps(value, ensure_ascii=False)
    if indent + len(line) <= width or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + 2
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {compact(item, inner)}" for name, item in value.items()]
    else:
        parts = [compact(item, inner) for item in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    joined = f",\n{' ' * inner}".join(parts)
    return f"{left}\n{' ' * inner}{joined}\n{' ' * indent}{right}"


class Example(NamedTuple):
    """A call that runs as it is printed, but for the address and the key, and what comes back.

    `before` is a line of shell that finds or makes what the call needs. `answer` is JSON, or text as it is.
    """

    title: str
    method: str
    path: str
    body: Any = None
    headers: tuple[str, ...] = ()
    options: str = ""
    before: str = ""
    answer: Any = None
    keyed: bool = True

    def curl(self) -> str:
        """The command."""
        who = '-u "$KEY:X" ' if self.keyed else ""
        verb = "" if self.method in ("GET", "POST") else f"-X {self.method} "
        parts = [f'curl {self.options}{verb}{who}"{ADDRESS}{self.path}"']
        parts += [f"-H '{header}'" for header in self.headers]
        if isinstance(self.body, str):
            parts += [f"-H 'Content-Type: {NDJSON_TYPE}'", f"--data-binary @- <<'END'\n{self.body}END"]
        elif self.body is not None:
            text = compact(self.body, 2)
            parts += [f"-H 'Content-Type: {JSON_TYPE}'", f"-d '{text}'"]
        command = " \\\n  ".join(parts)
        return f"{self.before}\n{command}" if self.before else command


class Described(NamedTuple):
    """What is told about a route beside its own data.

    `answer` names the schema of the good answer; `headers` are those that it alone has; `refusals` are statuses that
    do not follow from the route's rights, path and body. `ids` are the values in its path.
    """

    title: str
    text: str
    status: int
    means: str
    answer: str | None
    examples: tuple[Example, ...]
    many: bool = False
    body: str | None = None
    parameters: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    refusals: Mapping[int, str] = {}
    ids: Schema = NUMBER_ID


class Parameter(NamedTuple):
    """A query parameter or a request header."""

    place: str
    schema: Schema
    text: str


class Chapter(NamedTuple):
    """The calls of one noun, with all that is told about them.

    `shown` are the schemas that the page has a table of. `bodies` is an example of each request body, and `fields` a
    note on fields, as `Schema.field`: every field of a request body has one. `parameters` go before those that all
    chapters share (`shared.py`).
    """

    title: str
    text: str
    routes: Mapping[Any, Described]
    schemas: Mapping[str, Schema] = {}
    shown: tuple[str, ...] = ()
    bodies: Mapping[str, Any] = {}
    parameters: Mapping[str, Parameter] = {}
    fields: Mapping[str, str] = {}
