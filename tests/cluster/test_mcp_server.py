"""/mcp in a cluster: any request reaches any instance, and a call outlives the instance that it came to."""

import asyncio

import pytest

from tests.harness.clients.mcp_client import Progress, Raw, client, events, run
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.wait import until
from tests.harness.watchers import FaultyCluster

pytestmark = pytest.mark.slow


def test_a_call_outlives_each_instance(whole: FaultyCluster, model: FakeModel, name: str):
    """The official client comes back through the load balancer with the last event's id, and gets its answer."""
    model.script(name, [[{"wait": name}, {"text": "Still here."}]])
    whole.add_agent(name, model.base_url)

    async def story() -> None:
        async with client(whole.url, token=whole.token) as connected:
            progress = Progress()
            names = {"message": "go", "agent_name": name}
            call = asyncio.create_task(connected.call_tool("run_agent", names, progress_callback=progress))
            await progress.seen("has started")
            await asyncio.to_thread(model.wait_for_request, name)
            for web in ("web-1", "web-2"):
                await asyncio.to_thread(whole.kill, web)
                await asyncio.to_thread(whole.start, web)
            model.release(name)
            result = await call
            assert result.content[0].text == "Still here."
            assert progress.numbers == sorted(set(progress.numbers))

    run(story)
    assert len(model.requests(name)) == 1


def test_a_cancel_that_reaches_another_instance(whole: FaultyCluster, model: FakeModel, name: str):
    model.script(name, [[{"text": "Let me "}, {"wait": f"{name}-never"}]])
    whole.add_agent(name, model.base_url)
    raw = Raw(whole)
    here, there = (web.port for web in whole.webs)
    stream = events(raw.call(3, port=here, message="go", agent_name=name, session_id=name))
    assert next(message for _, message in stream if message)["method"] == "notifications/progress"
    model.wait_for_request(name)
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}
    assert raw.send("POST", cancelled, port=there).status == 202
    model.wait_for_abort(name)
    until(lambda: whole.runs(name)[0]["status"] == "cancelled")
    raw.hang_up()
