"""The channel layer in Redis. Each message is signed: whoever reaches Redis cannot put words into a session."""

import functools
import hashlib
import hmac
import logging
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings

from agents_app.observability import metrics

logger = logging.getLogger(__name__)

DROPPED: dict[str, Any] = {"type": "dropped"}  # what is received in place of a message that is not ours
_TAG = 16  # bytes; one hash over the whole message costs microseconds


class SignedRedisLayer(RedisPubSubChannelLayer):
    """Signs what is sent with a key made from SECRET_KEY. SECRET_KEY_FALLBACKS still verify what is received.

    The signature is checked before anything is parsed. It proves the sender, and hides nothing.
    """

    def serialize(self, message: dict[str, Any]) -> bytes:
        body = super().serialize(message)
        return _tag(_keys()[0], body) + body

    def deserialize(self, message: bytes) -> dict[str, Any]:
        tag, body = message[:_TAG], message[_TAG:]
        if any(hmac.compare_digest(tag, _tag(key, body)) for key in _keys()):
            return super().deserialize(body)
        metrics.MESSAGES_DROPPED.inc()
        _warn_once()
        return DROPPED


@functools.cache
def _warn_once() -> None:
    logger.warning("Dropped a message in Redis that is not signed with our SECRET_KEY: who else reaches Redis?")


def _tag(key: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_TAG, key=key).digest()


def _keys() -> tuple[bytes, ...]:
    return _derive(str(settings.SECRET_KEY), *map(str, settings.SECRET_KEY_FALLBACKS))


@functools.lru_cache(maxsize=8)
def _derive(*secrets: str) -> tuple[bytes, ...]:
    return tuple(
        hashlib.blake2b(secret.encode(), digest_size=32, person=b"channel layer").digest() for secret in secrets
    )
