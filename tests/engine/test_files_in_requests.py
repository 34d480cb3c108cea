"""Files in requests: where they stand, and what models are known to accept."""

import asyncio
import base64
import dataclasses

import orjson
import pytest

from agents_app.engine.providers import accepts, anthropic_request, openai_files, request_body
from agents_app.engine.providers.anthropic_thinking import Abilities
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.providers.file_parts import IMAGE, LeastRecentlyUsed, RenderedFile, encode
from agents_app.engine.spec import FilePart, Message, ModelSpec, Parameters, ToolCall, result_parts
from tests.harness.fakes import anthropic_rules

PICTURE = FilePart("file-1", "image/png", "a.png", 4)
DATA = base64.b64encode(b"data").decode()


def rendered(api: str) -> RenderedFile:
    return RenderedFile(IMAGE, 5000, json=encode(api, IMAGE, "image/png", "a.png", b"data"))


def conversation(api: str, *, is_error: bool = False) -> ModelRequest:
    """A turn with two calls, of which the first returned a picture."""
    calls = tuple(ToolCall(f"call{number}", "camera", "{}") for number in (1, 2))
    messages = [
        Message("user", "Go"),
        Message("assistant", "", tool_calls=calls),
        Message("tool", "click", tool_call_id="call1", is_error=is_error, parts=result_parts("click", [PICTURE])),
        Message("tool", "clack", tool_call_id="call2"),
    ]
    return ModelRequest("m", "", messages, (), Parameters(max_tokens=100), {"file-1": rendered(api)})


def anthropic_messages(request: ModelRequest) -> list[dict]:
    content, _ = anthropic_request.body(request, Abilities())
    body = orjson.loads(content)
    anthropic_rules.check(body, anthropic_rules.FAMILIES["budget"], {}, anthropic_rules.VERSIONS[0])
    return body["messages"]


def test_a_tools_picture_follows_all_results_of_its_turn_for_openais_api():
    messages = list(openai_files.with_files(conversation("openai")))
    _, _, first, second, files = messages
    assert first == {"role": "tool", "tool_call_id": "call1", "content": "click"}
    assert second.content == "clack"
    assert orjson.loads(b"".join(request_body.encode_around(files)))["content"] == [
        {"type": "text", "text": "[Files that the tools returned:]"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
    ]


def test_a_tools_picture_is_in_its_result_for_anthropics_api():
    request = conversation("anthropic")
    request = dataclasses.replace(request, messages=[*request.messages, Message("user", "", parts=(PICTURE,))])
    *_, user = anthropic_messages(request)
    source = {"type": "base64", "media_type": "image/png", "data": DATA}
    picture = {"type": "image", "source": source}
    assert user["content"][0]["content"] == [{"type": "text", "text": "click"}, picture]
    assert user["content"][-1] == picture | {"cache_control": {"type": "ephemeral"}}
    (*_, failed) = anthropic_messages(conversation("anthropic", is_error=True))
    assert failed["content"][0]["content"] == "click"


def test_large_bodies_are_sent_in_pieces():
    async def sent(body: request_body.Body) -> list[bytes]:
        return [piece async for piece in body]

    pieces = [b"x" * 10, b"y" * 2_000_000, b"z"]
    body = request_body.body(pieces)
    slices = asyncio.run(sent(body))
    assert (b"".join(slices), body.size) == (b"".join(pieces), 2_000_011)
    assert max(map(len, slices)) <= 128 * 1024
    body.release()
    assert asyncio.run(sent(body)) == []
    assert request_body.body(pieces[::2]) == b"x" * 10 + b"z"


@pytest.mark.parametrize(
    ("kind", "base_url", "model", "kinds"),
    [
        ("openai", "https://api.openai.com/v1", "gpt-4o-mini", "image pdf"),
        ("openai", "https://api.openai.com/v1", "o3-mini", ""),
        ("openai", "https://api.openai.com/v1", "gpt-3.5-turbo", ""),
        ("openai", "https://openrouter.ai/api/v1", "anthropic/claude-sonnet-4.5", "image pdf"),
        ("openai", "http://localhost:11434/v1", "llava:13b", "image"),
        ("openai", "http://localhost:11434/v1", "gemma3:1b", ""),
        ("openai", "http://localhost:11434/v1", "gemma3:12b", "image"),
        ("openai", "http://localhost:8000/v1", "Qwen/Qwen2.5-VL-7B-Instruct", "image"),
        ("openai", "http://localhost:8000/v1", "Qwen/Qwen3-8B", ""),
        ("openai", "http://localhost:8000/v1", "meta-llama/Llama-3.2-11B-Vision-Instruct", "image"),
        ("openai", "https://api.mistral.ai/v1", "pixtral-12b-2409", "image"),
        ("anthropic", "", "claude-sonnet-4-5", "image pdf"),
        ("anthropic", "", "a-model-of-tomorrow", "image pdf"),
        ("anthropic", "", "claude-2.1", ""),
        ("anthropic", "https://api.deepseek.com/anthropic", "deepseek-chat", ""),
        ("local", "", "gpt-4o", ""),
    ],
)
def test_what_models_accept_by_their_names(kind, base_url, model, kinds):
    spec = ModelSpec(kind, base_url, "", (), model, 8192)
    assert accepts.accepted(spec, None) == {"text", *kinds.split()}


def test_what_is_set_by_hand_counts_as_far_as_the_api_has_a_format():
    spec = ModelSpec("anthropic", "", "", (), "claude-sonnet-4-5", 8192)
    assert accepts.accepted(spec, ["audio", "image"]) == {"text", "image"}
    assert accepts.accepted(spec, []) == {"text"}


@pytest.mark.parametrize(
    ("entry", "kinds"),
    [
        ({"architecture": {"input_modalities": ["text", "image", "file"]}}, {"image", "pdf"}),  # OpenRouter
        ({"capabilities": ["completion", "vision"]}, {"image"}),  # Ollama
        ({"capabilities": ["completion"]}, set()),
        ({"capabilities": {"vision": True, "completion_chat": True}}, {"image"}),  # Mistral
        ({"capabilities": {"completion_chat": True}}, None),
        ({"architecture": "x", "capabilities": 7}, None),
        (None, None),
    ],
)
def test_what_servers_say_that_models_accept(entry, kinds):
    assert accepts.of_entry(entry) == kinds


@pytest.mark.parametrize(
    ("status", "body", "refused", "is_remembered"),
    [
        (400, "llava is not a multimodal model: image", {"image"}, True),
        (500, "image input is not supported - hint: you may need to provide the mmproj", {"image"}, True),
        (422, "messages[0].content: invalid type: sequence, expected a string", {"image", "pdf"}, True),
        (404, "No endpoints found that support image input", {"image"}, True),
        (400, "Could not process image", {"image"}, False),
        (413, "Request Entity Too Large", {"image", "pdf"}, False),
        (400, "temperature is out of range", None, False),
        (401, "no image for you", None, False),
    ],
)
def test_refusals(status, body, refused, is_remembered):
    spec = ModelSpec("openai", f"http://refusing-{status}-{len(body)}/v1", "", (), "gpt-4o", 8192)
    by_hand = ["image", "pdf"]
    refusal = accepts.refusal(spec, spec.model, frozenset(by_hand), status, body)
    assert (refusal and refusal.kinds) == refused
    rest = {*by_hand} - (refused or set()) if is_remembered else {*by_hand}
    assert accepts.accepted(spec, by_hand) == {"text", *rest}


def test_least_recently_used_values_go_first():
    kept = LeastRecentlyUsed(100)
    for number in range(10):
        kept.add(number, str(number), 30)
        kept.get(0)
    kept.add("too large", "", 101)
    assert (kept.size, len(kept), kept.get(0), kept.get(9), kept.get(1)) == (90, 3, "0", "9", None)
