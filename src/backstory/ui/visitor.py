"""A visitor's cookie, the tokens in their forms, and where they may be sent on to."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from backstory.http.message import Request

COOKIE = "backstory"
TOKEN_FIELD = "csrf"  # noqa: S105  the name of a form's field, no secret
SIGN_IN = "/sign-in"
HOME = "/tickets"


def new_token() -> str:
    """A token for a visitor who is not signed in: it only ties forms to them."""
    return secrets.token_urlsafe(32)


def form_token(token: str) -> str:
    """What a visitor's forms carry: another text each time, so that compression betrays nothing of it."""
    salt = secrets.token_hex(8)
    return f"{salt}{_signature(token, salt)}"


def is_form_token(token: str, sent: str) -> bool:
    """Whether a form was made for this visitor."""
    salt, signature = sent[:16], sent[16:]
    return bool(token) and hmac.compare_digest(_signature(token, salt).encode(), signature.encode())


def _signature(token: str, salt: str) -> str:
    return hmac.new(token.encode(), f"form:{salt}".encode(), hashlib.sha256).hexdigest()


def set_cookie(request: Request, token: str, seconds: int) -> dict[str, str]:
    """The header that gives the visitor a token (of no seconds: takes it away)."""
    secure = "; Secure" if request.is_secure else ""
    value = f"{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    return {"Set-Cookie": value}


def safe_address(text: str) -> str:
    """An address within this site to go on to, whatever was asked for."""
    parts = urlsplit(text) if text.isascii() and text.isprintable() and len(text) <= 2_048 else None
    inside = (
        parts is not None
        and not parts.scheme
        and not parts.netloc
        and text.startswith("/")
        and not text.startswith("//")
        and "\\" not in text
    )
    return text if inside and not text.startswith(SIGN_IN) else HOME
