"""A Django project as small as it can be, set up as its deployment pages advise.

`PEER_DATABASE` is the file, `PEER_KEY` the API key. WAL and synchronous=FULL, as Backstory has it: an answer of 200 is
durable. Connections persist; no sessions, templates or other middleware that this endpoint does not need.
"""

import os

SECRET_KEY = "only for the bench"
API_KEY = os.environ["PEER_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "timeline",
    "actstream",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PEER_DATABASE"],
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ACTSTREAM_SETTINGS = {"USE_JSONFIELD": True}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["timeline.auth.ApiKey"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}
LOGGING_CONFIG = None
