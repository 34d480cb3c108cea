"""A scriptable server of Anthropic's Messages API over real HTTP, as strict as the real one (see `anthropic_rules`).

It is scripted as `fake_model` is: a script is a list of turns, a turn a list of actions (see `VERBS`), and which turn
answers is the number of the model's messages since a user's own words. A script names a family of models, too.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from tests.harness.fakes import anthropic_rules, fake_model
from tests.harness.fakes.anthropic_rules import FAMILIES, Block, Body, Family, blocks_of, thinks
from tests.harness.fakes.fake_model import MEMORY, Action, Record, Script, ScriptError, fragments, pieces
from tests.harness.fakes.fake_model_process import FakeModel

VERBS: dict[str, set[str]] = {
    "text": {"chunk", "delay"},
    "reasoning": {"chunk", "delay"},
    "redacted": set(),
    "tool_call": {"delay"},
    "wait": set(),
    "usage": set(),
    "finish": {"details"},
    "error": {"message"},
    "raw": set(),
    "status": {"headers", "message", "body"},
    "cut": set(),
    "end": set(),
    "only_first": {"do"},
}
ERROR_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error",
}  # fmt: skip
WRONG_KEY = "sk-ant-a-wrong-key"
CONTENT = web.AppKey("said", dict[str, list[Block]])


@dataclass
class ClaudeScript(Script):
    """What one model says, and which family it is of."""

    family: str = "budget"

    @property
    def takes(self) -> Family:
        return FAMILIES[self.family]


class FakeAnthropic(FakeModel):
    """The server as a process of its own."""

    module = "tests.harness.fakes.fake_anthropic"

    def script(self, name: str, turns: list[list[dict[str, Any]]], family: str = "budget") -> None:
        """Say what the model called `name` answers, and of which family it is."""
        self._ask("PUT", f"/scripts/{name}", {"turns": turns, "family": family})


def check_action(action: Action) -> None:
    verbs = [key for key in action if key in VERBS]
    if len(verbs) != 1 or set(action) - set(verbs) - VERBS[verbs[0]]:
        raise ScriptError(f"This is no action: {action}")
    for inner in action.get("do", []):
        check_action(inner)


def turn_of(messages: list[dict[str, Any]]) -> int:
    """Count the model's messages since a user's own words."""
    turn = 0
    for message in reversed(messages):
        if message["role"] == "assistant":
            turn += 1
        elif any(block["type"] != "tool_result" for block in blocks_of(message)):
            break
    return turn


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    error = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
    body = {"type": "error", "error": error, "request_id": "req_fake"}
    return web.json_response(body, status=status, headers=headers)


def event(kind: str, **data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **data}))


class Reply:
    """One streamed answer."""

    def __init__(self, request: web.Request, record: Record, body: Body, family: Family) -> None:
        self.request, self.record, self.body = request, record, body
        self.thinks = thinks(body, family)
        shown = body.get("thinking", {}).get("display", "omitted" if family.thinks_unasked else "summarized")
        self.shows_thoughts = shown == "summarized"
        self.content: list[Block] = []
        self.usage = {"input_tokens": 10, "output_tokens": 5}
        self.finished = False
        self.response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        self.response.enable_chunked_encoding()

    async def perform(self, actions: list[Action]) -> web.StreamResponse:
        self.usage |= next((action["usage"] for action in actions if "usage" in action), {})
        for action in actions:
            verb = next(key for key in action if key in VERBS)
            if verb == "status":
                return self.refuse(action)
            await self.open()
            if verb in ("text", "reasoning", "redacted", "tool_call"):
                async for data in getattr(self, verb)(action):
                    await self.response.write(data)
            elif verb == "wait":
                await self.request.app[MEMORY].gate(action["wait"]).wait()
            elif verb == "finish":
                await self.finish(action["finish"], action.get("details"))
            elif verb == "error":
                error = {"type": action["error"], "message": action.get("message", "Overloaded")}
                await self.response.write(event("error", error=error))
                return self.settled()
            elif verb == "raw":
                await self.response.write(action["raw"].encode())
            elif verb == "cut":
                self.settled()
                self.request.transport.abort()
                await asyncio.Event().wait()
            elif verb == "end":
                return self.settled()
        if not self.finished:
            await self.finish("tool_use" if any(b["type"] == "tool_use" for b in self.content) else "end_turn")
        data = event("message_stop")
        self.settled()  # a client may hang up as soon as it has read this
        await self.response.write_eof(data)
        return self.response

    def settled(self) -> web.StreamResponse:
        self.record.finished = time.time()
        return self.response

    def refuse(self, action: Action) -> web.Response:
        self.record.status = action["status"]
        self.settled()
        if "body" in action:
            headers = {"Content-Type": "text/html"}
            return web.Response(status=action["status"], text=action["body"], headers=headers)
        message = action.get("message", f"The script answers {action['status']}.")
        return refusal(action["status"], message, action.get("headers"))

    async def open(self) -> None:
        if self.response.prepared:
            return
        await self.response.prepare(self.request)
        message = {
            "id": f"msg_{self.record.number}", "type": "message", "role": "assistant", "model": self.record.model,
            "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": {name: count for name, count in self.usage.items() if "input" in name} | {"output_tokens": 1},
        }  # fmt: skip
        await self.response.write(event("message_start", message=message) + event("ping"))

    async def block(self, begin: Block, whole: Block, deltas: list[Block], delay: float = 0) -> AsyncIterator[bytes]:
        index = len(self.content)
        self.content.append(whole)
        yield event("content_block_start", index=index, content_block=begin)
        for number, delta in enumerate(deltas):
            if number and delay:
                await asyncio.sleep(delay)
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)

    def text(self, action: Action) -> AsyncIterator[bytes]:
        deltas = [{"type": "text_delta", "text": part} for part in pieces(action["text"], action.get("chunk", 4))]
        whole = {"type": "text", "text": action["text"]}
        return self.block({"type": "text", "text": ""}, whole, deltas, action.get("delay", 0))

    async def reasoning(self, action: Action) -> AsyncIterator[bytes]:
        if not self.thinks:
            return
        shown = action["reasoning"] if self.shows_thoughts else ""
        signature = anthropic_rules.sign(self.body, shown)
        deltas = [
            {"type": "thinking_delta", "thinking": part} for part in pieces(shown, action.get("chunk", 4)) if part
        ]
        deltas += [{"type": "signature_delta", "signature": signature}]
        whole = {"type": "thinking", "thinking": shown, "signature": signature}
        begin = {"type": "thinking", "thinking": "", "signature": ""}
        async for data in self.block(begin, whole, deltas, action.get("delay", 0)):
            yield data

    async def redacted(self, action: Action) -> AsyncIterator[bytes]:
        if not self.thinks:
            return
        whole = {"type": "redacted_thinking", "data": anthropic_rules.sign(self.body, action["redacted"])}
        async for data in self.block(whole, whole, []):
            yield data

    def tool_call(self, action: Action) -> AsyncIterator[bytes]:
        call = action["tool_call"]
        calls = sum(block["type"] == "tool_use" for block in self.content)
        arguments = call.get("arguments", {})
        json = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        begin = {"type": "tool_use", "id": f"toolu_{self.record.number}_{calls}", "name": call["name"], "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in ["", *fragments(json, 3)]]
        whole = begin | {"input": arguments if isinstance(arguments, dict) else {}}
        return self.block(begin, whole, deltas, action.get("delay", 0))

    async def finish(self, reason: str, details: Any = None) -> None:
        self.finished = True
        for block in self.content:
            if block["type"] == "tool_use":
                self.request.app[CONTENT][block["id"]] = self.content
        delta = {"stop_reason": reason, "stop_sequence": None, "stop_details": details}
        usage = {name: count for name, count in self.usage.items() if name.startswith("output")}
        await self.response.write(event("message_delta", delta=delta, usage=usage))


# The model's endpoints


def wrong_headers(request: web.Request) -> web.Response | None:
    if request.headers.get("x-api-key", WRONG_KEY) == WRONG_KEY or "authorization" in request.headers:
        return refusal(401, "invalid x-api-key")
    if request.headers.get("anthropic-version") not in anthropic_rules.VERSIONS:
        return refusal(400, "anthropic-version: header is required")
    return None


async def messages(request: web.Request) -> web.StreamResponse:
    """Answer as the model's script says, and notice a client that goes away meanwhile."""
    body = orjson.loads(await request.read())
    memory = request.app[MEMORY]
    record = memory.record(request, body)
    record.headers = {name.lower(): value for name, value in request.headers.items()}
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


async def answer(request: web.Request, record: Record, body: Body) -> web.StreamResponse:
    if wrong := wrong_headers(request):
        return wrong
    script = request.app[MEMORY].scripts.get(record.model)
    if not isinstance(script, ClaudeScript):
        record.status = 404
        return refusal(404, f"model: {record.model}")
    try:
        version = request.headers["anthropic-version"]
        anthropic_rules.check(body, script.takes, request.app[CONTENT], version)
    except anthropic_rules.Refused as why:
        record.status = 400
        return refusal(400, str(why))
    record.turn = min(turn_of(body["messages"]), len(script.turns) - 1)
    return await Reply(request, record, body, script.takes).perform(script.actions_for(record.turn))


async def list_models(request: web.Request) -> web.Response:
    if wrong := wrong_headers(request):
        return wrong
    names = request.app[MEMORY].scripts
    return web.json_response({"data": [{"type": "model", "id": name} for name in names], "has_more": False})


async def describe_model(request: web.Request) -> web.Response:
    if wrong := wrong_headers(request):
        return wrong
    name = request.match_info["name"]
    script = request.app[MEMORY].scripts.get(name)
    if not isinstance(script, ClaudeScript) or not script.takes.is_listed:
        return refusal(404, f"model: {name}")
    takes = script.takes
    kinds = ("adaptive", "between_tools", "disabled", "enabled")
    efforts = ("low", "medium", "high", "xhigh", "max")
    capabilities = {
        "thinking": {"supported": True, "types": {kind: {"supported": kind in takes.thinking} for kind in kinds}},
        "effort": {"supported": bool(takes.efforts)} | {e: {"supported": e in takes.efforts} for e in efforts},
    }
    return web.json_response(
        {"type": "model", "id": name, "max_tokens": takes.max_tokens, "capabilities": capabilities}
    )


async def put_script(request: web.Request) -> web.Response:
    script = orjson.loads(await request.read())
    try:
        for action in itertools.chain.from_iterable(script["turns"]):
            check_action(action)
    except ScriptError as error:
        return web.json_response({"error": str(error)}, status=400)
    request.app[MEMORY].scripts[request.match_info["name"]] = ClaudeScript(script["turns"], family=script["family"])
    return web.json_response({})


def application() -> web.Application:
    app = web.Application(client_max_size=256 * 2**20)
    app[CONTENT] = {}
    app.router.add_post("/v1/messages", messages)
    app.router.add_get("/v1/models", list_models)
    app.router.add_get("/v1/models/{name}", describe_model)
    app.router.add_put("/scripts/{name:.+}", put_script)
    app.router.add_post("/gates/{name:.+}", fake_model.release_gate)
    app.router.add_get("/requests", fake_model.list_requests)
    app.router.add_post("/reset", fake_model.reset)
    return app


if __name__ == "__main__":
    fake_model.main(application, __doc__)
