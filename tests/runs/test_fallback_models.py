"""Where an agent's model does not answer, its next one does, and everybody can see it."""

import base64

import pytest

from tests.harness.daemon import free_port
from tests.harness.documents import picture
from tests.harness.people import shell
from tests.harness.wait import until

CALL = {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}
USAGE = {"usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
ANSWER = [{"text": "from the second"}, USAGE]


def status(number: int, message: str, **more: object) -> dict:
    return {"status": number, "body": {"error": {"message": message, **more}}, "headers": {"Retry-After": "30"}}


@pytest.fixture
def make(product, model, name):
    """Make an agent with two models, each at a provider of its own; returns their names, the agent's first."""

    def make(*turns: list, second: list[list] = (ANSWER,), base_url: str = "", **fields: object) -> tuple[str, str]:
        other = f"{name}-second"
        model.script(name, list(turns))
        model.script(other, list(second))
        windows = {each: fields.pop(f"window_of_{each}", 8192) for each in ("first", "second")}
        for provider, url, window in (
            (name, base_url or model.base_url, windows["first"]),
            (other, model.base_url, windows["second"]),
        ):
            row = {"name": provider, "base_url": url, "api_key": "k", "default_model": provider}
            row |= {"context_tokens": window, "first_token_timeout": 1}
            assert product.request("POST", "/v1/providers", row)[0] == 201
        agent = {"name": name, "provider": name, "fallback_models": [{"provider": other}], **fields}
        status, body = product.request("POST", "/v1/agents", agent)
        assert status == 201, body
        return name, other

    return make


def warnings(chat) -> list[str]:
    return [
        each["data"]["message"] for each in chat.fold.of_type("warning") if each["data"]["code"] == "model_fallback"
    ]


FAILURES = {
    "dead": (None, "connection"),
    "slow": ([{"wait": "never"}], "no token within 1 second"),
    "broken": ([status(503, "Overloaded")], "Overloaded"),
    "rate limited": ([status(429, "Slow down")], "Slow down"),
    "of a wrong key": ([status(401, "No")], "API key"),
    "gone": ([status(404, "The model does not exist")], "does not exist"),
    "out of context": ([status(400, "too long", code="context_length_exceeded")], "too long"),
    "silent": ([{"text": ""}, {"finish": "stop"}], "without an answer"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_the_second_model_answers_where_the_first_is(make, product, open_chat, name, failure):
    turn, reason = FAILURES[failure]
    base_url = f"http://127.0.0.1:{free_port()}/v1" if turn is None else ""
    first, second = make(turn or [], base_url=base_url, window_of_second=9000)
    chat = open_chat(name)
    end = chat.ask("hi", agent_name=name)
    assert chat.fold.story() == [("final_answer", "from the second")]
    assert not chat.fold.of_type("retry")
    (warning,) = warnings(chat)
    assert reason in warning
    assert warning.startswith(f"The model {first!r} of {first!r} failed: ")
    assert warning.endswith(f" Asking the model {second!r} of {second!r} instead.")
    (frame,) = chat.fold.of_type("reasoning_step")
    run = product.request("GET", f"/v1/runs/{end['run_id']}")[1]
    (step,) = product.request("GET", f"/v1/runs/{end['run_id']}/steps")[1]["data"]
    assert run["status"] == "completed"
    for each in (frame["data"], run, step):
        assert (each["provider"], each["model"]) == (second, second)


@pytest.mark.both
def test_a_provider_that_fails_repeatedly_is_put_aside_until_it_works_again(make, product, open_chat, model, name):
    first, second = make([{"only_first": 3, "do": [status(503, "Overloaded")]}, {"text": "from the first"}])
    chat = open_chat(name)

    def state() -> str:
        return product.request("GET", f"/v1/providers/{first}")[1]["circuit"]

    for _ in range(3):
        assert state() == "closed"
        chat.ask("hi", agent_name=name)
    assert state() == "open"
    chat.ask("hi", agent_name=name)
    assert "failed repeatedly" in warnings(chat)[-1]
    assert len(model.requests(first)) == 3
    answers = [content for _, content in chat.fold.story()]
    assert answers == ["from the second"] * 4
    until(lambda: state() == "half_open")
    chat.ask("hi", agent_name=name)
    assert chat.fold.story()[-1] == ("final_answer", "from the first")
    assert state() == "closed"
    chat.ask("hi", agent_name=name)
    assert len(warnings(chat)) == 4
    assert len(model.requests(second)) == 4


def test_a_run_stays_with_the_model_that_answers_and_pays_each_its_price(make, product, open_chat, model, name):
    first, second = make(
        [CALL, USAGE], [status(503, "Overloaded")], second=[[], [CALL, USAGE], ANSWER], builtin_tools=["calculate"]
    )
    script = f"""
from agents_app.models import Price
for model, dollars in (({first!r}, 1), ({second!r}, 100)):
    Price.objects.create(model=model, input=dollars, output=0)
"""
    shell(product, script)
    chat = open_chat(name)
    end = chat.ask("hi", agent_name=name)
    run = product.request("GET", f"/v1/runs/{end['run_id']}")[1]
    assert (run["result"], run["model"], run["usage"]["input_tokens"]) == ("from the second", second, 3000)
    assert run["cost"] == "0.2010000000"  # 1,000 tokens at the first's price, 2,000 at the second's
    assert (len(model.requests(first)), len(model.requests(second)), len(warnings(chat))) == (2, 2, 1)
    steps = product.request("GET", f"/v1/runs/{end['run_id']}/steps")[1]["data"]
    assert [step["model"] for step in steps] == [first, "", second, "", second]


def test_after_its_first_token_a_turn_stays_with_its_model(make, open_chat, model, name):
    first, second = make([{"only_first": 1, "do": [{"text": "half an ans"}, {"cut": True}]}, {"text": "whole"}])
    chat = open_chat(name)
    chat.ask("hi", agent_name=name)
    assert chat.fold.story() == [("final_answer", "whole")]
    assert len(chat.fold.of_type("retry")) == 1
    assert (len(model.requests(first)), model.requests(second), warnings(chat)) == (2, [], [])


def test_a_rate_limit_of_a_moment_is_waited_for(make, open_chat, model, name):
    limit = status(429, "Slow down") | {"headers": {"Retry-After": "0.01"}}
    _, second = make([{"only_first": 1, "do": [limit]}, {"text": "from the first"}])
    chat = open_chat(name)
    chat.ask("hi", agent_name=name)
    assert chat.fold.story() == [("final_answer", "from the first")]
    assert model.requests(second) == []


def test_a_model_of_no_larger_window_gets_no_request_that_is_too_long(make, open_chat, model, name):
    """The first is asked again with less, as it is without a second model."""
    first, second = make([{"text": "ok"}])
    chat = open_chat(name)
    for number in range(3):
        chat.ask(f"message {number} " + "x" * 4000, agent_name=name)
    too_long = status(400, "too long", code="context_length_exceeded")
    model.script(first, [[{"only_first": 1, "do": [too_long]}, {"text": "at last"}]])
    chat.ask("and now?", agent_name=name)
    assert chat.fold.story()[-1] == ("final_answer", "at last")
    assert model.requests(second) == []


def test_each_model_gets_as_much_of_the_session_as_its_own_window_takes(make, open_chat, model, name):
    first, second = make([{"text": "ok"}], window_of_first=2000, window_of_second=100_000, compaction="off")
    chat = open_chat(name)
    for number in range(4):
        chat.ask(f"message {number} " + "x" * 3000, agent_name=name)
    model.script(first, [[status(503, "Overloaded")]])
    chat.ask("and now?", agent_name=name)
    own, other = model.requests(first)[-1], model.requests(second)[-1]
    assert len(own["messages"]) < len(other["messages"]) == 9


def test_where_all_models_fail_those_that_may_work_are_asked_again(make, open_chat, model, name):
    """The first one's key is wrong for good; the second one is overloaded once."""
    overloaded = status(503, "Overloaded") | {"headers": {"Retry-After": "0"}}
    first, second = make([status(401, "No")], second=[[{"only_first": 1, "do": [overloaded]}, *ANSWER]])
    chat = open_chat(name)
    chat.ask("hi", agent_name=name)
    assert chat.fold.story() == [("final_answer", "from the second")]
    assert (len(model.requests(first)), len(model.requests(second))) == (1, 2)
    model.script(first, [[status(401, "No")]])
    model.script(second, [[status(400, "Odd")]])
    assert chat.ask("hi", agent_name=name)["data"]["status"] == "failed"
    assert "Odd" in chat.fold.of_type("error")[-1]["data"]["message"]


@pytest.mark.parametrize(
    ("first_takes", "second_takes"), [(["text"], ["text", "image"]), (["text", "image"], ["text"])]
)
def test_each_model_gets_files_as_it_accepts_them(make, product, open_chat, model, name, first_takes, second_takes):
    first, second = make([status(503, "Overloaded")], parameters={"accepts": first_takes})
    fallbacks = [{"provider": second, "accepts": second_takes}]
    assert product.request("PATCH", f"/v1/agents/{name}", {"fallback_models": fallbacks})[0] == 200
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(picture()).decode()}"}}
    content = [{"type": "text", "text": "look"}, part]
    body = {"model": name, "messages": [{"role": "user", "content": content}]}
    assert product.request("POST", "/v1/chat/completions", body)[0] == 200
    for each, takes in ((first, first_takes), (second, second_takes)):
        (request,) = model.requests(each)
        assert ("image_url" in str(request["messages"])) == ("image" in takes)
