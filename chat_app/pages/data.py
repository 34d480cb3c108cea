"""Data for our pages beyond /v1: rendered steps, and the sessions of the sidebar."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView, get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api.base import JSONView
from agents_app.api.serializers.sessions import SessionSerializer
from agents_app.exceptions import InvalidRequest
from agents_app.models import Run, Session, Step
from chat_app.pages import markdown

MOST_STEPS = 50
_MOST_CHARACTERS = 100_000  # rendered per response: a page requests the rest again
_WRITTEN_BY_MODELS = (Step.Kind.THOUGHT, Step.Kind.FINAL_ANSWER)
_LONGEST_SEARCH = 200
_SEARCHED_RUNS = 2000  # the newest of those that a user sees: a search reads their texts
_STARTED_BY_PROGRAMS = (Run.Trigger.SCHEDULE, Run.Trigger.AGENT)


class StepsView(JSONView):
    """Finished steps of a run, named by `?step=3,4,answer`: their Markdown as HTML, and their tokens."""

    @extend_schema(exclude=True)
    def get(self, request: Request, pk: Any) -> Response:
        """Return as many steps as fit one response; `html` is null if the text is to be shown as plain text."""
        numbers, answer = _requested_steps(request.query_params.get("step", ""))
        run = get_object_or_404(Run.objects.visible_to(request.user), pk=pk)
        before = {number - 1 for number in numbers}
        needed = Q(index__in=numbers | before)
        if answer:
            needed |= Q(kind=Step.Kind.FINAL_ANSWER)
        steps = Step.objects.filter(needed, run=run, status=Step.Status.FINISHED).order_by("index")
        return Response({"data": list(_shown(steps, numbers, answer))})


def _requested_steps(text: str) -> tuple[set[int], bool]:
    parts = text.split(",")
    names = [part for part in parts if part != "answer"]
    if len(parts) > MOST_STEPS or not all(name.isascii() and name.isdecimal() and len(name) < 9 for name in names):
        raise InvalidRequest(f"'step' must be up to {MOST_STEPS} numbers of steps.", param="step")
    return {int(name) for name in names}, "answer" in parts


def _shown(steps: QuerySet[Step], numbers: set[int], answer: bool) -> Iterator[dict[str, Any]]:
    rendered = tokens_before = 0
    for step in steps:
        is_answer = step.kind == Step.Kind.FINAL_ANSWER
        tokens = step.usage.get("output_tokens", 0)
        if step.index in numbers or (answer and is_answer):
            if rendered and rendered + len(step.content) > _MOST_CHARACTERS:
                return
            html = None
            if step.kind in _WRITTEN_BY_MODELS:
                html = markdown.to_html(step.content)
                rendered += len(step.content)
            own_tokens = max(0, tokens - tokens_before)
            yield {"step": step.index, "is_answer": is_answer, "html": html, "tokens": own_tokens}
        tokens_before = tokens


class SideSessionSerializer(SessionSerializer):
    """A session as a line of the sidebar."""

    unfinished = serializers.BooleanField(help_text="Whether a run of it goes on.")
    waiting = serializers.BooleanField(help_text="Whether a run of it waits for a person.")

    class Meta:
        model = Session
        fields = (*SessionSerializer.Meta.fields, "unfinished", "waiting")


@extend_schema(exclude=True)
class SideSessionsView(JSONView, ListAPIView):
    """Sessions, newest first; with `search`, those whose title, messages or answers contain it.

    Sessions that tasks and other agents started are left out without `all=1`.
    """

    queryset = Session.objects.all()
    serializer_class = SideSessionSerializer
    ordering_fields = ("-updated_at",)

    def get_queryset(self) -> QuerySet[Session]:
        runs = Run.objects.filter(session=OuterRef("pk"))
        sessions = (
            Session.objects.visible_to(self.request.user)
            .select_related("agent")
            .filter(run_count__gt=0)
            .annotate(
                unfinished=Exists(runs.unfinished()),
                waiting=Exists(runs.unfinished().filter(status=Run.Status.WAITING)),
            )
        )
        if self.request.query_params.get("all") != "1":
            by_program = Q(trigger__in=_STARTED_BY_PROGRAMS) | Q(task__isnull=False)
            sessions = sessions.exclude(Exists(runs.filter(by_program, number=1)))
        if search := self.request.query_params.get("search", "").strip()[:_LONGEST_SEARCH]:
            sessions = sessions.filter(self._contain(search))
        return sessions

    def _contain(self, words: str) -> Q:
        """Return the sessions whose title contains the words, or a message or an answer of the newest runs."""
        newest = Run.objects.visible_to(self.request.user).order_by("-created_at").values("pk")[:_SEARCHED_RUNS]
        runs = Run.objects.filter(pk__in=newest)
        answers = Step.objects.filter(run__in=newest, kind=Step.Kind.FINAL_ANSWER, content__icontains=words)
        messages = Q(pk__in=runs.filter(prompt__icontains=words).values("session"))
        return Q(title__icontains=words) | messages | Q(pk__in=answers.values("run__session"))
