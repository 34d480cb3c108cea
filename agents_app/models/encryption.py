"""Text that is encrypted at rest, with a key made from SECRET_KEY."""

import base64
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


@dataclass
class Rotation:
    """What came of encrypting everything anew: how many secrets were, and the names of those that no key opens."""

    rotated: int = 0
    lost: list[str] = field(default_factory=list)


def rotate() -> Rotation:
    """Encrypt every secret of the database with the first key; SECRET_KEY_FALLBACKS are needed no more afterwards."""
    return _each_secret(look_only=False)


def inspect() -> Rotation:
    """What `rotate` could encrypt anew, and what it could not; nothing is changed."""
    return _each_secret(look_only=True)


def _each_secret(*, look_only: bool) -> Rotation:
    done = Rotation()
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, EncryptedTextField | EncryptedJSONField):
                _rotate_column(model._default_manager, column.name, done, look_only=look_only)
    return done


def _rotate_column(rows: Any, name: str, done: Rotation, *, look_only: bool) -> None:
    fernet = _fernet()
    kept = rows.annotate(kept=Cast(name, models.TextField())).exclude(kept="")  # as it is, not decrypted
    for pk, token in kept.values_list("pk", "kept"):
        try:
            new = fernet.rotate(token.encode()).decode()
        except InvalidToken:
            done.lost.append(f"{rows.model._meta.verbose_name} {rows.get(pk=pk)}: {name}")
            continue
        if look_only:
            done.rotated += 1
            continue
        unchanged = kept.filter(pk=pk, kept=token)  # somebody may have written a new one meanwhile
        done.rotated += unchanged.update(**{name: models.Value(new, output_field=models.TextField())})
