"""Tools that the client executes, in chat completions and responses, as the official client sees them."""

import json
from collections.abc import Iterator

import openai
import pytest

from tests.harness.fakes.fake_model_process import tool_results
from tests.harness.product import Product
from tests.harness.wait import until

pytestmark = pytest.mark.slow

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Tell the weather.", "parameters": PARAMETERS, "strict": True}
CHAT_TOOL, TOOL = {"type": "function", "function": FUNCTION}, {"type": "function", **FUNCTION}
HELLO = [{"role": "user", "content": "How is the weather?"}]
OWN = {"tool_call": {"name": "calculate", "arguments": {"expression": "6 * 7"}, "id": "call_own"}}


def call(city: str = "Bern", number: int = 1) -> dict:
    return {"tool_call": {"name": "get_weather", "arguments": {"city": city}, "id": f"call_{number}"}}


@pytest.fixture
def client(product: Product) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{product.url}/v1", api_key="any", timeout=60, max_retries=0) as client:
        yield client


@pytest.fixture
def chatting(client, agent):
    """A function that makes an agent and has it answer a chat completion, with the arguments for the next ones."""

    def begin(*turns, session="", **fields):
        who = agent(*turns, [{"text": "It rains."}], **fields)
        options = {"model": who, "tools": [CHAT_TOOL]} | (
            {"extra_headers": {"X-Session-Id": session}} if session else {}
        )
        return client.chat.completions.create(messages=HELLO, **options), options

    return begin


def following(completion, *texts: str) -> list[dict]:
    """The messages that continue a completion: its calls, and their results."""
    message = completion.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": each.id, "content": text}
        for each, text in zip(message.tool_calls, texts, strict=False)
    ]
    return [*HELLO, message.model_dump(exclude_none=True), *results]


def runs(product, name) -> list[dict]:
    return product.request("GET", f"/v1/runs?agent={name}")[1]["data"]


@pytest.mark.parametrize("session", [False, True])
def test_the_same_run_goes_on_with_the_results(chatting, client, product, model, name, session):
    first, options = chatting(
        [{"text": "Let me see."}, call("Bern", 1), OWN, call("Genf", 2)],
        builtin_tools=["calculate"],
        session=name if session else "",
    )
    (choice,) = first.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Let me see.")
    assert [json.loads(each.function.arguments) for each in choice.message.tool_calls] == [
        {"city": "Bern"},
        {"city": "Genf"},
    ]
    assert {each.function.name for each in choice.message.tool_calls} == {"get_weather"}
    messages = following(first, "rain", "sun")
    second = client.chat.completions.create(messages=messages[-2:] if session else messages, **options)
    assert (second.choices[0].finish_reason, second.choices[0].message.content) == ("stop", "It rains.")
    assert second.id != first.id
    (run,) = runs(product, name)
    assert run["status"] == "completed"
    assert sorted(tool_results(model.requests(name)[-1])) == ["42", "rain", "sun"]
    both = first.usage.total_tokens + second.usage.total_tokens
    assert both == run["usage"]["input_tokens"] + run["usage"]["output_tokens"]


def test_streamed_calls(client, agent, product, name):
    who = agent([call("Bern", 1), call("Genf", 2)], [{"text": "It rains."}])
    with client.chat.completions.stream(model=who, messages=HELLO, tools=[CHAT_TOOL]) as stream:
        completion = stream.get_final_completion()
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    assert [each.function.arguments for each in choice.message.tool_calls] == ['{"city":"Bern"}', '{"city":"Genf"}']
    chunks = list(
        client.chat.completions.create(
            model=who,
            messages=following(completion, "a", "b"),
            tools=[CHAT_TOOL],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "It rains."
    assert chunks[-1].usage.completion_tokens > 0
    assert [run["status"] for run in runs(product, name)] == ["completed"]


def test_a_repeated_request_executes_nothing_twice(chatting, client, product, model, name):
    first, options = chatting([call()], session=name)
    messages = following(first, "rain")
    answers = [client.chat.completions.create(messages=messages, **options) for _ in range(2)]
    assert [each.choices[0].message.content for each in answers] == ["It rains."] * 2
    assert len(model.requests(name)) == 2
    with pytest.raises(openai.ConflictError) as other:
        client.chat.completions.create(messages=following(first, "snow"), **options)
    assert other.value.code == "action_answered"
    with pytest.raises(openai.BadRequestError) as missing:
        client.chat.completions.create(messages=[{"role": "tool", "tool_call_id": "call_1", "content": "?"}], **options)
    assert missing.value.param == "messages[0].tool_call_id"


def test_a_finished_stateless_conversation_is_a_run_of_its_own(chatting, client, product, model, name):
    first, options = chatting([call()])
    messages = following(first, "rain")
    client.chat.completions.create(messages=messages, **options)
    again = client.chat.completions.create(messages=messages, **options)
    assert again.choices[0].message.content == "It rains."
    assert len(runs(product, name)) == 2
    roles = [message["role"] for message in model.requests(name)[-1]["messages"]]
    assert roles == ["user", "assistant", "tool"]
    more = [*messages, {"role": "assistant", "content": "It rains."}, {"role": "user", "content": "And now?"}]
    client.chat.completions.create(messages=more, **options)
    assert len(runs(product, name)) == 3


def test_results_of_calls_of_elsewhere_are_a_run_of_their_own(client, agent, product, model, name):
    who = agent([{"text": "I see."}])
    made = {"id": "call_elsewhere", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *HELLO,
        {"role": "assistant", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "call_elsewhere", "content": "42"},
    ]
    answer = client.chat.completions.create(model=who, messages=messages, tools=[CHAT_TOOL])
    assert answer.choices[0].message.content == "I see."
    assert tool_results(model.requests(name)[-1]) == ["42"]


def test_a_client_that_goes_on_without_results_leaves_nothing_open(chatting, client, product, name):
    first, options = chatting([call()])
    messages = [*following(first, "rain"), {"role": "user", "content": "Never mind."}]
    client.chat.completions.create(messages=messages, **options)
    assert sorted(run["status"] for run in runs(product, name)) == ["cancelled", "waiting"]  # the model calls again


def test_missing_and_double_results_are_refused(chatting, client, name):
    first, options = chatting([call("Bern", 1), call("Genf", 2)], session=name)
    messages = following(first, "rain", "sun")
    for wrong, param in (
        (messages[:-1], "messages"),
        ([*messages, messages[-1]], "messages[4].tool_call_id"),
        (HELLO, "messages"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(messages=wrong, **options)
        assert refused.value.param == param, wrong
    assert client.chat.completions.create(messages=messages, **options).choices[0].message.content == "It rains."


def test_an_unanswered_stateless_run_ends_with_its_time(chatting, product, name):
    chatting([call()], approval_timeout=1)
    until(lambda: runs(product, name)[0]["status"] == "cancelled")


def test_tool_choice_is_about_the_next_turn(client, agent, model, name):
    who = agent([call()], [{"text": "It rains."}])
    forced = {"type": "function", "function": {"name": "get_weather"}}
    options = {"model": who, "tools": [CHAT_TOOL], "parallel_tool_calls": False}
    first = client.chat.completions.create(messages=HELLO, tool_choice=forced, **options)
    client.chat.completions.create(messages=following(first, "rain"), tool_choice="auto", **options)
    fields = [request["fields"] for request in model.requests(name)]
    assert [each.get("tool_choice") for each in fields] == [forced, None]
    assert [each.get("parallel_tool_calls") for each in fields] == [False, False]


def test_one_call_a_turn_without_parallel_calls(client, agent, model, name):
    who = agent([call("Bern", 1), call("Genf", 2)], [{"text": "It rains."}])
    options = {"model": who, "tools": [CHAT_TOOL], "parallel_tool_calls": False}
    first = client.chat.completions.create(messages=HELLO, **options)
    assert len(first.choices[0].message.tool_calls) == 1
    client.chat.completions.create(messages=following(first, "rain"), **options)
    assert any("at most 1 call is made" in text for text in tool_results(model.requests(name)[-1]))


def test_without_choice_the_client_has_no_tools(client, agent, model, name):
    who = agent([{"text": "Dry."}], [{"text": "Dry."}])
    client.chat.completions.create(model=who, messages=HELLO, tools=[CHAT_TOOL], tool_choice="none")
    assert "tools" not in model.requests(name)[0]["fields"]


def test_responses_continue_by_the_previous_one_or_the_conversation(client, agent, product, model, name):
    who = agent(
        [{"text": "Let me see."}, call(), OWN], [call("Genf")], [{"text": "It rains."}], builtin_tools=["calculate"]
    )
    first = client.responses.create(model=who, input="How is it?", tools=[TOOL])
    assert first.status == "completed"
    (made,) = [item for item in first.output if item.type == "function_call"]
    assert (made.name, json.loads(made.arguments)) == ("get_weather", {"city": "Bern"})
    assert [item.status for item in first.output if item.type == "mcp_call"] == ["completed"]
    output = {"type": "function_call_output", "call_id": made.call_id, "output": "rain"}
    with client.responses.stream(
        model=who, input=[output], previous_response_id=first.id, tools=[TOOL], metadata={"step": "2"}
    ) as stream:
        kinds = [event.type for event in stream]
        second = stream.get_final_response()
    assert [kind for kind in kinds if "arguments" in kind] == [
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
    ]
    (again,) = [item for item in second.output if item.type == "function_call"]
    assert (second.previous_response_id, second.metadata) == (first.id, {"step": "2"})
    more = {"type": "function_call_output", "call_id": again.call_id, "output": "sun"}
    third = client.responses.create(model=who, input=[more], conversation=second.conversation.id)
    assert third.output_text == "It rains."
    (run,) = runs(product, name)
    assert run["status"] == "completed"
    assert sorted(tool_results(model.requests(name)[-1])) == ["42", "rain", "sun"]
    for response in (first, second, third):
        kept = client.responses.retrieve(response.id)
        assert [item.id for item in kept.output] == [item.id for item in response.output]
        events = list(client.responses.retrieve(response.id, stream=True))
        assert [item.id for item in events[-1].response.output] == [item.id for item in response.output]
        assert (events[0].type, events[0].response.id) == ("response.created", response.id)
    assert kept.metadata == {}


def test_responses_without_their_results_are_refused(client, agent, name):
    who = agent([call()], [{"text": "It rains."}])
    first = client.responses.create(model=who, input="How is it?", tools=[TOOL])
    made = first.output[-1]
    output = {"type": "function_call_output", "call_id": made.call_id, "output": "rain"}
    picture = {"type": "input_image", "image_url": "data:image/png;base64,aGk="}
    for wrong, param in (
        ("And?", "input"),
        ([output, output], "input[1].call_id"),
        ([output | {"call_id": "call_1"}], "input[0].call_id"),
        ([output | {"output": [picture]}], "input[0].output"),
        ([output | {"output": "x" * 270_000}], "input[0].output"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model=who, input=wrong, previous_response_id=first.id)
        assert refused.value.param == param, wrong
    whole = [{"role": "user", "content": "How is it?"}, made.model_dump(exclude_none=True), output]
    assert client.responses.create(model=who, input=whole, tools=[TOOL]).output_text == "It rains."


WRONG = {
    "twice": ({"tools": [TOOL, TOOL]}, "tools[1].name"),
    "many": ({"tools": [{**TOOL, "name": f"f{n}"} for n in range(1000)]}, "tools"),
    "schema": ({"tools": [{**TOOL, "parameters": {"type": "string"}}]}, "tools[0].parameters"),
    "built in": ({"tools": [{**TOOL, "name": "calculate"}]}, "tools"),
    "hosted": ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    "choice": ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice.name"),
    "allowed": ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
    "word": ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
    "legacy": ({"functions": [FUNCTION]}, "functions"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tools_are_refused_by_name(agent, product, name, case):
    fields, param = WRONG[case]
    who = agent([{"text": "Hi."}], builtin_tools=["calculate"])
    status, refused = product.request("POST", "/v1/responses", {"model": who, "input": "Hi", **fields})
    assert (status, refused["error"]["param"]) == (400, param)
    if case in ("twice", "schema", "built in"):
        nested = [{"type": "function", "function": tool} for tool in fields["tools"]]
        body = {"model": who, "messages": HELLO, "tools": nested}
        status, refused = product.request("POST", "/v1/chat/completions", body)
        assert (status, refused["error"]["param"]) == (400, param.replace("].", "].function."))
    assert runs(product, name) == []


def test_nobody_else_gives_results(people, model, name):
    ann, bob, boss = (people[who] for who in ("ann", "bob", "boss"))
    model.script(name, [[call()], [{"text": "It rains."}]])
    boss.add_agent(name, model.base_url)
    body = {"model": name, "messages": HELLO, "tools": [CHAT_TOOL]}
    _, first = ann.request("POST", "/v1/chat/completions", body)
    message = first["choices"][0]["message"]
    made = message["tool_calls"][0]["id"]
    messages = [*HELLO, message, {"role": "tool", "tool_call_id": made, "content": "snow"}]
    status, own = bob.request("POST", "/v1/chat/completions", body | {"messages": messages})
    assert (status, own["choices"][0]["finish_reason"]) == (200, "stop")
    (waiting,) = ann.request("GET", f"/v1/runs?agent={name}")[1]["data"]
    assert waiting["status"] == "waiting"
    (other,) = bob.request("GET", f"/v1/runs?agent={name}")[1]["data"]
    assert other["id"] != waiting["id"]
    output = {"type": "function_call_output", "call_id": made, "output": "snow"}
    previous = {"model": name, "input": [output], "previous_response_id": f"resp_{waiting['id'].replace('-', '')}"}
    assert bob.request("POST", "/v1/responses", previous)[0] == 404
    assert bob.request("POST", "/v1/responses", {"model": name, "input": [output], "conversation": name})[0] == 400
    action = made.replace("call_", "act_")
    assert bob.request("GET", f"/v1/actions/{action}")[0] == 404
    answer = {"outcome": "answered", "response": "snow"}
    assert bob.request("POST", f"/v1/actions/{action}/answer", answer)[0] == 404
    messages[-1]["content"] = "rain"
    assert ann.request("POST", "/v1/chat/completions", body | {"messages": messages})[0] == 200
    assert tool_results(model.requests(name)[-1]) == ["rain"]
