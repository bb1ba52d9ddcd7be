"""JSON as text that must come back exactly as it was sent: read without losing anything, never rebuilt."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import msgspec


class Number(str):
    """A JSON number as its own literal: `1.10`, `1e400` and `12345678901234567890` stay what they are."""

    __slots__ = ()


_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shorten(twice)} stands twice in one object")
    return tree


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_refuse_duplicates,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
)


def parse_exact(body: bytes) -> Any:
    """Read JSON strictly: numbers as `Number`, key order kept.

    Raises:
        ValueError: not UTF-8, not JSON, a duplicate key, a lone surrogate, or nested too deeply to be read at all.
            The message names the place.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    if not text or text.isspace():
        raise ValueError("the body is empty")
    if text.startswith("\ufeff"):
        raise ValueError("it begins with a byte order mark (U+FEFF), which JSON does not have")
    try:
        tree = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _ESCAPED_SURROGATE.search(text):
        _refuse_lone_surrogates(tree)
    return tree


def _refuse_lone_surrogates(tree: Any) -> None:
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate (\\ud800 to \\udfff without its other half)") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _write_number(value: Any) -> msgspec.Raw:
    if isinstance(value, Number):
        return msgspec.Raw(b"0" if value == "-0" else value.encode())  # for `read_plain` they are one
    raise TypeError(f"{type(value).__name__} does not come from JSON")


_CANONICAL = msgspec.json.Encoder(order="sorted", enc_hook=_write_number)
_REWRITER = msgspec.json.Encoder(enc_hook=_write_number)
_PLAIN = msgspec.json.Decoder(float_hook=msgspec.Raw)


def read_plain(body: bytes) -> Any | None:
    """Read JSON as `parse_exact` does, at a fraction of its price; None where only `parse_exact` can tell.

    Integers are `int` here and other numbers `Raw`, which is enough for `digest` and `depth_exceeds`.
    """
    try:
        tree = _PLAIN.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    # This decoder is as strict, but keeps the last of two equal keys. A string has two quotes, and one for each quote
    # in it (unless that is written by its number), so a key that was lost is seen by the quotes that went with it.
    if b"\\u0022" in body or body.count(b'"') != _REWRITER.encode(tree).count(b'"'):
        return None
    return tree


def digest(tree: Any) -> bytes:
    """SHA-256 of the canonical JSON of a tree: keys sorted, no white space, fractions as they were written."""
    return hashlib.sha256(_CANONICAL.encode(tree)).digest()


def depth_exceeds(tree: Any, limit: int) -> bool:
    """Whether objects and lists are nested more than `limit` levels deep."""
    level = [tree]
    for _ in range(limit):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _children(item: Any) -> list[Any]:
    values = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return [value for value in values if isinstance(value, dict | list)]


def shorten(value: Any, limit: int = 60) -> str:
    """A value as a message shows it: its JSON, cut at `limit` characters."""
    try:
        text = json.dumps(value, ensure_ascii=False) if not isinstance(value, Number) else str(value)
    except RecursionError:  # writing needs a little more of the stack than reading did
        text = "[…]"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
