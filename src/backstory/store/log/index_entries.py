"""What an activity has in a search index: postings, words, and what stands for a contact or a reference among them."""

from __future__ import annotations

import functools
import hashlib

from backstory.model.searched import Searched


@functools.lru_cache(maxsize=16_384)
def term(kind: str, value: str) -> int:
    """The signed 64-bit name of a value in the index."""
    hashed = hashlib.blake2b(f"{kind}\0{value}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big", signed=True)


EVERYTHING = term("all", "")
"""The posting that each activity has."""


def terms_of(searched: Searched) -> list[int]:
    """The postings that an activity has."""
    terms = [EVERYTHING, term("source", searched.source), term("name", searched.name)]
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
    return " ".join([contact_token(contact_key), *map(ref_token, searched.refs), *searched.words])
