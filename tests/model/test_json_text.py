"""JSON that must come back exactly: what is read, what is refused, what is the same."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.json_text import Number, depth_exceeds, digest, parse_exact, read_plain, shorten

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def plain(tree: Any) -> Any:
    """A tree with its numbers as Decimals, to compare."""
    if isinstance(tree, Number):
        return Decimal(tree)
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return [plain(value) for value in tree] if isinstance(tree, list) else tree


@given(VALUES, st.booleans())
def test_everything_that_is_json_is_read(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert plain(parse_exact(text.encode())) == json.loads(text, parse_int=Decimal, parse_float=Decimal)


@pytest.mark.parametrize(
    "literal", ["1.10", "1e400", "12345678901234567890", "-0", "0.0", "1E+2", "-1.5e-300", "9" * 5000]
)
def test_numbers_stay_as_they_were_written(literal: str) -> None:
    tree = parse_exact(f"[{literal}]".encode())
    assert tree == [literal]
    assert isinstance(tree[0], Number)


def test_a_number_is_not_the_string_of_its_digits() -> None:
    assert digest(parse_exact(b"[1]")) != digest(parse_exact(b'["1"]'))
    assert not isinstance(parse_exact(b'"1"'), Number)


def test_key_order_is_kept() -> None:
    assert list(parse_exact(b'{"b": 1, "a": 2, "": 3}')) == ["b", "a", ""]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"{", "line 1"),
        (b"nul", "line 1"),
        (b'{"a": 1,}', "line 1"),
        (b"[1, 2", "line 1"),
        (b"{'a': 1}", "line 1"),
        (b"// no\n{}", "line 1"),
        (b"{} {}", "Extra data"),
        (b"[01]", "line 1"),
        (b"[+1]", "line 1"),
        (b"[.5]", "line 1"),
        (b"[1.]", "line 1"),
        (b"[0x1]", "line 1"),
        (b"NaN", "NaN"),
        (b"[NaN]", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b'"\x01"', "line 1"),
        (b'"\n"', "line 1"),
        (b'"\x00"', "line 1"),
        (rb'"\x41"', "line 1"),
        (rb'"\u12"', "line 1"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'"\xff"', "UTF-8"),
        (b'"\xc0\xaf"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        ("[]".encode("utf-16"), "UTF-8"),
        (rb'"\ud800"', "surrogate"),
        (rb'"\udc00"', "surrogate"),
        (rb'"\uDFFF and more"', "surrogate"),
        (rb'{"\ud800": 1}', "surrogate"),
        (rb'["\ud83d\ude00", "\ude00\ud83d"]', "surrogate"),
        (b'{"a": 1, "a": 1}', "twice"),
        (b'{"b": [{"a": 1, "\\u0061": 2}]}', "twice"),
        (b'{"": 1, "": 2}', "twice"),
        (b"[" * 10_000, "deep"),
        (b"[" * 10_000 + b"]" * 10_000, "deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "deep"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(body: bytes, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_exact(body)


@given(st.binary(max_size=60))
def test_no_bytes_make_anything_but_a_value_error(body: bytes) -> None:
    try:
        tree = parse_exact(body)
    except ValueError:
        return
    assert digest(tree) == digest(parse_exact(body))


@pytest.mark.parametrize("levels", range(880, 1_001))
def test_no_depth_makes_anything_but_a_value_error(levels: int) -> None:
    """Reading, looking for surrogates and showing take differently much of the stack."""
    try:
        tree = parse_exact(b"[" * levels + b'"\\ud83d\\ude00"' + b"]" * levels)
    except ValueError:
        return
    assert shorten(tree)


def test_surrogate_pairs_are_their_character() -> None:
    assert parse_exact(rb'"\ud83d\ude00"') == "😀" == parse_exact('"😀"'.encode())
    assert parse_exact(rb'"\\ud800"') == "\\ud800"


@given(VALUES)
def test_the_digest_ignores_what_json_does_not_mean(value: Any) -> None:
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    spacious = json.dumps(value, ensure_ascii=True, indent=3)
    assert digest(parse_exact(compact.encode())) == digest(parse_exact(spacious.encode()))
    assert digest(parse_exact(json.dumps(value, sort_keys=True).encode())) == digest(
        parse_exact(compact.encode())
    )


@given(VALUES, st.booleans())
def test_the_plain_reading_agrees_with_the_exact_one(value: Any, ascii_only: bool) -> None:
    body = json.dumps([value], ensure_ascii=ascii_only).encode()
    tree = read_plain(body)
    assert tree is None or digest(tree) == digest(parse_exact(body))
    assert tree is not None or b"\\u0022" in body or re.search(rb"\d{4000}", body)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\\\u0123abd8e-. ', max_size=30).map(str.encode))
def test_the_plain_reading_takes_nothing_that_the_exact_one_refuses(body: bytes) -> None:
    tree = read_plain(body)
    assert tree is None or digest(tree) == digest(parse_exact(body))


@pytest.mark.parametrize("literal", ["1.10", "1e400", "-0", "-0.0", "0", "1E+2", "18446744073709551616"])
def test_numbers_have_one_digest(literal: str) -> None:
    body = f"[{literal}]".encode()
    assert digest(read_plain(body)) == digest(parse_exact(body))


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a": 1, "a": 1}',
        rb'{"b": [{"a": 1, "\u0061": 2}]}',
        rb'{"": 1, "": 2}',
        rb'{"a": "x", "a": "\u0022\u0022"}',
        rb'{"a": "\"\"", "a": ""}',
        rb'{"a": {"b": "\u0022"}, "a": {}}',
    ],
)
def test_the_plain_reading_leaves_equal_keys_to_the_exact_one(body: bytes) -> None:
    assert read_plain(body) is None


@given(VALUES, VALUES)
def test_different_trees_have_different_digests(one: Any, other: Any) -> None:
    texts = [json.dumps(value, sort_keys=True).encode() for value in (one, other)]
    assert (digest(parse_exact(texts[0])) == digest(parse_exact(texts[1]))) == (texts[0] == texts[1])


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("levels", [1, 2, 31, 32, 33, 34, 200])
def test_depth(opening: str, levels: int) -> None:
    closing = {"[": "]"}.get(opening, "}")
    tree = parse_exact((opening * levels + "1" + closing * levels).encode())
    assert depth_exceeds(tree, 32) == (levels > 32)
    assert depth_exceeds([1, tree, {}], 32) == (levels + 1 > 32)


def test_depth_of_what_has_none() -> None:
    assert not depth_exceeds("x", 32)
    assert not depth_exceeds({}, 1)
    assert depth_exceeds({"a": []}, 1)


def test_shorten() -> None:
    assert shorten(Number("1.10")) == "1.10"
    assert shorten("é") == '"é"'
    assert shorten({"a": None}) == '{"a": null}'
    assert len(shorten("x" * 1_000_000)) == 60
