"""Believable activities, the same ones in every run, fast enough never to be what is measured.

Activity number `i` of a feed is a function of (seed, i) alone: an import can resume anywhere, two servers can be given
exactly the same rows, and no two activities of a feed share an id. Bodies are 630 to 810 bytes of JSON, like the
canonical request, made by filling byte templates (no JSON encoder runs).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_STRIDE = 2_654_435_761  # a prime: `contacts` activities in a row belong to as many contacts
_FIRST_DAY = date(2024, 1, 1)
_DAYS = [(_FIRST_DAY + timedelta(days=n)).isoformat().encode() for n in range(1000)]

_FIRST = (
    "Rachel Tomás Aiko Ngozi Søren Priya Yusuf Chloé Mateo Ingrid Hana Liam Zofia Omar Lucía Jamal".split()
)
_LAST = "Adeyemi Berg Castillo Dubois Eriksen Fujita García Haddad Ivanova Jensen Kowalski Lindqvist".split()
_GOODS = (
    "White Ace Sneakers,Round Sleeve T-Shirt,Merino Scarf,Canvas Backpack,Leather Belt,Rain Jacket,Linen Shirt,"
    "Running Shorts,Wool Beanie,Denim Jeans,Trail Boots,Silk Tie,Cotton Socks,Fleece Vest,Summer Dress,Suede Gloves"
).split(",")
_COLOURS = "White Blue Black Olive Sand Crimson Teal Grey".split()
_CURRENCIES = "Dollars Euros Pounds Yen".split()
_CARRIERS = "DHL UPS PostNord GLS FedEx DPD Hermes Correos".split()
_REASONS = (
    "card declined by the bank,insufficient funds,address check failed,3-D Secure was cancelled,"
    "the card has expired,daily limit reached,the bank did not answer in time,suspected fraud"
).split(",")

# Each template takes the same named slots; what it does not name is left out.
_ITEM = (
    b'{"Item name":"%(goods)s","Size":"%(small)d UK","Color":"%(colour)s",'
    b'"Instock":"Yes","Unit price":%(cents)d.90}'
)
_ITEMS = (
    b'"Items":2,"Item description":{"item1":' + _ITEM + b',"item2":{"Item name":"%(goods2)s","Size":"40 UK",'
    b'"Color":"%(colour2)s","Instock":"Yes"}}'
)
_MONEY = b'"Amount":"%(cents)d.90","Currency":"%(currency)s"'
_ORDER = b'"Order id":"%(order)d","Postal code":"%(postal)05d"'

_SHOP = b'{"name":"shopify","id":"7819e8k1119"}'
_KINDS: tuple[tuple[bytes, bytes, bytes, bytes, bytes], ...] = (
    # name, description, source, object, context
    (
        b"Transaction failed",
        b"Transaction for order %(order)d: %(reason)s",
        _SHOP,
        b'{"type":"transaction","id":"%(txn)d","link":"https://shop.example.com/t/%(order)d"}',
        b"{" + _ITEMS + b"," + _MONEY + b"," + _ORDER + b',"Reason":"%(reason)s","Attempt":%(small)d}',
    ),
    (
        b"Order placed",
        b"Order %(order)d, %(goods)s and %(goods2)s",
        _SHOP,
        b'{"type":"order","id":"%(order)d","name":"#%(order)d","link":"https://shop.example.com/o/%(order)d"}',
        b"{" + _ITEMS + b"," + _MONEY + b"," + _ORDER + b',"Gift wrap":false,"Voucher":null}',
    ),
    (
        b"Payment received",
        b"%(cents)d.90 %(currency)s by card for order %(order)d",
        b'{"name":"stripe","id":"acct_1Gq"}',
        b'{"type":"payment","id":"py_%(txn)d","link":"https://pay.example.com/p/%(txn)d"}',
        b"{" + _MONEY + b"," + _ORDER + b',"Card":{"Brand":"Visa","Last four":"%(four)04d","Country":"GB"},'
        b'"Risk":{"Score":%(small)d,"Rules":["velocity","country","amount"],"Outcome":"authorised"},'
        b'"Statement":"EXAMPLE SHOP LTD %(order)d","Receipt number":"R-%(txn)d"}',
    ),
    (
        b"Order shipped",
        b"%(carrier)s has taken over the parcel of order %(order)d",
        b'{"name":"shipstation"}',
        b'{"type":"shipment","id":"sh-%(txn)d","name":"Parcel 1 of 1"}',
        b"{" + _ORDER + b',"trackingNumber":"JD%(txn)d","Carrier":"%(carrier)s","Service":"Tracked 48",'
        b'"Parcel":{"Weight":{"value":%(small)d.4,"unit":"kg"},"Size":[30,20,%(small)d]},'
        b'"Contents":["%(goods)s","%(goods2)s"],"Warehouse":"North 2, aisle %(small)d"}',
    ),
    (
        b"Cart abandoned",
        b"%(goods)s was left in the cart",
        _SHOP,
        b'{"type":"cart","id":"c-%(txn)d","link":"https://shop.example.com/c/%(txn)d"}',
        b"{"
        + _ITEMS
        + b","
        + _MONEY
        + b',"Device":"iPhone","Minutes in shop":%(small)d,"Came from":"newsletter"}',
    ),
    (
        b"Call ended",
        b"Call about order %(order)d, %(small)d minutes",
        b'{"name":"aircall","id":"line-4"}',
        b'{"type":"call","id":"%(txn)d","name":"Inbound call"}',
        b"{" + _ORDER + b',"Direction":"inbound","Duration":{"Waiting":%(four)d,"Talking":%(cents)d},'
        b'"Topics":["%(reason)s","%(goods)s","delivery to another address"],"Sentiment":"neutral",'
        b'"Summary":"The customer asked when the %(goods)s in %(colour)s would arrive and was told the date."}',
    ),
    (
        b"Signed in",
        b"Sign-in from a known device",
        b'{"name":"website","id":"web-eu"}',
        b'{"type":"website","id":"s-%(txn)d","name":"shop.example.com","link":"https://shop.example.com/account"}',
        b'{"Device":{"Browser":"Firefox 140","System":"Android 16","Screen":[1080,2400]},"Two factors":true,'
        b'"Pages":["/account","/orders/%(order)d","/returns","/help/delivery"],"Seconds":%(cents)d,'
        b'"Search":"%(goods)s %(colour)s","Order id":"%(order)d","Session":"%(txn)d-%(four)04d"}',
    ),
    (
        b"Refund issued",
        b"%(cents)d.90 %(currency)s for %(goods)s, which came back",
        b'{"name":"stripe","id":"acct_1Gq"}',
        b'{"type":"refund","id":"re_%(txn)d","link":"https://pay.example.com/r/%(txn)d"}',
        b"{" + _ITEMS + b"," + _MONEY + b"," + _ORDER + b',"Return reason":"%(colour2)s was not as shown"}',
    ),
)
_BODY = (
    b'{"activity":{"id":"%%(prefix)s-%%(i)d","name":"%s","timestamp":"%%(day)sT%%(h)02d:%%(m)02d:%%(s)02dZ",'
    b'"description":"%s","actor":{"type":"contact","id":"u%%(contact)d","name":"%%(first)s"},"source":%s,'
    b'"object":%s,"context":%s},"contact":{"email":"%%(mail)s","name":"%%(first)s %%(last)s"}}'
)
_TEMPLATES = tuple(_BODY % kind for kind in _KINDS)


def _utf8(words: list[str]) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in words)


_FIRSTS, _LASTS, _GOODSB, _COLOURSB = _utf8(_FIRST), _utf8(_LAST), _utf8(_GOODS), _utf8(_COLOURS)
_ASCII = str.maketrans("áéíóúøñ", "aeiouon")
_CURRENCIESB, _CARRIERSB, _REASONSB = _utf8(_CURRENCIES), _utf8(_CARRIERS), _utf8(_REASONS)


def email(contact: int) -> str:
    """The address of contact number `contact`, in lower case."""
    return f"{_FIRSTS[contact % 16].decode().lower()}.{contact}@example.com".translate(_ASCII)


@dataclass(frozen=True)
class Feed:
    """A sequence of publish requests.

    `contacts` people share the activities evenly and take turns, so that the first `contacts` activities bring in
    everybody; where `big_every` is n, every n-th activity belongs to contact 0
    instead, which makes one contact with a very long history. `per_second` is how many activities fall into one second
    of the shop's (not the bench's) time.
    """

    seed: int = 1
    contacts: int = 10_000
    big_every: int = 0
    prefix: str = "b"
    per_second: int = 1

    def contact_of(self, i: int) -> int:
        """The number of the contact whose activity `i` is."""
        if self.big_every:
            if i % self.big_every == 0:
                return 0
            return 1 + (i - i // self.big_every) * _STRIDE % (self.contacts - 1)
        return i * _STRIDE % self.contacts

    def body(self, i: int) -> bytes:
        """The JSON of publish request number `i`."""
        x = self._mixed(i) ^ _GOLDEN
        contact = self.contact_of(i)
        seconds = i // self.per_second
        if not x & 31:  # one in 32 is reported late, by up to 36 hours
            seconds = max(0, seconds - (x >> 40) % 130_000)
        day, second = divmod(seconds, 86_400)
        return _TEMPLATES[x >> 5 & 7] % {
            b"prefix": self.prefix.encode(),
            b"i": i,
            b"day": _DAYS[day % 1000],
            b"h": second // 3600,
            b"m": second // 60 % 60,
            b"s": second % 60,
            b"contact": contact,
            b"first": _FIRSTS[contact % 16],
            b"last": _LASTS[contact % 12],
            b"mail": email(contact).encode(),
            b"goods": _GOODSB[x >> 8 & 15],
            b"goods2": _GOODSB[x >> 12 & 15],
            b"colour": _COLOURSB[x >> 16 & 7],
            b"colour2": _COLOURSB[x >> 19 & 7],
            b"currency": _CURRENCIESB[x >> 22 & 3],
            b"carrier": _CARRIERSB[x >> 24 & 7],
            b"reason": _REASONSB[x >> 27 & 7],
            b"small": 1 + (x >> 30 & 31),
            b"cents": 5 + (x >> 35 & 511),
            b"four": x >> 44 & 8191,
            b"postal": x >> 45 & 65535,
            b"order": 80_000_000 + i,
            b"txn": 500_000_000 + (x >> 20) % 400_000_000,
        }

    def bodies(self, start: int, count: int | None = None) -> Iterator[bytes]:
        """Publish requests from number `start` on; without a `count` they never end."""
        i = start
        while count is None or i < start + count:
            yield self.body(i)
            i += 1

    def _mixed(self, i: int) -> int:
        x = (i + self.seed * 0xD1342543DE82EF95) * _GOLDEN & _MASK
        x = (x ^ x >> 32) * 0xBF58476D1CE4E5B9 & _MASK
        return x ^ x >> 29


def batch(bodies: list[bytes]) -> bytes:
    """The JSON of one batch request of these publish requests."""
    return b'{"activities":[' + b",".join(bodies) + b"]}"
