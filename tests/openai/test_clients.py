"""Clients of OpenAI's API that others wrote, each against the product, for everything that it can do there."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.chat import Chat
from tests.harness.clients import JAVASCRIPT, LANGCHAIN, LITELLM, NEWEST, OLDER, Client
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.product import Product

LONG = "A long answer, in many pieces. " * 12
BROKEN = 'data: {"error": {"message": "I am out of words.", "code": "invalid_request"}}\n\n'
AGENTS = {
    "plain": [{"reasoning": "They greet me."}, {"text": "Hello, you."}],
    "bad": [{"status": 400, "body": {"error": {"message": "I do not like it.", "code": "odd"}}}],
    "late": [{"text": "I was about to"}, {"sleep": 4}, {"raw": BROKEN}],
    "endless": [{"text": "One"}, {"wait": "never"}],
    "structured": [{"text": '{"answer": 42}'}],
    "long": [{"reasoning": "Hm."}, {"text": LONG, "delay": 0.05}],
}
WEATHER = {"tool_call": {"name": "get_weather", "arguments": {"city": "Bern"}}}
TURNS = {role: [turn] for role, turn in AGENTS.items()} | {"tools": [[WEATHER], [{"text": "It rains."}]]}
LOOP = {"calls": [["get_weather", {"city": "Bern"}]], "text": "It rains."}
HELLO = {"text": "Hello, you.", "thought": "They greet me.", "finish": "stop", "tokens": [1, 5]}
CHAT = {
    "whole": HELLO,
    "streamed": HELLO,
    "refused": [500, "model_refused", None],
    "refused_stream": [500, "model_refused", None],
    "unknown": [404, "model_not_found", "model"],
    "failed_late": ["I was about to", "model_error"],
    "left": "One",
    "structured": {"answer": 42},
}
RESPONSES = {"whole": "Hello, you.", "streamed": "Hello, you.", "ended": "Hello, you.", "structured": {"answer": 42}}
OFFICIAL = [NEWEST, OLDER, JAVASCRIPT]


class Visit:
    """A client's whole visit, with agents of its own: one process is killed amid a stream, the next does the rest."""

    def __init__(self, name: str, product: Product, model: FakeModel) -> None:
        self.name, self.product = name, product
        self.agents = {role: f"{name}-{role}" for role in TURNS}
        for role, agent in self.agents.items():
            model.script(agent, TURNS[role])
            product.add_agent(agent, model.base_url)
        self.seen: list[dict[str, Any]] = []
        self.killed = self._client(leave=self.agents["long"]) if name in OFFICIAL else None
        self.client = None if self.killed else self._client()
        self._answers: dict[str, Any] = {}

    def _client(self, **more: Any) -> Client:
        return Client(self.name, base_url=f"{self.product.url}/v1", agents=self.agents, **more)

    def report(self) -> dict[str, Any]:
        if self.killed and not self.seen:
            self.seen = self.killed.killed_after(deltas=8)
            self.client = self._client(rest={"id": self.seen[0]["id"], "after": self.seen[-1]["number"]})
        if self.client and not self._answers:
            self._answers = self.client.report()
        return self._answers

    def runs(self, role: str) -> list[dict[str, Any]]:
        return self.product.request("GET", f"/v1/runs?agent={self.agents[role]}")[1]["data"]

    def close(self) -> None:
        for client in (self.killed, self.client):
            if client and client.process.returncode is None:
                client.close()


@pytest.fixture(scope="module")
def visits(shared_product: Product, model: FakeModel) -> Iterator[dict[str, Visit]]:
    """All of them at once: they take seconds to load themselves."""
    begun = {name: Visit(name, shared_product, model) for name in (LITELLM, LANGCHAIN, OLDER, NEWEST, JAVASCRIPT)}
    yield begun
    for visit in begun.values():
        visit.close()


def without(kinds: dict[str, Any], *names: str) -> dict[str, Any]:
    """An expected half without what this client does not tell."""
    return {
        key: without(value, *names) if isinstance(value, dict) else value
        for key, value in kinds.items()
        if key not in names
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [NEWEST, OLDER])
def test_the_official_python_client_blocking_and_async(visits, name):
    report = visits[name].report()
    assert report["blocking"] == CHAT
    assert report["async"] == CHAT
    assert report["responses"] == RESPONSES
    assert visits[name].agents["plain"] in report["models"]


@pytest.mark.slow
def test_the_official_javascript_client(visits):
    report = visits[JAVASCRIPT].report()
    assert report["promises"] == CHAT
    assert report["responses"] == RESPONSES
    assert visits[JAVASCRIPT].agents["plain"] in report["models"]


@pytest.mark.slow
def test_langchain(visits):
    """It tells of no thoughts in chat completions, but of those in responses."""
    report = visits[LANGCHAIN].report()
    chat = without(CHAT, "thought")
    assert report["blocking"] == chat
    assert report["async"] == {name: chat[name] for name in ("whole", "streamed", "left")}
    assert report["json_mode"] == {"answer": 42}
    assert report["responses"] == {"whole": "Hello, you.", "thought": "They greet me."}


@pytest.mark.slow
def test_litellm(visits):
    """Its errors have names of its own."""
    report = visits[LITELLM].report()
    text, problem = report["blocking"].pop("failed_late")
    assert text == "I was about to"
    assert "I am out of words." in problem
    assert report["blocking"] == without(CHAT, "failed_late") | {
        "refused": [500, "InternalServerError"],
        "refused_stream": [500, "InternalServerError"],
        "unknown": [404, "NotFoundError"],
    }
    assert report["async"] == {name: CHAT[name] for name in ("whole", "streamed", "left")}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OFFICIAL, LANGCHAIN])
def test_a_client_executes_its_own_tools(visits, name):
    loops = visits[name].report()["tools"]
    assert loops == dict.fromkeys(loops, LOOP)
    runs = visits[name].runs("tools")
    assert [run["status"] for run in runs] == ["completed"] * len(loops), "each loop is one run"


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_a_stream_is_gone_on_with_after_its_client_was_killed(visits, name):
    visit = visits[name]
    rest = visit.report()["rest"]
    events = visit.seen + rest
    numbers = [event["number"] for event in events]
    assert numbers == sorted(set(numbers))
    output = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(output) == LONG
    assert rest[-1]["text"] == LONG
    (run,) = visit.runs("long")
    assert run["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "halves"), [(NEWEST, 2), (OLDER, 2), (JAVASCRIPT, 1), (LANGCHAIN, 1), (LITELLM, 1)])
def test_no_client_asks_again_for_what_failed(visits, name, halves):
    visits[name].report()
    assert len(visits[name].runs("bad")) == 2 * halves, "a whole answer and a stream, each asked for once"
    assert len(visits[name].runs("late")) == halves


@pytest.mark.slow
@pytest.mark.parametrize(("name", "times"), [(NEWEST, 2), (OLDER, 2), (JAVASCRIPT, 1), (LANGCHAIN, 2), (LITELLM, 2)])
def test_a_client_that_closes_its_stream_cancels_the_run(visits, open_chat, name, times):
    visits[name].report()
    runs = visits[name].runs("endless")
    assert len(runs) == times
    for run in runs:
        chat: Chat = open_chat(run["session_id"], after=0)
        assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
