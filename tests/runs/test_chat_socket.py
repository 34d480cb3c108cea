"""The chat socket, seen from a client: PROTOCOL, section 1."""

import json

import pytest
from websockets.sync.client import connect

from tests.harness.chat import Fold


@pytest.mark.slow
def test_the_seeds_own_client_gets_an_answer_from_the_real_default_model(product):
    """The seed's client, verbatim: no Origin, no session made before, `websockets`."""
    with connect(f"ws://127.0.0.1:{product.port}/ws/chat/test") as websocket:
        websocket.send(
            json.dumps(
                {
                    "type": "chat",
                    "payload": {"message": "Hello!", "agent_name": "researcher", "enable_reasoning": False},
                }
            )
        )
        seen = []
        while True:
            frame = json.loads(websocket.recv(60))
            if frame["type"] == "ping":  # a real model may take its time
                continue
            seen.append(frame)
            if frame["type"] in ("error", "response", "reasoning_complete"):
                break
    assert [frame["type"] for frame in seen] == ["connected", "reasoning_start", "response"]
    assert seen[-1]["data"]["content"].strip()


@pytest.mark.both
def test_a_run_has_its_frames_in_the_order_of_the_protocol(agent, open_chat, model, name):
    who = agent(
        [
            {"reasoning": "let me think"},
            {"wait": f"{name}-thought"},
            {"text": "Hello there", "delay": 0.05},
            {"wait": f"{name}-answered"},
            {"usage": {"prompt_tokens": 7, "completion_tokens": 5}},
        ]
    )
    chat = open_chat(name, after=0)
    chat.say("hi", agent_name=who, message_id="m1")
    chat.until_text("let me think")
    model.release(f"{name}-thought")
    chat.until_text("Hello there")
    model.release(f"{name}-answered")
    end = chat.until("reasoning_complete")
    kinds = [frame["type"] for frame in chat.fold.frames]
    assert kinds[0] == "reasoning_start"
    assert kinds[-1] == "reasoning_complete"
    assert set(kinds[1:-1]) == {"reasoning_delta", "reasoning_step"}
    assert chat.fold.frames[0]["data"] == {
        "agent": who, "message": "hi", "enable_reasoning": True, "message_id": "m1", "trigger": "chat",
        "number": 1,
    }  # fmt: skip
    assert chat.fold.story() == [("thought", "let me think"), ("final_answer", "Hello there")]
    assert end["data"]["status"] == "completed"
    assert end["data"]["iterations"] == 1
    assert end["data"]["usage"]["input_tokens"] == 7
    assert end["data"]["usage"]["output_tokens"] == 5
    assert end["data"]["usage"]["requests"] == 1


def test_without_reasoning_there_is_only_the_response(agent, open_chat, name):
    who = agent([{"reasoning": "secret"}, {"text": "Plain answer"}])
    chat = open_chat(name, after=0)
    chat.ask("hi", agent_name=who, enable_reasoning=False)
    assert [f["type"] for f in chat.fold.frames] == ["reasoning_start", "response", "reasoning_complete"]
    assert chat.fold.frames[1]["data"] == {"content": "Plain answer"}


@pytest.mark.both
def test_tokens_arrive_while_the_model_is_still_speaking(agent, open_chat, model, name):
    who = agent([{"text": "first half"}, {"wait": name}, {"text": " second half"}])
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("first half")
    assert not chat.fold.of_type("reasoning_step")
    model.release(name)
    chat.until("reasoning_complete")
    assert chat.fold.story() == [("final_answer", "first half second half")]


@pytest.mark.both
def test_two_tabs_on_one_session_both_see_everything(agent, open_chat, name):
    who = agent([{"reasoning": "hm"}, {"text": "An answer for both"}])
    one, two = open_chat(name), open_chat(name)
    one.ask("from one", agent_name=who)
    two.until("reasoning_complete")
    two.ask("from two", agent_name=who)
    one.until("reasoning_complete")
    assert one.fold.story() == two.fold.story()
    assert [f["data"]["message"] for f in one.fold.of_type("reasoning_start")] == ["from one", "from two"]


@pytest.mark.both
def test_a_tab_that_joins_late_sees_the_whole_session(agent, open_chat, model, name):
    who = agent([{"text": "told before"}, {"wait": name}, {"text": " and after"}])
    early = open_chat(name)
    early.say("hi", agent_name=who)
    early.until_text("told before")
    late = open_chat(name, after=0)
    assert late.connected["data"]["runs"][0]["status"] == "running"
    late.until_text("told before")
    model.release(name)
    for chat in (early, late):
        chat.until("reasoning_complete")
    assert late.fold.story() == early.fold.story() == [("final_answer", "told before and after")]


@pytest.mark.both
def test_a_tab_without_a_cursor_gets_only_what_happens_from_now_on(agent, open_chat, name):
    who = agent([{"text": "an answer"}])
    first = open_chat(name)
    first.ask("one", agent_name=who)
    second = open_chat(name)
    assert second.connected["data"]["last_seq"] == first.fold.cursor
    second.ask("two", agent_name=who)
    assert [f["data"]["message"] for f in second.fold.of_type("reasoning_start")] == ["two"]


@pytest.mark.both
@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_tab_that_reconnects_gets_exactly_what_it_missed(agent, open_chat, model, name, cut):
    who = agent([{"text": "a" * 40, "chunk": 4, "delay": 0.005}, {"wait": name}, {"text": "b" * 40, "chunk": 4}])
    whole, leaving = open_chat(name, after=0), open_chat(name, after=0)
    whole.say("hi", agent_name=who)
    for _ in range(cut):
        if leaving.fold.story() != [("final_answer", "a" * 40)]:  # told in fewer frames than the model's
            leaving.next()
    leaving.close()
    whole.until_text("a" * 40)
    model.release(name)
    whole.until("reasoning_complete")
    back = open_chat(name, after=leaving.fold.cursor)
    back.fold.steps.update(leaving.fold.steps)
    back.until("reasoning_complete")
    assert back.fold.story() == whole.fold.story()


@pytest.mark.both
def test_resume_replays_on_the_same_socket(agent, open_chat, name):
    who = agent([{"text": "an answer"}])
    chat = open_chat(name)
    chat.ask("hi", agent_name=who)
    story = chat.fold.story()
    chat.fold = Fold(0)
    chat.send("resume", after=0)
    chat.until("reasoning_complete")
    assert chat.fold.story() == story


@pytest.mark.both
def test_a_cursor_from_the_future_is_reset_and_not_left_deaf(agent, open_chat, name):
    who = agent([{"text": "an answer"}])
    open_chat(name).ask("hi", agent_name=who)
    chat = open_chat(name, after=10**9)
    reset = chat.next()
    assert reset["type"] == "reset"
    chat.fold = Fold(reset["data"]["after"])
    chat.ask("again", agent_name=who)


@pytest.mark.both
def test_interrupt_closes_the_models_socket_and_ends_the_run(agent, open_chat, model, name):
    who = agent([{"text": "I will never"}, {"wait": "never"}])
    chat, other = open_chat(name), open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("I will never")
    other.send("interrupt")
    assert model.wait_for_abort(name)
    end = chat.until("reasoning_complete")
    assert end["data"]["status"] == "cancelled"
    assert [f["type"] for f in chat.fold.frames[-2:]] == ["interrupted", "reasoning_complete"]


@pytest.mark.both
def test_interrupt_also_ends_what_is_still_queued(agent, open_chat, model, name):
    who = agent([{"text": "busy"}, {"wait": "never"}])
    chat = open_chat(name)
    chat.say("one", agent_name=who)
    chat.until_text("busy")
    chat.say("two", agent_name=who)
    chat.say("three", agent_name=who)
    chat.send("ping", timestamp=1)
    chat.until("pong")
    chat.send("interrupt")
    ends = [chat.until("reasoning_complete") for _ in range(3)]
    assert [end["data"]["status"] for end in ends] == ["cancelled"] * 3
    assert len(model.requests(name)) == 1


@pytest.mark.both
def test_a_named_run_is_interrupted_and_the_next_one_starts(agent, open_chat, name):
    who = agent([{"only_first": 1, "do": [{"text": "stuck"}, {"wait": "never"}]}, {"text": "the second"}])
    chat = open_chat(name)
    chat.say("one", agent_name=who)
    chat.until_text("stuck")
    run_id = chat.fold.frames[0]["run_id"]
    chat.say("two", agent_name=who)
    chat.send("interrupt", run_id=run_id)
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"


@pytest.mark.both
def test_messages_of_a_busy_session_are_answered_one_after_the_other(agent, open_chat, name):
    who = agent([{"text": "answer"}])
    chat = open_chat(name)
    for text in ("one", "two", "three"):
        chat.say(text, agent_name=who)
    for _ in range(3):
        chat.until("reasoning_complete")
    order = [
        (f["type"], f["data"].get("message"))
        for f in chat.fold.frames
        if f["type"] in ("reasoning_start", "reasoning_complete")
    ]
    assert [message for _, message in order] == ["one", None, "two", None, "three", None]


@pytest.mark.both
def test_a_busy_session_can_refuse(agent, open_chat, name):
    who = agent([{"text": "busy"}, {"wait": "never"}])
    chat = open_chat(name)
    chat.say("one", agent_name=who)
    chat.until_text("busy")
    chat.say("two", agent_name=who, if_busy="reject")
    assert chat.until("error")["data"]["code"] == "session_busy"
    chat.send("interrupt")
    chat.until("reasoning_complete")


@pytest.mark.both
def test_a_message_can_interrupt_what_goes_on(agent, open_chat, name):
    who = agent([{"only_first": 1, "do": [{"text": "busy"}, {"wait": "never"}]}, {"text": "the new answer"}])
    chat = open_chat(name)
    chat.say("one", agent_name=who)
    chat.until_text("busy")
    chat.say("two", agent_name=who, if_busy="interrupt")
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert chat.fold.story()[-1] == ("final_answer", "the new answer")


@pytest.mark.both
def test_the_same_message_id_again_is_the_same_run(agent, open_chat, model, name):
    who = agent([{"text": "once"}])
    chat, other = open_chat(name), open_chat(name)
    for socket in (chat, other, chat):
        socket.say("hi", agent_name=who, message_id="same")
    chat.until("reasoning_complete")
    chat.ask("another", agent_name=who)
    assert len(chat.fold.of_type("reasoning_start")) == 2
    assert len(model.requests(name)) == 2


@pytest.mark.both
def test_the_session_remembers_its_agent(agent, open_chat, name):
    who = agent([{"text": "it is me"}])
    open_chat(name).ask("hi", agent_name=who)
    again = open_chat(name)
    assert again.connected["data"]["agent_name"] == who
    again.ask("who?")
    assert again.fold.frames[0]["data"]["agent"] == who


def test_the_query_names_an_agent_for_the_socket(agent, open_chat, name):
    who = agent([{"text": "it is me"}])
    chat = open_chat(name, agent_name=who)
    assert chat.connected["data"]["agent_name"] == who
    chat.ask("hi")
    assert chat.fold.frames[0]["data"]["agent"] == who


def test_a_ping_is_answered_with_its_timestamp(open_chat, name):
    chat = open_chat(name)
    chat.send("ping", timestamp=12.5)
    assert chat.until("pong")["data"] == {"timestamp": 12.5}
    chat.socket.send('{"type":"ping","timestamp":99}')
    assert chat.until("pong")["data"] == {"timestamp": 99}


@pytest.mark.both
def test_a_deleted_session_closes_its_sockets_and_its_id_begins_anew(product, agent, open_chat, name):
    who = agent([{"text": "an answer"}])
    chat = open_chat(name)
    chat.ask("hi", agent_name=who)
    assert product.request("DELETE", f"/v1/sessions/{name}")[0] == 204
    assert chat.close_code() == 4404
    again = open_chat(name, after=0)
    assert again.connected["data"]["last_seq"] == 0
    again.ask("hi", agent_name=who)
    assert again.fold.frames[0]["seq"] == 1
