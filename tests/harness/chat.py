"""A client of the chat socket that follows PROTOCOL's rule to the letter, and fails where the server breaks it."""

import contextlib
import functools
import json
import os
import time
from typing import Any

import django
import jsonschema
from django.apps import apps
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

Frame = dict[str, Any]


class _Schema:
    """The schema of frames that we publish. Every frame that any test reads is held against it.

    A frame is checked against the alternatives that its type leaves, since to refute all others took most of the time
    of a test that reads much.
    """

    def __init__(self) -> None:
        if not apps.ready:  # in a benchmark
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
            django.setup()
        from chat_app.websocket.schema import SCHEMA

        self.whole = jsonschema.Draft202012Validator(SCHEMA | {"oneOf": [{"$ref": "#/$defs/server"}]})
        self.by_type: dict[str, list[jsonschema.Draft202012Validator]] = {}
        for frame in SCHEMA["$defs"]["log"]["oneOf"] + SCHEMA["$defs"]["socket"]["oneOf"]:
            validator = jsonschema.Draft202012Validator(frame)
            self.by_type.setdefault(frame["properties"]["type"]["const"], []).append(validator)


_schema = functools.cache(_Schema)


def validate(frame: Frame) -> None:
    """Fail where the frame is not one that the schema promises."""
    alternatives = _schema().by_type.get(frame["type"], [])
    if sum(alternative.is_valid(frame) for alternative in alternatives) != 1:
        _schema().whole.validate(frame)
        raise AssertionError(f"The published schema lets pass what none of its parts does: {frame}")


class Fold:
    """What a watcher knows of a session: frames in order, and the steps that they add up to."""

    def __init__(self, cursor: int = 0) -> None:
        self.cursor = cursor
        self.frames: list[Frame] = []
        self.steps: dict[tuple[str, int], dict[str, Any]] = {}

    def take(self, frame: Frame) -> bool:
        """Take a frame of the log. Fails on a gap; a frame that is known already is left aside."""
        seq, first = frame["seq"], frame.get("first", frame["seq"])
        assert first <= seq
        if seq <= self.cursor:
            return False
        assert first <= self.cursor + 1, f"a gap: {self.cursor} is followed by {first}..{seq}"
        self.cursor = seq
        self.frames.append(frame)
        self._fold(frame)
        return True

    def _fold(self, frame: Frame) -> None:
        data = frame["data"]
        key = (frame["run_id"], data.get("step", -1))
        if frame["type"] == "reasoning_delta":
            step = self.steps.setdefault(key, {"type": data["type"], "content": "", "done": False})
            assert data["offset"] <= len(step["content"]), "a delta begins after the end of what is known"
            step["content"] = step["content"][: data["offset"]] + data["content"]
        elif frame["type"] == "reasoning_step":
            self.steps[key] = {"type": data["type"], "content": data["content"], "done": True}
        elif frame["type"] == "retry":
            self.steps.pop(key, None)

    def of_type(self, kind: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == kind]

    def story(self) -> list[tuple[str, str]]:
        """Type and content of the steps, in order."""
        return [(step["type"], step["content"]) for step in self.steps.values()]


class Chat:
    """A socket on a session. Every wait ends after `timeout` seconds."""

    def __init__(self, url: str, *, cursor: int | None = None, timeout: float = 60, **options: Any) -> None:
        self._stack = contextlib.ExitStack()
        # A test that does not read for a while is no dead client: it sends no pings that it would not hear answered.
        options = {"ping_interval": None, "max_size": None, "open_timeout": timeout, **options}
        self.socket = self._stack.enter_context(connect(url, **options))
        self.timeout = timeout
        self.others: list[Frame] = []
        self.connected = self._read()
        assert self.connected["type"] == "connected", self.connected
        self.fold = Fold(self._start(url) if cursor is None else cursor)

    def _start(self, url: str) -> int:
        query = dict(part.split("=", 1) for part in url.partition("?")[2].split("&") if "=" in part)
        return int(query.get("after", self.connected["data"]["last_seq"]))

    def send(self, kind: str, **payload: Any) -> None:
        self.socket.send(json.dumps({"type": kind, "payload": payload}))

    def say(self, message: str, **payload: Any) -> None:
        self.send("chat", message=message, **payload)

    def _read(self, deadline: float | None = None) -> Frame:
        left = self.timeout if deadline is None else max(deadline - time.monotonic(), 0)
        frame = json.loads(self.socket.recv(left))
        validate(frame)
        return frame

    def next(self, deadline: float | None = None) -> Frame:
        """The next frame, of the log or of the socket; a frame of the log is folded."""
        while True:
            frame = self._read(deadline)
            if "seq" not in frame:
                self.others.append(frame)
                return frame
            if self.fold.take(frame):
                return frame

    def until(self, *kinds: str) -> Frame:
        """Read up to and with the first frame of one of these types."""
        deadline = time.monotonic() + self.timeout
        while True:
            frame = self.next(deadline)
            if frame["type"] in kinds:
                return frame

    def ask(self, message: str, **payload: Any) -> Frame:
        """Say something and read the run to its end."""
        self.say(message, **payload)
        return self.until("reasoning_complete")

    def until_text(self, text: str) -> None:
        """Read until some step holds this text."""
        deadline = time.monotonic() + self.timeout
        while not any(text in content for _, content in self.fold.story()):
            self.next(deadline)

    def close_code(self) -> int:
        """Read until the server closes; its code."""
        deadline = time.monotonic() + self.timeout
        try:
            while True:
                frame = self._read(deadline)
                if "seq" in frame:
                    self.fold.take(frame)
                else:
                    self.others.append(frame)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def close(self) -> None:
        self._stack.close()
