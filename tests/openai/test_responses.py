"""/v1/responses, as the official client sees it: answered, streamed, left and followed again, continued, stopped."""

import json
from collections.abc import Iterator

import openai
import pytest

from tests.harness.product import Product

SUM = {"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}
LONG = "A long answer, in many pieces. " * 12


@pytest.fixture
def client(product: Product) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{product.url}/v1", api_key="any", timeout=30) as client:
        yield client


def texts(events: list) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def rising(events: list) -> list:
    """The events, whose numbers must rise."""
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers)), numbers
    return events


@pytest.mark.both
def test_an_agent_answers_with_a_response(client, agent):
    who = agent([{"reasoning": "They greet me."}, {"text": "Hello, you."}])
    answer = client.responses.create(
        model=who, input="Hello", instructions="Be brief.", temperature=0.5, metadata={"ticket": "7"}
    )
    assert answer.id.startswith("resp_")
    assert (answer.status, answer.model, answer.output_text) == ("completed", who, "Hello, you.")
    thought, message = answer.output
    assert (thought.type, thought.content[0].text) == ("reasoning", "They greet me.")
    assert (message.type, message.phase) == ("message", "final_answer")
    assert (answer.instructions, answer.temperature, answer.metadata) == ("Be brief.", 0.5, {"ticket": "7"})
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert client.responses.retrieve(answer.id) == answer


def test_the_messages_that_the_model_gets(client, agent, model):
    who = agent([{"text": "ok"}], system_prompt="You are a parrot.")
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Bonn"}'}
    output = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "input_text", "text": "How is it?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        call,
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Sunny."}]},
        {"role": "user", "content": "And now?"},
    ]
    client.responses.create(model=who, input=output, instructions="Be brief.", max_output_tokens=9, top_p=0.5)
    (requests,) = model.requests(who)
    function = {"name": "weather", "arguments": '{"city":"Bonn"}'}
    assert requests["messages"] == [
        {"role": "system", "content": "You are a parrot.\n\nBe brief.\n\nBe kind."},
        {"role": "user", "content": "How is it?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "assistant", "content": "Sunny."},
        {"role": "user", "content": "And now?"},
    ]
    assert (requests["fields"]["max_tokens"], requests["fields"]["top_p"]) == (9, 0.5)


def test_the_clients_own_helper_follows_a_stream(client, agent):
    who = agent(
        [{"reasoning": "Let me see."}, {"text": "I shall calculate."}, SUM],
        [{"text": LONG, "delay": 0.001}],
        builtin_tools=["calculate"],
    )
    with client.responses.stream(model=who, input="Hello") as stream:
        events = rising(list(stream))
        final = stream.get_final_response()
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[0].sequence_number == 0
    assert events[-1].type == "response.completed"
    assert texts(events).endswith(LONG)
    assert final.output_text == LONG
    assert client.responses.retrieve(final.id).output_text == LONG


def test_a_tool_that_the_server_calls_is_shown_and_not_asked_for(client, agent):
    who = agent([SUM], [{"text": "It is 42."}], builtin_tools=["calculate"])
    events = rising(list(client.responses.create(model=who, input="Hello", stream=True)))
    kinds = [event.type for event in events if "mcp_call" in event.type]
    assert kinds == ["response.mcp_call.in_progress", "response.mcp_call_arguments.done", "response.mcp_call.completed"]
    final = events[-1].response
    call, _ = final.output
    assert (call.type, call.server_label, call.name, call.output) == ("mcp_call", "builtin", "calculate", "42")
    assert json.loads(call.arguments) == {"expression": "6*7"}
    assert not any(item.type == "function_call" for item in final.output)
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.id for item in done] == [item.id for item in final.output]


def test_a_tool_that_fails_says_so(client, agent):
    wrong = {"tool_call": {"name": "calculate", "arguments": {"expression": "1/0"}}}
    who = agent([wrong], [{"text": "It cannot be done."}], builtin_tools=["calculate"])
    call, _ = client.responses.create(model=who, input="Hello").output
    assert (call.status, call.output) == ("failed", None)
    assert call.error.content


# Left, and followed again


@pytest.mark.both
def test_a_client_that_was_cut_off_gets_exactly_the_rest(client, agent, model, name):
    who = agent([{"text": LONG}, {"wait": name}, {"text": "The end."}])
    seen = []
    with client.responses.create(model=who, input="Hello", stream=True) as stream:
        for event in stream:
            seen.append(event)
            if texts(seen) == LONG:
                break
    identifier, after = seen[0].response.id, seen[-1].sequence_number
    model.release(name)
    rest = list(client.responses.retrieve(identifier, stream=True, starting_after=after))
    rising(seen + rest)
    assert texts(rest) == "The end."
    assert rest[-1].response.output_text == LONG + "The end."


@pytest.mark.both
@pytest.mark.slow
def test_every_place_of_a_stream_can_be_gone_on_from_live_and_long_after(client, agent, model, name):
    names = [{"reasoning": "Hm. " * 9, "delay": 0.01}, {"text": "I shall calculate. " * 9, "delay": 0.01}]
    who = agent([*names, {"wait": name}, SUM], [{"text": LONG, "delay": 0.01}], builtin_tools=["calculate"])
    live = []
    for event in client.responses.create(model=who, input="Hello", stream=True):
        live.append(event)
        if texts(live) == "I shall calculate. " * 9:
            model.release(name)
    rising(live)
    whole, thought = texts(live), "Hm. " * 9
    assert whole == "I shall calculate. " * 9 + LONG
    assert len(live) > 25, "the stream came in too few pieces to say anything"
    for position, event in enumerate(live[:-1]):
        kept = live[: position + 1]
        rest = list(client.responses.retrieve(live[0].response.id, stream=True, starting_after=event.sequence_number))
        rising(kept + rest)
        if texts(kept) or any(each.type == "response.output_text.delta" for each in rest):
            joined = texts(kept) + texts(rest)
            # Text before a tool call is a thought, once it is known to be one; to those who had begun it, it is not.
            assert joined in (whole, LONG), f"after {event.type}"
        thoughts = [each for each in kept + rest if each.type == "response.reasoning_text.delta"]
        assert "".join(each.delta for each in thoughts).startswith(thought), f"after {event.type}"
        assert rest[-1].response == live[-1].response


@pytest.mark.both
def test_leaving_does_not_stop_a_response_that_is_kept(client, agent, model, name):
    who = agent([{"text": "One"}, {"wait": name}, {"text": "Two"}])
    with client.responses.create(model=who, input="Hello", stream=True) as stream:
        identifier = next(iter(stream)).response.id
    model.release(name)
    *_, last = client.responses.retrieve(identifier, stream=True)
    assert (last.type, last.response.output_text) == ("response.completed", "OneTwo")


@pytest.mark.both
def test_leaving_stops_one_that_nobody_keeps(client, agent, model):
    who = agent([{"text": "One"}, {"wait": "never"}])
    with client.responses.create(model=who, input="Hello", stream=True, store=False) as stream:
        identifier = next(iter(stream)).response.id
    model.wait_for_abort(who)
    *_, last = client.responses.retrieve(identifier, stream=True)
    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")


@pytest.mark.both
def test_a_model_that_begins_again_is_one_item(client, agent, model, name):
    cut = [{"text": "Hello wor"}, {"wait": name}, {"cut": True}]
    who = agent([{"only_first": 1, "do": cut}, {"text": "Good morning."}])
    events = []
    with client.responses.stream(model=who, input="Hello") as stream:
        for event in stream:
            events.append(event)
            if texts(events) == "Hello wor":
                model.release(name)
        final = stream.get_final_response()
    assert texts(rising(events)) == "Hello wor\n\nGood morning."
    (done,) = [event for event in events if event.type == "response.output_text.done"]
    assert done.text == final.output_text == "Good morning."


# In the background


@pytest.mark.both
def test_a_response_in_the_background_is_asked_after(client, agent, model, name):
    who = agent([{"wait": name}, {"text": "ok"}])
    begun = client.responses.create(model=who, input="Hello", background=True)
    assert begun.status in ("queued", "in_progress")
    assert (begun.background, begun.output, begun.usage) == (True, [], None)
    model.release(name)
    *_, last = client.responses.retrieve(begun.id, stream=True)
    assert last.response.output_text == "ok"
    assert client.responses.retrieve(begun.id).status == "completed"


@pytest.mark.both
def test_a_response_can_be_cancelled(client, agent, model, name):
    who = agent([{"text": "I go on"}, {"wait": "never"}])
    begun = client.responses.create(model=who, input="Hello", background=True)
    model.wait_for_request(who)
    assert client.responses.cancel(begun.id).status in ("in_progress", "cancelled")  # the end is not waited for long
    model.wait_for_abort(who)
    *_, last = client.responses.retrieve(begun.id, stream=True)
    assert last.response.status == "cancelled"
    assert client.responses.cancel(begun.id).status == "cancelled"


@pytest.mark.both
def test_one_that_has_ended_stays_as_it_is_when_it_is_cancelled(client, agent):
    who = agent([{"text": "ok"}])
    answer = client.responses.create(model=who, input="Hello")
    assert client.responses.cancel(answer.id) == answer


# Conversations


@pytest.mark.both
def test_a_response_follows_the_one_that_it_names(client, agent, model):
    who = agent([{"text": "ok"}])
    first = client.responses.create(model=who, input="One")
    left = client.responses.create(model=who, input="Two", previous_response_id=first.id)
    client.responses.create(model=who, input="Three", previous_response_id=left.id)
    right = client.responses.create(model=who, input="Four", previous_response_id=first.id)
    client.responses.create(model=who, input="Five", previous_response_id=right.id)
    names = [[message["content"] for message in request["messages"]] for request in model.requests(who)]
    assert names == [
        ["One"],
        ["One", "ok", "Two"],
        ["One", "ok", "Two", "ok", "Three"],
        ["One", "ok", "Four"],
        ["One", "ok", "Four", "ok", "Five"],
    ]
    assert right.previous_response_id == first.id


@pytest.mark.both
@pytest.mark.parametrize("way", ["conversation", "object", "header"])
def test_a_conversation_is_a_session(client, agent, model, open_chat, name, way):
    who = agent([{"text": "ok"}])
    named = {
        "conversation": {"conversation": name},
        "object": {"conversation": {"id": name}},
        "header": {"extra_headers": {"X-Session-Id": name}},
    }[way]
    client.responses.create(model=who, input="One", **named)
    answer = client.responses.create(model=who, input="Two", **named)
    assert [message["content"] for message in model.requests(who)[1]["messages"]] == ["One", "ok", "Two"]
    assert answer.conversation.id == name
    chat = open_chat(name, after=0)
    chat.until("reasoning_complete")
    chat.until("reasoning_complete")


# Failures


def test_a_failure_before_the_first_byte_is_a_status(client, agent):
    who = agent([{"status": 400, "body": {"error": {"message": "I do not like it."}}}])
    for streamed in (False, True):
        with pytest.raises(openai.InternalServerError, match="I do not like it"):
            client.responses.create(model=who, input="Hello", stream=streamed)


@pytest.mark.both
def test_a_failure_in_the_background_is_kept(client, agent):
    who = agent([{"status": 400, "body": {"error": {"message": "I do not like it."}}}])
    begun = client.responses.create(model=who, input="Hello", background=True)
    *_, last = client.responses.retrieve(begun.id, stream=True)
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert "I do not like it" in last.response.error.message


@pytest.mark.slow
def test_a_failure_after_the_first_byte_ends_the_stream(client, agent):
    who = agent([{"text": "I was about to"}, {"wait": "never"}], timeout=5)
    with client.responses.stream(model=who, input="Hello") as stream:
        *_, last = rising(list(stream))
    assert (last.type, last.response.output_text) == ("response.failed", "I was about to")


def test_an_answer_that_stopped_at_its_limit_is_incomplete(client, agent):
    who = agent([{"text": "It goes on and"}, {"finish": "length"}])
    answer = client.responses.create(model=who, input="Hello")
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    *_, last = client.responses.create(model=who, input="Hello", stream=True)
    assert last.type == "response.incomplete"


BAD = {
    "no input": ({"input": None}, "input", "missing_required_parameter"),
    "an empty input": ({"input": []}, "input", "invalid_value"),
    "a number": ({"input": 7}, "input", "invalid_type"),
    "an image of no bytes": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]},
        "input[0].content[0].image_url",
        "invalid_request",
    ),
    "an item that we do not know": ({"input": [{"type": "item_reference"}]}, "input[0].type", "unsupported_value"),
    "a type that is an object": ({"input": [{"type": {"a": 1}}]}, "input[0].type", "unsupported_value"),
    "tools": ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_value"),
    "metadata that is deep": ({"metadata": {"a": {"b": 1}}}, "metadata.a", "invalid_type"),
    "two conversations": (
        {"previous_response_id": "resp_1", "conversation": "c"},
        "previous_response_id",
        "mutually_exclusive_parameters",
    ),
    "a conversation of no id": ({"conversation": {}}, "conversation.id", "invalid_type"),
    "a bad conversation": ({"conversation": "a b"}, "conversation", "invalid_value"),
    "a format of nobody": ({"text": {"format": {"type": "xml"}}}, "text.format.type", "unsupported_value"),
    "a schema of no name": (
        {"text": {"format": {"type": "json_schema", "schema": {}}}},
        "text.format.name",
        "missing_required_parameter",
    ),
    "too much effort": ({"reasoning": {"effort": "maximal"}}, "reasoning.effort", "invalid_value"),
    "a background of words": ({"background": "yes"}, "background", "invalid_type"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_names_the_field(product, agent, what):
    who = agent([{"text": "ok"}])
    change, param, code = BAD[what]
    status, body = product.request("POST", "/v1/responses", {"model": who, "input": "Hello"} | change)
    assert (status, body["error"]["param"], body["error"]["code"]) == (400, param, code), body


@pytest.mark.parametrize("identifier", ["resp_1", "resp_" + "0" * 32, "x", "resp_%00", "chatcmpl-" + "0" * 32])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_response_that_is_not_there_is_not_found(product, identifier, method):
    path = f"/v1/responses/{identifier}" + ("/cancel" if method == "POST" else "")
    status, body = product.request(method, path)
    assert (status, body["error"]["type"]) == (404, "not_found_error")


def test_one_that_is_followed_must_be_there(client, agent):
    who = agent([{"text": "ok"}])
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model=who, input="Hello", previous_response_id="resp_" + "0" * 32)


@pytest.mark.parametrize(
    "query", ["stream=yes", "stream=true&starting_after=x", "stream=true&starting_after=" + "9" * 19]
)
def test_a_bad_query_is_a_400(client, product, agent, query):
    who = agent([{"text": "ok"}])
    answer = client.responses.create(model=who, input="Hello")
    assert product.request("GET", f"/v1/responses/{answer.id}?{query}")[0] == 400


def test_a_response_is_summarized_from_the_threshold_of_its_request_on(client, agent, model, name):
    who = agent([{"text": "Fine."}])
    model.script(name, [[{"text": "Fine."}]], summary=[{"text": "She is Ada."}])
    words = [{"role": role, "content": "word " * 1600} for role in ("user", "assistant")] * 2
    management = [{"type": "compaction", "compact_threshold": 1000}]
    options = {"model": who, "input": [*words, {"role": "user", "content": "Who am I?"}]}
    events = rising(list(client.responses.create(**options, context_management=management, stream=True)))
    answer = events[-1].response
    item, message = answer.output
    assert next(event.item for event in events if event.type == "response.output_item.done") == item
    assert item.type == "compaction" and message.content[0].text == "Fine."
    assert client.responses.retrieve(answer.id).output == answer.output
    again = [*options["input"], *answer.output, {"role": "user", "content": "And who are you?"}]
    client.responses.create(model=who, input=again)
    summary, ack, *rest = model.requests(name)[-1]["messages"]
    assert (summary["role"], ack["role"]) == ("user", "assistant")
    assert "She is Ada." in summary["content"] and "word" in summary["content"]
    assert [m["content"] for m in rest] == ["Who am I?", "Fine.", "And who are you?"]
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=who, input=[{"type": "compaction", "encrypted_content": "?"}, *words[:1]])
    assert caught.value.param == "input[0].encrypted_content"
