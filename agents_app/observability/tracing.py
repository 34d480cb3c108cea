"""Traces by OpenTelemetry, where its standard environment variables ask for them; otherwise nothing is even imported.

A span is known to others by its `traceparent`, which `correlation` carries: from a request to its run's row, and from
there to the worker. Texts of people and models are not recorded.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from agents_app.exceptions import AgentError
from agents_app.observability import context as correlation

logger = logging.getLogger(__name__)

EXPORTERS = ("otlp", "console", "none")
_FLUSH_TIMEOUT = 2.0  # seconds that a stop waits for a collector
_provider: Any = None
_tracer: Any = None


class Span:
    """A span that is being recorded, or, where nobody asked for traces, nothing at all."""

    def __init__(self, recorded: Any = None) -> None:
        self._recorded = recorded

    def set(self, **attributes: Any) -> None:
        """Say more of it. In a name, `__` stands for a dot; what is None is left out."""
        if self._recorded is not None:
            self._recorded.set_attributes(_dotted(attributes))

    def rename(self, name: str) -> None:
        if self._recorded is not None:
            self._recorded.update_name(name)

    def fail(self, kind: str) -> None:
        """Say that it went wrong, and how."""
        if self._recorded is not None:
            from opentelemetry.trace import StatusCode

            self._recorded.set_attribute("error.type", kind)
            self._recorded.set_status(StatusCode.ERROR)

    def end(self) -> None:
        if self._recorded is not None:
            self._recorded.end()


_NOTHING = Span()


def problem(environment: Mapping[str, str] = os.environ) -> str:
    """What is wrong with OpenTelemetry's variables, in a sentence; empty where nothing is."""
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter not in EXPORTERS:
        return f"OTEL_TRACES_EXPORTER is {exporter!r}; it may be {', '.join(EXPORTERS)}."
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; this server speaks http/protobuf."
    return ""


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody asked for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter in ("otlp", "console") or (not exporter and any(environment.get(name) for name in endpoints))


def start(service: str, version: str) -> None:
    """Record from now on, if somebody asked for it. `service`: the name where OTEL_SERVICE_NAME gives none."""
    global _provider, _tracer
    if _provider is not None or not wanted() or problem():
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    told = {"service.version": version}
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        told["service.name"] = service
    provider = TracerProvider(resource=Resource.create(told), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    _provider, _tracer = provider, provider.get_tracer("agents_app", version)
    logger.info("Traces are recorded")


def _exporter() -> Any:
    if os.environ.get("OTEL_TRACES_EXPORTER") == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def stop() -> None:
    """Send what waits; a collector that does not answer is not waited for long."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        # A daemon's thread: both the flush and the interpreter's end would wait for the exporter's own retries.
        sending = threading.Thread(target=provider.shutdown, name="last-traces", daemon=True)
        sending.start()
        sending.join(_FLUSH_TIMEOUT)


def begin(name: str, kind: str = "internal", **attributes: Any) -> Span:
    """A span under the one that this task is in; `kind`: internal, server, client. Who begins it ends it."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = TraceContextTextMapPropagator().extract({"traceparent": correlation.current().traceparent})
    return Span(_tracer.start_span(name, above, SpanKind[kind.upper()], _dotted(attributes)))


@contextlib.contextmanager
def span(name: str, kind: str = "internal", **attributes: Any) -> Iterator[Span]:
    """The same around what is done in it; spans that begin meanwhile in this task are under it."""
    if _tracer is None:
        yield _NOTHING
        return
    above = correlation.current().traceparent
    begun = begin(name, kind, **attributes)
    correlation.bind(traceparent=_traceparent(begun))
    try:
        yield begun
    except Exception as error:
        begun.fail(error.code if isinstance(error, AgentError) else type(error).__qualname__)
        raise
    finally:
        correlation.bind(traceparent=above)
        begun.end()


def _traceparent(begun: Span) -> str:
    context = begun._recorded.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _dotted(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items() if value is not None}
