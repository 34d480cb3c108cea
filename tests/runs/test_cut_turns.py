"""A model's turn that ends early or odd: what is executed, shown, and told to the model."""

import asyncio
import json

import pytest
from django.utils import timezone

from agents_app.engine.loop import Turns
from agents_app.engine.spec import AgentSpec, ModelSpec
from agents_app.engine.tool_calls import CUT_CALL
from agents_app.engine.toolset import Tool, Toolset
from agents_app.models import Run, Session, Step
from agents_app.worker.conversation import conversation
from tests.harness.one_model import only

NO_ARGUMENTS = {"tool_call": {"name": "current_time", "arguments": "", "fragments": 1}}
WHOLE = {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}
BROKEN = {"tool_call": {"name": "calculate", "arguments": '{"expression": "2+', "fragments": 1}}


def event(**choice: object) -> dict:
    return {"raw": f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n"}


def chat_of(agent, open_chat, name, *turns, **fields):
    who = agent(*turns, builtin_tools=["calculate", "current_time"], **fields)
    chat = open_chat(name, after=0)
    assert chat.ask("go", agent_name=who)["data"]["status"] == "completed", chat.fold.frames[-3:]
    return chat


def results(chat) -> list[tuple[str, bool]]:
    steps = [frame["data"] for frame in chat.fold.of_type("reasoning_step")]
    return sorted((step["content"], step["is_error"]) for step in steps if step["type"] == "tool_result")


def warnings(chat) -> list[str]:
    return [frame["data"]["code"] for frame in chat.fold.of_type("warning")]


@pytest.mark.both
@pytest.mark.parametrize("reason", ["length", "content_filter", None])
@pytest.mark.parametrize("cut", [NO_ARGUMENTS, BROKEN], ids=["no arguments", "half of them"])
def test_a_call_that_may_be_cut_is_not_made(agent, open_chat, model, name, reason, cut):
    end = {"finish": reason} if reason else {"no_finish": True}
    chat = chat_of(agent, open_chat, name, [WHOLE, cut, end], [{"text": "I see."}])
    made, not_made = results(chat)
    assert made == ("2", False)
    assert not_made[0].startswith("This call was not made: ")
    assert not_made[1]
    assert warnings(chat) == ["calls_cut_off"]
    messages = model.requests(name)[1]["messages"]
    assert sorted(message["content"] for message in messages if message["role"] == "tool") == ["2", not_made[0]]


def test_a_call_without_arguments_is_made_if_the_turn_ended_whole(agent, open_chat, name):
    chat = chat_of(agent, open_chat, name, [NO_ARGUMENTS], [{"text": "It is late."}])
    assert [is_error for _, is_error in results(chat)] == [False]


def test_a_call_without_required_arguments_is_not_made(agent, open_chat, name):
    call = {"tool_call": {"name": "calculate", "arguments": "", "fragments": 1}}
    ((reason, is_error),) = results(chat_of(agent, open_chat, name, [call], [{"text": "Sorry."}]))
    assert is_error
    assert "'expression' is a required property" in reason


@pytest.mark.django_db
def test_a_cut_call_is_not_made_after_a_restart_either(admin_user):
    """Although its tool may be called again, and its arguments look like none."""
    session = Session.objects.create(name="s", owner=admin_user)
    run = Run.objects.create(session=session, number=1, prompt="go", attempt=2, trigger="api")
    for index, kind, status, data in (
        (0, "tool_use", "finished", {"text": "", "cut": "length"}),
        (1, "tool_result", "started", {}),
    ):
        Step.objects.create(
            run=run, index=index, iteration=1, kind=kind, status=status, tool_call_id="a", tool_name="reset_all",
            provider_data=data, started_at=timezone.now(),
        )  # fmt: skip

    async def reset_all(arguments, call):
        raise AssertionError("it was called")

    async def first_step():
        tool = Tool("reset_all", "Resets.", {"type": "object"}, reset_all, idempotent=True)
        spec = AgentSpec("a", "", ModelSpec("openai", "", "", (), "m", 8192))
        return await anext(Turns(spec, rebuilt, only(spec, None), Toolset([tool])).events())

    rebuilt = conversation(run)
    step = asyncio.run(first_step())
    assert (step.content, step.is_error) == (CUT_CALL["length"], True)


def test_a_refusal_is_the_answer(agent, open_chat, name):
    turn = [event(delta={"refusal": "I cannot "}), event(delta={"refusal": "help."}), {"finish": "stop"}]
    assert chat_of(agent, open_chat, name, turn).fold.story() == [("final_answer", "I cannot help.")]


def test_an_answer_after_the_second_try_is_an_answer(agent, open_chat, name):
    turn = [{"only_first": 1, "do": [{"reasoning": "hm"}, {"finish": "stop"}, {"end": True}]}, {"text": "At last."}]
    chat = chat_of(agent, open_chat, name, turn)
    assert chat.fold.story() == [("final_answer", "At last.")]
    assert [frame["data"]["delay_ms"] for frame in chat.fold.of_type("retry")]


@pytest.mark.parametrize("reasoning", [True, False])
def test_an_end_without_a_reason_is_said_to_be_possibly_cut(agent, open_chat, product, name, reasoning):
    who = agent([{"text": "An answer"}, {"no_finish": True}])
    chat = open_chat(name, after=0)
    end = chat.ask("go", agent_name=who, enable_reasoning=reasoning)
    assert end["data"]["status"] == "completed"
    assert warnings(chat) == ["answer_may_be_cut"]
    assert product.request("GET", f"/v1/runs/{end['run_id']}")[1]["result"] == "An answer"


def test_a_thought_after_the_answer_leaves_it_the_answer(agent, open_chat, name):
    chat = chat_of(agent, open_chat, name, [{"text": "42"}, {"reasoning": "That was easy."}, {"finish": "stop"}])
    assert sorted(chat.fold.story()) == [("final_answer", "42"), ("thought", "That was easy.")]


def test_what_was_streamed_before_a_lone_closing_tag_becomes_a_thought(agent, open_chat, product, name):
    chat = chat_of(agent, open_chat, name, [{"text": "I should add.\n</think>\n\n42"}])
    assert chat.fold.story() == [("thought", "I should add.\n"), ("final_answer", "42")]
    run = product.request("GET", f"/v1/runs/{chat.fold.frames[-1]['run_id']}")[1]
    assert run["result"] == "42"


def test_long_integers_stay_exact(agent, open_chat, model, name):
    number = 2**70 + 1
    call = {"tool_call": {"name": "calculate", "arguments": f'{{"expression": "1", "n": {number}}}'}}
    chat = chat_of(agent, open_chat, name, [call], [{"text": "ok"}])
    uses = [frame["data"] for frame in chat.fold.of_type("reasoning_step") if frame["data"]["type"] == "tool_use"]
    assert uses[0]["arguments"]["n"] == number
    assert str(number) in model.requests(name)[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"]
