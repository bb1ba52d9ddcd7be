import base64
import binascii
import secrets

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request


class Sender:
    """Whoever holds the API key."""

    is_authenticated = True


class ApiKey(BaseAuthentication):
    """HTTP Basic with the API key as the user name."""

    def authenticate(self, request: Request) -> tuple[Sender, None]:
        scheme, _, value = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        try:
            key = base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
        if scheme != "Basic" or not secrets.compare_digest(key.encode(), settings.API_KEY.encode()):
            raise AuthenticationFailed
        return Sender(), None
