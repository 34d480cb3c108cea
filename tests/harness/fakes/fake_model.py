"""A scriptable OpenAI-compatible model server over real HTTP: the one thing that tests may fake.

Run it with `python -m tests.harness.fakes.fake_model --port 0`; tests use `FakeModel` in `fake_model_process`.
A script is a list of turns, a turn is a list of actions (see `VERBS`), and the request's `model` names
the script. Which turn answers is read from the request itself: the number of assistant messages after
the last user message.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import heapq
import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from aiohttp import web

Action = dict[str, Any]
Delta = dict[str, Any]

# Every verb of a turn, with the options that it takes beside itself.
VERBS: dict[str, set[str]] = {
    "text": {"chunk", "delay"},
    "reasoning": {"field", "chunk", "delay"},
    "tool_call": {"delay"},
    "wait": set(),
    "sleep": set(),
    "stamps": set(),
    "echo": {"chunk", "delay"},
    "usage": set(),
    "finish": set(),
    "no_finish": set(),
    "raw": set(),
    "status": {"headers", "body"},
    "cut": set(),
    "end": set(),
    "only_first": {"do"},
}
HEADERS_OF_INTEREST = ("authorization", "x-stainless-retry-count", "idempotency-key", "user-agent")
ERROR_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
PR_SET_PDEATHSIG = 1
SUMMARY = -1  # the turn of requests to summarize
# As long as a real stamp, so that the length of an HTTP chunk is known beforehand.
STAMP_PLACEHOLDER = "nanoseconds-go-here "


class ScriptError(ValueError):
    """A script or a request that cannot be understood; the message says why."""


# What is remembered


@dataclass
class Script:
    """What one model says, and how often each of its turns was asked for."""

    turns: list[list[Action]]
    listing: dict[str, Any] = field(default_factory=dict)  # what the list of models says of it, beside its name
    window: int | None = None  # tokens of four bytes: longer requests are refused
    summary: list[Action] | None = None  # the turn that answers a request to summarize
    requests: Counter[int] = field(default_factory=Counter)

    def actions_for(self, turn: int) -> list[Action]:
        """Count the request and give the turn's actions, without `only_first`."""
        self.requests[turn] += 1
        turns = {SUMMARY: self.summary or []} | dict(enumerate(self.turns))
        return list(flatten(turns[turn], self.requests[turn])) if self.turns else []


@dataclass
class Record:
    """One request to the model, as tests see it."""

    number: int
    model: str
    turn: int
    messages: list[dict[str, Any]]
    fields: dict[str, Any]
    headers: dict[str, str]
    started: float
    finished: float | None = None
    aborted: bool = False
    status: int = 200
    tokens: int = 0  # of four bytes, if the model has a window


class Memory:
    """Scripts, gates and recorded requests: all the state of the server."""

    def __init__(self) -> None:
        self.pacer = Pacer()
        self.in_flight: dict[int, asyncio.Transport] = {}
        self.changed = asyncio.Event()
        self.forget()

    def forget(self) -> None:
        """Start afresh, and hang up on whoever is still being answered."""
        self.scripts: dict[str, Script] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.records: list[Record] = []
        for transport in self.in_flight.values():
            transport.abort()
        self.notify()

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    def record(self, request: web.Request, body: dict[str, Any]) -> Record:
        rest = dict(body)
        record = Record(
            number=len(self.records) + 1,
            model=rest.pop("model", ""),
            messages=rest.pop("messages", []),
            turn=0,
            fields=rest,
            headers={name: request.headers[name] for name in HEADERS_OF_INTEREST if name in request.headers},
            started=time.time(),
        )
        self.records.append(record)
        self.notify()
        return record

    def matching(self, *, model: str | None, aborted: bool) -> list[Record]:
        return [
            record
            for record in self.records
            if (model is None or record.model == model) and (record.aborted or not aborted)
        ]


MEMORY = web.AppKey("memory", Memory)


# Scripts


def check_action(action: Action) -> None:
    """Refuse a misspelt action when the script is put, not when the test hangs."""
    verbs = [key for key in action if key in VERBS]
    if len(verbs) != 1:
        raise ScriptError(f"An action has exactly one of {', '.join(VERBS)}: {action}")
    unknown = set(action) - set(verbs) - VERBS[verbs[0]]
    if unknown:
        raise ScriptError(f"{verbs[0]!r} does not know {', '.join(sorted(unknown))}: {action}")
    for inner in action.get("do", []):
        check_action(inner)


def flatten(actions: list[Action], requests: int) -> Iterator[Action]:
    """Put in place what `only_first` holds while it still applies."""
    for action in actions:
        if "only_first" not in action:
            yield action
        elif requests <= action["only_first"]:
            yield from flatten(action["do"], requests)


def turn_of(messages: list[dict[str, Any]]) -> int:
    """Count the assistant messages after the last user message."""
    turn = 0
    for message in reversed(messages):
        if message.get("role") == "user":
            break
        turn += message.get("role") == "assistant"
    return turn


def is_about_summary(messages: list[dict[str, Any]]) -> bool:
    """Whether the product asks for a summary of a conversation."""
    return messages[0].get("role") == "system" and messages[0]["content"].startswith("Summarize the older part")


def prompt_of(messages: list[dict[str, Any]]) -> str:
    """The last user message."""
    prompts = [message["content"] for message in messages if message.get("role") == "user"]
    return prompts[-1] if prompts and isinstance(prompts[-1], str) else ""


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


def fragments(text: str, count: int) -> list[str]:
    """Cut a text into `count` pieces of nearly the same length."""
    edges = [len(text) * number // count for number in range(count + 1)]
    return [text[start:stop] for start, stop in itertools.pairwise(edges)]


def words_in(value: Any) -> int:
    """Count words in a content, whether it is a string or a list of parts."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, list):
        return sum(words_in(part.get("text")) for part in value)
    return 0


def error_body(status: int, message: str, code: str | None = None) -> bytes:
    """Say an error in OpenAI's shape."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code or ERROR_CODES.get(status)}
    return orjson.dumps({"error": error})


# Paced streams


@dataclass(slots=True, eq=False)
class StampStream:
    """A row of time-stamped chunks, each written at its own deadline."""

    transport: asyncio.Transport
    thought: tuple[bytes, bytes]
    spoken: tuple[bytes, bytes]
    start: float
    interval: float
    count: int
    think: int
    done: asyncio.Future[None]
    sent: int = 0

    @property
    def due(self) -> float:
        return self.start + self.sent * self.interval

    def write_next(self) -> bool:
        """Write one chunk; answer whether another one follows."""
        if self.done.done() or self.transport.is_closing():
            return False
        before, after = self.thought if self.sent < self.think else self.spoken
        self.sent += 1
        self.transport.write(b"%b%d %b" % (before, time.time_ns(), after))
        if self.sent < self.count:
            return True
        self.done.set_result(None)
        return False


class Pacer:
    """One timer for all paced streams, set to the nearest deadline among them."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: list[tuple[float, int, StampStream]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.added = 0

    def add(self, stream: StampStream) -> None:
        self.added += 1
        heapq.heappush(self.queue, (stream.due, self.added, stream))
        self.set_timer()

    def tick(self) -> None:
        queue, now = self.queue, self.loop.time()
        while queue and queue[0][0] <= now:
            _, order, stream = queue[0]
            if stream.write_next():
                heapq.heapreplace(queue, (stream.due, order, stream))
            else:
                heapq.heappop(queue)
        self.set_timer()

    def set_timer(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.timer = self.loop.call_at(self.queue[0][0], self.tick) if self.queue else None


# Answers


class Reply:
    """What both kinds of answer share: performing a turn's actions and counting words."""

    def __init__(self, request: web.Request, record: Record, *, asks_for_usage: bool) -> None:
        self.request = request
        self.record = record
        self.memory = request.app[MEMORY]
        self.asks_for_usage = asks_for_usage
        self.identity = {"created": int(time.time()), "model": record.model, "system_fingerprint": "fp_fake"}
        self.answer_id = f"chatcmpl-{record.number}"
        self.headers = {"x-request-id": f"req_{record.number}"}
        self.role_sent = False
        self.tool_calls = 0
        self.spoken = 0
        self.thought = 0
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.no_finish = False
        self.ended = False

    async def perform(self, actions: list[Action]) -> web.StreamResponse:
        """Do what the script says, in its order, and close the answer."""
        refuses = any("status" in action for action in actions)
        for action in actions:
            if not refuses and "cut" not in action:
                await self.open()
            verb = next(key for key in action if key in VERBS)
            response = await getattr(self, f"do_{verb}")(action)
            if response is not None:
                return response
            if self.ended:
                break
        await self.open()
        return await self.close()

    async def do_text(self, action: Action) -> None:
        self.spoken += words_in(action["text"])
        parts = pieces(action["text"], action.get("chunk", 4))
        await self.say([{"content": part} for part in parts], delay=action.get("delay", 0))

    async def do_reasoning(self, action: Action) -> None:
        self.thought += words_in(action["reasoning"])
        name = action.get("field", "reasoning_content")
        parts = pieces(action["reasoning"], action.get("chunk", 4))
        await self.say([{name: part} for part in parts], delay=action.get("delay", 0))

    async def do_tool_call(self, action: Action) -> None:
        call = action["tool_call"]
        index = call.get("index", self.tool_calls)
        call_id = call.get("id", f"call_{self.record.number}_{index}")
        arguments = call.get("arguments", "{}")
        if not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode()
        arguments = arguments.replace("{prompt}", prompt_of(self.record.messages))
        self.tool_calls += 1
        self.spoken += 1 + words_in(arguments)
        head = {"id": call_id, "type": "function", "function": {"name": call["name"], "arguments": ""}}
        tail = [{"function": {"arguments": part}} for part in fragments(arguments, call.get("fragments", 3))]
        deltas = [{"tool_calls": [{"index": index, **part}]} for part in (head, *tail)]
        await self.say(deltas, delay=action.get("delay", 0))

    async def do_echo(self, action: Action) -> None:
        heard = [{"role": each.get("role"), "content": each.get("content")} for each in self.record.messages]
        await self.do_text({**action, "text": orjson.dumps(heard).decode()})

    async def do_stamps(self, action: Action) -> None:
        stamps = {"rate": 50, "count": 500, "think": 0, **action["stamps"]}
        think = min(stamps["think"], stamps["count"])
        self.thought += think
        self.spoken += stamps["count"] - think
        await self.stamp(rate=stamps["rate"], count=stamps["count"], think=think)

    async def do_wait(self, action: Action) -> None:
        await self.memory.gate(action["wait"]).wait()

    async def do_sleep(self, action: Action) -> None:
        await asyncio.sleep(action["sleep"])

    async def do_usage(self, action: Action) -> None:
        self.usage = action["usage"]

    async def do_no_finish(self, action: Action) -> None:
        self.no_finish = True

    async def do_finish(self, action: Action) -> None:
        self.finish_reason = action["finish"]
        await self.say_finish()

    async def do_raw(self, action: Action) -> None:
        await self.write_raw(action["raw"].encode())

    async def do_status(self, action: Action) -> web.Response:
        status = self.record.status = action["status"]
        body = action.get("body", error_body(status, f"The script answers {status}."))
        if isinstance(body, dict):
            body = orjson.dumps(body)
        headers = {"Content-Type": "application/json", **self.headers, **action.get("headers", {})}
        self.settle()
        return web.Response(status=status, headers=headers, body=body.encode() if isinstance(body, str) else body)

    async def do_cut(self, action: Action) -> None:
        self.settle()
        self.request.transport.abort()
        # The loss of the connection cancels this handler: nothing may be answered after the cut.
        await asyncio.Event().wait()

    async def do_end(self, action: Action) -> None:
        self.ended = True

    def settle(self) -> None:
        """From here on a client that goes away has had everything."""
        self.record.finished = time.time()

    def with_role(self, deltas: list[Delta]) -> list[Delta]:
        """Name the role first, as OpenAI does: on its own, or within the first tool call."""
        if self.role_sent:
            return deltas
        self.role_sent = True
        if deltas and "tool_calls" in deltas[0]:
            return [{"role": "assistant", "content": None, **deltas[0]}, *deltas[1:]]
        return [{"role": "assistant", "content": ""}, *deltas]

    def usage_to_tell(self) -> dict[str, Any]:
        """Give the scripted usage, or words counted roughly."""
        if self.usage is not None:
            return self.usage
        prompt = self.record.tokens or sum(words_in(message.get("content")) for message in self.record.messages)
        completion = self.spoken + self.thought
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "completion_tokens_details": {"reasoning_tokens": self.thought},
        }

    async def finish_by_itself(self) -> None:
        if self.finish_reason is None and not self.no_finish:
            await self.do_finish({"finish": "tool_calls" if self.tool_calls else "stop"})


class StreamedReply(Reply):
    """The answer as server-sent events."""

    def __init__(self, request: web.Request, record: Record, *, asks_for_usage: bool) -> None:
        super().__init__(request, record, asks_for_usage=asks_for_usage)
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        self.response = web.StreamResponse(headers={**headers, **self.headers})
        self.response.enable_chunked_encoding()

    async def open(self) -> None:
        await self.response.prepare(self.request)

    def event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        chunk = {"id": self.answer_id, "object": "chat.completion.chunk", **self.identity, "choices": choices}
        if self.asks_for_usage:
            chunk["usage"] = usage
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    def delta_event(self, delta: Delta, finish_reason: str | None = None) -> bytes:
        return self.event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])

    async def say(self, deltas: list[Delta], *, delay: float = 0) -> None:
        """Stream the deltas: in one write if nothing is to pass between them."""
        *role, first = [self.delta_event(delta) for delta in self.with_role(deltas[:1])]
        await self.response.write(b"".join((*role, first)))
        if not delay:
            await self.write_raw(b"".join(map(self.delta_event, deltas[1:])))
            return
        for delta in deltas[1:]:
            await asyncio.sleep(delay)
            await self.response.write(self.delta_event(delta))

    async def stamp(self, *, rate: float, count: int, think: int) -> None:
        """Hand a paced row of stamps to the pacer and wait until it is written."""
        await self.write_raw(b"".join(map(self.delta_event, self.with_role([]))))
        if count < 1:
            return
        loop = asyncio.get_running_loop()
        stream = StampStream(
            transport=self.request.transport,
            thought=self.around_stamp("reasoning_content"),
            spoken=self.around_stamp("content"),
            start=loop.time() + random.random() / rate,
            interval=1 / rate,
            count=count,
            think=think,
            done=loop.create_future(),
        )
        self.memory.pacer.add(stream)
        await stream.done

    def around_stamp(self, name: str) -> tuple[bytes, bytes]:
        """Encode what comes before and after a stamp, with the framing of an HTTP chunk."""
        event = self.delta_event({name: STAMP_PLACEHOLDER})
        before, _, after = event.rpartition(STAMP_PLACEHOLDER.encode())
        return b"%x\r\n%b" % (len(event), before), after + b"\r\n"

    async def say_finish(self) -> None:
        role = b"".join(map(self.delta_event, self.with_role([])))
        await self.response.write(role + self.delta_event({}, self.finish_reason))

    async def write_raw(self, data: bytes) -> None:
        if data:
            await self.response.write(data)

    async def close(self) -> web.StreamResponse:
        """Send what ends a stream; a client may hang up as soon as it has read [DONE]."""
        if self.ended:
            self.settle()
            return self.response
        await self.finish_by_itself()
        usage = self.event([], self.usage_to_tell()) if self.asks_for_usage else b""
        self.settle()
        await self.response.write_eof(usage + b"data: [DONE]\n\n")
        return self.response


class WholeReply(Reply):
    """The answer as one chat.completion, put together from the same deltas."""

    def __init__(self, request: web.Request, record: Record, *, asks_for_usage: bool) -> None:
        super().__init__(request, record, asks_for_usage=asks_for_usage)
        self.message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        self.calls: dict[int, dict[str, Any]] = {}
        self.raw = b""

    async def open(self) -> None:
        """Send nothing yet: the status comes with the body."""

    async def say(self, deltas: list[Delta], *, delay: float = 0) -> None:
        for delta in deltas:
            for part in delta.get("tool_calls", []):
                self.add_to_call(part)
            for name in delta.keys() - {"tool_calls"}:
                self.message[name] = (self.message.get(name) or "") + delta[name]
        await asyncio.sleep(delay * max(0, len(deltas) - 1))

    def add_to_call(self, part: dict[str, Any]) -> None:
        if "id" in part:
            self.calls[part["index"]] = {
                "id": part["id"],
                "type": "function",
                "function": dict(part["function"]),
            }
        else:
            self.calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]

    async def stamp(self, *, rate: float, count: int, think: int) -> None:
        for number in range(count):
            await asyncio.sleep(1 / rate)
            name = "reasoning_content" if number < think else "content"
            await self.say([{name: f"{time.time_ns()} "}])

    async def say_finish(self) -> None:
        """The reason is part of the body."""

    async def write_raw(self, data: bytes) -> None:
        self.raw += data

    async def close(self) -> web.Response:
        if not self.ended:
            await self.finish_by_itself()
        self.settle()
        body = self.raw if self.raw or self.ended else orjson.dumps(self.completion())
        return web.Response(body=body, content_type="application/json", headers=self.headers)

    def completion(self) -> dict[str, Any]:
        if self.calls:
            self.message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        choice = {
            "index": 0,
            "message": self.message,
            "logprobs": None,
            "finish_reason": self.finish_reason,
        }
        return {
            "id": self.answer_id,
            "object": "chat.completion",
            **self.identity,
            "choices": [choice],
            "usage": self.usage_to_tell(),
        }


# The model's endpoints


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Answer as the script of the model says, and notice a client that goes away meanwhile."""
    try:
        body = read_body(await request.read())
    except ScriptError as error:
        return web.Response(status=400, body=error_body(400, str(error)), content_type="application/json")
    memory = request.app[MEMORY]
    record = memory.record(request, body)
    memory.in_flight[id(record)] = request.transport
    try:
        return await answer(request, record, body)
    except (asyncio.CancelledError, ConnectionError):
        record.aborted = record.finished is None
        raise
    finally:
        del memory.in_flight[id(record)]
        record.finished = record.finished or time.time()
        memory.notify()


def read_body(data: bytes) -> dict[str, Any]:
    """Read a chat request, as strictly as the recording needs it."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ScriptError(f"The body is not JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise ScriptError("The body is an object with a list of messages.")
    return body


async def answer(request: web.Request, record: Record, body: dict[str, Any]) -> web.StreamResponse:
    script = request.app[MEMORY].scripts.get(record.model)
    if script is None:
        record.status = 404
        message = f"The model `{record.model}` does not exist or you do not have access to it."
        return web.Response(status=404, body=error_body(404, message), content_type="application/json")
    record.turn = max(0, min(turn_of(record.messages), len(script.turns) - 1))
    if script.summary is not None and is_about_summary(record.messages):
        record.turn = SUMMARY
    if script.window is not None:
        record.tokens = len(orjson.dumps([record.messages, body.get("tools")])) // 4
        if record.tokens > script.window:
            record.status = 400
            message = f"This model's maximum context length is {script.window} tokens; you sent {record.tokens}."
            refusal = error_body(400, message, "context_length_exceeded")
            return web.Response(status=400, body=refusal, content_type="application/json")
    asks_for_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    kind = StreamedReply if body.get("stream") else WholeReply
    return await kind(request, record, asks_for_usage=asks_for_usage).perform(script.actions_for(record.turn))


async def models(request: web.Request) -> web.Response:
    """List the scripts as models."""
    scripts = request.app[MEMORY].scripts
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "fake", **script.listing}
        for name, script in scripts.items()
    ]
    return web.json_response({"object": "list", "data": data})


# The test's endpoints


async def put_script(request: web.Request) -> web.Response:
    body = orjson.loads(await request.read())
    turns = body["turns"]
    try:
        for turn in turns:
            for action in turn:
                check_action(action)
    except ScriptError as error:
        return web.json_response({"error": str(error)}, status=400)
    script = Script(turns, body.get("listing", {}), body.get("window"), body.get("summary"))
    request.app[MEMORY].scripts[request.match_info["name"]] = script
    return web.json_response({})


async def release_gate(request: web.Request) -> web.Response:
    request.app[MEMORY].gate(request.match_info["name"]).set()
    return web.json_response({})


async def list_requests(request: web.Request) -> web.Response:
    """Answer the matching requests as soon as there are enough of them, or 504 with what there is."""
    memory, query = request.app[MEMORY], request.query
    count, timeout = int(query.get("count", 0)), float(query.get("timeout", 10))
    model, aborted = query.get("model"), query.get("aborted") == "1"
    status = 200
    try:
        async with asyncio.timeout(timeout):
            while len(memory.matching(model=model, aborted=aborted)) < count:
                await memory.changed.wait()
    except TimeoutError:
        status = 504
    records = [asdict(record) for record in memory.matching(model=model, aborted=aborted)]
    return web.Response(status=status, body=orjson.dumps(records), content_type="application/json")


async def reset(request: web.Request) -> web.Response:
    request.app[MEMORY].forget()
    return web.json_response({})


# The process


def application() -> web.Application:
    """The model's endpoints, and the test's."""
    app = web.Application(client_max_size=256 * 2**20)
    app.router.add_post("/v1/chat/completions", chat_completions)
    app.router.add_get("/v1/models", models)
    app.router.add_put("/scripts/{name:.+}", put_script)
    app.router.add_post("/gates/{name:.+}", release_gate)
    app.router.add_get("/requests", list_requests)
    app.router.add_post("/reset", reset)
    return app


async def serve(build: Callable[[], web.Application], port: int, *, until_stdin_closes: bool) -> None:
    """Serve until a signal, or until the parent lets go of stdin."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    app = build()
    app[MEMORY] = memory = Memory()
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    # Benchmarks open hundreds of connections at once.
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
    await site.start()
    print(orjson.dumps({"port": runner.addresses[0][1]}).decode(), flush=True)
    await stop.wait()
    memory.forget()
    await runner.cleanup()


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent's thread that started us ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("The parent is already gone.")


def main(build: Callable[[], web.Application] = application, words: str | None = __doc__) -> None:
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when stdin does, instead of when the thread that started this process ends",
    )
    options = parser.parse_args()
    if not options.until_stdin_closes:
        die_with_parent()
    asyncio.run(serve(build, options.port, until_stdin_closes=options.until_stdin_closes))


if __name__ == "__main__":
    main()
