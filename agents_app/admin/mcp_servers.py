"""MCP servers in the admin: edit and check."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import path

from agents_app.admin.base import AdministratorsWrite, JSONForm, SecretsAdmin, SecretsField, with_secrets
from agents_app.admin.tool_call import call_tool
from agents_app.integrations import mcp_servers
from agents_app.models import McpServer
from agents_app.models.env_variables import MASK, masked
from agents_app.models.mcp_servers import validate_environment
from agents_app.models.validation import validate_headers

CHECK_TIMEOUT = 15.0  # seconds; a person waits for the page
_MOST_CHECKS = 20


class McpServerForm(JSONForm):
    """Secrets are write-only: `***` keeps the stored value."""

    env = SecretsField(
        required=False,
        help_text='Its environment beside PATH, HOME and LANG, for example {"API_KEY": "${API_KEY}"}. Encrypted at '
        f"rest. Values that are not made of variables alone are never shown: {MASK} keeps them.",
    )
    headers = SecretsField(
        required=False,
        help_text='Sent with each request, for example {"Authorization": "Bearer ${TOKEN}"}. Encrypted at rest. '
        f"Values that are not made of variables alone are never shown: {MASK} keeps them.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("env", "headers"):
            self.initial[name] = masked(self.initial.get(name) or {})

    def clean_env(self) -> dict[str, str]:
        typed = self.cleaned_data["env"] or {}
        validate_environment(typed)
        return typed

    def clean_headers(self) -> dict[str, str]:
        typed = self.cleaned_data["headers"] or {}
        validate_headers(typed)
        return typed

    def clean(self) -> dict[str, Any]:
        return with_secrets(self, super().clean() or self.cleaned_data)


@admin.register(McpServer)
class McpServerAdmin(AdministratorsWrite, SecretsAdmin):
    form = McpServerForm
    change_form_template = "agents_app/admin/mcp_server.html"
    secrets = {"env", "headers"}
    list_display = ("name", "transport", "enabled", "works", "checked_at", "tool_count", "agent_count", "updated_at")
    list_filter = ("transport", "sandbox", "enabled", "check_ok")
    search_fields = ("name", "description", "command", "url")
    actions = ("check_now",)
    readonly_fields = ("checked_at", "check_ok", "check_message", "tools", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description", "transport", "enabled", "open_to_users")}),
        ("Command (stdio)", {"fields": ("command", "args", "env")}),
        ("URL (SSE and streamable HTTP)", {"fields": ("url", "headers")}),
        ("Tools", {"fields": ("allowed_tools", "denied_tools", "timeout", "tool_timeouts")}),
        (
            "Limits of stdio processes",
            {"fields": ("max_memory_mb", "max_cpu_seconds", "max_processes", "max_open_files")},
        ),
        ("Processes and connections", {"fields": ("scope",)}),
        ("Sandbox of stdio processes", {"fields": ("sandbox", "allowed_hosts", "folders")}),
        ("Last check", {"fields": ("checked_at", "check_ok", "check_message", "tools")}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[McpServer]:
        return super().get_queryset(request).annotate(agent_count=Count("agents"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """Protect a server that an agent uses, as the API does."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        users = {name: server for server in objs for name in server.used_by()}
        return deleted, counts, needed, [*protected, *(f"Agent {name}: uses {users[name]}" for name in sorted(users))]

    def get_urls(self) -> list[Any]:
        calling = path("<int:pk>/call", self.admin_site.admin_view(call_tool), name="agents_app_mcpserver_call")
        return [calling, *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        server = context["original"]
        context["may_call"] = bool(request.user.is_superuser and server and server.enabled)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(boolean=True, description="works", ordering="check_ok")
    def works(self, server: McpServer) -> bool | None:
        return server.check_ok

    @admin.display(description="agents", ordering="agent_count")
    def agent_count(self, server: Any) -> int:
        return server.agent_count

    @admin.display(description="tools")
    def tool_count(self, server: McpServer) -> int:
        return len(server.tool_names)

    @admin.display(description="tools")
    def tools(self, server: McpServer) -> str:
        return ", ".join(server.tool_names) or "—"

    @admin.action(description="Check now", permissions=["change"])
    def check_now(self, request: HttpRequest, queryset: QuerySet[McpServer]) -> None:
        chosen = list(queryset[: _MOST_CHECKS + 1])
        if len(chosen) > _MOST_CHECKS:
            messages.error(request, f"Select at most {_MOST_CHECKS}.")
            return
        for server, check in zip(chosen, mcp_servers.check(chosen, timeout=CHECK_TIMEOUT), strict=True):
            tell = messages.success if check.ok else messages.error
            tell(request, f"{server}: {check.message}")
