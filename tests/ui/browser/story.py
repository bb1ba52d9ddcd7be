"""The story that the workspace is made for: a payment fails, its customer writes, an agent sees why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx

from tests.http.wire import ACTIVITIES

NAME, EMAIL = "John Miller", "john.miller@example.com"
SUBJECT = "My payment failed, again"
QUESTION = "Hello, I tried to pay for my order and it did not go through. Was I charged?"

ITEMS = {
    "item1": {"Item name": "Gucci White Ace Sneakers", "Size": "10 UK", "Color": "White", "Instock": "Yes"},
    "item2": {"Item name": "Gucci Round Sleeve T-Shirt", "Size": "40 UK", "Color": "Blue", "Instock": "Yes"},
}
CONTEXT = {
    "Items": 2,
    "Item description": ITEMS,
    "Amount": "50",
    "Currency": "Dollars",
    "Postal code": "12401",
    "Order id": "84637930",
    "Transaction link": "myorderstatus.example.com/84637930",
}


class Story(NamedTuple):
    """Where it plays: the customer, and the failed transaction."""

    contact_id: int
    failed_id: str


def publish_story(api: httpx.Client, failed_at: datetime) -> Story:
    """What the shop, the phone system and the rest tell of the customer, around the failure."""
    shopper, system = {"type": "shopper", "name": NAME}, {"type": "system", "name": "Aircall"}
    shop, phone, web = {"name": "shopify"}, {"name": "aircall"}, {"name": "webapp"}

    def tell(minutes: float, name: str, source: dict[str, str], **more: Any) -> dict[str, Any]:
        at = (failed_at + timedelta(minutes=minutes)).astimezone(UTC).isoformat()
        activity = {"name": name, "timestamp": at, "actor": shopper, "source": source, **more}
        contact = {"email": EMAIL, "name": NAME, "phone": "+442079460123"}
        answer = api.post(ACTIVITIES, json={"activity": activity, "contact": contact})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    day = 24 * 60
    tell(
        -31 * day,
        "Account created",
        web,
        object={"type": "account"},
        description="By the newsletter of October",
    )
    tell(
        -9 * day,
        "Order placed",
        shop,
        object={"type": "order", "id": "84630011"},
        description="1 item, 28.00 Dollars",
    )
    tell(-7 * day, "Parcel delivered", {"name": "dhl"}, object={"type": "shipment", "id": "JD0146000070"},
         description="Left with a neighbour")  # fmt: skip
    tell(-6 * day, "Call missed", phone, actor=system, object={"type": "call", "id": "8812"},
         description="Rang 40 seconds", context={"direction": "inbound", "duration_seconds": 40})  # fmt: skip
    for minute in range(-18, -6, 3):
        tell(minute, "Page viewed", web, object={"type": "page"}, description="Sneakers")
    tell(
        -5,
        "Added to cart",
        shop,
        object={"type": "cart", "id": "c-981"},
        description="Gucci White Ace Sneakers",
    )
    tell(-3, "Order placed", shop, object={"type": "order", "id": "84637930"}, description="2 items",
         context={"Order id": "84637930", "Amount": "50", "Currency": "Dollars"})  # fmt: skip
    failed = tell(
        0,
        "Transaction failed",
        shop,
        description="Transaction for order 84637930: the card was declined",
        object={"type": "transaction", "id": "1234", "link": "https://myorderstatus.example.com/84637930"},
        context=CONTEXT,
    )
    return Story(int(failed["contact_id"]), str(failed["id"]))
