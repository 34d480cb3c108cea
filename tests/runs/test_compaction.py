"""A conversation that is larger than the model's window: shortened in two steps, and nothing is lost without a word."""

import json
import os
import time
import urllib.request
import uuid

import pytest

from tests.harness.fakes.fake_model_process import tool_results

WINDOW = 8000  # tokens
CALLS = int(os.environ.get("COMPACTION_CALLS", "30"))  # of tools in one run; the issue asks for 200
RUNS = int(os.environ.get("COMPACTION_RUNS", "30"))  # of one session
PAGE = 14_000  # characters of a result: over 4,000 of the tokens that the estimate begins with
SUMMARY = "The user is called Ada."


def upload(product, text: str) -> str:
    boundary = uuid.uuid4().hex
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="book.txt"\r\n'
        f"Content-Type: text/plain\r\n\r\n{text}\r\n--{boundary}--\r\n"
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(f"{product.url}/v1/files", body.encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["id"]


@pytest.fixture
def bounded(product, model, name):
    """An agent whose model refuses what is longer than its window."""

    def make(*turns: list[dict], window: int = WINDOW, summary: list[dict] | None = None, **fields: object) -> str:
        model.script(name, list(turns), window=window, summary=summary or [{"text": SUMMARY}])
        provider = {"name": name, "kind": "openai", "base_url": model.base_url, "context_tokens": window}
        assert product.request("POST", "/v1/providers", provider)[0] == 201
        created = {"name": name, "provider": name, "model": name, "max_iterations": 500, **fields}
        status, answer = product.request("POST", "/v1/agents", created)
        assert status == 201, answer
        return name

    return make


def summaries(model, name) -> list[dict]:
    return [request for request in model.requests(name) if request["turn"] == -1]


def compactions(chat, kind: str) -> list[dict]:
    return [frame["data"] for frame in chat.fold.of_type("compaction") if frame["data"]["kind"] == kind]


def ask_again(chat, message: str, **payload: object) -> dict:
    """Ask; once more after the time that the server names, if so many runs of a large session come too fast."""
    chat.say(message, **payload)
    while (frame := chat.until("reasoning_complete", "error"))["type"] == "error":
        time.sleep(frame["data"]["retry_after"])
        chat.say(message, **payload)
    return frame


def assert_accepted(model, name) -> None:
    assert all(request["status"] == 200 for request in model.requests(name)), "a request was longer than the window"


@pytest.mark.both
def test_a_run_of_many_large_results_ends_well_and_reads_the_first_again(bounded, open_chat, product, model, name):
    file_id = upload(product, "".join(f"line {number:06}\n" for number in range(CALLS * PAGE // 12 + PAGE)))
    read = {"name": "read_file", "arguments": {"file_id": file_id, "offset": 24, "limit": PAGE}}
    turn = [{"only_first": CALLS, "do": [{"tool_call": read}]}, {"text": "It is done."}]
    who = bounded(turn, builtin_tools=["read_file"])
    chat = open_chat(name, after=0)
    assert chat.ask("Read it all", agent_name=who)["data"]["status"] == "completed"
    assert_accepted(model, name)
    assert compactions(chat, "tool_results")
    if CALLS >= 30:
        assert compactions(chat, "summary"), "the lines in the place of results have filled the window"
    first = next(frame["data"] for frame in chat.fold.of_type("reasoning_step") if "tool_call_id" in frame["data"])
    again = {"name": "read_result", "arguments": {"tool_call_id": first["tool_call_id"], "limit": 12}}
    model.script(name, [[{"tool_call": again}], [{"text": "line 2"}]], window=WINDOW, summary=[{"text": SUMMARY}])
    assert chat.ask("How did it begin?", agent_name=who)["data"]["status"] == "completed"
    request = model.requests(name)[-1]
    assert tool_results(request)[-1].startswith("line 000002\n")
    assert first["tool_call_id"] in json.dumps(request["messages"][:-3]), "the model is told of the first result"
    assert_accepted(model, name)


@pytest.mark.both
def test_a_long_session_still_knows_what_an_early_run_said(bounded, open_chat, product, model, name):
    who = bounded([{"text": "Fine. " * 50}], window=2000, system_prompt="Be kind.")
    chat = open_chat(name, after=0)
    for number in range(RUNS):
        said = f"I am Ada, number {number}" if number == 3 else f"number {number} " + "word " * 60
        assert ask_again(chat, said, agent_name=who)["data"]["status"] == "completed"
    assert_accepted(model, name)
    (first, *others) = summaries(model, name)
    assert "I am Ada" in first["messages"][1]["content"]
    assert all(SUMMARY in request["messages"][1]["content"] for request in others), "each goes on from the one before"
    messages = model.requests(name)[-1]["messages"]
    assert messages.pop(0) == {"role": "system", "content": "Be kind."}
    assert SUMMARY in messages[0]["content"]
    assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"]
    assert not chat.fold.of_type("warning")
    told = compactions(chat, "summary")
    assert 2 <= len(told) <= len(summaries(model, name)) < RUNS / 2
    assert all(each["tokens_after"] < each["tokens_before"] and SUMMARY in each["summary"] for each in told)
    ends = {frame["seq"] for frame in chat.fold.of_type("reasoning_complete")}
    assert all(each["upto_seq"] in ends for each in told)
    status, context = product.request("GET", f"/v1/sessions/{name}/context")
    assert status == 200
    expected = ["Be kind.", *(m["content"] for m in messages[:-1])]
    contents = [each["content"] for each in context["messages"][:-2]]
    assert contents[:3] == expected[:3], "prompt, summary, acknowledgement"
    if os.environ.get("PRODUCT") == "cluster":  # each process learns for itself how long a token is
        fewer = min(len(contents), len(expected)) - 3
        assert fewer > 0 and contents[-fewer:] == expected[-fewer:]
    else:
        assert contents == expected
    assert context["messages"][1]["kind"] == "summary"
    assert context["left_out"]["runs"] == RUNS - (len(context["messages"]) - 3) // 2
    assert (
        0 < context["tokens"] == sum(each["tokens"] for each in context["messages"]) < context["context_window"] == 2000
    )
    run = product.request("GET", f"/v1/sessions/{name}/runs?ordering=-number&limit=1")[1]["data"][0]
    assert run["context_window"] == 2000 and 0 < run["context_tokens"] < 2000
    assert chat.fold.frames[-1]["data"]["context_tokens"] == run["context_tokens"]


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ([{"finish": "stop"}], ""),
        ([{"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}], ""),
        ([{"status": 400}], ""),
        ([{"reasoning": "hm " * 20_000, "chunk": 4096}, {"wait": "never"}], ""),
        ([{"text": "Ada. "}, {"tool_call": {"name": "calculate", "arguments": "{}"}}], "Ada."),
        ([{"text": "Ada " * 50_000, "chunk": 4096}, {"wait": "never"}], "Ada Ada"),
    ],
)
def test_whatever_a_model_writes_instead_of_a_summary_the_run_goes_on(bounded, open_chat, model, name, turn, said):
    who = bounded([{"text": "Fine. " * 50}], window=2000, summary=turn)
    chat = open_chat(name, after=0)
    for number in range(8):
        assert chat.ask(f"number {number} " + "word " * 120, agent_name=who)["data"]["status"] == "completed"
    assert_accepted(model, name) if turn != [{"status": 400}] else None
    warnings = {frame["data"]["code"] for frame in chat.fold.of_type("warning")}
    told = compactions(chat, "summary")
    if said:
        assert not warnings
        assert said in told[0]["summary"] and len(told[0]["summary"]) < 3000
    else:
        assert not told
        assert warnings == {"summary_failed", "history_cut"}


def test_only_administrators_see_the_prompt_in_the_context_of_a_session(closed_product, people, model, name):
    model.script(name, [[{"text": "ok"}]])
    people["boss"].add_agent(name, model.base_url, system_prompt="The word is swordfish.")
    chat = people["ann"].chat(name)
    chat.ask("hi", agent_name=name)
    chat.close()
    status, seen = people["ann"].request("GET", f"/v1/sessions/{name}/context")
    assert status == 200
    assert [(each["role"], each["content"]) for each in seen["messages"]] == [
        ("system", None), ("user", "hi"), ("assistant", "ok"),
    ]  # fmt: skip
    assert people["bob"].request("GET", f"/v1/sessions/{name}/context")[0] == 404
    pk = people["ann"].request("GET", f"/v1/sessions/{name}")[1]["id"]
    whole = people["boss"].request("GET", f"/v1/sessions/{pk}/context")[1]
    assert whole["messages"][0]["content"] == "The word is swordfish."
