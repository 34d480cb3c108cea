"""Files in the admin: to look for, download and delete. Their bytes are not read here."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from agents_app.admin.base import FastAdmin, OnlyVisible, ReadOnly
from agents_app.files import saving
from agents_app.models import File


@admin.register(File)
class FileAdmin(OnlyVisible, ReadOnly, FastAdmin):
    """What users uploaded, and what tools and agents made."""

    list_display = ("label", "kind", "media_type", "size", "owner", "run_id", "created_at")
    list_filter = ("kind",)
    list_select_related = ("owner",)
    search_fields = ("=id", "=run__id")
    search_help_text = "A file's or a run's id."
    fields = (
        "id",
        "owner",
        "run",
        "kind",
        "media_type",
        "name",
        "size",
        "purpose",
        "created_at",
        "expires_at",
        "download",
    )
    readonly_fields = fields
    ordering = ("-created_at", "id")

    @admin.display(description="name")
    def label(self, file: File) -> str:
        return file.name or file.pk

    @admin.display(description="content")
    def download(self, file: File) -> str:
        return format_html('<a href="{}">Download</a>', reverse("file-content", args=[file.pk]))

    def delete_model(self, request: HttpRequest, obj: File) -> None:
        saving.delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[File]) -> None:
        for file in queryset:
            saving.delete(file)
