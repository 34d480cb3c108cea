"""Sessions of browsers, kept under a hash of their key: who reads the database cannot act as anybody in it."""

import base64
import hashlib
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.utils import timezone

_HASHED_BYTES = 30  # in Base64 they are 40 characters, as many as the column holds


def hash_key(key: str | None) -> str | None:
    """Return what the table has for the key in a browser's cookie. A key is random: it needs no slow hash."""
    if key is None:
        return None
    digest = hashlib.sha256(key.encode()).digest()
    return base64.urlsafe_b64encode(digest[:_HASHED_BYTES]).decode()


class SessionStore(DatabaseSessionStore):
    """Django's sessions in the database, without their keys: `session_key` of a row is the hash of one."""

    def _get_session_from_db(self) -> Any:
        row = self._rows().first()
        self._forget_key_without(row)
        return row

    async def _aget_session_from_db(self) -> Any:
        row = await self._rows().afirst()
        self._forget_key_without(row)
        return row

    def _rows(self) -> Any:
        return self.model.objects.filter(session_key=hash_key(self.session_key), expire_date__gt=timezone.now())

    def _forget_key_without(self, row: Any) -> None:
        if row is None:
            self._session_key = None  # as Django does, so that nobody can choose the key of a new session

    def exists(self, session_key: str) -> bool:
        return super().exists(hash_key(session_key))  # type: ignore[arg-type]

    async def aexists(self, session_key: str) -> bool:
        return await super().aexists(hash_key(session_key))  # type: ignore[arg-type]

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        row = super().create_model_instance(data)
        row.session_key = hash_key(row.session_key)  # type: ignore[assignment]
        return row

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        row = await super().acreate_model_instance(data)
        row.session_key = hash_key(row.session_key)  # type: ignore[assignment]
        return row

    def delete(self, session_key: str | None = None) -> None:
        super().delete(hash_key(session_key or self.session_key))

    async def adelete(self, session_key: str | None = None) -> None:
        await super().adelete(hash_key(session_key or self.session_key))
