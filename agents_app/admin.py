"""The admin: what is set up, to change; what happened, to read."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from agents_app import admin_tasks, approval_admin, runs  # noqa: F401 — registers itself
from agents_app.access_admin import OnlyVisible
from agents_app.exceptions import AgentError
from agents_app.models import Agent, Event, Provider, Run, Session, Step
from agents_app.models.agents import make_default
from agents_app.server_admin import JSONForm, SecretsAdmin

admin.site.site_header = admin.site.site_title = settings.PRODUCT_NAME
admin.site.index_title = "Agents, providers and what they did"
admin.site.site_url = "/chat/"


class ReadOnly:
    """Mixed into an admin of rows that only the server writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OneDefaultAdmin(admin.ModelAdmin):
    """Rows of which one is the default: the mark is moved by an action."""

    actions = ("mark_as_default",)
    readonly_fields = ("is_default", "created_at", "updated_at")

    @admin.action(description="Make it the default", permissions=["change"])
    def mark_as_default(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        if len(rows := list(queryset[:2])) != 1:
            messages.error(request, "Select exactly one.")
            return
        make_default(rows[0])
        messages.success(request, f"{rows[0]} is the default now.")


class ProviderForm(JSONForm):
    """A key is typed in and never shown; left empty, the stored one stays."""

    api_key = forms.CharField(
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Encrypted at rest and never shown. Empty: the stored key stays.",
    )
    remove_api_key = forms.BooleanField(required=False, help_text="Forget the stored key.")

    class Meta:
        model = Provider
        fields = (
            "name",
            "kind",
            "base_url",
            "api_key_env",
            "api_key",
            "headers",
            "default_model",
            "context_tokens",
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("remove_api_key"):
            cleaned["api_key"] = ""
        elif not cleaned.get("api_key"):
            cleaned["api_key"] = self.instance.api_key
        return cleaned


@admin.register(Provider)
class ProviderAdmin(SecretsAdmin, OneDefaultAdmin):
    form = ProviderForm
    secrets = {"api_key", "remove_api_key"}
    list_display = ("name", "kind", "base_url", "default_model", "has_key", "is_default", "agent_count")
    list_filter = ("kind",)
    search_fields = ("name", "base_url", "default_model")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "default_model", "context_tokens", "is_default")}),
        ("Access", {"fields": ("api_key_env", "api_key", "remove_api_key", "headers")}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        return super().get_queryset(request).annotate(agent_count=Count("agents"))

    @admin.display(boolean=True, description="key")
    def has_key(self, provider: Provider) -> bool:
        return bool(provider.secret())

    @admin.display(description="agents", ordering="agent_count")
    def agent_count(self, provider: Any) -> int:
        return provider.agent_count


@admin.register(Agent)
class AgentAdmin(OneDefaultAdmin):
    form = JSONForm
    filter_horizontal = ("mcp_servers", "allowed_users", "allowed_groups")
    list_display = ("name", "role", "provider", "model", "enabled", "is_default", "updated_at")
    list_filter = ("enabled", "provider")
    list_select_related = ("provider",)
    search_fields = ("name", "role", "description", "system_prompt")
    fieldsets = (
        (None, {"fields": ("name", "role", "description", "system_prompt", "enabled", "is_default")}),
        (
            "Model",
            {
                "fields": (
                    "provider",
                    "model",
                    "temperature",
                    "top_p",
                    "max_tokens",
                    "reasoning_effort",
                    "thinking_budget",
                )
            },
        ),
        ("Tools", {"fields": ("builtin_tools", "mcp_servers", "allowed_tools", "denied_tools")}),
        ("Approval by a person", {"fields": ("approval_required", "approval_timeout")}),
        ("Who may talk to it", {"fields": ("access", "allowed_users", "allowed_groups")}),
        ("Limits of one run", {"fields": ("max_iterations", "timeout", "max_total_tokens")}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """An agent with unfinished runs is protected, as it is in the API."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        busy = Run.objects.unfinished().filter(agent__in=[agent.pk for agent in objs])
        return deleted, counts, needed, [*protected, *(f"Unfinished run: {run}" for run in busy[:10])]


class StepInline(ReadOnly, admin.TabularInline):
    model = Step
    extra = 0
    can_delete = False
    fields = ("index", "iteration", "kind", "status", "tool_name", "content", "is_error", "duration_ms")
    readonly_fields = fields
    ordering = ("index",)


@admin.register(Session)
class SessionAdmin(OnlyVisible, ReadOnly, admin.ModelAdmin):
    list_display = ("id", "title", "agent", "owner", "run_count", "last_seq", "updated_at", "runs_of_it")
    list_filter = ("agent", "updated_at")
    list_select_related = ("agent", "owner")
    search_fields = ("id", "title")
    date_hierarchy = "created_at"

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """One with an unfinished run is protected. The events are too many to be listed."""
        busy = Run.objects.unfinished().filter(session__in=[session.pk for session in objs])
        names = [f"Session {session}, with its runs and events" for session in objs]
        return names, {"sessions": len(names)}, set(), [f"Unfinished run: {run}" for run in busy[:10]]

    @admin.display(description="runs")
    def runs_of_it(self, session: Session) -> str:
        runs_list = reverse("admin:agents_app_run_changelist")
        return format_html('<a href="{}?session__id={}">show</a>', runs_list, session.pk)


@admin.register(Run)
class RunAdmin(OnlyVisible, ReadOnly, admin.ModelAdmin):
    list_display = (
        "created_at",
        "agent_name",
        "short_prompt",
        "status",
        "trigger",
        "session",
        "duration",
        "tokens",
    )
    list_filter = ("status", "trigger", "agent", "created_at")
    list_select_related = ("session",)
    search_fields = ("=id", "=session__id", "agent_name", "prompt", "result", "error")
    date_hierarchy = "created_at"
    inlines = (StepInline,)
    actions = ("cancel",)
    fieldsets = (
        (
            None,
            {"fields": ("id", "status", "agent_name", "session", "number", "trigger", "prompt", "result")},
        ),
        ("Failure", {"fields": ("error", "error_code", "cancel_requested", "cancelled_by")}),
        ("Use", {"fields": ("usage", "duration", "created_at", "started_at", "finished_at")}),
        ("Worker", {"fields": ("attempt", "fence", "worker", "lease_until", "first_seq", "last_seq")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A run goes with its session: alone, it would leave its events behind."""
        return False

    @admin.display(description="prompt")
    def short_prompt(self, run: Run) -> str:
        return f"{run.prompt[:80]}…" if len(run.prompt) > 80 else run.prompt

    @admin.display(description="duration")
    def duration(self, run: Run) -> str:
        if run.started_at is None or run.finished_at is None:
            return "—"
        return f"{(run.finished_at - run.started_at).total_seconds():.1f} s"

    @admin.display(description="tokens in / out")
    def tokens(self, run: Run) -> str:
        return f"{run.usage.get('input_tokens', 0)} / {run.usage.get('output_tokens', 0)}"

    @admin.action(description="Cancel the selected runs")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        unfinished = list(queryset.filter(status__in=Run.UNFINISHED).order_by("-number"))
        try:
            for run in unfinished:
                runs.cancel(run, by=request.user.get_username())
        except AgentError as error:
            messages.error(request, str(error))
            return
        messages.success(request, f"Stopped {len(unfinished)} run{'' if len(unfinished) == 1 else 's'}.")


@admin.register(Step)
class StepAdmin(OnlyVisible, ReadOnly, admin.ModelAdmin):
    list_display = ("run", "index", "kind", "tool_name", "status", "is_error", "duration_ms", "started_at")
    list_filter = ("kind", "status", "is_error")
    list_select_related = ("run",)
    search_fields = ("=run__id", "tool_name", "content")


@admin.register(Event)
class EventAdmin(OnlyVisible, ReadOnly, admin.ModelAdmin):
    list_display = ("session_id", "seq", "type", "run_id", "created_at", "short_data")
    list_filter = ("type",)
    search_fields = ("=session__id", "=run_id")
    show_full_result_count = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="data")
    def short_data(self, event: Event) -> str:
        return event.data[:100]
