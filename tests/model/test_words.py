"""Words: what is found by what, in every script."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.json_text import parse_exact
from backstory.model.words import split_words, words_of

# All of Unicode, but of its large regular blocks (ideographs, Hangul, private use) only every 97th character.
REGULAR = (range(0x3400, 0xA000), range(0xAC00, 0xD7A4), range(0x20000, sys.maxunicode + 1))
CHARACTERS = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if not 0xD800 <= code < 0xE000 and (code % 97 == 0 or not any(code in block for block in REGULAR))
]


def naive_words(text: str) -> list[str]:
    """The definition, character by character."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    folded = "".join(char for char in folded if unicodedata.category(char)[0] != "M").casefold()
    words, word = [], ""
    for char in f"{folded} ":
        if char.isalnum():
            word += char
        elif word:
            words.append(word)
            word = ""
    return words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("—…!?", []),
        ("Transaction failed", ["transaction", "failed"]),
        ("snake_case-and.dots@example.com", ["snake", "case", "and", "dots", "example", "com"]),
        ("Order #84637930", ["order", "84637930"]),
        ("1.10 -5 1e400", ["1", "10", "5", "1e400"]),
        ("Ångström café naïve", ["angstrom", "cafe", "naive"]),
        ("cafe\u0301", ["cafe"]),
        ("STRASSE Straße GROẞ", ["strasse", "strasse", "gross"]),
        ("İstanbul IĞDIR", ["istanbul", "igdir"]),
        ("ﬁnal ﬀ Ⅷ ½ ²", ["final", "ff", "viii", "1", "2", "2"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ", ["full", "width"]),
        ("ℌello ℡", ["hello", "tel"]),
        ("Ελληνικά ΣΊΣΥΦΟΣ", ["ελληνικα", "σισυφοσ"]),
        ("Ёлка Йод", ["елка", "иод"]),
        ("العَرَبِيَّة ١٢٣", ["العربية", "١٢٣"]),
        ("עִבְרִית", ["עברית"]),
        ("हिन्दी", ["हनद"]),
        ("東京都、注文番号", ["東京都", "注文番号"]),
        ("ガ ｶﾞ", ["カ", "カ"]),
        ("주문", [unicodedata.normalize("NFKD", "주문")]),
        ("👍🏽 done 👩‍👩‍👧", ["done"]),
        ("a\u200db", ["a", "b"]),
        ("x\0y", ["x", "y"]),
        ("ñ" * 70_000, ["n" * 70_000]),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_every_character_agrees_with_the_definition() -> None:
    for char in CHARACTERS:
        assert split_words(char) == naive_words(char), hex(ord(char))
        assert split_words(f"a{char}b") == naive_words(f"a{char}b"), hex(ord(char))


def test_case_and_form_make_no_difference() -> None:
    for char in CHARACTERS:
        if (
            char in "ı\u037a"
        ):  # dotless i: its capital is everybody's I; a lone iota subscript is a letter or nothing
            continue
        forms = [char, char.upper(), char.lower(), *(unicodedata.normalize(f, char) for f in ("NFC", "NFKD"))]
        assert len({tuple(split_words(form)) for form in forms}) == 1, hex(ord(char))


@given(st.text(max_size=300))
def test_any_text_agrees_with_the_definition(text: str) -> None:
    assert split_words(text) == naive_words(text)


@given(st.text(max_size=100))
def test_a_word_is_found_by_itself(text: str) -> None:
    words = split_words(text)
    assert split_words(" ".join(words)) == words
    assert all(not set(word) & set('"@ \0') for word in words)  # safe in the index's query language


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=12) | st.integers().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def naive_tree_words(tree: object) -> set[str]:
    if isinstance(tree, dict):
        return set().union(*map(naive_tree_words, tree.values()))
    if isinstance(tree, list):
        return set().union(*map(naive_tree_words, tree))
    return set(naive_words(tree)) if isinstance(tree, str) else set()


@given(JSON, JSON)
def test_values_are_searched_and_keys_are_not(one: object, other: object) -> None:
    assert words_of(one, other) == naive_tree_words(one) | naive_tree_words(other)


def test_numbers_are_words_as_they_were_written() -> None:
    text = b'{"total": 1.10, "key 99": [12345678901234567890, -7, 1E+2, true, null], "note": "7 up"}'
    expected = {"1", "10", "12345678901234567890", "7", "1e", "2", "up"}
    assert words_of(parse_exact(text)) == expected
