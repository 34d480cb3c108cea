"""Whoever reaches Redis is not heard: a message that this deployment has not signed is dropped and counted."""

import asyncio
import json
import uuid

import msgpack
import pytest
from channels.layers import channel_layers
from django.core.cache import caches
from django.test import override_settings

from agents_app import live
from agents_app.doctor.live_path import redis_server
from agents_app.live import Frame, layer
from agents_app.live.redis_layer import SignedRedisLayer
from agents_app.observability import metrics
from tests.harness.redis import Redis


@pytest.fixture(scope="module")
def redis():
    with Redis() as running:
        yield running


@pytest.fixture
def signed(redis: Redis):
    """Let this process use a real Redis as a web process does."""
    before = channel_layers["default"]
    channel_layers.set("default", SignedRedisLayer(hosts=[redis.url]))
    yield redis
    channel_layers.set("default", before)


def dropped() -> float:
    return metrics.MESSAGES_DROPPED._value.get()


def frame(text: str, seq: int = 1) -> Frame:
    return Frame(seq, seq, False, json.dumps({"text": text}))


def batch(session_id: str, text: str) -> dict:
    return {"type": "batch", "body": json.dumps([[session_id, 1, 1, False, text]]).encode()}


def test_a_forged_batch_is_dropped_and_counted_and_a_true_one_is_shown(signed):
    session_id = uuid.uuid4().hex
    before = dropped()

    async def scenario() -> list[str]:
        async with live.hub().subscribe(session_id) as subscription:
            with signed.client() as client:
                name = f"asgi__group__{layer.group_of(session_id)}"
                plain = msgpack.packb(batch(session_id, "forged"))
                other = SignedRedisLayer(hosts=[])
                with override_settings(SECRET_KEY="another key" * 5):
                    wrong = other.serialize(batch(session_id, "forged"))
                true = other.serialize(batch(session_id, "forged"))
                altered = true[:-1] + bytes([true[-1] ^ 1])
                for message in (plain, wrong, altered, b"", b"\xc1" * 40):
                    assert client.publish(name, message) == 1
            await live.publish([(session_id, [frame("true")])])
            async with asyncio.timeout(20):
                return [each.text for each in await subscription.next()]

    assert asyncio.run(scenario()) == [frame("true").text]
    assert dropped() - before == 5


def test_forged_questions_and_answers_are_not_heard(signed):
    question = uuid.uuid4().hex
    heard = []

    async def scenario() -> list:
        questions = live.hub().questions
        await questions.handle(question, lambda argument: heard.append(argument) or ["mine"])
        with signed.client() as client:
            body = {"question": question, "argument": "forged", "id": "1", "reply_to": "x"}
            message = {"type": "question", "body": json.dumps(body).encode()}
            assert client.publish(f"asgi__group__{layer.ALL_HUBS}", msgpack.packb(message)) == 1
        return await questions.ask(question, "true", wait=1.0)

    assert asyncio.run(scenario()) == ["mine"]
    assert heard == ["true"]


def test_a_fallback_key_is_accepted_when_reading(settings):
    message = batch("s", "hello")
    settings.SECRET_KEY = "old" * 20
    channel_layer = SignedRedisLayer(hosts=[])
    signed = channel_layer.serialize(message)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, ["old" * 20]
    assert channel_layer.deserialize(signed) == message
    settings.SECRET_KEY_FALLBACKS = []
    assert channel_layer.deserialize(signed)["type"] == "dropped"


def test_the_cache_in_redis_is_never_unpickled(redis, settings):
    backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "KEY_PREFIX": "aintandem"}
    in_redis = backend | {"LOCATION": redis.url, "OPTIONS": settings.REDIS_CACHE_OPTIONS}
    settings.CACHES = {**settings.CACHES, "redis": in_redis}
    cache = caches["redis"]
    cache.set("words", {"a": [1]}, 60)
    assert cache.get("words") == {"a": [1]}
    cache.add("count", 0)
    assert cache.incr("count", 2) == cache.get("count") == 2
    with redis.client() as client:
        keys = client.keys("aintandem*words")
        assert client.get(keys[0]) == b'{"a":[1]}'
        client.set(keys[0], b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ValueError, match="unexpected character"):
        cache.get("words")


def test_the_doctor_warns_of_a_redis_without_a_password(redis, settings):
    settings.EMBEDDED = False
    settings.REDIS_URL = redis.url
    assert [finding.state for finding in redis_server()] == ["ok"]
    with redis.client() as client:
        client.config_set("requirepass", "")
        settings.REDIS_URL = f"redis://127.0.0.1:{redis.port}/0"
        findings = list(redis_server())
        client.config_set("requirepass", redis.password)
    assert [finding.state for finding in findings] == ["warning"]
    assert "without a password" in findings[0].message
    assert "requirepass" in findings[0].remedy
