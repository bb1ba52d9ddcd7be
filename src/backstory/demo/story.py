"""A year in the life of a believable shop: what its customers did, as seven integrations would publish it.

`requests` is all that others need. To understand the rest, read from the end: a year is a cast of people, a life is
a sign-up and a draw of journeys from `JOURNEYS`, a journey is a tale of events, and each source of events describes
them in the shape of its own webhooks. Whoever adds a journey writes one tale and one line in the table.

Nobody here exists. Domains, addresses of the network and telephone numbers are those reserved for documentation and
fiction; where a country reserves no numbers, its people have given none.
"""

# ruff: noqa: RUF001  (people write their names in Greek and Cyrillic letters)

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple, TypeVar

T = TypeVar("T")
Json = dict[str, object]
Hours = tuple[int, int]
Referral = tuple[str | None, Json]

# --- The world ----------------------------------------------------------------------------------------------


class Currency(NamedTuple):
    """How money is written and, roughly, what a euro was worth in it."""

    code: str
    word: str
    decimals: int
    per_euro: float


class Money(NamedTuple):
    """An amount in minor units (cents; yen have none), as payment services count it."""

    minor: int
    currency: Currency

    def __str__(self) -> str:
        decimals = self.currency.decimals
        return f"{self.minor / 10**decimals:.{decimals}f}"

    @property
    def spoken(self) -> str:
        """As a description says it: `128.95 EUR`."""
        return f"{self} {self.currency.code}"


class Place(NamedTuple):
    """A country that the shop delivers to. `phones` are numbers that are reserved there for fiction."""

    country: str
    utc_offset: float
    currency: Currency
    cities: tuple[str, ...]
    streets: tuple[str, ...]
    phones: range


class Culture(NamedTuple):
    """Where names come from."""

    country: str
    given: tuple[str, ...]
    family: tuple[str, ...]
    pattern: str


class Name(NamedTuple):
    """A given and a family name of one culture, spelled as in its table."""

    culture: Culture
    given: str
    family: str


class Card(NamedTuple):
    """A payment card, as far as a shop may know it."""

    brand: str
    last4: str


class Device(NamedTuple):
    """What a person visits the shop with."""

    kind: str
    os: str
    browser: str
    version: str
    width: int
    height: int

    def facts(self) -> Json:
        """As the app reports it."""
        return {
            "type": self.kind,
            "os": self.os,
            "browser": {"name": self.browser, "version": self.version},
            "screen": {"width": self.width, "height": self.height},
        }


class Product(NamedTuple):
    """Something on the shelf. The price is in whole euros."""

    sku: str
    title: str
    price: int
    sizes: tuple[str, ...]
    colours: tuple[str, ...]


def _rows(table: str) -> list[list[str]]:
    """The cells of a table in text, which stays readable where one of tuples would not."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _items(cell: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in cell.split(","))


def _span(cell: str) -> range:
    """Telephone numbers as digits, from the first and how many; none where a country reserves none."""
    first, size = (int(number) for number in cell.split()) if cell else (0, 0)
    return range(first, first + size)


CURRENCIES = {
    code: Currency(code, word, int(decimals), float(per_euro))
    for code, word, decimals, per_euro in _rows("""
        USD | Dollars            | 2 |   1.1
        GBP | Pounds             | 2 |   0.85
        EUR | Euros              | 2 |   1
        SEK | Kronor             | 2 |  11.2
        AUD | Australian dollars | 2 |   1.65
        JPY | Yen                | 0 | 162
        PLN | Złoty              | 2 |   4.3
        INR | Rupees             | 2 |  91
        BRL | Reais              | 2 |   5.9
    """)
}

# Country, hours from UTC, currency, cities with postcodes, streets, and of the telephone numbers kept for
# fiction the first and how many.
PLACES = {
    country: Place(
        country, float(offset), CURRENCIES[currency], _items(cities), _items(streets), _span(phones)
    )
    for country, offset, currency, cities, streets, phones in _rows("""
        US | -5  | USD | Boston/02118, Kingston/12401, Tucson/85701 | Juniper Lane, Mill Street | +12125550100 90
        GB |  0  | GBP | Leeds/LS1 4DY, Cardiff/CF10 1EP            | Harbour Road, Kiln Lane   | +442079460100 890
        IE |  0  | EUR | Galway/H91 E2K3, Cork/T12 W8KP             | Bóthar na Trá, Quay St    |
        FR |  1  | EUR | Lyon/69003, Bourg-en-Bresse/01000          | rue des Tilleuls          | +33199001000 9000
        DE |  1  | EUR | Dresden/01067, Köln/50667, Tübingen/72070  | Lindenstraße, Am Mühlbach | +493023125000 900
        SE |  1  | SEK | Malmö/211 20, Umeå/903 26                  | Björkvägen, Ängsgatan     | +46701740605 95
        AU | 10  | AUD | Hobart/7000, Darwin/0800                   | Wattle Grove              | +61255500100 9900
        JP |  9  | JPY | 札幌市/060-0001, 松本市/390-0811           | 桜町二丁目, 中央通り      |
        PL |  1  | PLN | Łódź/90-001, Gdańsk/80-001                 | ulica Kwiatowa            |
        GR |  2  | EUR | Θεσσαλονίκη/546 24, Βόλος/382 21           | Οδός Ελιάς                |
        IN | 5.5 | INR | पुणे/411001, Kochi/682001                  | Lake View Road, गांधी मार्ग |
        BR | -3  | BRL | São Luís/65010-000, Natal/59010-000        | Rua das Acácias           |
    """)
}

# Country, given names, family names, order. `written/latin` where an email address could not be guessed from the
# written form; a hyphen stands for a space.
CULTURES = [
    Culture(country, tuple(given.split()), tuple(family.split()), pattern)
    for country, given, family, pattern in _rows("""
        US | Avery Jordan Naomi Caleb Delia Marcus Wren  | Holloway Brandt Castell Whitlow Okely Farrow     | {g} {f}
        GB | Imogen Rhys Tamsin Alasdair Gethin Poppy    | Ashdown Penhale Thorncliffe Birtwell Larkham     | {g} {f}
        IE | Siobhán Oisín Caoimhe Pádraig Gráinne Éanna | Rafter Devaney Quillan Tierney Mulvihill         | {g} {f}
        FR | Amélie Théo Zoë François Noémie Loïc        | Delaunay Lefèvre Mérieux Béranger D’Aubrac       | {g} {f}
        DE | Jürgen Anneliese Björn Käthe Sören          | Weiß/weiss Grünwald Köhlbrand Schäfer Ostermoor  | {g} {f}
        SE | Åsa Göran Linnéa Håkan Saga Märta           | Ekelöv Sjöstrand Björkdal Åkerhielm Nyhlén       | {g} {f}
        SE | Guðrún/gudrun Þórir/thorir Sóley Ævar/aevar | Hraunfjörð/hraunfjord Hafstað/hafstad Blöndal    | {g} {f}
        PL | Łukasz/lukasz Zofia Bożena Jaśmina Grześ    | Żuraw Dąbek Wierzbięta Ścibor                    | {g} {f}
        GR | Ελένη/eleni Δάφνη/dafni Μυρτώ/myrto         | Λιβαδίτη/livaditi Καστανά/kastana                | {g} {f}
        DE | Олена/olena Тарас/taras Соломія/solomiia    | Гончар/honchar Верба/verba Явір/yavir            | {g} {f}
        GB | ليلى/layla يوسف/yusuf نور/nour              | الزيتوني/alzaytouni حدّاد/haddad العنبري/alanbari | {g} {f}
        FR | נועה/noa איתן/eitan תמר/tamar               | בן-אלון/benalon שקד/shaked דקל/dekel             | {g} {f}
        IN | प्रिया/priya अर्जुन/arjun Kavitha Rohan        | देशमुख/deshmukh Nambiar कुलकर्णी/kulkarni            | {g} {f}
        JP | 美咲/misaki 蓮/ren 陽菜/hina 大輔/daisuke   | 桜井/sakurai 水野/mizuno 森下/morishita          | {f} {g}
        AU | 雨桐/yutong 浩然/haoran 梓涵/zihan          | 欧阳/ouyang 沈/shen 陆/lu 顾/gu                  | {f}{g}
        US | 서연/seoyeon 민준/minjun 하은/haeun         | 한/han 류/ryu 남궁/namgung                       | {f}{g}
        US | Nguyệt Đức/duc Thảo Bảo                     | Phan Lưu Đoàn/doan                               | {f} {g}
        BR | João Conceição Iñaki Lucía Mateus Thaís     | Gonçalves Ibáñez Araújo Quintão Brandão          | {g} {f}
        GB | Adérónkẹ́ Chidí Ọlámidé Ngozi                | Okonjo Adébáyọ̀ Ezeudu Danladi                    | {g} {f}
    """)
]

PRODUCTS = [
    Product(sku, title, int(euros), _items(sizes), _items(colours))
    for sku, title, euros, sizes, colours in _rows("""
        ALD-BOOT | Alder Trail Boot    | 139 | 6 UK, 7 UK, 8 UK, 9 UK  | Chestnut, Black
        FEN-RUN  | Fenn Road Runner    |  99 | 7 UK, 8 UK, 9 UK, 10 UK | White, Cobalt, Lime
        ISLA-SNK | Isla Canvas Sneaker |  59 | 5 UK, 6 UK, 7 UK, 8 UK  | Ecru, Rosé
        MOOR-PRK | Moorland Parka      | 219 | S, M, L, XL             | Moss, Navy
        TARN-FLC | Tarn Fleece         |  79 | XS, S, M, L, XL         | Oat, Slate
        KITE-TEE | Kite T-Shirt        |  25 | XS, S, M, L, XL, XXL    | White, Blue, Ochre
        BRAE-KNT | Brae Merino Jumper  | 109 | S, M, L                 | Heather, Ink
        DUNE-SHT | Dune Linen Shirt    |  69 | S, M, L, XL             | Sand, Sky
        PEAK-RCK | Peak Rucksack       | 119 | 28 l, 36 l              | Rust, Graphite
        WREN-BNE | Wren Beanie         |  19 | One size                | Mustard, Charcoal, Café
        RILL-BTL | Rill Bottle         |  29 | 500 ml, 750 ml          | Steel, Mint
        HEX-TENT | Hexa Tent           | 329 | 2 persons, 3 persons    | Olive
    """)
]

DEVICES = [
    Device(kind, os, browser, version, int(width), int(height))
    for kind, os, browser, version, width, height in _rows("""
        phone   | iOS 18.1    | Safari  | 18.1  |  390 |  844
        phone   | Android 15  | Chrome  | 131.0 |  412 |  915
        desktop | Windows 11  | Edge    | 131.0 | 1920 | 1080
        desktop | macOS 15    | Firefox | 133.0 | 1512 |  982
        tablet  | iPadOS 18.1 | Safari  | 18.1  |  820 | 1180
    """)
]
ORDER_NOTES = (
    "Please leave it with the neighbour 🙏",
    "It is a gift 🎁 no invoice in the parcel, please!",
    "Sonnette en panne, merci d’appeler 📞",
    "二階の玄関にお願いします 🏠",
    "Bitte nicht am Samstag liefern.",
)
DECLINES = (
    ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    ("card_declined", "do_not_honor", "Your card was declined."),
    ("expired_card", "expired_card", "Your card has expired."),
    ("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect."),
    ("authentication_required", "authentication_required", "Your bank asks you to confirm this payment."),
)
CARDS = [Card(*row) for row in (("visa", "4242"), ("visa", "1881"), ("mastercard", "4444"), ("amex", "0005"))]
SECOND_CARD = Card("mastercard", "5556")
AGENTS = (("501", "Ines Calloway"), ("502", "Tobias Renn"), ("507", "Mei-Lin Hart"), ("511", "Oluchi Brandt"))
TOPICS = (
    ("delivery", "Asks where the parcel is; promised to call back."),
    ("sizes", "Unsure between two sizes, sent the table by email 👟"),
    ("payment", "Card was charged but no order arrived. Checked with payments."),
    ("return", "Wants to send one item back, label sent. Very friendly 😊"),
    ("membership", "Asked what the Trail Club costs after the first year."),
)
CAMPAIGNS = (
    ("cmp_spring", "New this spring: lighter layers"),
    ("cmp_sale", "48 hours only 🔥 up to 40 % off"),
    ("cmp_autumn", "Rain is coming. Boots are here ☔"),
    ("cmp_club", "Trail Club: what members got this month"),
)
PAGES = (
    ("/", "Home"),
    ("/new", "New arrivals"),
    ("/c/boots", "Boots"),
    ("/c/outerwear", "Outerwear"),
    ("/help/sizes", "Find your size"),
    ("/help/returns", "Returns and refunds"),
    ("/journal/how-to-layer", "Journal: how to layer"),
)
REFERRALS: list[Referral] = [
    (referrer, {"source": source, "medium": medium, "campaign": campaign})
    for referrer, source, medium, campaign in _rows("""
        https://search.example.com/        | search | cpc       | brand-trail-boots
        https://social.example.net/        | social | paid      | autumn-reels
        https://blog.example.org/ten-huts  | blog   | affiliate | ten-huts
    """)
]
MONTH = timedelta(days=30)
WAKING = (1, 0, 0, 0, 0, 0, 1, 3, 6, 8, 8, 7, 9, 8, 6, 6, 7, 8, 10, 12, 13, 12, 7, 3)
"""How likely people do something in each hour of their day."""


# --- People -------------------------------------------------------------------------------------------------


DOMAINS = ("example.com", "example.org", "example.net")
AT_HOME = 0.7
"""The share of people who live where their name comes from."""

TOLD = 0.6
"""The share of people who told a thing that they need not tell."""


@dataclass(frozen=True, slots=True)
class Person:
    """A customer. What is None, they never told."""

    no: int
    name: str
    given: str
    email: str
    home: Place
    street: str
    city: str
    postcode: str
    card: Card
    device: Device
    ip: str
    phone: str | None = None
    customer_no: str | None = None
    shop_id: str | None = None
    payer_id: str | None = None

    def facts(self, source: str | None = None) -> Json:
        """What identifies them, in the fields of the contract; their ids elsewhere all, or those of one source."""
        ids = (("shopify", self.shop_id), ("stripe", self.payer_id))
        facts: dict[str, object | None] = {
            "email": self.email,
            "name": self.name,
            "phone": self.phone,
            "unique_external_id": self.customer_no,
            "identities": [
                {"source": name, "id": id_} for name, id_ in ids if id_ and source in (None, name)
            ],
        }
        return {field: value for field, value in facts.items() if value}


RACHEL = Person(
    no=0,
    name="Rachel",
    given="Rachel",
    email="rachel@example.com",
    home=PLACES["US"],
    street="14 Juniper Lane",
    city="Kingston",
    postcode="12401",
    card=CARDS[0],
    device=DEVICES[0],
    ip="203.0.113.7",
    phone="+12125550197",
    shop_id="918mI2k1",
    payer_id="cus_R8chel19mI2k1",
)
JOHN = Person(
    no=1,
    name="John",
    given="John",
    email="john@example.com",
    home=PLACES["GB"],
    street="3 Kiln Lane",
    city="Norwich",
    postcode="NR2 1TF",
    card=CARDS[1],
    device=DEVICES[2],
    ip="2001:db8:20::7",
    phone="+442079460997",
    customer_no="C-100001",
    payer_id="cus_J0hn5xT2bQ",
)


def _cast(contacts: int, seed: int) -> Iterator[Person]:
    """Rachel, John, and as many others as are wanted; the same ones first, however many."""
    dice = _dice(seed, "cast")
    names = [
        Name(culture, *words)
        for culture in CULTURES
        for words in itertools.product(culture.given, culture.family)
    ]
    dice.shuffle(names)
    phones = {place.country: iter(place.phones) for place in PLACES.values()}
    yield from (RACHEL, JOHN)[:contacts]
    for no, name in zip(range(2, contacts), itertools.cycle(names)):
        # Who comes when all names are taken finds the plain address taken too.
        suffix = str(no) if no - 2 >= len(names) else ""
        yield _stranger(no, name, suffix, dice, phones)


def _stranger(no: int, name: Name, suffix: str, dice: Random, phones: Mapping[str, Iterator[int]]) -> Person:
    """Somebody, who most often lives where their name comes from."""
    given, given_latin = _spelled(name.given)
    family, family_latin = _spelled(name.family)
    home = PLACES[name.culture.country] if dice.random() < AT_HOME else dice.choice(list(PLACES.values()))
    city, _, postcode = dice.choice(home.cities).partition("/")
    told_phone, registered, in_shop, pays = (dice.random() < TOLD for _ in range(4))
    phone = next(phones[home.country], None) if told_phone else None
    return Person(
        no=no,
        name=name.culture.pattern.format(g=given, f=family),
        given=given,
        email=f"{given_latin}.{family_latin}{suffix}@{dice.choice(DOMAINS)}",
        home=home,
        street=f"{dice.randint(1, 180)} {dice.choice(home.streets)}",
        city=city,
        postcode=postcode,
        card=dice.choice(CARDS),
        device=dice.choice(DEVICES),
        ip=dice.choice((f"198.51.100.{dice.randint(1, 254)}", f"2001:db8:{no:x}::{dice.randint(1, 99)}")),
        phone=f"+{phone}" if phone else None,
        customer_no=f"C-{100_000 + no}" if registered else None,
        shop_id=str(6_100_000_000_000 + no * 7_919) if in_shop else None,
        payer_id=f"cus_{_token(dice, 14)}" if pays else None,
    )


def _spelled(name: str) -> tuple[str, str]:
    """A name as it is written, and as an email address spells it."""
    written, _, latin = name.partition("/")
    bare = unicodedata.normalize("NFKD", latin or written).lower()
    return written.replace("-", " "), "".join(c for c in bare if c.isascii() and c.isalnum())


def _dice(seed: int, purpose: object) -> Random:
    """Dice of their own for everybody: one more event in one life changes no other."""
    return Random(f"{seed}:{purpose}")  # noqa: S311  (a demo's dice need to repeat, not to be secret)


def _token(dice: Random, length: int) -> str:
    return "".join(dice.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789", k=length))


# --- Events and orders --------------------------------------------------------------------------------------


class Source(NamedTuple):
    """An application that publishes: how it numbers its events, names its people, and by what it knows them."""

    name: str
    id: str
    event_id: str
    role: str
    knows: tuple[str, ...] = ("email",)


SHOP = Source("shopify", "7819e8k1119", "{}", "shopper")
PAYMENTS = Source("stripe", "acct_1TrailShop", "evt_{:016x}", "customer", ("email", "identities"))
CALLS = Source("aircall", "line-2", "call-{}", "contact", ("phone",))
PARCELS = Source("dhl", "account-51", "{:016X}", "recipient")
APP = Source("webapp", "storefront", "{:016x}", "user", ("unique_external_id",))
MAIL = Source("mailchimp", "list_a6b5da", "{:012x}", "subscriber")
CLUB = Source("chargebee", "trail-club", "ev_{:016x}", "customer", ("email", "unique_external_id"))


class Event(NamedTuple):
    """Something that happened, as its source tells it."""

    at: datetime
    who: Person
    source: Source
    activity: Json
    by_contact: bool = True


Tale = Generator[Event, None, datetime]
"""A part of a story: yields what happened and returns when it was over, so that the next part can follow on."""

Journey = Callable[["Scene", datetime], Tale]


class Line(NamedTuple):
    """One line of a cart."""

    sku: str
    title: str
    size: str
    colour: str
    quantity: int
    price: Money


@dataclass(frozen=True, slots=True)
class Order:
    """A cart on its way to the customer. Its id is the thread through all sources."""

    id: str
    cart: str
    charge: str
    card: Card
    lines: tuple[Line, ...]
    shipping: Money

    @property
    def total(self) -> Money:
        """What is to be paid."""
        return Money(self.goods.minor + self.shipping.minor, self.goods.currency)

    @property
    def goods(self) -> Money:
        """What the items cost."""
        return Money(sum(line.price.minor * line.quantity for line in self.lines), self.shipping.currency)

    @property
    def pieces(self) -> int:
        """How many things are in the parcel."""
        return sum(line.quantity for line in self.lines)

    @property
    def tracking_number(self) -> str:
        """What the carrier calls it."""
        return f"JD0146{self.id:0>12}"

    @property
    def link(self) -> str:
        """Where its status is shown."""
        return f"https://myorderstatus.example.com/{self.id}"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a tale has at hand: whose it is, the dice, the day on which the demo is set up, numbers for orders."""

    who: Person
    dice: Random
    today: datetime
    order_ids: Iterator[int]

    def event(
        self,
        source: Source,
        at: datetime,
        name: str,
        thing: Json,
        context: Json,
        *,
        says: str | None = None,
        link: str | None = None,
        actor: Json | None = None,
    ) -> Event:
        """An event of this person, who is the actor where no other is named."""
        activity: dict[str, object | None] = {
            "id": source.event_id.format(self.dice.getrandbits(60)),
            "name": name,
            "timestamp": _iso(at),
            "description": says,
            "link": link,
            "actor": actor or self._contact_as(source),
            "source": {"name": source.name, "id": source.id},
            "object": thing,
            "context": context,
        }
        said = {field: value for field, value in activity.items() if value is not None}
        return Event(at, self.who, source, said, by_contact=actor is None)

    def order(self) -> Order:
        """A new order of one to three products."""
        lines = tuple(
            self._line(product) for product in self.dice.sample(PRODUCTS, k=self.dice.choice((1, 1, 2, 2, 3)))
        )
        return Order(
            id=str(next(self.order_ids)),
            cart=f"c1-{self.dice.getrandbits(64):016x}",
            charge=f"ch_{_token(self.dice, 20)}",
            card=self.who.card,
            lines=lines,
            shipping=_price(self.dice.choice((0, 0, 5, 7)), self.who.home.currency),
        )

    def waking(self, days_ago: int) -> datetime:
        """A moment of that day at which people are up, where this person lives."""
        hour = self.dice.choices(range(24), WAKING)[0]
        return self.today - timedelta(days=days_ago) + self._clock((hour, hour))

    def soon(self, at: datetime, least: float, most: float) -> datetime:
        """Some minutes later, to the second."""
        return at + timedelta(seconds=self.dice.randint(int(least * 60), int(most * 60)))

    def days_later(self, at: datetime, days: int, hours: Hours = (8, 18)) -> datetime:
        """Between those hours of a day after, where this person lives."""
        local = at + timedelta(hours=self.who.home.utc_offset)
        return _midnight(local) + timedelta(days=days) + self._clock(hours)

    def chance(self, share: float) -> bool:
        """Whether something happens that happens in this share of cases."""
        return self.dice.random() < share

    def _clock(self, hours: Hours) -> timedelta:
        """A local time of day between two hours, as what must be added to midnight UTC."""
        minutes = self.dice.randint(hours[0] * 60, hours[1] * 60 + 59)
        return timedelta(hours=-self.who.home.utc_offset, minutes=minutes, seconds=self.dice.randrange(60))

    def _contact_as(self, source: Source) -> Json:
        """The person as the source's actor."""
        ids = {"shopify": self.who.shop_id, "stripe": self.who.payer_id, "webapp": self.who.customer_no}
        own_id = ids.get(source.name)
        actor: Json = {"id": own_id} if own_id else {}
        return {**actor, "name": self.who.name, "type": source.role}

    def _line(self, product: Product) -> Line:
        return Line(
            sku=f"{product.sku}-{self.dice.randint(10, 99)}",
            title=product.title,
            size=self.dice.choice(product.sizes),
            colour=self.dice.choice(product.colours),
            quantity=self.dice.choice((1, 1, 1, 1, 2)),
            price=_price(product.price, self.who.home.currency),
        )


def _price(euros: int, currency: Currency) -> Money:
    """A price in local money; shops like prices just below a round one."""
    local = euros * currency.per_euro
    if not currency.decimals:
        return Money(int(round(local, -2)), currency)
    return Money(max(round(local) * 100 - 5, 0), currency)


def _thing(kind: str, id_: str, link: str | None = None, name: str | None = None) -> Json:
    """An `activity.object`."""
    parts = {"type": kind, "id": id_, "link": link, "name": name}
    return {field: value for field, value in parts.items() if value is not None}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


# --- The web shop -------------------------------------------------------------------------------------------


def _shop_lines(order: Order) -> list[Json]:
    return [
        {
            "title": line.title,
            "variant_title": f"{line.size} / {line.colour}",
            "sku": line.sku,
            "quantity": line.quantity,
            "price": str(line.price),
        }
        for line in order.lines
    ]


def _shop_address(who: Person) -> Json:
    return {
        "name": who.name,
        "address1": who.street,
        "address2": None,
        "city": who.city,
        "zip": who.postcode,
        "country_code": who.home.country,
    }


def _in_words(order: Order) -> str:
    return f"{order.pieces} item{'s'[: order.pieces > 1]}, {order.total.spoken}"


def cart(scene: Scene, at: datetime, name: str, order: Order, *, actor: Json | None = None) -> Event:
    """A cart in one of its states: created, updated, checkout started, abandoned."""
    context: Json = {
        "token": order.cart,
        "line_items": _shop_lines(order),
        "subtotal_price": str(order.goods),
        "currency": order.total.currency.code,
        "buyer_accepts_marketing": scene.who.no % 3 > 0,
        "recovery_url": f"https://shop.example.com/carts/{order.cart}/recover",
    }
    thing = _thing("cart", order.cart, f"https://shop.example.com/carts/{order.cart}")
    return scene.event(SHOP, at, name, thing, context, says=_in_words(order), actor=actor)


def order_placed(scene: Scene, at: datetime, order: Order) -> Event:
    """The shop took an order."""
    context: Json = {
        "Order id": order.id,
        "financial_status": "paid",
        "line_items": _shop_lines(order),
        "subtotal_price": str(order.goods),
        "total_shipping": str(order.shipping),
        "total_price": str(order.total),
        "currency": order.total.currency.code,
        "shipping_address": _shop_address(scene.who),
        "discount_codes": [] if order.shipping.minor else [{"code": "FREESHIP", "type": "shipping"}],
        "gateway": "stripe",
        "note": scene.dice.choice(ORDER_NOTES) if scene.chance(0.25) else None,
    }
    thing = _thing("order", order.id, order.link, f"#{order.id[-5:]}")
    return scene.event(SHOP, at, "Order placed", thing, context, says=_in_words(order), link=order.link)


def order_fulfilled(scene: Scene, at: datetime, order: Order) -> Event:
    """The parcel left the warehouse."""
    context: Json = {
        "Order id": order.id,
        "trackingNumber": order.tracking_number,
        "tracking_company": "DHL",
        "tracking_url": f"https://tracking.example.net/{order.tracking_number}",
        "location": "Warehouse 2",
        "line_items": [{"sku": line.sku, "quantity": line.quantity} for line in order.lines],
    }
    thing = _thing("order", order.id, order.link, f"#{order.id[-5:]}")
    says = f"Handed to DHL, {order.tracking_number}"
    return scene.event(SHOP, at, "Order fulfilled", thing, context, says=says, actor=_system("Warehouse"))


def order_refunded(scene: Scene, at: datetime, order: Order, reason: str) -> Event:
    """The shop's side of a refund."""
    context: Json = {
        "Order id": order.id,
        "reason": reason,
        "restock": reason == "return",
        "refund_line_items": _shop_lines(order),
        "transactions": [
            {"kind": "refund", "gateway": "stripe", "amount": str(order.total), "status": "success"}
        ],
        "currency": order.total.currency.code,
    }
    thing = _thing("order", order.id, order.link, f"#{order.id[-5:]}")
    says = f"{order.total.spoken} goes back to the card"
    return scene.event(SHOP, at, "Order refunded", thing, context, says=says, actor=_agent(scene))


def transaction_failed(scene: Scene, at: datetime, order: Order) -> Event:
    """The shop lost an order after checkout, in the flat words of its oldest integration."""
    items = {
        f"item{number}": {"Item name": line.title, "Size": line.size, "Color": line.colour, "Instock": "Yes"}
        for number, line in enumerate(order.lines, start=1)
    }
    context: Json = {
        "name": scene.who.given,
        "Items": len(items),
        "Item description": items,
        "Amount": str(order.total),
        "Currency": order.total.currency.word,
        "Postal code": scene.who.postcode,
        "Order id": order.id,
        "Transaction link": order.link.removeprefix("https://"),
    }
    says = f"Transaction for order {order.id} on {at.day} {at:%b, %Y}"
    return scene.event(
        SHOP, at, "Transaction failed", _thing("transaction", order.id, order.link), context, says=says
    )


def _system(name: str) -> Json:
    return {"type": "system", "name": name}


def _agent(scene: Scene) -> Json:
    id_, name = scene.dice.choice(AGENTS)
    return {"type": "agent", "id": id_, "name": name}


# --- The payment service ------------------------------------------------------------------------------------


def _charge(scene: Scene, at: datetime, order: Order, **outcome: object) -> Json:
    """A charge as the payment service describes it; amounts in minor units, times in seconds since 1970."""
    who, card = scene.who, order.card
    return {
        "id": order.charge,
        "amount": order.total.minor,
        "currency": order.total.currency.code.lower(),
        "created": int(at.timestamp()),
        "livemode": True,
        **outcome,
        "metadata": {"order_id": order.id},
        "payment_method_details": {
            "type": "card",
            "card": {
                "brand": card.brand,
                "last4": card.last4,
                "exp_month": int(card.last4) % 12 + 1,
                "exp_year": scene.today.year + 1 + who.no % 4,
                "country": who.home.country,
                "three_d_secure": {"result": "authenticated", "version": "2.2.0"}
                if card.brand == "visa"
                else None,
            },
        },
        "billing_details": {
            "email": who.email,
            "address": {"country": who.home.country, "postal_code": who.postcode},
        },
    }


def _charge_object(order: Order) -> Json:
    return _thing("charge", order.charge, f"https://payments.example.com/charges/{order.charge}")


def charge_succeeded(scene: Scene, at: datetime, order: Order) -> Event:
    """The card was charged."""
    outcome = {"type": "authorized", "risk_level": "normal", "risk_score": scene.dice.randint(2, 48)}
    context = _charge(scene, at, order, paid=True, status="succeeded", amount_refunded=0, outcome=outcome)
    says = f"{order.total.spoken} from {order.card.brand} ending {order.card.last4}"
    return scene.event(PAYMENTS, at, "Charge succeeded", _charge_object(order), context, says=says)


def charge_failed(scene: Scene, at: datetime, order: Order, decline: tuple[str, str, str]) -> Event:
    """The bank refused."""
    code, decline_code, message = decline
    context = _charge(
        scene,
        at,
        order,
        paid=False,
        status="failed",
        failure_code=code,
        failure_message=message,
        outcome={"type": "issuer_declined", "reason": decline_code, "network_status": "declined_by_network"},
    )
    return scene.event(PAYMENTS, at, "Charge failed", _charge_object(order), context, says=message)


def charge_refunded(scene: Scene, at: datetime, order: Order, reason: str) -> Event:
    """Money went back."""
    refund: Json = {"amount": order.total.minor, "reason": reason, "status": "succeeded"}
    context = _charge(scene, at, order, refunded=True, amount_refunded=order.total.minor, refunds=[refund])
    says = f"{order.total.spoken} back to {order.card.brand} ending {order.card.last4}"
    actor = _system("Refunds")
    return scene.event(
        PAYMENTS, at, "Charge refunded", _charge_object(order), context, says=says, actor=actor
    )


def dispute_event(scene: Scene, at: datetime, name: str, order: Order, status: str) -> Event:
    """The customer asked their bank for the money back; opened, or decided."""
    id_ = f"dp_{order.charge[3:]}"
    context: Json = {
        "id": id_,
        "charge": order.charge,
        "amount": order.total.minor,
        "currency": order.total.currency.code.lower(),
        "reason": "product_not_received",
        "status": status,
        "metadata": {"order_id": order.id},
        "evidence_details": {
            "has_evidence": status != "needs_response",
            "submission_count": int(status == "won"),
        },
        "balance_transactions": [{"amount": -order.total.minor, "fee": 1500, "type": "adjustment"}],
    }
    thing = _thing("dispute", id_, f"https://payments.example.com/disputes/{id_}")
    says = f"{order.total.spoken}, product not received: {status.replace('_', ' ')}"
    return scene.event(PAYMENTS, at, name, thing, context, says=says, actor=_system("Card issuer"))


# --- Telephony ----------------------------------------------------------------------------------------------


def call(scene: Scene, at: datetime, topic: tuple[str, str] | None) -> Event:
    """A call, answered by an agent on a topic, or missed."""
    id_ = str(scene.dice.randrange(10**8, 10**9))
    waited, talked = scene.dice.randint(4, 190), scene.dice.randint(45, 1500) if topic else 0
    outbound = bool(topic and scene.who.phone) and scene.chance(0.2)
    agent = _agent(scene) if topic else None
    ended = at + timedelta(seconds=waited + talked)
    context: Json = {
        "direction": "outbound" if outbound else "inbound",
        "status": "done",
        "raw_digits": scene.who.phone or "anonymous",
        "number": {"name": "Support", "digits": "+442079460018"},
        "started_at": int(at.timestamp()),
        "answered_at": int(at.timestamp()) + waited if agent else None,
        "ended_at": int(ended.timestamp()),
        "duration": waited + talked,
        "user": {**agent, "email": "support@example.net"} if agent else None,
        "missed_call_reason": None if agent else "no_available_agent",
        "tags": [topic[0]] if topic else [],
        "comments": [{"content": topic[1]}] if topic else [],
    }
    recording = f"https://calls.example.net/recordings/{id_}.mp3" if agent else None
    name = ("Call made" if outbound else "Call answered") if agent else "Call missed"
    says = f"{talked // 60} min {talked % 60} s about {topic[0]}" if topic else f"Hung up after {waited} s"
    thing = _thing("call", id_, recording)
    return scene.event(CALLS, ended, name, thing, context, says=says, link=recording, actor=agent)


# --- Logistics ----------------------------------------------------------------------------------------------


class Parcel:
    """A parcel on its way: each event repeats the checkpoints before it, newest first, as carriers do."""

    def __init__(self, scene: Scene, order: Order) -> None:
        self._scene = scene
        self._order = order
        self._checkpoints: list[Json] = []
        self._weight = round(0.4 + 0.7 * order.pieces, 1)

    def reaches(self, at: datetime, code: str, text: str, city: str | None = None) -> Event:
        """The parcel passes a checkpoint; without a city, the customer's own."""
        who, order = self._scene.who, self._order
        address = {"addressLocality": city or who.city, "countryCode": "DE" if city else who.home.country}
        here: Json = {
            "timestamp": _iso(at),
            "statusCode": code,
            "description": text,
            "location": {"address": address},
        }
        self._checkpoints.insert(0, here)
        context: Json = {
            "trackingNumber": order.tracking_number,
            "references": {"order_id": order.id},
            "service": "parcel-connect",
            "status": here,
            "details": {"weight": {"value": self._weight, "unitText": "kg"}, "totalNumberOfPieces": 1},
            "events": list(self._checkpoints),
        }
        thing = _thing(
            "shipment",
            order.tracking_number,
            f"https://tracking.example.net/{order.tracking_number}",
            "Parcel",
        )
        return self._scene.event(
            PARCELS, at, text, thing, context, says=f"{city or who.city}", actor=_system("DHL")
        )


# --- The app ------------------------------------------------------------------------------------------------


def app_event(scene: Scene, at: datetime, name: str, thing: Json, says: str, facts: Json) -> Event:
    """Something done in the shop's own web app."""
    context = {**facts, "device": scene.who.device.facts(), "ip": scene.who.ip}
    return scene.event(APP, at, name, thing, context, says=says)


def page_visited(
    scene: Scene, at: datetime, path: str, title: str, referral: Referral | None = None
) -> Event:
    """One page view; the first of a visit knows where it came from."""
    url = f"https://shop.example.com{path}"
    referrer, utm = referral or (None, None)
    facts: Json = {"url": url, "referrer": referrer, "utm": utm, "seconds": scene.dice.randint(3, 240)}
    return app_event(scene, at, "Page visited", _thing("page", path, url, title), title, facts)


def account_event(scene: Scene, at: datetime, name: str, **facts: object) -> Event:
    """Something about the account: login, password, profile."""
    device = scene.who.device
    thing = _thing("account", scene.who.customer_no or scene.who.email)
    return app_event(scene, at, name, thing, f"{device.browser} on {device.os}", facts)


# --- The email tool and the membership ----------------------------------------------------------------------


def mail_event(
    scene: Scene, at: datetime, name: str, kind: str, campaign: tuple[str, str], **more: object
) -> Event:
    """What somebody did with a campaign's email."""
    id_, subject = campaign
    data: Json = {
        "campaign_id": id_,
        "list_id": MAIL.id,
        "email": scene.who.email,
        "subject": subject,
        "merges": {"FNAME": scene.who.given, "LANG": scene.who.home.country.lower()},
        **more,
    }
    context: Json = {"type": kind, "fired_at": f"{at:%Y-%m-%d %H:%M:%S}", "data": data}
    return scene.event(MAIL, at, name, _thing("campaign", id_, name=subject), context, says=subject)


def club_event(
    scene: Scene, at: datetime, name: str, id_: str, status: str, invoice: Json | None = None
) -> Event:
    """A turn in the life of a membership, with its invoice where there is one."""
    fee = _price(6, scene.who.home.currency)
    subscription: Json = {
        "id": id_,
        "plan_id": "trail-club-monthly",
        "status": status,
        "current_term_start": int(at.timestamp()),
        "current_term_end": int((at + MONTH).timestamp()),
        "plan_amount": fee.minor,
        "currency_code": fee.currency.code,
    }
    context: Json = {"subscription": subscription, "invoice": invoice}
    thing = _thing("subscription", id_, f"https://club.example.com/subscriptions/{id_}", "Trail Club")
    actor = _system("Trail Club") if invoice else None
    return scene.event(CLUB, at, name, thing, context, says=f"Trail Club, {fee.spoken} a month", actor=actor)


# --- Parts of tales -----------------------------------------------------------------------------------------


def visit(scene: Scene, at: datetime, pages: int, referral: Referral | None = None) -> Tale:
    """A run of page views."""
    shelf = [(f"/p/{product.sku.lower()}", product.title) for product in PRODUCTS]
    for path, title in scene.dice.choices((*PAGES, *shelf), k=pages):
        yield page_visited(scene, at, path, title, referral)
        at, referral = scene.soon(at, 0.2, 4), None
    return at


def fill_cart(scene: Scene, at: datetime, order: Order) -> Tale:
    """Looking, choosing, and perhaps changing one's mind about the size."""
    at = yield from visit(scene, at, scene.dice.randint(0, 3))
    yield cart(scene, at, "Cart created", order)
    at = scene.soon(at, 1, 8)
    if scene.chance(0.3):
        yield cart(scene, at, "Cart updated", order)
        at = scene.soon(at, 1, 8)
    yield cart(scene, at, "Checkout started", order)
    return scene.soon(at, 1, 6)


def pay(scene: Scene, at: datetime, order: Order) -> Tale:
    """The card is charged and the order exists."""
    yield charge_succeeded(scene, at, order)
    at += timedelta(seconds=scene.dice.randint(2, 9))
    yield order_placed(scene, at, order)
    return at


def ship(scene: Scene, at: datetime, order: Order) -> Tale:
    """From the warehouse to the door, with the carrier's usual troubles."""
    parcel = Parcel(scene, order)
    at = scene.days_later(at, 1, (7, 11))
    yield order_fulfilled(scene, at, order)
    at = scene.soon(at, 90, 300)
    yield parcel.reaches(at, "transit", "Shipment picked up", "Leipzig")
    if scene.chance(0.15):
        at = scene.days_later(at, 1)
        yield parcel.reaches(at, "failure", "Shipment delayed", "Leipzig")
    at = scene.days_later(at, scene.dice.choice((1, 1, 2, 3)), (1, 5))
    yield parcel.reaches(at, "transit", "Shipment in transit")
    at = scene.days_later(at, 1, (6, 8))
    yield parcel.reaches(at, "out-for-delivery", "Out for delivery")
    if scene.chance(0.1):
        at = scene.soon(at, 60, 500)
        yield parcel.reaches(at, "failure", "Delivery attempted, nobody home")
        at = scene.days_later(at, 1, (7, 9))
    at = scene.soon(at, 60, 500)
    yield parcel.reaches(at, "delivered", "Delivered")
    return at


def refund(scene: Scene, at: datetime, order: Order, reason: str) -> Tale:
    """Shop first, money a little later."""
    yield order_refunded(scene, at, order, reason)
    at = scene.soon(at, 0.1, 2)
    yield charge_refunded(scene, at, order, "requested_by_customer")
    return at


# --- Journeys -----------------------------------------------------------------------------------------------


def sign_up(scene: Scene, at: datetime) -> Tale:
    """How every customer begins."""
    yield account_event(scene, at, "Account created", method="email", marketing_consent=scene.chance(0.7))
    at = scene.soon(at, 1, 30)
    yield account_event(scene, at, "Email confirmed")
    return at


def browse(scene: Scene, at: datetime) -> Tale:
    """A visit without a purchase."""
    if scene.chance(0.5):
        yield account_event(
            scene, at, "Logged in", method=scene.dice.choice(("password", "passkey", "magic link"))
        )
        at = scene.soon(at, 0.1, 1)
    return (yield from visit(scene, at, scene.dice.randint(3, 7), scene.dice.choice(REFERRALS)))


def purchase(scene: Scene, at: datetime) -> Tale:
    """The journey that pays for the others."""
    order = scene.order()
    at = yield from fill_cart(scene, at, order)
    at = yield from pay(scene, at, order)
    return (yield from ship(scene, at, order))


def abandoned_cart(scene: Scene, at: datetime) -> Tale:
    """A full cart left standing, and the email that reminds of it."""
    order = scene.order()
    at = yield from fill_cart(scene, at, order)
    at += timedelta(hours=3)
    yield cart(scene, at, "Cart abandoned", order, actor=_system("Shop"))
    at = scene.days_later(at, 1)
    reminder = ("flow_cart", "Did you forget something? 🛒")
    yield mail_event(scene, at, "Email opened", "open", reminder)
    if scene.chance(0.4):
        at = scene.soon(at, 0.1, 2)
        url = f"https://shop.example.com/carts/{order.cart}/recover"
        yield mail_event(scene, at, "Email link clicked", "click", reminder, url=url)
    return at


def refused_card(scene: Scene, at: datetime) -> Tale:
    """The bank says no, once or more; half of them find another card."""
    order = scene.order()
    at = yield from fill_cart(scene, at, order)
    decline = scene.dice.choice(DECLINES)
    for _ in range(scene.dice.randint(1, 3)):
        yield charge_failed(scene, at, order, decline)
        order = replace(order, charge=f"ch_{_token(scene.dice, 20)}")
        at = scene.soon(at, 0.5, 3)
    if scene.chance(0.5):
        at = yield from pay(scene, at, replace(order, card=SECOND_CARD))
        at = yield from ship(scene, at, order)
    return at


def lost_order(scene: Scene, at: datetime) -> Tale:
    """Charged, but the order failed: the customer calls, and the money goes back."""
    order = scene.order()
    at = yield from fill_cart(scene, at, order)
    yield charge_succeeded(scene, at, order)
    at += timedelta(seconds=60)
    yield transaction_failed(scene, at, order)
    at = scene.soon(at, 10, 120)
    yield call(scene, at, TOPICS[2])
    return (yield from refund(scene, scene.soon(at, 30, 90), order, "order lost"))


def sent_back(scene: Scene, at: datetime) -> Tale:
    """A purchase that did not fit."""
    order = scene.order()
    at = yield from fill_cart(scene, at, order)
    at = yield from pay(scene, at, order)
    at = yield from ship(scene, at, order)
    at = scene.days_later(at, scene.dice.randint(1, 6))
    yield page_visited(scene, at, "/help/returns", "Returns and refunds")
    if scene.chance(0.4):
        at = scene.soon(at, 2, 20)
        yield call(scene, at, TOPICS[3])
    return (yield from refund(scene, scene.days_later(at, scene.dice.randint(4, 9)), order, "return"))


def disputed(scene: Scene, at: datetime) -> Tale:
    """A purchase that goes to the bank."""
    order = scene.order()
    at = yield from fill_cart(scene, at, order)
    at = yield from pay(scene, at, order)
    yield order_fulfilled(scene, scene.days_later(at, 1), order)
    at = scene.days_later(at, scene.dice.randint(14, 30))
    yield dispute_event(scene, at, "Dispute opened", order, "needs_response")
    at = scene.days_later(at, scene.dice.randint(10, 25))
    yield dispute_event(scene, at, "Dispute closed", order, scene.dice.choice(("won", "lost")))
    return at


def phone_call(scene: Scene, at: datetime) -> Tale:
    """A question by telephone, sometimes only at the second attempt."""
    if scene.chance(0.3):
        yield call(scene, at, None)
        at = scene.soon(at, 8, 90)
    yield call(scene, at, scene.dice.choice(TOPICS))
    return at


def forgotten_password(scene: Scene, at: datetime) -> Tale:
    """Failed logins, a reset, and in."""
    for attempt in range(1, scene.dice.randint(2, 5)):
        yield account_event(scene, at, "Login failed", reason="wrong_password", attempt=attempt)
        at = scene.soon(at, 0.2, 1)
    yield account_event(scene, at, "Password reset requested", sent_to=scene.who.email)
    at = scene.soon(at, 1, 9)
    yield account_event(scene, at, "Password changed", other_sessions_ended=True)
    yield account_event(scene, at + timedelta(seconds=4), "Logged in", method="password")
    return at


def newsletter(scene: Scene, at: datetime) -> Tale:
    """An email read, perhaps followed, rarely the last one."""
    campaign = scene.dice.choice(CAMPAIGNS)
    yield mail_event(scene, at, "Email opened", "open", campaign)
    at = scene.soon(at, 0.1, 3)
    if scene.chance(0.45):
        yield mail_event(
            scene, at, "Email link clicked", "click", campaign, url="https://shop.example.com/new"
        )
        utm: Json = {"source": "newsletter", "medium": "email", "campaign": campaign[0]}
        return (yield from visit(scene, scene.soon(at, 0.1, 0.2), scene.dice.randint(1, 4), (None, utm)))
    if scene.chance(0.05):
        yield mail_event(scene, at, "Unsubscribed", "unsubscribe", campaign, reason="manual")
    return at


def membership(scene: Scene, at: datetime) -> Tale:
    """A club membership, month by month, until it is cancelled or the year is over."""
    id_ = f"sub_{_token(scene.dice, 12)}"
    yield club_event(scene, at, "Subscription created", id_, "active")
    for month in range(1, scene.dice.randint(2, 12)):
        at += MONTH
        invoice: Json = {"id": f"INV-{id_[-4:]}-{month:02}", "period": month, "attempts": 1}
        if scene.chance(0.1):
            yield club_event(
                scene, at, "Invoice payment failed", id_, "active", {**invoice, "status": "payment_due"}
            )
            at += timedelta(days=3)
            invoice["attempts"] = 2
        yield club_event(scene, at, "Subscription renewed", id_, "active", {**invoice, "status": "paid"})
    if scene.chance(0.4):
        at = scene.days_later(at, 9)
        yield club_event(scene, at, "Subscription cancelled", id_, "cancelled")
    return at


JOURNEYS: tuple[tuple[Journey, int], ...] = (
    (browse, 26),
    (purchase, 22),
    (newsletter, 18),
    (abandoned_cart, 10),
    (phone_call, 7),
    (forgotten_password, 6),
    (refused_card, 4),
    (sent_back, 4),
    (membership, 3),
    (lost_order, 2),
    (disputed, 1),
)
"""What happens to customers, and how often in comparison."""

RHYTHMS = (((1, 2), 30), ((2, 4), 50), ((4, 5), 20))
"""How many journeys people make in their time with the shop, and how many people make so many."""

DEVOTED = (38, 60)
"""How many those make who live in the shop: every 70th customer."""

REGULAR = (purchase, newsletter, phone_call, sent_back, browse, abandoned_cart, forgotten_password)
"""The past of the two whose present is told below."""


def life(scene: Scene) -> Iterator[Event]:
    """A sign-up some time in the last year, and what happens after it."""
    joined, journeys = _fate(scene)
    yield from sign_up(scene, scene.waking(joined))
    for journey in journeys:
        yield from journey(scene, scene.waking(scene.dice.randrange(joined)))


def _fate(scene: Scene) -> tuple[int, Sequence[Journey]]:
    """How many days ago somebody signed up, and what they have done since."""
    no, dice = scene.who.no, scene.dice
    if scene.who in (RACHEL, JOHN):
        return 330, REGULAR
    if no % 70 == 69:
        return 360, _draw(dice, JOURNEYS, dice.randint(*DEVOTED))
    return dice.randint(25, 363), _draw(dice, JOURNEYS, dice.randint(*_draw(dice, RHYTHMS)[0]))


def _draw(dice: Random, table: Sequence[tuple[T, int]], count: int = 1) -> list[T]:
    """Rows of a table of things and weights."""
    return dice.choices([thing for thing, _ in table], [weight for _, weight in table], k=count)


# --- Today --------------------------------------------------------------------------------------------------


UNLUCKY = range(2, 7)
"""Who else lost an order while Rachel did: an agent who looks for `Transaction failed` today sees an outage."""


def rachel_today(scene: Scene, failed: datetime) -> Iterator[Event]:
    """The story that the product was built for: charged at 14:06, no order at 14:07, and she will write to support."""
    dollars = CURRENCIES["USD"]
    order = Order(
        id="84637930",
        cart="c1-9e8k1119a5d27f30",
        charge="ch_3R8chel84637930kQz",
        card=scene.who.card,
        lines=(
            Line("GWA-10-WHT", "Gucci White Ace Sneakers", "10 UK", "White", 1, Money(32_00, dollars)),
            Line("GRS-40-BLU", "Gucci Round Sleeve T-Shirt", "40 UK", "Blue", 1, Money(18_00, dollars)),
        ),
        shipping=Money(0, dollars),
    )
    yield account_event(scene, failed - timedelta(minutes=31), "Logged in", method="password")
    yield from visit(scene, failed - timedelta(minutes=30), 4, REFERRALS[1])
    yield cart(scene, failed - timedelta(minutes=9, seconds=40), "Cart created", order)
    yield cart(scene, failed - timedelta(minutes=4, seconds=12), "Checkout started", order)
    yield charge_succeeded(scene, failed - timedelta(minutes=1), order)
    yield _seed_request(scene, failed)


def _seed_request(scene: Scene, at: datetime) -> Event:
    """The contract's canonical request, word for word but for its id and its time."""
    activity: Json = {
        "id": "5310884637930",
        "name": "Transaction failed",
        "timestamp": _iso(at),
        "description": "Transaction for Order ID on 1 Oct, 2019",
        "actor": {"id": "918mI2k1", "name": "Rachel", "type": "contact"},
        "source": {"name": "shopify", "id": "7819e8k1119"},
        "object": {"type": "transaction", "id": "1234", "link": "https://myorderstatus.example.com/84637930"},
        "context": {
            "name": "Rachel",
            "Items": 2,
            "Item description": {
                "item1": {
                    "Item name": "Gucci White Ace Sneakers",
                    "Size": "10 UK",
                    "Color": "White",
                    "Instock": "Yes",
                },
                "item2": {
                    "Item name": "Gucci Round Sleeve T-Shirt",
                    "Size": "40 UK",
                    "Color": "Blue",
                    "Instock": "Yes",
                },
            },
            "Amount": "50",
            "Currency": "Dollars",
            "Postal code": "12401",
            "Order id": "84637930",
            "Transaction link": "myorderstatus.example.com/84637930",
        },
    }
    return Event(at, scene.who, SHOP, activity)


def john_today(scene: Scene, start: datetime) -> Iterator[Event]:
    """Refused, then charged twice for one order; he called, and one charge went back."""
    order = scene.order()
    again = replace(order, charge="ch_3J0hnSecondCharge", card=SECOND_CARD)
    minute = timedelta(minutes=1)
    yield cart(scene, start, "Cart created", order)
    yield cart(scene, start + 3 * minute, "Checkout started", order)
    yield charge_failed(
        scene, start + 5 * minute, replace(order, charge="ch_3J0hnRefusedCharge"), DECLINES[1]
    )
    yield charge_succeeded(scene, start + 7 * minute, order)
    yield charge_succeeded(scene, start + 8 * minute, again)
    yield order_placed(scene, start + 9 * minute, order)
    yield call(scene, start + 25 * minute, None)
    yield call(
        scene, start + 38 * minute, ("payment", "Charged twice for one order, wants one charge back 😕")
    )
    yield charge_refunded(scene, start + 75 * minute, again, "duplicate")


# --- The whole year -----------------------------------------------------------------------------------------


def requests(now: datetime, *, contacts: int = 300, seed: int = 7) -> Iterator[dict[str, object]]:
    """Publish requests of the contract, oldest first, over the year before `now`.

    The same arguments give the same requests. Another `now` moves the year and keeps the ids, so that a demo that is
    filled again some day later stores only what is new.

    Args:
        now: the end of the story, with a time zone.
        contacts: how many customers; Rachel is the first and John the second, whatever the number.
        seed: another seed, other customers with other lives.
    """
    now = now.astimezone(UTC)
    lives = (_biography(person, now, seed) for person in _cast(contacts, seed))
    met: set[int] = set()
    for event in sorted(itertools.chain.from_iterable(lives), key=lambda event: event.at):
        yield {"activity": event.activity, "contact": _contact(event, introduce=event.who.no not in met)}
        met.add(event.who.no)


def _biography(who: Person, now: datetime, seed: int) -> Iterator[Event]:
    """A life, without what would lie in the future or more than a year back."""
    scene = Scene(who, _dice(seed, who.no), _midnight(now), itertools.count(70_000_001 + who.no * 1_000))
    day, story = _story_of_today(scene, now)
    for event in itertools.chain((event for event in life(scene) if event.at <= day), story):
        if now - timedelta(days=365) <= event.at <= now:
            yield event


def _story_of_today(scene: Scene, now: datetime) -> tuple[datetime, Iterator[Event]]:
    """How the year ends for some, and when ordinary life stops for it."""
    failed, finished = _latest(now, 14, 7), _latest(now, 11, 0)
    if scene.who is RACHEL:
        return failed - timedelta(hours=1), rachel_today(scene, failed)
    if scene.who is JOHN:
        return finished - timedelta(hours=3), john_today(scene, finished - timedelta(hours=2))
    if scene.who.no in UNLUCKY:
        return failed - timedelta(hours=1), lost_order(scene, failed - timedelta(minutes=3 * scene.who.no))
    return now, iter(())


def _latest(now: datetime, hour: int, minute: int) -> datetime:
    """The last time the clock stood there, in UTC."""
    today = _midnight(now) + timedelta(hours=hour, minutes=minute)
    return today if today <= now else today - timedelta(days=1)


def _contact(event: Event, *, introduce: bool) -> Json:
    """Whom an event is about: everything the first time, then the little that its source knows.

    So the demo shows contacts found by email, by number, by their ids in other systems.
    """
    known = event.who.facts() if introduce else event.who.facts(event.source.name)
    contact = {field: known[field] for field in known if introduce or field in event.source.knows}
    contact = contact or {"email": event.who.email}
    return contact if event.by_contact else {**contact, "is_actor": False}
