"""What a model is told of the session so far."""

import json
import threading

import pytest


def heard(model, name) -> list[dict]:
    """The messages of the newest request."""
    return model.requests(name)[-1]["messages"]


def spoken(messages: list[dict]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]


def assert_well_formed(messages: list[dict]) -> None:
    """What every model's template takes: users and assistants in turn, and each call with its result."""
    roles = [m["role"] for m in messages if m["role"] != "tool" and not m.get("tool_calls")]
    roles = roles[1:] if roles[0] == "system" else roles
    assert roles == ["user" if number % 2 == 0 else "assistant" for number in range(len(roles))]
    assert roles[-1] == "user"
    response: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            response.remove(message["tool_call_id"])
        else:
            assert not response, "a call without a result"
            response = [call["id"] for call in message.get("tool_calls") or ()]
    assert not response


@pytest.mark.both
def test_a_session_remembers_its_messages(agent, open_chat, model, name):
    who = agent([{"text": "Nice to meet you"}], system_prompt="Be kind.")
    chat = open_chat(name)
    chat.ask("I am Ada", agent_name=who)
    chat.ask("Who am I?", agent_name=who)
    assert spoken(heard(model, name)) == [
        ("system", "Be kind."),
        ("user", "I am Ada"),
        ("assistant", "Nice to meet you"),
        ("user", "Who am I?"),
    ]


@pytest.mark.both
def test_two_sessions_of_one_agent_never_see_each_others_words(agent, open_chat, model, name):
    who = agent([{"echo": True}])
    sessions = [open_chat(f"{name}-{number}") for number in range(2)]
    for turn in range(3):
        for number, chat in enumerate(sessions):
            chat.say(f"secret {number} of turn {turn}", agent_name=who)
        for chat in sessions:
            chat.until("reasoning_complete")
    for request in model.requests(name):
        payload = json.dumps(request["messages"])
        assert ("secret 0" in payload) != ("secret 1" in payload)


@pytest.mark.both
def test_many_sessions_at_once_do_not_mix(agent, open_chat, model, name):
    who = agent([{"sleep": 0.02}, {"text": "ok"}])

    def talk(number: int) -> None:
        chat = open_chat(f"{name}-{number}")
        for turn in range(3):
            chat.ask(f"<{number}> turn {turn}", agent_name=who)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    requests = model.requests(name)
    assert len(requests) == 36
    for request in requests:
        users = [m["content"] for m in request["messages"] if m["role"] == "user"]
        mine = users[0].split()[0]
        assert users == [f"{mine} turn {turn}" for turn in range(len(users))]


@pytest.mark.both
def test_a_session_is_remembered_by_whichever_agent_answers(agent, product, open_chat, model, name):
    who = agent([{"text": "I am the first"}])
    model.script(f"{name}-b", [[{"text": "I am the second"}]])
    product.add_agent(f"{name}-b", model.base_url, system_prompt="Be brief.")
    chat = open_chat(name)
    chat.ask("one", agent_name=who)
    chat.ask("two", agent_name=f"{name}-b")
    assert spoken(heard(model, f"{name}-b")) == [
        ("system", "Be brief."), ("user", "one"), ("assistant", "I am the first"), ("user", "two"),
    ]  # fmt: skip


@pytest.fixture
def small(product, model, name):
    """An agent whose model takes in no more than 600 tokens."""

    def make(*turns: list[dict], **fields: object) -> str:
        model.script(name, list(turns))
        provider = {"name": name, "kind": "openai", "base_url": model.base_url, "context_tokens": 600}
        assert product.request("POST", "/v1/providers", provider)[0] == 201
        created = {
            "name": name,
            "provider": name,
            "model": name,
            "system_prompt": "Never forget me.",
            "compaction": "off",
            **fields,
        }
        assert product.request("POST", "/v1/agents", created)[0] == 201
        return name

    return make


@pytest.mark.parametrize("length", [200, 400, 1500])
def test_the_oldest_words_go_first_and_the_system_prompt_stays(small, open_chat, model, name, length):
    who = small([{"text": "yes " * (length // 8)}])
    chat = open_chat(name)
    for number in range(12):
        chat.ask(f"{number:02} " + "word " * (length // 5), agent_name=who)
    whole = 0
    for number, request in enumerate(model.requests(name)):
        messages = request["messages"]
        assert_well_formed(messages)
        assert messages[0] == {"role": "system", "content": "Never forget me."}
        users = [int(m["content"][:2]) for m in messages if m["role"] == "user"]
        assert users == list(range(number - len(users) + 1, number + 1)), "a gap, or not the newest"
        assert sum(len(m["content"]) for m in messages) / 6 < 600
        whole += len(users) == number + 1
    assert 1 <= whole < 12, "nothing was ever left out"
    warned = {frame["run_id"] for frame in chat.fold.of_type("warning") if frame["data"]["code"] == "history_cut"}
    assert len(warned) == 12 - whole, "each run says that messages were left out"


def test_a_message_that_is_longer_than_the_context_is_asked_all_the_same(small, open_chat, model, name):
    who = small([{"text": "long"}])
    chat = open_chat(name)
    chat.ask("short", agent_name=who)
    assert chat.ask("x" * 50_000, agent_name=who)["data"]["status"] == "completed"
    assert [role for role, _ in spoken(heard(model, name))] == ["system", "user"]


def test_tool_rounds_are_left_out_whole_or_not_at_all(small, open_chat, model, name):
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}
    who = small([call, call], [{"text": "word " * 30}], builtin_tools=["calculate"])
    chat = open_chat(name)
    for number in range(8):
        chat.ask(f"message {number}", agent_name=who)
    for request in model.requests(name):
        if request["turn"] == 0:
            assert_well_formed(request["messages"])
            assert request["messages"][1]["role"] == "user"


@pytest.mark.both
def test_tool_rounds_of_earlier_runs_are_sent(agent, open_chat, model, name):
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}, "id": "call_a"}}
    who = agent([{"text": "I calculate"}, call], [{"text": "It is 42"}], builtin_tools=["calculate"])
    chat = open_chat(name)
    chat.ask("what is 6*7?", agent_name=who)
    chat.ask("sure?", agent_name=who)
    messages = model.requests(name)[2]["messages"]
    assert_well_formed(messages)
    assert spoken(messages) == [
        ("user", "what is 6*7?"),
        ("assistant", "I calculate"),
        ("tool", "42"),
        ("assistant", "It is 42"),
        ("user", "sure?"),
    ]
    assert messages[1]["tool_calls"][0]["function"] == {
        "name": "calculate",
        "arguments": '{"expression":"6*7"}',
    }


@pytest.mark.both
@pytest.mark.parametrize("text", ["", "I was about"])
@pytest.mark.parametrize("reasoning", [True, False])
def test_history_after_a_cancelled_run_is_well_formed(agent, open_chat, model, name, text, reasoning):
    stuck = [{"reasoning": "hm"}, *([{"text": text}] if text else []), {"wait": "never"}]
    who = agent([{"only_first": 1, "do": stuck}, {"text": "fine"}])
    chat = open_chat(name)
    chat.say("one", agent_name=who, enable_reasoning=reasoning)
    model.wait_for_request(name)
    if reasoning:
        chat.until_text(text or "hm")
    chat.send("interrupt")
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    assert chat.ask("two", agent_name=who)["data"]["status"] == "completed"
    messages = heard(model, name)
    assert_well_formed(messages)
    assert [m["content"] for m in messages if m["role"] == "user"] == ["one", "two"]
    if text and reasoning:
        assert messages[1]["content"] == text


@pytest.mark.both
def test_history_after_a_failed_run_is_well_formed(agent, open_chat, model, name):
    who = agent([{"only_first": 1, "do": [{"status": 400}]}, {"text": "fine"}])
    chat = open_chat(name)
    assert chat.ask("one", agent_name=who)["data"]["status"] == "failed"
    assert chat.ask("two", agent_name=who)["data"]["status"] == "completed"
    assert_well_formed(heard(model, name))
    assert "400" not in heard(model, name)[1]["content"], "our errors are not the model's words"


@pytest.mark.both
def test_history_after_a_run_that_stopped_among_its_tools_is_well_formed(agent, open_chat, model, name):
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}
    who = agent([call], [{"only_first": 1, "do": [{"wait": "never"}]}, {"text": "fine"}], builtin_tools=["calculate"])
    chat = open_chat(name)
    chat.say("one", agent_name=who)
    model.wait_for_request(name, 2)
    chat.send("interrupt")
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    assert chat.ask("two", agent_name=who)["data"]["status"] == "completed"
    for request in model.requests(name):
        assert_well_formed([m for m in request["messages"] if request["turn"] == 0] or [{"role": "user"}])


@pytest.mark.both
def test_history_after_a_run_that_was_cancelled_in_the_queue_is_well_formed(agent, open_chat, model, name):
    who = agent([{"only_first": 1, "do": [{"text": "busy"}, {"wait": "never"}]}, {"text": "fine"}])
    chat = open_chat(name)
    chat.say("one", agent_name=who)
    chat.until_text("busy")
    chat.say("two", agent_name=who)
    chat.send("interrupt")
    for _ in range(2):
        chat.until("reasoning_complete")
    chat.ask("three", agent_name=who)
    assert_well_formed(heard(model, name))


def test_an_empty_answer_leaves_a_well_formed_history(agent, open_chat, model, name):
    who = agent([{"finish": "stop"}])
    chat = open_chat(name)
    assert chat.ask("one", agent_name=who)["data"]["status"] == "failed"
    model.script(name, [[{"text": "ok"}]])
    assert chat.ask("two", agent_name=who)["data"]["status"] == "completed"
    messages = heard(model, name)
    assert_well_formed(messages)
    assert all(message["content"] for message in messages)


@pytest.mark.both
def test_odd_characters_come_through_to_the_model_and_back(agent, open_chat, model, name):
    odd = 'Grüße 👩‍👩‍👧 \u202e עברית \u2028 \x01 \ufffd \U0010ffff "quoted" \\u0000 </think> {{x}} %s'
    who = agent([{"echo": True, "chunk": 1}])
    chat = open_chat(name)
    chat.ask(odd, agent_name=who)
    assert heard(model, name)[-1]["content"] == odd
    assert json.loads(chat.fold.story()[-1][1])[-1]["content"] == odd
    assert chat.fold.frames[0]["data"]["message"] == odd
