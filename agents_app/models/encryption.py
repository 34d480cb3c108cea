"""Columns that are encrypted at rest, with a key derived from SECRET_KEY."""

import base64
import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models.functions import Cast


def _fernet() -> MultiFernet:
    """Return the ciphers: the first key encrypts; SECRET_KEY_FALLBACKS still decrypt, so that keys can be rotated."""
    return _ciphers(str(settings.SECRET_KEY), *map(str, settings.SECRET_KEY_FALLBACKS))


@functools.lru_cache(maxsize=4)
def _ciphers(*keys: str) -> MultiFernet:
    digests = (hashlib.sha256(b"agents_app.secrets:" + key.encode()).digest() for key in keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


def encrypt_text(text: str) -> str:
    """Return the text as a token."""
    return _fernet().encrypt(text.encode()).decode()


def decrypt_text(token: str) -> str:
    """Return the text of a token.

    Raises:
        InvalidToken: no key opens it.
    """
    return _fernet().decrypt(token.encode()).decode()


class EncryptedTextField(models.TextField):
    """Text that the database holds only as a Fernet token. A token that no key decrypts reads as empty."""

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
    """A JSON object that the database holds only as a Fernet token. A token that no key decrypts reads as empty."""

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


@dataclass
class Rotation:
    """The result of a rotation: the number of rotated secrets, and the names of those that no key decrypts."""

    rotated: int = 0
    lost: list[str] = field(default_factory=list)


def rotate() -> Rotation:
    """Encrypt every secret of the database with the first key. Afterwards SECRET_KEY_FALLBACKS can be removed."""
    return _each_secret(dry_run=False)


def inspect() -> Rotation:
    """Return what `rotate` would do, without changing anything."""
    return _each_secret(dry_run=True)


def _each_secret(*, dry_run: bool) -> Rotation:
    rotation = Rotation()
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, EncryptedTextField | EncryptedJSONField):
                _rotate_column(model._default_manager, column.name, rotation, dry_run=dry_run)
    return rotation


def _rotate_column(rows: Any, name: str, rotation: Rotation, *, dry_run: bool) -> None:
    fernet = _fernet()
    tokens = rows.annotate(token=Cast(name, models.TextField())).exclude(token="")  # raw, not decrypted
    for pk, token in tokens.values_list("pk", "token"):
        try:
            new = fernet.rotate(token.encode()).decode()
        except InvalidToken:
            rotation.lost.append(f"{rows.model._meta.verbose_name} {rows.get(pk=pk)}: {name}")
            continue
        if dry_run:
            rotation.rotated += 1
            continue
        unchanged = tokens.filter(pk=pk, token=token)  # a new secret may have been saved meanwhile
        rotation.rotated += unchanged.update(**{name: models.Value(new, output_field=models.TextField())})
