"""Forms, as pages send them, and as they come back with what is wrong beside their fields."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from backstory.errors import Fault, FieldErrors
from backstory.http.body import BodyRule
from backstory.http.forms import Rule
from backstory.http.message import FORM_TYPE as FILES_TYPE
from backstory.http.message import Request
from backstory.model.checks import Check
from backstory.model.form import FormText, Upload
from backstory.model.search import SEARCHED_FIELDS, Searched

FORM_TYPE = "application/x-www-form-urlencoded"
_FIELD = re.compile(r"[(\s]*([a-z_]\w*)\s*:")
FORM = BodyRule((FORM_TYPE,), 1024 * 1024)
FORM_WITH_FILES = BodyRule((FORM_TYPE, FILES_TYPE), 1024 * 1024, files=20 * 1024 * 1024)


class Form(Struct, frozen=True):
    """What a form shows: its values, and what is wrong with them, each by the field's name."""

    values: Mapping[str, str] = {}
    faults: Mapping[str, str] = {}

    def value(self, name: str, usual: str = "") -> str:
        """What stands in a field."""
        return self.values.get(name, usual)

    def fault(self, name: str) -> str | None:
        """What is wrong with a field."""
        return self.faults.get(name)


def form_values(request: Request) -> dict[str, str]:
    """The fields of a form as it was sent, files left out; the last of a repeated one counts."""
    if request.form is not None:
        return {name: str(value) for name, value in request.form.tree.items() if isinstance(value, FormText)}
    if request.content_type != FORM_TYPE:
        return {}
    return dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))


def form_files(request: Request) -> list[Upload]:
    """The files of a form."""
    if request.form is None:
        return []
    lists = (value if isinstance(value, list) else [value] for value in request.form.tree.values())
    return [each for values in lists for each in values if isinstance(each, Upload)]


def read_values(tree: Mapping[str, Any], check: Check, *rules: Rule) -> dict[str, Any]:
    """What was filled in, by a check of the API's: texts stand for whatever their field is, blank ones for nothing.

    Raises:
        FieldErrors: with every fault.
    """
    faults: list[Fault] = []
    sent = {name: _as_sent(value) for name, value in tree.items() if value not in ("", None)}
    values = check(sent, "", faults)
    for rule in rules:
        rule(values, faults)
    if faults:
        raise FieldErrors(faults)
    return dict(values)


def _as_sent(value: Any) -> Any:
    if isinstance(value, str):
        return FormText(value)
    return [_as_sent(each) for each in value] if isinstance(value, list) else value


def with_faults(
    values: Mapping[str, str], error: FieldErrors, fields: Mapping[str, str] | None = None
) -> Form:
    """A form as it was sent, with what is wrong. `fields` are names of the API's by which the form has others."""
    faults: dict[str, str] = {}
    for fault in error.faults:
        name = fault.field.partition(".")[0]
        name = (fields or {}).get(fault.field) or (fields or {}).get(name) or name
        faults[name] = f"{faults[name]} {fault.message}" if name in faults else fault.message
    return Form(values, faults)


def is_query(text: str, searched: Searched) -> bool:
    """Whether a text is meant in the language of searches: it begins with a field that can be asked for."""
    found = _FIELD.match(text)
    return found is not None and (found[1] in SEARCHED_FIELDS[searched] or found[1].startswith("cf_"))


def split_list(text: str) -> list[str]:
    """The entries of a field that takes several, commas or line ends between them."""
    return [entry for part in text.replace("\n", ",").split(",") if (entry := part.strip())]


def refuse(name: str, message: str, values: Mapping[str, str]) -> Form:
    """A form as it was sent, with one thing wrong."""
    return Form(values, {name: message})


def one_of(texts: Sequence[str], sent: str) -> str:
    """What was sent where it is possible, else the first."""
    return sent if sent in texts else texts[0]
