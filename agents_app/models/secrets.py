"""Text that is encrypted at rest, with a key made from SECRET_KEY."""

import base64
import hashlib
import json

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


def _fernet() -> MultiFernet:
    """The first key encrypts; SECRET_KEY_FALLBACKS still decrypt, so that the key can be rotated."""
    keys = [str(settings.SECRET_KEY), *map(str, settings.SECRET_KEY_FALLBACKS)]
    digests = (hashlib.sha256(b"agents_app.secrets:" + key.encode()).digest() for key in keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


class EncryptedTextField(models.TextField):
    """A text that the database holds only as a Fernet token. A token that no key opens reads as empty."""

    def get_prep_value(self, value):
        text = super().get_prep_value(value)
        return _fernet().encrypt(text.encode()).decode() if text else ""

    def from_db_value(self, value, expression, connection):
        if not value:
            return ""
        try:
            return _fernet().decrypt(value.encode()).decode()
        except InvalidToken:
            return ""


class EncryptedJSONField(models.JSONField):
    """An object of JSON that the database holds only as a Fernet token. One that no key opens reads as empty."""

    def get_internal_type(self) -> str:
        return "TextField"

    def db_type(self, connection):
        return models.TextField().db_type(connection)

    def get_db_prep_value(self, value, connection, prepared=False):
        return _fernet().encrypt(json.dumps(value).encode()).decode()

    def from_db_value(self, value, expression, connection):
        try:
            return json.loads(_fernet().decrypt((value or "").encode()))
        except InvalidToken:
            return {}
