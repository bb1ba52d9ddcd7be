"""Icons (Lucide), as one sprite in each page, of only those that the page uses."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

FOLDER = Path(__file__).parent / "static" / "icons"
_INNER = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def _read_icons() -> dict[str, str]:
    """The drawing of each icon, by its name."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.svg")):
        inner = _INNER.search(path.read_text())
        assert inner is not None, f"{path.name} is not an SVG image"
        found[path.stem] = re.sub(r"\s*\n\s*", "", inner[1]).replace(" />", "/>")
    return found


ICONS = _read_icons()


class Sprite:
    """The icons of one page, or of a part that comes into it later."""

    def __init__(self) -> None:
        self._used: dict[str, None] = {}

    def use(self, name: str, size: str = "") -> Markup:
        """An icon at its place; what it means stands beside it as text."""
        assert name in ICONS, f"there is no icon {name} in {FOLDER}"
        self._used[name] = None
        classes = f"icon {size}".strip()
        return Markup('<svg class="{}" aria-hidden="true"><use href="#i-{}"/></svg>').format(classes, name)

    def __html__(self) -> str:
        """The sprite, to stand at the end of the page."""
        symbols = "".join(
            f'<symbol id="i-{name}" viewBox="0 0 24 24">{ICONS[name]}</symbol>' for name in self._used
        )
        return f'<svg class="sprite" aria-hidden="true">{symbols}</svg>'
