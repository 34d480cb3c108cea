"""Prices of models, token usage and worker processes in the admin."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from agents_app.admin.base import AdministratorsWrite, FastAdmin, Kept
from agents_app.models import Price, TokenUse, WorkerProcess


@admin.register(Price)
class PriceAdmin(AdministratorsWrite, FastAdmin):
    """Prices entered by hand. Models without an entry use the installed list prices."""

    list_display = ("model", "provider", "input", "cached_input", "output", "updated_at")
    list_filter = ("provider",)
    list_select_related = ("provider",)
    search_fields = ("model",)
    autocomplete_fields = ("provider",)
    readonly_fields = ("updated_at",)


@admin.register(TokenUse)
class TokenUseAdmin(Kept, FastAdmin):
    list_display = ("day", "user", "tokens")
    list_filter = ("day",)
    list_select_related = ("user",)
    search_fields = ("user__username",)

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        return rows if request.user.is_superuser else rows.filter(user=request.user.pk)


@admin.register(WorkerProcess)
class WorkerProcessAdmin(Kept, FastAdmin):
    list_display = ("__str__", "works", "running", "concurrency", "shown_load", "started_at", "seen_at")
    ordering = ("-seen_at",)

    @admin.display(boolean=True, description="works")
    def works(self, worker: WorkerProcess) -> bool:
        return not worker.is_silent

    @admin.display(description="load")
    def shown_load(self, worker: WorkerProcess) -> str:
        return f"{worker.load} %"
