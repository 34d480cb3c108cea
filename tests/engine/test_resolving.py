"""Names whose DNS server answers nothing delay the look-ups of whoever chose them, and nobody else's."""

import asyncio
import socket
import threading

import pytest

from agents_app.engine.spec import AgentSpec, ModelSpec
from agents_app.engine.toolset import Call, ToolError
from agents_app.engine.web import resolving
from agents_app.models import Run, Session
from agents_app.scheduler import webhooks
from agents_app.scheduler.webhooks import Message
from agents_app.tools.toolset import toolset

NAMES = 3 * resolving.AT_ONCE_PER_OWNER


@pytest.fixture
def black_hole(monkeypatch):
    """Names that end in .hole get no answer until the test is over; the event counts those that wait in threads."""
    over, real = threading.Event(), socket.getaddrinfo
    waiting: list[str] = []

    def look_up(host, *arguments, **options):
        if not host.endswith(".hole"):
            return real(host, *arguments, **options)
        waiting.append(host)
        over.wait(60)
        raise socket.gaierror(host)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield waiting
    over.set()


def fetch(owner: int, url: str):
    """An agent of this user reads a page."""
    spec = AgentSpec("reader", "", ModelSpec("openai", "", "", (), "m", 1000), builtin_tools=("fetch_url",))
    (tool,) = toolset(spec, Run(session=Session(owner_id=owner)), None).tools
    return tool.call({"url": url}, Call("call_1", lambda text: None))


def post(owner: int, url: str):
    return webhooks.post(Message(owner, url, b"{}", {}))


@pytest.mark.parametrize("request_of", [fetch, post])
def test_names_of_a_black_hole_delay_only_the_user_who_chose_them(request_of, black_hole, site, settings):
    settings.FETCH_ALLOW_PRIVATE = True
    url = f"http://localhost:{site.port}/"

    async def ann_asks_while_mallory_waits():
        mallory = [asyncio.create_task(request_of(1, f"http://{n}.hole/")) for n in range(NAMES)]
        while len(black_hole) < resolving.AT_ONCE_PER_OWNER:
            await asyncio.sleep(0.01)
        for task in mallory[: len(black_hole)]:  # who gives up frees no thread: its look-up goes on
            task.cancel()
        async with asyncio.timeout(5):
            answers = [await each(2, url) for each in (fetch, post)]
        assert not any(task.done() and not task.cancelled() for task in mallory)
        for task in mallory:
            task.cancel()
        return answers

    page, (error, _) = asyncio.run(ann_asks_while_mallory_waits())
    assert (page.content.endswith("hello"), error) == (True, "")
    assert len(black_hole) == resolving.AT_ONCE_PER_OWNER


def test_a_look_up_that_gets_no_answer_ends(black_hole, monkeypatch):
    monkeypatch.setattr(resolving, "TIMEOUT", 0.05)
    with pytest.raises(ToolError, match="cannot be resolved"):
        asyncio.run(fetch(1, "http://slow.hole/"))
