"""/v1/chat/completions and /v1/models, as the official client sees them; and the stream byte by byte."""

import asyncio
import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import jsonschema
import openai
import psutil
import pytest
from asgiref.sync import async_to_sync
from drf_spectacular.validation import validate_schema

from tests.harness.chat import Chat
from tests.harness.product import Product

HELLO = [{"role": "user", "content": "Hello"}]
SUM = {"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}


@pytest.fixture
def client(product: Product) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{product.url}/v1", api_key="any", timeout=30) as client:
        yield client


class Raw:
    """An HTTP exchange, read as it comes."""

    def __init__(self, product: Product, path: str, body: object = None, method: str = "POST", **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=30)
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, data, {"Content-Type": "application/json"} | named)

    def answer(self) -> http.client.HTTPResponse:
        return self.connection.getresponse()

    def close(self) -> None:
        """Go away, whatever is on the wire."""
        if self.connection.sock:
            self.connection.sock.shutdown(2)
        self.connection.close()


@pytest.fixture
def raw(product: Product) -> Iterator[Callable[..., Raw]]:
    opened: list[Raw] = []

    def ask(path: str, body: object = None, on: Product | None = None, **options: str) -> Raw:
        opened.append(Raw(on or product, path, body, **options))
        return opened[-1]

    yield ask
    for exchange in opened:
        exchange.connection.close()


def refused(raw: Callable[..., Raw], body: object, path: str = "/v1/chat/completions", **options: str):
    """Status, error and headers of a request that is not done."""
    answer = raw(path, body, **options).answer()
    payload = json.loads(answer.read())
    assert set(payload) == {"error"}, payload
    assert {"message", "type", "param", "code"} <= set(payload["error"])
    return answer.status, payload["error"], answer.headers


def run_of(product: Product, name: str) -> dict:
    """The only run of this agent."""
    _, listed = product.request("GET", f"/v1/runs?agent={name}")
    (run,) = listed["data"]
    return run


def ended(open_chat: Callable[..., Chat], session: str) -> dict:
    """The data of the end of the session's next run to end."""
    chat = open_chat(session, after=0)
    return chat.until("reasoning_complete")["data"]


# Whole answers


@pytest.mark.both
def test_an_agent_answers_as_a_model(client, agent):
    who = agent([{"reasoning": "They greet me."}, {"text": "Hello, you."}])
    answer = client.chat.completions.create(model=who, messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == who
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == "Hello, you."
    assert choice.message.reasoning_content == "They greet me."
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"


def test_usage_is_what_the_provider_counted(client, agent):
    counted = {"prompt_tokens": 30, "completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 5}}
    who = agent([{"usage": counted}, SUM], [{"usage": counted}, {"text": "42"}], builtin_tools=["calculate"])
    usage = client.chat.completions.create(model=who, messages=HELLO).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (60, 40, 100)
    assert usage.completion_tokens_details.reasoning_tokens == 10


@pytest.mark.both
def test_an_answer_names_its_run_and_its_session(client, agent, product):
    who = agent([{"text": "ok"}])
    headers = client.chat.completions.with_raw_response.create(model=who, messages=HELLO).headers
    run = run_of(product, who)
    assert headers["x-run-id"] == run["id"]
    assert headers["x-session-id"] == run["session_id"]
    assert headers["x-request-id"]


def test_the_async_client_is_answered_too(product, agent):
    who = agent([{"text": "Hello, you."}])

    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{product.url}/v1", api_key="any") as client:
            whole = await client.chat.completions.create(model=who, messages=HELLO)
            stream = await client.chat.completions.create(model=who, messages=HELLO, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return whole.choices[0].message.content, "".join(pieces)

    assert async_to_sync(ask)() == ("Hello, you.", "Hello, you.")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_never_began_says_why(client, agent, reason, streamed):
    who = agent([{"reasoning": "hm"}, {"finish": reason}])
    answer = client.chat.completions.create(model=who, messages=HELLO, stream=streamed)
    if streamed:
        *_, last = answer
        assert last.choices[0].finish_reason == reason
    else:
        assert answer.choices[0].finish_reason == reason
        assert answer.choices[0].message.content == ""


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_cut_short_says_so(client, agent, reason):
    who = agent([{"text": "It goes on and"}, {"finish": reason}])
    (choice,) = client.chat.completions.create(model=who, messages=HELLO, max_tokens=4).choices
    assert (choice.message.content, choice.finish_reason) == ("It goes on and", reason)
    *_, last = client.chat.completions.create(model=who, messages=HELLO, stream=True)
    assert last.choices[0].finish_reason == reason
    answer = client.responses.create(model=who, input="Hello")
    assert (answer.status, answer.output_text) == ("incomplete", "It goes on and")


# What the model is told


def test_the_messages_of_the_request_are_the_conversation(client, agent, model):
    who = agent([{"text": "ok"}], system_prompt="You are a parrot.")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "text", "text": "Three"}, {"type": "text", "text": "Four"}]},
    ]
    client.chat.completions.create(model=who, messages=messages)
    client.chat.completions.create(model=who, messages=HELLO)
    first, second = model.requests(who)
    assert first["messages"] == [
        {"role": "system", "content": "You are a parrot.\n\nBe brief.\n\nBe kind."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three\nFour"},
    ]
    assert second["messages"] == [{"role": "system", "content": "You are a parrot."}, *HELLO]


def test_a_tool_round_of_another_server_is_sent_as_it_was(client, agent, model):
    who = agent([{"text": "ok"}])
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}}
    messages = [
        {"role": "user", "content": "How is it there?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "assistant", "content": "Sunny."},
        *HELLO,
    ]
    client.chat.completions.create(model=who, messages=messages)
    assert model.requests(who)[0]["messages"] == messages


def test_the_request_says_how_the_model_answers(client, agent, model):
    parameters = {"temperature": 0.9, "top_p": 0.8, "max_tokens": 100}
    who = agent([{"text": "ok"}], parameters=parameters)
    client.chat.completions.create(
        model=who, messages=HELLO, temperature=0, max_completion_tokens=7, max_tokens=9, stop="END"
    )
    client.chat.completions.create(model=who, messages=HELLO, stop=["a", "b"], top_p=0.5)
    first, second = (request["fields"] for request in model.requests(who))
    names = ("temperature", "top_p", "max_tokens", "stop")
    assert [first[name] for name in names] == [0, 0.8, 7, ["END"]]
    assert [second[name] for name in names] == [0.9, 0.5, 100, ["a", "b"]]


SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}


def test_the_request_says_what_form_the_answer_has_and_how_much_is_thought_about_it(client, agent, model):
    who = agent(
        [SUM], [{"text": '{"answer": 42}'}], builtin_tools=["calculate"], parameters={"reasoning_effort": "low"}
    )
    reply = {"name": "reply", "schema": SCHEMA, "strict": True}
    by_schema = {"type": "json_schema", "json_schema": reply}
    client.chat.completions.create(model=who, messages=HELLO, response_format=by_schema, reasoning_effort="high")
    any_json, any_text = {"type": "json_object"}, {"type": "text"}
    client.chat.completions.create(model=who, messages=HELLO, response_format=any_json, reasoning_effort="none")
    client.chat.completions.create(model=who, messages=HELLO, response_format=any_text)
    text = {"format": {"type": "json_schema", **reply}}
    payload = client.responses.create(model=who, input="Hello", text=text, reasoning={"effort": "minimal"})
    fields = [request["fields"] for request in model.requests(who)][::2]
    assert [(each.get("response_format"), each["reasoning_effort"]) for each in fields] == [
        (by_schema, "high"),
        (any_json, "none"),
        (None, "low"),
        (by_schema, "minimal"),
    ]
    assert payload.text.format.to_dict() == text["format"]
    assert payload.reasoning.effort == "minimal"


def test_fields_that_we_do_not_use_are_accepted(client, agent):
    who = agent([{"text": "ok"}])
    answer = client.chat.completions.create(
        model=who,
        messages=[{"role": "user", "content": "Hello", "name": "ann"}],
        n=1,
        seed=7,
        user="ann",
        logit_bias={"50256": -100},
        logprobs=False,
        presence_penalty=0.1,
        store=True,
        tools=[],
        service_tier="auto",
        metadata={"ticket": "7"},
        extra_body={"something_new": {"deep": [1]}},
    )
    assert answer.choices[0].message.content == "ok"


def test_a_clients_tools_pass_where_it_says_that_none_may_be_called(client, agent):
    who = agent([{"text": "ok"}])
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    answer = client.chat.completions.create(model=who, messages=HELLO, tools=tools, tool_choice="none")
    assert answer.choices[0].message.content == "ok"


# Sessions


@pytest.mark.both
@pytest.mark.parametrize("way", ["header", "metadata"])
def test_in_a_session_only_the_last_message_is_new(client, agent, model, open_chat, name, way):
    who = agent([{"text": "Noted."}])
    named = {"extra_headers": {"X-Session-Id": name}} if way == "header" else {"metadata": {"session_id": name}}
    client.chat.completions.create(model=who, messages=[{"role": "user", "content": "I am Ann."}], **named)
    lying = [{"role": "user", "content": "I am Bob."}, {"role": "assistant", "content": "Hi, Bob."}]
    requests = {"role": "user", "content": "Who am I?"}
    client.chat.completions.create(model=who, messages=[*lying, requests], **named)
    assert model.requests(who)[1]["messages"] == [
        {"role": "user", "content": "I am Ann."},
        {"role": "assistant", "content": "Noted."},
        requests,
    ]
    chat = open_chat(name, after=0)
    assert chat.until("reasoning_complete")["seq"] < chat.until("reasoning_complete")["seq"]


@pytest.mark.both
def test_a_session_that_began_stateless_goes_on_with_all_of_it(client, agent, model):
    who = agent([{"text": "Noted."}])
    payload = [{"role": "user", "content": "I am Ann."}, {"role": "assistant", "content": "Hi."}, *HELLO]
    first = client.chat.completions.with_raw_response.create(model=who, messages=payload)
    requests = [{"role": "user", "content": "Who am I?"}]
    session = {"X-Session-Id": first.headers["x-session-id"]}
    client.chat.completions.create(model=who, messages=requests, extra_headers=session)
    assert model.requests(who)[1]["messages"] == [*payload, {"role": "assistant", "content": "Noted."}, *requests]


@pytest.mark.both
def test_stateless_requests_do_not_wait_for_each_other(client, agent, model, name):
    who = agent([{"only_first": 1, "do": [{"wait": f"{name}-a"}]}, {"text": "ok"}])
    slow = threading.Thread(target=lambda: client.chat.completions.create(model=who, messages=HELLO))
    slow.start()
    model.wait_for_request(who)
    assert client.chat.completions.create(model=who, messages=HELLO).choices[0].message.content == "ok"
    model.release(f"{name}-a")
    slow.join(20)


# Streams


def read_chunks(answer: http.client.HTTPResponse) -> list[str]:
    text = answer.read().decode()
    assert text.endswith("\n\n")
    return text[:-2].split("\n\n")


def test_a_stream_byte_by_byte(raw, agent, product):
    who = agent([{"reasoning": "Hm.", "chunk": 9}, {"text": "Grüße", "chunk": 9}])
    answer = raw("/v1/chat/completions", {"model": who, "messages": HELLO, "stream": True}).answer()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["X-Run-Id"] and answer.headers["X-Session-Id"] and answer.headers["X-Request-Id"]
    run = run_of(product, who)
    lines = read_chunks(answer)
    created = json.loads(lines[0].removeprefix("data: "))["created"]
    head = (
        f'data: {{"id":"chatcmpl-{uuid.UUID(run["id"]).hex}","object":"chat.completion.chunk","created":{created},'
        f'"model":"{who}","system_fingerprint":null,"choices":[{{"index":0,"delta":'
    )
    end = ',"logprobs":null,"finish_reason":null}]}'
    assert lines == [
        head + '{"role":"assistant","content":""}' + end,
        head + '{"reasoning_content":"Hm."}' + end,
        head + '{"content":"Grüße"}' + end,
        head + '{},"logprobs":null,"finish_reason":"stop"}]}',
        "data: [DONE]",
    ]


def test_usage_comes_last_and_only_if_asked_for(client, agent):
    who = agent([{"text": "one two three"}])
    plain = list(client.chat.completions.create(model=who, messages=HELLO, stream=True))
    assert all(len(chunk.choices) == 1 and "usage" not in chunk.model_fields_set for chunk in plain)
    with_usage = {"stream_options": {"include_usage": True}}
    *before, last = client.chat.completions.create(model=who, messages=HELLO, stream=True, **with_usage)
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in before)
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (1, 3, 4)


def test_every_chunk_of_a_stream_is_of_one_answer(client, agent):
    who = agent([{"reasoning": "Let me think about it."}, {"text": "A long answer. " * 20, "delay": 0.002}])
    chunks = list(client.chat.completions.create(model=who, messages=HELLO, stream=True))
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    first, *middle, last = (chunk.choices[0] for chunk in chunks)
    assert first.delta.role == "assistant"
    assert all(choice.delta.role is None and choice.finish_reason is None for choice in middle)
    assert last.finish_reason == "stop" and last.delta.model_fields_set == set()
    assert "".join(choice.delta.content or "" for choice in middle) == "A long answer. " * 20
    thoughts = (getattr(choice.delta, "reasoning_content", None) or "" for choice in middle)
    assert "".join(thoughts) == "Let me think about it."


@pytest.mark.both
def test_words_come_as_the_model_sends_them(client, agent, model, name):
    who = agent([{"text": "One. "}, {"wait": name}, {"text": "Two."}])
    stream = client.chat.completions.create(model=who, messages=HELLO, stream=True)
    text = ""
    for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        if text == "One. ":
            model.release(name)  # only now: what follows cannot have been waited for
    assert text == "One. Two."


def test_tools_that_the_server_runs_are_nobody_elses_business(client, agent):
    who = agent([{"text": "I shall calculate."}, SUM], [{"text": "It is 42."}], builtin_tools=["calculate"])
    (choice,) = client.chat.completions.create(model=who, messages=HELLO).choices
    assert (choice.message.content, choice.message.tool_calls) == ("It is 42.", None)
    assert choice.message.reasoning_content == "I shall calculate."
    assert choice.finish_reason == "stop"


def test_what_turns_out_to_be_a_thought_stays_where_it_was_sent(client, agent, model, name):
    first = [{"text": "I shall calculate."}, {"wait": name}, SUM]
    who = agent(first, [{"text": "It is 42."}], builtin_tools=["calculate"])
    choices = []
    for chunk in client.chat.completions.create(model=who, messages=HELLO, stream=True):
        choices.append(chunk.choices[0])
        if "".join(choice.delta.content or "" for choice in choices) == "I shall calculate.":
            model.release(name)
    assert "".join(choice.delta.content or "" for choice in choices) == "I shall calculate.\n\nIt is 42."
    assert not any(choice.delta.tool_calls for choice in choices)
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]


@pytest.mark.both
def test_an_answer_that_begins_again_goes_on_where_it_was_cut(client, agent, model, name):
    cut = [{"text": "Hello wor"}, {"wait": name}, {"cut": True}]
    who = agent([{"only_first": 1, "do": cut}, {"text": "Hello world."}])
    assert streamed_through_a_cut(client, model, who, name, "Hello wor") == "Hello world."


def test_an_answer_that_begins_again_in_other_words_follows_whole(client, agent, model, name):
    cut = [{"text": "Hello wor"}, {"wait": name}, {"cut": True}]
    who = agent([{"only_first": 1, "do": cut}, {"text": "Good morning."}])
    assert streamed_through_a_cut(client, model, who, name, "Hello wor") == "Hello wor\n\nGood morning."


def streamed_through_a_cut(client, model, who, gate, before: str) -> str:
    text = ""
    for chunk in client.chat.completions.create(model=who, messages=HELLO, stream=True):
        text += chunk.choices[0].delta.content or ""
        if text == before:
            model.release(gate)
    return text


@pytest.mark.slow
def test_a_silent_stream_pings(raw, agent, model, name):
    who = agent([{"wait": name}, {"text": "ok"}])
    sent_at = time.monotonic()
    answer = raw("/v1/chat/completions", {"model": who, "messages": HELLO, "stream": True}).answer()
    begun = answer.readline() + answer.readline()
    assert b'"role":"assistant"' in begun and begun.endswith(b"\n\n")
    assert time.monotonic() - sent_at < 28, "a status was waited for too long"
    assert answer.readline() + answer.readline() == b": ping\n\n"
    model.release(name)
    assert b'"content":"ok"' in answer.read()


@pytest.mark.slow
def test_a_stream_begins_though_the_session_is_busy_with_another(client, agent, open_chat, model, name):
    who = agent([{"only_first": 1, "do": [{"text": "A word"}, {"wait": name}]}, {"text": "ok"}])
    chat = open_chat(name, after=0)
    chat.say("Go on", agent_name=who)
    chat.until("reasoning_delta")
    session = {"X-Session-Id": name}
    stream = client.chat.completions.create(model=who, messages=HELLO, stream=True, extra_headers=session)
    next(stream)
    chat.send("ping", timestamp=1)
    chat.until("pong")
    assert not chat.fold.of_type("reasoning_complete"), "it began only when the other had ended"
    model.release(name)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "ok"


@pytest.mark.slow
def test_many_open_streams_take_no_threads(own_product, model, name):
    model.script(name, [[{"text": "One"}, {"wait": name}, {"text": "Two"}]])
    own_product.add_agent(name, model.base_url)
    server = psutil.Process(own_product.pid)

    async def hold() -> tuple[int, int]:
        async with openai.AsyncOpenAI(base_url=f"{own_product.url}/v1", api_key="any") as client:

            async def open_one():
                stream = await client.chat.completions.create(model=name, messages=HELLO, stream=True)
                await anext(stream)
                await anext(stream)
                return stream

            held = [await open_one()]
            before = server.num_threads()
            held += [await open_one() for _ in range(40)]
            for _ in range(300):  # a thread may live on for a moment
                if (during := server.num_threads()) < before + 10:
                    break
                await asyncio.sleep(0.1)
            model.release(name)
            for stream in held:
                async for _ in stream:
                    pass
        return before, during

    before, during = async_to_sync(hold)()
    assert during < before + 10, f"{before} threads became {during}"


# A client that goes away


@pytest.mark.both
def test_a_client_that_goes_away_cancels_what_nobody_else_knows_of(client, agent, model, product, name):
    who = agent([{"text": "One"}, {"wait": name}, {"text": "Two"}])
    with client.chat.completions.create(model=who, messages=HELLO, stream=True) as stream:
        next(stream)
        next(stream)
    model.wait_for_abort(who)
    assert run_of(product, who)["status"] in ("cancelled", "running")


@pytest.mark.both
def test_a_client_that_hangs_up_before_the_first_word_cancels_it(raw, agent, model, name, open_chat, product):
    who = agent([{"wait": name}, {"text": "Two"}])
    requests = raw("/v1/chat/completions", {"model": who, "messages": HELLO})
    model.wait_for_request(who)
    requests.close()
    model.wait_for_abort(who)
    assert ended(open_chat, run_of(product, who)["session_id"])["status"] == "cancelled"


@pytest.mark.both
@pytest.mark.parametrize("streamed", [False, True])
def test_a_sessions_run_goes_on_without_the_client(raw, agent, model, name, open_chat, streamed):
    who = agent([{"text": "One"}, {"wait": name}, {"text": "Two"}])
    requests = raw("/v1/chat/completions", {"model": who, "messages": HELLO, "stream": streamed}, X_Session_Id=name)
    model.wait_for_request(who)
    requests.close()
    chat = open_chat(name, after=0)
    chat.until_text("One")
    model.release(name)
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert chat.fold.story() == [("final_answer", "OneTwo")]


@pytest.mark.both
def test_a_run_with_a_key_waits_for_the_clients_next_try(raw, agent, model, name, product):
    who = agent([{"wait": name}, {"text": "ok"}])
    body = {"model": who, "messages": HELLO}
    first = raw("/v1/chat/completions", body, Idempotency_Key=name)
    model.wait_for_request(who)
    first.close()
    second = raw("/v1/chat/completions", body, Idempotency_Key=name)
    model.release(name)
    assert json.loads(second.answer().read())["choices"][0]["message"]["content"] == "ok"
    assert len(model.requests(who)) == 1


# Once for each key


@pytest.mark.both
def test_the_same_key_is_the_same_run_streamed_or_not(client, agent, model, name):
    who = agent([{"reasoning": "Hm."}, {"text": "ok"}])
    key = {"extra_headers": {"Idempotency-Key": name}}
    first = client.chat.completions.create(model=who, messages=HELLO, **key)
    again = client.chat.completions.create(model=who, messages=HELLO, **key)
    chunks = list(client.chat.completions.create(model=who, messages=HELLO, stream=True, **key))
    assert again == first
    assert {chunk.id for chunk in chunks} == {first.id}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "ok"
    assert len(model.requests(who)) == 1


@pytest.mark.both
def test_a_key_cannot_be_used_for_another_conversation(client, raw, agent, name):
    who = agent([{"text": "ok"}])
    client.chat.completions.create(model=who, messages=HELLO, extra_headers={"Idempotency-Key": name})
    other = {"model": who, "messages": [{"role": "system", "content": "Be rude."}, *HELLO]}
    status, error, headers = refused(raw, other, Idempotency_Key=name)
    assert (status, error["code"], headers["x-should-retry"]) == (409, "idempotency_key_reused", "false")


# Failures


def _deep(levels: int) -> dict:
    """An object in an object in an object …"""
    schema: dict = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


BAD = {
    "no model": ({"model": None}, "model", "missing_required_parameter"),
    "a model that is a number": ({"model": 7}, "model", "invalid_type"),
    "no messages": ({"messages": None}, "messages", "missing_required_parameter"),
    "an empty conversation": ({"messages": []}, "messages", "invalid_value"),
    "messages that are a text": ({"messages": "Hello"}, "messages", "invalid_type"),
    "a message that is a text": ({"messages": ["Hello"]}, "messages[0]", "invalid_type"),
    "a role of nobody": ({"messages": [{"role": "ghost", "content": "x"}]}, "messages[0].role", "invalid_value"),
    "a role that is a list": ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role", "invalid_value"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    "blank content": ({"messages": [{"role": "user", "content": " "}]}, "messages[0]", "invalid_value"),
    "a number as content": ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "invalid_type"),
    "a NUL": ({"messages": [{"role": "user", "content": "a\0"}]}, "messages[0].content", "invalid_value"),
    "too long": (
        {"messages": [{"role": "user", "content": "x" * 100_001}]},
        "messages[0]",
        "string_above_max_length",
    ),
    "an image of no bytes": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
        "messages[0].content[0].image_url.url",
        "invalid_request",
    ),
    "a part of no type": (
        {"messages": [{"role": "user", "content": [{"type": {}}]}]},
        "messages[0].content[0].type",
        "invalid_type",
    ),
    "the assistant last": ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, "messages", "invalid_value"),
    "a result of no call": (
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}, *HELLO]},
        "messages[0].tool_call_id",
        "invalid_value",
    ),
    "a call without a result": (
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
                *HELLO,
            ]
        },
        "messages[1]",
        "invalid_value",
    ),
    "two answers": ({"n": 2}, "n", "unsupported_value"),
    "tools": ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type", "unsupported_value"),
    "functions": ({"functions": [{"name": "f"}]}, "functions", "unsupported_value"),
    "a hot temperature": ({"temperature": 3}, "temperature", "invalid_value"),
    "a temperature in words": ({"temperature": "hot"}, "temperature", "invalid_type"),
    "a temperature that is true": ({"temperature": True}, "temperature", "invalid_type"),
    "a format of nobody": ({"response_format": {"type": "xml"}}, "response_format.type", "unsupported_value"),
    "a format in a word": ({"response_format": "json"}, "response_format", "invalid_type"),
    "a schema of no name": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format.json_schema.name",
        "missing_required_parameter",
    ),
    "a schema of an odd name": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}},
        "response_format.json_schema.name",
        "invalid_value",
    ),
    "a NUL in a schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"title": "\0"}}}},
        "response_format.json_schema.schema",
        "invalid_value",
    ),
    "a deep schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": _deep(400)}}},
        "response_format.json_schema.schema",
        "invalid_value",
    ),
    "too much effort": ({"reasoning_effort": "maximal"}, "reasoning_effort", "invalid_value"),
    "a number as effort": ({"reasoning_effort": [1]}, "reasoning_effort", "invalid_value"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    "half a token": ({"max_completion_tokens": 1.5}, "max_completion_tokens", "invalid_type"),
    "many stops": ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
    "a stop that is a number": ({"stop": [1]}, "stop", "invalid_type"),
    "a stream of words": ({"stream": "yes"}, "stream", "invalid_type"),
    "options of no stream": ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    "odd options": ({"stream": True, "stream_options": []}, "stream_options", "invalid_type"),
    "metadata in a list": ({"metadata": []}, "metadata", "invalid_type"),
    "a bad session": ({"metadata": {"session_id": "a b"}}, "metadata.session_id", "invalid_value"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_names_the_field(raw, agent, product, what):
    who = agent([{"text": "ok"}])
    change, param, code = BAD[what]
    status, error, _ = refused(raw, {"model": who, "messages": HELLO} | change)
    assert (status, error["type"], error["param"], error["code"]) == (400, "invalid_request_error", param, code)
    assert error["message"].startswith(f"'{param}' ")
    assert product.request("GET", f"/v1/runs?agent={who}")[1]["data"] == []


def test_a_bad_session_header_is_named(raw, agent):
    who = agent([{"text": "ok"}])
    status, error, _ = refused(raw, {"model": who, "messages": HELLO}, X_Session_Id="a b")
    assert (status, error["param"]) == (400, "X-Session-Id")


@pytest.mark.parametrize("body", ["{", "[]", '"text"', "[" * 100_000])
def test_what_is_no_object_is_a_400(raw, body):
    status, error, _ = refused(raw, body)
    assert (status, error["type"]) == (400, "invalid_request_error")


def test_manners_are_those_of_the_other_endpoints(raw, agent):
    who = agent([{"text": "ok"}])
    body = {"model": who, "messages": HELLO}
    assert refused(raw, body, Origin="https://evil.example")[1]["code"] == "foreign_origin"
    assert refused(raw, "a=b", Content_Type="application/x-www-form-urlencoded")[0] == 415
    assert refused(raw, body | {"user": "x" * 20 * 1024 * 1024})[0] == 413
    status, error, headers = refused(raw, None, method="GET")
    assert (status, error["code"], headers["x-should-retry"]) == (405, "method_not_allowed", "false")
    with_slash = raw("/v1/chat/completions/", body).answer()
    assert with_slash.status == 200


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_before_the_first_byte_is_a_status_and_is_not_tried_again(client, agent, product, streamed):
    who = agent([{"status": 400, "body": {"error": {"message": "I do not like it.", "code": "odd"}}}])
    with pytest.raises(openai.InternalServerError, match="I do not like it") as caught:
        client.chat.completions.create(model=who, messages=HELLO, stream=streamed)
    assert caught.value.response.headers["x-should-retry"] == "false"
    run = run_of(product, who)
    assert caught.value.response.headers["x-run-id"] == run["id"]
    assert caught.value.code == "model_refused"


def test_a_conversation_that_is_too_long_is_the_clients_fault(client, agent):
    refusal = {"error": {"message": "maximum context length exceeded", "code": "context_length_exceeded"}}
    who = agent([{"status": 400, "body": refusal}])
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=who, messages=HELLO)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.both
@pytest.mark.slow
def test_a_failure_after_the_first_byte_is_an_event_of_the_stream(client, raw, agent):
    who = agent([{"text": "I was about to"}, {"wait": "never"}], timeout=5)
    meanwhile = raw("/v1/chat/completions", {"model": who, "messages": HELLO, "stream": True})
    text = ""
    with pytest.raises(openai.APIError, match="longer than its 5 seconds") as caught:
        for chunk in client.chat.completions.create(model=who, messages=HELLO, stream=True):
            text += chunk.choices[0].delta.content or ""
    assert (text, caught.value.code) == ("I was about to", "timeout")
    *_, error, done = read_chunks(meanwhile.answer())
    assert set(json.loads(error.removeprefix("data: "))) == {"error"}
    assert done == "data: [DONE]"


@pytest.mark.both
def test_a_run_that_somebody_else_stops_says_so(client, agent, product):
    who = agent([{"text": "I go on"}, {"wait": "never"}])
    with pytest.raises(openai.APIError) as caught:
        for chunk in client.chat.completions.create(model=who, messages=HELLO, stream=True):
            if chunk.choices[0].delta.content:
                product.request("POST", f"/v1/runs/{run_of(product, who)['id']}/cancel")
    assert caught.value.code == "run_cancelled"


@pytest.mark.slow
def test_a_server_that_stops_cuts_the_stream_so_that_it_does_not_look_whole(own_product, model, name):
    model.script(name, [[{"text": "I go on"}, {"wait": "never"}]])
    own_product.add_agent(name, model.base_url)
    with (
        openai.OpenAI(base_url=f"{own_product.url}/v1", api_key="any") as client,
        pytest.raises(openai.APIConnectionError),
    ):
        for chunk in client.chat.completions.create(model=name, messages=HELLO, stream=True):
            if chunk.choices[0].delta.content:
                own_product.terminate()
    assert "Traceback" not in own_product.logged(), own_product.logged()[-3000:]


# Models


@pytest.mark.both
def test_models_are_the_enabled_agents(client, agent, product):
    who = agent([{"text": "ok"}])
    listed = {each.id: each for each in client.models.list()}
    assert listed[who] == client.models.retrieve(who)
    assert listed[who].object == "model"
    assert listed[who].created > 1_700_000_000
    product.request("PATCH", f"/v1/agents/{who}", {"enabled": False})
    assert who not in {each.id for each in client.models.list()}
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(who)
    assert caught.value.code == "model_not_found"


def test_a_version_of_an_agent_is_a_model(client, agent, open_chat, product, model, name):
    who = agent([{"text": "ok"}], system_prompt="first")
    product.request("PATCH", f"/v1/agents/{who}", {"system_prompt": "second"})
    assert client.models.retrieve(f"{who}@1").id == f"{who}@1"
    for named in (f"{who}@1", who):
        client.chat.completions.create(model=named, messages=HELLO)
    assert open_chat(name).ask("hi", agent_name=f"{who}@1")["data"]["status"] == "completed"
    assert [request["messages"][0]["content"] for request in model.requests(who)] == ["first", "second", "first"]
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=f"{who}@9", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert f"The agent '{who}' has no version 9." in str(caught.value)


# What we say of ourselves


def test_the_schema_knows_these_endpoints(product):
    _, schema = product.request("GET", "/v1/schema")
    validate_schema(schema)
    body = {"model": "writer", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    for path, name, sent in [
        ("/v1/chat/completions", "ChatCompletionRequest", body),
        ("/v1/responses", "ResponseRequest", {"model": "writer", "input": "Hello"}),
    ]:
        content = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert content["schema"] == {"$ref": f"#/components/schemas/{name}"}
        jsonschema.Draft202012Validator(schema | content["schema"]).validate(sent)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/writer", None),
        ("POST", "/v1/chat/completions", {"messages": HELLO}),
        ("POST", "/v1/responses", {"input": "Hello"}),
    ],
)
def test_an_answer_is_as_the_schema_says(product, agent, method, path, body):
    who = agent([{"text": "ok"}])
    _, schema = product.request("GET", "/v1/schema")
    existing = next(pattern for pattern in schema["paths"] if pattern.split("{")[0] == path.replace("writer", ""))
    content = schema["paths"][existing][method.lower()]["responses"]["200"]["content"]["application/json"]
    status, answer = product.request(method, path, body and body | {"model": who})
    assert status == 200
    jsonschema.Draft202012Validator(schema | content["schema"]).validate(answer)
