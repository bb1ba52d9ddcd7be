"""What people write in tickets: HTML from anywhere, made harmless, and the same as plain text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import nh3

MAX_HTML = 500_000
MAX_ELEMENTS = 10_000
"""So many tags at most: the time that cleaning takes grows with the square of how deep they are nested."""

_LINKS = ("http://", "https://", "mailto:", "tel:")
_IMAGES = ("http://", "https://", "cid:")
_ADDRESSES = {("a", "href"): _LINKS, ("img", "src"): _IMAGES}
_OTHER_ADDRESSES = frozenset({"cite", "longdesc"})

_BREAKS_BEFORE = frozenset(
    "address blockquote dd div dl dt figcaption figure h1 h2 h3 h4 h5 h6 header footer article aside hr li ol p pre"
    " table tr ul section details summary caption".split()
)
_PARAGRAPHS = frozenset("blockquote dl figure h1 h2 h3 h4 h5 h6 ol p pre table ul".split())
_SPACES = re.compile(r"[ \t\r\n\f]+")


def count_elements(html: str) -> int:
    """How many tags a text may have, at most."""
    return html.count("<")


def clean_html(html: str) -> str:
    """HTML without scripts, styles, event handlers, forms, and addresses of any other kind than links' and images'.

    Pictures come from the web or (cid:) from an attachment, never from an address that holds them itself.
    """
    return nh3.clean(
        html.replace("\0", ""),
        attribute_filter=_keep_attribute,
        url_schemes={"http", "https", "mailto", "tel", "cid"},
        link_rel="noopener noreferrer nofollow",
    )


def _keep_attribute(tag: str, name: str, value: str) -> str | None:
    if name in _OTHER_ADDRESSES:
        return None
    wanted = _ADDRESSES.get((tag, name))
    return value if wanted is None or value.strip().lower().startswith(wanted) else None


def html_to_text(html: str) -> str:
    """Cleaned HTML as plain text: lines stay lines, lists stay lists, and where a link leads stands behind it."""
    reader = _TextReader()
    reader.feed(html)
    reader.close()
    return reader.text()


def text_to_html(text: str) -> str:
    """Plain text as HTML that looks the same."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "<br>".join(escaped.splitlines())


class _TextReader(HTMLParser):
    """Gathers text; `_wanted` line breaks are owed before the next piece of it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._wanted = 0
        self._verbatim = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._break(self._wanted + 1)
        elif tag in _BREAKS_BEFORE:
            self._break(2 if tag in _PARAGRAPHS else 1)
        if tag == "li":
            self._add("- ")
        elif tag in ("td", "th"):
            self._space()
        elif tag == "pre":
            self._verbatim += 1
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self._pieces)))
        elif tag == "img" and (shown := dict(attrs).get("alt")):
            self._add(f"[{shown}]")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._links:
            self._close_link(*self._links.pop())
        elif tag == "pre":
            self._verbatim = max(0, self._verbatim - 1)
        if tag in _BREAKS_BEFORE:
            self._break(2 if tag in _PARAGRAPHS else 1)

    def _close_link(self, href: str, start: int) -> None:
        address = href.removeprefix("mailto:").removeprefix("tel:")
        if address and address.rstrip("/") not in "".join(self._pieces[start:]):
            self._add(f" ({address})")

    def handle_data(self, data: str) -> None:
        if self._verbatim:
            self._add(data)
            return
        text = _SPACES.sub(" ", data)
        if self._at_line_start():
            text = text.lstrip(" ")
        if text:
            self._add(text)

    def _at_line_start(self) -> bool:
        return bool(self._wanted) or not self._pieces or self._pieces[-1].endswith(("\n", " "))

    def _space(self) -> None:
        if not self._at_line_start():
            self._pieces.append(" ")

    def _break(self, lines: int) -> None:
        if self._pieces:  # nothing is owed before the first line
            self._wanted = max(self._wanted, min(lines, 2))

    def _add(self, text: str) -> None:
        if self._wanted:
            self._pieces.append("\n" * self._wanted)
            self._wanted = 0
        self._pieces.append(text)

    def text(self) -> str:
        """What was gathered."""
        lines = "".join(self._pieces).split("\n")
        return "\n".join(line.rstrip() for line in lines).strip("\n")


def first_words(text: str, limit: int) -> str:
    """The beginning of a text on one line, cut behind a word."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    whole = cut if line[limit - 1] == " " else cut.rpartition(" ")[0]
    return f"{whole or cut}…"
