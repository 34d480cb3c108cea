"""Compactions as steps of their run: written, read, and named in the log."""

import datetime
from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from agents_app.engine import compaction
from agents_app.engine.events import Compacted
from agents_app.engine.spec import Compaction, Position, Usage
from agents_app.event_log import vocabulary
from agents_app.event_log.vocabulary import EventType
from agents_app.models import Event, Run, Step


def row(run: Run, event: Compacted, usage: Usage) -> Step:
    """Return the step that keeps a compaction."""
    made = event.compaction
    upto = made.upto
    now = datetime.datetime.now(datetime.UTC)
    return Step(
        run_id=run.pk,
        index=event.index,
        iteration=event.iteration,
        kind=Step.Kind.COMPACTION,
        content=made.text,
        provider_data={
            "kind": made.kind,
            "upto": {"run": upto.run, "messages": upto.messages, "step": upto.step},
            "tokens_before": made.tokens_before,
            "tokens_after": made.tokens_after,
            "model": made.model,
        },
        usage=usage.as_dict(),
        started_at=datetime.datetime.fromtimestamp(event.started, datetime.UTC),
        finished_at=now,
    )


def of_steps(steps: Iterable[Step]) -> list[Compaction]:
    """Return the compactions among the steps, in their order. Steps can come from a file: one that is odd is no one."""
    found = (of_step(step) for step in steps if step.kind == Step.Kind.COMPACTION)
    return [each for each in found if each is not None]


def of_step(step: Step) -> Compaction | None:
    data: Any = step.provider_data
    upto = data.get("upto") if isinstance(data, dict) else None
    if not isinstance(upto, dict) or not isinstance(upto.get("run"), str):
        return None
    messages, after = upto.get("messages"), upto.get("step")
    if not isinstance(messages, int | None) or not isinstance(after, int | None):
        return None
    position = Position(upto["run"], messages, after)
    if data.get("kind") == compaction.TOOL_RESULTS:
        return Compaction("tool_results", position)
    return Compaction("summary", position, step.content) if step.content.strip() else None


def upto_seq(run: Run, position: Position) -> int:
    """Return the place in the log of a step of this run: of its event, if the log has one, else of the run's start."""
    events = Event.objects.filter(session=run.session_id, seq__gt=run.first_seq, run_id=run.pk)
    of_step = events.filter(type=EventType.REASONING_STEP, data__startswith=f'{{"step":{position.step},')
    return of_step.values_list("seq", flat=True).first() or run.first_seq or 0


def frame(made: Compaction, seq: int) -> vocabulary.Compaction:
    return vocabulary.Compaction(
        upto_seq=seq,
        kind=made.kind,
        tokens_before=made.tokens_before,
        tokens_after=made.tokens_after,
        summary=made.text or UNSET,
        model=made.model or UNSET,
    )
