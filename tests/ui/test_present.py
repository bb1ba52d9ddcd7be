"""How any context is shown: by its shape, exactly as it was sent, never a wrong amount, never a failure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.json_text import parse_exact
from backstory.ui.present import (
    FOLD_ITEMS,
    MAX_VIEWS,
    Empty,
    Entries,
    Items,
    Link,
    Long,
    Money,
    Omitted,
    Plain,
    Shown,
    Table,
    Time,
    View,
    headline,
    present,
    safe_link,
)


def text_of(view: View) -> Any:
    """A view as plain data that tests can be written against."""
    match view:
        case Plain(text) | Empty(text) | Link(_, text) | Money(text):
            return text.replace("\N{NO-BREAK SPACE}", " ")
        case Time(_, sent):
            return f"time {sent}"
        case Long(_, told):
            return f"long: {told}"
        case Entries(entries, more):
            return {entry.label: text_of(entry.value) for entry in (*entries, *more)}
        case Items(items, more):
            return [text_of(item) for item in (*items, *more)]
        case Table(columns, rows, more):
            return [
                {"": row.name} | dict(zip(columns, map(text_of, row.cells), strict=True))
                for row in (*rows, *more)
            ]
        case Omitted():
            return "omitted"


def shown(context: Any, **options: bool) -> Any:
    """A context as plain data."""
    text = context if isinstance(context, str) else json.dumps(context, ensure_ascii=False)
    view = present(text.encode(), **options).view
    return None if view is None else text_of(view)


def test_the_seed(seed_request: bytes) -> None:
    context = json.loads(seed_request)["activity"]["context"]
    view = shown(context)
    assert list(view) == list(view)
    assert all(name[0].isupper() for name in view)


def test_key_order_and_numbers_are_as_sent() -> None:
    sent = '{"z": 1.10, "a": 1e400, "m": 12345678901234567890, "b": -0, "c": 100000000000000000000.000}'
    assert shown(sent) == {
        "Z": "1.10",
        "A": "1e400",
        "M": "12345678901234567890",
        "B": "-0",
        "C": "100000000000000000000.000",
    }
    assert list(shown(sent)) == ["Z", "A", "M", "B", "C"]


def test_scalars() -> None:
    assert shown({"paid": True, "gift": False, "note": None, "x": "", "y": [], "z": {}, "w": " "}) == {
        "Paid": "Yes", "Gift": "No", "Note": "none", "X": "none", "Y": "none", "Z": "none", "W": "blank",
    }  # fmt: skip
    assert shown({"answer": "true", "zip": "01067", "code": "0000", "phone": "+49 30 1234"}) == {
        "Answer": "true", "Zip": "01067", "Code": "0000", "Phone": "+49 30 1234",
    }  # fmt: skip


@pytest.mark.parametrize("empty", ["null", "{}", " { } "])
def test_nothing_to_show(empty: str) -> None:
    assert present(empty.encode()).view is None


def test_keys_that_read_alike_are_told_apart() -> None:
    assert list(shown({"order_id": 1, "orderId": 2, "x": 3})) == ["order_id", "orderId", "X"]


# Money.

AMOUNTS = [
    ({"Amount": "50", "Currency": "Dollars"}, {"Amount": "50 Dollars"}),
    ({"amount": "5000", "currency": "EUR"}, {"Amount": "5000 EUR"}),
    ({"amount": 5000, "currency": "usd"}, {"Amount": "5000 USD"}),
    ({"amount": "1.10", "currency": "$"}, {"Amount": "$1.10"}),
    ({"amount": "-1.10", "currency": "€"}, {"Amount": "-1.10 €"}),
    ({"total": "1,234.50", "tax": "1.234,50", "currency": "CHF"}, {"Total": "1,234.50 CHF", "Tax": "1.234,50 CHF"}),
    ({"total_price": "9", "currencyCode": "JPY"}, {"Total price": "9 JPY"}),
    (
        {"tax_rate": "0.19", "total_items": 3, "price_id": 7, "amount": "1", "currency": "EUR"},
        {"Tax rate": "0.19", "Total items": "3", "Price ID": "7", "Amount": "1 EUR"},
    ),
    ({"amount": "fifty", "currency": "EUR"}, {"Amount": "fifty", "Currency": "EUR"}),
    ({"amount": "50 Dollars", "currency": "USD"}, {"Amount": "50 Dollars", "Currency": "USD"}),
    ({"amount": "50"}, {"Amount": "50"}),
    ({"amount": "50", "currency": ""}, {"Amount": "50", "Currency": "none"}),
    ({"amount": None, "currency": "EUR"}, {"Amount": "none", "Currency": "EUR"}),
    ({"quantity": 2, "currency": "EUR"}, {"Quantity": "2", "Currency": "EUR"}),
    ({"paid": True, "currency": "EUR", "amount": 3}, {"Paid": "Yes", "Amount": "3 EUR"}),
    (
        {"amount": "5", "currency": "EUR", "settlement_amount": "6", "settlement_currency": "USD"},
        {"Amount": "5 EUR", "Currency": "EUR", "Settlement amount": "6 USD", "Settlement currency": "USD"},
    ),
    ({"x": {"value": "20.00", "currency_code": "USD"}, "y": 1}, {"X": "20.00 USD", "Y": "1"}),
    ({"x": {"value": "20.00", "unit": "KG"}, "y": 1}, {"X": {"Value": "20.00", "Unit": "KG"}, "Y": "1"}),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), AMOUNTS)
def test_an_amount_stands_with_its_currency_and_is_never_rescaled(sent: Any, expected: Any) -> None:
    assert shown(sent) == expected


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("5000", "eur", "50.00 EUR"),
        ("5", "USD", "0.05 USD"),
        ("0", "USD", "0.00 USD"),
        ("-1099", "USD", "-10.99 USD"),
        ("5000", "JPY", "5000 JPY"),
        ("5000", "KWD", "5.000 KWD"),
        ("50.00", "EUR", "50.00 EUR"),
        ("5,000", "EUR", "5,000 EUR"),
        ("5000", "Dollars", "5000 Dollars"),
        ("5000", "$", "$5000"),
        ("12345678901234567890123", "EUR", "123456789012345678901.23 EUR"),
    ],
)
def test_minor_units_are_shifted_only_where_the_source_says_so(
    amount: str, currency: str, expected: str
) -> None:
    context = {"amount": amount, "currency": currency}
    assert shown(context, minor_units=True) == {"Amount": expected}
    assert str(shown(context)["Amount"]).strip("$").split(" ")[0] == amount


def test_the_headline_of_a_row() -> None:
    read = lambda context: headline(parse_exact(json.dumps(context).encode()))  # noqa: E731  short, and only here
    assert read({"id": 1, "amount": "50", "currency": "Dollars"}) == "50\N{NO-BREAK SPACE}Dollars"
    assert read({"id": 1, "total": {"value": "1", "currency": "EUR"}}) == "1\N{NO-BREAK SPACE}EUR"
    assert read({"id": 1, "amount": "50"}) is None
    assert read([1]) is None
    assert read(None) is None


# Tables.

ITEM = {"name": "Shoe", "sku": "S-1", "quantity": 1, "price": "20.00"}


def test_a_list_of_objects_is_a_table() -> None:
    view = present(json.dumps({"items": [ITEM, ITEM | {"size": "XL"}]}).encode()).view
    assert isinstance(view, Entries)
    table = view.entries[0].value
    assert isinstance(table, Table)
    assert table.columns == ("Name", "SKU", "Quantity", "Price", "Size")
    assert table.numeric == (False, False, True, True, False)
    assert text_of(table)[0]["Size"] == "absent"


def test_a_map_of_like_objects_is_a_table_too() -> None:
    items = {"item1": ITEM, "item2": ITEM | {"price": "1.10"}}
    assert shown({"items": items}) == {
        "Items": [
            {"": "Item 1", "Name": "Shoe", "SKU": "S-1", "Quantity": "1", "Price": "20.00"},
            {"": "Item 2", "Name": "Shoe", "SKU": "S-1", "Quantity": "1", "Price": "1.10"},
        ]
    }


def test_objects_that_are_not_alike_are_no_table() -> None:
    assert shown({"a": {"x": 1, "y": 2}, "b": {"z": 1, "w": 2}}) == {
        "A": {"X": "1", "Y": "2"}, "B": {"Z": "1", "W": "2"},
    }  # fmt: skip
    assert shown([{"x": 1}, 2]) == [{"X": "1"}, "2"]


def test_amounts_in_a_table_stand_with_their_currency() -> None:
    rows = [
        {"name": "Shoe", "price": "20", "currency": "EUR"},
        {"name": "Sock", "price": "9", "currency": "EUR"},
    ]
    assert shown(rows) == [
        {"": "", "Name": "Shoe", "Price": "20 EUR"},
        {"": "", "Name": "Sock", "Price": "9 EUR"},
    ]


def test_what_is_empty_in_every_row_is_said_once() -> None:
    view = present(json.dumps([ITEM | {"tax": [], "note": None}, ITEM | {"tax": []}]).encode()).view
    assert isinstance(view, Table)
    assert view.empty == ("Tax", "Note")
    assert "Tax" not in view.columns


def test_what_does_not_fit_a_cell_stands_below_its_row() -> None:
    deep = ITEM | {"discounts": [{"code": "X", "by": {"a": 1}}]}
    view = present(json.dumps([deep, ITEM]).encode()).view
    assert isinstance(view, Table)
    assert "Discounts" not in view.columns
    assert view.rows[0].more is not None
    assert text_of(view.rows[0].more) == {"Discounts": {"Code": "X", "By": {"A": "1"}}}
    assert view.rows[1].more is None


def test_few_and_long_objects_stand_beside_each_other() -> None:
    address = dict.fromkeys("name street city zip country phone".split(), "x")
    view = present(json.dumps({"billing": address, "shipping": address}).encode()).view
    assert isinstance(view, Table)
    assert view.turned


# Lists, texts, times, links.


def test_lists() -> None:
    view = present(b'{"colours": ["red", "blue"], "numbers": [1.0, 2]}').view
    assert text_of(view) == {"Colours": ["red", "blue"], "Numbers": ["1.0", "2"]}  # type: ignore[arg-type]
    assert isinstance(view, Entries)
    assert all(isinstance(entry.value, Items) and entry.value.inline for entry in view.entries)
    long = present(json.dumps({"x": list(range(100))}).encode()).view
    assert isinstance(long, Entries)
    items = long.entries[0].value
    assert isinstance(items, Items)
    assert (len(items.items), len(items.more)) == (FOLD_ITEMS, 100 - FOLD_ITEMS)


def test_long_texts_and_data_are_folded() -> None:
    assert shown({"x": "word " * 100})["X"] == "long: 500 characters"
    assert shown({"x": "line\n" * 20})["X"] == "long: 100 characters"
    assert shown({"x": "QUJD" * 100})["X"] == "long: 400 characters without a space"
    assert shown({"x": "data:image/png;base64," + "QUJD" * 1000})["X"] == "long: image/png, 3.0 kB"
    assert shown({"x": "a short text, with\na line"})["X"] == "a short text, with\na line"


@pytest.mark.parametrize(
    ("key", "value", "is_time"),
    [
        ("x", "2026-03-02T14:07:00Z", True),
        ("x", "2026-03-02T14:07:00.123456+01:00", True),
        ("x", "2026-03-02 14:07:00 UTC", True),
        ("x", "2026-03-02T14:07:00", False),  # whose clock?
        ("x", "2026-03-02", False),
        ("x", "2026-02-30T14:07:00Z", False),
        ("x", "14:07", False),
        ("created", 1772460420, True),
        ("created_at", "1772460420", True),
        ("createdAt", 1772460420000, True),
        ("eventTime", 1772460420000, True),
        ("order_id", 1772460420, False),
        ("time", 1772460420, False),
        ("created_at", 17724604200, False),
        ("created_at", 1772460420.5, False),
        ("count", 1772460420, False),
    ],
)
def test_only_what_is_surely_a_moment_is_shown_as_one(key: str, value: Any, is_time: bool) -> None:
    (text,) = shown({key: value}).values()
    assert text == (f"time {value}" if is_time else str(value))


LINKS = [
    ("x", "https://example.com/a?b=c#d", "https://example.com/a?b=c#d"),
    ("x", "HTTP://EXAMPLE.COM", "HTTP://EXAMPLE.COM"),
    ("x", "mailto:rachel@example.com", "mailto:rachel@example.com"),
    ("order link", "example.com/x", "https://example.com/x"),
    ("receiptUrl", "shop.example.com:8080/x?y", "https://shop.example.com:8080/x?y"),
    ("x", "example.com/x", None),
    ("link", "see below", None),
    ("link", "example", None),
    ("link", "javascript:alert(1)", None),
    ("link", "java\nscript:alert(1)", None),
    ("link", "data:text/html,<script>", None),
    ("link", "ftp://example.com", None),
    ("link", "file:///etc/passwd", None),
    ("link", "//example.com", None),
    ("link", "https://bank.example@evil.example/", None),
    ("link", "https://[::1", None),
    ("link", "https://example.com:99999/", None),
    ("link", "https://", None),
    ("link", "https://example.com/\u202egnp.exe", None),
    ("link", "https://example.com/ x", None),
    ("link", 'https://example.com/"><script>', None),
    ("link", "https://example.com/" + "x" * 3_000, None),
    ("link", "mailto:", None),
]


@pytest.mark.parametrize(("key", "value", "href"), LINKS)
def test_only_safe_addresses_are_links(key: str, value: str, href: str | None) -> None:
    view = present(json.dumps({key: value}).encode()).view
    assert isinstance(view, Entries)
    found = view.entries[0].value
    assert (found.href if isinstance(found, Link) else None) == href
    assert safe_link(None) is None


def test_json_in_a_text_is_shown_as_what_it_is() -> None:
    assert shown({"payload": '{"a": 1.10, "b": ["x"]}'}) == {"Payload": {"A": "1.10", "B": "x"}}
    assert shown({"payload": "[1, 2]"}) == {"Payload": "[1, 2]"}
    assert shown({"payload": "{not json}"}) == {"Payload": "{not json}"}


# What comes in from outside can be anything.


def test_deep_and_large_contexts_are_bounded() -> None:
    deep: Any = {"x": 1}
    for _ in range(31):
        deep = {"a": deep, "b": 2}
    assert present(json.dumps(deep).encode()).view is not None
    wide = present(json.dumps({f"k{number}": [{"a": {"b": number}}] for number in range(20_000)}).encode())
    assert count(wide.view) <= MAX_VIEWS + 100
    assert "omitted" in str(text_of(wide.view))  # type: ignore[arg-type]


def count(view: Any) -> int:
    if isinstance(view, Entries):
        return 1 + sum(count(entry.value) for entry in (*view.entries, *view.more))
    if isinstance(view, Items):
        return 1 + sum(map(count, (*view.items, *view.more)))
    if isinstance(view, Table):
        return 1 + sum(count(cell) for row in (*view.rows, *view.more) for cell in (*row.cells, row.more))
    return 1


@pytest.mark.parametrize(
    "broken", ["", " ", "{", '{"a": 1, "a": 2}', "[" * 10_000, '"\\ud800"', "nul", "\x00"]
)
def test_what_is_no_json_is_shown_as_its_text(broken: str) -> None:
    result = present(broken.encode())
    assert isinstance(result, Shown)
    assert result.sent == broken


def test_bytes_that_are_no_text() -> None:
    assert present(b"\xff\xfe").sent == "\ufffd\ufffd"


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(st.text() | st.sampled_from(["amount", "currency", "created", "url", "id"]), inner, max_size=6),
    max_leaves=30,
)  # fmt: skip


@given(json_trees, st.booleans())
def test_it_never_fails_and_loses_nothing(tree: Any, minor_units: bool) -> None:
    text = json.dumps(tree, ensure_ascii=False).encode(errors="surrogatepass")
    result = present(text, minor_units=minor_units)
    assert result.sent == text.decode(errors="replace")
    if result.view is not None:
        text_of(result.view)
    headline(tree)


@given(json_trees)
def test_indented_json_is_the_same_json(tree: Any) -> None:
    text = json.dumps(tree)
    indented = present(text.encode()).indented
    assert parse_exact(indented.encode()) == parse_exact(text.encode())
