"""Sessions of browsers, kept under a hash of their key: who reads the database cannot act as anybody in it."""

import base64
import functools
import hashlib
from collections.abc import Collection
from typing import Any, overload

from django.contrib import auth
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from agents_app.access import start_token
from agents_app.notifier import access_changes

_HASHED_BYTES = 30  # in Base64 they are 40 characters, as many as the column holds
_DELETED_AT_ONCE = 500
_START = "start"  # in a session that the token of a start began: which start that was


@overload
def hash_key(key: str) -> str: ...
@overload
def hash_key(key: None) -> None: ...
def hash_key(key: str | None) -> str | None:
    """Return what the table has for the key in a browser's cookie. A key is random: it needs no slow hash."""
    if key is None:
        return None
    digest = hashlib.sha256(key.encode()).digest()
    return base64.urlsafe_b64encode(digest[:_HASHED_BYTES]).decode()


class SessionStore(DatabaseSessionStore):
    """Django's sessions in the database, without their keys: `session_key` of a row is the hash of one."""

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """Return the data, or none if the session began with the token of an earlier start."""
        data = super().decode(session_data)
        return {} if data.get(_START, start_token.fingerprint()) != start_token.fingerprint() else data

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
        return super().exists(hash_key(session_key))

    async def aexists(self, session_key: str) -> bool:
        return await super().aexists(hash_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        row = super().create_model_instance(data)
        row.session_key = hash_key(row.session_key)
        return row

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        row = await super().acreate_model_instance(data)
        row.session_key = hash_key(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        super().delete(hash_key(session_key or self.session_key))
        access_changes.notify_on_commit()

    async def adelete(self, session_key: str | None = None) -> None:
        await super().adelete(hash_key(session_key or self.session_key))
        access_changes.notify()


def end_with_process(session: SessionBase) -> None:
    """Let a session end with this process, and its cookie with the browser."""
    session[_START] = start_token.fingerprint()
    session.set_expiry(0)


def users_of(hashes: Collection[str]) -> dict[str, Any]:
    """Return the users of those of the sessions that are valid, by the hashes of their keys: two queries.

    A session ends when it expires, with a sign-out, with a change of the password, and with its user.
    """
    if not hashes:
        return {}
    rows = _unexpired().filter(session_key__in=hashes).values_list("session_key", "session_data")
    signed_in = {session_hash: _user_and_proof(text) for session_hash, text in rows}
    users = get_user_model().objects.filter(is_active=True).in_bulk({user for user, _ in signed_in.values() if user})
    proofs = {pk: [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()] for pk, user in users.items()}
    return {
        session_hash: users[user]
        for session_hash, (user, proof) in signed_in.items()
        if user in users and any(constant_time_compare(proof, each) for each in proofs[user])
    }


def end_all_of(user: Any) -> None:
    """End all sessions of a user. The table does not know their users, so this reads all sessions."""
    rows = _unexpired().values_list("session_key", "session_data").iterator()
    own = [session_hash for session_hash, text in rows if _user_and_proof(text)[0] == user.pk]
    for start in range(0, len(own), _DELETED_AT_ONCE):
        with transaction.atomic():
            _unexpired().filter(session_key__in=own[start : start + _DELETED_AT_ONCE]).delete()
    access_changes.notify_on_commit()


def _unexpired() -> Any:
    return SessionStore.get_model_class().objects.filter(expire_date__gt=timezone.now())


@functools.lru_cache(maxsize=10_000)  # the sessions of open sockets are read every other second
def _user_and_proof(text: str) -> tuple[Any, str]:
    """Return the primary key of the session's user, None if nobody signed in, and what proves the password of then."""
    data = SessionStore().decode(text)
    if auth.SESSION_KEY not in data:
        return None, ""
    return get_user_model()._meta.pk.to_python(data[auth.SESSION_KEY]), data.get(auth.HASH_SESSION_KEY, "")
