"""The outermost ASGI middleware: give each request and socket its id, and count, time and trace requests."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.http import HttpRequest

from agents_app.observability import context, metrics, tracing

Application = Callable[..., Awaitable[None]]
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_PROBES = {"/healthz", "/health", "/readyz", "/metrics"}
_SPAN = "aintandem.span"
_HEADERS = {b"x-request-id", b"traceparent"}


def instrument(application: Application) -> Application:
    """Return the application with ids, metrics and spans for its requests."""

    async def instrumented(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name: value.decode("latin1") for name, value in scope["headers"] if name in _HEADERS}
        context.bind(
            request_id=context.request_id(headers.get(b"x-request-id", "")),
            traceparent=context.traceparent(headers.get(b"traceparent", "")),
        )
        if scope["type"] != "http" or scope["path"].rstrip("/") in _PROBES:
            await application(scope, receive, send)
            return
        await _request(application, scope, receive, send)

    return instrumented


async def _request(application: Application, scope: dict[str, Any], receive: Any, send: Any) -> None:
    began = time.monotonic()
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    with tracing.span(method, "server", http__request__method=method, url__path=scope["path"]) as span:
        scope[_SPAN] = span

        async def send_and_measure(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status = int(message["status"])
                metrics.REQUESTS.labels(method, f"{status // 100}xx").inc()
                metrics.REQUEST_SECONDS.observe(time.monotonic() - began)
                span.set(http__response__status_code=status)
                if status >= 500:
                    span.fail(str(status))
            await send(message)

        await application(scope, receive, send_and_measure)


def name_span(request: HttpRequest) -> None:
    """Name the request's span by the pattern of its URL, once that is resolved."""
    span: tracing.Span | None = getattr(request, "scope", {}).get(_SPAN)
    if span is not None and request.resolver_match is not None:
        route = f"/{request.resolver_match.route}"
        span.rename(f"{request.method} {route}")
        span.set(http__route=route)
