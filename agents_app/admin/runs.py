"""Sessions, runs, and what they consist of, in the admin: to read, to stop, to try again."""

import uuid
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from agents_app import runs
from agents_app.admin.base import FastAdmin, Kept, NewestFirst, NewestInline, OnlyVisible, ReadOnly, dollars, short
from agents_app.event_log import EventType
from agents_app.exceptions import AgentError, InvalidRequest
from agents_app.models import Approval, Event, Run, Session, Step
from agents_app.runs import approvals, forks

_SEARCHED = 2000  # of the newest runs or sessions, for words in them
_MOST_FOUND = 500
_MOST_RETRIED = 100
_SHOWN_STEPS = 100


class StepInline(NewestInline):
    model = Step
    parent = "run"
    newest_first = "-index"
    shown = _SHOWN_STEPS
    verbose_name_plural = f"The newest {_SHOWN_STEPS} steps"
    fields = ("index", "iteration", "kind", "status", "tool_name", "shortened", "is_error", "duration_ms")
    readonly_fields = fields

    @admin.display(description="content")
    def shortened(self, step: Step) -> str:
        return short(step.content, 2000)


class ApprovalInline(NewestInline):
    model = Approval
    parent = "run"
    newest_first = "-id"
    fields = ("tool_name", "arguments", "status", "by", "reason", "expires_at")
    readonly_fields = fields


def _of_the_newest(queryset: QuerySet[Any], words: Q) -> QuerySet[Any]:
    """Those of the newest rows that have the words: looked for once, and not again for each part of the page."""
    newest = queryset.order_by("-created_at")
    limit = list(newest.values_list("created_at", flat=True)[_SEARCHED : _SEARCHED + 1])
    recent = newest.filter(created_at__gt=limit[0]) if limit else newest
    return queryset.filter(pk__in=list(recent.filter(words).values_list("pk", flat=True)[:_MOST_FOUND]))


def _sessions(term: str) -> list[str]:
    """Return the ids of the sessions of that name or id."""
    return list(Session.objects.named(term).values_list("pk", flat=True)[:_MOST_FOUND])


@admin.register(Session)
class SessionAdmin(OnlyVisible, ReadOnly, FastAdmin):
    list_display = ("name", "title", "agent", "owner", "run_count", "last_seq", "updated_at", "runs_of_it")
    list_filter = ("agent", "created_at")
    list_select_related = ("agent", "owner")
    search_fields = ("id", "name", "title")
    search_help_text = f"A session's name or id, a user's name, or words of the titles of the newest {_SEARCHED:,}."

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not (term := search_term.strip()):
            return queryset, False
        if (sessions := queryset.named(term)).exists():
            return sessions, False
        if owner := get_user_model().objects.filter(username=term).first():
            return queryset.filter(owner=owner), False
        return _of_the_newest(queryset, Q(name__icontains=term) | Q(title__icontains=term)), False

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """One with an unfinished run is protected. The events are too many to be listed."""
        busy = Run.objects.unfinished().filter(session__in=[session.pk for session in objs])
        names = [f"Session {session}, with its runs and events" for session in objs]
        return names, {"sessions": len(names)}, set(), [f"Unfinished run: {run}" for run in busy[:10]]

    def delete_model(self, request: HttpRequest, obj: Session) -> None:
        forks.delete_session(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        for session in queryset:
            forks.delete_session(session)

    @admin.display(description="runs")
    def runs_of_it(self, session: Session) -> str:
        runs_list = reverse("admin:agents_app_run_changelist")
        return format_html('<a href="{}?session__id={}">show</a>', runs_list, session.pk)


@admin.register(Run)
class RunAdmin(OnlyVisible, Kept, FastAdmin):
    """A run goes with its session: deleted alone, it would leave its events behind."""

    change_form_template = "agents_app/admin/run.html"
    list_display = (
        "created_at",
        "agent_name",
        "short_prompt",
        "status",
        "trigger",
        "duration",
        "tokens",
        "shown_cost",
    )
    list_filter = ("status", "trigger", "agent", "created_at")
    search_fields = ("=id", "=session__id", "agent_name")
    search_help_text = f"A run's id, a session's name or id, an agent's name, words of the newest {_SEARCHED:,} runs."
    inlines = (ApprovalInline, StepInline)
    actions = ("cancel", "retry")
    fieldsets = (
        (
            None,
            {"fields": ("id", "status", "agent_name", "session", "number", "trigger", "task", "prompt", "result")},
        ),
        ("Failure", {"fields": ("error", "error_code", "cancel_requested", "cancelled_by")}),
        (
            "Use",
            {
                "fields": (
                    "provider",
                    "model",
                    "usage",
                    "shown_cost",
                    "duration",
                    "created_at",
                    "started_at",
                    "finished_at",
                )
            },
        ),
        ("Worker", {"fields": ("attempt", "takeovers", "fence", "worker", "lease_until", "first_seq", "last_seq")}),
    )

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """By what an index finds; else by words in the newest runs."""
        if not (term := search_term.strip()):
            return queryset, False
        try:
            if (run := queryset.filter(pk=uuid.UUID(term))).exists():
                return run, False
        except ValueError:
            pass
        if sessions := _sessions(term):
            return queryset.filter(session__in=sessions), False
        words = Q(agent_name__icontains=term) | Q(prompt__icontains=term) | Q(result__icontains=term)
        return _of_the_newest(queryset, words | Q(error__icontains=term)), False

    def get_urls(self) -> list[Any]:
        acting = path(
            "<uuid:pk>/act/<str:verb>",
            self.admin_site.admin_view(require_POST(self.act)),
            name="agents_app_run_act",
        )
        return [acting, *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        run: Run = context["original"]
        context |= {
            "may_act": self.may_act(request),
            "waits": run.status == Run.Status.WAITING,
            "steps": reverse("admin:agents_app_step_changelist") + f"?run__id={run.pk}",
            "session_events": reverse("admin:agents_app_event_changelist") + f"?q={run.pk}",
            "page": f"{reverse('chat_app:runs')}?run={run.pk}",
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def may_act(self, request: HttpRequest) -> bool:
        """Whether this person may stop and start runs: the log's rows are changed by nobody, so Django's own
        permission to change says it."""
        return request.user.has_perm("agents_app.change_run")

    has_act_permission = may_act

    def act(self, request: HttpRequest, pk: uuid.UUID, verb: str) -> HttpResponseRedirect:
        """Do one thing with the run, and show it again; after `retry` the new one."""
        run = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.may_act(request):
            messages.error(request, "You may look at runs, but not act on them.")
        else:
            run = self._tried(request, run, verb)
        return HttpResponseRedirect(reverse("admin:agents_app_run_change", args=[run.pk]))

    def _tried(self, request: HttpRequest, run: Run, verb: str) -> Run:
        by = request.user.get_username()
        try:
            if verb == "cancel":
                runs.cancel(run, by=by)
                messages.success(request, "The run is stopped.")
            elif verb in ("approve", "deny"):
                approvals.answer(run, tool_call_id=None, approved=verb == "approve", by=by)
                messages.success(request, "Approved." if verb == "approve" else "Denied.")
            elif verb == "retry":
                run = _again(run, request.user)
                messages.success(request, "It was started again: this is the new run.")
        except AgentError as error:
            messages.error(request, str(error))
        return run

    @admin.display(description="prompt")
    def short_prompt(self, run: Run) -> str:
        return short(run.prompt)

    @admin.display(description="duration")
    def duration(self, run: Run) -> str:
        if run.started_at is None or run.finished_at is None:
            return "—"
        return f"{(run.finished_at - run.started_at).total_seconds():.1f} s"

    @admin.display(description="tokens in / out")
    def tokens(self, run: Run) -> str:
        return f"{run.input_tokens or 0:,} / {run.output_tokens or 0:,}"

    @admin.display(description="cost", ordering="cost")
    def shown_cost(self, run: Run) -> str:
        return dollars(run.cost)

    @admin.action(description="Cancel the selected runs", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        unfinished = list(queryset.filter(status__in=Run.UNFINISHED).order_by("-number"))
        try:
            for run in unfinished:
                runs.cancel(run, by=request.user.get_username())
        except AgentError as error:
            messages.error(request, str(error))
            return
        messages.success(request, f"Stopped {len(unfinished)} run{'' if len(unfinished) == 1 else 's'}.")

    @admin.action(description="Start the selected runs again", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        started = 0
        for run in queryset.order_by("created_at")[:_MOST_RETRIED]:
            try:
                _again(run, request.user)
            except AgentError as error:
                messages.error(request, f"{run}: {error}")
            else:
                started += 1
        messages.success(request, f"Started {started} run{'' if started == 1 else 's'} again.")


def _again(run: Run, user: Any) -> Run:
    """The same prompt to the same agent, in the same session.

    Raises:
        InvalidRequest: it has not ended yet.
        AgentError: as `runs.start`.
    """
    if not run.is_finished:
        raise InvalidRequest("It has not ended yet: stop it first.")
    started = runs.start(
        runs.NewRun(
            user=user,
            message=run.prompt,
            parts=run.parts,
            existing_session=run.session_id,
            agent_name=run.agent.name if run.agent else run.agent_name,
            enable_reasoning=run.enable_reasoning,
            trigger=Run.Trigger.ADMIN,
            overrides=run.overrides,
        )
    )
    return started.run


@admin.register(Step)
class StepAdmin(OnlyVisible, NewestFirst, Kept, FastAdmin):
    list_display = ("run", "index", "kind", "tool_name", "status", "is_error", "duration_ms", "started_at")
    list_filter = ("kind", "status", "is_error")
    list_select_related = ("run",)
    search_fields = ("=run__id",)
    search_help_text = "A run's id. Without one, the newest steps of all runs are listed."
    narrowed_by = ("run__id",)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("run", "-index") if self.is_narrowed(request) else ("-pk",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.narrowed_by or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]


class EventTypeFilter(admin.SimpleListFilter):
    """By type: a fixed list, as looking for all that there are would read all events."""

    title = parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in EventType]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(Event)
class EventAdmin(OnlyVisible, NewestFirst, Kept, FastAdmin):
    list_display = ("session_id", "seq", "type", "run_id", "created_at", "short_data")
    list_filter = (EventTypeFilter,)
    search_fields = ("session__id",)
    search_help_text = "A session's name or id, or a run's id. Without one, the newest events of all are listed."

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("-session", "-seq") if self.is_narrowed(request) else ("-pk",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """A run's events by its place in its session: they have no index of their own, which each token would pay."""
        if not (term := search_term.strip()):
            return queryset, False
        try:
            run = Run.objects.filter(pk=uuid.UUID(term)).first()
        except ValueError:
            run = None
        if run is None:
            return queryset.filter(session__in=_sessions(term)), False
        if run.first_seq is None:
            return queryset.none(), False
        events = queryset.filter(session=run.session_id, run_id=run.pk, seq__gte=run.first_seq)
        return (events.filter(seq__lte=run.last_seq) if run.last_seq else events), False

    @admin.display(description="data")
    def short_data(self, event: Event) -> str:
        return short(event.data, 100)
