"""A web site on a loopback port, for tests of what reads it: pages are put there, and it tells what it was asked."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """Runs in a thread of the test. `requests`: what it was asked; `connections`: how often anybody connected."""

    def __init__(self) -> None:
        self.requests: list[BaseHTTPRequestHandler] = []
        self.connections = 0
        self.closing = threading.Event()
        self._answers: dict[str, Answer] = {}
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> "Site":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def page(self, path: str, body: bytes | str = b"", *, status: int = 200, **headers: str) -> str:
        """Put a page there; returns its URL. Without `Content_Type` it names no type."""
        data = body.encode() if isinstance(body, str) else body

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {"Content_Length": str(len(data)), **headers}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(data)

        return self.serve(path, answer)

    def redirect(self, path: str, location: str, status: int = 302) -> str:
        return self.page(path, "moved", status=status, Location=location)

    def serve(self, path: str, answer: Answer) -> str:
        """Let a function write the answer; returns the URL."""
        self._answers[path] = answer
        return self.url + path

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler)
        try:
            self._answers[handler.path](handler)
        except ConnectionError:
            handler.close_connection = True  # whoever asked has gone


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: Site) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def do_POST(self) -> None:
                site.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.site = site
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self):  # type: ignore[no-untyped-def]
        self.site.connections += 1
        return super().get_request()
