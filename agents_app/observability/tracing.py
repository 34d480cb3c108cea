"""Traces by OpenTelemetry, if its standard environment variables ask for them. Otherwise its API's spans do nothing.

Importing the API costs 8 ms of CPU at the start; the SDK is imported only if traces are asked for. A span is passed on
by its `traceparent`: from a request to its run's row, and from there to the worker. Texts of people and models are not
recorded.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agents_app.exceptions import AgentError
from agents_app.observability import context

logger = logging.getLogger(__name__)

EXPORTERS = ("otlp", "console", "none")
_FLUSH_TIMEOUT = 2.0  # seconds that a stop waits for a collector
_propagator = TraceContextTextMapPropagator()
_provider: Any = None  # of the SDK, while traces are recorded
_tracer: trace.Tracer = trace.NoOpTracer()


class Span:
    """A span. In names of attributes `__` stands for a dot; attributes that are None are left out."""

    def __init__(self, span: trace.Span = trace.INVALID_SPAN) -> None:
        self._span = span

    def set(self, **attributes: Any) -> None:
        self._span.set_attributes(_dotted(attributes))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        self._span.end()

    @property
    def traceparent(self) -> str:
        """The span as W3C writes it; empty if there is none."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get("traceparent", "")


def problem(environment: Mapping[str, str] = os.environ) -> str:
    """Return what is wrong with OpenTelemetry's variables, in a sentence; empty if nothing is."""
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter not in EXPORTERS:
        return f"OTEL_TRACES_EXPORTER is {exporter!r}: use one of {', '.join(EXPORTERS)}."
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: this server supports http/protobuf."
    return ""


def is_enabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment asks for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter in ("otlp", "console") or (not exporter and any(environment.get(name) for name in endpoints))


def start(service: str, version: str) -> None:
    """Record spans from now on, if the environment asks for traces. `service`: the name without OTEL_SERVICE_NAME."""
    global _provider, _tracer
    if _provider is not None or not is_enabled() or problem():
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    attributes = {"service.version": version}
    has_name = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not has_name:
        attributes["service.name"] = service
    _provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(_exporter()))
    _tracer = _provider.get_tracer("agents_app", version)
    logger.info("Recording traces")


def _exporter() -> Any:
    if os.environ.get("OTEL_TRACES_EXPORTER") == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def stop() -> None:
    """Send the spans that wait. A collector that does not answer is not waited for long."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, trace.NoOpTracer()
    if provider is not None:
        # A daemon thread: both the flush and the interpreter's end would wait for the exporter's own retries.
        sending = threading.Thread(target=provider.shutdown, name="last-traces", daemon=True)
        sending.start()
        sending.join(_FLUSH_TIMEOUT)


def begin(name: str, kind: str = "internal", **attributes: Any) -> Span:
    """Begin a span below the current one of this task; the caller ends it. `kind`: internal, server or client."""
    parent = _propagator.extract({"traceparent": context.current().traceparent})
    return Span(_tracer.start_span(name, parent, SpanKind[kind.upper()], _dotted(attributes)))


@contextlib.contextmanager
def span(name: str, kind: str = "internal", **attributes: Any) -> Iterator[Span]:
    """Record a span around a block. Spans that begin in this task meanwhile are below it."""
    parent = context.current().traceparent
    current = begin(name, kind, **attributes)
    context.bind(traceparent=current.traceparent)
    try:
        yield current
    except Exception as error:
        current.fail(error.code if isinstance(error, AgentError) else type(error).__qualname__)
        raise
    finally:
        context.bind(traceparent=parent)
        current.end()


def _dotted(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items() if value is not None}
