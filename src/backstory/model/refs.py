"""References: what a customer reads out on the phone, and `?ref=` finds by exact match (contract 1.2)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

MAX_CONTEXT_REFS = 16
MAX_REF_LENGTH = 128

_LAST_WORDS = frozenset({"id", "no", "nr", "number", "ref", "reference", "sku"})
_KEY_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Z]+")


_CACHED_LENGTH = 64
"""Longer keys hardly come again, and would make the cache's memory unbounded."""


def is_ref_key(key: str) -> bool:
    """Whether the last word of a key names a reference: `Order id`, `trackingNumber`, `invoice_ref`."""
    return _is_ref_key(key) if len(key) <= _CACHED_LENGTH else _is_ref_key.__wrapped__(key)


@functools.lru_cache(maxsize=4_096)
def _is_ref_key(key: str) -> bool:
    words = _KEY_WORDS.findall(key)
    return bool(words) and words[-1].lower() in _LAST_WORDS


def refs_of(object_id: str | None, external_id: str | None, context: Any) -> list[str]:
    """Every reference of an activity, each once: the object's id, the sender's id, the first 16 of the context."""
    named = [ref for ref in (object_id, external_id) if ref]
    return list(dict.fromkeys([*named, *_context_refs(context)]))


def _context_refs(context: Any) -> Iterator[str]:
    """The scalars under reference keys, in the order of the text, the first 16."""
    found: list[str] = []
    _collect_scalars(context, found, named=False)
    return islice((value for value in found if 0 < len(value) <= MAX_REF_LENGTH), MAX_CONTEXT_REFS)


def _collect_scalars(tree: Any, into: list[str], *, named: bool) -> None:
    """Strings and numbers, as their text, under reference keys, also those in a list under one."""
    kind = type(tree)
    if kind is dict:
        for key, value in tree.items():
            if value is not None:
                _collect_scalars(value, into, named=is_ref_key(key))
    elif kind is list:
        for value in tree:
            _collect_scalars(value, into, named=named)
    elif named and tree is not None and kind is not bool:
        into.append(str(tree))
