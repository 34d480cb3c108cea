"""A client of the server in one file, to copy: REST, and the chat socket with everything that PROTOCOL promises.

It needs `websockets` and nothing else:

    python client.py --url http://127.0.0.1:8000 --token … --agent assistant "What is 6 times 7?"
"""

from __future__ import annotations

import argparse
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

JSON = dict[str, Any]

TRY_AGAIN = {429, 503}  # statuses
COME_BACK = {1001, 1006, 1011, 1012, 4409}  # close codes: the server restarts, the network was cut, we were too slow
LONGEST_PAUSE = 10.0  # seconds between two tries
PATIENCE = 60.0  # seconds in which the server must be back


class ApiError(Exception):
    """The server refused. `code` is for programs, the text for people; `param` is the field that is wrong."""

    def __init__(self, status: int, error: JSON) -> None:
        super().__init__(error["message"])
        self.status = status
        self.code: str = error["code"]
        self.param: str | None = error.get("param")


class Client:
    """The REST API. Without a `token`, as it is on one's own machine."""

    def __init__(self, url: str, token: str = "", *, tries: int = 4) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tries = tries

    def get(self, path: str, **query: object) -> JSON:
        """An object, or a page of a list."""
        return self._request("GET", f"{path}?{urllib.parse.urlencode(query)}" if query else path)

    def post(self, path: str, body: JSON | None = None) -> JSON:
        """Create or start something. The key makes it safe to try again: it happens once."""
        return self._request("POST", path, body or {}, {"Idempotency-Key": str(uuid.uuid4())})

    def patch(self, path: str, body: JSON) -> JSON:
        return self._request("PATCH", path, body)

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def items(self, path: str, **query: object) -> Iterator[JSON]:
        """All of a list, page by page."""
        page = self.get(path, **query)
        yield from page["data"]
        while page["next"]:
            page = self._request("GET", page["next"].removeprefix(self.url))
            yield from page["data"]

    def _request(self, method: str, path: str, body: JSON | None = None, headers: dict[str, str] | None = None) -> JSON:
        """One request; tried again where the server asks for patience.

        Raises:
            ApiError: it was refused.
        """
        sent = {"Content-Type": "application/json", **self.headers, **(headers or {})}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        for tries_left in reversed(range(self._tries)):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return _object(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    refusal = ApiError(error.code, _object(error.read())["error"])
                if error.code not in TRY_AGAIN or not tries_left:
                    raise refusal from None
                time.sleep(float(error.headers.get("Retry-After") or 1))
        raise AssertionError("not reached")


class Session:
    """A session, watched and talked to over as many sockets as it takes.

    Nothing is lost, doubled or out of order: `cursor` is the number of the last frame that was taken, and each new
    socket goes on after it. Keep it, and give it as `after` to another process, which goes on there.
    """

    def __init__(self, client: Client, session_id: str, *, agent: str = "", after: int = 0) -> None:
        self.client = client
        self.id = session_id
        self.agent = agent
        self.cursor = after
        self.socket: ClientConnection | None = None
        self._unheard: dict[str, str] = {}  # messages that the server has not confirmed yet, by their ids

    def say(self, message: str) -> str:
        """Ask the agent something; returns the message's id. However often it is sent, it is asked once."""
        message_id = str(uuid.uuid4())
        self._unheard[message_id] = message
        self._send(message_id)
        return message_id

    def stop(self) -> None:
        """Stop every run of this session."""
        self._send_frame("interrupt", {})

    def approve(self, tool_call_id: str, *, approved: bool, reason: str = "") -> None:
        """Answer an `approval_required`."""
        self._send_frame("approve", {"tool_call_id": tool_call_id, "approved": approved, "reason": reason})

    def frames(self) -> Iterator[JSON]:
        """Everything that happens in the session after the cursor, for ever. Errors of the socket come as `error`.

        Close the iterator to leave; the next one goes on after the last frame.

        Raises:
            PermissionError: the server does not let us in; the text says why.
            ConnectionError: it does not come back.
        """
        pause, heard_at = 0.0, time.monotonic()
        while True:
            try:
                for frame in self._of_one_socket():
                    pause, heard_at = 0.0, time.monotonic()
                    yield frame
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code not in COME_BACK:
                    raise PermissionError(f"{code}: {closed.rcvd.reason if closed.rcvd else ''}") from None
            except (OSError, InvalidHandshake) as error:
                if isinstance(error, InvalidStatus) and error.response.status_code < 500:
                    raise PermissionError(str(error)) from None
                if time.monotonic() > heard_at + PATIENCE:
                    raise ConnectionError(f"The server does not come back: {error}") from None
            pause = random.uniform(0.5, 1) * min(LONGEST_PAUSE, pause * 2 or 0.5)
            time.sleep(pause)

    def answer(self, message: str) -> Iterator[str]:
        """Ask, and get the answer as it is said.

        Raises:
            RuntimeError: the run failed or was stopped.
        """
        message_id = self.say(message)
        run = None
        for frame in self.frames():
            data = frame["data"]
            if frame["type"] == "error" and "run_id" not in frame:
                raise RuntimeError(data["message"])
            if frame["type"] == "reasoning_start" and data["message_id"] == message_id:
                run, response = frame["run_id"], Answer()
            elif run is not None and frame.get("run_id") == run:
                yield response.hear(frame)
                if frame["type"] == "error":
                    raise RuntimeError(data["message"])
                if frame["type"] == "reasoning_complete":
                    if data["status"] != "completed":
                        raise RuntimeError(f"The run was {data['status']}.")
                    return

    def _of_one_socket(self) -> Iterator[JSON]:
        query = {"after": self.cursor} | ({"agent_name": self.agent} if self.agent else {})
        url = self.client.url.replace("http", "ws", 1) + f"/ws/chat/{self.id}?{urllib.parse.urlencode(query)}"
        with connect(url, additional_headers=self.client.headers, max_size=None) as self.socket:
            for message_id in list(self._unheard):
                self._send(message_id)
            for text in self.socket:
                if self._take(frame := json.loads(text)):
                    yield frame
            # The iterator is silent about an end in good order, which is none for us.
            raise ConnectionClosed(self.socket.protocol.close_rcvd, self.socket.protocol.close_sent)

    def _take(self, frame: JSON) -> bool:
        """Whether the frame is news; what the connection needs is seen to here."""
        if "seq" in frame:
            first: int = frame.get("first") or frame["seq"]
            if not first <= self.cursor + 1 or frame["seq"] <= self.cursor:
                return False
            self.cursor = frame["seq"]
            if frame["type"] == "reasoning_start":
                self._unheard.pop(frame["data"]["message_id"], None)
            return True
        if frame["type"] == "reset":  # what came before was pruned
            self.cursor = frame["data"]["after"]
        elif frame["type"] == "ping":
            self._send_frame("pong", {})
        elif frame["type"] == "error":
            self._unheard.pop(frame["data"].get("message_id"), None)
            return True
        return False

    def _send(self, message_id: str) -> None:
        self._send_frame("chat", {"message": self._unheard[message_id], "message_id": message_id})

    def _send_frame(self, kind: str, payload: JSON) -> None:
        if self.socket is None:
            return  # what matters is sent when there is one
        try:
            self.socket.send(json.dumps({"type": kind, "payload": payload}))
        except ConnectionClosed:
            pass  # `frames` notices, too


class Answer:
    """The text of a run's answer, from deltas and whole steps alike."""

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}  # characters of each step that were told

    def hear(self, frame: JSON) -> str:
        """What is new of the answer in this frame. What a retry says anew follows what was told already."""
        data = frame["data"]
        if frame["type"] == "retry":  # the step begins again
            self._lengths.pop(data["step"], None)
        if frame["type"] not in ("reasoning_delta", "reasoning_step") or data["type"] != "final_answer":
            return ""
        response = self._lengths.get(data["step"], 0)
        new: str = data["content"][max(0, response - data.get("offset", 0)) :]
        self._lengths[data["step"]] = response + len(new)
        return new


def _object(text: bytes) -> JSON:
    value: JSON = json.loads(text) if text else {}
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("message")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--token", default="", help="of POST /v1/tokens")
    parser.add_argument("--agent", default="", help="instead of the default agent")
    parser.add_argument("--session", default="", help="the session to continue")
    options = parser.parse_args()
    client = Client(options.url, options.token)
    session = Session(client, options.session or f"example-{uuid.uuid4().hex}", agent=options.agent)
    for piece in session.answer(options.message):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
