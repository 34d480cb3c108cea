"""Log lines, metrics and a span of one execution of a run."""

import contextlib
import logging
import time
from collections.abc import Iterator
from decimal import Decimal

from agents_app.engine.spec import Usage
from agents_app.models import Run
from agents_app.observability import context, metrics, tracing

logger = logging.getLogger("agents_app.worker.execution")


class RunTelemetry:
    """Telemetry of one claimed run, from the claim to its end."""

    def __init__(self, run: Run) -> None:
        self.has_first_token = False
        self._run = run
        self._span = tracing.Span()

    @contextlib.contextmanager
    def bound(self) -> Iterator[None]:
        """Attribute everything that this task logs and traces to the run."""
        run = self._run
        context.bind(
            request_id=run.request_id, session_id=run.session.name, run_id=str(run.pk), traceparent=run.traceparent
        )
        logger.info("Agent %s begins: attempt %d", run.agent_name, run.attempt)
        with tracing.span(
            f"invoke_agent {run.agent_name}",
            gen_ai__operation__name="invoke_agent",
            gen_ai__agent__name=run.agent_name,
            gen_ai__conversation__id=run.session.name,
            aintandem__run__id=str(run.pk),
            aintandem__run__attempt=run.attempt,
            aintandem__run__trigger=run.trigger,
        ) as self._span:
            yield

    def first_token(self) -> None:
        """Record that the first token arrived."""
        self.has_first_token = True
        if self._run.attempt == 1:
            metrics.FIRST_TOKEN.observe(self._age())

    def ended(self, status: Run.Status, usage: Usage, cost: Decimal | None, *, error_code: str) -> None:
        """Record the end of the run, which the database has."""
        run = self._run
        metrics.RUNS_FINISHED.labels(status.value).inc()
        metrics.RUN_SECONDS.observe(self._age())
        metrics.COST.inc(float(cost or 0))
        if status == Run.Status.CANCELLED and run.cancel_requested_at:
            metrics.CANCEL_SECONDS.observe(metrics.between(run.cancel_requested_at.timestamp(), time.time()))
        self._span.set(
            aintandem__run__status=status.value,
            gen_ai__usage__input_tokens=usage.input_tokens,
            gen_ai__usage__output_tokens=usage.output_tokens,
        )
        if error_code:
            self._span.fail(error_code)
        cause = f" ({error_code})" if error_code else ""
        logger.info("Agent %s %s%s after %.3f s", run.agent_name, status.value, cause, self._age())

    def _age(self) -> float:
        """Return the seconds since the run was accepted."""
        return metrics.between(self._run.created_at.timestamp(), time.time())
