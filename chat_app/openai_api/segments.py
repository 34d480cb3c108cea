"""Segments of a run: what each of a client's requests got of it.

A run that calls tools of its client waits for their results, which come with the client's next request. So such a
run has several segments. Each ends with the model turn whose calls are the client's; the last one ends with the run.
"""

import uuid
from dataclasses import dataclass

from agents_app.database.errors import storage_errors
from agents_app.models import Approval, Run, Step
from agents_app.models.steps import usage_of

Usage = dict[str, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a run. `after`: the model turn to whose calls the client gave the results; 0 for the run's first.

    `first_seq`: the number of the event that it begins with, if it is not the run's first.
    """

    run: Run
    after: int = 0
    first_seq: int | None = None


@dataclass(frozen=True, slots=True)
class ClientCall:
    """A call that the client has to make. `step`: that of the model's call."""

    id: str
    name: str
    arguments: str
    step: int


def call_id_of(action_id: str) -> str:
    """Return the id by which clients of this API know the call of an action."""
    return action_id.replace("act_", "call_", 1)


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """What happened in a segment. `calls`: those of the client, with which it ended; none if the run goes on or ended.

    `text`: of the model's turn that made the calls.
    """

    steps: list[Step]
    calls: list[ClientCall]
    text: str
    usage: Usage


NO_CONTENT = SegmentContent([], [], "", {})


def call_id(run_id: uuid.UUID, step: int) -> str:
    """Return the id by which clients know a call. Those of models' servers are not unique.

    `step`: the one that will hold the result.
    """
    return f"call_{run_id.hex}_{step}"


def read(segment: Segment) -> SegmentContent:
    """Return what happened in the segment until now."""
    with storage_errors():
        run = segment.run
        before = list(run.steps.filter(iteration__lte=segment.after).only("run", "usage")) if segment.after else []
        own = run.approvals.filter(kind=Approval.Kind.CLIENT_TOOL).exclude(status=Approval.Status.CANCELLED)
        results = set(own.values_list("step", flat=True))
        steps = list(run.steps.filter(iteration__gt=segment.after).order_by("index"))
        turn = min((step.iteration for step in steps if step.index in results), default=None)
        calls: list[ClientCall] = []
        if turn is not None:
            steps = [step for step in steps if step.iteration <= turn]
            calls = _calls(run, steps, results)
        used = run.usage if turn is None and run.is_finished else _used(steps)
        usage = _without(used, _used(before))
    texts = (step.provider_data.get("text", "") for step in steps if step.iteration == turn)
    return SegmentContent(steps, calls, next(filter(None, texts), ""), usage)


def _calls(run: Run, steps: list[Step], results: set[int]) -> list[ClientCall]:
    uses = {(s.iteration, s.tool_call_id): s for s in steps if s.kind == Step.Kind.TOOL_USE}
    made = [(step.index, uses[step.iteration, step.tool_call_id]) for step in steps if step.index in results]
    return [ClientCall(call_id(run.pk, index), use.tool_name, use.content or "{}", use.index) for index, use in made]


def _used(steps: list[Step]) -> Usage:
    return usage_of(steps).as_dict() if steps else {}


def _without(used: Usage, before: Usage) -> Usage:
    return {name: max(0, count - before.get(name, 0)) for name, count in used.items()}
