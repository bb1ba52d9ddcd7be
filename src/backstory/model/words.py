"""Words, as every search in Backstory means them: the same on every engine.

A word is a run of letters and digits, compared without case and accents (contract 1.2).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"[^\W_]+")


def split_words(text: str) -> list[str]:
    """The words of a text in order, folded: NFKD, marks dropped, case folded."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(char for char in decomposed if not unicodedata.category(char).startswith("M"))
    # Folding case first misses what only decomposition brings up (U+210C, a black-letter H): fold again.
    return _WORD.findall(kept.casefold())


def collect_text(value: Any, into: list[str]) -> None:
    """Add every string and number among the values (not the keys) of a JSON tree to `into`."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            into.append(item)
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif item is not None and not isinstance(item, bool):
            into.append(str(item))


def words_of(*values: Any) -> set[str]:
    """The distinct words among the values of JSON trees."""
    texts: list[str] = []
    for value in values:
        collect_text(value, texts)
    return set(split_words(" ".join(texts)))
