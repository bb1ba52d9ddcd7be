"""What browsers fetch beside the pages: named by its content, so that it can be kept for ever."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

from backstory.errors import NotFound
from backstory.http.message import Request, Response
from backstory.http.services import Services

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
SERVED = ("*.css", "*.js", "*.svg", "vendor/*.js")
FOR_EVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """A file as it is served."""

    content: bytes
    zipped: bytes
    content_type: str


def _read_assets() -> tuple[dict[str, str], dict[str, Asset]]:
    """The served names by the files' names, and the assets by their served names."""
    names: dict[str, str] = {}
    assets: dict[str, Asset] = {}
    for path in sorted(path for pattern in SERVED for path in FOLDER.glob(pattern)):
        content = path.read_bytes()
        served = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
        names[path.name] = served
        assets[served] = Asset(content, gzip.compress(content, 9, mtime=0), TYPES[path.suffix])
    return names, assets


_NAMES, _ASSETS = _read_assets()


def asset_url(name: str) -> str:
    """The address of a file of ours."""
    return f"/static/{_NAMES[name]}"


async def read_asset(request: Request, services: Services) -> Response:
    """A style sheet, a script, an image."""
    asset = _ASSETS.get(request.path_values["name"])
    if asset is None:
        raise NotFound("There is no such file.")
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    if takes_gzip(request):
        zipped = headers | {"Content-Encoding": "gzip"}
        return Response(asset.zipped, content_type=asset.content_type, headers=zipped)
    return Response(asset.content, content_type=asset.content_type, headers=headers)


def takes_gzip(request: Request) -> bool:
    """Whether the answer may be compressed."""
    return "gzip" in (request.header(b"accept-encoding") or "")
