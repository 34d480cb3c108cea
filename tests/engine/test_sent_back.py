"""What a server attaches to its messages and calls goes back to it, unchanged, and to nobody else."""

import json

import pytest

from agents_app.engine.providers.sent_back import origin
from tests.harness.fakes.fake_model_process import FakeModel

SIGNATURE = {"google": {"thought_signature": "c2lnbmF0dXJl+/=="}}
DETAILS = [
    {"type": "reasoning.text", "text": "I add", "format": "x-v1", "index": 0},
    {"type": "reasoning.text", "text": " them.", "signature": "c2ln", "format": "x-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "b3BhcXVl", "index": 1},
]


def event(delta: dict, finish: str | None = None) -> dict:
    return {"raw": f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n"}


def call(number: int, **more: object) -> dict:
    function = {"name": "calculate", "arguments": json.dumps({"expression": f"{number}+1"})}
    return {"index": number, "id": f"c{number}", "type": "function", "function": function} | more


CASES = {
    "Gemini": (
        [event({"tool_calls": [call(0, extra_content=SIGNATURE)]}), event({"tool_calls": [call(1)]})],
        {},
        [{"extra_content": SIGNATURE}, {}],
    ),
    "DeepSeek": (
        [
            event({"content": None, "reasoning_content": "I "}),
            event({"content": None, "reasoning_content": "add."}),
            event({"tool_calls": [call(0)]}),
        ],
        {"reasoning_content": "I add."},
        [{}],
    ),
    "no thought where the field must be": (
        [event({"reasoning_content": ""}), event({"tool_calls": [call(0)]})],
        {"reasoning_content": ""},
        [{}],
    ),
    "OpenRouter": (
        [
            *[event({"reasoning": detail.get("text", ""), "reasoning_details": [detail]}) for detail in DETAILS],
            event({"tool_calls": [call(0)]}),
        ],
        {
            "reasoning": "I add them.",
            "reasoning_details": [DETAILS[0] | {"text": "I add them.", "signature": "c2ln"}, DETAILS[2]],
        },
        [{}],
    ),
    "LiteLLM": (
        [event({"tool_calls": [call(0, provider_specific_fields={"thought_signature": "c2ln"})]})],
        {},
        [{"provider_specific_fields": {"thought_signature": "c2ln"}}],
    ),
    "nothing": ([event({"tool_calls": [call(0)]})], {}, [{}]),
}
STANDARD = {"role", "content", "tool_calls"}


def extras(message: dict) -> tuple[dict, list[dict]]:
    """Return the fields of a message and of its calls that no API of chat completions has."""
    calls = [{k: v for k, v in each.items() if k not in ("id", "type", "function")} for each in message["tool_calls"]]
    return {key: value for key, value in message.items() if key not in STANDARD}, calls


def turns_with_calls(request: dict) -> list[dict]:
    return [message for message in request["messages"] if message.get("tool_calls")]


@pytest.mark.both
@pytest.mark.parametrize("case", CASES)
def test_fields_go_back_in_the_run_and_in_later_ones(agent, open_chat, model, name, case):
    events, message, calls = CASES[case]
    who = agent([*events, {"finish": "tool_calls"}], [{"text": "ok"}], builtin_tools=["calculate"])
    chat = open_chat(name, after=0)
    for prompt in ("one", "two"):
        assert chat.ask(prompt, agent_name=who)["data"]["status"] == "completed"
    requests = model.requests(name)
    assert [len(turns_with_calls(request)) for request in requests] == [0, 1, 1, 2]
    for request in requests[1:]:
        assert all(extras(turn) == (message, calls) for turn in turns_with_calls(request))


def test_fields_go_back_after_an_approval_and_not_to_another_server(agent, open_chat, model, product, name):
    events, message, calls = CASES["Gemini"]
    turns = [event({"reasoning_content": "Hm."}), *events, {"finish": "tool_calls"}], [{"text": "ok"}]
    who = agent(*turns, builtin_tools=["calculate"], approval_required=["calculate"])
    chat = open_chat(name, after=0)
    chat.say("one", agent_name=who)
    for _ in calls:
        chat.send("approve", tool_call_id=chat.until("approval_required")["data"]["tool_call_id"], approved=True)
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    (turn,) = turns_with_calls(model.requests(name)[-1])
    assert extras(turn) == ({"reasoning_content": "Hm."}, calls)
    with FakeModel() as other:
        other.script(f"{name}-2", [[{"text": "ok"}]])
        product.add_agent(f"{name}-2", other.base_url)
        assert chat.ask("two", agent_name=f"{name}-2")["data"]["status"] == "completed"
        (turn,) = turns_with_calls(other.requests(f"{name}-2")[-1])
    assert extras(turn) == ({}, [{}, {}])
    assert message == {}


def test_a_message_gets_its_own_field_back(agent, open_chat, model, name):
    who = agent([event({"content": "ok", "extra_content": SIGNATURE}), {"finish": "stop"}])
    chat = open_chat(name, after=0)
    for prompt in ("one", "two"):
        chat.ask(prompt, agent_name=who)
    answers = [m for m in model.requests(name)[-1]["messages"] if m["role"] == "assistant"]
    assert answers == [{"role": "assistant", "content": "ok", "extra_content": SIGNATURE}]


def test_fields_have_a_size(agent, open_chat, name):
    big = {"data": "x" * 600_000}
    who = agent([event({"extra_content": big}), event({"extra_content": big}), {"text": "ok"}])
    chat = open_chat(name, after=0)
    assert chat.ask("one", agent_name=who)["data"]["status"] == "failed"
    assert chat.fold.of_type("error")[0]["data"]["code"] == "max_characters"


def test_an_origin_names_the_server_and_no_secret():
    assert origin("openai", "https://me:secret@host:8443/v1/") == "openai https://host:8443/v1"
    assert origin("local", "http://127.0.0.1:4711/v1") == origin("local", "http://127.0.0.1:4712/v1")
