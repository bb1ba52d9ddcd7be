"""HTML from anywhere: harmless afterwards, and readable as text."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.model.rich_text import (
    MAX_ELEMENTS,
    clean_html,
    count_elements,
    first_words,
    html_to_text,
    text_to_html,
)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("<b>Hi</b><script>alert(1)</script>", "<b>Hi</b>"),
        ("<style>p { color: red }</style><p style='x' class='y'>Hi</p>", "<p>Hi</p>"),
        ('<p onclick="x()" onmouseover=y>Hi</p>', "<p>Hi</p>"),
        ('<a href="JaVaScRiPt:alert(1)">x</a>', '<a rel="noopener noreferrer nofollow">x</a>'),
        ('<a href="java\tscript:alert(1)">x</a>', '<a rel="noopener noreferrer nofollow">x</a>'),
        ('<a href="data:text/html,x">x</a>', '<a rel="noopener noreferrer nofollow">x</a>'),
        ('<a href="/relative">x</a>', '<a rel="noopener noreferrer nofollow">x</a>'),
        ('<a href="cid:x">x</a>', '<a rel="noopener noreferrer nofollow">x</a>'),
        ('<a href="mailto:a@b.c">x</a>', '<a href="mailto:a@b.c" rel="noopener noreferrer nofollow">x</a>'),
        ('<img src="https://a.b/c.png" alt="C">', '<img src="https://a.b/c.png" alt="C">'),
        ('<img src="cid:logo">', '<img src="cid:logo">'),
        ('<img src="data:image/svg+xml,x">', "<img>"),
        ('<img src="//a.b/c.png">', "<img>"),
        ('<blockquote cite="javascript:x">Hi</blockquote>', "<blockquote>Hi</blockquote>"),
        ("<iframe src=x></iframe><object></object><embed><form><input></form>Hi", "Hi"),
        ("<svg><script>x</script></svg><math>y</math>", "y"),
        ("a < b & c", "a &lt; b &amp; c"),
        ("<p>open", "<p>open</p>"),
        ("<!-- secret -->Hi", "Hi"),
        ("", ""),
    ],
)
def test_what_harms_is_taken_out(sent: str, kept: str) -> None:
    assert clean_html(sent) == kept
    assert clean_html(kept) == kept


@given(st.lists(st.sampled_from(
    ["<", ">", '"', "'", "=", "/", "<script", "<a href=", "javascript:", "<img src=", "onerror=", "<!--", "-->", "\0",
     "<svg", "<style>", "</p>", "<p>", "&#x6a;", "data:", " ", "x", "<math><mtext><table><mglyph><style><!--"]
), max_size=20))  # fmt: skip
def test_nothing_that_runs_survives(pieces: list[str]) -> None:
    cleaned = clean_html("".join(pieces))
    tags = re.findall(r"<([a-z0-9]+)([^>]*)>", cleaned)
    assert not {tag for tag, _ in tags} & {"script", "style", "iframe", "object", "svg", "math", "form"}
    for _, attributes in tags:
        assert not re.search(r"\bon\w+\s*=|javascript:|data:", attributes, re.IGNORECASE), cleaned
    html_to_text(cleaned)


def test_the_bound_on_tags_bounds_the_time() -> None:
    """A million opened elements would take minutes: they are refused by their number before they are looked at."""
    deep = "<div>" * MAX_ELEMENTS
    assert count_elements(deep) == MAX_ELEMENTS
    started = time.process_time()
    clean_html(deep)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two</p>", "One\n\nTwo"),
        ("One<br>Two<br><br>Three", "One\nTwo\n\nThree"),
        ("<div>One</div><div>Two</div>", "One\nTwo"),
        ("<ul><li>One</li><li>Two</li></ul>After", "- One\n- Two\n\nAfter"),
        ("<p>  many\n   spaces </p>", "many spaces"),
        ("<pre>as  it\n  is</pre>", "as  it\n  is"),
        ("<table><tr><td>A</td><td>B</td></tr><tr><td>C</td></tr></table>", "A B\nC"),
        ('See <a href="https://a.b/c">here</a>.', "See here (https://a.b/c)."),
        ('<a href="https://a.b/">https://a.b</a>', "https://a.b"),
        ('<a href="mailto:a@b.c">a@b.c</a> <a href="tel:+44">call</a>', "a@b.c call (+44)"),
        ('<img src="cid:x" alt="Logo"> <img src="cid:y">', "[Logo]"),
        ("a &lt; b &amp;amp; c&nbsp;d", "a < b &amp; c\xa0d"),
        ("One <b>bold</b><i>er</i> word", "One bolder word"),
        ("", ""),
    ],
)
def test_html_reads_as_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


@given(st.text())
def test_text_as_html_is_harmless_and_reads_the_same(text: str) -> None:
    html = text_to_html(text)
    assert "<" not in html.replace("<br>", "")
    assert html_to_text(html).split() == text.split() or "\x1c" in text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [("one two", 7, "one two"), ("one  \n two three", 8, "one two…"), ("x" * 9, 5, "xxxx…"), ("", 5, "")],
)
def test_the_first_words(text: str, limit: int, shown: str) -> None:
    assert first_words(text, limit) == shown
