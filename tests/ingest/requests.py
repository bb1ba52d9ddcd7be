"""Publish requests for tests: good ones, and good ones with faults put in, as JSON text."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import strategies as st

from backstory.ingest.admit import Arrival
from backstory.model.access import Principal, Role

ADMIN = Principal(1, 1, Role.ADMIN, frozenset(), None)
RECEIVED = 1_715_934_615_123_456
ARRIVAL = Arrival(ADMIN, RECEIVED)


class Literal(NamedTuple):
    """JSON text that is written as it is: numbers that no Python number writes so."""

    text: str


def write(tree: Any, *, ascii_only: bool = False) -> str:
    """JSON text of a tree with `Literal`s in it."""
    if isinstance(tree, Literal):
        return tree.text
    if isinstance(tree, dict):
        pairs = (
            f"{write(key, ascii_only=ascii_only)}:{write(value, ascii_only=ascii_only)}"
            for key, value in tree.items()
        )
        return f"{{{','.join(pairs)}}}"
    if isinstance(tree, list):
        return f"[{','.join(write(item, ascii_only=ascii_only) for item in tree)}]"
    return json.dumps(tree, ensure_ascii=ascii_only)


def request(contact: Any = None, **activity: Any) -> dict[str, Any]:
    """A small good request; keyword arguments replace parts of the activity."""
    return {
        "activity": {"name": "Paid", "actor": {"type": "shopper"}, "source": {"name": "shopify"}} | activity,
        "contact": {"email": "rachel@example.com"} if contact is None else contact,
    }


LITERALS = (
    "0",
    "-0",
    "1",
    "-1",
    "5.0",
    "1e1",
    "1.5",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "9" * 30,
)
NUMBERS = st.sampled_from([Literal(text) for text in LITERALS])
ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | NUMBERS | st.sampled_from([[], {}, [None], [[]], {"a": 1}, "x", ""])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def text(limit: int) -> st.SearchStrategy[Any]:
    """Texts around a limit, blank ones, odd ones, and values that are no text."""
    edges = [
        "",
        " ",
        "\t\u00a0",
        "\x1c",
        "x",
        "é" * limit,
        "😀" * limit,
        "x" * (limit + 1),
        "\0",
        "a\0b",
        f" {'x' * limit} ",
    ]
    return st.sampled_from(edges) | st.sampled_from(edges) | st.text(max_size=10) | st.text(max_size=10) | ODD


TIMES = ODD | st.sampled_from(
    [
        *"2024-05-17 2024-05-17T08:30:15.123456789+02:00 0001-01-01 9999-12-31T23:59:59Z now 2024-02-30".split(),
        *("2016-12-31T23:59:60Z", "0001-01-01T00:00+01", "", " ", "2024-05-17T08:30:15Z\0"),
    ]
)
SOURCES = text(255) | st.sampled_from(["backstory", " Backstory\n", "BACKSTORY", "backstory2", "shopify"])
EMAILS = text(255) | st.sampled_from(
    ["a@b", " a@b ", "@", "a b@c", "nobody", "a@b\0", "x" * 253 + "@b", "x" * 254 + "@b"]
)
PHONES = text(255) | st.sampled_from(["+44 7700 900123", "07700", "none", "+", "1" * 256, "٠٧٧٠٠", "1\0"])
IDS = NUMBERS | ODD | st.sampled_from(["1", "80001"])


def _nested(levels: int) -> Any:
    tree: Any = {"leaf": 1}
    for level in range(levels - 1):
        tree = [tree] if level % 2 and level < levels - 2 else {"in": tree}
    return tree


CONTEXTS = (
    ODD
    | JSON
    | st.dictionaries(st.text(max_size=8), JSON, max_size=4)
    | st.sampled_from([31, 32, 33]).map(_nested)
)


def parts(required: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]) -> Any:
    """Objects with these keys: most of the required ones, some of the others, now and then one that is unknown."""
    whole = st.fixed_dictionaries(required, optional=optional)
    broken = st.fixed_dictionaries({}, optional=required | optional | {"unknown": ODD, "": ODD, "Name": ODD})
    return whole | whole | broken | ODD


ACTORS = parts({"type": text(255)}, {"id": text(1024), "name": text(1024)})
GOOD_ACTOR = st.just({"type": "shopper"})
GOOD_SOURCE = st.just({"name": "shopify"})
IDENTITIES = st.lists(parts({"source": text(255), "id": text(255)}, {}), max_size=3) | st.sampled_from(
    [[{"source": "s", "id": str(number)} for number in range(count)] for count in (20, 21)]
)
OBJECTS = parts({}, {"type": text(255), "id": text(1024), "link": text(2048), "name": text(1024)})
ACTIVITIES = parts(
    {
        "name": st.just("Paid") | text(255),
        "actor": GOOD_ACTOR | ACTORS,
        "source": GOOD_SOURCE | parts({"name": SOURCES}, {"id": text(1024)}),
    },
    {
        "timestamp": TIMES,
        "description": text(4096),
        "link": text(2048),
        "object": OBJECTS,
        "context": CONTEXTS,
        "id": text(255),
    },
)
CONTACTS = parts(
    {},
    {
        "id": IDS,
        "unique_external_id": text(255),
        "identities": IDENTITIES | ODD,
        "email": EMAILS,
        "facebook_id": text(255),
        "twitter_id": text(255),
        "phone": PHONES,
        "mobile": PHONES,
        "name": text(255),
        "is_actor": ODD,
    },
)
WILD = parts({"activity": ACTIVITIES, "contact": CONTACTS}, {})

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **{
        f"activity.{name}": text(limit)
        for name, limit in (("name", 255), ("description", 4096), ("link", 2048), ("id", 255))
    },
    **{
        f"activity.actor.{name}": text(limit) for name, limit in (("type", 255), ("id", 1024), ("name", 1024))
    },
    **{
        f"activity.object.{name}": text(limit)
        for name, limit in (("type", 255), ("id", 1024), ("link", 2048))
    },
    **{f"contact.{name}": text(255) for name in ("unique_external_id", "facebook_id", "twitter_id", "name")},
    **{f"contact.identities.0.{name}": text(255) for name in ("source", "id")},
    "activity.source.name": SOURCES,
    "activity.source.id": text(1024),
    "activity.timestamp": TIMES,
    "activity.context": CONTEXTS,
    "activity.object": OBJECTS,
    "contact.id": IDS,
    "contact.identities": IDENTITIES | ODD,
    "contact.email": EMAILS,
    "contact.phone": PHONES,
    "contact.mobile": PHONES,
    "contact.is_actor": ODD,
}


def put(tree: Any, path: str, value: Any) -> None:
    """Replace the value at a dotted path."""
    *parents, last = path.split(".")
    for name in parents:
        tree = tree[int(name)] if isinstance(tree, list) else tree[name]
    tree[last] = value


@st.composite
def tweaked(draw: st.DrawFn) -> dict[str, Any]:
    """A good request with one to three of its values replaced, by good ones or bad ones."""
    contact = {"identities": [{"source": "stripe", "id": "cus_9"}]}
    if draw(st.integers(0, 3)) == 0:
        contact = {"identities": []}  # so that what replaces decides whether anybody is named
    tree = request(contact, object={})
    # Longer paths first: a whole object put in later does not matter to them.
    paths = draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=3, unique=True))
    for path in sorted(paths, key=lambda path: -path.count(".")):
        if "identities.0" not in path or contact["identities"]:
            put(tree, path, draw(FIELDS[path]))
    return tree


REQUESTS = tweaked() | tweaked() | tweaked() | WILD

# Requests that are good whatever is drawn.
GOOD_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
VISIBLE = GOOD_TEXT.filter(str.strip)
GOOD_REQUESTS = st.fixed_dictionaries(
    {
        "activity": st.fixed_dictionaries(
            {
                "name": VISIBLE,
                "actor": st.fixed_dictionaries(
                    {"type": VISIBLE}, optional={"id": GOOD_TEXT, "name": GOOD_TEXT}
                ),
                "source": st.fixed_dictionaries(
                    {"name": VISIBLE.filter(lambda name: name.strip().lower() != "backstory")},
                    optional={"id": GOOD_TEXT},
                ),
            },
            optional={
                "timestamp": st.none() | st.sampled_from(["2024-05-17", "1999-01-01T00:00:00.000001+05:30"]),
                "description": st.none() | GOOD_TEXT,
                "link": st.none() | GOOD_TEXT,
                "object": st.none()
                | st.fixed_dictionaries(
                    {}, optional=dict.fromkeys(("type", "id", "link", "name"), st.none() | GOOD_TEXT)
                ),
                "context": st.none() | st.dictionaries(st.text(max_size=8), JSON, max_size=4),
                "id": st.none() | GOOD_TEXT,
            },
        ),
        "contact": st.fixed_dictionaries(
            {"unique_external_id": VISIBLE},
            optional={
                "email": st.none() | st.sampled_from(["", " ", "Rachel@Example.com"]),
                "identities": st.none()
                | st.lists(st.fixed_dictionaries({"source": VISIBLE, "id": VISIBLE}), max_size=3),
                "name": st.none() | GOOD_TEXT,
                "is_actor": st.none() | st.booleans(),
            },
        ),
    }
)
