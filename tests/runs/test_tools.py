"""Tools: how calls are read from the model's stream, called, shown, and told to the model."""

import json
import re
import time

import pytest

from tests.harness.chat import Chat

BOTH = ["calculate", "current_time"]


def calculate(expression: str, **more: object) -> dict:
    return {"tool_call": {"name": "calculate", "arguments": {"expression": expression}, **more}}


def raw_calls(*pieces: dict) -> list[dict]:
    """Actions that stream pieces of calls just as they are, and finish."""
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    return [{"raw": f"data: {json.dumps(event)}\n\n"} for event in events] + [{"finish": "tool_calls"}]


def steps(chat: Chat) -> list[dict]:
    return [frame["data"] for frame in chat.fold.of_type("reasoning_step")]


def results(chat: Chat) -> list[str]:
    return [step["content"] for step in steps(chat) if step["type"] == "tool_result"]


@pytest.fixture
def ask(agent, open_chat, name):
    """Let an agent with both tools play some turns; the chat when its run has completed."""

    def play(*turns: list[dict], **payload: object) -> Chat:
        who = agent(*turns, builtin_tools=BOTH)
        chat = open_chat(name, after=0)
        assert chat.ask("do it", agent_name=who, **payload)["data"]["status"] == "completed"
        return chat

    return play


@pytest.mark.both
def test_a_tool_is_called_and_the_model_gets_its_result(ask, model, name):
    chat = ask([calculate("6 * 7", id="call_a")], [{"text": "It is 42."}])
    use, result, answer = steps(chat)
    assert (use["type"], use["tool_name"], use["tool_call_id"]) == ("tool_use", "calculate", "call_a")
    assert use["arguments"] == json.loads(use["content"]) == {"expression": "6 * 7"}
    assert (result["type"], result["content"], result["is_error"]) == ("tool_result", "42", False)
    assert (result["tool_name"], result["tool_call_id"]) == ("calculate", "call_a")
    assert (answer["type"], answer["content"]) == ("final_answer", "It is 42.")
    assert [step["iteration"] for step in steps(chat)] == [1, 1, 2]
    assert [step["step"] for step in steps(chat)] == [0, 1, 2]
    assert all(step["duration_ms"] >= 0 for step in (use, result))
    requests = model.requests(name)[1]["messages"][-2:]
    assert requests[0]["tool_calls"][0]["id"] == requests[1]["tool_call_id"] == "call_a"
    assert requests[1] == {"role": "tool", "tool_call_id": "call_a", "content": "42"}


def test_the_model_gets_the_list_of_tools(ask, model, name):
    ask([{"text": "none needed"}])
    tools = model.requests(name)[0]["fields"]["tools"]
    assert [tool["function"]["name"] for tool in tools] == BOTH
    assert all(tool["function"]["parameters"]["type"] == "object" for tool in tools)


def test_an_agent_without_tools_offers_none(agent, open_chat, model, name):
    who = agent([{"text": "ok"}])
    open_chat(name).ask("hi", agent_name=who)
    assert "tools" not in model.requests(name)[0]["fields"]


def test_the_time_can_be_asked_for(ask):
    chat = ask(
        [
            {"tool_call": {"name": "current_time", "arguments": ""}},
            {"tool_call": {"name": "current_time", "arguments": {"timezone": "Asia/Tokyo"}}},
        ],
        [{"text": "so late"}],
    )
    requests = sorted(results(chat))
    years = [str(time.gmtime().tm_year + more) for more in (-1, 0, 1)]
    assert all(any(year in each for year in years) for each in requests)
    assert re.search(r"T\d\d:\d\d:\d\d\+0900 \(Asia/Tokyo\)$", "\n".join(requests), re.M)
    assert re.search(r"\+0000 \(UTC\)$", "\n".join(requests), re.M)


@pytest.mark.both
def test_several_calls_of_one_turn_are_matched_to_their_results(ask, model, name):
    chat = ask([calculate("1 + 1"), calculate("2 + 2"), calculate("3 + 3")], [{"text": "done"}])
    uses = {step["tool_call_id"]: step for step in steps(chat) if step["type"] == "tool_use"}
    match = {step["tool_call_id"]: step for step in steps(chat) if step["type"] == "tool_result"}
    assert len(uses) == 3
    assert {uses[key]["arguments"]["expression"]: match[key]["content"] for key in uses} == {
        "1 + 1": "2", "2 + 2": "4", "3 + 3": "6",
    }  # fmt: skip
    last = model.requests(name)[1]["messages"]
    assert [message["role"] for message in last[-4:]] == ["assistant", "tool", "tool", "tool"]
    assert len(last[-4]["tool_calls"]) == 3


def test_tools_may_be_called_turn_after_turn(ask):
    chat = ask([calculate("1 + 1")], [calculate("2 * 2")], [calculate("3 ** 3")], [{"text": "27"}])
    assert results(chat) == ["2", "4", "27"]
    assert [step["iteration"] for step in steps(chat)] == [1, 1, 2, 2, 3, 3, 4]
    end = chat.fold.frames[-1]["data"]
    assert (end["iterations"], end["usage"]["tool_calls"], end["usage"]["requests"]) == (4, 3, 4)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_arguments_may_come_in_fragments(ask, count):
    chat = ask([calculate("(1 + 2) * 3", fragments=count) | {"delay": 0.002}], [{"text": "9"}])
    assert results(chat) == ["9"]


@pytest.mark.parametrize(
    "pieces",
    [
        [
            {"id": "a", "function": {"name": "calculate", "arguments": '{"expression":'}},
            {"function": {"arguments": '"1+1"}'}},
            {"id": "b", "function": {"name": "calculate", "arguments": '{"expression":"2+2"}'}},
        ],
        [
            {"index": 0, "function": {"name": "calculate", "arguments": '{"expression":"1+1"}'}},
            {"index": 1, "function": {"name": "calculate", "arguments": '{"expression":"2+2"}'}},
        ],
        [
            {"index": 0, "id": "a", "function": {"name": "calculate", "arguments": {"expression": "1+1"}}},
            {"index": 0, "id": "b", "function": {"name": "calculate", "arguments": {"expression": "2+2"}}},
        ],
        [
            {
                "index": 0,
                "id": "same",
                "function": {"name": "calculate", "arguments": '{"expression":"1+1"}'},
            },
            {
                "index": 1,
                "id": "same",
                "function": {"name": "calculate", "arguments": '{"expression":"2+2"}'},
            },
        ],
    ],
    ids=["no index", "no id", "all numbered 0", "all called the same"],
)
def test_calls_of_servers_that_take_the_api_lightly(ask, model, name, pieces):
    chat = ask(raw_calls(*pieces), [{"text": "done"}])
    assert sorted(results(chat)) == ["2", "4"]
    *_, assistant, one, two = model.requests(name)[1]["messages"]
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert all(ids)
    assert sorted(ids) == sorted([one["tool_call_id"], two["tool_call_id"]])
    assert len(set(ids)) == 2


def test_a_tool_that_does_not_exist_is_an_error_that_the_model_can_mend(ask, model, name):
    chat = ask(
        [{"tool_call": {"name": "launch rockets!", "arguments": {"at": "moon"}}}],
        [calculate("1 + 1")],
        [{"text": "mended"}],
    )
    wrong = steps(chat)[1]
    assert wrong["is_error"]
    assert "launch rockets!" in wrong["content"]
    assert "calculate" in wrong["content"]
    assert chat.fold.story()[-1] == ("final_answer", "mended")
    reminded = model.requests(name)[1]["messages"][-2]["tool_calls"][0]["function"]["name"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", reminded), "strict servers refuse any other name in a history"


@pytest.mark.parametrize(
    "arguments",
    ["{not json", '{"expression": "1"}{"expression": "2"}', "[1, 2]", '"text"', "7", "null", '{"expression": '],
)
def test_arguments_that_are_no_object_are_an_error_that_the_model_can_mend(ask, model, name, arguments):
    chat = ask([{"tool_call": {"name": "calculate", "arguments": arguments}}], [{"text": "sorry"}])
    use, result, _ = steps(chat)
    assert use["content"] == arguments, "what the model wrote is shown as it is"
    assert use["arguments"] == {}
    assert result["is_error"]
    assert "JSON object" in result["content"]
    requests = model.requests(name)[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(requests) == {}


@pytest.mark.parametrize(
    "arguments",
    [{}, {"expression": 7}, {"expression": ""}, {"expression": ["1"]}, {"expression": "1+1" * 500}],
)
def test_arguments_that_do_not_fit_the_tool_are_an_error(ask, arguments):
    chat = ask([{"tool_call": {"name": "calculate", "arguments": arguments}}], [{"text": "sorry"}])
    assert steps(chat)[1]["is_error"]


def test_no_calculation_keeps_the_server_busy_or_reaches_anything_else(ask):
    expressions = [
        "9 ** 9 ** 9", "2 ** -999999999", "round(5, -100000000)", "'a' * 10 ** 9", "'a'.zfill(10 ** 10)",
        "f'{1:1000000000}'", "1 << 10 ** 9", "*".join(["9 ** 3000"] * 90), "-" * 990 + "1", "(" * 990,
        "__import__('os').system('id')", "open('/etc/passwd')", "().__class__", "[1] * 10 ** 9", "1; 2",
        "a = 1", "lambda: 1", "int", "1 / 0", "1e308 ** 2", "sqrt(-1)", "'%1000000000d' % 1",
        "True", "None", "…",
    ]  # fmt: skip
    began = time.monotonic()
    chat = ask([calculate(expression) for expression in expressions], [{"text": "done"}])
    requests = [step for step in steps(chat) if step["type"] == "tool_result"]
    wrong = [step["arguments"]["expression"] for step in requests if not step["is_error"]]
    assert wrong == []
    assert len(requests) == len(expressions)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("expression", "value"),
    [("(2 + 3) * 4 / 8", "2.5"), ("2 ** 10 % 7", "2"), ("-7 // 2", "-4"), ("sqrt(16) + abs(-1)", "5.0"),
     ("round(pi, 4)", "3.1416"), ("max(1, 2, 3) - min(4, 5)", "-1"), (" 1_000 + 0x10 ", "1016"),
     ("round(2.5)", "2")],
)  # fmt: skip
def test_arithmetic_is_right(ask, expression, value):
    chat = ask([calculate(expression)], [{"text": "done"}])
    assert results(chat) == [value]


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "../../etc/passwd", "Europe", "x" * 5000, "a\x00b", 7, ["UTC"], {"a": 1}]
)
def test_a_time_zone_that_does_not_exist_is_an_error(ask, zone):
    chat = ask([{"tool_call": {"name": "current_time", "arguments": {"timezone": zone}}}], [{"text": "sorry"}])
    result = steps(chat)[1]
    assert result["is_error"]
    assert "time zone" in result["content"] or "timezone" in result["content"]


@pytest.mark.both
def test_text_before_a_tool_call_becomes_a_thought(ask, model, name):
    chat = ask([{"text": "Let me calculate."}, calculate("1 + 1")], [{"text": "2"}])
    assert [step["type"] for step in steps(chat)] == ["thought", "tool_use", "tool_result", "final_answer"]
    assert steps(chat)[0]["content"] == "Let me calculate."
    first = chat.fold.of_type("reasoning_delta")
    assert not first or first[0]["data"]["type"] in ("final_answer", "tool_use")
    assert model.requests(name)[1]["messages"][-2]["content"] == "Let me calculate."


def test_text_after_a_tool_call_is_not_lost(ask, model, name):
    chat = ask([calculate("1 + 1"), {"text": "while that runs"}], [{"text": "2"}])
    assert ("thought", "while that runs") in chat.fold.story()
    assert model.requests(name)[1]["messages"][-2]["content"] == "while that runs"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_under_either_name(ask, model, name, field):
    chat = ask([{"reasoning": "I had better think", "field": field, "delay": 0.002}, {"text": "Thought."}])
    assert chat.fold.story() == [("thought", "I had better think"), ("final_answer", "Thought.")]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_thoughts_in_tags_that_are_cut_across_chunks(ask, size):
    text = "<think>\nIs 1 < 2? </thi is no tag\n</think>\n\nYes: 1 < 2 </think>"
    chat = ask([{"text": text, "chunk": size, "delay": 0.001}])
    thought, answer = chat.fold.story()
    assert thought == ("thought", "Is 1 < 2? </thi is no tag\n")
    assert answer == ("final_answer", "Yes: 1 < 2 </think>")


@pytest.mark.both
def test_a_thought_a_text_and_a_call_in_one_turn(ask):
    chat = ask(
        [{"reasoning": "hm"}, {"text": "I shall"}, calculate("1 + 1")],
        [{"text": "<think>aha</think>Two."}],
    )
    values = [step["content"] for step in steps(chat) if step["type"] == "thought"]
    assert values == ["hm", "I shall", "aha"]
    assert chat.fold.story()[-1] == ("final_answer", "Two.")


def test_without_reasoning_tools_are_called_all_the_same(ask, product, model, name):
    chat = ask([calculate("1 + 1")], [{"echo": True}], enable_reasoning=False)
    assert [f["type"] for f in chat.fold.frames] == ["reasoning_start", "response", "reasoning_complete"]
    heard = json.loads(chat.fold.frames[1]["data"]["content"])
    assert heard[-1] == {"role": "tool", "content": "2"}
    run_id = chat.fold.frames[-1]["run_id"]
    kinds = [step["type"] for step in product.request("GET", f"/v1/runs/{run_id}/steps")[1]["data"]]
    assert kinds == ["tool_use", "tool_result", "final_answer"]
    assert chat.fold.frames[-1]["data"]["usage"]["tool_calls"] == 1


@pytest.mark.both
def test_a_late_watcher_sees_the_same_tools(ask, open_chat, name):
    chat = ask([{"text": "hm"}, calculate("1 + 1"), calculate("{bad")], [{"text": "done"}])
    late = open_chat(name, after=0)
    late.until("reasoning_complete")
    assert steps(late) == steps(chat)
