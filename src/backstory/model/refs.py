"""References: what a customer reads out on the phone, and `?ref=` finds by exact match (contract 1.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MAX_CONTEXT_REFS = 16
MAX_REF_LENGTH = 128

_LAST_WORDS = frozenset({"id", "no", "nr", "number", "ref", "reference", "sku"})
_KEY_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")


def is_ref_key(key: str) -> bool:
    """Whether the last word of a key names a reference: `Order id`, `trackingNumber`, `invoice_ref`."""
    words = _KEY_WORDS.findall(key)
    return bool(words) and words[-1].lower() in _LAST_WORDS


def refs_of(object_id: str | None, external_id: str | None, context: Any) -> list[str]:
    """Every reference of an activity, each once: the object's id, the sender's id, the first 16 of the context.

    `context` is the parsed JSON tree whose numbers are kept as they were written (see `json_text.parse_exact`).
    """
    named = [ref for ref in (object_id, external_id) if ref]
    return list(dict.fromkeys([*named, *_context_refs(context)]))


def _context_refs(context: Any) -> Iterator[str]:
    """The scalars under reference keys, in the order of the text, the first 16."""
    taken = 0
    stack: list[tuple[bool, Any]] = [(False, context)]
    while stack and taken < MAX_CONTEXT_REFS:
        named, value = stack.pop()
        if isinstance(value, dict):
            stack.extend((is_ref_key(key), item) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            stack.extend((named, item) for item in reversed(value))
        elif named and isinstance(value, str) and 0 < len(value) <= MAX_REF_LENGTH:
            taken += 1
            yield value
