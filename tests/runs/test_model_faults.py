"""A model's server that fails: what the run says of it, on the socket and over REST."""

import contextlib
import datetime
import email.utils
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.harness.chat import Chat
from tests.harness.daemon import free_port

INSIDES = re.compile(r"Traceback|Error\(|Exception|aiohttp|httpx|openai|Errno|0x[0-9a-f]{6}|\.py\b|<html", re.I)
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nValueError: no'
HTML = "<html><body><h1>It works!</h1></body></html>"
LONE_HALF = r'{"error": {"code": 400, "message": "a\ud83d\u0000b", "type": "invalid_request_error"}}'
WEB_PAGE = {"headers": {"Content-Type": "text/html"}, "body": HTML}


def event(value: object) -> dict:
    return {"raw": f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n"}


def status(number: int, message: str, **more: object) -> dict:
    return {
        "status": number,
        "body": {"error": {"message": message, **more}},
        "headers": {"Retry-After": "0"},
    }


@dataclass
class Fault:
    """A model that fails whenever it is asked: the code that clients see, and how often it is asked.

    `turn` is what a scripted model plays, or where there is something else than a model.
    """

    turn: list[dict] | Callable[[], contextlib.AbstractContextManager[str]]
    code: str
    tries: int
    sentence: str = ""


@contextlib.contextmanager
def tcp_server(greeting: bytes | None) -> Iterator[str]:
    """A server that takes connections and says this to each, or nothing; gives its base_url."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                taken.append(connection)
                if greeting is not None:
                    connection.recv(65536)
                    connection.sendall(greeting)
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in taken:
        connection.close()


def no_server() -> contextlib.AbstractContextManager[str]:
    return contextlib.nullcontext(f"http://127.0.0.1:{free_port()}/v1")


def mail_server() -> contextlib.AbstractContextManager[str]:
    return tcp_server(b"220 mail.example ESMTP\r\n")


FAULTS = {
    "a server that nobody runs": Fault(no_server, "model_unreachable", 4, "connection"),
    "a server that speaks no HTTP": Fault(mail_server, "model_unreachable", 4, "connection"),
    "a web page": Fault([{"status": 200, **WEB_PAGE}], "model_bad_answer", 1, "base_url"),
    "a proxy's web page": Fault([{"status": 502, **WEB_PAGE}], "model_unavailable", 4, "answered 502"),
    "an empty stream": Fault([{"end": True}], "model_stream_cut", 4),
    "no stream": Fault([{"raw": "hello\nworld\n"}, {"end": True}], "model_bad_stream", 4),
    "broken JSON in the middle": Fault([{"text": "begin"}, event("{not json")], "model_bad_stream", 4),
    "a connection that is cut": Fault([{"text": "half an ans"}, {"cut": True}], "model_unreachable", 4),
    "an end in the middle": Fault([{"text": "half an ans"}, {"end": True}], "model_stream_cut", 4),
    "nothing but an end": Fault([{"no_finish": True}], "no_answer", 2, "without an answer"),
    "nothing said": Fault([{"text": ""}, {"finish": "stop"}], "no_answer", 2, "without an answer"),
    "null said": Fault([event({"choices": [{"delta": {"content": None}}]}), {"finish": "stop"}], "no_answer", 2),
    "only thoughts": Fault([{"reasoning": "hm"}, {"finish": "stop"}], "no_answer", 2, "without an answer"),
    "only thoughts in tags": Fault([{"text": "<think>hm</think>\n\n"}], "no_answer", 2, "without an answer"),
    "no choices": Fault([event({"choices": []}), event("[DONE]"), {"end": True}], "no_answer", 2),
    "thoughts and no end": Fault([{"reasoning": "hm"}, {"text": "ha"}, {"end": True}], "model_stream_cut", 4),
    "an error in the stream": Fault(
        [{"text": "half"}, event({"error": {"message": "The GPU is gone.", "code": 500}})],
        "model_unavailable",
        4,
        "The GPU is gone.",
    ),
    "a refusal in the stream": Fault(
        [event({"error": {"message": "No such field.", "type": "invalid_request_error"}})],
        "model_error",
        1,
        "No such field.",
    ),
    "a traceback in the stream": Fault(
        [event({"error": {"message": f"It broke: {TRACEBACK}", "code": 400}})],
        "model_error",
        1,
        "It broke",
    ),
    "400": Fault([status(400, "temperature is too hot")], "model_refused", 1, "temperature is too hot"),
    "400 in another shape": Fault([{"status": 400, "body": {"detail": "odd"}}], "model_refused", 1, "odd"),
    "400 in no shape": Fault([{"status": 400, "body": "[7]"}], "model_refused", 1, "no reason stated"),
    "401": Fault([status(401, "Incorrect API key provided")], "model_key_refused", 1, "API key"),
    "403": Fault([status(403, "Forbidden")], "model_key_refused", 1, "API key"),
    "404": Fault([status(404, "The model `x` does not exist")], "model_refused", 1, "does not exist"),
    "429": Fault([status(429, "Slow down")], "model_rate_limited", 4, "Slow down"),
    "429 and no money": Fault([status(429, "Pay!", code="insufficient_quota")], "model_refused", 1, "Pay!"),
    "500": Fault([status(500, "I am broken")], "model_unavailable", 4, "I am broken"),
    "too long for it": Fault(
        [status(400, "The maximum context length is 4096 tokens")], "context_length_exceeded", 1, "4096"
    ),
    "too long, told in the stream": Fault(
        [event({"error": {"message": "the request exceeds the available context size"}})], "context_length_exceeded", 1
    ),
    "an error event": Fault(
        [{"raw": 'event: error\ndata: {"message": "The GPU is gone.", "code": 500}\n\n'}], "model_unavailable", 4, "GPU"
    ),
    "an error field": Fault(
        [{"raw": 'error: {"code": 400, "message": "No such slot.", "type": "invalid_request_error"}\n\n'}],
        "model_error",
        1,
        "No such slot.",
    ),
    "an error object": Fault(
        [event({"object": "error", "message": "Bad grammar.", "type": "BadRequestError", "code": 400})],
        "model_error",
        1,
        "Bad grammar.",
    ),
    "an error in an array": Fault(
        [{"raw": '[{"error": {"code": 400, "message": "Bad part.", "status": "INVALID_ARGUMENT"}}]\n'}, {"end": True}],
        "model_error",
        1,
        "Bad part.",
    ),
    "an error over many lines": Fault(
        [{"raw": json.dumps({"error": {"code": 404, "message": "No such model."}}, indent=2)}, {"end": True}],
        "model_error",
        1,
        "No such model.",
    ),
    "half a character in a reason": Fault([{"status": 400, "body": LONE_HALF}], "model_refused", 1, "a\ufffdb"),
    "half a character in the stream": Fault([{"raw": f"data: {LONE_HALF}\n\n"}], "model_error", 1, "a\ufffdb"),
    "a wait too long": Fault(
        [{"status": 429, "headers": {"Retry-After": "86400"}}], "model_rate_limited", 1, "answered 429"
    ),
    "an answer of no words": Fault([{"finish": "length"}], "max_tokens", 1),
    "thoughts up to its limit": Fault([{"reasoning": "hm hm"}, {"finish": "length"}], "max_tokens", 1),
    "a filter": Fault([{"finish": "content_filter"}], "content_filter", 1),
}  # fmt: skip


@dataclass
class Outcome:
    """What a run that failed has left. `requests`: how many a scripted model got."""

    chat: Chat
    run: dict
    requests: int | None


@pytest.fixture(scope="module")
def outcomes(shared_product, model):
    """All the faults at the same time: most of the time of each is the pauses between its tries."""
    with contextlib.ExitStack() as stack:
        chats: dict[str, Chat] = {}
        for fault, what in FAULTS.items():
            name = script_of(fault)
            if isinstance(what.turn, list):
                model.script(name, [what.turn])
                shared_product.add_agent(name, model.base_url)
            else:
                shared_product.add_agent(name, stack.enter_context(what.turn()))
            chats[fault] = stack.enter_context(contextlib.closing(Chat(shared_product.socket_url(name, after=0))))
            chats[fault].say("hi", agent_name=name)
        names = {}
        for fault, chat in chats.items():
            run_id = chat.until("reasoning_complete")["run_id"]
            run = shared_product.request("GET", f"/v1/runs/{run_id}")[1]
            is_scripted = isinstance(FAULTS[fault].turn, list)
            names[fault] = Outcome(chat, run, len(model.requests(script_of(fault))) if is_scripted else None)
        yield names


def script_of(fault: str) -> str:
    return f"fault-{list(FAULTS).index(fault)}"


def assert_failed(product, chat: Chat, code: str) -> str:
    """The run failed as the protocol says, REST agrees, and nothing of our insides is told. The sentence."""
    step, error, complete = chat.fold.frames[-3:]
    assert (step["type"], step["data"]["type"]) == ("reasoning_step", "error")
    assert (error["type"], error["data"]["code"]) == ("error", code)
    assert step["data"]["content"] == error["data"]["message"]
    assert complete["type"] == "reasoning_complete"
    assert complete["data"]["status"] == "failed"
    assert len(chat.fold.of_type("reasoning_complete")) == 1
    payload = json.dumps(chat.fold.frames[1:])
    assert not INSIDES.search(payload), payload
    run = product.request("GET", f"/v1/runs/{complete['run_id']}")[1]
    assert run["status"] == "failed"
    assert run["error"] == error["data"]["message"]
    sentence = error["data"]["message"]
    assert sentence.endswith((".", "?", "!"))
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_fails_with_a_code_and_a_clear_sentence(shared_product, outcomes, fault):
    outcome, expected = outcomes[fault], FAULTS[fault]
    assert expected.sentence in assert_failed(shared_product, outcome.chat, expected.code)
    assert outcome.requests in (expected.tries, None)
    retries = outcome.chat.fold.of_type("retry")
    assert [retry["data"]["attempt"] for retry in retries] == list(range(1, expected.tries))
    steps = [content for kind, content in outcome.chat.fold.story() if kind == "final_answer"]
    assert all(steps), "an empty answer before the failure"
    assert outcome.run["usage"]["requests"] == expected.tries
    assert outcome.run["attempt"] == 1


def test_the_text_of_a_failed_run_is_kept(outcomes):
    assert outcomes["an end in the middle"].run["result"] == "half an ans"


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 408}, {"status": 409}, {"status": 503}])
def test_a_server_that_recovers_costs_nothing_but_time(agent, open_chat, model, name, fault):
    fault = {**fault, "headers": {"retry-after-ms": "10"}}
    who = agent([{"only_first": 2, "do": [fault]}, {"text": "The right answer"}])
    chat = open_chat(name, after=0)
    end = chat.ask("hi", agent_name=who)
    assert end["data"]["status"] == "completed"
    assert [f["data"]["attempt"] for f in chat.fold.of_type("retry")] == [1, 2]
    assert chat.fold.story() == [("final_answer", "The right answer")]
    assert len(chat.fold.of_type("reasoning_complete")) == 1
    assert len(model.requests(name)) == end["data"]["usage"]["requests"] == 3


@pytest.mark.both
def test_the_words_of_a_failed_try_do_not_count(agent, open_chat, product, model, name):
    broken = [{"reasoning": "one thought"}, {"text": "Wrong words that"}, {"wait": name}, {"cut": True}]
    who = agent([{"only_first": 1, "do": broken}, {"text": "Right words"}])
    chat = open_chat(name, after=0)
    chat.say("hi", agent_name=who)
    chat.until_text("Wrong words that")
    model.release(name)
    end = chat.until("reasoning_complete")
    retry = chat.fold.of_type("retry")[0]
    assert retry["data"]["reason"]
    assert any(f["data"]["step"] == retry["data"]["step"] for f in chat.fold.of_type("reasoning_delta"))
    assert [content for kind, content in chat.fold.story() if kind == "final_answer"] == ["Right words"]
    late = open_chat(name, after=0)
    late.until("reasoning_complete")
    assert late.fold.story() == chat.fold.story()
    assert product.request("GET", f"/v1/runs/{end['run_id']}")[1]["result"] == "Right words"


def test_without_reasoning_a_retry_is_silent_and_a_failure_is_reported(agent, open_chat, name):
    who = agent([status(500, "I am broken")])
    chat = open_chat(name, after=0)
    chat.ask("hi", agent_name=who, enable_reasoning=False)
    assert [f["type"] for f in chat.fold.frames] == ["reasoning_start", "error", "reasoning_complete"]
    assert chat.fold.frames[1]["data"]["code"] == "model_unavailable"


def date_in(seconds: float) -> str:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(at, usegmt=True)


@pytest.mark.parametrize(
    ("header", "value", "least", "most"),
    [
        ("Retry-After", lambda: "1", 1000, 1000),
        ("Retry-After", lambda: "0", 0, 0),
        ("Retry-After", lambda: "-5", 0, 0),
        ("retry-after-ms", lambda: "150", 150, 150),
        ("Retry-After", lambda: date_in(-60), 0, 0),
        ("Retry-After", lambda: "nan", 375, 625),
        ("Retry-After", lambda: "inf", 375, 625),
        ("Retry-After", lambda: "soon", 375, 625),
        ("X-Nothing", lambda: "asked", 375, 625),
    ],
)
def test_the_servers_wish_for_a_pause_is_honoured(agent, open_chat, model, name, header, value, least, most):
    who = agent([{"only_first": 1, "do": [{"status": 429, "headers": {header: value()}}]}, {"text": "ok"}])
    chat = open_chat(name)
    assert chat.ask("hi", agent_name=who)["data"]["status"] == "completed"
    delay = chat.fold.of_type("retry")[0]["data"]["delay_ms"]
    assert least <= delay <= most
    first, second = model.requests(name)
    assert second["started"] - first["started"] >= delay / 1000 - 0.01


def test_a_pause_until_a_date_is_honoured(agent, open_chat, name):
    who = agent([{"status": 429, "headers": {"Retry-After": date_in(50)}}])
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    assert 10_000 <= chat.until("retry")["data"]["delay_ms"] <= 50_000
    chat.send("interrupt")
    chat.until("reasoning_complete")


@pytest.mark.both
def test_a_run_can_be_stopped_while_it_waits_for_the_next_try(agent, open_chat, model, name):
    who = agent([{"status": 503, "headers": {"Retry-After": "50"}}])
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    assert chat.until("retry")["data"]["delay_ms"] == 50_000
    chat.send("interrupt")
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    assert len(model.requests(name)) == 1


def test_a_server_that_never_answers_is_ended_by_the_agents_timeout(product, open_chat, name):
    chat = open_chat(name)
    with tcp_server(None) as base_url:
        product.add_agent(name, base_url, timeout=1)
        end = chat.ask("hi", agent_name=name)
    assert "1 second" in assert_failed(product, chat, "timeout")
    assert 1000 <= end["data"]["duration_ms"] < 30_000


@pytest.mark.slow
def test_a_model_that_stops_speaking_is_ended_by_the_agents_timeout(agent, open_chat, product, model, name):
    who = agent([{"text": "I was about to"}, {"wait": "never"}], timeout=4)
    chat = open_chat(name)
    end = chat.ask("hi", agent_name=who)
    assert_failed(product, chat, "timeout")
    assert model.wait_for_abort(name)
    assert product.request("GET", f"/v1/runs/{end['run_id']}")[1]["result"] == "I was about to"


def test_an_agent_that_never_comes_to_an_answer_is_stopped(agent, open_chat, product, model, name):
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}
    who = agent([call], builtin_tools=["calculate"], max_iterations=2)
    chat = open_chat(name)
    end = chat.ask("hi", agent_name=who)
    assert "2 model turns" in assert_failed(product, chat, "max_iterations")
    assert end["data"]["iterations"] == len(model.requests(name)) == 2
    assert end["data"]["usage"]["tool_calls"] == 2


@pytest.mark.both
def test_a_run_stops_at_its_limit_of_tokens(agent, open_chat, product, model, name):
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}
    usage = {"usage": {"prompt_tokens": 30, "completion_tokens": 20}}
    who = agent([call, usage], builtin_tools=["calculate"], max_total_tokens=90)
    chat = open_chat(name)
    end = chat.ask("hi", agent_name=who)
    assert "100 tokens" in assert_failed(product, chat, "max_total_tokens")
    assert end["data"]["usage"]["input_tokens"] == 60
    assert end["data"]["usage"]["output_tokens"] == 40
    assert len(model.requests(name)) == 2


def test_an_answer_at_its_length_limit_is_an_answer(agent, open_chat, name):
    who = agent([{"text": "It goes on and"}, {"finish": "length"}])
    chat = open_chat(name)
    assert chat.ask("hi", agent_name=who)["data"]["status"] == "completed"
    assert chat.fold.story() == [("final_answer", "It goes on and")]


@pytest.mark.parametrize("place", ["status", "retried status", "stream", "header"])
def test_a_key_that_the_server_repeats_does_not_reach_the_client(product, open_chat, model, name, place):
    key, header = f"sk-live-{name}", f"h-{name}"
    error = {"message": "x" * 380 + f" Incorrect key {key} and {header}", "code": "bad"}
    turn = {
        "status": [{"status": 400, "body": {"error": error}}],
        "retried status": [{"status": 500, "body": {"error": error}, "headers": {"Retry-After": "0"}}],
        "stream": [event({"error": error | {"code": 400}})],
        "header": [{"status": 400, "body": {"error": f"{header} {key}"}}],
    }[place]
    model.script(name, [turn])
    provider = {
        "name": name,
        "kind": "openai",
        "base_url": model.base_url,
        "api_key": key,
        "headers": {"X-Team": header},
    }
    assert product.request("POST", "/v1/providers", provider)[0] == 201
    assert product.request("POST", "/v1/agents", {"name": name, "provider": name, "model": name})[0] == 201
    chat = open_chat(name)
    end = chat.ask("hi", agent_name=name)
    assert model.requests(name)[0]["headers"]["authorization"] == f"Bearer {key}"
    payload = json.dumps(chat.fold.frames[1:]) + json.dumps(product.request("GET", f"/v1/runs/{end['run_id']}/steps"))
    assert end["data"]["status"] == "failed"
    assert "sk-live" not in payload
    assert header not in payload
    assert key not in product.logged()


@pytest.mark.both
def test_a_conversation_that_is_too_long_is_tried_again_with_less_of_it(agent, open_chat, model, name):
    too_long = status(400, "too long", code="context_length_exceeded")
    who = agent([{"text": "ok"}])
    chat = open_chat(name)
    for number in range(5):
        chat.ask(f"message {number} " + "x" * 4000, agent_name=who)
    model.script(name, [[{"only_first": 1, "do": [too_long]}, {"text": "at last"}]])
    assert chat.ask("and now?", agent_name=who)["data"]["status"] == "completed"
    before, after = [len(json.dumps(request["messages"])) for request in model.requests(name)[-2:]]
    assert after < before


def test_a_run_stops_at_its_limit_of_characters(agent, open_chat, product, name):
    who = agent([{"text": "x" * 3_000_000, "chunk": 65_536}])
    chat = open_chat(name)
    chat.ask("hi", agent_name=who)
    assert "more than 1,048,576 characters in one turn" in assert_failed(product, chat, "max_characters")


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
         {"max_tokens": None, "max_completion_tokens": 77}),
        ("stream_options is not supported", {"stream_options": None}),
        ([{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}],
         {"stream_options": None}),
    ],
)  # fmt: skip
def test_a_field_that_a_server_does_not_know_is_left_out_from_then_on(agent, open_chat, model, name, reason, changes):
    refusal = {"status": 400, "body": {"detail": reason}}
    who = agent([{"only_first": 1, "do": [refusal]}, {"text": "ok"}], parameters={"max_tokens": 77})
    chat = open_chat(name, after=0)
    for prompt in ("one", "two"):
        assert chat.ask(prompt, agent_name=who)["data"]["status"] == "completed"
    assert not chat.fold.of_type("retry")
    first, *later = [request["fields"] for request in model.requests(name)]
    assert len(later) == 2
    assert first["max_tokens"] == 77
    for fields in later:
        assert fields == {key: value for key, value in (first | changes).items() if value is not None}


def test_a_field_with_a_bad_value_is_the_users_to_know(agent, open_chat, model, product, name):
    reason = "max_tokens is too large: 77. This model supports at most 7 completion tokens."
    who = agent([status(400, reason)], parameters={"max_tokens": 77})
    chat = open_chat(name, after=0)
    chat.ask("one", agent_name=who)
    assert reason in assert_failed(product, chat, "model_refused")
    assert len(model.requests(name)) == 1


def test_thoughts_that_a_server_does_not_take_back_are_left_out(agent, open_chat, model, name):
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}
    refusal = status(400, "Unrecognized field: messages[1].reasoning_content")
    turns = [{"reasoning": "hm"}, call], [{"only_first": 1, "do": [refusal]}, {"text": "ok"}]
    chat = open_chat(name, after=0)
    assert chat.ask("one", agent_name=agent(*turns, builtin_tools=["calculate"]))["data"]["status"] == "completed"
    refused, taken = [request["messages"][1] for request in model.requests(name)[1:]]
    assert (refused["reasoning_content"], "reasoning_content" in taken) == ("hm", False)


def test_a_wait_that_the_body_asks_for_is_waited(agent, open_chat, model, name):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.7s"}]
    refusal = {"status": 429, "body": [{"error": {"code": 429, "message": "Quota", "details": details}}]}
    who = agent([{"only_first": 1, "do": [refusal | {"body": json.dumps(refusal["body"])}]}, {"text": "ok"}])
    chat = open_chat(name)
    assert chat.ask("hi", agent_name=who)["data"]["status"] == "completed"
    assert chat.fold.of_type("retry")[0]["data"]["delay_ms"] == 700
