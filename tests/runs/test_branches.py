"""Other versions of a run, the choice between them, and forks: what the model is told is the chosen path."""

import os
import random
from collections.abc import Sequence

import pytest

from tests.harness.chat import Chat


class Talk:
    """A session of an agent, by the API."""

    def __init__(self, product, session: str, agent: str) -> None:
        self.product, self.session, self.agent = product, session, agent

    def post(self, path: str, body: dict, status: int) -> dict:
        answered, response = self.product.request("POST", f"/v1/{path}", body)
        assert answered == status, response
        return response

    def say(self, message: str, **body: object) -> str:
        """Start a run, and return its id."""
        options = {"message": message, "session_id": self.session, **body}
        return self.post(f"agents/{self.agent}/runs", options, 202)["run_id"]

    def regenerate(self, run: str, **body: object) -> str:
        return self.post(f"runs/{run}/regenerate", body, 202)["id"]

    def select(self, run: str, **body: object) -> None:
        self.post(f"runs/{run}/select", body, 200)

    def fork(self, **body: object) -> "Talk":
        made = self.post(f"sessions/{self.session}/fork", body, 201)
        return Talk(self.product, made["session_id"], self.agent)

    def get(self, path: str) -> dict:
        status, response = self.product.request("GET", f"/v1/{path}")
        assert status == 200, response
        return response

    def wait(self) -> "Talk":
        """Wait until no run is unfinished."""
        last = self.get(f"sessions/{self.session}/runs?ordering=-number&limit=1")["data"]
        with_end = Chat(self.product.socket_url(self.session, after=0))
        while last and last[0]["id"] not in [frame["run_id"] for frame in with_end.fold.of_type("reasoning_complete")]:
            with_end.next()
        with_end.close()
        return self

    def heard(self, model) -> list[str]:
        """What users say in the newest request, once nothing is in progress."""
        messages = self.wait() and model.requests(self.agent)[-1]["messages"]
        return [each["content"] for each in messages if each["role"] == "user"]

    def frames(self) -> list[dict]:
        """All frames of the log, from its beginning, without a gap."""
        frames, after = [], 0
        while page := self.get(f"sessions/{self.session}/events?after={after}&limit=7")["data"]:
            for frame in page:
                assert frame.get("first", frame["seq"]) <= after + 1 <= frame["seq"]
                after = frame["seq"]
            frames += page
        return frames


@pytest.fixture
def talk(product, agent, name) -> Talk:
    return Talk(product, name, agent([{"text": "ok"}]))


def path_of(frames: list[dict]) -> list[str]:
    """Return the messages of the path that a client shows, from the frames alone: see docs/protocol.md."""
    starts, head, newest = {}, 0, 0
    for frame in frames:
        data = frame["data"]
        if frame["type"] == "reasoning_start":
            starts[data["number"]] = data
            if data["number"] > newest:
                head = newest = data["number"]
        elif frame["type"] in ("run_replaced", "forked"):
            head, newest = data["head"], data["newest"]
    path = []
    while head > 0:
        if head in starts:
            path.insert(0, starts[head]["message"])
        head = starts[head].get("follows", head - 1) if head in starts else head - 1
    return path


@pytest.mark.both
def test_a_regenerated_and_an_edited_run_replace_what_came_after_them(talk, model, name):
    talk.say("One")
    two = talk.say("Two")
    talk.say("Three")
    again = talk.wait().regenerate(two)
    assert talk.heard(model) == ["One", "Two"]
    edited = talk.regenerate(again, message="Zwei")
    assert talk.heard(model) == ["One", "Zwei"]
    assert talk.get(f"runs/{edited}")["replaces"] == again
    talk.say("Drei")
    assert talk.heard(model) == ["One", "Zwei", "Drei"]
    frames = talk.frames()
    replaced = [frame["data"] for frame in frames if frame["type"] == "run_replaced"]
    assert [(each["run_id"], each["by_run_id"]) for each in replaced] == [(two, again), (again, edited)]
    assert path_of(frames) == ["One", "Zwei", "Drei"]
    talk.select(two)
    assert path_of(talk.frames()) == ["One", "Two", "Three"]
    talk.say("Four")
    assert talk.heard(model) == ["One", "Two", "Three", "Four"]
    first = talk.get(f"sessions/{name}/runs?ordering=number")["data"][0]["id"]
    talk.regenerate(first, message="Eins", message_id="once")
    talk.regenerate(first, message="Eins", message_id="once")
    assert talk.heard(model) == ["Eins"]
    assert len(talk.get(f"sessions/{name}/runs")["data"]) == 8


@pytest.mark.both
def test_a_fork_begins_as_its_parent_and_goes_its_own_way(talk, model, name):
    one = talk.say("One")
    two = talk.say("Two")
    talk.say("Three")
    whole = talk.wait().fork(title="A copy")
    early = talk.fork(run_id=one)
    assert talk.get(f"sessions/{early.session}")["parent_run"] == one
    assert [path_of(each.frames()) for each in (whole, early)] == [["One", "Two", "Three"], ["One"]]
    early.say("Anders")
    assert early.heard(model) == ["One", "Anders"]
    of_fork = early.fork()
    of_fork.regenerate(two_of(of_fork), message="Ganz anders", session_id=of_fork.session)
    assert of_fork.heard(model) == ["One", "Ganz anders"]
    of_fork.regenerate(one, message="Null", session_id=of_fork.session)
    assert of_fork.heard(model) == ["Null"]
    of_fork.select(one, session_id=of_fork.session)
    assert path_of(of_fork.frames()) == ["One", "Ganz anders"]
    assert [path_of(each.frames()) for each in (talk, early)] == [["One", "Two", "Three"], ["One", "Anders"]]
    refused, _ = talk.product.request("POST", f"/v1/runs/{two}/select", {"session_id": early.session})
    assert refused == 404, "the fork does not have it"


def two_of(talk: Talk) -> str:
    return [frame["run_id"] for frame in talk.frames() if frame["type"] == "reasoning_start"][-1]


@pytest.mark.both
def test_a_fork_keeps_its_beginning_when_its_parent_is_deleted(talk, model, name):
    one = talk.say("One")
    secret = talk.wait() and talk.say("Two")
    fork = talk.wait().fork(run_id=one)
    assert talk.product.request("DELETE", f"/v1/sessions/{name}")[0] == 204
    for path in (f"sessions/{name}", f"runs/{one}", f"runs/{secret}"):
        assert talk.product.request("GET", f"/v1/{path}")[0] == 404
    assert name not in [each["session_id"] for each in talk.get("sessions?limit=50")["data"]]
    assert path_of(fork.frames()) == ["One"]
    fork.say("Three")
    assert fork.heard(model) == ["One", "Three"]
    fork.regenerate(one, message="Uno", session_id=fork.session)
    assert fork.heard(model) == ["Uno"]
    last = fork.fork()
    for each in (fork, last):
        assert talk.product.request("DELETE", f"/v1/sessions/{each.session}")[0] == 204


def play(talk: Talk, model, actions: Sequence[str], count: int) -> None:
    """Do random things, then check that the model is told in each session what a walk of its frames says."""
    chance = random.Random(talk.session)
    sessions = [talk]
    done: list[tuple[int, int, str]] = []
    talk.say("0")
    for number in range(1, count):
        at = chance.choice(sessions).wait()
        run = chance.choice([frame["run_id"] for frame in at.frames() if frame["type"] == "reasoning_start"])
        action = chance.choice(actions)
        done.append((number, sessions.index(at), action))
        match action:
            case "say":
                at.say(str(number))
            case "steer":  # in time, or as a run of its own
                at.say(str(number))
                at.say(f"{number}!", if_busy="steer")
            case "regenerate":
                at.regenerate(run, message=str(number), session_id=at.session)
            case "select":
                at.select(run, session_id=at.session)
            case "fork":
                sessions.append(at.fork(run_id=run))
            case "kill":
                at.say(str(number))
                talk.product.kill()
                talk.product.start()
    for each in sessions:
        expected = path_of(each.wait().frames())
        each.say("?")
        assert each.heard(model) == [*expected, "?"], done


@pytest.mark.both
def test_each_path_is_what_a_walk_of_the_frames_says(talk, model):
    play(talk, model, ["say", "steer", "regenerate", "select", "fork"], int(os.environ.get("BRANCHES", "14")))


@pytest.mark.slow
def test_paths_are_whole_after_kill_9(running, model, name):
    model.script(name, [[{"text": "ok"}]])
    running.add_agent(name, model.base_url)
    play(Talk(running, name, name), model, ["say", "regenerate", "select", "fork", "kill"], 8)
