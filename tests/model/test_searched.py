"""What searches find of a stored body is what the definitions of words and references say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from backstory.ingest.admit import admit
from backstory.model.json_text import parse_exact
from backstory.model.refs import refs_of
from backstory.model.searched import read_searched
from backstory.model.words import words_of
from tests.ingest.requests import ARRIVAL, GOOD_REQUESTS, Literal, request, write


def stored(tree: Any) -> bytes:
    return admit(write(tree).encode(), ARRIVAL).body


@given(GOOD_REQUESTS)
def test_every_body_agrees_with_the_definitions(tree: dict[str, Any]) -> None:
    body = stored(tree)
    kept = parse_exact(body)
    searched, thing = read_searched(body), kept["object"] or {}
    assert (searched.name, searched.source) == (kept["name"], kept["source"]["name"])
    assert searched.object_type == thing.get("type")
    assert searched.words == words_of(
        *(kept[part] for part in ("name", "description", "actor", "object", "context"))
    )
    # A negative zero is the one number that is not found as it was written.
    if "-0" not in refs_of(None, None, kept["context"]):
        assert searched.refs == refs_of(thing.get("id"), kept["external_id"], kept["context"])


@pytest.mark.parametrize(
    "literal",
    [
        *("0", "1.10", "1e400", "1E+2", "-1.5e-300", "0.0", "84637930", "12345678901234567890"),
        *("18446744073709551616", "-9223372036854775809", "9" * 128),
    ],
)
def test_a_number_is_a_reference_as_it_was_written(literal: str) -> None:
    assert read_searched(stored(request(context={"Order id": Literal(literal)}))).refs == [literal]


@pytest.mark.parametrize("digits", [129, 309, 400, 4_300, 4_301, 50_000])
def test_a_number_of_any_length_can_be_read(digits: int) -> None:
    tree = request(
        context={"n": Literal("7" * digits), "m": Literal("-1." + "7" * digits), "Order id": "A-17"}
    )
    searched = read_searched(stored(tree))
    assert searched.refs == ["A-17"]
    assert {"7" * digits, "17", "a", "paid"} <= searched.words


def test_the_source_is_not_searched_for_words() -> None:
    body = stored(request(source={"name": "zanzibar", "id": "quixotic"}))
    assert not {"zanzibar", "quixotic"} & read_searched(body).words
    assert json.loads(body)["source"]["id"] == "quixotic"
