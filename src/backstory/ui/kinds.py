"""The icon and the tone of an activity, read from its words: what it says stands beside it as text."""

from __future__ import annotations

import functools
from typing import NamedTuple

from backstory.model.words import split_words


class Kind(NamedTuple):
    """How an activity looks: an icon, and a tone (bad, good, warn, info or plain)."""

    icon: str
    tone: str


_BAD = frozenset(
    """failed fail fails failure declined refused rejected error errors denied cancelled canceled expired lost
    chargeback dispute disputed bounced unpaid overdue blocked fraud missed undeliverable uninstalled churned
    returned damaged complaint unsubscribed""".split()
)
_GOOD = frozenset(
    """paid succeeded success successful completed complete delivered approved confirmed fulfilled resolved
    captured won renewed activated verified accepted subscribed""".split()
)
_WARN = frozenset(
    "delayed pending retry retrying abandoned warning refunded refund paused late held review escalated".split()
)
# The first that has one of the activity's words; words of its name count before those of its object's type.
_ICONS: tuple[tuple[str, str], ...] = (
    ("undo-2", "refund refunded chargeback reversal reversed"),
    ("package", "order orders ordered parcel package fulfillment fulfilled return returned"),
    ("truck", "shipment shipped shipping delivery delivered tracking courier dispatched transit carrier"),
    ("credit-card", "payment payments transaction charge charged card checkout paid payout"),
    ("receipt", "invoice invoices receipt bill billing"),
    ("phone", "call calls called phone voicemail dialled"),
    ("shopping-cart", "cart basket wishlist"),
    ("mail", "email emails mail newsletter inbox"),
    (
        "message-square",
        "chat message messages sms conversation comment reply replied replies note noted survey",
    ),
    ("ticket", "ticket tickets case"),
    ("repeat", "subscription subscriptions renewal renewed plan trial membership"),
    ("log-in", "login logged signin signed session password otp mfa"),
    ("user", "account profile contact customer user registered signup merged agent"),
    ("calendar", "booking booked appointment meeting reservation event calendar visit"),
    ("download", "download downloaded export exported install installed"),
    ("file-text", "document contract form file quote agreement submitted"),
    ("star", "review rating feedback nps"),
    ("megaphone", "campaign ad promotion coupon push notification"),
    ("eye", "page viewed view website visited browse browsed visit visited search searched product"),
    ("shield", "fraud security verification verified"),
    ("tag", "tag tagged label discount"),
)
_BY_WORD = {
    word: (number, icon)
    for number, (icon, words) in reversed(list(enumerate(_ICONS)))
    for word in words.split()
}
DEFAULT_ICON = "activity"


def kind_of(name: str, object_type: str | None) -> Kind:
    """The kind of an activity."""
    return _kind_of(name[:255], (object_type or "")[:64])


@functools.lru_cache(maxsize=2_048)
def _kind_of(name: str, object_type: str) -> Kind:
    said, about = split_words(name), split_words(object_type)
    found = _first_icon(said) or _first_icon(about) or DEFAULT_ICON
    words = set(said)
    tone = "bad" if words & _BAD else "warn" if words & _WARN else "good" if words & _GOOD else "plain"
    return Kind(found, tone)


def _first_icon(words: list[str]) -> str | None:
    found = [_BY_WORD[word] for word in words if word in _BY_WORD]
    return min(found)[1] if found else None
