"""A collector of traces: OTLP over real HTTP, as OpenTelemetry's exporters speak it."""

import http.server
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.harness.wait import until


@dataclass(frozen=True)
class Span:
    """A span as it arrived; ids are in hexadecimal, times in seconds since the epoch."""

    name: str
    service: str
    kind: str
    trace: str
    id: str
    parent: str
    failed: bool
    started: float
    ended: float
    attributes: dict[str, Any]


_KINDS = ("", "internal", "server", "client")


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(inner) for inner in value.array_value.values]
    return getattr(value, kind)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


class Collector:
    """Keeps what it is sent. `environment` is what a process must be told to send it here, soon."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces", self.path
                collector._keep(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def __enter__(self) -> "Collector":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _keep(self, sent: ExportTraceServiceRequest) -> None:
        for resource in sent.resource_spans:
            service = _attributes(resource.resource.attributes)["service.name"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self.spans.append(
                    Span(
                        name=span.name,
                        service=service,
                        kind=_KINDS[span.kind],
                        trace=span.trace_id.hex(),
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        failed=span.status.code == 2,
                        started=span.start_time_unix_nano / 1e9,
                        ended=span.end_time_unix_nano / 1e9,
                        attributes=_attributes(span.attributes),
                    )
                )

    def trace_of_run(self, run_id: str, *, enough: Callable[[list[Span]], bool] = lambda spans: True) -> list[Span]:
        """Wait for the trace that the run is in, to have its run's end and what is wanted beside."""

        def look() -> list[Span] | None:
            ended = [span for span in self.spans if span.attributes.get("aintandem.run.id") == run_id]
            spans = [span for span in self.spans if ended and span.trace == ended[0].trace]
            return spans if spans and enough(spans) else None

        return until(look)
