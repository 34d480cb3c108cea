"""Metrics and traces of requests to models and of tool calls.

Spans and their attributes have the names of OpenTelemetry's semantic conventions for generative AI.
"""

import contextlib
import time
from collections.abc import Iterator

from agents_app.engine.providers.base import ModelRequest, UsagePart
from agents_app.engine.spec import ModelSpec
from agents_app.engine.toolset import ToolResult
from agents_app.exceptions import ModelError, ModelUnavailable
from agents_app.observability import metrics, tracing

_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "local": "aintandem.local"}


class ModelCall:
    """One request to a model, from its first byte to the end of the response."""

    def __init__(self, spec: ModelSpec, request: ModelRequest) -> None:
        self._kind = spec.kind
        self._started = time.monotonic()
        # Not the task's current span: the loop does other things while the response streams.
        self._span = tracing.begin(
            f"chat {request.model}",
            "client",
            gen_ai__operation__name="chat",
            gen_ai__provider__name=_PROVIDERS.get(spec.kind, spec.kind),
            gen_ai__request__model=request.model,
            gen_ai__request__temperature=request.parameters.temperature,
            gen_ai__request__top_p=request.parameters.top_p,
            gen_ai__request__max_tokens=request.parameters.max_tokens,
        )

    def on_first_part(self) -> None:
        """Record the time to the first part."""
        metrics.MODEL_FIRST_PART.labels(self._kind).observe(time.monotonic() - self._started)

    def on_answer(self, reason: str, usage: UsagePart | None) -> None:
        """Record a complete response."""
        self._span.set(gen_ai__response__finish_reasons=[reason])
        if usage is not None:
            self._span.set(
                gen_ai__usage__input_tokens=usage.input_tokens, gen_ai__usage__output_tokens=usage.output_tokens
            )
            metrics.TOKENS.labels("input").inc(usage.input_tokens)
            metrics.TOKENS.labels("output").inc(usage.output_tokens)
            metrics.TOKENS.labels("reasoning").inc(usage.reasoning_tokens)

    def end(self, outcome: str) -> None:
        metrics.MODEL_CALLS.labels(self._kind, outcome).inc()
        if outcome == "ok":
            metrics.MODEL_SECONDS.labels(self._kind).observe(time.monotonic() - self._started)
        self._span.end()

    def fail(self, error: Exception) -> None:
        self._span.fail(error.code if isinstance(error, ModelError) else type(error).__qualname__)


@contextlib.contextmanager
def model_call(spec: ModelSpec, request: ModelRequest, *, is_last_attempt: bool) -> Iterator[ModelCall]:
    """Instrument a request to a model."""
    call = ModelCall(spec, request)
    outcome = "cancelled"
    try:
        yield call
        outcome = "ok"
    except Exception as error:
        can_retry = isinstance(error, ModelUnavailable) or getattr(error, "code", "") == "context_length_exceeded"
        outcome = "retried" if can_retry and not is_last_attempt else "failed"
        call.fail(error)
        raise
    finally:
        call.end(outcome)


class ToolCall:
    """One call of a tool."""

    result: ToolResult | None = None
    timed_out = raised = False

    @property
    def outcome(self) -> str:
        if self.result is None:
            return "error" if self.raised else "cancelled"
        if self.timed_out:
            return "timeout"
        return "error" if self.result.is_error else "ok"


@contextlib.contextmanager
def tool_call(name: str, call_id: str, server: str) -> Iterator[ToolCall]:
    """Instrument a call of a tool, of the MCP server `server` or built in."""
    source = "mcp" if server else "builtin"
    call = ToolCall()
    started = time.monotonic()
    with tracing.span(
        f"execute_tool {name}",
        gen_ai__operation__name="execute_tool",
        gen_ai__tool__name=name,
        gen_ai__tool__call__id=call_id or None,
        gen_ai__tool__type="extension" if server else "function",
        aintandem__mcp__server=server or None,
    ) as span:
        try:
            yield call
        except Exception:
            call.raised = True
            raise
        finally:
            if call.outcome != "ok":
                span.fail(call.outcome)
            metrics.TOOL_CALLS.labels(source, call.outcome).inc()
            metrics.TOOL_SECONDS.labels(source).observe(time.monotonic() - started)
