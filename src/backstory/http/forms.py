"""What a body says, sent as JSON or as a form: checked, with every fault at once, and as our code takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backstory.errors import Fault, FieldErrors, InvalidJson
from backstory.http.message import Request
from backstory.model.checks import Check
from backstory.model.json_text import parse_exact

Rule = Callable[[dict[str, Any], list[Fault]], None]
"""What a check of single fields cannot say, about the fields that were sent: adds what is wrong to the faults."""


def read_form(request: Request, check: Check, *rules: Rule) -> dict[str, Any]:
    """The fields that were sent, as `check` (an object's) answers them.

    Raises:
        InvalidJson: the body is not JSON.
        FieldErrors: with every fault of it.
    """
    tree = _parse(request.body) if request.form is None else request.form.tree
    faults: list[Fault] = []
    values = check(tree, "", faults)
    if isinstance(tree, dict):
        for rule in rules:
            rule(values, faults)
    if faults:
        raise FieldErrors(faults)
    return dict(values)


def _parse(body: bytes) -> Any:
    try:
        return parse_exact(body)
    except ValueError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
