"""MCP servers in the admin: set up, and tried."""

import json
from typing import Any, ClassVar

import orjson
from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from agents_app import servers
from agents_app.models import McpServer
from agents_app.models.servers import validate_environment
from agents_app.models.validation import validate_headers
from agents_app.models.variables import MASK, masked, unmasked

CHECK_PATIENCE = 15.0  # seconds that somebody looks at a page that loads
_MOST_CHECKS = 20


class StrictDecoder(json.JSONDecoder):
    """JSON as the API takes it: what cannot be stored, or shown again, is an error."""

    def decode(self, s: str, *args: Any) -> Any:
        return orjson.loads(s)


class JSONForm(forms.ModelForm):
    """A form in which an emptied list or object is an empty one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.JSONField):
                field.decoder = StrictDecoder

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name, field in self.fields.items():
            if isinstance(field, forms.JSONField) and name in cleaned and cleaned[name] is None:
                cleaned[name] = self._meta.model._meta.get_field(name).get_default()
        return cleaned


class SecretsField(forms.JSONField):
    """An object of texts that may be secret: what was typed is not shown again either."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        value = super().bound_data(data, initial)
        is_object = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
        return masked(value) if is_object else value


class McpServerForm(JSONForm):
    """A secret is typed in and never shown: `***` in its place keeps it."""

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
        return unmasked(typed, self.instance.env)

    def clean_headers(self) -> dict[str, str]:
        typed = self.cleaned_data["headers"] or {}
        validate_headers(typed)
        return unmasked(typed, self.instance.headers)


class SecretsAdmin(admin.ModelAdmin):
    """Rows with secrets: those who may only look get the rows' values, not the form's, and so not these fields."""

    secrets: ClassVar[set[str]]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        found = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return found
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in self.secrets]})
            for title, options in found
        ]


@admin.register(McpServer)
class McpServerAdmin(SecretsAdmin):
    form = McpServerForm
    secrets = {"env", "headers"}
    list_display = ("name", "transport", "enabled", "works", "checked_at", "agent_count", "updated_at")
    list_filter = ("transport", "enabled", "check_ok")
    search_fields = ("name", "description", "command", "url")
    actions = ("check_now",)
    readonly_fields = ("checked_at", "check_ok", "check_message", "tools", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description", "transport", "enabled")}),
        ("stdio: a command on this machine", {"fields": ("command", "args", "env")}),
        ("SSE and streamable HTTP: an address", {"fields": ("url", "headers")}),
        ("Tools", {"fields": ("allowed_tools", "denied_tools", "timeout", "tool_timeouts")}),
        (
            "Limits of its processes, where it is stdio",
            {"fields": ("max_memory_mb", "max_cpu_seconds", "max_processes", "max_open_files")},
        ),
        ("Last check", {"fields": ("checked_at", "check_ok", "check_message", "tools")}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[McpServer]:
        return super().get_queryset(request).annotate(agent_count=Count("agents"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """One that an agent uses is protected, as it is in the API."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        users = {name: server for server in objs for name in server.used_by()}
        return deleted, counts, needed, [*protected, *(f"Agent {name}: uses {users[name]}" for name in sorted(users))]

    @admin.display(boolean=True, description="works", ordering="check_ok")
    def works(self, server: McpServer) -> bool | None:
        return server.check_ok

    @admin.display(description="agents", ordering="agent_count")
    def agent_count(self, server: Any) -> int:
        return server.agent_count

    @admin.display(description="its tools")
    def tools(self, server: McpServer) -> str:
        return ", ".join(server.tool_names) or "—"

    @admin.action(description="Check now", permissions=["change"])
    def check_now(self, request: HttpRequest, queryset: QuerySet[McpServer]) -> None:
        chosen = list(queryset[: _MOST_CHECKS + 1])
        if len(chosen) > _MOST_CHECKS:
            messages.error(request, f"Select at most {_MOST_CHECKS}.")
            return
        for server, check in zip(chosen, servers.check(chosen, patience=CHECK_PATIENCE), strict=True):
            tell = messages.success if check.ok else messages.error
            tell(request, f"{server}: {check.message}")
