"""Something small in the place of a web process, for tests of what stands before it.

`python -m tests.harness.fakes.stub_web PORT`: every path says who answers and what it was told, `/events` is a
stream that goes on after `POST /go`, and `/ws/…` is a socket that repeats what it hears.
"""

import asyncio
import sys

from aiohttp import WSMsgType, web

from tests.harness.daemon import Daemon, free_port, is_open


class StubWeb(Daemon):
    name = "stub"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.harness.fakes.stub_web", str(self.port)]

    def is_ready(self) -> bool:
        return is_open(self.port)


def application(port: int) -> web.Application:
    go = asyncio.Event()

    async def say_who(request: web.Request) -> web.Response:
        size = len(await request.read())
        return web.json_response({"port": port, "headers": dict(request.headers), "size": size})

    async def let_go(request: web.Request) -> web.Response:
        go.set()
        return web.Response()

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await go.wait()
        await response.write(b"data: 2\n\n")
        return response

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"port": port})
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket

    stub = web.Application(client_max_size=10 * 1024 * 1024)
    stub.router.add_post("/go", let_go)
    stub.router.add_get("/events", events)
    stub.router.add_get("/ws/{rest:.*}", echo)
    stub.router.add_route("*", "/{rest:.*}", say_who)
    return stub


async def application_on(port: int) -> web.Application:
    return application(port)


if __name__ == "__main__":
    here = int(sys.argv[1])
    web.run_app(application_on(here), host="127.0.0.1", port=here, print=None)
