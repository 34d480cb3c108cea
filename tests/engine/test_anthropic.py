"""Agents on Anthropic's Messages API: what they are asked, what comes of it, and what they are told again."""

import json
import subprocess
import sys
import urllib.parse

import pytest

from tests.harness.chat import Chat
from tests.harness.crashable import Crashable, back_again, check_whole
from tests.harness.fakes.fake_anthropic import WRONG_KEY, FakeAnthropic
from tests.harness.paths import ROOT
from tests.harness.product import Product

KEY = "sk-ant-a-key-of-the-tests"
BUDGET = {"parameters": {"thinking_budget": 2000}}
CALCULATOR = {"builtin_tools": ["calculate"]}


@pytest.fixture(scope="session")
def claude():
    """The scripted server of Claude models, one for all tests."""
    with FakeAnthropic() as running:
        yield running


def add_agent(product: Product, base_url: str, name: str, *, key: str = KEY, provider: str = "", **fields: object):
    provider = provider or "claude" + urllib.parse.urlsplit(base_url).netloc.replace(":", "-")
    if product.request("GET", f"/v1/providers/{provider}")[0] == 404:
        created = {"name": provider, "kind": "anthropic", "base_url": base_url, "api_key": key}
        status, answer = product.request("POST", "/v1/providers", created | {"context_tokens": 200_000})
        assert status == 201, answer
    created = {"name": name, "provider": provider, "model": name} | fields
    status, answer = product.request("POST", "/v1/agents", created)
    assert status == 201, answer


@pytest.fixture
def claude_agent(product, claude, name):
    """Make an agent whose Claude plays the given turns; returns its name."""

    def make(*turns: list[dict], family: str = "budget", **fields: object) -> str:
        claude.script(name, list(turns), family)
        add_agent(product, claude.root, name, **fields)
        return name

    return make


@pytest.fixture
def ask(claude_agent, open_chat, name):
    """Let a Claude play some turns; the chat when its run has ended as expected."""

    def play(*turns: list[dict], status: str = "completed", **fields: object) -> Chat:
        who = claude_agent(*turns, **fields)
        chat = open_chat(name, after=0)
        end = chat.ask("do it", agent_name=who)
        assert end["data"]["status"] == status, [frame["data"] for frame in chat.fold.of_type("error")]
        return chat

    return play


def call(expression: str, **more: object) -> dict:
    return {"tool_call": {"name": "calculate", "arguments": {"expression": expression}, **more}}


def opaque(request: dict) -> list[str]:
    """The kinds of thinking blocks that a request tells, in order."""
    blocks = [block for message in request["messages"] for block in message["content"]]
    return [block["type"] for block in blocks if "thinking" in block["type"]]


def results(request: dict) -> list[dict]:
    blocks = [block for message in request["messages"] for block in message["content"]]
    return [block for block in blocks if block["type"] == "tool_result"]


def reasons(chat: Chat) -> list[str]:
    return [frame["data"]["reason"] for frame in chat.fold.of_type("retry")]


def failure(chat: Chat) -> tuple[str, str]:
    (error,) = chat.fold.of_type("error")
    return error["data"]["code"], error["data"]["message"]


# Answers


def test_an_answer_streams(ask, claude, name):
    chat = ask([{"text": "Good morning!", "delay": 0.02}], system_prompt="Be kind.")
    assert chat.fold.story() == [("final_answer", "Good morning!")]
    (request,) = claude.requests(name)
    assert request["headers"]["x-api-key"] == KEY
    assert request["headers"]["x-stainless-retry-count"] == "0"
    assert request["messages"] == [{"role": "user", "content": [{"type": "text", "text": "do it"}]}]
    assert request["fields"]["system"][0]["text"] == "Be kind."
    assert request["fields"]["stream"] is True
    assert "thinking" not in request["fields"]
    assert "tools" not in request["fields"]


def test_tokens_of_the_cache_count_as_input(ask):
    usage = {"input_tokens": 10, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 3000}
    usage |= {"output_tokens": 70, "output_tokens_details": {"thinking_tokens": 50}}
    chat = ask([{"reasoning": "hm"}, {"text": "yes"}, {"usage": usage}], **BUDGET)
    counted = chat.fold.frames[-1]["data"]["usage"]
    assert (counted["input_tokens"], counted["output_tokens"], counted["reasoning_tokens"]) == (3210, 70, 50)
    assert counted["requests"] == 1


def test_the_conversation_goes_on(ask, claude, name):
    chat = ask([{"text": "An answer."}])
    chat.ask("and now?", agent_name=name)
    second = claude.requests(name)[1]["messages"]
    assert [(m["role"], m["content"][0]["text"]) for m in second] == [
        ("user", "do it"),
        ("assistant", "An answer."),
        ("user", "and now?"),
    ]


def test_after_a_run_that_failed_the_conversation_goes_on(claude_agent, open_chat, name):
    who = claude_agent([{"only_first": 1, "do": [{"status": 400}]}, {"text": "ok"}])
    chat = open_chat(name, after=0)
    assert chat.ask("one", agent_name=who)["data"]["status"] == "failed"
    assert chat.ask("two", agent_name=who)["data"]["status"] == "completed"


def test_cancel_closes_the_connection(claude_agent, open_chat, claude, name):
    who = claude_agent([{"text": "half "}, {"wait": name}, {"text": "and whole"}])
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("half ")
    chat.send("interrupt")
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    claude.wait_for_abort(name)


# Thinking


@pytest.mark.parametrize("family", ["budget", "both", "adaptive", "always"])
def test_thoughts_stream_as_thoughts(ask, family):
    chat = ask([{"reasoning": "Let me see.", "delay": 0.01}, {"text": "Done."}], family=family, **BUDGET)
    assert chat.fold.story() == [("thought", "Let me see."), ("final_answer", "Done.")]


ADAPTIVE = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("family", "parameters", "thinking", "effort", "sampling", "max_tokens"),
    [
        ("budget", {}, None, None, {}, None),
        ("budget", {"temperature": 1.5, "top_p": 0.5}, None, None, {"temperature": 1.0}, None),
        ("budget", {"top_p": 0.5, "max_tokens": 100}, None, None, {"top_p": 0.5}, 100),
        ("budget", {"thinking_budget": 2000, "max_tokens": 100, "temperature": 0.5},
         {"type": "enabled", "budget_tokens": 2000}, None, {}, 2100),
        ("budget", {"thinking_budget": 7}, {"type": "enabled", "budget_tokens": 1024}, None, {}, None),
        ("budget", {"thinking_budget": 90_000}, {"type": "enabled", "budget_tokens": 62_976}, None, {}, 64_000),
        ("budget", {"reasoning_effort": "low"}, {"type": "enabled", "budget_tokens": 2048}, None, {}, None),
        ("budget", {"reasoning_effort": "none", "temperature": 0.5},
         {"type": "disabled"}, None, {"temperature": 0.5}, None),
        ("both", {"temperature": 0.5}, None, None, {"temperature": 0.5}, None),
        ("both", {"reasoning_effort": "xhigh"}, ADAPTIVE, "high", {}, None),
        ("both", {"thinking_budget": 2000}, {"type": "enabled", "budget_tokens": 2000}, None, {}, None),
        ("adaptive", {"temperature": 0.2, "max_tokens": 512}, ADAPTIVE, None, {}, 512 + 32_768),
        ("adaptive", {"thinking_budget": 2000}, ADAPTIVE, None, {}, None),
        ("adaptive", {"reasoning_effort": "minimal"}, ADAPTIVE, "low", {}, None),
        ("adaptive", {"reasoning_effort": "xhigh"}, ADAPTIVE, "xhigh", {}, None),
        ("adaptive", {"reasoning_effort": "none", "max_tokens": 512}, {"type": "between_tools"}, None, {}, 512),
        ("always", {"reasoning_effort": "none"}, ADAPTIVE, "low", {}, None),
        ("always", {"thinking_budget": 0}, ADAPTIVE, "low", {}, None),
        ("unlisted", {"temperature": 0.5}, None, None, {"temperature": 0.5}, None),
        ("unlisted", {"reasoning_effort": "high"}, ADAPTIVE, "high", {}, None),
        ("unlisted", {"thinking_budget": 2000}, {"type": "enabled", "budget_tokens": 2000}, None, {}, None),
    ],
)  # fmt: skip
def test_a_model_is_asked_to_think_as_it_can(
    ask, claude, name, family, parameters, thinking, effort, sampling, max_tokens
):
    ask([{"text": "ok"}], family=family, parameters=parameters)
    (request,) = claude.requests(name)
    fields = request["fields"]
    assert fields.get("thinking") == thinking
    assert fields.get("output_config", {}).get("effort") == effort
    assert {n: v for n, v in fields.items() if n in ("temperature", "top_p")} == sampling
    assert max_tokens is None or fields["max_tokens"] == max_tokens


# Tools


def test_a_call_and_its_arguments_stream(ask, claude, name):
    chat = ask([{"text": "I shall count."}, call("6 * 7")], [{"text": "It is 42."}], **CALCULATOR)
    assert chat.fold.story() == [
        ("thought", "I shall count."),
        ("tool_use", '{"expression":"6 * 7"}'),
        ("tool_result", "42"),
        ("final_answer", "It is 42."),
    ]
    first, second = claude.requests(name)
    (tool,) = first["fields"]["tools"]
    assert (tool["name"], tool["input_schema"]["type"]) == ("calculate", "object")
    output = second["messages"][1:]
    assert [block["type"] for block in output[0]["content"]] == ["text", "tool_use"]
    assert output[0]["content"][1] | {"id": 0} == {
        "type": "tool_use", "id": 0, "name": "calculate", "input": {"expression": "6 * 7"},
    }  # fmt: skip
    assert results(second)[0]["content"] == "42"


def test_parallel_calls_are_answered_together_and_in_order(ask, claude, name):
    turns = [[call("1 + 1"), call("1 / 0"), call("3 + 3"), {"tool_call": {"name": "no_such_tool"}}], [{"text": "ok"}]]
    ask(*turns, **CALCULATOR)
    output = claude.requests(name)[1]["messages"]
    assert [message["role"] for message in output] == ["user", "assistant", "user"]
    calls = [block["id"] for block in output[1]["content"]]
    answers = output[2]["content"]
    assert [answer["tool_use_id"] for answer in answers] == calls
    assert [answer.get("is_error", False) for answer in answers] == [False, True, False, True]
    assert (answers[0]["content"], answers[2]["content"]) == ("2", "6")


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "look"}}, {"type": "tool", "name": "look"}),
    ],
)
@pytest.mark.parametrize("family", ["budget", "adaptive"])
def test_a_model_that_must_call_a_tool_does_not_think_first(claude_agent, claude, product, name, family, choice, sent):
    who = claude_agent(
        [{"tool_call": {"name": "look", "arguments": {}}}], [{"text": "A cat."}], family=family, **BUDGET
    )
    tool = {"type": "function", "function": {"name": "look"}}
    body = {"model": who, "tools": [tool], "tool_choice": choice, "parallel_tool_calls": False}
    messages = [{"role": "user", "content": "Look."}]
    status, first = product.request("POST", "/v1/chat/completions", body | {"messages": messages})
    assert status == 200, first
    message = first["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "A cat."}
    del body["tool_choice"]
    status, second = product.request("POST", "/v1/chat/completions", body | {"messages": [*messages, message, result]})
    assert (status, second["choices"][0]["message"]["content"]) == (200, "A cat.")
    forced, free = (request["fields"] for request in claude.requests(name))
    one = {"disable_parallel_tool_use": True}
    assert (forced["tool_choice"], forced.get("thinking")) == (sent | one, None)
    assert free["tool_choice"] == {"type": "auto"} | one


def test_a_call_with_broken_arguments_is_sent_as_one_without(ask, claude, name):
    ask([{"tool_call": {"name": "calculate", "arguments": '{"expr'}}], [{"text": "ok"}], **CALCULATOR)
    assert claude.requests(name)[1]["messages"][1]["content"][0]["input"] == {}


@pytest.mark.parametrize("family", ["budget", "both", "adaptive", "always", "unlisted"])
def test_thoughts_go_back_unchanged_while_tools_are_called(ask, claude, name, family):
    """The server checks every signature, and that all that came before it is the same."""
    chat = ask(
        [{"reasoning": "First I think."}, {"redacted": "a secret"}, {"text": "So:"}, call("1 + 1"), call("2 + 2")],
        [{"redacted": "another"}, {"reasoning": "Second."}, call("3 + 3")],
        [{"text": "Done."}],
        family=family, **CALCULATOR, **BUDGET,
    )  # fmt: skip
    assert [text for kind, text in chat.fold.story() if kind == "thought"] == ["First I think.", "So:", "Second."]
    requests = claude.requests(name)
    assert [request["status"] for request in requests] == [200, 200, 200]
    assert opaque(requests[2]) == ["thinking", "redacted_thinking", "redacted_thinking", "thinking"]


def test_an_empty_text_among_the_blocks_is_left_out(ask, claude, name):
    turns = [[{"reasoning": "hm"}, {"text": "\n\n"}, call("1 + 1")], [{"text": "ok"}]]
    chat = ask(*turns, **CALCULATOR, **BUDGET)
    assert opaque(claude.requests(name)[1]) == ["thinking"]
    assert chat.fold.story()[-1] == ("final_answer", "ok")


def test_the_next_run_does_not_get_the_thoughts_of_the_last(ask, claude, name):
    turns = [[{"reasoning": "hm"}, call("1 + 1")], [{"text": "ok"}]]
    chat = ask(*turns, family="adaptive", **CALCULATOR)
    assert chat.ask("again", agent_name=name)["data"]["status"] == "completed"
    requests = claude.requests(name)
    assert [request["status"] for request in requests] == [200] * 4
    assert [len(opaque(request)) for request in requests] == [0, 1, 0, 1]


def test_thoughts_that_are_not_taken_back_are_left_out(product, open_chat, claude, name):
    """What is told of the history shrinks during the run, and the thoughts were bound to it."""
    claude.script(name, [[{"reasoning": "hm"}, call("1+" * 1800 + "1")], [{"text": "ok"}]], "adaptive")
    created = {"name": name, "kind": "anthropic", "base_url": claude.root, "api_key": KEY, "context_tokens": 2000}
    assert product.request("POST", "/v1/providers", created)[0] == 201
    add_agent(product, claude.root, name, provider=name, compaction="off", **CALCULATOR)
    earlier = f"{name}-earlier"
    claude.script(earlier, [[{"text": "An answer. " * 60}]], "adaptive")
    add_agent(product, claude.root, earlier, provider=name)
    chat = open_chat(name, after=0)
    for number in range(3):
        chat.ask(f"question {number}", agent_name=earlier)
    assert chat.ask("do it", agent_name=name)["data"]["status"] == "completed"
    requests = claude.requests(name)
    assert [request["status"] for request in requests] == [200, 400, 200]
    assert len(requests[0]["messages"]) > len(requests[2]["messages"]) - 2
    assert [len(opaque(request)) for request in requests] == [0, 1, 0]
    assert not chat.fold.of_type("retry"), "nobody needs to know"


@pytest.mark.slow
def test_thoughts_are_kept_through_a_kill(tmp_path, claude, open_chat, name):
    """The server checks that nothing that was said before a thought is another after the restart."""
    calls = [{"tool_call": {"name": "note", "arguments": {"line": f"{name} one"}}}, call("1 / 0"), call("2 + 2")]
    never = {"only_first": 1, "do": [{"wait": f"{name}-never"}]}
    turns = [
        [{"reasoning": "First I think."}, {"redacted": "a secret"}, {"text": "So:"}, *calls],
        [{"reasoning": "Then I wait."}, {"text": "half "}, never, {"text": "of it"}],
    ]
    claude.script(name, turns, "adaptive")
    with Crashable(tmp_path) as product:
        add_agent(product, claude.root, name, builtin_tools=["note", "calculate"])
        chat = open_chat(name, on=product)
        chat.say("hi", agent_name=name)
        chat.until_text("half ")
        product.kill()
        product.start()
        chat = back_again(chat, product, name)
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        assert check_whole(product, name, chat).story()[-1] == ("final_answer", "half of it")
        chat.close()
        assert product.effects(name) == [f"{name} one"]
    requests = claude.requests(name)
    assert [request["status"] for request in requests] == [200, 200, 200]
    assert requests[2]["messages"] == requests[1]["messages"]
    assert opaque(requests[2]) == ["thinking", "redacted_thinking"]


# Marks for the cache


def marked(request: dict) -> list[str]:
    fields = request["fields"]
    response = [f"tool {t['name']}" for t in fields.get("tools", []) if "cache_control" in t]
    response += ["system" for block in fields.get("system", []) if "cache_control" in block]
    for number, message in enumerate(request["messages"]):
        response += [f"message {number}" for block in message["content"] if "cache_control" in block]
    return response


def test_the_prompt_the_tools_and_the_last_turn_are_cached(ask, claude, name):
    turns = [[call("1 + 1"), call("2 + 2")], [{"text": "ok"}]]
    ask(*turns, system_prompt="Be kind.", builtin_tools=["current_time", "calculate"])
    first, second = claude.requests(name)
    assert marked(first) == ["tool calculate", "system", "message 0"]
    assert marked(second) == ["tool calculate", "system", "message 2"]


def test_a_single_question_is_not_cached(ask, claude, name):
    ask([{"text": "ok"}])
    assert marked(claude.requests(name)[0]) == []


# Agents of several providers in one session


def test_a_session_goes_from_one_provider_to_another(product, claude, model, open_chat, name):
    other, third = f"{name}-other", f"{name}-third"
    odd = {"name": "files.read", "arguments": {"expression": "1"}, "id": "functions.read:0"}
    model.script(other, [[{"tool_call": odd}], [{"tool_call": odd}], [{"text": "From the other."}]])
    product.add_agent(other, model.base_url, **CALCULATOR)
    turns = [[{"reasoning": "hm"}, call("1 + 1")], [{"text": "From Claude."}]]
    for who in (name, third):
        claude.script(who, turns, "adaptive")
        add_agent(product, claude.root, who, **CALCULATOR)
    chat = open_chat(name, after=0)
    for who in (other, name, third, other, name):
        assert chat.ask(f"for {who}", agent_name=who)["data"]["status"] == "completed", chat.fold.of_type("error")
    last = claude.requests(name)[-1]["messages"]
    values = [b["text"] for m in last for b in m["content"] if m["role"] == "assistant" and b["type"] == "text"]
    assert values == ["From the other.", "From Claude.", "From Claude.", "From the other."]
    names = {b["name"] for m in last for b in m["content"] if b["type"] == "tool_use"}
    assert names == {"files_read", "calculate"}
    output = [message["role"] for message in model.requests(other)[-1]["messages"]]
    assert "tool" in output


# Faults


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 529, "message": "Overloaded", "headers": {"retry-after": "0"}}, "answered 529: Overloaded"),
        ({"status": 500, "message": "Internal", "headers": {"retry-after": "0"}}, "answered 500: Internal"),
        ({"status": 429, "message": "Slow down", "headers": {"retry-after": "0"}}, "answered 429: Slow down"),
        ({"error": "overloaded_error", "message": "Overloaded"}, "ended the stream with an error: Overloaded"),
        ({"error": "rate_limit_error", "message": "Slow down"}, "ended the stream with an error: Slow down"),
        ({"error": "api_error", "message": "Internal"}, "ended the stream with an error: Internal"),
        ({"cut": True}, "connection to the model's server failed"),
        ({"end": True}, "cut off"),
        ({"raw": "data: {broken\n\n"}, "invalid chunk"),
    ],
)
def test_a_passing_fault_is_a_visible_retry(ask, fault, reason):
    begun = [] if "status" in fault else [{"reasoning": "hm"}, {"text": "half of "}]
    chat = ask([{"only_first": 1, "do": [*begun, fault]}, {"text": "the answer"}], **BUDGET)
    assert reason in reasons(chat)[0]
    assert chat.fold.story()[-1] == ("final_answer", "the answer")


def test_a_rate_limit_is_waited_for_as_long_as_it_says(ask):
    fault = {"status": 429, "headers": {"retry-after": "1"}}
    chat = ask([{"only_first": 1, "do": [fault]}, {"text": "the answer"}])
    assert chat.fold.of_type("retry")[0]["data"]["delay_ms"] == 1000


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ([{"status": 401}], "model_key_refused", "refused the API key"),
        ([{"status": 403}], "model_key_refused", "refused the API key"),
        ([{"status": 404, "message": "model: x"}], "model_refused", "(404): model: x"),
        ([{"status": 400, "message": "credit balance is low"}], "model_refused", "(400): credit balance is low"),
        ([{"status": 400, "message": f"bad key {KEY}"}], "model_refused", "bad key ***"),
        ([{"status": 200, "body": "<html>It works!</html>"}], "model_bad_answer", "base_url"),
        ([{"status": 400, "message": "prompt is too long: 9 tokens > 8 maximum"}], "context_length_exceeded", "9 tok"),
        ([{"status": 413, "message": "too large"}], "context_length_exceeded", "too large"),
        ([{"text": "h"}, {"error": "invalid_request_error", "message": "No."}], "model_error", "No."),
        ([{"error": "authentication_error"}], "model_key_refused", "refused the API key"),
        ([{"text": "Well, "}, {"finish": "refusal", "details": {"explanation": "Not that."}}],
         "content_filter", "declined to answer: Not that."),
        ([{"finish": "refusal"}], "content_filter", "declined to answer."),
        ([{"reasoning": "hm"}, {"finish": "max_tokens"}], "max_tokens", "used all its tokens"),
    ],
)  # fmt: skip
def test_a_fault_that_stays_ends_the_run(ask, fault, code, message):
    chat = ask(fault, status="failed", **BUDGET)
    values = failure(chat)
    assert values[0] == code
    assert message in values[1]


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded", "stop_sequence", "end_turn"])
def test_an_answer_that_was_stopped_is_an_answer(ask, reason):
    chat = ask([{"text": "An answer up to"}, {"finish": reason}])
    assert chat.fold.story() == [("final_answer", "An answer up to")]


def test_an_answer_has_the_form_of_a_schema_and_no_other_form(claude_agent, claude, product, name):
    who = claude_agent([{"text": '{"answer": 42}'}])
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}

    def complete(**form) -> tuple[int, dict]:
        messages = [{"role": "user", "content": "Hello"}]
        body = {"model": who, "messages": messages, "response_format": form}
        return product.request("POST", "/v1/chat/completions", body)

    status, answer = complete(type="json_schema", json_schema={"name": "reply", "schema": schema})
    assert (status, answer["choices"][0]["message"]["content"]) == (200, '{"answer": 42}')
    (request,) = claude.requests(name)
    output = request["fields"]["output_config"]["format"]
    assert output == {"type": "json_schema", "schema": schema | {"additionalProperties": False}}
    for form in ({"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "any"}}):
        status, answer = complete(**form)
        assert (status, answer["error"]["param"]) == (400, "response_format"), answer
    assert len(claude.requests(name)) == 1


def test_a_history_that_is_too_long_loses_its_oldest(claude_agent, open_chat, claude, name):
    too_long = {"only_first": 1, "do": [{"status": 400, "message": "prompt is too long: 9 tokens > 8 maximum"}]}
    who = claude_agent([{"text": "ok"}])
    chat = open_chat(name, after=0)
    chat.ask("first", agent_name=who)
    claude.script(name, [[too_long, {"text": "ok"}]])
    assert chat.ask("second", agent_name=who)["data"]["status"] == "completed"
    assert "too long" in reasons(chat)[0]


def test_a_wrong_key_is_reported(claude, product, open_chat, name):
    claude.script(name, [[{"text": "ok"}]])
    add_agent(product, claude.root, name, key=WRONG_KEY, provider=f"{name}-wrong")
    chat = open_chat(name, after=0)
    chat.ask("hi", agent_name=name)
    assert failure(chat)[0] == "model_key_refused"


# Providers


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_a_provider_is_tried_and_its_address_may_end_in_the_version(product, claude, open_chat, name, path):
    claude.script(name, [[{"text": "ok"}]])
    add_agent(product, claude.root + path, name, provider=name)
    status, answer = product.request("POST", f"/v1/providers/{name}/check")
    assert (status, answer["ok"]) == (200, True), answer
    assert name in answer["models"]
    assert open_chat(name).ask("hi", agent_name=name)["data"]["status"] == "completed"


def test_a_wrong_key_is_found_by_the_check(product, claude, name):
    created = {"name": name, "kind": "anthropic", "base_url": claude.root, "api_key": WRONG_KEY}
    assert product.request("POST", "/v1/providers", created)[0] == 201
    answer = product.request("POST", f"/v1/providers/{name}/check")[1]
    assert (answer["ok"], answer["message"]) == (False, "The server refused the API key.")


@pytest.mark.slow
def test_a_key_in_the_environment_makes_a_provider(tmp_path):
    with Product(tmp_path / "var", ANTHROPIC_API_KEY=KEY) as product:
        provider = product.request("GET", "/v1/providers/anthropic")[1]
    assert (provider["kind"], provider["has_api_key"], provider["base_url"]) == ("anthropic", True, "")
    assert provider["default_model"].startswith("claude-")


def test_the_sdk_is_not_loaded_where_nobody_uses_it():
    """It takes seconds, and memory."""
    code = (
        "import sys; from agents_app.engine import providers; providers.prepare(); "
        "from agents_app.engine.providers import anthropic_request; print('anthropic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.lower()) is False


# Turns that end early or odd


@pytest.mark.parametrize("arguments", ["", '{"expression": "2+'], ids=["no arguments", "half of them"])
def test_a_call_that_may_be_cut_is_not_made(ask, claude, name, arguments):
    cut = {"tool_call": {"name": "calculate", "arguments": arguments}}
    chat = ask([call("1+1"), cut, {"finish": "max_tokens"}], [{"text": "I see."}], **CALCULATOR)
    contents = results(claude.requests(name)[-1])
    assert next(result["content"] for result in contents) == "2"
    assert contents[1]["content"].startswith("This call was not made: ")
    assert [frame["data"]["code"] for frame in chat.fold.of_type("warning")] == ["calls_cut_off"]


def test_a_turn_without_an_answer_is_tried_once_more(ask, claude, name):
    chat = ask([{"finish": "end_turn"}], status="failed")
    assert failure(chat)[0] == "no_answer"
    assert len(claude.requests(name)) == 2


@pytest.mark.parametrize(
    "raw",
    [
        'event: error\ndata: {"type": "error", "error": {"type": "invalid_request_error", "message": "a\\ud83db"}}\n\n',
        'data: {"error": {"message": "a\\ud83db", "code": 400}}\n\n',
    ],
    ids=["event", "no event"],
)
def test_an_error_in_the_stream_has_whole_characters(ask, raw):
    assert failure(ask([{"text": "Ye"}, {"raw": raw}], status="failed"))[1].endswith("a\ufffdb.")
