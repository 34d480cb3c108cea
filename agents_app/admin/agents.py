"""Agents and providers in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import path

from agents_app.admin import agent_versions, usage
from agents_app.admin.base import (
    AdministratorsWrite,
    JSONForm,
    OneDefaultAdmin,
    SecretsAdmin,
    SecretsField,
    dollars,
    is_administrator,
    with_secrets,
)
from agents_app.models import Agent, FallbackModel, Provider, Run
from agents_app.models.agent_versions import agent_changed, one_version
from agents_app.models.agents import ADMINISTRATORS_FIELDS
from agents_app.models.env_variables import MASK, masked
from agents_app.models.fallback_models import MOST as MOST_FALLBACKS
from agents_app.models.validation import validate_headers
from agents_app.runs import circuits

_USE_DAYS = 7


class ProviderForm(JSONForm):
    """The key is write-only; leave it empty to keep the stored one."""

    api_key = forms.CharField(
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Encrypted at rest and never shown. Leave empty to keep the stored key.",
    )
    remove_api_key = forms.BooleanField(required=False, help_text="Delete the stored key.")
    headers = SecretsField(
        required=False,
        validators=[validate_headers],
        help_text='Sent with each request to the model, for example {"X-Team": "a"}. Encrypted at rest and never '
        f"shown: {MASK} keeps a value.",
    )

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
            "open_to_users",
            "first_token_timeout",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["headers"] = masked(self.initial.get("headers") or {})

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        remove = cleaned.pop("remove_api_key", False)
        if remove:
            cleaned["api_key"] = ""
        elif not cleaned.get("api_key"):
            cleaned.pop("api_key", None)
        cleaned = with_secrets(self, cleaned)
        return {"api_key": self.instance.api_key, **cleaned}


@admin.register(Provider)
class ProviderAdmin(AdministratorsWrite, SecretsAdmin, OneDefaultAdmin):
    form = ProviderForm
    secrets = {"api_key", "remove_api_key", "headers"}
    readonly_fields = (*OneDefaultAdmin.readonly_fields, "circuit")
    list_display = ("name", "kind", "base_url", "default_model", "has_key", "marked_default", "agent_count", "circuit")
    list_filter = ("kind",)
    search_fields = ("name", "base_url", "default_model")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "default_model", "context_tokens", "is_default")}),
        ("Failures", {"fields": ("first_token_timeout", "circuit")}),
        ("Access", {"fields": ("api_key_env", "api_key", "remove_api_key", "headers", "open_to_users")}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        return super().get_queryset(request).annotate(agent_count=Count("agents"))

    @admin.display(description="key", empty_value="–")
    def has_key(self, provider: Provider) -> str | None:
        return "✓" if provider.secret() else None

    @admin.display(description="circuit")
    def circuit(self, provider: Provider) -> str:
        """Closed; open while the provider is not asked because it failed repeatedly; then half open."""
        return circuits.state_of(provider).replace("_", " ") if provider.pk else ""

    @admin.display(description="agents", ordering="agent_count")
    def agent_count(self, provider: Any) -> int:
        return provider.agent_count


class FallbackModelInline(AdministratorsWrite, admin.TabularInline):
    model = FallbackModel
    form = JSONForm
    fields = ("position", "provider", "model", "accepts")
    extra = 0
    max_num = MOST_FALLBACKS
    verbose_name_plural = "fallback models"


@admin.register(Agent)
class AgentAdmin(AdministratorsWrite, OneDefaultAdmin):
    """Agents with their recent usage, summed once for the whole list."""

    form = JSONForm
    change_form_template = "agents_app/admin/agent.html"
    inlines = (FallbackModelInline,)
    filter_horizontal = ("mcp_servers",)
    autocomplete_fields = ("provider", "owner", "allowed_users", "allowed_groups")
    list_display = ("name", "provider", "model", "enabled", "marked_default", "runs", "success", "tokens", "cost")
    list_filter = ("enabled", "access", "provider")
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
                    "accepts",
                )
            },
        ),
        ("Tools", {"fields": ("builtin_tools", "mcp_servers", "client_tools", "allowed_tools", "denied_tools")}),
        ("Approval", {"fields": ("approval_required", "approval_timeout")}),
        ("Access", {"fields": ("owner", "access", "allowed_users", "allowed_groups")}),
        ("Long conversations", {"fields": ("compaction", "compact_at")}),
        ("Limits", {"fields": ("max_iterations", "timeout", "max_total_tokens", "max_running")}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(agent_versions.versions)
        return [path("<int:pk>/versions", view, name="agents_app_agent_versions"), *super().get_urls()]

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with one_version(by=request.user):  # of the agent, its servers and its further models
            return super().changeform_view(request, *args, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        agent_changed(form.instance)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out what only administrators see."""
        fieldsets = super().get_fieldsets(request, obj)
        if is_administrator(request):
            return fieldsets
        return [
            (title, options | {"fields": [name for name in options["fields"] if name not in ADMINISTRATORS_FIELDS]})
            for title, options in fieldsets
        ]

    def get_search_fields(self, request: HttpRequest) -> Any:
        """Leave out what only administrators see: who searches it can guess it, piece by piece."""
        fields = super().get_search_fields(request)
        return fields if is_administrator(request) else [name for name in fields if name not in ADMINISTRATORS_FIELDS]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        is_hidden = lookup.partition("__")[0] in ADMINISTRATORS_FIELDS
        return super().lookup_allowed(lookup, value, request) and (is_administrator(request) or not is_hidden)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """Protect an agent with unfinished runs, as the API does."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        busy = Run.objects.unfinished().filter(agent__in=[agent.pk for agent in objs])
        return deleted, counts, needed, [*protected, *(f"Unfinished run: {run}" for run in busy[:10])]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        lately = usage.by_agent(usage.since_days(_USE_DAYS), user=request.user)
        for agent in page.result_list:
            agent.lately = lately.get(agent.name, usage.NOTHING)
        return page

    @admin.display(description=f"runs in {_USE_DAYS} days")
    def runs(self, agent: Any) -> int:
        return agent.lately.runs

    @admin.display(description="success")
    def success(self, agent: Any) -> str:
        return agent.lately.success

    @admin.display(description="tokens")
    def tokens(self, agent: Any) -> str:
        return f"{agent.lately.tokens:,}"

    @admin.display(description="cost")
    def cost(self, agent: Any) -> str:
        return dollars(agent.lately.cost) + ("" if agent.lately.unpriced == 0 else " +?")
