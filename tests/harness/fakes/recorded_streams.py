"""Streams in the shapes of the servers' documentation, and the steps that they are.

Sources: the references of OpenAI, Azure, Gemini, DeepSeek, Mistral, vLLM, llama.cpp, Ollama, LM Studio, OpenRouter and
Anthropic. Ids and texts are ours.
"""

import json
from typing import Any

Step = tuple[str, str]  # type, and content; of calls: their arguments

CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return CHUNK | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | more


def call(arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": more.pop("name", None), "arguments": arguments}
    return more | {"function": {key: value for key, value in function.items() if value is not None}}


def sse(*events: Any, end: str = "\n\n", done: bool = True, before: str = "data: ", ascii: bool = False) -> bytes:
    texts = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=ascii) for each in events]
    return "".join(f"{before}{text}{end}" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
STOP = chunk({}, "stop")
TEXT = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Grüß"}), chunk({"content": " Gott 👋"}), STOP]
TEXT_STEPS = [("final_answer", "Grüß Gott 👋")]
CALL_STEPS = [("tool_use", 'get_weather {"city":"Wien"}')]
TWO_CALLS = [
    chunk({"role": "assistant", "content": None, "tool_calls": [call("", index=0, id="call_a", name="get_weather")]}),
    chunk({"tool_calls": [call('{"city"', index=0)]}),
    chunk({"tool_calls": [call(':"Wien"}', index=0)]}),
    chunk({"tool_calls": [call("", index=1, id="call_b", name="get_time")]}),
    chunk({"tool_calls": [call("{}", index=1)]}),
    chunk({}, "tool_calls"),
    CHUNK | {"choices": [], "usage": USAGE},
]
TWO_CALLS_STEPS = [*CALL_STEPS, ("tool_use", "get_time {}")]
WHOLE_CALL = call('{"city":"Wien"}', id="call_a", type="function", name="get_weather")
ANSWER = {"role": "assistant", "content": "Grüß Gott 👋", "refusal": None}

STREAMS: dict[str, tuple[bytes, list[Step]]] = {
    "OpenAI, text": (sse(*TEXT, CHUNK | {"choices": [], "usage": USAGE}), TEXT_STEPS),
    "OpenAI, two calls": (sse(*TWO_CALLS), TWO_CALLS_STEPS),
    "OpenAI, refusal": (
        sse(
            chunk({"role": "assistant", "refusal": ""}), chunk({"refusal": "No, "}), chunk({"refusal": "sorry."}), STOP
        ),
        [("final_answer", "No, sorry.")],
    ),
    "OpenAI, no stream": (
        json.dumps(CHUNK | {"choices": [{"index": 0, "message": ANSWER, "finish_reason": "stop"}]}, indent=2).encode(),
        TEXT_STEPS,
    ),
    "Azure, with the filters' first chunk": (
        sse({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, *TEXT),
        TEXT_STEPS,
    ),
    "Gemini, thought signature": (
        sse(
            chunk(
                {
                    "role": "assistant",
                    "tool_calls": [WHOLE_CALL | {"extra_content": {"google": {"thought_signature": "c2ln"}}}],
                }
            ),
            chunk({"role": "assistant"}, "stop"),
        ),
        CALL_STEPS,
    ),
    "Gemini, error in an array": (
        json.dumps([{"error": {"code": 400, "message": "Bad part.", "status": "INVALID_ARGUMENT"}}], indent=2).encode(),
        [("error", "Bad part.")],
    ),
    "DeepSeek, reasoning and a call": (
        sse(
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            chunk({"content": None, "reasoning_content": "Wien"}),
            chunk({"content": None, "reasoning_content": "?"}),
            chunk({"tool_calls": [call("", index=0, id="call_0_x", type="function", name="get_weather")]}),
            chunk({"tool_calls": [call('{"city":"Wien"}', index=0)]}),
            chunk({"content": "", "reasoning_content": None}, "tool_calls", usage=USAGE),
            end="\n\n: keep-alive\n\n",
        ),
        [("thought", "Wien?"), *CALL_STEPS],
    ),
    "Mistral, parts with thoughts": (
        sse(
            chunk(
                {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}
            ),
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "?"}], "closed": True}]}),
            chunk({"content": [{"type": "text", "text": "Grüß"}, {"type": "reference", "reference_ids": [1]}]}),
            chunk({"content": " Gott 👋"}, "stop", usage=USAGE),
        ),
        [("thought", "Hm?"), *TEXT_STEPS],
    ),
    "Mistral, a whole call": (
        sse(chunk({"content": "", "tool_calls": [WHOLE_CALL | {"index": 0}]}, "tool_calls", usage=USAGE)),
        CALL_STEPS,
    ),
    "vLLM, name in every piece": (
        sse(
            chunk({"role": "assistant", "content": ""}),
            chunk({"tool_calls": [call('{"city"', index=0, id="tool-1", type="function", name="get_weather")]}),
            chunk({"tool_calls": [call(':"Wien"}', index=0, name="get_weather")]}),
            chunk({"content": ""}, "tool_calls", stop_reason=None),
        ),
        CALL_STEPS,
    ),
    "vLLM, error object": (
        sse(
            chunk({"role": "assistant", "content": "Gr"}),
            {"object": "error", "message": "Too hot.", "type": "BadRequestError", "param": None, "code": 400},
        ),
        [("error", "Too hot.")],
    ),
    "llama.cpp, half a character in each piece": (
        sse(chunk({"content": "Grüß Gott \ud83d"}), chunk({"content": "\udc4b"}), STOP, ascii=True),
        TEXT_STEPS,
    ),
    "llama.cpp, error field": (
        sse(chunk({"content": "Gr"}), done=False)
        + sse({"code": 400, "message": "No slot.", "type": "invalid_request_error"}, before="error: ", done=False),
        [("error", "No slot.")],
    ),
    "Ollama, calls without an index": (
        sse(chunk({"role": "assistant", "content": "", "tool_calls": [WHOLE_CALL]}), chunk({"content": ""}, "stop")),
        CALL_STEPS,
    ),
    "Ollama, thoughts in `reasoning`": (
        sse(chunk({"content": "", "reasoning": "Hm"}), chunk({"content": "", "reasoning": "?"}), *TEXT),
        [("thought", "Hm?"), *TEXT_STEPS],
    ),
    "LM Studio, only the closing tag": (
        sse(chunk({"content": "Hm?\n</th"}), chunk({"content": "ink>\n\nGrüß"}), chunk({"content": " Gott 👋"}), STOP),
        [("thought", "Hm?\n"), *TEXT_STEPS],
    ),
    "LM Studio, CRLF and an error event": (
        sse(chunk({"content": "Gr"}), end="\r\n\r\n", done=False)
        + b'event: error\r\ndata: {"error":{"message":"The model has crashed.","code":400}}\r\n\r\n',
        [("error", "The model has crashed.")],
    ),
    "OpenRouter, comments and reasoning details": (
        b": OPENROUTER PROCESSING\n\n"
        + sse(
            chunk(
                {"content": "", "reasoning": "Hm?", "reasoning_details": [{"type": "reasoning.text", "text": "Hm?"}]}
            ),
            *TEXT,
            CHUNK | {"choices": [{"delta": {"content": ""}, "finish_reason": None}], "usage": USAGE},
        ),
        [("thought", "Hm?"), *TEXT_STEPS],
    ),
    "OpenRouter, error beside a choice": (
        sse(chunk({"content": ""}, "error", error={"code": 402, "message": "Out of credits."})),
        [("error", "Out of credits.")],
    ),
    "a gateway, a byte-order mark, CR, names and joined lines": (
        b"\xef\xbb\xbfretry: 10\rid: 1\revent: message\r"
        + "".join(f"data: {line}\r" for line in json.dumps(TEXT[2], indent=1, ensure_ascii=False).split("\n")).encode()
        + b"\rx-unknown: 1\rfield\r"
        + sse(STOP, end="\r\r"),
        [("final_answer", " Gott 👋")],
    ),
    "a server without blank lines": (sse(*TEXT, end="\n"), TEXT_STEPS),
}
