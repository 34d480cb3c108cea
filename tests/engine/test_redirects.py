"""A server that redirects gets nothing sent elsewhere: keys and conversations stay at the address that was set."""

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from agents_app.engine import providers
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.spec import Message, ModelSpec, Parameters
from agents_app.exceptions import RunFailed


@contextmanager
def server(location: str = "") -> Iterator[tuple[str, list[str]]]:
    """Answer 307 to `location`, or 500; the list gets the path of each request."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.send_response(307 if location else 500)
            self.send_header("Location", location + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
        server.shutdown()


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_model_client_follows_no_redirect(kind):
    async def ask(url: str) -> None:
        spec = ModelSpec(kind, url, "sk-secret", (("x-team", "secret"),), "m", 8192)
        model = await providers.open_model(spec)
        request = ModelRequest("m", "", [Message("user", "private words")], (), Parameters(max_tokens=10))
        try:
            async for _ in model.stream(request):
                pass
        finally:
            await providers.close_models()

    with server() as (second, elsewhere), server(second) as (first, paths):
        with pytest.raises(RunFailed):
            asyncio.run(ask(first))

        assert paths
        assert elsewhere == []
