"""When a stream is over: after the end of the answer, or when nothing of one comes for too long."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import pytest

from agents_app.engine.providers import close_models, open_model, shared_client
from agents_app.engine.providers.base import EndPart, ModelRequest, Part, TextPart, UsagePart
from agents_app.engine.spec import Message, ModelSpec, Parameters
from agents_app.exceptions import ModelUnavailable

BEAT = {"raw": ": beat\n\n"}
BEATS = [each for _ in range(1000) for each in (BEAT, {"sleep": 0.05})]
FOR_EVER = {"wait": "never"}


@pytest.fixture
def read(model, name, monkeypatch):
    """Let the model play a turn; the parts of it, and how many seconds it took."""
    monkeypatch.setattr(shared_client, "GRACE", 0.3)
    monkeypatch.setattr(shared_client, "CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(shared_client, "MAX_QUIET", 1.0)
    monkeypatch.setattr(shared_client, "MAX_WITHOUT_PARTS", 1.5)

    def play(*turn: dict, base_url: str = "") -> tuple[list[Part], float]:
        async def follow() -> tuple[list[Part], float]:
            spec = ModelSpec("openai", base_url or model.base_url, "", (), name, 8192)
            request = ModelRequest(name, "", [Message("user", "hi")], (), Parameters())
            parts: list[Part] = []
            opened = await open_model(spec)  # the first one imports the SDK
            began = time.monotonic()
            try:
                async for some in opened.stream(request):
                    parts += some
            except ModelUnavailable as error:
                assert error.code in ("model_timeout", "model_unreachable")
                if not any(isinstance(part, EndPart) for part in parts):
                    raise
            finally:
                await close_models()
            return parts, time.monotonic() - began

        model.script(name, [list(turn)])
        return asyncio.run(follow())

    return play


@pytest.mark.parametrize("rest", [[FOR_EVER], BEATS], ids=["silence", "heartbeats"])
def test_the_end_of_an_answer_is_the_end_after_a_short_grace(read, rest):
    parts, seconds = read({"text": "Yes", "chunk": 9}, {"finish": "stop"}, *rest)
    assert parts == [TextPart("Yes"), EndPart("stop")]
    assert seconds < 30, "the beats go on for 50"


def test_the_usage_may_come_within_the_grace(read):
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    late = [BEAT, {"sleep": 0.1}, {"raw": f"data: {usage}\n\n"}, FOR_EVER]
    parts, _ = read({"text": "Yes", "chunk": 9}, {"finish": "stop"}, *late)
    assert parts == [TextPart("Yes"), EndPart("stop"), UsagePart(3, 4, 0)]


def test_heartbeats_before_the_first_token_are_life(read, monkeypatch):
    monkeypatch.setattr(shared_client, "MAX_WITHOUT_PARTS", 60)
    parts, _ = read(*BEATS[:50], {"text": "Yes", "chunk": 9}, {"finish": "stop"})
    assert parts[:2] == [TextPart("Yes"), EndPart("stop")]


@pytest.mark.parametrize("turn", [BEATS, [{"text": "Ye"}, *BEATS], [{"text": "Ye"}, FOR_EVER], [FOR_EVER]])
def test_heartbeats_and_silence_are_not_life_for_ever(read, turn):
    with pytest.raises(ModelUnavailable):
        read(*turn)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = b'data: {"choices": [{"delta": {"content": "Ye"}}]}\n\n'


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n", b"%x\r\n%b\r\nzz\r\n" % (len(HELLO), HELLO), b"ffff\r\n" + HELLO, b"5;" + b"x" * 1000, b"5"],
    ids=["no size", "no size later", "less than its size", "no end of a size", "half a size"],
)
def test_a_broken_encoding_ends(read, body):
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:

        def serve() -> None:
            connection = stack.enter_context(listener.accept()[0])
            connection.recv(65536)
            connection.sendall(HEAD + body)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ModelUnavailable):
            read(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        thread.join(5)
