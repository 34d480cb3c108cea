"""One user floods the queue by each trigger in turn; the wait of another user has a bound."""

import asyncio
import contextlib
import datetime
import functools
from collections.abc import Callable, Iterator

import pytest

from tests.harness.clients.mcp_client import client, run
from tests.harness.clocked import add_task, whole_list
from tests.harness.cluster import Cluster
from tests.harness.people import Person, invite
from tests.harness.product import Product
from tests.harness.wait import until

FLOOD = 6  # runs that wait before the other user comes
PLACES = 2
SETTINGS = {"AUTH_REQUIRED": "true", "WORKER_CONCURRENCY": str(PLACES)}


@pytest.fixture(scope="module", params=["embedded", pytest.param("cluster", marks=pytest.mark.slow)])
def people(request, tmp_path_factory) -> Iterator[dict[str, Person]]:
    """An administrator, Eve, who floods, and Ann, of a server that executes two runs at a time."""
    folder = tmp_path_factory.mktemp("waiting")
    is_cluster = request.param == "cluster"
    with Cluster(web=1, workers=1, **SETTINGS) if is_cluster else Product(folder / "var", **SETTINGS) as server:
        yield invite(server, "boss", "eve", "ann")


def by_chat(eve: Person, agent: str) -> None:
    for number in range(FLOOD):
        chat = eve.chat(f"{agent}-{number}")
        chat.say("hi", agent_name=agent)
        chat.close()


def by_rest(eve: Person, agent: str) -> None:
    for _ in range(FLOOD):
        assert eve.request("POST", f"/v1/agents/{agent}/runs", {"message": "hi"})[0] == 202


def by_openai(eve: Person, agent: str) -> None:
    for _ in range(FLOOD):
        assert eve.request("POST", "/v1/responses", {"model": agent, "input": "hi", "background": True})[0] == 200


def by_task(eve: Person, agent: str) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    for _ in range(FLOOD):
        add_task(eve, agent, schedule_type="once", schedule_value=soon.isoformat())


def by_mcp(eve: Person, agent: str) -> None:
    async def story() -> None:
        async with client(eve.product.url, token=eve.token) as connected:
            arguments = {"message": "hi", "agent_name": agent, "wait_seconds": 0}
            await asyncio.gather(*(connected.call_tool("run_agent", arguments) for _ in range(FLOOD)))

    run(story)


@pytest.mark.parametrize("flood", [by_chat, by_rest, by_openai, by_task, by_mcp], ids=lambda flood: flood.__name__)
def test_who_floods_delays_others_by_one_run_at_most(people, model, name, flood: Callable[[Person, str], None]):
    """Bound: until a place is free, and then one run of each other user."""
    eve, ann, boss = people["eve"], people["ann"], people["boss"]
    keys = [f"{name}-hold-{place}" for place in range(PLACES)]
    model.script(name, [[{"text": "done"}]])
    boss.add_agent(name, model.base_url)
    runs = functools.partial(whole_list, boss, f"/v1/runs?agent={name}")
    with contextlib.ExitStack() as stack:
        for key in keys:
            model.script(key, [[{"text": "a"}, {"wait": key}]])
            boss.add_agent(key, model.base_url)
            hold = stack.enter_context(contextlib.closing(eve.chat(key)))
            hold.say("hi", agent_name=key)
            hold.until_text("a")
        flood(eve, name)
        until(lambda: len(runs()) == FLOOD)
        status, mine = ann.request("POST", f"/v1/agents/{name}/runs", {"message": "mine"})
        assert status == 202
        model.release(keys[0])
        until(lambda: not {run["status"] for run in runs()} & {"queued", "running"})
        assert {run["status"] for run in runs()} == {"completed"}, runs()
        model.release(keys[1])
    order = [run["id"] for run in sorted(runs(), key=lambda run: run["started_at"])]
    before = order.index(mine["run_id"])
    print(f"{flood.__name__}: {before} of {FLOOD} runs that waited were started before the other user's")
    assert before <= 1
