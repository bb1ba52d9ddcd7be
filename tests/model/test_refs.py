"""References: which keys name one, and which values count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.json_text import parse_exact
from backstory.model.refs import MAX_CONTEXT_REFS, is_ref_key, refs_of

WORDS = ("id", "no", "nr", "number", "ref", "reference", "sku")


def spellings(word: str) -> list[str]:
    """A key that ends with this word, in every way of joining words."""
    title, upper = word.title(), word.upper()
    return [
        *(word, title, upper),
        *(f"order {word}", f"Order {title}", f"ORDER {upper}", f"order {upper}"),
        *(f"order_{word}", f"ORDER_{upper}", f"Order_{title}"),
        *(f"order-{word}", f"order.{word}", f"order/{word}", f"order:{word}", f"order#{word}"),
        *(f"order{title}", f"Order{title}", f"order{upper}", f"HTTP{title}", f"a{title}"),
        *(
            f"größe{title}",
            f"Größe {word}",
            f"naïve{upper}",
            f"numéro{title}",
            f"заказ{title}",
            f"注文 {word}",
        ),
        *(f"{word} ", f" {word}:", f"{word}.", f"_{word}_", f"order {word}?", f"order ({word})"),
        *(f"order1{word}", f"order2{title}", f"{'x' * 300} {word}"),
    ]


@pytest.mark.parametrize("word", WORDS)
def test_every_spelling_of_the_last_word(word: str) -> None:
    for key in spellings(word):
        assert is_ref_key(key), key


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        "paid",
        "Paid",
        "PAID",
        "orderid",
        "void",
        "casino",
        "piano",
        "ids",
        "IDs",
        "orderIds",
        "id number of",
        "id2",
        "id 2",
        "number_of_items",
        "noAnswer",
        "referenced",
        "skus",
        "idé",
        "GUID",
        "123",
        "номер",
        "x" * 300 + "id",
    ],
)
def test_other_keys(key: str) -> None:
    assert not is_ref_key(key)


def naive_refs(object_id: str | None, external_id: str | None, context: Any) -> list[str]:
    found: list[str] = []

    def visit(value: Any, named: bool) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                visit(item, is_ref_key(key))
        elif isinstance(value, list):
            for item in value:
                visit(item, named)
        elif named and isinstance(value, str) and 1 <= len(value) <= 128:
            found.append(value)

    visit(context, False)
    refs: list[str] = []
    for ref in [object_id, external_id, *found[:16]]:
        if ref and ref not in refs:
            refs.append(ref)
    return refs


KEYS = st.sampled_from(["id", "Order id", "invoice_ref", "total", "items", "trackingNumber", "note"])
SCALARS = st.none() | st.booleans() | st.sampled_from(["", "1", "A-17", "x" * 128, "x" * 129, "é"])
CONTEXTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=60,
)
IDS = st.none() | st.sampled_from(["", "A-17", "evt-1", "y" * 1024])


@given(IDS, IDS, CONTEXTS)
def test_refs_agree_with_the_definition(object_id: str | None, external_id: str | None, context: Any) -> None:
    assert refs_of(object_id, external_id, context) == naive_refs(object_id, external_id, context)


def test_only_the_first_sixteen_of_the_context_count() -> None:
    context = {"lines": [{"line id": str(number), "qty": "1"} for number in range(40)]}
    assert MAX_CONTEXT_REFS == 16
    assert refs_of("object", "sender", context) == ["object", "sender", *map(str, range(16))]


def test_numbers_are_references_as_they_were_written() -> None:
    text = b'{"Order id": 84637930, "sku": 1.10, "no": true, "nr": null, "big number": 12345678901234567890}'
    assert refs_of(None, None, parse_exact(text)) == ["84637930", "1.10", "12345678901234567890"]


def test_what_has_no_reference() -> None:
    assert refs_of(None, None, None) == []
    assert refs_of("", "", {"id": {"total": "5"}, "total": {"sum": "7"}}) == []
