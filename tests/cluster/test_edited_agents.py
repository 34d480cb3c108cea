"""A run keeps the agent that accepted it, as the model sees it, however often the agent is edited meanwhile."""

import pytest

from tests.harness.chat import Chat
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.wait import until
from tests.harness.watchers import FaultyCluster

pytestmark = pytest.mark.slow

WORKERS = ("worker-1", "worker-2")


def test_an_agent_is_edited_while_its_runs_wait_for_approval_in_the_queue_and_for_a_worker(
    whole: FaultyCluster, model: FakeModel, name: str
):
    call = {"tool_call": {"name": "note", "arguments": {"line": name}}}
    model.script(
        name, [[call], [{"text": "half "}, {"only_first": 1, "do": [{"wait": f"{name}-never"}]}, {"text": "!"}]]
    )
    whole.add_agent(name, model.base_url, system_prompt="first", builtin_tools=["note"], approval_required=["note"])
    chat = Chat(whole.socket_url(name, after=0), cursor=0)

    def edit(system_prompt: str) -> None:
        change = {"system_prompt": system_prompt, "builtin_tools": [], "approval_required": []}
        assert whole.request("PATCH", f"/v1/agents/{name}", change)[0] == 200

    def approve() -> None:
        call_id = chat.until("approval_required")["data"]["tool_call_id"]
        chat.send("approve", tool_call_id=call_id, approved=True)

    chat.say("one", agent_name=name)
    model.wait_for_request(name)
    until(lambda: whole.runs(name)[0]["status"] == "waiting")
    chat.say("two", agent_name=name)
    until(lambda: len(whole.runs(name)) == 2)
    edit("second")  # while the first run waits for approval, and the second one behind it
    approve()
    chat.until_text("half ")
    for worker in WORKERS:
        whole.kill(worker)
    edit("third")  # while the first run has no worker
    for worker in WORKERS:
        whole.start(worker)
    chat.until("reasoning_complete")
    approve()
    chat.until("reasoning_complete")
    chat.ask("three", agent_name=name)
    chat.close()

    seen = [_prompt_and_tools(request) for request in model.requests(name)]
    assert seen[:5] == [("first", ["note"])] * 5
    assert seen[5] == ("third", [])
    assert [run["agent_version"] for run in whole.runs(name)] == [1, 1, 3]


def _prompt_and_tools(request: dict) -> tuple[str, list[str]]:
    tools = request["fields"].get("tools") or ()
    return request["messages"][0]["content"], [tool["function"]["name"] for tool in tools]
