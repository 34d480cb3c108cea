"""How much of a session a model is told depends on what its server says of its window."""

import asyncio
import gzip

import openai
import pytest

from agents_app.engine.providers import model_windows, shared_client
from agents_app.models import Provider
from agents_app.runs import windows
from tests.harness.wait import until

LONG = "a long story " * 5000  # some 20,000 tokens: more than the 8,192 of a provider of which nothing is known


def test_the_window_is_what_the_server_of_the_model_says(agent, open_chat, model, name):
    who = agent([{"text": "Yes."}])
    model.script(name, [[{"text": "Yes."}]], max_model_len=100_000)
    chat = open_chat(name)
    chat.ask(LONG, agent_name=who)

    def gets_the_whole() -> bool:
        chat.ask("Do you remember?", agent_name=who)
        return any(message["content"] == LONG for message in model.requests(name)[-1]["messages"])

    until(gets_the_whole)  # the server is asked beside the first request


@pytest.mark.parametrize(
    ("listed", "window"),
    [
        ({"data": [{"id": "m", "context_length": 131072}]}, 131072),  # OpenRouter
        ({"data": [{"id": "other", "max_model_len": 1000}, {"id": "m", "max_model_len": 32768}]}, 32768),  # vLLM
        ({"data": [{"id": "m", "context_window": 8192, "owned_by": "Meta"}]}, 8192),  # Groq
        ({"data": [{"id": "m", "max_context_length": 40960}]}, 40960),  # LM Studio, Mistral
        ({"data": [{"id": "m", "meta": {"n_ctx": 16384, "n_ctx_train": 131072}}]}, 16384),  # llama.cpp
        ([{"id": "m", "context_length": 65536}], 65536),  # Together
        ({"data": [{"id": "m"}]}, None),
        ({"data": [{"id": "m", "context_length": "many"}]}, None),
        ({"data": [{"id": "m", "context_length": 3}, None, "m"]}, None),
        ({"data": [{"id": "m", "context_length": 10**30}]}, None),
        ({"data": {"m": 1}}, None),
        (None, None),
    ],
)
def test_lists_of_models(listed, window):
    assert model_windows.of_list(listed, "m") == window


@pytest.mark.parametrize(
    ("shown", "window"),
    [
        ({"model_info": {"llama.context_length": 131072}}, 131072),
        ({"parameters": "stop x\nnum_ctx    4096", "model_info": {"llama.context_length": 131072}}, 4096),
        ({"model_info": []}, None),
        ([], None),
    ],
)
def test_ollama_says_it_elsewhere(shown, window):
    assert model_windows.of_ollama(shown) == window


@pytest.mark.parametrize(
    ("kind", "base_url", "model", "least", "most"),
    [
        ("openai", "https://api.openai.com/v1", "gpt-4o", 100_000, 200_000),
        ("anthropic", "", "claude-sonnet-4-5", 200_000, 1_000_000),
        ("openai", "http://127.0.0.1:9/v1", "gpt-4o", 777, 777),  # one's own server of that name: its row
        ("openai", "https://api.openai.com/v1", "no-such-model", 777, 777),
        ("local", "", "gpt-4o", 777, 777),
    ],
)
def test_the_public_table_comes_first_and_the_row_last(kind, base_url, model, least, most):
    provider = Provider(kind=kind, base_url=base_url, context_tokens=777)
    assert least <= windows.context_tokens(provider, model) <= most


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_list_without_end_is_not_read_to_its_end(encoding):
    piece = b" " * 2**20 if encoding == "identity" else gzip.compress(bytes(2**27))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {encoding}\r\n"
    sent = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{head}Content-Length: {len(piece) * 64}\r\n\r\n".encode())
        try:
            for _ in range(64):
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        except ConnectionError:
            return
        finally:
            writer.close()

    async def learn() -> None:
        async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            http_client = shared_client.http_client(openai.DefaultAioHttpClient)
            async with openai.AsyncOpenAI(base_url=url, api_key="x", http_client=http_client, max_retries=0) as client:
                await model_windows.learn(client, url, "m")

    asyncio.run(learn())
    assert sent < 20 * 2**20
    if encoding == "gzip":
        assert sent < len(piece) * 64
