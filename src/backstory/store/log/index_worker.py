"""The process beside a server that turns texts into index entries: `python -m backstory.store.log.index_worker`.

Frames (`store/frames.py`) on standard input and output. In: a JSON array of `[position, contact key
in hex, timestamp, body]`. Out: the postings as `[[term, timestamp, position], …]` and the words as `[[position,
"words"], …]`, both sorted. It ends when its input does.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import traceback

import msgspec
from msgspec import Raw

from backstory.model.searched import Searched, read_searched
from backstory.store.frames import serve_frames

_PIECE = msgspec.json.Decoder(list[tuple[int, str, int, Raw]])
_ENCODER = msgspec.json.Encoder()


@functools.lru_cache(maxsize=16_384)
def term(kind: str, value: str) -> int:
    """The signed 64-bit name of a value in the index."""
    hashed = hashlib.blake2b(f"{kind}\0{value}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big", signed=True)


def terms_of(searched: Searched) -> list[int]:
    """The postings that an activity has."""
    terms = [term("all", ""), term("source", searched.source), term("name", searched.name)]
    if searched.object_type is not None:
        terms.append(term("type", searched.object_type))
    return terms


def contact_token(contact_key: str) -> str:
    """What stands for a contact among the words: its key, in hex, behind a sign that no word has."""
    return f"@{contact_key.lower()}"


def ref_token(ref: str) -> str:
    """What stands for a reference among the words. Shorter than a contact's, so the two are never taken for another."""
    return f"@{term('ref', ref) & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def folded_text(contact_key: str, searched: Searched) -> str:
    """The words of an activity as they stand in the index, with its contact and its references before them."""
    refs = sorted(map(ref_token, searched.refs))
    return " ".join([contact_token(contact_key), *refs, *sorted(searched.words)])


def index_piece(piece: bytes) -> tuple[bytes, bytes]:
    """The postings and the words of a piece, as JSON."""
    postings: list[tuple[int, int, int]] = []
    texts: list[tuple[int, str]] = []
    for position, contact_key, timestamp, body in _PIECE.decode(piece):
        try:
            searched = read_searched(bytes(body))
        except Exception:  # one text that cannot be read must not keep everybody else's from being found
            sys.stderr.write(f"activity at position {position} cannot be indexed:\n{traceback.format_exc()}")
            continue
        postings.extend((each, timestamp, position) for each in terms_of(searched))
        texts.append((position, folded_text(contact_key, searched)))
    return _ENCODER.encode(sorted(postings)), _ENCODER.encode(sorted(texts))


if __name__ == "__main__":
    serve_frames(index_piece)
