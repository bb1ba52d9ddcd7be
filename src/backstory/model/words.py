"""Words, as every search in Backstory means them: the same on every engine.

A word is a run of letters and digits, compared without case and accents (contract 1.2).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

_CHUNK = re.compile(r"[^\x00-/:-@\[-`{-\x7f]+")
"""What stands between ASCII characters that are neither letter nor digit: nothing across those can form a word."""

_WORD = re.compile(r"[^\W_]+")

_CACHED_LENGTH = 64
"""Longer chunks (Chinese without spaces, say) hardly come again, and would make the cache's memory unbounded."""


def split_words(text: str) -> list[str]:
    """The words of a text in order, folded: NFKD, marks dropped, case folded."""
    if text.isascii():
        return _CHUNK.findall(text.lower())
    words: list[str] = []
    for chunk in _CHUNK.findall(text):
        if chunk.isascii():
            words.append(chunk.lower())
        else:
            words.extend(_fold(chunk) if len(chunk) <= _CACHED_LENGTH else _fold.__wrapped__(chunk))
    return words


@functools.lru_cache(maxsize=16_384)
def _fold(chunk: str) -> tuple[str, ...]:
    decomposed = unicodedata.normalize("NFKD", chunk.casefold())
    kept = "".join(char for char in decomposed if not unicodedata.category(char).startswith("M"))
    # Folding case first misses what only decomposition brings up (U+210C, a black-letter H): fold again.
    return tuple(_WORD.findall(kept.casefold()))


def words_of(*values: Any) -> set[str]:
    """The distinct words among the values (not the keys) of JSON trees; numbers are words as they are written."""
    texts: list[str] = []
    _collect_text(values, texts)
    return set(split_words(" ".join(texts)))


def _collect_text(values: Iterable[Any], into: list[str]) -> None:
    for value in values:
        kind = type(value)
        if kind is str:
            into.append(value)
        elif kind is dict:
            _collect_text(value.values(), into)
        elif kind is list:
            _collect_text(value, into)
        elif value is not None and kind is not bool:
            into.append(str(value))
