"""Tokens, and who changed what, in the admin; and what staff may see of others' rows."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest

from agents_app.models import ApiToken


class OnlyVisible:
    """Mixed into an admin of rows that belong to users: staff sees there what it sees everywhere else."""

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).visible_to(request.user)  # type: ignore[misc]


class Unchangeable:
    """Mixed into an admin of rows that are made elsewhere."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ApiToken)
class ApiTokenAdmin(Unchangeable, admin.ModelAdmin):
    """Everybody's tokens, to look at and to revoke: deleting one does that."""

    list_display = ("name", "user", "token_key", "created", "expiry", "last_used_at")
    list_filter = ("expiry", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "token_key", "user__username")
    fields = ("name", "user", "token_key", "created", "expiry", "last_used_at")


@admin.register(LogEntry)
class LogEntryAdmin(Unchangeable, admin.ModelAdmin):
    """What was changed in the admin, and by administrators over REST."""

    list_display = ("action_time", "user", "action_flag", "content_type", "object_repr", "change_message")
    list_filter = ("action_flag", "content_type")
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "change_message", "user__username")
    date_hierarchy = "action_time"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
