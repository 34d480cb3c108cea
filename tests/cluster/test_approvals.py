"""An approval in a cluster: asked by one worker, which dies, answered on the other instance, carried out elsewhere."""

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.harness.chat import Chat
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.wait import until
from tests.harness.watchers import FaultyCluster

pytestmark = pytest.mark.slow


def open_chat(cluster: FaultyCluster, instance: int, session: str) -> Chat:
    base = cluster.web_urls[instance].replace("http", "ws", 1)
    return Chat(f"{base}/ws/chat/{session}?after=0", cursor=0)


def test_answered_on_another_instance_after_every_worker_has_died(whole: FaultyCluster, model: FakeModel, name: str):
    model.script(
        name, [[{"tool_call": {"name": "note", "arguments": {"line": name}, "id": "call_1"}}], [{"text": "!"}]]
    )
    whole.add_agent(name, model.base_url, builtin_tools=["note"], approval_required=["note"])
    one, other = open_chat(whole, 0, name), open_chat(whole, 1, name)
    one.say("do it", agent_name=name)
    for chat in (one, other):
        chat.until("approval_required")
    until(lambda: whole.runs(name)[0]["status"] == "waiting")
    for worker in ("worker-1", "worker-2"):
        whole.kill(worker)
    other.send("approve", tool_call_id="call_1", approved=True)
    for chat in (one, other):
        assert chat.until("approval_resolved")["data"]["approved"]
    assert whole.effects(name) == []
    whole.start("worker-1")
    for chat in (one, other):
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        chat.close()
    assert whole.effects(name) == [name]
    whole.start("worker-2")


def test_two_programs_give_a_result_on_two_instances_after_every_worker_has_died(
    whole: FaultyCluster, model: FakeModel, name: str
):
    model.script(name, [[{"tool_call": {"name": "look", "arguments": {}, "id": "call_1"}}], [{"text": "!"}]])
    whole.add_agent(name, model.base_url, client_tools=[{"name": "look"}])
    body = {"model": name, "messages": [{"role": "user", "content": "Look."}]}
    first = httpx2.post(f"{whole.web_urls[0]}/v1/chat/completions", json=body, timeout=30).json()
    made = first["choices"][0]["message"]["tool_calls"][0]["id"]
    for worker in ("worker-1", "worker-2"):
        whole.kill(worker)
    path = f"/v1/actions/{made.replace('call_', 'act_')}/answer"
    answer = {"outcome": "answered", "response": "A cat."}
    with ThreadPoolExecutor() as pool:
        sent = [pool.submit(httpx2.post, url + path, json=answer, timeout=30) for url in whole.web_urls]
        assert sorted(each.result().status_code for each in sent) == [202, 409]
    whole.start("worker-1")
    messages = [
        *body["messages"],
        first["choices"][0]["message"],
        {"role": "tool", "tool_call_id": made, "content": "A cat."},
    ]
    again = httpx2.post(
        f"{whole.web_urls[1]}/v1/chat/completions", json=body | {"messages": messages}, timeout=30
    ).json()
    assert again["choices"][0]["message"]["content"] == "!"
    whole.start("worker-2")


def test_expires_once_with_two_workers(whole: FaultyCluster, model: FakeModel, name: str):
    model.script(name, [[{"tool_call": {"name": "note", "arguments": {"line": name}}}], [{"text": "!"}]])
    fields = {"builtin_tools": ["note"], "approval_required": ["note"], "approval_timeout": 1}
    whole.add_agent(name, model.base_url, **fields)
    chats = [open_chat(whole, 0, f"{name}-{number}") for number in range(5)]
    for chat in chats:
        chat.say("do it", agent_name=name)
    for chat in chats:
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        assert len(chat.fold.of_type("approval_resolved")) == 1
        chat.close()
    assert whole.effects(name) == []


def test_an_agent_is_asked_whichever_worker_answers(whole: FaultyCluster, model: FakeModel, name: str):
    model.script(f"{name}-other", [[{"text": "It is 42."}]])
    whole.add_agent(f"{name}-other", model.base_url)
    ask = {"name": "ask_agent", "arguments": {"agent": f"{name}-other", "message": "What is it?"}}
    model.script(name, [[{"tool_call": ask}, {"tool_call": ask}], [{"text": "done"}]])
    whole.add_agent(name, model.base_url, builtin_tools=["ask_agent"])
    chats = [open_chat(whole, number % 2, f"{name}-{number}") for number in range(6)]
    for chat in chats:
        chat.say("go", agent_name=name)
    for chat in chats:
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        results = [f["data"] for f in chat.fold.of_type("reasoning_step") if f["data"]["type"] == "tool_result"]
        assert [(step["content"], step["is_error"]) for step in results] == [("It is 42.", False)] * 2
        chat.close()
