"""Build what a run's model reads: the session before the run, and the run's own finished steps."""

from collections.abc import Iterator

from agents_app.engine import compaction
from agents_app.engine.spec import Conversation, Decision, Mark, Message, Position
from agents_app.files.parts import to_engine
from agents_app.models import Approval, Run
from agents_app.models.steps import usage_of
from agents_app.worker import compactions
from agents_app.worker.history import History, history
from agents_app.worker.replay import earlier_messages, last_round, replay

_MOST_CHARACTERS_PER_TOKEN = 6  # the most that the engine's estimate can become


def conversation(run: Run, context_tokens: int = 8192) -> Conversation:
    """Return what the model reads. `context_tokens` is the size of its window: no more of the session is loaded."""
    steps = list(run.steps.order_by("index")) if run.attempt > 1 else []
    decisions, approved_tools = _decisions(run) if run.attempt > 1 else ({}, {})
    earlier = history(run, room=context_tokens * _MOST_CHARACTERS_PER_TOKEN) if run.number > 1 else History()
    sent = earlier_messages(run)
    results = [] if run.has_prompt else last_round(sent)
    sent = sent[: len(sent) - len(results)]
    rebuilt = Conversation(
        history=[*earlier.messages, *sent],
        prompt=run.prompt,
        turns=results,
        approved_tools=approved_tools,
        run=str(run.pk),
        marks=[*earlier.marks, *_marks(run, sent, after=len(earlier.messages))],
        has_more=earlier.has_more,
    )
    rebuilt.prompt_parts = to_engine(run.parts)
    steered = list(run.steered.all()) if run.attempt > 1 else []
    replay(rebuilt, steps, decisions, steered)
    for made in compactions.of_steps(steps):
        compaction.apply(rebuilt, made)
    if steps:
        rebuilt.usage = usage_of(steps)
    # A question about a budget has an index, but no step.
    rebuilt.next_index = max([-1, *decisions, *(step.index for step in steps[-1:])]) + 1
    return rebuilt


def _marks(run: Run, sent: list[Message], *, after: int) -> Iterator[Mark]:
    """Yield the places before each of the user's messages that the run's caller sent, and the end of them."""
    places = [place for place, message in enumerate(sent) if place and message.role == "user"]
    for place in [*places, len(sent)] if sent else []:
        yield Mark(after + place, Position(str(run.pk), messages=place), run.first_seq or 0)


def _decisions(run: Run) -> tuple[dict[int, Decision], dict[str, str]]:
    """Return people's decisions by step, and the digests of the tools that are approved for the rest of the run."""
    decisions: dict[int, Decision] = {}
    for_run: dict[str, str] = {}
    for approval in run.approvals.exclude(status=Approval.Status.PENDING):
        approved = approval.status == Approval.Status.APPROVED
        decisions[approval.step] = Decision(
            approved,
            approval.reason,
            approval.by,
            approval.tool_digest,
            approval.edited_arguments,
            approval.response,
            is_error=approval.is_error,
            action=approval.kind if approval.kind != Approval.Kind.APPROVAL else "",
        )
        if approved and approval.for_run:
            for_run[approval.tool_name] = approval.tool_digest
    return decisions, for_run
