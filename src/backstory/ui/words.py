"""Keys as words: `trackingNumber`, `tracking_number` and `TRACKING-NUMBER` are all "Tracking number"."""

from __future__ import annotations

import functools
import re

_CACHED_LENGTH = 64
"""Longer keys hardly come again, and would make the cache's memory unbounded."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", re.ASCII)
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^A-Za-z\d]+")
_ACRONYMS = frozenset(
    """ach aml api arr avs b2b b2c bic cpu crm csv cta cvc cvv dns ean eta etd faq gps html http https iban id imei ip
    isbn iso json kyc ltv mfa mms mrr os otp pdf po pos qr ram sdk seo sepa sku sla sms sql ssl sso tls ui upc uri
    url usb utc utm uuid vat vin vip voip vpn xml""".split()
)


def key_words(key: str) -> tuple[str, ...]:
    """The words of a key, in lower case: what it says of its value."""
    return _key_words(key) if len(key) <= _CACHED_LENGTH else ()


@functools.lru_cache(maxsize=4_096)
def _key_words(key: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _split(key.replace(" ", "_")))


def _split(key: str) -> list[str]:
    """The words as they are written. Digits go with what stands before them where that is short: `v2`, but `item 1`."""
    words: list[str] = []
    for part in re.split(r"[_.\-]+", key):
        pieces = _PIECE.findall(part)
        for piece in pieces:
            if piece.isdigit() and words and pieces[0] is not piece and len(words[-1]) < 3:
                words[-1] += piece
            else:
                words.append(piece)
    return words


def label(key: str) -> str:
    """A key as people read it. One with spaces was written for them; of another kind of text it stays what it is."""
    return _label(key) if len(key) <= _CACHED_LENGTH else key


@functools.lru_cache(maxsize=4_096)
def _label(key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return key[:1].upper() + key[1:] if " " in key.strip() or key.isalpha() else key
    shouted = key.isupper() and (len(key) > 5 or not key.isalpha())
    words = [_word(word, shouted=shouted) for word in _split(key)]
    text = " ".join(word for word in words if word)
    return text[:1].upper() + text[1:] if text else key


def _word(word: str, *, shouted: bool) -> str:
    lower = word.lower()
    if lower in _ACRONYMS:
        return lower.upper()
    if lower.endswith("s") and lower[:-1] in _ACRONYMS:
        return f"{lower[:-1].upper()}s"
    if word.isupper() and len(word) > 1 and not shouted:
        return word
    return lower
