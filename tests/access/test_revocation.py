"""Whoever came with a token is sent off, in the midst of whatever they follow, when it is revoked or expires."""

import concurrent.futures
import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Iterator

import openai
import pytest

from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.people import Person, shell

PATIENCE = 120.0  # seconds
SOON = 30.0  # seconds; the server looks every two
HELLO = [{"role": "user", "content": "Hello"}]
EXPIRE = """
from django.utils import timezone
from agents_app.models import ApiToken
ApiToken.objects.filter(uid=uid).update(expiry=timezone.now())
"""


def revoke(owner: Person, token: dict) -> None:
    assert owner.request("DELETE", f"/v1/tokens/{token['id']}")[0] == 204


def expire(owner: Person, token: dict) -> None:
    shell(owner.product, f"uid = {token['id']!r}\n{EXPIRE}")


def follow_events(person: Person, path: str, began: threading.Event) -> str:
    """All that a stream of server-sent events says, up to its end. `began` is set when the model's word is there."""
    headers = person.headers | {"Accept": "text/event-stream"}
    text, until = "", time.monotonic() + PATIENCE
    request = urllib.request.Request(person.product.url + path, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        for line in response:
            text += line.decode()
            if "One" in text:
                began.set()
            assert time.monotonic() < until, f"it does not end: {text}"
    return text


def follow_chat(person: Person, session: str, began: threading.Event) -> int:
    chat = person.chat(session, after=0)
    chat.until_text("One")
    began.set()
    return chat.close_code()


def whole_answer(client: openai.OpenAI, who: str) -> str:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model=who, messages=HELLO)
    return caught.value.code


def streamed_answer(client: openai.OpenAI, who: str, began: threading.Event) -> tuple[str, str | None]:
    text = ""
    with pytest.raises(openai.APIError) as caught:
        for chunk in client.chat.completions.create(model=who, messages=HELLO, stream=True):
            text += chunk.choices[0].delta.content or ""
            if text:
                began.set()
    return text, caught.value.code


def streamed_response(client: openai.OpenAI, who: str, began: threading.Event) -> tuple[str, str]:
    events = []
    for event in client.responses.create(model=who, input="Hello", stream=True):
        events.append(event)
        if getattr(event, "delta", "") == "One":
            began.set()
    *_, before, last = events
    return before.delta, last.code


@contextlib.contextmanager
def letting_go(model: FakeModel, gate: str) -> Iterator[None]:
    """Whatever goes wrong, nobody waits for ever."""
    try:
        yield
    finally:
        model.release(gate)


@pytest.mark.slow
@pytest.mark.parametrize("end", [revoke, expire])
def test_a_token_that_ends_takes_everything_with_it_that_was_opened_with_it(people, model, name, end):
    ann = people["ann"]
    model.script(name, [[{"text": "One"}, {"wait": name}, {"text": "Two"}]])
    people["boss"].add_agent(name, model.base_url)
    _, token = ann.request("POST", "/v1/tokens", {"name": name})
    robot = Person(ann.product, "ann", token["token"])
    ann.request("POST", f"/v1/agents/{name}/runs", {"message": "Hello", "session_id": name})
    model.wait_for_request(name)
    (run,) = ann.request("GET", f"/v1/runs?session={name}")[1]["data"]
    with (
        openai.OpenAI(base_url=f"{ann.product.url}/v1", api_key=token["token"], max_retries=0) as client,
        concurrent.futures.ThreadPoolExecutor(8) as threads,
        letting_go(model, name),
    ):
        began = [threading.Event() for _ in range(6)]
        mine = threads.submit(follow_events, ann, f"/v1/runs/{run['id']}/events", began[0])
        waiting = {
            threads.submit(follow_events, robot, f"/v1/sessions/{name}/events", began[1]): None,
            threads.submit(follow_events, robot, f"/v1/runs/{run['id']}/events", began[2]): None,
            threads.submit(follow_chat, robot, name, began[3]): 4401,
            threads.submit(whole_answer, client, name): "not_authenticated",
            threads.submit(streamed_answer, client, name, began[4]): ("One", "not_authenticated"),
            threads.submit(streamed_response, client, name, began[5]): ("One", "not_authenticated"),
        }
        model.wait_for_request(name, count=4)
        assert all(each.wait(60) for each in began)
        before = time.monotonic()
        end(ann, token)
        ended = time.monotonic()
        _, going_on = concurrent.futures.wait(waiting, timeout=SOON + ended - before)
        assert not going_on
        for future, expected in waiting.items():
            if expected is None:
                assert "One" in future.result() and "reasoning_complete" not in future.result()
            else:
                assert future.result() == expected
        model.wait_for_abort(name, count=2)  # nobody else could ask for those two answers
        assert not mine.done(), "somebody with another token goes on"
        model.release(name)
        last = json.loads(mine.result().strip().rpartition("data: ")[2])
        assert last["data"]["status"] == "completed"
