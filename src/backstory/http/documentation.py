"""The finished documentation, as it is served."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

ADDRESS = "http://127.0.0.1:8000"
"""The address that examples are written with."""

_PLAIN_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+", re.ASCII)


class Documentation(NamedTuple):
    """OpenAPI, the page, and the page's style sheet."""

    openapi: bytes
    html: str
    style: bytes

    def page(self, address: str) -> bytes:
        """The page, with the address that the reader used in its examples; a strange one is not repeated."""
        if _PLAIN_ADDRESS.fullmatch(address):
            return self.html.replace(ADDRESS, html.escape(address)).encode()
        return self.html.encode()
