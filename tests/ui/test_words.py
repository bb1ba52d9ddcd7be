"""Keys as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.ui.words import key_words, label

LABELS = {
    "trackingNumber": "Tracking number",
    "tracking_number": "Tracking number",
    "tracking-number": "Tracking number",
    "TRACKING_NUMBER": "Tracking number",
    "Order id": "Order id",
    "order_id": "Order ID",
    "orderIds": "Order IDs",
    "orderURL": "Order URL",
    "callbackUrl": "Callback URL",
    "HTMLBody": "HTML body",
    "SKU": "SKU",
    "sku": "SKU",
    "ETA": "ETA",
    "VATNumber": "VAT number",
    "ipAddress": "IP address",
    "utm_source": "UTM source",
    "item1": "Item 1",
    "address2": "Address 2",
    "line_1": "Line 1",
    "v2": "V2",
    "a": "A",
    "shipping.address.city": "Shipping address city",
    "Straße": "Straße",
    "größe der Lieferung": "Größe der Lieferung",
    "订单": "订单",
    "": "",
    "  ": "  ",
    "$ref": "$ref",
    "https://example.com/x": "https://example.com/x",
    "rachel@example.com": "rachel@example.com",
    "{{7*7}}": "{{7*7}}",
    "___": "___",
    "2024": "2024",
}


@pytest.mark.parametrize(("key", "expected"), LABELS.items())
def test_keys_read_as_words(key: str, expected: str) -> None:
    assert label(key) == expected


def test_a_long_key_stays_what_it_is() -> None:
    assert label("x" * 100_000) == "x" * 100_000
    assert key_words("x" * 100_000) == ()


@given(st.text())
def test_every_key_has_a_label(key: str) -> None:
    assert bool(label(key)) == bool(key)
    assert key_words(key) is not None
