"""Whose process a server is: what one user told it, another user's agent is not told."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from agents_app.engine import mcp
from agents_app.engine.mcp import pool
from agents_app.engine.toolset import ToolsUnavailable
from tests.harness.fakes import own_mcp_server
from tests.harness.fakes.mcp_servers import own

pytestmark = pytest.mark.slow

OWN = str(Path(own_mcp_server.__file__).resolve())


@pytest.mark.parametrize(("scope", "notes"), [("shared", [1, 2, 3]), ("user", [1, 2, 1]), ("session", [1, 1, 1])])
def test_what_a_server_remembers_stays_in_its_scope(people, model, name, scope, notes):
    boss, ann, bob = people["boss"], people["ann"], people["bob"]
    server = {"name": name[-10:], "command": sys.executable, "args": [OWN], "scope": scope}
    status, answer = boss.request("POST", "/v1/mcp-servers", server)
    assert status == 201, answer
    call = {"tool_call": {"name": f"{server['name']}__remember", "arguments": {"note": "a"}}}
    model.script(name, [[call], [{"text": "Done."}]])
    boss.add_agent(name, model.base_url, mcp_servers=[server["name"]])
    results = []
    for person, session in ((ann, f"{name}-1"), (ann, f"{name}-2"), (bob, f"{name}-1")):
        chat = person.chat(session, after=0)
        assert chat.ask("remember", agent_name=name)["data"]["status"] == "completed"
        steps = [frame["data"] for frame in chat.fold.of_type("reasoning_step")]
        results.append(json.loads(next(step["content"] for step in steps if step["type"] == "tool_result")))
        chat.close()
    assert [len(result["notes"]) for result in results] == notes
    users = [result["user"] for result in results]
    assert users[0] == users[1] != users[2] and all(len(user) == 32 and "ann" not in user for user in users)


def test_a_new_server_is_each_users_own(people, name):
    body = {"name": name[-10:], "command": "true"}
    answer = people["boss"].request("POST", "/v1/mcp-servers", body)[1]
    assert (answer["scope"], answer["sandbox"]) == ("user", "network")


def test_the_connection_that_waited_longest_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "MOST_OF_SERVER", 2)
    specs = [own(tmp_path / user, scope=user) for user in ("a", "b", "c")]

    async def remember(spec) -> int:
        result = await mcp.call_tool(spec, "remember", {"note": "x"}, lambda _: None)
        return len(json.loads(result.content)["notes"])

    async def story():
        try:
            counts = [await remember(specs[user]) for user in (0, 1, 0, 2, 0, 1)]  # the third takes b's place
            slow = [
                asyncio.create_task(mcp.call_tool(spec, "slow", {"seconds": 30}, lambda _: None)) for spec in specs[:2]
            ]
            await asyncio.sleep(0)
            with pytest.raises(ToolsUnavailable, match="too many have it in use"):
                await remember(specs[2])
            for call in slow:
                call.cancel()
            await asyncio.wait(slow)
            return counts
        finally:
            await mcp.close_servers()

    assert asyncio.run(story()) == [1, 1, 2, 1, 3, 1]
