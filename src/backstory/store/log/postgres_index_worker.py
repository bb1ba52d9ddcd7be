"""The process beside a server that reads texts for PostgreSQL's index, run as a module.

Frames (`store/frames.py`) on standard input and output. In: a JSON array of `[position, contact key in hex,
timestamp, body]`. Out: a JSON array of `[positions, timestamps, name terms, source terms, type terms, terms]`, the
columns of `activity_index`, of which the last has a PostgreSQL array in each row, as text. It ends when its input does.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable

import msgspec
from msgspec import Raw

from backstory.model.searched import Searched, read_searched
from backstory.store.frames import serve_frames
from backstory.store.log.index_entries import term

_PIECE = msgspec.json.Decoder(list[tuple[int, str, int, Raw]])
_ENCODER = msgspec.json.Encoder()


def terms_of(contact_key: str, searched: Searched) -> Iterable[int]:
    """The terms that an activity has."""
    terms = {term("contact", contact_key), *(term("ref", ref) for ref in searched.refs)}
    return terms.union(term("word", word) for word in searched.words)


def index_piece(piece: bytes) -> bytes:
    """The rows of `activity_index` for a piece, as JSON columns."""
    columns: tuple[list[int], list[int], list[int], list[int], list[int | None], list[str]]
    columns = ([], [], [], [], [], [])
    for position, contact_key, timestamp, body in _PIECE.decode(piece):
        try:
            searched = read_searched(bytes(body))
        except Exception:  # one text that cannot be read must not keep everybody else's from being found
            sys.stderr.write(f"activity at position {position} cannot be indexed:\n{traceback.format_exc()}")
            continue
        kind = searched.object_type
        row = (
            position,
            timestamp,
            term("name", searched.name),
            term("source", searched.source),
            None if kind is None else term("type", kind),
            f"{{{','.join(map(str, terms_of(contact_key, searched)))}}}",
        )
        for column, value in zip(columns, row, strict=True):
            column.append(value)  # type: ignore[attr-defined] # each of its own type
    return _ENCODER.encode(columns)


if __name__ == "__main__":
    serve_frames(lambda piece: [index_piece(piece)])
