"""How any JSON is shown to an agent: by its shape, with no configuration, and never other than it was sent.

Pure: from the JSON text as it was sent to a small tree of views, which the templates draw (`_view.html`). Numbers are
their own literals all the way, so 1.10 stays 1.10; an amount is never rescaled, unless its source says that it sends
minor units.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from backstory.model.json_text import Number, parse_exact
from backstory.model.moment import Microseconds, parse_moment
from backstory.ui.words import key_words, label

MAX_VIEWS = 3_000
"""So many values of one context are shown; what is beyond is counted, and stands in the raw JSON."""

FOLD_TEXT, FOLD_LINES = 400, 8
FOLD_DATA = 120
FOLD_ITEMS, FOLD_ROWS, FOLD_ENTRIES = 12, 12, 40
FOLD_DEPTH = 4
MAX_COLUMNS = 10
MAX_INLINE = 32


class Plain(Struct, frozen=True, tag=True):
    """A value as its text. `tone` is number, choice (yes or no), or empty for other text."""

    text: str
    tone: str = ""


class Empty(Struct, frozen=True, tag=True):
    """Nothing: null, an empty text, list or object. `text` says which."""

    text: str


class Long(Struct, frozen=True, tag=True):
    """A text that is folded: how it begins, what it is, and the whole."""

    start: str
    told: str
    text: str


class Link(Struct, frozen=True, tag=True):
    """An address that is safe to follow."""

    href: str
    text: str


class Time(Struct, frozen=True, tag=True):
    """A moment, to be shown in the viewer's zone, and how it was sent."""

    at: Microseconds
    sent: str


class Money(Struct, frozen=True, tag=True):
    """An amount with its currency; `sent` is the amount as it was sent."""

    text: str
    sent: str


class Entry(Struct, frozen=True):
    """A key and its value: how the key reads, how it was sent."""

    label: str
    key: str
    value: View


class Entries(Struct, frozen=True, tag=True):
    """An object. `folded` where it lies deep; `more` are the entries beyond the first ones."""

    entries: tuple[Entry, ...]
    more: tuple[Entry, ...] = ()
    folded: bool = False


class Items(Struct, frozen=True, tag=True):
    """A list. `inline` where all are short texts; `more` are those beyond the first ones."""

    items: tuple[View, ...]
    more: tuple[View, ...] = ()
    inline: bool = False


class Row(Struct, frozen=True):
    """A row of a table: its cells, and what did not fit into cells."""

    name: str
    cells: tuple[View, ...]
    more: Entries | None = None


class Table(Struct, frozen=True, tag=True):
    """Objects alike. `turned`: few and long, so each is a column. `empty` are the keys that none has a value for."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    more: tuple[Row, ...] = ()
    numeric: tuple[bool, ...] = ()
    empty: tuple[str, ...] = ()
    turned: bool = False


class Omitted(Struct, frozen=True, tag=True):
    """More than anybody reads: it stands in the raw JSON."""


View = Plain | Empty | Long | Link | Time | Money | Entries | Items | Table | Omitted


class Shown(Struct, frozen=True):
    """A context as it is shown: its view (None where there is nothing to show), and its JSON, indented and as sent."""

    view: View | None
    indented: str
    sent: str


def present(context: bytes, *, minor_units: bool = False) -> Shown:
    """How a context is shown. What cannot be read as JSON is shown as its text: this never fails."""
    sent = context.decode(errors="replace")
    try:
        tree = parse_exact(context)
    except ValueError:
        return Shown(_text(sent, ()) if sent.strip() else None, sent, sent)
    if tree is None or tree == {}:
        return Shown(None, indent(tree), sent)
    return Shown(_Presenter(minor_units=minor_units).value(tree, (), 0), indent(tree), sent)


def headline(context: Any, *, minor_units: bool = False) -> str | None:
    """The first amount of a context, as the row of a timeline shows it; None where there is none."""
    if not isinstance(context, dict):
        return None
    currencies = _currencies(context)
    for key in context:
        if isinstance(context[key], dict) and (money := _as_money(context[key], minor_units=minor_units)):
            return money.text
        if money := _money(key, context[key], currencies, minor_units=minor_units):
            return money.text
    return None


class _Presenter:
    """Walks one tree, and counts what it shows."""

    def __init__(self, *, minor_units: bool) -> None:
        self._minor_units = minor_units
        self._left = MAX_VIEWS

    def value(self, value: Any, words: tuple[str, ...], depth: int) -> View:
        """The view of a value under a key of these words."""
        self._left -= 1
        if self._left < 0:
            return Omitted()
        if isinstance(value, dict):
            return self._object(value, depth)
        if isinstance(value, list):
            return self._list(value, words, depth)
        if isinstance(value, str) and (tree := _inner_json(value)) is not None and depth < FOLD_DEPTH:
            return self.value(tree, words, depth + 1)
        return _scalar(value, words)

    def _object(self, tree: dict[str, Any], depth: int) -> View:
        if not tree:
            return Empty("none")
        if depth and (money := _as_money(tree, minor_units=self._minor_units)):
            return money
        if len(tree) > 1 and _are_alike(list(tree.values())):
            return self._table([(label(key), row) for key, row in tree.items()], depth)
        return self._entries(tree, depth)

    def _entries(self, tree: dict[str, Any], depth: int) -> Entries:
        entries = list(self._each_entry(tree, depth))
        first, rest = _cut(entries, FOLD_ENTRIES)
        return Entries(first, rest, folded=depth >= FOLD_DEPTH)

    def _each_entry(self, tree: dict[str, Any], depth: int) -> Iterator[Entry]:
        labels = [label(key) for key in tree]
        currencies = _currencies(tree)
        monies = {
            key: money
            for key, value in tree.items()
            if (money := _money(key, value, currencies, minor_units=self._minor_units))
        }
        # A currency is not said again by itself where every amount that could be meant says it.
        said = {key for key, _ in currencies.values()} if monies and len(currencies) == 1 else set()
        for key, name in zip(tree, labels, strict=True):
            if key in said:
                continue
            shown = name if labels.count(name) == 1 or len(tree) > MAX_INLINE else key
            if self._left < 0:
                yield Entry(shown, key, Omitted())
                return
            yield Entry(shown, key, monies.get(key) or self.value(tree[key], key_words(key), depth + 1))

    def _list(self, items: list[Any], words: tuple[str, ...], depth: int) -> View:
        if not items:
            return Empty("none")
        if len(items) > 1 and _are_alike(items):
            return self._table([("", row) for row in items], depth)
        if len(items) == 1:
            return self.value(items[0], words, depth)
        views = []
        for item in items:
            views.append(self.value(item, words, depth + 1))
            if self._left < 0:
                break
        first, rest = _cut(views, FOLD_ITEMS)
        return Items(first, rest, inline=all(_is_short(view) for view in views))

    def _table(self, named: list[tuple[str, dict[str, Any]]], depth: int) -> Table:
        rows = [row for _, row in named]
        keys = list(dict.fromkeys(key for row in rows for key in row))
        empty = [key for key in keys if all(row.get(key) in (None, "", [], {}) for row in rows)]
        told = [key for key in keys if key not in empty]
        flat = [key for key in told if all(_fits_a_cell(row.get(key)) for row in rows)][:MAX_COLUMNS]
        flat = self._without_said_currency(rows, flat)
        shown = [self._row(name, row, flat, told, depth) for name, row in named if self._left >= 0]
        first, rest = _cut(shown, FOLD_ROWS)
        turned = len(rows) <= 3 and len(flat) > 5 and all(row.more is None for row in shown)
        numeric = tuple(all(_is_count(key, row.get(key)) for row in rows) for key in flat)
        names = tuple(label(key) for key in flat)
        return Table(names, first, rest, numeric, tuple(label(key) for key in empty), turned)

    def _without_said_currency(self, rows: list[dict[str, Any]], flat: list[str]) -> list[str]:
        """The columns without a currency's where each row says it with its amount."""
        for key in flat:
            if all(
                [name for name, _ in _currencies(row).values()] == [key]
                and any(
                    _money(other, row[other], _currencies(row), minor_units=False)
                    for other in flat
                    if other in row
                )
                for row in rows
            ):
                return [other for other in flat if other != key]
        return flat

    def _row(self, name: str, row: dict[str, Any], flat: list[str], told: list[str], depth: int) -> Row:
        currencies = _currencies(row)
        cells = tuple(
            (key in row and _money(key, row[key], currencies, minor_units=self._minor_units))
            or (self.value(row[key], key_words(key), depth + 1) if key in row else Empty("absent"))
            for key in flat
        )
        said = {key for key, _ in currencies.values()}
        more = {key: row[key] for key in told if key in row and key not in flat and key not in said}
        return Row(name, cells, self._entries(more, depth + 1) if more else None)


def _cut(things: Sequence[Any], limit: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The first ones and the rest; a rest of one or two is not worth folding."""
    return (tuple(things), ()) if len(things) <= limit + 2 else (tuple(things[:limit]), tuple(things[limit:]))


def _are_alike(values: list[Any]) -> bool:
    """Whether these are objects that mostly have the same keys, so that a table shows them best."""
    if not all(isinstance(value, dict) and value for value in values):
        return False
    if any(_as_money(value, minor_units=False) for value in values):
        return False
    keys: set[str] = set().union(*values)
    shared = sum(len(value) for value in values) / len(values)
    return shared >= 0.6 * len(keys) and len(keys) <= 40 and any(_fits_a_cell(v) for v in values[0].values())


def _fits_a_cell(value: Any) -> bool:
    if isinstance(value, dict):
        return not value or _as_money(value, minor_units=False) is not None
    if isinstance(value, list):
        return all(
            not isinstance(item, dict | list) and len(str(item)) <= MAX_INLINE for item in value[:5]
        ) and (len(value) <= 5)
    return not isinstance(value, str) or len(value) <= FOLD_TEXT


def _is_short(view: View) -> bool:
    return isinstance(view, Plain | Empty) and len(view.text) <= MAX_INLINE and "\n" not in view.text


def _is_count(key: str, value: Any) -> bool:
    """Whether a value stands to the right of its column, so that one can compare."""
    return isinstance(value, Number) or (
        _is_amount(value) and bool(_AMOUNT_WORDS.intersection(key_words(key)))
    )


# Scalars.

_EPOCH_WORDS = frozenset("at timestamp ts created updated modified expires started ended".split())
_SECONDS = re.compile(r"[1-4]\d{9}", re.ASCII)  # 2001 to 2128
_MILLISECONDS = re.compile(r"[1-4]\d{12}", re.ASCII)
_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?) ?(Z|UTC|[+-]\d{2}(?::?\d{2})?)", re.ASCII
)
_DATA = re.compile(r"[A-Za-z0-9+/_\-]+={0,2}", re.ASCII)
_DATA_URI = re.compile(r"data:([\w.+/\-]{1,80})?(?:;[\w=.\-]+)*,", re.ASCII)


def _scalar(value: Any, words: tuple[str, ...]) -> View:
    if value is None:
        return Empty("none")
    if isinstance(value, bool):
        return Plain("Yes" if value else "No", "choice")
    if isinstance(value, Number):
        return _epoch(value, words) or Plain(value, "number")
    if not value.strip():
        return Empty("blank" if value else "none")
    return _time(value) or _epoch(value, words) or _link(value, words) or _text(value, words)


def _time(text: str) -> Time | None:
    """A moment that says its zone. One that does not, and a date alone, stay as they were sent."""
    found = _ISO.fullmatch(text) if len(text) <= 40 else None
    if found is None:
        return None
    day, clock, zone = found.groups()
    try:
        return Time(parse_moment(f"{day}T{clock}{'Z' if zone == 'UTC' else zone}"), text)
    except ValueError:
        return None


def _epoch(text: str, words: tuple[str, ...]) -> Time | None:
    """Seconds or milliseconds since 1970, only where the key says that it is a moment."""
    if not (
        words
        and (
            words[-1] in _EPOCH_WORDS or words[-2:] in (("event", "time"), ("start", "time"), ("end", "time"))
        )
    ):
        return None
    if _SECONDS.fullmatch(text):
        return Time(int(text) * 1_000_000, text)
    if _MILLISECONDS.fullmatch(text):
        return Time(int(text) * 1_000, text)
    return None


def _text(text: str, words: tuple[str, ...]) -> View:
    if found := _DATA_URI.match(text):
        return Long("", f"{found[1] or 'Data'}, {_size(len(text) - found.end())}", text)
    if len(text) >= FOLD_DATA and _is_data(text):
        return Long(f"{text[:24]}…", f"{len(text):,} characters without a space", text)
    if len(text) > FOLD_TEXT or text.count("\n") > FOLD_LINES:
        start = "\n".join(text[:FOLD_TEXT].split("\n")[:FOLD_LINES])
        return Long(f"{start.rstrip()}…", f"{len(text):,} characters", text)
    return Plain(text)


def _is_data(text: str) -> bool:
    """Whether a text is for machines alone: base64, a token, a hash."""
    return _DATA.fullmatch(text[:4_096]) is not None


def _size(encoded: int) -> str:
    size = encoded * 3 // 4
    return f"{size} bytes" if size < 1_000 else f"{size / 1_000:,.1f} kB"


# Links.

_LINK_WORDS = frozenset("link links url urls uri href website site homepage webpage page".split())
_SCHEME = re.compile(r"(https?|mailto):", re.ASCII | re.IGNORECASE)
_BARE = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9\-]*[a-z0-9])?\.)+[a-z]{2,}(?::\d{1,5})?(?:[/?#]\S*)?", re.ASCII | re.IGNORECASE
)
MAX_LINK = 2_048


def safe_link(text: str | None) -> str | None:
    """The address to follow, if this is one that is safe: http, https or mailto, nothing hidden in it."""
    if not text or len(text) > MAX_LINK or not _SCHEME.match(text) or not _is_clean(text):
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    if parts.scheme == "mailto":
        return text if "@" in parts.path else None
    # What stands before an @ reads like the host and is not.
    return text if parts.hostname and "@" not in parts.netloc else None


def _is_clean(text: str) -> bool:
    return text.isprintable() and " " not in text and "\\" not in text and '"' not in text and "<" not in text


def _link(text: str, words: tuple[str, ...]) -> View | None:
    if href := safe_link(text):
        return Link(href, text if len(text) <= 120 else f"{text[:90]}…{text[-24:]}")
    says_link = bool(words) and words[-1] in _LINK_WORDS
    if says_link and len(text) <= MAX_LINK and _is_clean(text) and _BARE.fullmatch(text):
        return Link(f"https://{text}", text)
    return None


# Money.

_AMOUNT = re.compile(r"[-+]?(?:\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+|\d+)(?:[.,]\d+)?", re.ASCII)
_AMOUNT_WORDS = frozenset(
    """amount amounts total subtotal price tax fee fees balance cost discount paid refunded due net gross tip charge
    payment payout deposit refund revenue vat""".split()
)
_NO_AMOUNT_WORDS = frozenset(
    """at attempts by code count date day days id ids index items method mode name no number percent percentage
    position qty quantity rate ref reference status time type units version""".split()
)
_CURRENCY = re.compile(r"[^\W\d_]{1,20}|[^\w\s]{1,3}")
_SYMBOLS = frozenset("$€£¥₹₩₺₽₴₦₱฿")
_NO_DECIMALS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())
_THREE_DECIMALS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())

Currencies = dict[tuple[str, ...], tuple[str, str]]
"""The currencies that an object names: by the words before "currency", the key and the currency."""


def _currencies(tree: dict[str, Any]) -> Currencies:
    found: Currencies = {}
    for key, value in tree.items():
        words = key_words(key)
        if words[-1:] == ("code",):
            words = words[:-1]
        if (
            words[-1:] in (("currency",), ("ccy",))
            and type(value) is str
            and _CURRENCY.fullmatch(value.strip())
        ):
            found[words[:-1]] = (key, value.strip())
    return found


def _money(key: str, value: Any, currencies: Currencies, *, minor_units: bool) -> Money | None:
    """An amount, where its key and its value are one's, and its object names a currency for it."""
    if not currencies or not _is_amount(value):
        return None
    words = key_words(key)
    if not _AMOUNT_WORDS.intersection(words) or words[-1] in _NO_AMOUNT_WORDS:
        return None
    for length in range(len(words), -1, -1):
        if words[:length] in currencies:
            return _with_currency(value.strip(), currencies[words[:length]][1], minor_units=minor_units)
    return None


def _as_money(tree: dict[str, Any], *, minor_units: bool) -> Money | None:
    """An object that is an amount and nothing else: {"value": "50.00", "currency_code": "EUR"}."""
    if len(tree) != 2:
        return None
    currencies = _currencies(tree)
    if len(currencies) != 1:
        return None
    ((currency_key, currency),) = currencies.values()
    ((key, value),) = ((key, value) for key, value in tree.items() if key != currency_key)
    if key_words(key)[-1:] not in (("amount",), ("value",), ("total",), ("price",)) or not _is_amount(value):
        return None
    return _with_currency(value.strip(), currency, minor_units=minor_units)


def _is_amount(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 40 and _AMOUNT.fullmatch(value.strip()) is not None


def _with_currency(amount: str, currency: str, *, minor_units: bool) -> Money:
    sent = str(amount)
    if len(currency) == 3 and currency.isascii() and currency.isalpha():
        currency = currency.upper()
        if minor_units:
            amount = _from_minor_units(sent, currency)
    if currency in _SYMBOLS and not amount.startswith(("-", "+")):
        return Money(f"{currency}{amount}", sent)
    return Money(f"{amount}\N{NO-BREAK SPACE}{currency}", sent)


def _from_minor_units(amount: str, currency: str) -> str:
    """5000 cents are 50.00: by moving the point in the text. What has a point already is no count of cents."""
    sign, digits = (amount[0], amount[1:]) if amount[0] in "+-" else ("", amount)
    places = 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    if not (digits.isascii() and digits.isdigit()) or places == 0:
        return amount
    digits = digits.zfill(places + 1)
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


# JSON as text.


def _inner_json(text: str) -> Any | None:
    """What stands in a text that is itself JSON of an object or of a list of objects."""
    if not (text[:1] in "{[" and text[-1:] in "}]" and len(text) > 2):
        return None
    try:
        tree = parse_exact(text.encode(errors="replace"))
    except ValueError:
        return None
    return tree if isinstance(tree, dict) or (tree and all(isinstance(item, dict) for item in tree)) else None


def indent(tree: Any) -> str:
    """JSON with a line for each value; numbers, texts and the order of keys as they were sent."""
    lines: list[str] = []
    _write(tree, "", lines.append)
    return "".join(lines)


def _write(tree: Any, margin: str, add: Callable[[str], None]) -> None:
    if isinstance(tree, Number):
        add(tree)
    elif isinstance(tree, dict | list) and tree:
        inner = f"{margin}  "
        pairs = (
            [(f"{_quote(key)}: ", value) for key, value in tree.items()]
            if isinstance(tree, dict)
            else [("", value) for value in tree]
        )
        opened, closed = "{}" if isinstance(tree, dict) else "[]"
        add(opened)
        for number, (key, value) in enumerate(pairs):
            add(f"{',' if number else ''}\n{inner}{key}")
            _write(value, inner, add)
        add(f"\n{margin}{closed}")
    else:
        add(_quote(tree))


def _quote(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
