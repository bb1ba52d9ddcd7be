"""What people wrote in tickets, as it stands in a page: their HTML was made harmless before; here it is made to fit.

Nothing of it is fetched from elsewhere: whoever sent a picture would learn when it is looked at.
"""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlsplit

from markupsafe import Markup, escape
from msgspec import Struct

_PICTURE = re.compile(r'<img((?:\s+[\w-]+(?:="[^"]*")?)*)\s*/?>')
_ATTRIBUTE = re.compile(r'\s([\w-]+)="([^"]*)"')
_STRUCTURE = re.compile(r"(?<=<)(/?)(?:h[1-6]|hgroup|header|footer|article|aside|nav|section)(?=[\s>])")
_MAP = re.compile(r'</?(?:map|area)(?:\s+[\w-]+(?:="[^"]*")?)*\s*/?>')


class Said(Struct, frozen=True):
    """HTML for a page, and the addresses of pictures that it left out."""

    html: Markup
    pictures: tuple[str, ...]


def show_said(html: str) -> Said:
    """Cleaned HTML, without pictures, and without what gives a page its structure: that is the page's own."""
    pictures: dict[str, None] = {}

    def leave_out(found: re.Match[str]) -> str:
        attributes = dict(_ATTRIBUTE.findall(found[1]))
        address, told = unescape(attributes.get("src", "")), unescape(attributes.get("alt", ""))
        if address.startswith(("http://", "https://")):
            pictures[address] = None
        return f'<span class="picture">{escape(told.strip() or _host(address) or "picture")}</span>'

    text = _MAP.sub("", _PICTURE.sub(leave_out, html))
    return Said(Markup(_STRUCTURE.sub(r"\1div", text)), tuple(pictures))  # noqa: S704  cleaned when it came


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
