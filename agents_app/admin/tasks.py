"""Scheduled tasks in the admin: edit, preview, run, and read the history."""

import functools
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from agents_app import scheduler
from agents_app.admin.base import FastAdmin, Kept, NewestInline, SecretsAdmin, dollars
from agents_app.exceptions import AgentError
from agents_app.models import Agent, Delivery, Postponed, Run, ScheduledTask, Session, Skip
from agents_app.scheduler import preview
from agents_app.schedules import BadSchedule, Cron

_SHOWN = NewestInline.shown
_FORESEEN = 5


class TaskForm(forms.ModelForm):
    """The secret is write-only; leave it empty to keep the stored one."""

    webhook_secret = forms.CharField(
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Signs the webhook: whsec_ and what `openssl rand -base64 32` prints. Encrypted at "
        "rest and never shown. Leave empty to keep the stored secret.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.parts and "task_prompt" in self.fields:  # its files, which the API sets, are a prompt too
            self.fields["task_prompt"].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        cleaned["webhook_secret"] = cleaned.get("webhook_secret") or self.instance.webhook_secret
        return cleaned


class RunInline(NewestInline):
    model = Run
    parent = "task"
    newest_first = "-created_at"
    verbose_name_plural = f"Newest {_SHOWN} runs"
    fields = ("when", "scheduled_for", "status", "retry", "tokens", "shown_cost", "answer")
    readonly_fields = fields

    @admin.display(description="started")
    def when(self, run: Run) -> str:
        page = reverse("admin:agents_app_run_change", args=[run.pk])
        return format_html('<a href="{}">{}</a>', page, f"{run.created_at:%Y-%m-%d %H:%M:%S}")

    @admin.display(description="tokens")
    def tokens(self, run: Run) -> str:
        return f"{(run.input_tokens or 0) + (run.output_tokens or 0):,}"

    @admin.display(description="cost")
    def shown_cost(self, run: Run) -> str:
        return dollars(run.cost)

    @admin.display(description="answer or error")
    def answer(self, run: Run) -> str:
        return (run.error or run.result)[:200]


class SkipInline(NewestInline):
    model = Skip
    parent = "task"
    newest_first = "-scheduled_for"
    verbose_name_plural = f"Newest {_SHOWN} skips"
    fields = ("scheduled_for", "until", "count", "reason", "message")
    readonly_fields = fields


class DeliveryInline(NewestInline):
    model = Delivery
    parent = "task"
    newest_first = "-created_at"
    verbose_name_plural = f"Newest {_SHOWN} webhook deliveries"
    fields = ("created_at", "status", "attempts", "next_attempt_at", "error")
    readonly_fields = fields


class OwnSessionField(forms.ModelChoiceField):
    """A session that the user may see: by the name of an own one, or by its id."""

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def to_python(self, value: Any) -> Session | None:
        if value in self.empty_values:
            return None
        if session := Session.objects.find(self._user, str(value)):
            return session
        raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice", params={"value": value})


class OwnSessionWidget(ForeignKeyRawIdWidget):
    """The id of a session, with the title of one that the user may see."""

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def label_and_url_for_value(self, value: Any) -> tuple[str, str]:
        visible = Session.objects.visible_to(self._user).filter(pk=str(value))
        return super().label_and_url_for_value(value) if visible.exists() else ("", "")


@admin.register(ScheduledTask)
class ScheduledTaskAdmin(SecretsAdmin):
    form = TaskForm
    secrets = {"webhook_secret"}
    list_display = ("name", "agent", "when", "enabled", "next_run_at", "last_run", "success_rate", "owner")
    list_filter = ("enabled", "schedule_type", "agent")
    list_select_related = ("agent", "owner")
    search_fields = ("name", "description", "task_prompt")
    autocomplete_fields = ("agent",)
    raw_id_fields = ("kept_session",)
    actions = ("run_now", "enable", "disable")
    inlines = (RunInline, SkipInline, DeliveryInline)
    readonly_fields = ("files", "foreseen", "in_words", "next_run_at", "owner", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description", "agent", "task_prompt", "files", "enabled")}),
        (
            "Schedule",
            {"fields": ("schedule_type", "schedule_value", "timezone", "in_words", "foreseen", "jitter")},
        ),
        (
            "Missed moments, overlaps and retries",
            {
                "fields": (
                    "misfire",
                    "misfire_grace",
                    "misfire_limit",
                    "overlap",
                    "timeout",
                    "priority",
                    "max_retries",
                    "retry_delay",
                )
            },
        ),
        ("Result", {"fields": ("session", "kept_session", "webhook_url", "webhook_secret")}),
        ("Times", {"fields": ("next_run_at", "owner", "created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return ScheduledTask.objects.visible_to(request.user).defer("webhook_secret").with_results()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer agents and sessions that the user may see, and say nothing about others."""
        if db_field.name == "agent":
            kwargs["queryset"] = Agent.objects.visible_to(request.user)
        if db_field.name == "kept_session":
            kwargs["queryset"] = Session.objects.visible_to(request.user)
            kwargs["widget"] = OwnSessionWidget(db_field.remote_field, self.admin_site, user=request.user)
            kwargs["form_class"] = functools.partial(OwnSessionField, user=request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        """Open a write transaction: SQLite needs its lock before the first read."""
        with transaction.atomic():
            return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: ScheduledTask, form: Any, change: bool) -> None:
        if not change:
            obj.owner = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)

    def files(self, task: ScheduledTask) -> str:
        names = [part["name"] or part["file_id"] for part in task.parts or () if part["type"] == "file"]
        return ", ".join(names) or "None. The API adds files to a prompt."

    @admin.display(description="when", ordering="schedule_value")
    def when(self, task: ScheduledTask) -> str:
        every = "every {} s" if task.schedule_type == ScheduledTask.ScheduleType.INTERVAL else "{}"
        zone = "" if task.schedule_type == ScheduledTask.ScheduleType.INTERVAL else f" ({task.timezone})"
        return every.format(task.schedule_value) + zone

    @admin.display(description="last run")
    def last_run(self, task: Any) -> str:
        return f"{task.last_status}, {task.last_run_at:%Y-%m-%d %H:%M}" if task.last_run_at else "—"

    @admin.display(description="success")
    def success_rate(self, task: Any) -> str:
        ended = task.successful_runs + task.failed_runs
        return f"{100 * task.successful_runs // ended} % of {ended}" if ended else "—"

    @admin.display(description="in words")
    def in_words(self, task: ScheduledTask) -> str:
        schedule = _schedule(task)
        return f"{schedule.explain()} ({task.timezone})" if isinstance(schedule, Cron) else "—"

    @admin.display(description=f"the next {_FORESEEN}")
    def foreseen(self, task: ScheduledTask) -> str:
        """The next moments, in the task's zone, each with what becomes of it."""
        if _schedule(task) is None:
            return "Save it to see them."
        moments, _ = preview.simulate(task, preview.usual_duration(task), count=_FORESEEN)
        lines = format_html_join(
            "", "<li>{} — {}</li>", ((f"{each.local_time:%a %Y-%m-%d %H:%M:%S %z}", each.message) for each in moments)
        )
        return format_html("{}<ol>{}</ol>", "" if task.enabled else "It is disabled; enabled, it would be:", lines)

    @admin.action(description="Run now", permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[ScheduledTask]) -> None:
        for task in queryset:
            try:
                scheduler.run_now(task, trigger=Run.Trigger.ADMIN)
            except AgentError as error:
                messages.error(request, f"{task}: {error}")
            else:
                messages.success(request, f"{task} was started.")

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[ScheduledTask]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[ScheduledTask]) -> None:
        self._switch(request, queryset, enabled=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[ScheduledTask], *, enabled: bool) -> None:
        for task in queryset:
            task.enabled = enabled
            try:
                task.clean()
                task.save()
            except ValidationError as error:
                messages.error(request, f"{task}: {' '.join(error.messages)}")
            else:
                messages.success(request, f"{task} is {'enabled' if enabled else 'disabled'}.")


class OfTaskAdmin(Kept, FastAdmin):
    """What came of a task's moments; staff sees what is its own."""

    list_select_related = ("task",)
    search_fields = ("task__name",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(task__in=ScheduledTask.objects.visible_to(request.user))


@admin.register(Skip)
class SkipAdmin(OfTaskAdmin):
    list_display = ("task", "scheduled_for", "until", "count", "reason", "message")
    ordering = ("-pk",)
    list_filter = ("reason",)


@admin.register(Postponed)
class PostponedAdmin(OfTaskAdmin):
    list_display = ("task", "scheduled_for", "retry", "reason", "not_before")
    list_filter = ("reason",)


@admin.register(Delivery)
class DeliveryAdmin(OfTaskAdmin):
    list_display = ("task", "run_id", "status", "attempts", "next_attempt_at", "delivered_at", "error")
    list_filter = ("status",)


def _schedule(task: ScheduledTask) -> Any:
    """The task's schedule; None, where there is none yet."""
    try:
        return task.schedule() if task.anchor else None
    except BadSchedule:
        return None
