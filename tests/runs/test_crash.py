"""kill -9 at any point of a run, then a restart on the same data: nothing is lost, nothing is doubled."""

import random
import time

import pytest

from tests.harness.crashable import back_again, call, check_whole, tools
from tests.harness.fakes.fake_model_process import tool_results
from tests.harness.wait import until

pytestmark = pytest.mark.slow

FINAL = "The end of the story."


@pytest.fixture
def product(running):
    """The server that dies in these tests, alive."""
    return running


# In the middle of what the model says


@pytest.mark.parametrize("kind", ["text", "reasoning"])
def test_killed_while_the_model_speaks(agent, open_chat, product, model, name, kind):
    gate = {"only_first": 1, "do": [{"wait": f"{name}-never"}]}
    who = agent([{kind: "before the death "}, gate, {kind: "and after it"}, {"text": "" if kind == "text" else FINAL}])
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("before the death")
    product.kill()
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    whole = "before the death and after it"
    steps = [("final_answer", whole)] if kind == "text" else [("thought", whole), ("final_answer", FINAL)]
    assert sorted(check_whole(product, name, chat).story()) == sorted(steps)
    assert [frame["data"]["step"] for frame in chat.fold.of_type("retry")] == [0]
    assert len(model.requests(name)) == 2


def test_killed_while_several_tool_calls_arrive(agent, open_chat, product, model, name):
    first = [
        {"text": "I shall look."},
        call("calculate", "1"),
        call("calculate", "2"),
        {"wait": f"{name}-never"},
    ]
    who = agent(
        [{"only_first": 1, "do": first}, call("note", f"{name} one"), call("note", f"{name} two")],
        [{"text": FINAL}],
        **tools("note", "calculate"),
    )
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text('{"line":"2"}')
    product.kill()
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    check_whole(product, name, chat)
    assert sorted(product.effects(name)) == [f"{name} one", f"{name} two"]
    assert [f["data"]["step"] for f in chat.fold.of_type("retry")] == [1, 2], "the thought was finished, the calls not"


def test_killed_between_two_turns_the_finished_tool_is_not_called_again(agent, open_chat, product, model, name):
    who = agent(
        [{"text": "A thought."}, call("note", f"{name} one")],
        [{"text": "half "}, {"only_first": 1, "do": [{"wait": f"{name}-never"}]}, {"text": "of it"}],
        **tools("note"),
    )
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("half")
    product.kill()
    product.start()
    chat = back_again(chat, product, name)
    end = chat.until("reasoning_complete")
    story = check_whole(product, name, chat).story()
    assert [kind for kind, _ in story] == ["thought", "tool_use", "tool_result", "final_answer"]
    assert story[-1] == ("final_answer", "half of it")
    assert product.effects(name) == [f"{name} one"]
    requests = model.requests(name)
    assert len(requests) == 3
    assert requests[2]["messages"] == requests[1]["messages"], "the model is told the same as before the death"
    assert end["data"]["iterations"] == 2
    assert end["data"]["usage"]["tool_calls"] == 1


# At named points


@pytest.mark.parametrize(
    ("point", "reasoning"),
    [
        *((point, True) for point in ("rows-written", "published")),
        *((point, True) for point in ("deltas-deleted", "steps-written", "end-written")),
        *((point, False) for point in ("steps-written", "end-written")),
    ],
)
def test_killed_at_a_point_of_the_log(agent, open_chat, product, model, name, point, reasoning):
    who = agent([{"reasoning": "a thought", "delay": 0.01}, {"wait": name}, {"text": FINAL, "delay": 0.005}])
    chat = open_chat(name)
    product.crash_at(point)
    chat.say(f"hi {name}", agent_name=who, enable_reasoning=reasoning)
    if point == "deltas-deleted":
        chat.until_text("a thought")  # written on its own, so that there is something to delete
    model.release(name)
    product.wait_for_crash()
    product.start()
    chat = back_again(chat, product, name)
    if chat.fold.frames[-1:] == [] or chat.fold.frames[-1]["type"] != "reasoning_complete":
        chat.until("reasoning_complete")
    values = check_whole(product, name, chat)
    (run,) = product.runs(name)
    assert (run["status"], run["result"]) == ("completed", FINAL)
    answers = [content for kind, content in values.story() if kind == "final_answer"]
    if reasoning:
        assert answers == [FINAL]
    else:
        assert [frame["data"]["content"] for frame in values.of_type("response")] == [FINAL]
    kinds = [step["type"] for step in product.steps(run["id"])]
    assert kinds.count("final_answer") == 1


@pytest.mark.parametrize(
    ("point", "is_accepted"),
    [
        *((point, False) for point in ("session-written", "run-written")),
        *((point, True) for point in ("run-accepted", "start-written", "start-committed")),
    ],
)
def test_killed_at_a_point_of_a_start_or_claim(agent, open_chat, product, model, name, point, is_accepted):
    """What was accepted is there, what was not is not; the same message again is one run in either case."""
    who = agent([{"text": FINAL}])
    chat = open_chat(name)
    product.crash_at(point, name)
    chat.say(f"hi {name}", agent_name=who, message_id="the same")
    product.wait_for_crash()
    product.start()
    assert product.request("GET", f"/v1/sessions/{name}")[0] == (200 if is_accepted else 404)
    chat = back_again(chat, product, name)
    chat.say(f"hi {name}", agent_name=who, message_id="the same")
    chat.until("reasoning_complete")
    check_whole(product, name, chat)
    (run,) = product.runs(name)
    assert (run["status"], run["result"]) == ("completed", FINAL)
    assert len(model.requests(name)) == 1


# Tools


@pytest.mark.parametrize("point", ["tool-starting", "tool-done"])
def test_killed_in_a_tool_that_must_not_run_twice(agent, open_chat, product, model, name, point):
    who = agent([call("note", f"{name} one")], [{"text": FINAL}], **tools("note"))
    chat = open_chat(name)
    product.crash_at(point, name)
    chat.say("hi", agent_name=who)
    product.wait_for_crash()
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    check_whole(product, name, chat)
    assert product.effects(name) == ([] if point == "tool-starting" else [f"{name} one"])
    requests = model.requests(name)
    assert len(requests) == 2
    (values,) = tool_results(requests[1])
    assert "unknown" in values
    (result,) = [frame for frame in chat.fold.of_type("reasoning_step") if frame["data"]["type"] == "tool_result"]
    assert result["data"]["is_error"]
    assert result["data"]["content"] == values
    (run,) = product.runs(name)
    assert {step["status"] for step in product.steps(run["id"])} == {"finished"}


@pytest.mark.parametrize("point", ["tool-starting", "tool-done"])
def test_killed_in_a_tool_that_may_run_again(agent, open_chat, product, model, name, point):
    who = agent([call("note_again", f"{name} one")], [{"text": FINAL}], **tools("note_again"))
    chat = open_chat(name)
    product.crash_at(point, name)
    chat.say("hi", agent_name=who)
    product.wait_for_crash()
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    check_whole(product, name, chat)
    assert product.effects(name) == [f"{name} one"] * (1 if point == "tool-starting" else 2)
    assert tool_results(model.requests(name)[1]) == [f"noted {name} one"]


def test_killed_while_one_of_three_tools_hangs(agent, open_chat, product, model, name):
    """One has finished, one hangs and must not run twice, and one there never was."""
    who = agent(
        [call("note", f"{name} done"), call("hang", name), call("no_such_tool", "x")], [{"text": FINAL}],
        **tools("note", "hang"),
    )  # fmt: skip
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    while sum(kind == "tool_result" for kind, _ in chat.fold.story()) < 2:
        chat.next()
    product.wait_for_effect(f"hanging {name}")
    product.kill()
    product.start()
    chat = back_again(chat, product, name)
    end = chat.until("reasoning_complete")
    check_whole(product, name, chat)
    assert product.effects(name) == [f"{name} done", f"hanging {name}"] or product.effects(name) == [
        f"hanging {name}", f"{name} done",
    ]  # fmt: skip
    request = model.requests(name)[1]
    values = {
        message["tool_call_id"]: message["content"] for message in request["messages"] if message["role"] == "tool"
    }
    calls = next(message["tool_calls"] for message in request["messages"] if message["role"] == "assistant")
    assert set(values) == {each["id"] for each in calls}, "every call is answered once"
    assert [any(word in text for text in values.values()) for word in ("noted", "unknown", "There is no tool")] == [
        True
    ] * 3
    assert end["data"]["usage"]["tool_calls"] == 3


# Around a run


def test_what_was_queued_behind_a_killed_run_goes_in_its_order(agent, open_chat, product, model, name):
    who = agent([{"only_first": 1, "do": [{"text": "busy"}, {"wait": f"{name}-never"}]}, {"echo": True}])
    chat = open_chat(name)
    for word in ("first", "second", "third"):
        chat.say(word, agent_name=who, message_id=word)
    chat.until_text("busy")
    until(lambda: len(product.runs(name)) == 3)
    product.kill()
    product.start()
    chat = back_again(chat, product, name)
    chat.say("second", agent_name=who, message_id="second")  # a client that is not sure whether it was accepted
    for _ in range(3):
        chat.until("reasoning_complete")
    check_whole(product, name, chat)
    assert [frame["data"]["message"] for frame in chat.fold.of_type("reasoning_start")] == [
        "first",
        "second",
        "third",
    ]


def test_a_cancel_that_came_just_before_the_death_still_counts(agent, open_chat, product, model, name):
    who = agent([call("stubborn", name)], [{"text": FINAL}], **tools("stubborn"))
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    product.wait_for_effect(f"stubborn {name}")
    (run,) = product.runs(name)
    assert product.request("POST", f"/v1/runs/{run['id']}/cancel")[0] == 202
    product.kill()
    product.start()
    chat = back_again(chat, product, name)
    if not chat.fold.of_type("reasoning_complete"):
        chat.until("reasoning_complete")
    assert chat.fold.frames[-1]["data"]["status"] == "cancelled"
    assert [frame["type"] for frame in chat.fold.frames][-2:] == ["interrupted", "reasoning_complete"]
    assert len(model.requests(name)) == 1


# At any moment


def test_killed_five_times_at_any_moment(product, model, open_chat, name):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    whole = "".join(f"{word} " for word in range(120))
    sessions = [f"{name}-{number}" for number in range(8)]
    for session in sessions:
        model.script(
            session,
            [
                [
                    {"reasoning": whole, "delay": 0.006},
                    call("note", f"{session} a"),
                    call("note", f"{session} b"),
                ],
                [{"text": "let me see", "delay": 0.002}, call("note_again", f"{session} again")],
                [{"text": whole, "delay": 0.006}],
            ],
        )
        product.add_agent(session, model.base_url, **tools("note", "note_again"))
    chats = {session: open_chat(session) for session in sessions}
    for session in sessions:
        chats[session].say("go", agent_name=session)
        chats[session].until("reasoning_start")  # what has not arrived is the client's to send again
    for _ in range(5):
        time.sleep(dice.uniform(0.05, 0.9))  # a moment of the dice, not a wait for something
        product.kill()
        product.start()
        chats = {session: back_again(chat, product, session) for session, chat in chats.items()}
    for session, chat in chats.items():
        if not chat.fold.of_type("reasoning_complete"):
            chat.until("reasoning_complete")
        story = check_whole(product, session, chat).story()
        assert [content for kind, content in story if kind == "final_answer"] == [whole]
        assert {content for kind, content in story if kind == "thought"} <= {whole, "let me see"}
        assert sum(kind == "tool_result" for kind, _ in story) == 3
        effects = product.effects(session)
        assert effects.count(f"{session} a") <= 1
        assert effects.count(f"{session} b") <= 1
        (run,) = product.runs(session)
        assert (run["status"], run["result"]) == ("completed", whole)
        chat.close()


# However close the reasons to end come together


def test_an_interrupt_that_comes_with_the_answer_ends_the_run_once(product, model, open_chat, name):
    sessions = [f"{name}-{number}" for number in range(20)]
    chats = {}
    for session in sessions:
        model.script(session, [[{"text": "half "}, {"wait": name}, {"text": "and whole"}]])
        product.add_agent(session, model.base_url)
        chats[session] = open_chat(session, after=0)
        chats[session].say("hi", agent_name=session)
    for chat in chats.values():
        chat.until_text("half ")
    model.release(name)
    for chat in chats.values():
        chat.send("interrupt")
    for session, chat in chats.items():
        end = chat.until("reasoning_complete")
        chat.ask("and then?", agent_name=session)
        (first, second) = product.runs(session)
        assert (first["status"], second["status"]) == (end["data"]["status"], "completed")
        frames = [frame["type"] for frame in product.log_of(session).frames]
        assert frames.count("reasoning_complete") == 2
        assert frames.count("interrupted") == (first["status"] == "cancelled")
        chat.close()


# While the conversation is summarized


@pytest.mark.parametrize("point", ["in the request", "steps-written", "published"])
def test_killed_while_the_conversation_is_summarized_there_is_one_summary(
    agent, open_chat, product, model, name, point
):
    gate = [{"only_first": 1, "do": [{"wait": f"{name}-never"}]}] if point == "in the request" else []
    who = agent([{"text": "Fine. " * 40}])
    model.script(name, [[{"text": "Fine. " * 400}]], summary=[*gate, {"text": f"{name} is summarized."}])
    chat = open_chat(name)
    for number in range(2):
        chat.ask(f"number {number} " + "word " * 400, agent_name=who)
    assert product.request("PATCH", f"/v1/agents/{who}", {"compact_at": 20})[0] == 200
    if point == "in the request":
        chat.say("the last one " + "word " * 400, agent_name=who)
        model.wait_for_request(name, 3)
        product.kill()
    else:
        product.crash_at(point, f"{name} is summarized.")
        chat.say("the last one " + "word " * 400, agent_name=who)
        product.wait_for_crash()
    product.start()
    chat = back_again(chat, product, name)
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    (compaction,) = check_whole(product, name, chat).of_type("compaction")
    assert f"{name} is summarized." in compaction["data"]["summary"]
    asked = [request["turn"] for request in model.requests(name)[2:]]
    assert asked == ([-1, 0] if point == "published" else [-1, -1, 0]), "a finished summary is not made again"
    assert f"{name} is summarized." in model.requests(name)[-1]["messages"][0]["content"]
