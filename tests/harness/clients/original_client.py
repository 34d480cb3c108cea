"""A client as the original system's was: written from the protocol's text alone, and changed for nobody.

It knows none of our code, none of our schemas and no sequence numbers; it reads the fields that it knows, strictly,
and passes over those and the frames that it does not. `python original_client.py URL < scene` plays the scene's lines,
each a frame to send or a type of frame to wait for, and prints what it made of it as JSON.
"""

import json
import sys

from websockets.sync.client import connect

STEPS = {"thought", "tool_use", "tool_result", "final_answer", "error"}
TIMEOUT = 60  # seconds


class Broken(Exception):
    """The server does not keep to the protocol."""


def need(holder, name, *kinds):
    value = holder.get(name)
    if not isinstance(value, kinds):
        raise Broken(f"{name!r} is {value!r} in {holder}")
    return value


class Client:
    """What one socket has told: connected, steps, responses, errors, ends."""

    def __init__(self, socket):
        self.socket = socket
        self.connected = None
        self.steps, self.responses, self.errors, self.interrupted, self.ends = [], [], [], [], []
        self.open_run = None
        self.pongs, self.passed_over = 0, set()

    def read(self):
        frame = json.loads(self.socket.recv(TIMEOUT))
        kind, data = need(frame, "type", str), need(frame, "data", dict)
        if self.connected is None and kind != "connected":
            raise Broken(f"the first frame is a {kind}")
        handler = getattr(self, f"on_{kind}", None)
        if handler is None:
            self.passed_over.add(kind)
        else:
            handler(data)
        return kind

    def on_connected(self, data):
        if self.connected is not None:
            raise Broken("connected twice")
        need(data, "message", str)
        self.connected = need(data, "session_id", str)

    def on_reasoning_start(self, data):
        if self.open_run is not None:
            raise Broken("a run begins inside another")
        need(data, "agent", str), need(data, "message", str)
        self.open_run = need(data, "enable_reasoning", bool)

    def on_reasoning_step(self, data):
        if not self.open_run:
            raise Broken("a step where there is no reasoning")
        kind = need(data, "type", str)
        if kind not in STEPS:
            raise Broken(f"a step of type {kind}")
        need(data, "iteration", int), need(data, "timestamp", int, float)
        if kind in ("tool_use", "tool_result"):
            need(data, "tool_name", str), need(data, "tool_call_id", str)
        if kind == "tool_use":
            need(data, "arguments", dict)
        self.steps.append([kind, need(data, "content", str)])

    def on_response(self, data):
        if self.open_run is not False:
            raise Broken("a response with reasoning")
        self.responses.append(need(data, "content", str))

    def on_error(self, data):
        need(data, "message", str)
        self.errors.append(need(data, "code", str))

    def on_interrupted(self, data):
        self.interrupted.append(need(data, "message", str))

    def on_reasoning_complete(self, data):
        if self.open_run is None:
            raise Broken("the end of a run that never began")
        self.open_run = None
        need(data, "iterations", int), need(data, "usage", dict), need(data, "duration_ms", int)
        self.ends.append(need(data, "status", str))

    def on_ping(self, data):
        self.socket.send(json.dumps({"type": "pong"}))

    def on_pong(self, data):
        need(data, "timestamp", int, float)
        self.pongs += 1

    def play(self, line):
        """One line of the scene: send a frame, or read until a type of frame, or a step's type, has come."""
        if line.startswith("{"):
            self.socket.send(line)
            return
        while self.read() != line:
            pass


def main():
    with connect(sys.argv[1]) as socket:
        client = Client(socket)
        client.play("connected")
        for line in filter(None, map(str.strip, sys.stdin)):
            client.play(line)
    state = {name: value for name, value in vars(client).items() if name != "socket"}
    print(json.dumps(state | {"passed_over": sorted(client.passed_over)}))


if __name__ == "__main__":
    main()
